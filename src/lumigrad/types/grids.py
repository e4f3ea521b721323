"""Grids of values over a box: between its corners lie D x H x W voxels, and a value belongs to its voxel's centre."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.types import validation as check

# Two corners, the lower and the upper, of (x, y, z) each.
Box = Tensor | Sequence[Sequence[float]]


def check_values(name: str, value: Any) -> Tensor:
    """Check a grid of single values [D, H, W]."""
    values = check.floating(name, value)
    if values.dim() != 3:
        raise ValueError(f"{name}: expected shape [D, H, W], got {tuple(values.shape)}")
    if values.device.type == "meta":
        raise ValueError(f"{name}: expected values, got a tensor on the device meta, which has none")
    return values


def check_level(level: float | Tensor, values: Tensor) -> float | Tensor:
    """Check a number, or a tensor of one number that may require a gradient."""
    if not isinstance(level, Tensor):
        return check.real("level", level)
    level = check.floating("level", level, values, "values")
    if level.numel() != 1:
        raise ValueError(f"level: expected one number, got shape {tuple(level.shape)}")
    return level.reshape(()) if level.requires_grad else float(level)


def check_box(box: Any, values: Tensor) -> Tensor:
    """The corners [2, 3] of the box around a grid [D, H, W]; by default voxels are of size 1, from the origin on.

    Raises:
        TypeError, ValueError: not two corners, or a box that is not finite or has no extent.
    """
    if box is None:
        return torch.tensor([[0.0, 0.0, 0.0], [*map(float, reversed(values.shape))]]).to(values)
    return check_corners(box, values, "values")


def check_corners(box: Any, like: Tensor, name: str) -> Tensor:
    """A lower and an upper corner [2, 3], of the dtype and on the device of the argument `name`. The values of a box on
    a device other than the CPU are not checked.

    Raises:
        TypeError, ValueError: not two corners, or a box that is not finite or has no extent.
    """
    if isinstance(box, Tensor):
        corners = check.floating("box", box, like, name)
    else:
        try:
            corners = torch.tensor(box, dtype=like.dtype, device=like.device)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"box: expected two corners of three numbers, got {box!r}") from None
    check.shape("box", corners, (2, 3))
    if check.values_can_be_checked() and corners.device.type == "cpu":
        low, high = corners.detach().tolist()
        extents = (corners[1] - corners[0]).detach()
        if not bool(((extents > 0) & extents.isfinite()).all()):
            raise ValueError(f"box: expected a lower and an upper corner, got {low} and {high}")
    return corners


def check_resolution(resolution: Any, name: str = "resolution") -> tuple[int, int, int]:
    """(D, H, W), given as three numbers or as one for all three."""
    sides = tuple(resolution) if isinstance(resolution, Sequence) else (resolution,) * 3
    if len(sides) != 3:
        raise ValueError(f"{name}: expected one number or three, got {resolution}")
    depth, height, width = (check.integer(name, side, 1, 2048) for side in sides)
    return depth, height, width


def scaled_box(box: Tensor, scale: float) -> Tensor:
    """A box `scale` times as large, with the same centre."""
    more = 0.5 * (scale - 1) * (box[1] - box[0])
    return torch.stack((box[0] - more, box[1] + more))


def voxel_size(box: Tensor, values: Tensor) -> Tensor:
    """The size of a voxel along x, y and z, for a grid [D, H, W] in a box."""
    counts = box.new_tensor([max(count, 1) for count in reversed(values.shape)])
    return (box[1] - box[0]) / counts


def voxel_centers(box: Tensor, size: Sequence[int]) -> Tensor:
    """The centres [D, H, W, 3] of D x H x W voxels in a box."""
    axes = [
        box[0, k] + (torch.arange(n, device=box.device, dtype=box.dtype) + 0.5) * ((box[1, k] - box[0, k]) / n)
        for k, n in zip((2, 1, 0), size, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)


def from_voxels(points: Tensor, box: Tensor, values: Tensor) -> Tensor:
    """Convert points from voxel coordinates, which start at the centre of the first voxel, to the box."""
    return box[0] + (points + 0.5) * voxel_size(box, values)


def to_voxels(points: Tensor, box: Tensor, values: Tensor) -> Tensor:
    """Convert points in the box to voxel coordinates, which start at the centre of the first voxel."""
    return (points - box[0]) / voxel_size(box, values) - 0.5
