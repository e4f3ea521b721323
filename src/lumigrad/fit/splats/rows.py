"""Parameters, one row per primitive, with the state that the optimiser and the strategy keep for each.

Primitives have numbers, from 0. Where several processes divide them (`lumigrad.fit.splats.divided_rows`), each has the
rows of some; what is decided about primitives is decided of all numbers, by every process alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lumigrad.fit._plain import check_plain

_BETAS, _EPSILON = (0.9, 0.999), 1e-15


@dataclass
class Rows:
    """Tensors [V, ...] by name.

    Attributes:
        parameters: what is fitted.
        first, second: Adam's moments.
        statistics: [V], whatever the strategy collects.
    """

    parameters: dict[str, Tensor]
    first: dict[str, Tensor] = field(default_factory=dict)
    second: dict[str, Tensor] = field(default_factory=dict)
    statistics: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for moments in (self.first, self.second):
            for name, value in self.parameters.items():
                moments.setdefault(name, torch.zeros_like(value))

    def __len__(self) -> int:
        """The number of primitives of all processes."""
        return self.count

    @property
    def count(self) -> int:
        """The number of primitives of this process."""
        return len(self.parameters["means"])

    @property
    def share(self) -> slice:
        """The numbers of this process's primitives."""
        return slice(0, self.count)

    def here(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Which of the primitives with numbers `index` [M] this process has: their rows, and places in `index`."""
        return index, torch.arange(len(index), device=index.device)

    def whole(self, values: Tensor) -> Tensor:
        """Values of all primitives [V, ...], from those of the primitives that this process has."""
        return values

    @property
    def device(self) -> torch.device:
        return self.parameters["means"].device

    def to(self, device: torch.device) -> Rows:
        """The same on another device."""
        groups = (self.parameters, self.first, self.second, self.statistics)
        return Rows(*({name: value.to(device) for name, value in group.items()} for group in groups))

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: Any) -> Rows:
        """What `to_dict` returned, read from a file.

        Raises:
            ValueError: values are missing, of another type, not finite, or not one for each primitive.
        """
        check_plain(cls, values, "state.rows")
        names = values["parameters"].keys()
        if "means" not in names or not values["first"].keys() == names == values["second"].keys():
            raise ValueError("state.rows: expected means, and two moments of each parameter")
        rows = cls(**values)
        for group in (rows.first, rows.second):
            for name, value in rows.parameters.items():
                if group[name].shape != value.shape:
                    raise ValueError(f"state.rows: moments of {name}: expected {[*value.shape]}")
        for name, value in rows.parameters.items():
            if value.shape[:1] != (len(rows),):
                raise ValueError(f"state.rows: {name}: expected {len(rows)} rows, got {[*value.shape]}")
        for name, value in rows.statistics.items():
            if value.shape != (len(rows),):
                raise ValueError(f"state.rows: {name}: expected {[len(rows)]}, got {[*value.shape]}")
        return rows

    def statistic(self, name: str) -> Tensor:
        """One of the statistics, 0 at first."""
        if name not in self.statistics:
            self.statistics[name] = torch.zeros(self.count, device=self.device)
        return self.statistics[name]

    @torch.no_grad()
    def adam(self, grads: dict[str, Tensor], rates: dict[str, float], step: int) -> None:
        """One step of Adam, number `step` from 1; rows younger than that share the bias correction.

        Source: Kingma and Ba 2015, algorithm 1.
        """
        for name, value in self.parameters.items():
            grad, first, second = grads[name], self.first[name], self.second[name]
            first.lerp_(grad, 1 - _BETAS[0])
            second.mul_(_BETAS[1]).addcmul_(grad, grad, value=1 - _BETAS[1])
            scale = (second / (1 - _BETAS[1] ** step)).sqrt_().add_(_EPSILON)
            value.addcdiv_(first, scale, value=-rates[name] / (1 - _BETAS[0] ** step))

    def take(self, source: Tensor, fresh: Tensor) -> None:
        """Replace the primitives by others: number n is what number `source[n]` was.

        Args:
            source: [V'], numbers of all primitives, not only of those that this process has.
            fresh: bool [V'], where moments and statistics begin from zero.
        """
        moved = self._mover(source)
        for tensors in (self.parameters, self.first, self.second, self.statistics):
            for name, value in tensors.items():
                tensors[name] = moved(value)
        new = self.here(torch.nonzero(fresh)[:, 0])[0]
        for tensors in (self.first, self.second, self.statistics):
            for value in tensors.values():
                value[new] = 0

    def keep(self, mask: Tensor) -> None:
        """Keep some of all primitives, those that a mask [V] of all has."""
        kept = torch.nonzero(mask)[:, 0]
        self.take(kept, torch.zeros_like(kept, dtype=torch.bool))

    def double(self, index: Tensor) -> None:
        """Add copies, behind all others, of primitives with numbers `index` [M] among all."""
        everyone = torch.arange(len(self), device=self.device)
        added = torch.arange(len(self) + len(index), device=self.device) >= len(self)
        self.take(torch.cat([everyone, index]), added)

    def replace(self, name: str, rows: Tensor, values: Tensor) -> None:
        """Set one parameter of some rows that this process has, and reset its moments there."""
        self.parameters[name][rows] = values
        self.first[name][rows] = 0
        self.second[name][rows] = 0

    def _mover(self, source: Tensor) -> Callable[[Tensor], Tensor]:
        """A function that moves each tensor's rows to their new places, for `take`."""
        return lambda value: value[source]
