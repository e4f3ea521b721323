"""Rays through a mesh, defined in plain PyTorch: every ray is tested with every triangle, in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.types import Bvh, Hits
from lumigrad.types import validation as check
from lumigrad.types.shapes import Bool, Float, Int

# Ray-triangle pairs tested together.
_AT_ONCE = 1 << 20


def trace(
    origins: Float[Tensor, "*#rays 3"],
    directions: Float[Tensor, "*#rays 3"],
    vertices: Float[Tensor, "vertices 3"],
    tri: Int[Tensor, "triangles 3"],
    bvh: Bvh | None = None,
    t_min: float | Float[Tensor, "*#rays"] = 0.0,
    t_max: float | Float[Tensor, "*#rays"] = math.inf,
) -> Hits:
    """The first triangle that each ray hits; see :func:`lumigrad.trace`. The tree is not used."""
    origins, directions = check_rays(origins, directions, vertices)
    shape, dtype = origins.shape[:-1], origins.dtype
    rays = origins.reshape(-1, 3).double(), directions.reshape(-1, 3).double()
    corners = vertices.double()[tri.long()]
    with torch.no_grad():
        limits = [
            check_limit(name, t, shape, origins).reshape(-1, 1) for name, t in (("t_min", t_min), ("t_max", t_max))
        ]
        found = _first(*rays, corners, *limits)
    chosen = (found >= 0).nonzero()[:, 0]
    bary, t = _meeting(rays[0][chosen], rays[1][chosen], corners[found[chosen]])
    return Hits(
        found.to(torch.int32).view(shape),
        rays[0].new_zeros(len(found), 2).index_copy(0, chosen, bary).to(dtype).view(*shape, 2),
        rays[0].new_full((len(found),), math.inf).index_copy(0, chosen, t).to(dtype).view(shape),
    )


def occluded(
    origins: Float[Tensor, "*#rays 3"],
    directions: Float[Tensor, "*#rays 3"],
    vertices: Float[Tensor, "vertices 3"],
    tri: Int[Tensor, "triangles 3"],
    bvh: Bvh | None = None,
    t_min: float | Float[Tensor, "*#rays"] = 0.0,
    t_max: float | Float[Tensor, "*#rays"] = math.inf,
) -> Bool[Tensor, "*rays"]:
    """Whether each ray hits any triangle; see :func:`lumigrad.occluded`. The tree is not used."""
    return trace(origins, directions, vertices, tri, None, t_min, t_max).tri >= 0


def check_rays(origins: Any, directions: Any, vertices: Tensor) -> tuple[Tensor, Tensor]:
    """Origins and directions of one shape [..., 3]."""
    rays = {"origins": origins, "directions": directions}
    for name, value in rays.items():
        rays[name] = check.floating(name, value, vertices, "vertices")
        if value.dim() < 1 or value.shape[-1] != 3:
            raise ValueError(f"{name}: expected shape [..., 3], got {tuple(value.shape)}")
    try:
        origins, directions = torch.broadcast_tensors(*rays.values())
    except RuntimeError:
        raise ValueError(f"directions: expected a shape that broadcasts with origins' {tuple(origins.shape)}, got "
                         f"{tuple(directions.shape)}") from None  # fmt: skip
    return origins, directions


def check_limit(name: str, value: Any, shape: Sequence[int], origins: Tensor) -> Tensor:
    """A distance for each ray, [...]."""
    if isinstance(value, Tensor):
        value = check.like_image(name, check.floating(name, value, origins, "origins"), shape)
    else:
        value = check.constant(check.real(name, value), origins)
    return value.expand(shape)


def _edge_volumes(origins: Tensor, directions: Tensor, corners: Tensor) -> Tensor:
    """The side on which the ray passes each edge: all three have the same sign where it hits the triangle.

    For a shared edge, two triangles compute the same number with opposite signs, so no ray passes between them.
    """
    a, b, c = (corners - origins[..., None, :]).unbind(-2)
    pairs = (c, b), (a, c), (b, a)
    return torch.stack([(directions * torch.linalg.cross(*pair)).sum(-1) for pair in pairs], -1)


def _meeting(origins: Tensor, directions: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """The weights of the first two corners and the distance at which rays meet the planes of triangles."""
    volumes = _edge_volumes(origins, directions, corners)
    normal = torch.linalg.cross(corners[..., 0, :] - corners[..., 2, :], corners[..., 1, :] - corners[..., 2, :])
    t = ((corners[..., 2, :] - origins) * normal).sum(-1) / (directions * normal).sum(-1)
    return volumes[..., :2] / volumes.sum(-1, keepdim=True), t


def _first(origins: Tensor, directions: Tensor, corners: Tensor, t_min: Tensor, t_max: Tensor) -> Tensor:
    """The number of the triangle that each ray hits first, -1 for none."""
    normal = torch.linalg.cross(corners[:, 0] - corners[:, 2], corners[:, 1] - corners[:, 2])
    valid = corners.isfinite().all(-1).all(-1) & (normal != 0).any(-1)
    found = torch.full_like(origins[:, 0], -1, dtype=torch.int64)
    if not len(corners):
        return found
    step = max(1, _AT_ONCE // len(corners))
    for i in range(0, len(origins), step):
        o, d = origins[i : i + step, None], directions[i : i + step, None]
        volumes = _edge_volumes(o, d, corners)
        bary, t = _meeting(o, d, corners)
        hit = (volumes >= 0).all(-1) | (volumes <= 0).all(-1)
        hit &= valid & (volumes.sum(-1) != 0) & bary.isfinite().all(-1) & t.isfinite()
        hit &= (t >= t_min[i : i + step].clamp(min=0)) & (t <= t_max[i : i + step])
        nearest, number = torch.where(hit, t, math.inf).min(-1)
        found[i : i + step] = torch.where(nearest.isfinite(), number, -1)
    return found
