"""Parameters, one row per primitive, with the state that the optimiser and the strategy keep for each."""

from __future__ import annotations

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
        return len(self.parameters["means"])

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
            self.statistics[name] = torch.zeros(len(self), device=self.device)
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

    def keep(self, mask: Tensor) -> None:
        """Keep these rows only."""
        for tensors in (self.parameters, self.first, self.second, self.statistics):
            for name, value in tensors.items():
                tensors[name] = value[mask]

    def copies(self, index: Tensor) -> dict[str, Tensor]:
        """The parameters of some rows."""
        return {name: value[index] for name, value in self.parameters.items()}

    def append(self, parameters: dict[str, Tensor]) -> None:
        """Add rows, with moments and statistics of zero."""
        count = len(parameters["means"])
        for name, value in parameters.items():
            self.parameters[name] = torch.cat([self.parameters[name], value])
        for tensors in (self.first, self.second, self.statistics):
            for name, value in tensors.items():
                tensors[name] = torch.cat([value, value.new_zeros(count, *value.shape[1:])])

    def replace(self, name: str, index: Tensor, values: Tensor) -> None:
        """Set one parameter of some rows, and reset its moments there."""
        self.parameters[name][index] = values
        self.first[name][index] = 0
        self.second[name][index] = 0
