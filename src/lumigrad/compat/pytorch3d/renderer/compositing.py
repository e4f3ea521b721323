"""Features of the points in front of every pixel, mixed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def alpha_composite(pointsidx: Tensor, alphas: Tensor, pt_clds: Tensor) -> Tensor:
    """Each point over those behind it: the sum of a_k f_k prod(1 - a_j, j < k).

    Args:
        pointsidx: [N, K, H, W], packed points from front to back, -1 where there are no more.
        alphas: their opacities [N, K, H, W].
        pt_clds: features of packed points [C, P].

    Returns:
        [N, C, H, W].
    """
    alphas = _present(pointsidx, alphas)
    through = torch.cat((torch.ones_like(alphas[:, :1]), 1 - alphas[:, :-1]), 1).cumprod(1)
    return _weighted(pointsidx, alphas * through, pt_clds)


def norm_weighted_sum(pointsidx: Tensor, alphas: Tensor, pt_clds: Tensor) -> Tensor:
    """The mean weighted by `alphas`, whose sum counts as 1e-4 at least; arguments as for `alpha_composite`."""
    alphas = _present(pointsidx, alphas)
    return _weighted(pointsidx, alphas / alphas.sum(1, keepdim=True).clamp(min=1e-4), pt_clds)


def weighted_sum(pointsidx: Tensor, alphas: Tensor, pt_clds: Tensor) -> Tensor:
    """The sum weighted by `alphas`; arguments as for `alpha_composite`."""
    return _weighted(pointsidx, _present(pointsidx, alphas), pt_clds)


def _present(pointsidx: Tensor, alphas: Tensor) -> Tensor:
    return torch.where(pointsidx >= 0, alphas, torch.zeros_like(alphas))


def _weighted(pointsidx: Tensor, weights: Tensor, features: Tensor) -> Tensor:
    count, faces, height, width = pointsidx.shape
    if features.shape[1] == 0:
        return features.new_zeros((count, len(features), height, width))
    rows = pointsidx.long().clamp(min=0).permute(0, 2, 3, 1).reshape(-1, faces)
    flat = weights.permute(0, 2, 3, 1).reshape(-1, faces).to(features.dtype)
    mixed = F.embedding_bag(rows, features.T.contiguous(), per_sample_weights=flat, mode="sum")
    return mixed.reshape(count, height, width, -1).permute(0, 3, 1, 2)
