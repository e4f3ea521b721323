"""Marching cubes, defined in plain PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.reference.implicit._crossing import crossing
from lumigrad.reference.implicit._cube_cases import CENTRE, EDGES, FACES, cube_cases
from lumigrad.types.grids import check_box, check_values, from_voxels
from lumigrad.types.shapes import Float, Int32

# Vertices are numbered by groups of this many points of a row, then by the axes of the edges in a group.
_WORD = 64


def marching_cubes(
    values: Float[Tensor, "depth height width"], level: float | Tensor = 0.0, box: Any = None
) -> tuple[Float[Tensor, "vertices 3"], Int32[Tensor, "triangles 3"]]:
    """The surface on which a grid of values has a given level, as triangles; see :func:`lumigrad.marching_cubes`."""
    values = check_values("values", values)
    corners = check_box(box, values)
    shifted = values - level
    inside = shifted.detach() <= 0
    number, points = _vertices(shifted, inside)
    faces, loops = _triangles(shifted.detach(), inside, number, len(points))
    if len(loops):
        used = (loops >= 0)[..., None].to(points)
        centres = (points[loops.clamp(min=0)] * used).sum(1) / used.sum(1)
        points = torch.cat([points, centres])
    return from_voxels(points, corners, values), faces.int()


def _vertices(shifted: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers of the vertices on the edges [3, D, H, W] from each point (-1: none), and their positions."""
    height, width = inside.shape[1:]
    words = (width + _WORD - 1) // _WORD
    keys, points, places = [], [], []
    for axis in range(3):
        dim = 2 - axis
        size = max(inside.shape[dim] - 1, 0)
        cut = inside.narrow(dim, 0, size) != inside.narrow(dim, inside.shape[dim] - size, size)
        z, y, x = place = cut.nonzero(as_tuple=True)
        end = tuple(index + (k == dim) for k, index in enumerate(place))
        part = crossing(shifted[place], shifted[end])
        moved = [index.to(shifted) for index in (x, y, z)]
        moved[axis] = moved[axis] + part
        points.append(torch.stack(moved, -1))
        keys.append((((z * height + y) * words + x // _WORD) * 3 + axis) * _WORD + x % _WORD)
        places.append(((axis * inside.shape[0] + z) * height + y) * width + x)
    order = torch.cat(keys).argsort()
    number = torch.full((3 * inside.numel(),), -1, device=inside.device)
    number[torch.cat(places)[order]] = torch.arange(len(order), device=inside.device)
    return number.view(3, *inside.shape), torch.cat(points)[order]


def _triangles(shifted: Tensor, inside: Tensor, number: Tensor, vertices: int) -> tuple[Tensor, Tensor]:
    """Triangles [F, 3], and the vertices around each centre [C, 12], then -1."""
    if min(inside.shape) < 2:
        return number.new_zeros(0, 3), number.new_zeros(0, 12)
    cases = [table.to(inside.device) for table in cube_cases()]
    ambiguous, first, triangles, centre = cases[:4]
    case = torch.stack([_at_corner(inside, c).long() << c for c in range(8)]).sum(0)
    cells = ((case > 0) & (case < 255)).nonzero(as_tuple=True)
    case, values = case[cells], torch.stack([_at_corner(shifted, c)[cells] for c in range(8)], -1)
    joined = torch.stack([_is_joined(values, face) for face in FACES], -1)
    bit = ambiguous[case].long().cumsum(-1) - 1
    subcase = first[case] + ((joined & ambiguous[case]).long() << bit.clamp(min=0)).sum(-1)

    ids = torch.stack([_at_corner(number[axis], c)[cells] for axis, c in EDGES], -1)
    with_centre = centre[subcase, 0] >= 0
    hub = vertices + with_centre.long().cumsum(0) - 1
    ids = torch.cat([ids, hub[:, None]], -1)
    used = triangles[subcase][..., 0] >= 0
    faces = ids.gather(1, triangles[subcase].flatten(1).clamp(min=0)).view(-1, 12, 3)[used]
    around = centre[subcase][with_centre]
    loops = torch.where(around >= 0, ids[with_centre].gather(1, around.clamp(min=0)), -1)
    assert triangles.max() == CENTRE
    return faces, loops


def _at_corner(grid: Tensor, corner: int) -> Tensor:
    """The values of all cells at one of their corners."""
    depth, height, width = grid.shape
    x, y, z = corner & 1, corner >> 1 & 1, corner >> 2
    return grid[z : depth - 1 + z, y : height - 1 + y, x : width - 1 + x]


def _is_joined(values: Tensor, face: list[int]) -> Tensor:
    """Whether inside corners are joined across an ambiguous face: the sign at the saddle of the bilinear values."""
    even, odd = values[:, face[0]] * values[:, face[2]], values[:, face[1]] * values[:, face[3]]
    return torch.where(values[:, face[0]] <= 0, even >= odd, odd >= even)
