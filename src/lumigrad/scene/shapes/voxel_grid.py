"""A grid of densities and colours as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.ops.field import occupancy
from lumigrad.types import Occupancy
from lumigrad.types import validation as check
from lumigrad.types.functions import evaluated
from lumigrad.types.grids import check_corners, voxel_centers
from lumigrad.types.shapes import Float


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """A box of voxels that absorb and shine, as `lumigrad.march` takes them.

    Attributes:
        values: [D, H, W, 1 + C]: the density of each voxel, then its features.
        box: [2, 3], the corners with the smallest and the largest x, y, z; the unit cube's by default, around the
            origin.
        activation: what interpolated densities stand for: "none", "relu", "softplus" or "exp".
        degree: of spherical harmonics that the features are coefficients of, or None.

    >>> import torch
    >>> from lumigrad.scene import VoxelGrid
    >>> grid = VoxelGrid(torch.zeros(8, 16, 16, 4), box=((-1.0, -1.0, 0.0), (1.0, 1.0, 1.0)))
    >>> grid.centers().shape, grid.centers()[0, 0, 0].tolist()
    (torch.Size([8, 16, 16, 3]), [-0.9375, -0.9375, 0.0625])
    """

    values: Float[Tensor, "depth height width values"]
    box: Float[Tensor, "2 3"] = None  # type: ignore[assignment]
    activation: str = "relu"
    degree: int | None = None

    def __post_init__(self) -> None:
        values = check.floating("values", self.values)
        check.shape("values", values, ("D", "H", "W", "1 + C"))
        box: Any = ((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5)) if self.box is None else self.box
        object.__setattr__(self, "box", check_corners(box, values, "values"))

    @classmethod
    def from_function(
        cls, function: Any, size: Sequence[int], box: Any = None, activation: str = "relu", degree: int | None = None
    ) -> VoxelGrid:
        """Values of a function of voxels' centres.

        Args:
            function: from points [D, H, W, 3] to values [D, H, W, 1 + C].
            size: (D, H, W).
            box, activation, degree: as above.
        """
        depth, height, width = (check.integer("size", side, 1) for side in size)
        empty = cls(torch.zeros(depth, height, width, 1), box, activation)
        return replace(empty, values=evaluated("function", function, empty.centers()), degree=degree)

    def centers(self) -> Float[Tensor, "depth height width 3"]:
        """Voxels' centres in the world, [D, H, W, 3]."""
        return voxel_centers(self.box, self.values.shape[:3])

    def occupancy(self, threshold: float = 0.0) -> Occupancy:
        """The cells in which interpolated densities can exceed the threshold, which `render_volume` must evaluate."""
        return occupancy(self.values[..., 0], threshold)

    def to(self, *args: Any) -> VoxelGrid:
        """Copy with all tensors passed through `Tensor.to`."""
        return replace(self, values=self.values.to(*args), box=self.box.to(*args))
