"""Helpers for padded clouds of points."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.ops.knn import knn_points


def masked_gather(points: Tensor, idx: Tensor) -> Tensor:
    """Rows of `points` [N, P, D] by numbers [N, K] or [N, L, K]; 0 where a number is -1.

    Raises:
        ValueError: shapes that do not fit.
    """
    if len(idx) != len(points):
        raise ValueError(f"points and idx must have the same batch dimension, got {len(points)} and {len(idx)}")
    if idx.ndim not in (2, 3):
        raise ValueError(f"idx format is not supported: expected [N, K] or [N, L, K], got {tuple(idx.shape)}")
    if points.shape[1] == 0:
        return points.new_zeros((*idx.shape, points.shape[2]))
    start = torch.arange(len(points), device=idx.device).reshape(-1, *[1] * (idx.ndim - 1)) * points.shape[1]
    rows = points.reshape(-1, points.shape[2])[idx.clamp(min=0) + start]
    return torch.where((idx >= 0)[..., None], rows, torch.zeros_like(rows))


def wmean(
    x: Tensor, weight: Tensor | None = None, dim: int | tuple[int, ...] = -2, keepdim: bool = True, eps: float = 1e-9
) -> Tensor:
    """Weighted means.

    Args:
        x: [..., D].
        weight: [...]; the plain mean by default.
        dim: what is averaged over.
        keepdim: whether those dimensions stay.
        eps: the smallest sum of weights that is divided by.

    Raises:
        ValueError: weights of another shape.
    """
    if weight is None:
        return x.mean(dim=dim, keepdim=keepdim)
    if any(
        have != want and 1 not in (have, want) for have, want in zip(reversed(weight.shape), reversed(x.shape[:-1]))
    ):
        raise ValueError(f"wmean: weights are not compatible with the tensor: {tuple(weight.shape)}, {tuple(x.shape)}")
    weights = weight[..., None]
    return (x * weights).sum(dim=dim, keepdim=keepdim) / weights.sum(dim=dim, keepdim=keepdim).clamp(min=eps)


def eyes(dim: int, N: int, device: Any = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """N identity matrices [N, dim, dim]."""
    return torch.eye(dim, device=device, dtype=dtype)[None].repeat(N, 1, 1)


def is_pointclouds(pcl: Any) -> bool:
    """Whether an object has padded points and their numbers, as `Pointclouds` does."""
    return hasattr(pcl, "points_padded") and hasattr(pcl, "num_points_per_cloud")


def convert_pointclouds_to_tensor(pcl: Any) -> tuple[Tensor, Tensor]:
    """Padded points [N, P, D] and how many of them count [N], of `Pointclouds` or of a tensor.

    Raises:
        ValueError: something else.
    """
    if is_pointclouds(pcl):
        return pcl.points_padded(), pcl.num_points_per_cloud()
    if not isinstance(pcl, Tensor):
        raise ValueError(f"The inputs X, Y should be either Pointclouds objects or tensors, got {type(pcl).__name__}")
    return pcl, torch.full((len(pcl),), pcl.shape[1], dtype=torch.int64, device=pcl.device)


def get_point_covariances(
    points_padded: Tensor, num_points_per_cloud: Tensor, neighborhood_size: int
) -> tuple[Tensor, Tensor]:
    """Covariances [N, P, D, D] of the points around each, and those points [N, P, K, D]."""
    lengths = num_points_per_cloud
    near = knn_points(points_padded, points_padded, lengths, lengths, K=neighborhood_size, return_nn=True).knn
    assert near is not None
    offset = near - near.mean(2, keepdim=True)
    return offset.transpose(2, 3) @ offset / neighborhood_size, near
