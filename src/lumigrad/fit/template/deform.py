"""Ways to deform a mesh: bones, blend shapes, cages, and points that move with it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lumigrad.fit._arguments import check_indices, check_positions, check_rows
from lumigrad.types.shapes import Float, Int
from lumigrad.types.validation import fractional, in_range, integral

_CHUNK = 4_000_000  # point-face pairs processed at a time


def skin(
    positions: Float[Tensor, "vertices 3"],
    weights: Float[Tensor, "vertices bones"],
    transforms: Float[Tensor, "*batch bones 4 4"],
) -> Float[Tensor, "*batch vertices 3"]:
    """Linear blend skinning: each vertex moved by the weighted mean of its bones' transforms.

    Args:
        weights: of the bones at each vertex; rows sum to 1.
        transforms: from the rest pose to the pose, [..., B, 4, 4]; differentiable, like all others.

    Raises:
        ValueError: numbers of vertices or bones that do not fit.

    >>> import torch
    >>> from lumigrad.fit import skin
    >>> up = torch.eye(4).repeat(2, 1, 1)
    >>> up[1, 1, 3] = 1.0  # the second bone rises by one
    >>> skin(torch.zeros(3, 3), torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]), up)[:, 1]
    tensor([0.0000, 0.5000, 1.0000])
    """
    check_rows("weights", weights, "B", check_rows("positions", positions, 3))
    if fractional("transforms", transforms).dtype != positions.dtype:
        raise TypeError(f"transforms: expected {positions.dtype} like positions, got {transforms.dtype}")
    if weights.shape[0] != positions.shape[0] or transforms.shape[-3:] != (weights.shape[1], 4, 4):
        raise ValueError(
            f"weights, transforms: expected [{positions.shape[0]}, B] and [..., B, 4, 4], got {list(weights.shape)} "
            f"and {list(transforms.shape)}"
        )
    blended = torch.einsum("vb,...bij->...vij", weights, transforms[..., :3, :])
    return (blended[..., :3] @ positions[..., None])[..., 0] + blended[..., 3]


def blend_shapes(
    base: Float[Tensor, "vertices 3"],
    offsets: Float[Tensor, "shapes vertices 3"],
    weights: Float[Tensor, "*batch shapes"],
) -> Float[Tensor, "*batch vertices 3"]:
    """The base plus the weighted sum of offsets.

    >>> import torch
    >>> from lumigrad.fit import blend_shapes
    >>> smile, frown = torch.tensor([[[0.0, 1.0, 0.0]], [[0.0, -1.0, 0.0]]])
    >>> blend_shapes(torch.zeros(1, 3), torch.stack([smile, frown]), torch.tensor([0.75, 0.25]))
    tensor([[0.0000, 0.5000, 0.0000]])
    """
    check_rows("base", base, 3)
    for name, value in (("offsets", offsets), ("weights", weights)):
        if fractional(name, value).dtype != base.dtype:
            raise TypeError(f"{name}: expected {base.dtype} like base, got {value.dtype}")
    if offsets.shape[1:] != base.shape or not weights.ndim or weights.shape[-1] != offsets.shape[0]:
        raise ValueError(
            f"offsets, weights: expected [S, {base.shape[0]}, 3] and [..., S], got {list(offsets.shape)} and "
            f"{list(weights.shape)}"
        )
    return base + torch.einsum("...s,svk->...vk", weights, offsets)


def barycentric_points(
    positions: Float[Tensor, "*batch vertices 3"],
    faces: Int[Tensor, "faces 3"],
    face: Int[Tensor, " points"],
    weights: Float[Tensor, "points 3"],
) -> Float[Tensor, "*batch points 3"]:
    """Points that are fixed to faces: weighted means of their corners.

    >>> import torch
    >>> from lumigrad.fit import barycentric_points
    >>> corners = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> barycentric_points(corners, torch.tensor([[0, 1, 2]]), torch.tensor([0]), torch.tensor([[0.5, 0.25, 0.25]]))
    tensor([[0.2500, 0.2500, 0.0000]])
    """
    check_indices("faces", faces, 3, check_positions(positions))
    in_range("face", integral("face", face), 0, len(faces))
    check_rows("weights", weights, 3)
    corners = positions[..., faces[face.long()].long(), :]
    return (corners * weights[..., None]).sum(-2)


@torch.no_grad()
def mean_value_coordinates(
    points: Float[Tensor, "points 3"], cage: Float[Tensor, "corners 3"], faces: Int[Tensor, "faces 3"]
) -> Float[Tensor, "points corners"]:
    """Weights [P, C] of a closed triangular cage's corners: `weights @ moved_cage` are the points, moved with the cage.

    They sum to 1, reproduce every affine map of the cage exactly, and are smooth away from the cage. They may be
    negative where the cage is not convex. They are computed once, in float64, and are constants for gradients.

    Source: Ju, Schaefer, Warren 2005, "Mean Value Coordinates for Closed Triangular Meshes".

    Raises:
        ValueError: shapes that do not fit.

    >>> import torch
    >>> from lumigrad.fit import mean_value_coordinates
    >>> from lumigrad.scene import icosphere
    >>> cage, points = icosphere(0, 2.0), icosphere(2)
    >>> weights = mean_value_coordinates(points.positions, cage.positions, cage.faces)
    >>> stretched = weights @ (cage.positions * torch.tensor([1.0, 3.0, 1.0]))
    >>> bool((stretched - points.positions * torch.tensor([1.0, 3.0, 1.0])).abs().max() < 1e-5)
    True
    """
    check_rows("points", points, 3)
    check_indices("faces", faces, 3, len(check_rows("cage", cage, 3)))
    step = max(1, _CHUNK // max(1, len(faces)))
    corners = cage.double()
    parts = [_mean_values(part, corners, faces.long()) for part in points.double().split(step)]
    return torch.cat(parts).to(points) if parts else points.new_zeros(0, len(cage))


def _mean_values(points: Tensor, cage: Tensor, faces: Tensor) -> Tensor:
    """Of points [P, 3]: each face is projected to the unit sphere around the point."""
    size = float((cage.amax(0) - cage.amin(0)).norm())
    ray = cage - points[:, None]
    distance = ray.norm(dim=-1)
    unit = (ray / distance[..., None].clamp_min(1e-300))[:, faces]  # [P, F, 3 corners, 3]
    away = distance[:, faces]
    after, before = [1, 2, 0], [2, 0, 1]
    angle = 2 * torch.asin((0.5 * (unit[..., after, :] - unit[..., before, :]).norm(dim=-1)).clamp(max=1.0))
    half = 0.5 * angle.sum(-1, keepdim=True)
    sine = angle.sin()
    cosine = 2 * half.sin() * (half - angle).sin() / (sine[..., after] * sine[..., before]) - 1
    side = torch.linalg.det(unit).sign()[..., None]
    height = side * (1 - cosine.square()).clamp_min(0).sqrt()
    ring = cosine[..., after] * angle[..., before] + cosine[..., before] * angle[..., after]
    weight = (angle - ring) / (away * sine[..., after] * height[..., before])
    # A face seen from its own plane contributes nothing, unless the point is on it.
    flat = (height.abs() < 1e-9).any(-1, keepdim=True)
    weight = torch.where(flat | ~weight.isfinite(), 0.0, weight)
    on_face = (math.pi - half < 1e-9) & (away > 1e-12 * size).all(-1, keepdim=True)
    planar = sine * away[..., after] * away[..., before]
    on_any = on_face.any(1, keepdim=True)
    weight = torch.where(on_any, torch.where(on_face, planar, 0.0), weight)
    total = points.new_zeros(len(points), len(cage)).index_add(1, faces.reshape(-1), weight.flatten(1))
    at = distance < 1e-12 * size
    total = torch.where(at.any(1, keepdim=True), at.to(total), total)
    return total / total.sum(1, keepdim=True)
