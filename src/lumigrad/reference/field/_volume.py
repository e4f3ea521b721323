"""A grid over a box: interpolation at points, and occupied cells."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from lumigrad.reference._gradients import finite_gradient
from lumigrad.types import Occupancy


def interpolate(grid: Tensor, box: Tensor, points: Tensor) -> Tensor:
    """Values [..., C] at points [..., 3]. Between the outer voxel centres and the box, values are constant."""
    sizes = [grid.shape[2], grid.shape[1], grid.shape[0]]
    near, far, fraction = [], [], []
    for axis, size in enumerate(sizes):
        at = (points[..., axis] - box[0, axis]) / (box[1, axis] - box[0, axis]) * size - 0.5
        at = finite_gradient(at.nan_to_num(0.0).clamp(0, size - 1))
        first = at.detach().long().clamp(max=max(size - 2, 0))
        near.append(first)
        far.append((first + 1).clamp(max=size - 1))
        fraction.append(at - first)
    total: Tensor | float = 0.0
    for corner in itertools.product((False, True), repeat=3):
        x, y, z = (far[axis] if corner[axis] else near[axis] for axis in range(3))
        weights = [fraction[axis] if corner[axis] else 1 - fraction[axis] for axis in range(3)]
        total = total + (weights[0] * weights[1] * weights[2])[..., None] * grid[z, y, x]
    assert isinstance(total, Tensor)
    return total


def nested_cells(
    boxes: Sequence[Tensor], points: Tensor, size: Sequence[int]
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor], Tensor]:
    """The cells that points [..., 3] lie in, of grids with (X, Y, Z) cells each that cover nested boxes.

    Returns:
        The finest level that contains the point, the cell's indices along x, y, z, and whether any level contains it.
        For points outside, the nearest cell of the last level.
    """
    last = len(boxes) - 1
    level = torch.full(points.shape[:-1], last, dtype=torch.int64, device=points.device)
    place = inside = None
    for number in reversed(range(len(boxes))):
        here = (points - boxes[number][0]) / (boxes[number][1] - boxes[number][0])
        has = ((here >= 0) & (here <= 1)).all(-1)
        level = torch.where(has, number, level)
        place = here if place is None else torch.where(has[..., None], here, place)
        inside = has if inside is None else inside | has
    assert place is not None
    assert inside is not None
    cells = place * torch.tensor(size, device=place.device)
    x, y, z = (at.nan_to_num(0.0).clamp(0, count - 1).long() for at, count in zip(cells.unbind(-1), size, strict=True))
    return level, (x, y, z), inside


def occupied(occupancy: Occupancy, boxes: Sequence[Tensor], points: Tensor) -> Tensor:
    """Whether points [..., 3] lie in occupied cells of the finest level that contains them, bool [...]."""
    words = occupancy.words.reshape(len(boxes), *occupancy.words.shape[-3:])
    level, (x, y, z), _ = nested_cells(boxes, points, occupancy.size[::-1])
    word = words[level, z // 4, y // 4, x // 4]
    return (word >> (16 * (z % 4) + 4 * (y % 4) + x % 4) & 1).bool()
