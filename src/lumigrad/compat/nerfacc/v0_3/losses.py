"""A loss of where weights are along rays."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.compat.nerfacc.v0_3.pack import unpack_data


def distortion(packed_info: Tensor, weights: Tensor, t_starts: Tensor, t_ends: Tensor) -> Tensor:
    """How far the weights of each ray lie apart [R].

    Args:
        packed_info: (first, count) of each ray [R, 2].
        weights, t_starts, t_ends: [S, 1].

    Source: Barron et al. 2022, "Mip-NeRF 360", equation 15.
    """
    parts = (values.reshape(-1, 1) for values in (weights, t_starts, t_ends))
    w, start, end = (unpack_data(packed_info, part)[..., 0] for part in parts)
    middle = (start + end) / 2
    within = ((end - start) * w.square()).sum(-1) / 3
    between = (middle[:, :, None] - middle[:, None]).abs()
    return within + torch.einsum("rp,rq,rpq->r", w, w, between)
