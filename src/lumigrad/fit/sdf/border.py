"""The border of a grid, which is kept outside the surface so that this is closed."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.types.grids import voxel_size


def closed(values: Tensor, corners: Tensor) -> Tensor:
    """The values, with the border at least half a voxel outside."""
    half = 0.5 * float(voxel_size(corners, values).amin())
    values = values.nan_to_num(nan=half)
    return torch.where(border_of(values), values.clamp(min=half), values)


def border_of(values: Tensor) -> Tensor:
    """Which voxels lie on the border of their grid."""
    border = torch.ones_like(values, dtype=torch.bool)
    border[1:-1, 1:-1, 1:-1] = False
    return border
