"""Marching cubes: the surface on which a grid of values has a given level.

Defined by :func:`lumigrad.reference.marching_cubes`; the kernel is ``native/implicit/marching_cubes.h``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.types import validation as check
from lumigrad.types.grids import Box, check_box, check_values, from_voxels
from lumigrad.types.shapes import Float, Int32

_MOST = 2**31 - 1


def marching_cubes(
    values: Float[Tensor, "depth height width"], level: float | Tensor = 0.0, box: Box | None = None
) -> tuple[Float[Tensor, "vertices 3"], Int32[Tensor, "triangles 3"]]:
    """Extract the surface on which a grid of values has a given level, as triangles.

    The inside is where values are at most `level`, as of a signed distance; triangles are counter-clockwise seen from
    outside. A value that equals the level is inside, NaN is outside. Cells and their neighbours agree on every face
    they share (an ambiguous one is decided by the sign at its saddle), so every edge of a triangle that does not lie
    on the border of the grid belongs to exactly two triangles. At the border the surface is open: pad the grid with
    values of the outside to close it.

    Args:
        values: [D, H, W], each at the centre of its voxel.
        level: a number, or a tensor of one number, which may ask for a gradient.
        box: the two corners [2, 3] of the grid, (x, y, z) each; by default voxels are of size 1, from the origin on.

    Returns:
        vertices [V, 3] and triangles [F, 3], int32. Vertices are shared, their order does not depend on the number of
        threads. Gradients reach `values`, `level` and `box`: a vertex moves on its edge. The host waits for the sizes.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices, or more than 2^31 - 1 vertices.

    Sources: Lorensen and Cline 1987, "Marching Cubes"; the decision at ambiguous faces: Nielson and Hamann 1991, "The
    Asymptotic Decider".

    >>> import torch
    >>> import lumigrad as lg
    >>> at = torch.linspace(-1.5, 1.5, 4)
    >>> distance = (at**2 + at[:, None] ** 2 + at[:, None, None] ** 2).sqrt() - 1
    >>> verts, faces = lg.marching_cubes(distance, box=[[-2, -2, -2], [2, 2, 2]])
    >>> verts.shape, faces.shape
    (torch.Size([24, 3]), torch.Size([44, 3]))
    """
    values = check_values("values", values)
    corners = check_box(box, values)
    level = _check_level(level, values)
    if needs_reference("marching_cubes", values):
        return reference.marching_cubes(values, level, corners)
    if isinstance(level, Tensor):
        values, level = values - level, 0.0
    values = values.contiguous()
    bits, vertex_base, cell_base, totals = _count(values.detach(), level)
    vertices, triangles, centres = totals.tolist()
    if max(vertices + centres, triangles) > _MOST:
        raise ValueError(f"values: expected at most {_MOST} triangles, got {triangles} and {vertices} vertices")
    points, faces, loops = _op(values, bits, vertex_base, cell_base, level, vertices, triangles, centres)
    if centres:
        used = (loops >= 0)[..., None].to(points)
        around = (points[loops.clamp(min=0)] * used).sum(1) / used.sum(1)
        points = torch.cat([points, around])
    return from_voxels(points, corners, values), faces


def _check_level(level: float | Tensor, values: Tensor) -> float | Tensor:
    if not isinstance(level, Tensor):
        return check.real("level", level)
    level = check.floating("level", level, values, "values")
    if level.numel() != 1:
        raise ValueError(f"level: expected one number, got shape {tuple(level.shape)}")
    return level.reshape(()) if level.requires_grad else float(level)


def _sizes(values: Tensor) -> tuple[int, ...]:
    depth, height, width = values.shape
    words = (width + 63) // 64
    return depth, height, width, words, 3 * depth * height * words + 1, depth * height * words + 1


def _op_sizes(values: Tensor) -> tuple[int, ...]:
    return _sizes(values)[:4]


_count = declare(
    "marching_cubes_count(Tensor values, float level)",
    sizes=("depth height width words vertex_sums cell_sums", _sizes),
    outputs={
        "bits": "depth height words",
        "vertex_base": "vertex_sums",
        "cell_base": "2 cell_sums",
        "totals": "3",
    },
)
_op = declare(
    "marching_cubes(Tensor values, Tensor bits, Tensor vertex_base, Tensor cell_base, float level, SymInt vertices, "
    "SymInt triangles, SymInt centres)",
    sizes=("depth height width words", _op_sizes),
    outputs={"verts": "vertices 3", "faces": "triangles 3", "loops": "centres 12"},
)
