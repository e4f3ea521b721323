"""Similarity transforms between point clouds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.ops.knn import knn_points
from lumigrad.compat.pytorch3d.ops.utils import convert_pointclouds_to_tensor, is_pointclouds, wmean
from lumigrad.compat.pytorch3d.structures.utils import list_to_padded


class SimilarityTransform(NamedTuple):
    """x -> s x R + T, of row vectors: R [N, D, D], T [N, D], s [N]."""

    R: Tensor
    T: Tensor
    s: Tensor


class ICPSolution(NamedTuple):
    """What `iterative_closest_point` found."""

    converged: bool
    rmse: Tensor | None
    Xt: Any
    RTs: SimilarityTransform
    t_history: list[SimilarityTransform]


def iterative_closest_point(
    X: Any,
    Y: Any,
    init_transform: SimilarityTransform | None = None,
    max_iterations: int = 100,
    relative_rmse_thr: float = 1e-6,
    estimate_scale: bool = False,
    allow_reflection: bool = False,
    verbose: bool = False,
) -> ICPSolution:
    """Align X with Y, whose points do not correspond: pair each with the nearest one, align, and repeat.

    Args:
        X, Y: `Pointclouds`, or points [N, P, D] and [N, Q, D].
        init_transform: where to start; from X as it is by default.
        max_iterations: at most so many alignments.
        relative_rmse_thr: it has converged when the root mean square changes by less than this share.
        estimate_scale, allow_reflection: of `corresponding_points_alignment`.
        verbose: print each iteration.

    Returns:
        Whether it converged, the root mean squares [N], X aligned, the transform from X, and the transforms after each
        iteration.

    Raises:
        ValueError: batches or dimensions that do not fit.

    Source: Besl and McKay 1992, "A Method for Registration of 3-D Shapes".
    """
    start, count = convert_pointclouds_to_tensor(X)
    target, target_count = convert_pointclouds_to_tensor(Y)
    if start.shape[0] != target.shape[0] or start.shape[2] != target.shape[2]:
        raise ValueError(
            "Point sets X and Y have to have the same number of batches and data dimensions, "
            f"got {tuple(start.shape)} and {tuple(target.shape)}"
        )
    there = (torch.arange(start.shape[1], device=start.device) < count[:, None]).to(start)
    transform = _identity(start) if init_transform is None else _checked(init_transform, start)
    moved = _apply_similarity_transform(start, *transform)
    history: list[SimilarityTransform] = []
    rmse, converged = None, False
    for iteration in range(max_iterations):
        paired = knn_points(moved, target, count, target_count, K=1, return_nn=True).knn
        assert paired is not None
        transform = corresponding_points_alignment(
            start, paired[:, :, 0], there, estimate_scale=estimate_scale, allow_reflection=allow_reflection
        )
        moved = _apply_similarity_transform(start, *transform)
        history.append(transform)
        # Means of squared lengths of the differences; their root, for the change of it.
        squares = wmean((moved - paired[:, :, 0]).square().sum(-1, keepdim=True), there)[:, 0, 0]
        before, rmse = rmse, squares.sqrt()
        change = torch.ones_like(rmse) if before is None else (before - rmse) / before
        if verbose:
            print(
                f"ICP iteration {iteration}: mean/max rmse = {rmse.mean():1.2e}/{rmse.max():1.2e}; "
                f"mean relative rmse = {change.mean():1.2e}"
            )
        if bool((change <= relative_rmse_thr).all()):
            converged = True
            break
    result = X.update_padded(moved) if is_pointclouds(X) else moved
    return ICPSolution(converged, rmse, result, transform, history)


def _identity(points: Tensor) -> SimilarityTransform:
    count, _, dim = points.shape
    return SimilarityTransform(
        torch.eye(dim).to(points).expand(count, -1, -1), points.new_zeros(count, dim), points.new_ones(count)
    )


def _checked(transform: Any, points: Tensor) -> SimilarityTransform:
    count, _, dim = points.shape
    try:
        R, T, s = transform
        shapes = [tuple(part.shape) for part in (R, T, s)]
    except (TypeError, ValueError, AttributeError):
        shapes = []
    if shapes != [(count, dim, dim), (count, dim), (count,)]:
        raise ValueError(
            f"init_transform: expected R, T, s of shapes {(count, dim, dim)}, {(count, dim)}, {(count,)}, got {shapes}"
        )
    return SimilarityTransform(R, T, s)


def corresponding_points_alignment(
    X: Any,
    Y: Any,
    weights: Tensor | Sequence[Tensor] | None = None,
    estimate_scale: bool = False,
    allow_reflection: bool = False,
    eps: float = 1e-9,
) -> SimilarityTransform:
    """The transform s X R + T nearest to Y in the sum of squares.

    Args:
        X, Y: `Pointclouds`, or points [N, P, D]; points of the same number correspond.
        weights: of the points, [N, P], or a list of tensors [P_n].
        estimate_scale: whether s is found, too, and not 1.
        allow_reflection: whether R may have a determinant of -1.
        eps: the least that variances and sums of weights are divided by.

    Raises:
        ValueError: shapes that do not fit.

    Source: Umeyama 1991, "Least-Squares Estimation of Transformation Parameters Between Two Point Patterns".
    """
    source, count = convert_pointclouds_to_tensor(X)
    target, target_count = convert_pointclouds_to_tensor(Y)
    if source.shape != target.shape or bool((count != target_count).any()):
        raise ValueError(
            "Point sets X and Y have to have the same number of batches, points and dimensions, "
            f"got {tuple(source.shape)} and {tuple(target.shape)}"
        )
    weight = _weights(weights, source, count)
    dim = source.shape[2]
    mean, target_mean = wmean(source, weight, eps=eps), wmean(target, weight, eps=eps)
    offset, target_offset = source - mean, target - target_mean
    total = weight.sum(1).clamp(min=eps)
    if bool((count < dim + 1).any()):
        warnings.warn(
            "The size of one of the point clouds is <= dim+1. corresponding_points_alignment cannot return a unique "
            "rotation.",
            stacklevel=2,
        )
    covariance = (weight[..., None] * offset).transpose(1, 2) @ target_offset / total[:, None, None]
    U, S, Vh = torch.linalg.svd(covariance)
    if not bool((S.abs() > 1e-15).all()) and not allow_reflection:
        warnings.warn(
            "Excessively low rank of cross-correlation between aligned point clouds. corresponding_points_alignment "
            "cannot return a unique rotation.",
            stacklevel=2,
        )
    signs = torch.ones_like(S)
    if not allow_reflection:
        signs[:, -1] = torch.det(U @ Vh).detach().sign()
    R = (U * signs[:, None]) @ Vh
    s = source.new_ones(len(source))
    if estimate_scale:
        variance = (weight * offset.square().sum(2)).sum(1) / total
        s = (signs * S).sum(1) / variance.clamp(min=eps)
    T = (target_mean - s[:, None, None] * (mean @ R))[:, 0]
    return SimilarityTransform(R, T, s)


def _weights(weights: Any, points: Tensor, count: Tensor) -> Tensor:
    """Weights [N, P]: 0 where a cloud has no point."""
    there = (torch.arange(points.shape[1], device=points.device) < count[:, None]).to(points)
    if weights is None:
        return there
    if not isinstance(weights, Tensor):
        if any(int(n) != len(weight) for n, weight in zip(count, weights)):
            raise ValueError(
                f"weights should equal to the number of points, got {[len(weight) for weight in weights]} and "
                f"{count.tolist()}"
            )
        weights = list_to_padded(list(weights), (points.shape[1],))
    if weights.shape != points.shape[:2]:
        raise ValueError(
            f"weights should have the same first two dimensions as X: expected {tuple(points.shape[:2])}, "
            f"got {tuple(weights.shape)}"
        )
    return there * weights


def _apply_similarity_transform(X: Tensor, R: Tensor, T: Tensor, s: Tensor) -> Tensor:
    """s X R + T, of points [N, P, D]."""
    return s[:, None, None] * (X @ R) + T[:, None]
