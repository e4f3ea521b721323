"""Lenses that focus on one distance."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from lumigrad.scene.cameras.pose import Scalar, as_float
from lumigrad.types.validation import values_can_be_checked


@dataclass(frozen=True, eq=False)
class ThinLens:
    """A thin lens instead of a pinhole: points at one distance are sharp, all others are blurred over discs.

    A point at the distance z along the viewing direction is spread over a disc of the image, whose radius in pixels is
    radius * |1 / z - 1 / focus_distance| * f, with the camera's focal length f in pixels.

    Attributes:
        radius: of the aperture, in world units, at least 0, which is a pinhole; [] or [N].
        focus_distance: along the viewing direction, in world units, more than 0; [] or [N].

    Raises:
        TypeError, ValueError: for other values.

    >>> from lumigrad.scene import ThinLens
    >>> lens = ThinLens(radius=0.05, focus_distance=3.0)
    >>> lens.radius, lens.at(0).focus_distance
    (tensor(0.0500), tensor(3.))
    """

    radius: Scalar
    focus_distance: Scalar

    def __post_init__(self) -> None:
        for name, positive in (("radius", False), ("focus_distance", True)):
            value = as_float(getattr(self, name), name)
            if value.ndim > 1:
                raise ValueError(f"{name}: expected one number or [N], got {list(value.shape)}")
            object.__setattr__(self, name, value)
            if values_can_be_checked() and value.device.type == "cpu":
                fits = value.isfinite() & ((value > 0) if positive else (value >= 0))
                if not bool(fits.all()):
                    wanted = "more than 0" if positive else "at least 0"
                    raise ValueError(f"{name}: expected {wanted} and finite, got {value.detach().tolist()}")

        radius, focus = self._values()
        if radius.ndim and focus.ndim and len(radius) != len(focus):
            raise ValueError(f"focus_distance: expected [{len(radius)}] like radius, got [{len(focus)}]")

    @property
    def count(self) -> int | None:
        """The number of lenses; None: one for all images."""
        return next((len(value) for value in self._values() if value.ndim), None)

    def at(self, index: int) -> ThinLens:
        """The lens of one image."""
        return ThinLens(*(value[index] if value.ndim else value for value in self._values()))

    def to(self, *args: object) -> ThinLens:
        """Copy with both tensors passed through `Tensor.to`."""
        return ThinLens(*(value.to(*args) for value in self._values()))  # type: ignore[call-overload]

    def _values(self) -> tuple[Tensor, ...]:
        return tuple(torch.as_tensor(getattr(self, field.name)) for field in fields(self))
