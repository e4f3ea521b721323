"""Vector maths on the last dimension, with gradients that are zero where they do not exist."""

from __future__ import annotations

import torch
from torch import Tensor


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Scalar product [..., 1]."""
    return (a * b).sum(-1, keepdim=True)


def unit(vector: Tensor) -> Tensor:
    """The vector at length 1; zero, with zero gradient, where it has no direction."""
    squared = dot(vector, vector)
    valid = squared > 0
    return vector * (valid.to(vector.dtype) * squared.where(valid, squared.new_ones(())).rsqrt())


def align(value: Tensor, rank: int, points: Tensor) -> Tensor:
    """A parameter [*B, (C)] that broadcasts against points [*B, ..., 3].

    Args:
        value: a batch of scalars (rank 0), which get a last dimension of 1, or of vectors (rank 1).
        rank: dimensions of one item.
        points: their leading dimensions are the batch dimensions of `value`.
    """
    if rank == 0:
        value = value[..., None]
    batch = value.shape[:-1]
    return value.reshape(*batch, *[1] * (points.ndim - 1 - len(batch)), value.shape[-1]) if batch else value


def frames(normals: Tensor) -> Tensor:
    """Rotations [P, 3, 3] that take +z to unit normals [P, 3]: columns tangent, bitangent, normal."""
    x, y, z = normals.unbind(-1)
    sign = torch.where(z < 0, -1.0, 1.0).to(z.dtype)
    a = -1 / (sign + z)
    b = x * y * a
    tangent = torch.stack([1 + sign * x * x * a, sign * b, -sign * x], -1)
    bitangent = torch.stack([b, sign + y * y * a, -y], -1)
    return torch.stack([tangent, bitangent, normals], -1)
