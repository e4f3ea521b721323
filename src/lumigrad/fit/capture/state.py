"""The state of a capture, which can be kept in a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lumigrad.fit._plain import check_adam, check_plain
from lumigrad.fit.capture.model import CaptureModel
from lumigrad.fit.capture.schedule import CaptureSchedule


@dataclass
class _Saved:
    """The plain values of a state."""

    parameters: dict[str, Tensor]
    moments: dict[str, Any]
    iteration: int
    seconds: float
    losses: list[float]
    curve: list[dict[str, float]]


@dataclass
class CaptureState:
    """Everything needed to resume a fit.

    Attributes:
        model: what is fitted.
        optimizer: Adam, with a group for each parameter of the model.
        iteration, seconds, losses, curve: what happened so far.
    """

    model: CaptureModel
    optimizer: torch.optim.Adam
    iteration: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def begin(cls, model: CaptureModel, schedule: CaptureSchedule) -> CaptureState:
        """State before the first step."""
        rates = schedule.rates(0.0)
        groups = [{"params": [value], "lr": rates[name], "name": name} for name, value in model.named_parameters()]
        return cls(model, torch.optim.Adam(groups))

    def to_dict(self) -> dict[str, Any]:
        return {
            "parameters": {name: value.detach() for name, value in self.model.named_parameters()},
            "moments": self.optimizer.state_dict(),
            **{name: getattr(self, name) for name in ("iteration", "seconds", "losses", "curve")},
        }

    def restore(self, values: dict[str, Any]) -> CaptureState:
        """Restore the values that `to_dict` returned, read from a file of the same fit.

        Raises:
            ValueError: values are missing, of another type or shape, or not finite.
        """
        check_plain(_Saved, values, "state")
        for name, value in self.model.named_parameters():
            saved = values["parameters"].get(name)
            if saved is None or saved.shape != value.shape:
                got = None if saved is None else [*saved.shape]
                raise ValueError(f"state.parameters.{name}: expected {[*value.shape]}, got {got}")
            with torch.no_grad():
                value.copy_(saved)
        parameters = list(self.model.parameters())
        found = check_adam(values["moments"], parameters, [1] * len(parameters), "state.moments")
        if values["iteration"] < 0 or len(found) != (len(parameters) if values["iteration"] else 0):
            raise ValueError(f"state.moments: expected those of {values['iteration']} steps, got {len(found)}")
        self.optimizer.load_state_dict(values["moments"])
        for name in ("iteration", "seconds", "losses", "curve"):
            setattr(self, name, values[name])
        return self
