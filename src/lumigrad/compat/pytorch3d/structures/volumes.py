"""Batches of voxel grids."""

from __future__ import annotations

import copy as copying
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.common.datatypes import Device, make_device
from lumigrad.compat.pytorch3d.structures._rows import Batch, chosen
from lumigrad.compat.pytorch3d.structures.utils import list_to_padded
from lumigrad.compat.pytorch3d.transforms.transform3d import Scale, Transform3d

Sizes = Sequence[int] | Sequence[Sequence[int]] | Sequence[Tensor] | Tensor


class VolumeLocator:
    """Where the voxels of N grids are in the world.

    Local coordinates are those of `grid_sample`: x along the width, y along the height, z along the depth, -1 and 1 at
    the centres of the outermost voxels (at the outer faces without `align_corners`). In the world, a local position is
    at `local * (size - 1) * voxel_size / 2 - volume_translation`, whatever `align_corners` is.

    Args:
        batch_size: N.
        grid_sizes: (depth, height, width) of all grids, or of each of them.
        device: where the transformation is kept.
        voxel_size: a number, (x, y, z), [1], [3], [N, 1] or [N, 3].
        volume_translation: (x, y, z), [3] or [N, 3]. The centre of the grid is at its negative.
        align_corners: see above.
        dtype: of the transformation. Not in PyTorch3D.

    Raises:
        ValueError: shapes that do not fit.
    """

    def __init__(
        self, batch_size: int, grid_sizes: Sizes, device: Device, voxel_size: Any = 1.0,
        volume_translation: Any = (0.0, 0.0, 0.0), align_corners: bool = True, dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        self.device = device if isinstance(device, torch.device) else torch.device(device)
        sizes = _sizes_of_each(grid_sizes, batch_size)
        self._grid_sizes = torch.tensor(sizes, dtype=torch.int64, device=self.device).reshape(batch_size, 3)
        self._resolution = tuple(max((size[k] for size in sizes), default=0) for k in range(3))
        self._mixed = any(tuple(size) != self._resolution for size in sizes)
        self._flat = any(side == 1 for size in sizes for side in size)
        self._align_corners = align_corners
        options: dict[str, Any] = {"dtype": dtype, "device": self.device}
        voxel = _triples("voxel_size", voxel_size, batch_size, (1, 3), options)
        moved = _triples("volume_translation", volume_translation, batch_size, (3,), options)
        half = (self._grid_sizes.flip(1).to(dtype) - 1) / 2
        self._local_to_world_transform = Scale(half * voxel, dtype=dtype, device=self.device).translate(-moved)

    def __len__(self) -> int:
        return len(self._grid_sizes)

    @property
    def align_corners(self) -> bool:
        return self._align_corners

    def get_align_corners(self) -> bool:
        return self._align_corners

    def get_grid_sizes(self) -> Tensor:
        """(depth, height, width) of each grid [N, 3]."""
        return self._grid_sizes

    def get_local_to_world_coords_transform(self) -> Transform3d:
        return self._local_to_world_transform

    def get_world_to_local_coords_transform(self) -> Transform3d:
        """The inverse of the other.

        Raises:
            ValueError: a grid of one voxel along an axis, of which no local position in the world is known.
        """
        if self._flat:
            raise ValueError(
                "world_to_local: expected at least 2 voxels along every axis, got grids (depth, height, width) of "
                f"{self._grid_sizes.tolist()}"
            )
        return self._local_to_world_transform.inverse()

    def world_to_local_coords(self, points_3d_world: Tensor) -> Tensor:
        """Positions [N, ..., 3] in local coordinates."""
        return _transformed(self.get_world_to_local_coords_transform(), points_3d_world)

    def local_to_world_coords(self, points_3d_local: Tensor) -> Tensor:
        """Positions [N, ..., 3] in the world."""
        return _transformed(self._local_to_world_transform, points_3d_local)

    def get_coord_grid(self, world_coordinates: bool = True) -> Tensor:
        """The centres of all voxels [N, depth, height, width, 3], in the world or in local coordinates.

        Grids smaller than the largest of the batch are continued outwards.
        """
        dtype = self._local_to_world_transform.get_matrix().dtype
        axes = []
        for k in range(3):
            index = torch.arange(self._resolution[k], device=self.device)
            size = self._grid_sizes[:, k : k + 1]
            span = (size - 1).clamp(min=1) if self._align_corners else size
            place = (2 * index - size + 1).to(dtype) / span.to(dtype)
            axes.append(place.reshape(len(self), *[len(index) if k == j else 1 for j in range(3)]))
        z, y, x = axes
        local = torch.stack(torch.broadcast_tensors(x, y, z), -1)
        return self.local_to_world_coords(local) if world_coordinates else local

    def local_in_padded(self, local: Tensor) -> Tensor:
        """Local coordinates [N, ..., 3] counted over the padded tensor, of which each grid is a corner.

        Not in PyTorch3D, which samples smaller grids of a batch as if they were stretched over the whole tensor.
        """
        if not self._mixed:
            return local
        less = 1 if self._align_corners else 0
        own = (self._grid_sizes.flip(1) - less).to(local.dtype)
        whole = own.new_tensor([side - less for side in reversed(self._resolution)]).clamp(min=1)
        ratio = (own / whole).reshape(len(self), *[1] * (local.ndim - 2), 3)
        return (local + 1) * ratio - 1

    def _mapped(self, transform: Transform3d, sizes: Tensor, device: torch.device) -> VolumeLocator:
        other = copying.copy(self)
        other._local_to_world_transform, other._grid_sizes, other.device = transform, sizes, device
        return other

    def to(self, device: Device, copy: bool = False) -> VolumeLocator:
        """On a device; the locator itself where it is there already."""
        place = make_device(device)
        if place == self.device and not copy:
            return self
        sizes = self._grid_sizes.to(place, copy=copy)
        return self._mapped(self._local_to_world_transform.to(place, copy=copy), sizes, place)

    def cpu(self) -> VolumeLocator:
        return self.to("cpu")

    def cuda(self) -> VolumeLocator:
        return self.to("cuda")

    def clone(self) -> VolumeLocator:
        return self._mapped(self._local_to_world_transform.clone(), self._grid_sizes.clone(), self.device)

    def __getitem__(self, index: Any) -> VolumeLocator:
        """The locator of some of the grids, in a padded tensor of the same size."""
        numbers = chosen(index, len(self))
        transform = Transform3d(matrix=self._local_to_world_transform.get_matrix()[numbers])
        other = self._mapped(transform, self._grid_sizes[numbers], self.device)
        sizes = [tuple(size) for size in other._grid_sizes.tolist()]
        other._mixed = any(size != self._resolution for size in sizes)
        other._flat = any(side == 1 for size in sizes for side in size)
        return other


class Volumes:
    """N voxel grids with densities and, it may be, features.

    Args:
        densities: [N, C, depth, height, width], or a list of [C, depth, height, width] of any sizes, which is padded
            with zeros.
        features: [N, F, ...] or a list of [F, ...], of the same sizes.
        voxel_size, volume_translation, align_corners: of `VolumeLocator`.

    Raises:
        ValueError: shapes, devices or sizes that do not fit.
    """

    def __init__(
        self, densities: Batch, features: Batch | None = None, voxel_size: Any = 1.0,
        volume_translation: Any = (0.0, 0.0, 0.0), align_corners: bool = True,
    ) -> None:  # fmt: skip
        self._densities, sizes = _padded("densities", densities)
        self.device = self._densities.device
        single = self._densities.dtype in (torch.float16, torch.bfloat16) or not self._densities.is_floating_point()
        self.locator = VolumeLocator(
            len(self._densities), sizes, self.device, voxel_size, volume_translation, align_corners,
            torch.float32 if single else self._densities.dtype,
        )  # fmt: skip
        self._features: Tensor | None = None
        if features is not None:
            self._set_features(features)

    def __len__(self) -> int:
        return len(self._densities)

    def __iter__(self) -> Iterator[Volumes]:
        return (self[n] for n in range(len(self)))

    def __getitem__(self, index: Any) -> Volumes:
        """Some of the volumes; one of them is a batch of one.

        Raises:
            IndexError: an index beyond the batch or of another kind.
        """
        numbers = chosen(index, len(self))
        features = None if self._features is None else self._features[numbers]
        return self._with(self._densities[numbers], features, self.locator[numbers])

    def _with(self, densities: Tensor, features: Tensor | None, locator: VolumeLocator) -> Volumes:
        other = copying.copy(self)
        other._densities, other._features, other.locator = densities, features, locator
        other.device = locator.device
        return other

    @property
    def align_corners(self) -> bool:
        return self.locator.align_corners

    def densities(self) -> Tensor:
        """[N, C, depth, height, width]."""
        return self._densities

    def features(self) -> Tensor | None:
        """[N, F, depth, height, width], or None."""
        return self._features

    def densities_list(self) -> list[Tensor]:
        """Of each volume without padding."""
        return self._unpadded(self._densities)

    def features_list(self) -> list[Tensor] | None:
        """Of each volume without padding, or None."""
        return None if self._features is None else self._unpadded(self._features)

    def _unpadded(self, values: Tensor) -> list[Tensor]:
        sizes = self.get_grid_sizes().tolist()
        return [value[:, :depth, :height, :width] for value, (depth, height, width) in zip(values, sizes)]

    def get_grid_sizes(self) -> Tensor:
        """(depth, height, width) of each volume [N, 3], int64."""
        return self.locator._grid_sizes

    def _checked(self, name: str, value: Batch) -> Tensor:
        """Values of the volumes' own sizes, padded."""
        padded, sizes = _padded(name, value)
        if padded.device != self.device:
            raise ValueError(f"{name}: expected a tensor on {self.device}, got one on {padded.device}")
        if len(padded) != len(self) or tuple(padded.shape[2:]) != self.locator._resolution:
            raise ValueError(
                f"{name}: expected shape [{len(self)}, channels, {', '.join(map(str, self.locator._resolution))}], "
                f"got {list(padded.shape)}"
            )
        own = self.get_grid_sizes().tolist()
        if not isinstance(value, Tensor) and sizes != own:
            raise ValueError(f"{name}: expected grids of (depth, height, width) {own}, got {sizes}")
        return padded

    def _set_densities(self, densities: Batch) -> None:
        """Replace the densities. Raises ValueError where they are of other sizes."""
        self._densities = self._checked("densities", densities)

    def _set_features(self, features: Batch) -> None:
        """Replace the features. Raises ValueError where they are of other sizes."""
        self._features = self._checked("features", features)

    def update_padded(self, new_densities: Batch, new_features: Batch | None = None) -> Volumes:
        """The same grids with other densities and features, padded or as lists.

        Raises:
            ValueError: other sizes.
        """
        densities = self._checked("new_densities", new_densities)
        features = None if new_features is None else self._checked("new_features", new_features)
        return self._with(densities, features, self.locator)

    def get_local_to_world_coords_transform(self) -> Transform3d:
        return self.locator.get_local_to_world_coords_transform()

    def get_world_to_local_coords_transform(self) -> Transform3d:
        return self.locator.get_world_to_local_coords_transform()

    def world_to_local_coords(self, points_3d_world: Tensor) -> Tensor:
        """Positions [N, ..., 3] in local coordinates."""
        return self.locator.world_to_local_coords(points_3d_world)

    def local_to_world_coords(self, points_3d_local: Tensor) -> Tensor:
        """Positions [N, ..., 3] in the world."""
        return self.locator.local_to_world_coords(points_3d_local)

    def get_coord_grid(self, world_coordinates: bool = True) -> Tensor:
        """The centres of all voxels [N, depth, height, width, 3], in the world or in local coordinates."""
        return self.locator.get_coord_grid(world_coordinates)

    def to(self, device: Device, copy: bool = False) -> Volumes:
        """On a device; the batch itself where it is there already."""
        place = make_device(device)
        if place == self.device and not copy:
            return self
        features = None if self._features is None else self._features.to(place, copy=copy)
        return self._with(self._densities.to(place, copy=copy), features, self.locator.to(place, copy))

    def cpu(self) -> Volumes:
        return self.to("cpu")

    def cuda(self) -> Volumes:
        return self.to("cuda")

    def clone(self) -> Volumes:
        """A copy of its own, through which gradients flow."""
        features = None if self._features is None else self._features.clone()
        return self._with(self._densities.clone(), features, self.locator.clone())


def _sizes_of_each(grid_sizes: Sizes, batch_size: int) -> list[list[int]]:
    """(depth, height, width) of each of N grids."""
    rows = torch.stack([torch.as_tensor(size).cpu() for size in grid_sizes]) if len(grid_sizes) else torch.zeros(0, 3)
    if rows.ndim == 1:
        rows = rows.expand(batch_size, -1)
    if tuple(rows.shape) != (batch_size, 3):
        raise ValueError(
            f"grid_sizes: expected (depth, height, width) of all or of each of {batch_size} grids, got {grid_sizes}"
        )
    return [[int(side) for side in row] for row in rows]


def _triples(name: str, value: Any, count: int, widths: tuple[int, ...], options: dict[str, Any]) -> Tensor:
    """[N, 3] of what is given for all grids or for each of them."""
    if value is None:
        raise ValueError(f"{name}: expected numbers, got None")
    given = torch.as_tensor(value, **options)
    rows = given[None] if given.ndim == 1 else given.reshape(1, 1) if given.ndim == 0 else given
    if rows.ndim != 2 or rows.shape[1] not in widths or len(rows) not in (1, count):
        shapes = [f"[{width}] or [{count}, {width}]" for width in widths]
        raise ValueError(f"{name}: expected {' or '.join(shapes)}, got shape {list(given.shape)}")
    return rows.expand(count, 3)


def _padded(name: str, value: Batch) -> tuple[Tensor, list[list[int]]]:
    """One tensor [N, C, depth, height, width], and the sizes of each of its grids."""
    if isinstance(value, Tensor):
        if value.ndim != 5:
            raise ValueError(f"{name}: expected [N, channels, depth, height, width], got shape {list(value.shape)}")
        return value, [list(value.shape[2:])] * len(value)
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(f"{name}: expected a tensor or a list of tensors, got {type(value).__name__}")
    if any(not isinstance(grid, Tensor) or grid.ndim != 4 for grid in value):
        raise ValueError(f"{name}: expected a list of tensors [channels, depth, height, width]")
    if len({(grid.shape[0], grid.device) for grid in value}) > 1:
        raise ValueError(f"{name}: expected grids on one device with the same number of channels")
    return list_to_padded(value), [list(grid.shape[1:]) for grid in value]


def _transformed(transform: Transform3d, points: Tensor) -> Tensor:
    flat = points.reshape(len(points), -1, 3)
    return transform.transform_points(flat).reshape(points.shape)
