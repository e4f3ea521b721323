"""FlexiCubes, in plain PyTorch: a vertex in each part of a cell, and a quadrilateral across each edge."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.reference._gradients import finite_gradient
from lumigrad.reference.implicit._cube_cases import EDGES, FACES, CubeCases, cube_cases
from lumigrad.types import validation as check
from lumigrad.types.grids import Box, check_box, check_level, check_values, from_voxels
from lumigrad.types.shapes import Float, Int32

# Weights are 1 + _SCALE tanh, of quadrilaterals (1 - _SCALE) / 2 + _SCALE sigmoid.
_SCALE = 0.99
_ENDS = [(corner, corner | 1 << axis) for axis, corner in EDGES]
_FACE_EDGES = [[e for e, ends in enumerate(_ENDS) if set(ends) <= set(face)] for face in FACES]


def flexicubes(
    values: Float[Tensor, "depth height width"],
    alpha: Float[Tensor, "depth-1 height-1 width-1 8"] | None = None,
    beta: Float[Tensor, "depth-1 height-1 width-1 12"] | None = None,
    gamma: Float[Tensor, "depth-1 height-1 width-1"] | None = None,
    vertices: Float[Tensor, "depth height width 3"] | None = None,
    level: float | Tensor = 0.0,
    box: Box | None = None,
    *,
    training: bool = False,
) -> tuple[Float[Tensor, "points 3"], Int32[Tensor, "triangles 3"], Float[Tensor, " cuts"]]:
    """Extract a surface from a grid of values by dual marching cubes with weights, which keeps sharp features.

    A cell has a vertex for each part of the surface in it, the mean of where it cuts its edges. Each edge that is
    cut has a quadrilateral of the vertices around it. Weights move the vertices within their cells.

    The inside is where values are at most `level`; NaN is outside. Triangles are counter-clockwise seen from outside.
    Ambiguous faces keep the inside apart, except where the cells on both sides would connect it to itself and four
    triangles would meet in an edge. At the border of the grid the surface is open.

    Args:
        values: [D, H, W], each at the centre of its voxel.
        alpha: [D-1, H-1, W-1, 8], of the corners of cells, corner x + 2 y + 4 z: they move the cuts of edges. Any
            numbers: 1 + 0.99 tanh(alpha) is the weight.
        beta: [D-1, H-1, W-1, 12], of the edges of cells, those along x, y and z, each four in the order of their lower
            corners: weights of the mean, 1 + 0.99 tanh(beta).
        gamma: [D-1, H-1, W-1], of cells: a quadrilateral is divided along the diagonal whose ends have the larger
            product of 0.005 + 0.99 sigmoid(gamma).
        vertices: [D, H, W, 3], where the values are, if moved; by default the centres of voxels.
        level: a number, or a tensor of one.
        box: two corners [2, 3] of the grid, by default with voxels of size 1 from the origin on.
        training: divide quadrilaterals into four triangles around a centre that depends on gamma, for its gradient.

    Returns:
        vertices [V, 3]; triangles [F, 3], int32; and for each cut of an edge of a cell how much farther or nearer it is
        to its vertex than the others around that: the mean of this is the regulariser of the weights. Gradients reach
        all floating-point inputs. In plain PyTorch, on any device.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices.

    Source: Shen et al. 2023, "Flexible Isosurface Extraction for Gradient-Based Mesh Optimization".

    >>> import torch
    >>> import lumigrad as lg
    >>> at = torch.linspace(-1.5, 1.5, 4)
    >>> distance = (at**2 + at[:, None] ** 2 + at[:, None, None] ** 2).sqrt() - 1
    >>> verts, faces, deviation = lg.flexicubes(distance)
    >>> verts.shape, faces.shape, deviation.shape
    (torch.Size([26, 3]), torch.Size([48, 3]), torch.Size([96]))
    """
    values = check_values("values", values)
    corners = check_box(box, values)
    cells = tuple(max(size - 1, 0) for size in values.shape)
    alpha, beta, gamma = (
        _weights(name, value, values, (*cells, *more))
        for name, value, more in (("alpha", alpha, (8,)), ("beta", beta, (12,)), ("gamma", gamma, ()))
    )
    if vertices is None:
        vertices = from_voxels(_lattice(values), corners, values)
    vertices = check.floating("vertices", vertices, values, "values")
    check.shape("vertices", vertices, (*values.shape, 3))
    if 0 in cells:
        return values.new_zeros(0, 3), torch.zeros(0, 3, dtype=torch.int32, device=values.device), values.new_zeros(0)

    level = check_level(level, values)
    values, alpha, beta, gamma, vertices = map(finite_gradient, (values, alpha, beta, gamma, vertices))
    shifted = values - (finite_gradient(level) if isinstance(level, Tensor) else level)
    inside = shifted.detach() <= 0
    cases = CubeCases(*(table.to(values.device) for table in cube_cases()))
    subcase = _subcases(inside, cases)
    chosen = (cases.loops[subcase] > 0).nonzero(as_tuple=True)
    subcase = subcase[chosen]
    patch, count = cases.patch[subcase], cases.loops[subcase]
    first = count.cumsum(0) - count
    cell, edge = (patch >= 0).nonzero(as_tuple=True)
    group = first[cell] + patch[cell, edge]

    weights = 1 + _SCALE * torch.tanh(alpha[chosen])
    s = torch.stack([_at_corner(shifted, c)[chosen] for c in range(8)], 1)
    x = torch.stack([_at_corner(vertices, c)[chosen] for c in range(8)], 1)
    ends = torch.tensor(_ENDS, device=values.device)[edge]
    a, b = ends.unbind(-1)
    moved = _cut(x[cell, a], x[cell, b], weights[cell, a] * s[cell, a], weights[cell, b] * s[cell, b])
    plain = _cut(x[cell, a], x[cell, b], s[cell, a], s[cell, b])
    importance = (1 + _SCALE * torch.tanh(beta[chosen]))[cell, edge]
    total = int(count.sum())
    points = _sum(importance[:, None] * moved, group, total) / _sum(importance, group, total)[:, None]

    ids = torch.full((*cells, 12), -1, device=values.device)
    z, y, across = (index[cell] for index in chosen)
    ids[z, y, across, edge] = group
    quads, owners = _quads(inside, ids)
    gamma = ((1 - _SCALE) / 2 + _SCALE * torch.sigmoid(gamma)).flatten()[owners]
    verts, faces = _divide(points, quads, gamma, training)
    return verts, faces.int(), _deviation(points, plain, group)


def _weights(name: str, value: Any, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    if value is None:
        return values.new_zeros(shape)
    value = check.floating(name, value, values, "values")
    check.shape(name, value, shape)
    return value


def _lattice(values: Tensor) -> Tensor:
    axes = [torch.arange(size).to(values) for size in values.shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)


def _at_corner(grid: Tensor, corner: int) -> Tensor:
    depth, height, width = grid.shape[:3]
    x, y, z = corner & 1, corner >> 1 & 1, corner >> 2
    return grid[z : depth - 1 + z, y : height - 1 + y, x : width - 1 + x]


def _subcases(inside: Tensor, cases: CubeCases) -> Tensor:
    """The subcase of every cell.

    Where an ambiguous face would lie between two cells in each of which it is crossed twice by the same part of the
    surface, its inside corners are joined.
    """
    case = sum(_at_corner(inside, c).long() << c for c in range(8))
    assert isinstance(case, Tensor)
    ambiguous = cases.ambiguous[case]
    bit = (ambiguous.long().cumsum(-1) - 1).clamp(min=0)
    twice = _crossed_twice(cases)
    joined = torch.zeros_like(ambiguous)
    while True:
        subcase = cases.first[case] + ((joined & ambiguous).long() << bit).sum(-1)
        pinched = twice[subcase] & ambiguous
        changed = False
        for axis in range(3):
            dim = 2 - axis
            size = case.shape[dim] - 1
            # The upper faces of cells, and the lower faces of the next.
            upper, lower = 2 * axis + 1, 2 * axis
            both = pinched[..., upper].narrow(dim, 0, size) & pinched[..., lower].narrow(dim, 1, size)
            both = both & ~joined[..., upper].narrow(dim, 0, size)
            if bool(both.any()):
                joined[..., upper].narrow(dim, 0, size).logical_or_(both)
                joined[..., lower].narrow(dim, 1, size).logical_or_(both)
                changed = True
        if not changed:
            return subcase


def _crossed_twice(cases: CubeCases) -> Tensor:
    """bool [subcases, 6]: all four edges of a face belong to one part of the surface."""
    edges = cases.patch[:, torch.tensor(_FACE_EDGES, device=cases.patch.device)]
    return (edges[..., 0] >= 0) & (edges == edges[..., :1]).all(-1)


def _cut(start: Tensor, end: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The zero between values a and b of opposite sign; the middle if one is not finite."""
    part = a / (a - b)
    good = part.isfinite() & a.isfinite() & b.isfinite()
    part = torch.where(good, torch.where(good, a, 1.0) / torch.where(good, a - b, 2.0), 0.5)
    return start + part[:, None] * (end - start)


