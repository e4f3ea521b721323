"""Voxel grids and fields as media that rays traverse in parts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.ops.field import composite, march, sample_rays
from lumigrad.render.field import looked_up
from lumigrad.render.merging import Medium, PixelRays
from lumigrad.scene.shapes.volume_field import VolumeField
from lumigrad.scene.shapes.voxel_grid import VoxelGrid
from lumigrad.types.grids import voxel_size

CHUNK = 2**20  # samples at which a field is evaluated at a time


def medium_of(shape: Any) -> Medium:
    """A `VoxelGrid` or a `VolumeField` as a medium."""
    return GridMedium(shape) if isinstance(shape, VoxelGrid) else FieldMedium(shape)


class GridMedium:
    """A grid, marched cell by cell."""

    def __init__(self, grid: VoxelGrid) -> None:
        self.grid = grid
        self.step = float(voxel_size(grid.box, grid.values[..., 0]).detach().min())

    def limits(self, rays: PixelRays) -> tuple[Tensor, Tensor]:
        return in_box(rays.origins, rays.directions, self.grid.box)

    def seen(self, origins: Tensor, directions: Tensor, begin: Tensor, end: Tensor) -> Tensor:
        grid = self.grid
        out = march(
            grid.values, origins, directions, grid.box, t_min=begin, t_max=end, activation=grid.activation,
            degree=grid.degree,
        )  # fmt: skip
        return torch.cat((out.features, out.depth[:, None], out.alpha[:, None]), -1)


class FieldMedium:
    """A field, evaluated at the middles of segments."""

    def __init__(self, field: VolumeField) -> None:
        self.field, self.step = field, field.step

    def limits(self, rays: PixelRays) -> tuple[Tensor, Tensor]:
        return in_box(rays.origins, rays.directions, self.field.corners)

    def seen(self, origins: Tensor, directions: Tensor, begin: Tensor, end: Tensor) -> Tensor:
        samples = sample_rays(
            origins.detach(), directions.detach(), self.field.corners.detach(), self.step, self.field.occupancy,
            begin.detach(), end.detach(),
        )  # fmt: skip
        ray = samples.ray
        if begin.requires_grad or end.requires_grad:
            samples = samples._replace(
                t_start=_moving(samples.t_start, ray, begin, end), t_end=_moving(samples.t_end, ray, begin, end)
            )
        middle = 0.5 * (samples.t_start + samples.t_end)
        parts = []
        for first in range(0, max(len(ray), 1), CHUNK):
            chosen = ray[first : first + CHUNK]
            along = directions.index_select(0, chosen)
            points = origins.index_select(0, chosen) + middle[first : first + CHUNK, None] * along
            parts.append(looked_up("function", self.field.function, points, along))
        density, color = (torch.cat(part) for part in zip(*parts, strict=True))
        out = composite(samples._replace(norms=None), density, color)
        return torch.cat((out.features, out.depth[:, None], out.alpha[:, None]), -1)


def _moving(t: Tensor, ray: Tensor, begin: Tensor, end: Tensor) -> Tensor:
    """The same distances [S], which now move with the ends of their intervals."""
    first, span = begin.index_select(0, ray), (end - begin).index_select(0, ray)
    share = (t - first.detach()) / span.detach()
    moved = first + share * span
    return t + (moved - moved.detach())


def in_box(origins: Tensor, directions: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays [R, 3] enter a box and leave it [R]; rays that miss it leave before they enter."""
    along = directions != 0
    inverse = 1 / torch.where(along, directions, 1)
    first, second = (torch.where(along, (corner - origins) * inverse, 0) for corner in box)
    within = ~along & (origins >= box[0]) & (origins <= box[1])
    beside = ~along & ~within
    enter = torch.minimum(first, second).masked_fill(within, -torch.inf).masked_fill(beside, torch.inf)
    leave = torch.maximum(first, second).masked_fill(within, torch.inf).masked_fill(beside, -torch.inf)
    return enter.amax(-1), leave.amin(-1)
