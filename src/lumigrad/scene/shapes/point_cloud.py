"""Point clouds, and batches of them with different numbers of points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.scene._transform import check_matrix, transform_directions, transform_points
from lumigrad.scene.shapes._cloud import Cloud
from lumigrad.scene.shapes._packed import Index, Packing, numbers
from lumigrad.types.shapes import Float, Int, Shaped
from lumigrad.types.validation import fractional, tensor


@dataclass(frozen=True)
class PointCloud(Cloud):
    """Points with what is known about each.

    Attributes:
        positions: [P, 3].
        colors: colours or features of any number of channels, [P, C]; colours are display-encoded.
        normals: unit, outwards, [P, 3].
        radii: world units, [P].
        opacities: in [0, 1], [P]; 1 where None.

    >>> import torch
    >>> from lumigrad.scene import PointCloud
    >>> cloud = PointCloud(torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]), colors=torch.ones(2, 3))
    >>> len(cloud), len(cloud[:1]), cloud.radii
    (2, 1, None)
    >>> moved = cloud.transformed(2 * torch.eye(4))  # twice as large
    >>> moved.positions[1].tolist()
    [2.0, 4.0, 6.0]
    """

    positions: Float[Tensor, "points 3"]
    colors: Shaped[Tensor, "points channels"] | None = None
    normals: Float[Tensor, "points 3"] | None = None
    radii: Float[Tensor, " points"] | None = None
    opacities: Float[Tensor, " points"] | None = None

    def __post_init__(self) -> None:
        for name in ("positions", "normals", "radii", "opacities"):
            if name == "positions" or getattr(self, name) is not None:
                fractional(name, getattr(self, name))
        count = len(self.positions) if self.positions.ndim else 0
        shapes = {"positions": (count, 3), "normals": (count, 3), "radii": (count,), "opacities": (count,)}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"{name}: expected {_shape(name, shape)}, got {list(value.shape)}")
        if self.colors is not None and tensor("colors", self.colors).is_complex():
            raise TypeError(f"colors: expected real numbers, got {self.colors.dtype}")
        if self.colors is not None and (self.colors.ndim != 2 or len(self.colors) != count):
            raise ValueError(f"colors: expected [{count}, C], got {list(self.colors.shape)}")

    def transformed(self, matrix: Float[Tensor, "... _ 4"]) -> PointCloud:
        """The cloud moved by an affine map [4, 4]. Radii grow with the cube root of the volume.

        Raises:
            ValueError: a matrix of another shape.
        """
        changed: dict[str, Any] = {"positions": transform_points(self.positions, matrix)}
        if self.normals is not None:
            changed["normals"] = transform_directions(self.normals, matrix)
        if self.radii is not None:
            volume = torch.linalg.det(check_matrix(matrix)[..., :3]).abs()
            changed["radii"] = self.radii * volume.to(self.radii) ** (1 / 3)
        return replace(self, **changed)


@dataclass(frozen=True)
class PointClouds:
    """Clouds one after the other in one; made by `PointClouds.join`.

    Attributes:
        packed: all points.
        points: how many of them each cloud has.

    >>> import torch
    >>> from lumigrad.scene import PointCloud, PointClouds
    >>> batch = PointClouds.join([PointCloud(torch.zeros(2, 3)), PointCloud(torch.zeros(5, 3))])
    >>> len(batch), batch.cloud_of_point.tolist(), batch.padded().shape
    (2, [0, 0, 1, 1, 1, 1, 1], torch.Size([2, 5, 3]))
    """

    packed: PointCloud
    points: Packing

    @classmethod
    def join(cls, parts: Sequence[PointCloud | PointClouds]) -> PointClouds:
        """A batch of clouds, and of the clouds in batches, in this order.

        Raises:
            TypeError: something else than clouds.
            ValueError: no cloud at all, or clouds of which some have colours, normals, radii or opacities and others
                have not, or tensors of different dtypes, devices or numbers of channels.
        """
        clouds: list[PointCloud] = []
        for part in parts:
            if not isinstance(part, (PointCloud, PointClouds)):
                raise TypeError(f"parts: expected PointCloud or PointClouds, got {type(part).__name__}")
            clouds.extend([part] if isinstance(part, PointCloud) else part.list())
        if not clouds:
            raise ValueError("parts: expected at least one cloud, got none")
        return cls(PointCloud.join(clouds), Packing(tuple(map(len, clouds))))

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: Index) -> PointCloud | PointClouds:
        """One cloud for an integer, a batch for a slice, integers or a mask [N].

        Raises:
            IndexError, TypeError: an index that does not fit.
        """
        if isinstance(index, int):
            return self.cloud(*numbers(index, len(self)))
        return PointClouds.join([self.cloud(i) for i in numbers(index, len(self))])

    def __iter__(self) -> Iterator[PointCloud]:
        return (self.cloud(i) for i in range(len(self)))

    def cloud(self, number: int) -> PointCloud:
        """One of the clouds, its tensors views into the batch."""
        first = self.points.first[number]
        return self.packed[first : first + self.points.counts[number]]

    def list(self) -> list[PointCloud]:
        """All clouds."""
        return list(self)

    @property
    def cloud_of_point(self) -> Int[Tensor, " points"]:
        """Which cloud each packed point belongs to, int64."""
        return self.points.owner(self.packed.positions.device)

    def padded(self, name: str = "positions", value: float = 0) -> Shaped[Tensor, "clouds points ..."]:
        """One of the fields as [N, most points, ...], filled up with `value`.

        Raises:
            ValueError: a field that the clouds do not have.
        """
        tensor = getattr(self.packed, name, None)
        if not isinstance(tensor, Tensor):
            raise ValueError(f"name: expected a field that the clouds have, got {name!r}")
        return self.points.padded(tensor, value)

    def to(self, *args: Any) -> PointClouds:
        """Copy with all tensors passed through `Tensor.to`."""
        return replace(self, packed=self.packed.to(*args))

    def transformed(self, matrix: Float[Tensor, "_ 4"] | Float[Tensor, "clouds _ 4"]) -> PointClouds:
        """The clouds moved by an affine map [4, 4], or each by its own of [N, 4, 4]; see `PointCloud.transformed`.

        Raises:
            ValueError: a matrix of another shape.
        """
        if matrix.ndim == 3 and len(matrix) != len(self):
            raise ValueError(f"matrix: expected one for each of {len(self)} clouds, got {list(matrix.shape)}")
        one_each = matrix[self.cloud_of_point] if matrix.ndim == 3 else matrix
        return replace(self, packed=self.packed.transformed(one_each))


def _shape(name: str, shape: tuple[int, ...]) -> list[Any]:
    return ["P", 3] if name == "positions" else list(shape)
