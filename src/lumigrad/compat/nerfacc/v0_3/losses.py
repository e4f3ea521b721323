"""A loss of where weights are along rays."""

from __future__ import annotations

from torch import Tensor

from lumigrad.compat.nerfacc import losses
from lumigrad.compat.nerfacc.v0_3.pack import unpack_info


def distortion(packed_info: Tensor, weights: Tensor, t_starts: Tensor, t_ends: Tensor) -> Tensor:
    """How far the weights of each ray lie apart [R].

    Args:
        packed_info: (first, count) of each ray [R, 2].
        weights, t_starts, t_ends: [S, 1].

    Source: Barron et al. 2022, "Mip-NeRF 360", equation 15.
    """
    weight, start, end = (values.reshape(-1) for values in (weights, t_starts, t_ends))
    return losses.distortion(weight, start, end, unpack_info(packed_info), len(packed_info))[:, 0]
