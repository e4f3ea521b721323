"""The common base of clouds of points, Gaussians and surfels: tensors with one row per primitive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from lumigrad.scene.shapes._displayed import Displayed
from lumigrad.scene.shapes._packed import same_kind
from lumigrad.types.shapes import Float

C = TypeVar("C", bound="Cloud")


class Cloud(Displayed):
    """Base of frozen dataclasses whose fields are tensors [V, ...] or None; the first one holds the centres [V, 3]."""

    def __len__(self) -> int:
        return len(self.centers)

    def __getitem__(self: C, index: Any) -> C:
        """Some of the primitives: a slice, integers, or a mask [V]."""
        if isinstance(index, int):
            index = [index]
        return replace(self, **{name: value[index] for name, value in self.tensors().items()})  # type: ignore[type-var]

    @property
    def centers(self) -> Float[Tensor, "primitives 3"]:
        """Where the primitives are, [V, 3]."""
        centers: Tensor = getattr(self, fields(self)[0].name)  # type: ignore[arg-type]
        return centers

    def tensors(self) -> dict[str, Tensor]:
        """The fields that are not None, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in found.items() if value is not None}

    def to(self: C, *args: Any) -> C:
        """Copy with all tensors passed through `Tensor.to`."""
        return replace(self, **{name: value.to(*args) for name, value in self.tensors().items()})  # type: ignore[type-var]

    def bounds(self) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
        """Smallest and largest corner [3] of the box around the centres.

        Raises:
            ValueError: an empty cloud.
        """
        if not len(self):
            raise ValueError(f"{fields(self)[0].name}: an empty cloud has no bounds")  # type: ignore[arg-type]
        return self.centers.amin(0), self.centers.amax(0)

    @classmethod
    def join(cls: type[C], clouds: Sequence[C]) -> C:
        """The primitives of all clouds as one cloud, in this order.

        Raises:
            TypeError: something else than clouds of this class.
            ValueError: no cloud at all, clouds of which some have a field and others have not, or tensors of different
                dtypes, devices or row shapes.
        """
        for cloud in clouds:
            if not isinstance(cloud, cls):
                raise TypeError(f"clouds: expected {cls.__name__}, got {type(cloud).__name__}")
        if not clouds:
            raise ValueError("clouds: expected at least one cloud, got none")
        together: dict[str, Tensor] = {}
        for field in fields(cls):  # type: ignore[arg-type]
            values = [getattr(cloud, field.name) for cloud in clouds]
            if all(value is None for value in values):
                continue
            if any(value is None for value in values):
                raise ValueError(f"{field.name}: expected all clouds to have them, or none")
            same_kind(values, field.name)
            together[field.name] = torch.cat(values)
        return cls(**together)
