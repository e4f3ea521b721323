"""Regularisers of weights along rays."""

from __future__ import annotations

from torch import Tensor

from lumigrad.compat.nerfacc.scan import exclusive_sum
from lumigrad.compat.nerfacc.volrend import accumulate_along_rays


def distortion(
    weights: Tensor, t_starts: Tensor, t_ends: Tensor, ray_indices: Tensor | None = None, n_rays: int | None = None
) -> Tensor:
    """How far the weights of rays are spread [R, 1] (mip-NeRF 360, equation 15), in linear time.

    Args:
        weights, t_starts, t_ends: of samples in ascending order, [R, P] or packed [S].
        ray_indices: the ray of each packed sample.
        n_rays: R, of packed samples.
    """
    middle, length = (t_starts + t_ends) / 2, t_ends - t_starts
    before = exclusive_sum(weights, indices=ray_indices)
    moment = exclusive_sum(weights * middle, indices=ray_indices)
    own, pairs = weights * length / 3, 2 * (middle * before - moment)
    return accumulate_along_rays(weights, (own + pairs)[..., None], ray_indices, n_rays)
