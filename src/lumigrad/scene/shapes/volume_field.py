"""A field of density and colour given by a function of points, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.types import Occupancy
from lumigrad.types import validation as check
from lumigrad.types.grids import Box, check_corners


@dataclass(frozen=True, eq=False)
class VolumeField:
    """A field within a box: smoke, mist, or a network. See `lumigrad.render.render_field`.

    Attributes:
        function: from points [M, 3] and unit viewing directions [M, 3], away from the camera, to densities [M] (or
            [M, 1]) that are not negative, and colours [M, C], display-encoded. It is called with no points too. Points
            are of the widest type among the shapes that are drawn together.
        box: the two corners [2, 3] of where it is looked at; the unit cube's by default, around the origin.
        step: the longest segment that rays are cut into, in world units; None for a 128th of the box's diagonal.
        occupancy: from `lumigrad.occupancy`, or of a `lumigrad.fit.OccupancyGrid`: empty space is passed over.

    Raises:
        TypeError, ValueError: for wrong types, or a box without extent.

    >>> import torch
    >>> from lumigrad.scene import VolumeField
    >>> mist = VolumeField(lambda points, directions: (torch.ones(len(points)), torch.ones_like(points)))
    >>> mist.box.tolist(), round(mist.step, 4)
    ([[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]], 0.0135)
    """

    function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    box: Box = None  # type: ignore[assignment]
    step: float = None  # type: ignore[assignment]
    occupancy: Occupancy | None = None

    def __post_init__(self) -> None:
        if not callable(self.function):
            got = type(self.function).__name__
            raise TypeError(f"function: expected a function of points and directions, got {got}")
        box: Any = ((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5)) if self.box is None else self.box
        like = box if isinstance(box, Tensor) else torch.empty(0)
        corners = check_corners(box, like, "box")
        object.__setattr__(self, "box", corners)
        if self.step is None:
            object.__setattr__(self, "step", float((corners[1] - corners[0]).detach().norm()) / 128)
        object.__setattr__(self, "step", check.number("step", self.step, positive=True))

    @property
    def corners(self) -> Tensor:
        """The box as a tensor."""
        assert isinstance(self.box, Tensor)
        return self.box

    def to(self, *args: Any) -> VolumeField:
        """Copy with the box passed through `Tensor.to`; the function itself is not changed."""
        return replace(self, box=self.corners.to(*args))
