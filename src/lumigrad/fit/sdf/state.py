"""The state of a fit of a grid of signed distances."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.fit._plain import from_plain
from lumigrad.fit.optim import AdamUniform
from lumigrad.fit.sdf.stages import SDFStage


@dataclass
class SDFState:
    """Everything needed to resume a fit: tensors and plain values only, so that it can be loaded safely.

    Attributes:
        values: the grid of the stage [D, H, W]; None before the first step.
        colors: of its voxels [D, H, W, 3], or None.
        stage: number of the stage, -1 before the first one.
        begun: the step at which the stage began.
        settled: 1 after the values became distances in the middle of the stage, else 0.
        iteration, seconds: steps taken, and their time.
        losses: the mean absolute error of each step.
        curve: measurements on what is held out.
        optimizers: the states of the optimisers.
    """

    values: Tensor | None = None
    colors: Tensor | None = None
    stage: int = -1
    begun: int = 0
    settled: int = 0
    iteration: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)
    optimizers: list[dict[str, Any]] = field(default_factory=list)

    def make_optimizers(self, stage: SDFStage, voxel: float, colors: bool, fresh: bool) -> list[torch.optim.Optimizer]:
        """Those of the values and, where they are fitted, of the colours, which become leaves.

        Args:
            voxel: the shortest side of a voxel.
            fresh: the stage begins; otherwise the optimisers continue from their saved state.
        """
        assert self.values is not None
        self.values = self.values.detach().requires_grad_()
        # Moments decay fast, because the surface soon moves on to other voxels.
        found: list[torch.optim.Optimizer] = [AdamUniform([self.values], voxel, (0.9, 0.99))]
        if self.colors is not None:
            self.colors = self.colors.detach().requires_grad_(colors)
        if colors:
            assert self.colors is not None
            found.append(torch.optim.Adam([self.colors], stage.color_rate, (0.9, 0.99)))
        if not fresh:
            for optimizer, saved in zip(found, self.optimizers, strict=True):
                optimizer.load_state_dict(saved)
        return found

    def to(self, device: torch.device) -> SDFState:
        """The same on another device; moments of optimisers follow where they are used."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        return {name: value.detach() if isinstance(value, Tensor) else value for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SDFState:
        """What `to_dict` returned, read from a file.

        Raises:
            ValueError: values are missing, of another type, or not finite; or they do not fit together.
        """
        state = from_plain(cls, values)
        if (state.values is None) != (state.stage < 0):
            raise ValueError(f"state.stage: expected one with values, got {state.stage}")
        if min(state.begun, state.iteration, state.seconds, state.iteration - state.begun) < 0:
            raise ValueError("state: expected numbers of at least 0, and a stage that has begun")
        if state.settled not in (0, 1):
            raise ValueError(f"state.settled: expected 0 or 1, got {state.settled}")
        fitted = [tensor for tensor in (state.values, state.colors) if tensor is not None]
        if state.colors is not None and (state.values is None or state.colors.shape != (*state.values.shape, 3)):
            raise ValueError(f"state.colors: expected those of the values, got {[*state.colors.shape]}")
        for tensor, saved in zip(fitted, state.optimizers, strict=False):
            torch.optim.Adam([tensor]).load_state_dict(saved)
            for name, moment in saved["state"].get(0, {}).items():
                if isinstance(moment, Tensor) and moment.ndim and moment.shape != tensor.shape:
                    raise ValueError(f"state.optimizers: {name}: expected {[*tensor.shape]}, got {[*moment.shape]}")
        return state
