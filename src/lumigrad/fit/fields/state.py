"""The state of a fit of a field, which can be kept in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lumigrad.fit._plain import from_plain
from lumigrad.types import Occupancy


@dataclass
class FieldState:
    """Everything needed to resume a fit: tensors and plain values only, so that it can be loaded safely.

    Attributes:
        parameters: what is fitted; of voxels, grids [D, H, W, 1 + C], the innermost first.
        first, second: Adam's moments of each.
        occupied: `Occupancy.words` of each grid, if they have been determined.
        random: state of the generator.
        age: steps that the moments have collected, since the last refinement of voxels.
        iteration, seconds, losses, curve: what happened so far.
    """

    parameters: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]
    occupied: list[Tensor]
    random: Tensor
    age: int = 0
    iteration: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def start(cls, parameters: list[Tensor], seed: int = 0) -> FieldState:
        """State before the first step."""
        device = parameters[0].device
        state = cls([], [], [], [], torch.Generator(device).manual_seed(seed).get_state())
        state.replace(parameters)
        return state

    @property
    def device(self) -> torch.device:
        return self.parameters[0].device

    def replace(self, parameters: list[Tensor], occupied: Sequence[Occupancy] = ()) -> None:
        """Replace the parameters, and reset their moments."""
        self.parameters, self.age = parameters, 0
        self.first, self.second = ([torch.zeros_like(values) for values in parameters] for _ in range(2))
        self.occupied = [found.words for found in occupied]

    def occupancy(self) -> list[Occupancy] | list[None]:
        """The occupancy of each grid; None before it is first determined."""
        if not self.occupied:
            return [None] * len(self.parameters)
        return [
            Occupancy(words, (grid.shape[0], grid.shape[1], grid.shape[2]))
            for words, grid in zip(self.occupied, self.parameters, strict=True)
        ]

    def to(self, device: torch.device) -> FieldState:
        """The same on another device."""
        lists = ("parameters", "first", "second", "occupied")
        return FieldState(**{**vars(self), **{name: [one.to(device) for one in getattr(self, name)] for name in lists}})

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: Any) -> FieldState:
        """What `to_dict` returned, read from a file.

        Raises:
            ValueError: values are missing, of another type, not finite, or do not fit together.
        """
        state = from_plain(cls, values)
        shapes = [values.shape for values in state.parameters]
        if not shapes:
            raise ValueError("state.parameters: expected at least one tensor")
        for name in ("first", "second"):
            if [moment.shape for moment in getattr(state, name)] != shapes:
                raise ValueError(f"state.{name}: expected one like each of state.parameters")
        return state
