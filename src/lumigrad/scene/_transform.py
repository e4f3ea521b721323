"""Affine maps of points and normals, with one matrix for all or one for each."""

from __future__ import annotations

import torch
from torch import Tensor


def check_matrix(matrix: Tensor) -> Tensor:
    """The upper three rows [..., 3, 4] of an affine map."""
    if not isinstance(matrix, Tensor) or matrix.shape[-2:] not in ((4, 4), (3, 4)):
        got = list(matrix.shape) if isinstance(matrix, Tensor) else type(matrix).__name__
        raise ValueError(f"matrix: expected shape [..., 4, 4] or [..., 3, 4], got {got}")
    return matrix[..., :3, :]


def transform_points(points: Tensor, matrix: Tensor) -> Tensor:
    """Points [P, 3] moved by a matrix [4, 4], or each by its own matrix of [P, 4, 4]."""
    upper = check_matrix(matrix).to(points)
    return _apply(upper[..., :3], points) + upper[..., 3]


def transform_directions(normals: Tensor, matrix: Tensor) -> Tensor:
    """Unit normals [P, 3] of surfaces moved by a matrix [4, 4], or each by its own matrix of [P, 4, 4].

    Normals transform by the matrix of cofactors (the inverse transpose, up to scale), which also exists for singular
    maps, with the sign that keeps them pointing outside.
    """
    return torch.nn.functional.normalize(
        _apply(normal_matrix(check_matrix(matrix).to(normals)), normals), dim=-1, eps=1e-20
    )


def normal_matrix(matrix: Tensor) -> Tensor:
    """Matrices [..., 3, 3] that transform normals under maps [..., 4, 4], up to scale; see `transform_directions`."""
    a, b, c = check_matrix(matrix)[..., :3].unbind(-2)
    cofactors = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], dim=-2)
    sign = torch.where(mirrored(matrix), -1.0, 1.0).to(cofactors)[..., None, None]
    return sign * cofactors


def mirrored(matrix: Tensor) -> Tensor:
    """Whether maps mirror, [...]."""
    a, b, c = check_matrix(matrix.detach())[..., :3].unbind(-2)
    determinant: Tensor = (a * torch.linalg.cross(b, c)).sum(-1)
    return determinant < 0


def _apply(linear: Tensor, vectors: Tensor) -> Tensor:
    if linear.ndim == 2:
        return vectors @ linear.T
    return (linear @ vectors[..., None])[..., 0]
