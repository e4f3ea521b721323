"""A grid over a box: what is interpolated at a point, and which cells are occupied."""

from __future__ import annotations

import itertools

from torch import Tensor

from lumigrad.types import Occupancy


def interpolate(grid: Tensor, box: Tensor, points: Tensor) -> Tensor:
    """Values [..., C] at points [..., 3]. Between the outer voxels' centres and the box, values go on."""
    sizes = [grid.shape[2], grid.shape[1], grid.shape[0]]
    near, far, fraction = [], [], []
    for axis, size in enumerate(sizes):
        at = (points[..., axis] - box[0, axis]) / (box[1, axis] - box[0, axis]) * size - 0.5
        at = at.nan_to_num(0.0).clamp(0, size - 1)
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


def occupied(occupancy: Occupancy, box: Tensor, points: Tensor) -> Tensor:
    """Whether points [..., 3] lie in occupied cells, bool [...]."""
    depth, height, width = occupancy.size
    cell = []
    for axis, size in enumerate((width, height, depth)):
        at = (points[..., axis] - box[0, axis]) / (box[1, axis] - box[0, axis]) * size
        cell.append(at.nan_to_num(0.0).clamp(0, size - 1).long())
    x, y, z = cell
    word = occupancy.words[z // 4, y // 4, x // 4]
    return (word >> (16 * (z % 4) + 4 * (y % 4) + x % 4) & 1).bool()
