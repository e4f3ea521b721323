"""Rays and implicit surfaces, defined in plain PyTorch.

Intersections are found without gradients. Derivatives then follow from the function alone: with f(o + t d) = 0, dt =
-df / (grad f . d), whatever f depends on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lumigrad.reference.implicit._sphere_march import march_function, values_of
from lumigrad.reference.implicit._trace_grid import trace_grid
from lumigrad.reference.implicit._trilinear import trilinear
from lumigrad.types import validation as check
from lumigrad.types.grids import Box, check_box, check_corners, check_values, to_voxels, voxel_size
from lumigrad.types.shapes import Float
from lumigrad.types.surface_hits import SurfaceHits

# Values [R] and derivatives [R, 3] of a function at points [R, 3].
Field = Callable[[Tensor], tuple[Tensor, Tensor]]
Finder = Callable[[Tensor, Tensor, Tensor, float, float, float], tuple[Tensor, Tensor, Tensor]]
# Rays that meet the surface at a smaller cosine than this have no derivative.
_LEAST_COSINE = 1e-4


def sphere_trace(
    sdf: Float[Tensor, "depth height width"] | Callable[[Tensor], Tensor],
    origins: Float[Tensor, "*rays 3"],
    directions: Float[Tensor, "*rays 3"],
    t_min: float = 0.0,
    t_max: float = torch.inf,
    box: Box | None = None,
    *,
    silhouette: float = 0.0,
    steps: int = 256,
    tolerance: float = 1e-5,
    relaxation: float = 1.4,
    lipschitz: float = 1.0,
) -> SurfaceHits:
    """Where rays first enter an implicit surface; see :func:`lumigrad.sphere_trace`."""
    return sphere_trace_with(trace_grid, sdf, origins, directions, t_min, t_max, box, silhouette, steps, tolerance,
                             relaxation, lipschitz)  # fmt: skip


def sphere_trace_with(
    find: Finder,
    sdf: Any,
    origins: Tensor,
    directions: Tensor,
    t_min: float,
    t_max: float,
    box: Any,
    silhouette: float,
    steps: int,
    tolerance: float,
    relaxation: float,
    lipschitz: float,
) -> SurfaceHits:
    """`sphere_trace`, with the function `find` that traces rays through grids."""
    origins = check.floating("origins", origins)
    directions = check.floating("directions", directions, origins, "origins")
    if origins.dim() < 1 or origins.shape[-1] != 3:
        raise ValueError(f"origins: expected shape [..., 3], got {tuple(origins.shape)}")
    check.shape("directions", directions, tuple(origins.shape))
    t_min, t_max = _check_range(t_min, t_max)
    band = check.number("silhouette", silhouette)
    rays = origins.reshape(-1, 3), directions.reshape(-1, 3)
    if isinstance(sdf, Tensor):
        field, found = _through_grid(find, sdf, rays, t_min, t_max, box, band)
    elif callable(sdf):
        how = (
            check.integer("steps", steps, 1),
            check.number("tolerance", tolerance, positive=True),
            _between("relaxation", relaxation, 1.0, 2.0),
            check.number("lipschitz", lipschitz, positive=True),
        )
        field = differentiated(sdf)
        box = None if box is None else check_corners(box, origins, "origins").detach()
        with torch.no_grad():
            found = march_function(sdf, rays[0].detach(), rays[1].detach(), t_min, t_max, box, band, *how)
    else:
        raise TypeError(f"sdf: expected a grid [D, H, W] or a function of points, got {type(sdf).__name__}")
    return _shaped(_surface(field, *rays, found, band), origins.shape[:-1])


def _check_range(t_min: Any, t_max: Any) -> tuple[float, float]:
    low, high = check.real("t_min", t_min), check.real("t_max", t_max)
    if not 0 <= low <= high:
        raise ValueError(f"t_min, t_max: expected 0 <= t_min <= t_max, got {low} and {high}")
    return low, high


def _between(name: str, value: Any, low: float, high: float) -> float:
    number = check.real(name, value)
    if not low <= number < high:
        raise ValueError(f"{name}: expected a number of at least {low} and below {high}, got {number}")
    return number


def _through_grid(
    find: Finder, sdf: Tensor, rays: tuple[Tensor, Tensor], t_min: float, t_max: float, box: Any, band: float
) -> tuple[Field, tuple[Tensor, Tensor, Tensor]]:
    grid = check_values("sdf", sdf)
    if grid.dtype != rays[0].dtype or grid.device != rays[0].device:
        raise TypeError(f"sdf: expected {rays[0].dtype} on {rays[0].device} like origins, got {grid.dtype} on "
                        f"{grid.device}")  # fmt: skip
    corners = check_box(box, grid)
    size = voxel_size(corners, grid)
    with torch.no_grad():
        # A band of twice the width also holds surfaces whose function grows twice as fast as the distance.
        found = find(grid, to_voxels(rays[0], corners, grid), rays[1] / size, t_min, t_max, 2 * band)

    def field(points: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = trilinear(grid, to_voxels(points, corners, grid))
        return value, slope / size

    return field, found


def differentiated(sdf: Callable[[Tensor], Tensor]) -> Field:
    """A function of points [R, 3] and its derivatives, in a graph that can be differentiated again."""

    def field(points: Tensor) -> tuple[Tensor, Tensor]:
        wanted = torch.is_grad_enabled()
        with torch.enable_grad():
            leaf = points if points.requires_grad else points.detach().requires_grad_()
            value = values_of(sdf, leaf)
            if not value.requires_grad:
                raise ValueError("sdf: expected a function that autograd can differentiate with respect to its points")
            (slope,) = torch.autograd.grad(value.sum(), leaf, create_graph=wanted)
        return (value, slope) if wanted else (value.detach(), slope)

    return field


def _surface(
    field: Field, origins: Tensor, directions: Tensor, found: tuple[Tensor, Tensor, Tensor], band: float
) -> SurfaceHits:
    """The points found, with their derivatives: in front, the first of a hit and a near miss of the surface."""
    hit, near, behind = found
    passes = near < hit  # the surface, as seen from outside
    front = _points(field, origins, directions, hit, torch.where(passes, near, torch.inf))
    if band == 0:
        return front
    back = _points(field, origins, directions, torch.where(passes, hit, behind), torch.full_like(hit, torch.inf))
    mask = hit.isfinite() & ~passes
    alpha = mask.to(hit) + _visibility(field, origins, directions, near, band)
    return front._replace(mask=mask, alpha=alpha, back=back)


def _points(field: Field, origins: Tensor, directions: Tensor, hit: Tensor, near: Tensor) -> SurfaceHits:
    """The surface at `near` where that is finite, otherwise at `hit`."""
    passes = near.isfinite()
    start = torch.where(passes, near, hit)
    chosen = start.isfinite().nonzero()[:, 0]
    o, d, t = origins[chosen], directions[chosen], start[chosen]
    value, slope = field(o + t[:, None] * d)
    falls = (slope * d).sum(-1).detach()
    least = _LEAST_COSINE * slope.detach().norm(dim=-1) * d.detach().norm(dim=-1)
    clear = (falls < -least) & ~passes[chosen]
    t = torch.where(clear, t - (value - value.detach()) / torch.where(clear, falls, 1.0), t)
    points = o + t[:, None] * d
    _, slope = field(points)
    normals = torch.nn.functional.normalize(slope, dim=-1)
    mask = torch.zeros_like(passes)
    mask[chosen] = True
    mask &= ~passes
    return SurfaceHits(
        start.index_copy(0, chosen, t),
        torch.zeros_like(origins).index_copy(0, chosen, points),
        torch.zeros_like(origins).index_copy(0, chosen, normals),
        mask,
        mask.to(hit),
    )


def _visibility(field: Field, origins: Tensor, directions: Tensor, near: Tensor, band: float) -> Tensor:
    """Zero, with the gradient of visibility at silhouettes, spread over a band on both sides.

    Where a ray comes closest to the surface, its distance changes like the function there. A weight over distances that
    integrates to one converts the change of distance in the band to that of the visible area.
    """
    out = torch.zeros_like(near)
    chosen = near.isfinite().nonzero()[:, 0]
    along = torch.nn.functional.normalize(directions[chosen].detach(), dim=-1)
    points = origins[chosen] + near[chosen, None] * directions[chosen]
    # The closest point must not move along the ray; where cells meet, derivatives alone do not ensure that.
    moved = ((points - points.detach()) * along).sum(-1, keepdim=True)
    value, slope = field(points - moved * along)
    steepness = slope.detach().norm(dim=-1)
    valid = steepness > 0
    distance = value / torch.where(valid, steepness, 1.0)
    weight = (1 - distance.detach().abs() / band).clamp(min=0) / band * valid
    return out.index_copy(0, chosen, -weight * (distance - distance.detach()))


def _shaped(hits: SurfaceHits, shape: torch.Size) -> SurfaceHits:
    back = None if hits.back is None else _shaped(hits.back, shape)
    t, positions, normals, mask, alpha = hits[:5]
    return SurfaceHits(t.view(shape), positions.view(*shape, 3), normals.view(*shape, 3), mask.view(shape),
                       alpha.view(shape), back)  # fmt: skip
