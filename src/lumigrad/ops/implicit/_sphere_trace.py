"""Rays and implicit surfaces.

Defined by :func:`lumigrad.reference.sphere_trace`; the kernel for grids is ``native/implicit/trace_grid.h``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.reference.implicit import trace_grid
from lumigrad.reference.implicit._sphere_trace import sphere_trace_with
from lumigrad.types.grids import Box
from lumigrad.types.shapes import Float
from lumigrad.types.surface_hits import SurfaceHits


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
    """Find where rays first enter an implicit surface, with derivatives by the implicit function theorem.

    Rays enter where the function falls from positive values to zero. One that starts inside first has to leave. A
    grid is traced exactly, cell by cell: in a cell the function along a ray is a cubic polynomial. A callable is traced
    by spheres that overlap, in steps of up to `relaxation` times the distance, and the crossing is then found by the
    secant method.

    With ``silhouette=0``, gradients are those of points that rays keep on hitting; that of visibility is missing. With
    a positive width, ``alpha`` carries it: rays that pass the surface within this distance, on either side, share the
    gradient of the silhouette. An image that is composited as :class:`~lumigrad.SurfaceHits` says then has the whole
    gradient. Its error is of second order in the width where a silhouette is smooth; rays must be closer to
    one another than the width, or few of them fall into the band.

    Args:
        sdf: a grid [D, H, W] of values at the centres of voxels, NaN where there is no surface, or a function from
            points [R, 3] to values [R]. Negative inside. Widths and steps take values for distances.
        origins, directions: [..., 3]; directions need not be of unit length.
        t_min, t_max: the part of the rays to look at, in units of the direction.
        box: two corners [2, 3]: where the grid lies, by default with voxels of size 1 from the origin on; or where to
            look for the surface of a function, by default everywhere.
        silhouette: the width of the band to one side, as a distance.
        steps: of a function, per ray at the most. A ray that has not arrived by then misses.
        tolerance: the shortest step, as a distance.
        relaxation: from 1 to less than 2.
        lipschitz: how fast the function may change, per distance; 1 for a signed distance.

    Returns:
        :class:`~lumigrad.SurfaceHits`. Gradients reach the grid, or what the function depends on, and the rays; those
        of rays that all but touch the surface are left out, for they have no bound.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices.

    Sources: Hart 1996, "Sphere Tracing"; Keinert et al. 2014, "Enhanced Sphere Tracing"; Hansson-Söderlund et al. 2022,
    "Ray Tracing of Signed Distance Function Grids"; derivatives: Yariv et al. 2020, "Multiview Neural Surface
    Reconstruction"; silhouettes: Wang et al. 2024, "A Simple Approach to Differentiable Rendering of SDFs".

    >>> import torch
    >>> import lumigrad as lg
    >>> radius = torch.tensor(1.0, requires_grad=True)
    >>> origins, directions = torch.tensor([[0.0, 0.6, 3.0], [0.0, 2.0, 3.0]]), torch.tensor([[0.0, 0.0, -1.0]] * 2)
    >>> hits = lg.sphere_trace(lambda x: x.norm(dim=-1) - radius, origins, directions)
    >>> hits.mask.tolist(), [round(t, 4) for t in hits.t.tolist()]
    ([True, False], [2.2, inf])
    >>> (slope,) = torch.autograd.grad(hits.t[0], radius)
    >>> round(float(slope), 4)  # 1 over the cosine of the ray and the normal
    -1.25
    """
    return sphere_trace_with(_trace_grid, sdf, origins, directions, t_min, t_max, box, silhouette, steps, tolerance,
                             relaxation, lipschitz)  # fmt: skip


def _trace_grid(
    grid: Tensor, origins: Tensor, directions: Tensor, t_min: float, t_max: float, band: float
) -> tuple[Tensor, Tensor, Tensor]:
    if needs_reference("sphere_trace", grid, "trace_grid"):
        return trace_grid(grid, origins, directions, t_min, t_max, band)
    found: tuple[Tensor, Tensor, Tensor] = _op(
        grid.contiguous(), origins.contiguous(), directions.contiguous(), t_min, t_max, band
    )
    return found


def _sizes(grid: Tensor, origins: Tensor) -> tuple[int, ...]:
    return *grid.shape, origins.shape[0]


_op = declare(
    "trace_grid(Tensor grid, Tensor origins, Tensor directions, float t_min, float t_max, float band)",
    sizes=("depth height width rays", _sizes),
    outputs={"hit": "rays", "near": "rays", "behind": "rays"},
)
