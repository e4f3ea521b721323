"""Distances between point clouds."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lumigrad.compat.pytorch3d.ops.knn import knn_gather, knn_points
from lumigrad.compat.pytorch3d.structures.pointclouds import Pointclouds

Cloud = tuple[Tensor, Tensor, Tensor | None]  # points [N, P, D], how many of them count [N], normals [N, P, D]
Pair = tuple[Any, Any]


def chamfer_distance(
    x: Any,
    y: Any,
    x_lengths: Tensor | None = None,
    y_lengths: Tensor | None = None,
    x_normals: Tensor | None = None,
    y_normals: Tensor | None = None,
    weights: Tensor | None = None,
    batch_reduction: str | None = "mean",
    point_reduction: str | None = "mean",
    norm: int = 2,
    single_directional: bool = False,
    abs_cosine: bool = True,
) -> Pair:
    """From each point to the nearest one of the other cloud: squared distances, or sums of magnitudes.

    Args:
        x, y: `Pointclouds`, or points [N, P, D].
        x_lengths, y_lengths: how many points of each cloud count, [N].
        x_normals, y_normals: [N, P, D]; with both, 1 - cos of the angle between nearest points' normals is returned.
        weights: of the clouds, [N].
        batch_reduction: "mean", "sum" or None: over clouds.
        point_reduction: "mean", "sum", "max" (Hausdorff's distance) or None: over points.
        norm: 2 for squared distances, 1 for sums of magnitudes.
        single_directional: only from x to y.
        abs_cosine: whether opposite normals count as equal.

    Returns:
        The distance and that of normals (None without them): numbers, [N] without `batch_reduction`, or the two
        directions' values [N, P] without `point_reduction`.

    Raises:
        ValueError: shapes or options that do not fit.
    """
    _validate_chamfer_reduction_inputs(batch_reduction, point_reduction)
    if norm not in (1, 2):
        raise ValueError(f"Support for 1 or 2 norm, got {norm}")
    if point_reduction == "max" and (x_normals is not None or y_normals is not None):
        raise ValueError('Normals must be None if point_reduction is "max"')
    clouds = _handle_pointcloud_input(x, x_lengths, x_normals), _handle_pointcloud_input(y, y_lengths, y_normals)
    one, other = clouds
    distance, turned = _one_way(one, other, weights, point_reduction, norm, abs_cosine)
    if not single_directional:
        back, turned_back = _one_way(other, one, weights, point_reduction, norm, abs_cosine)
        distance = _both(distance, back, point_reduction)
        turned = None if turned is None else _both(turned, turned_back, point_reduction)
    return _over_batch(distance, weights, batch_reduction), _over_batch(turned, weights, batch_reduction)


def _validate_chamfer_reduction_inputs(batch_reduction: str | None, point_reduction: str | None = "mean") -> None:
    if batch_reduction not in ("mean", "sum", None):
        raise ValueError(f'batch_reduction must be one of ["mean", "sum"] or None, got {batch_reduction!r}')
    if point_reduction not in ("mean", "sum", "max", None):
        raise ValueError(f'point_reduction must be one of ["mean", "sum", "max"] or None, got {point_reduction!r}')
    if point_reduction is None and batch_reduction is not None:
        raise ValueError("Batch reduction must be None if point_reduction is None")


def _handle_pointcloud_input(points: Any, lengths: Tensor | None, normals: Tensor | None) -> Cloud:
    if isinstance(points, Pointclouds):
        return points.points_padded(), points.num_points_per_cloud(), points.normals_padded()
    if not isinstance(points, Tensor):
        raise ValueError(
            "The input pointclouds should be either Pointclouds objects or torch.Tensor of shape "
            f"(minibatch, num_points, 3), got {type(points).__name__}"
        )
    if points.ndim != 3:
        raise ValueError(f"Expected points to be of shape (N, P, D), got {tuple(points.shape)}")
    if lengths is None:
        lengths = torch.full((len(points),), points.shape[1], dtype=torch.int64, device=points.device)
    if lengths.shape != points.shape[:1]:
        raise ValueError(f"Expected lengths to be of shape (N,), got {tuple(lengths.shape)}")
    if len(lengths) and int(lengths.max()) > points.shape[1]:
        raise ValueError(f"A length value was too long: expected at most {points.shape[1]}, got {int(lengths.max())}")
    if normals is not None and normals.ndim != 3:
        raise ValueError(f"Expected normals to be of shape (N, P, 3), got {tuple(normals.shape)}")
    return points, lengths, normals


def _one_way(
    x: Cloud, y: Cloud, weights: Tensor | None, point_reduction: str | None, norm: int, abs_cosine: bool
) -> tuple[Tensor, Tensor | None]:
    """From each point of x to y; None for normals if there are none."""
    points, lengths, normals = x
    if y[0].shape[0] != points.shape[0] or y[0].shape[2] != points.shape[2]:
        expected = f"({len(points)}, P, {points.shape[2]})"
        raise ValueError(f"y does not have the correct shape: expected {expected}, got {tuple(y[0].shape)}")
    _check_weights(weights, len(points))
    near = knn_points(points, y[0], lengths, y[1], norm=norm, K=1)
    distance, turned = near.dists[..., 0], None
    if normals is not None and y[2] is not None:
        cosine = F.cosine_similarity(normals, knn_gather(y[2], near.idx, y[1])[..., 0, :], dim=2, eps=1e-6)
        turned = 1 - (cosine.abs() if abs_cosine else cosine)
    there = torch.arange(points.shape[1], device=points.device) < lengths[:, None]
    return (
        _over_points(distance, there, lengths, weights, point_reduction),
        None if turned is None else _over_points(turned, there, lengths, weights, point_reduction),
    )


def _check_weights(weights: Tensor | None, count: int) -> None:
    if weights is None:
        return
    if weights.shape[0] != count:
        raise ValueError(f"weights must be of shape (N,), expected {count}, got {tuple(weights.shape)}")
    if not bool((weights >= 0).all()):
        raise ValueError("weights cannot be negative.")


def _over_points(
    values: Tensor, there: Tensor, lengths: Tensor, weights: Tensor | None, reduction: str | None
) -> Tensor:
    values = torch.where(there, values, torch.zeros_like(values))
    if weights is not None:
        values = values * weights.reshape(-1, 1)
    if reduction is None:
        return values
    if reduction == "max":
        return values.amax(1)
    total = values.sum(1)
    return total / lengths.clamp(min=1) if reduction == "mean" else total


def _both(there: Any, back: Any, point_reduction: str | None) -> Any:
    if point_reduction is None:
        return there, back
    return torch.maximum(there, back) if point_reduction == "max" else there + back


def _over_batch(values: Any, weights: Tensor | None, reduction: str | None) -> Any:
    if values is None or reduction is None:
        return values
    total = values.sum()
    if reduction == "sum":
        return total
    if weights is None:
        return total / max(len(values), 1)
    sum_of_weights = weights.sum()
    return total / torch.where(sum_of_weights > 0, sum_of_weights, torch.ones_like(sum_of_weights))
