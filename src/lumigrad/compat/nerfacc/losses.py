"""Regularisers of weights along rays."""

from __future__ import annotations

from torch import Tensor

from lumigrad.compat.nerfacc.pack import ray_samples
from lumigrad.compat.nerfacc.volrend import as_one_type
from lumigrad.ops.field import distortion_loss


def distortion(
    weights: Tensor, t_starts: Tensor, t_ends: Tensor, ray_indices: Tensor | None = None, n_rays: int | None = None
) -> Tensor:
    """How far the weights of rays are spread [R, 1], as `lumigrad.distortion_loss` measures it.

    Args:
        weights, t_starts, t_ends: of samples in ascending order, [R, P] or packed [S].
        ray_indices: the ray of each packed sample.
        n_rays: R, of packed samples.

    Raises:
        ValueError: shapes that do not fit, or rays out of order.
    """
    start, end, weight = as_one_type(t_starts, t_ends, weights.reshape(-1))
    found = distortion_loss(ray_samples(start, end, ray_indices, n_rays), weight)
    return found[:, None] if ray_indices is not None else found.reshape(*t_starts.shape[:-1], 1)
