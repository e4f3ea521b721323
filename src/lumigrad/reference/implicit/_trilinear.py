"""A grid of values as a function of space: trilinear between the centres of voxels, constant across around them."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.types.shapes import Float


def trilinear(
    grid: Float[Tensor, "depth height width"], points: Float[Tensor, "points 3"]
) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]]:
    """Values and their derivatives with respect to x, y, z, at points in voxels from the centre of the first voxel."""
    low = points.detach().nan_to_num(0.0).floor()
    x, y, z = (points - low).unbind(-1)
    index = []
    for k in range(3):
        last = grid.shape[2 - k] - 1
        cell = low[:, k].clamp(-1, last).long()
        index.append((cell.clamp(min=0), (cell + 1).clamp(max=last)))
    v = [grid[index[2][c >> 2], index[1][c >> 1 & 1], index[0][c & 1]] for c in range(8)]
    along_x = [(v[2 * r] + x * (v[2 * r + 1] - v[2 * r]), v[2 * r + 1] - v[2 * r]) for r in range(4)]
    plane, slope_x, slope_y = [], [], []
    for r in range(2):
        (value, slope), (next_value, next_slope) = along_x[2 * r], along_x[2 * r + 1]
        plane.append(value + y * (next_value - value))
        slope_x.append(slope + y * (next_slope - slope))
        slope_y.append(next_value - value)
    slopes = [part[0] + z * (part[1] - part[0]) for part in (slope_x, slope_y)]
    return plane[0] + z * (plane[1] - plane[0]), torch.stack([*slopes, plane[1] - plane[0]], -1)