def _sum(rows: Tensor, group: Tensor, groups: int) -> Tensor:
    return rows.new_zeros(groups, *rows.shape[1:]).index_add(0, group, rows)


def _deviation(points: Tensor, cuts: Tensor, group: Tensor) -> Tensor:
    apart = cuts - points[group]
    square = (apart**2).sum(-1)
    distance = torch.where(square > 0, torch.where(square > 0, square, 1.0).sqrt(), 0.0)
    mean = _sum(distance, group, len(points)) / _sum(torch.ones_like(distance), group, len(points))
    return (distance - mean[group]).abs()


def _quads(inside: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The vertices [Q, 4] around each edge that is cut and has cells on all sides, and the numbers of these cells."""
    depth, height, width = ids.shape[:3]
    number = torch.arange(depth * height * width, device=ids.device).view(depth, height, width)
    quads, owners = [], []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        low = _between(inside, axis, u, v, 0)
        cut = low != _between(inside, axis, u, v, 1)
        around, cells = [], []
        for before_u, before_v in ((1, 1), (0, 1), (0, 0), (1, 0)):
            corner = before_u << u | before_v << v
            window: list[slice] = [slice(None)] * 3
            for k, before in ((u, before_u), (v, before_v)):
                window[2 - k] = slice(0, -1) if before else slice(1, None)
            around.append(ids[..., EDGES.index((axis, corner))][tuple(window)][cut])
            cells.append(number[tuple(window)][cut])
        rises = low[cut][:, None]
        quad, cell = torch.stack(around, -1), torch.stack(cells, -1)
        quads.append(torch.where(rises, quad, quad.flip(-1)))
        owners.append(torch.where(rises, cell, cell.flip(-1)))
    return torch.cat(quads), torch.cat(owners)


def _between(grid: Tensor, axis: int, u: int, v: int, end: int) -> Tensor:
    """The values at one end of all edges along an axis, except those at the border."""
    window: list[slice] = [slice(None)] * 3
    window[2 - axis] = slice(1, None) if end else slice(0, -1)
    window[2 - u] = window[2 - v] = slice(1, -1)
    return grid[tuple(window)]


def _divide(points: Tensor, quads: Tensor, gamma: Tensor, training: bool) -> tuple[Tensor, Tensor]:
    even, odd = gamma[:, 0] * gamma[:, 2], gamma[:, 1] * gamma[:, 3]
    a, b, c, d = quads.unbind(-1)
    if not training:
        first = torch.where((even > odd)[:, None], torch.stack([a, b, c], -1), torch.stack([a, b, d], -1))
        second = torch.where((even > odd)[:, None], torch.stack([a, c, d], -1), torch.stack([d, b, c], -1))
        return points, torch.stack([first, second], 1).view(-1, 3)
    middle_even, middle_odd = 0.5 * (points[a] + points[c]), 0.5 * (points[b] + points[d])
    total = (even + odd + 1e-8)[:, None]
    centres = (even[:, None] * middle_even + odd[:, None] * middle_odd) / total
    hub = len(points) + torch.arange(len(quads), device=quads.device)
    sides = [torch.stack([p, q, hub], -1) for p, q in ((a, b), (b, c), (c, d), (d, a))]
    return torch.cat([points, centres]), torch.stack(sides, 1).view(-1, 3)
