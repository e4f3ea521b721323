"""Optimisers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class AdamUniform(torch.optim.Optimizer):
    """Adam with one scale for all elements of a parameter, from its largest second moment.

    Per-element scaling would undo the smoothness of preconditioned gradients. Source: Nicolet et al., "Large
    Steps in Inverse Rendering of Geometry", 2021, section 4.

    Args:
        params: as for every torch optimiser.
        lr: largest step of any element, roughly.
        betas: decay of the first and second moment.

    >>> import torch
    >>> from lumigrad.fit import AdamUniform
    >>> values = torch.tensor([1.0, 0.1], requires_grad=True)
    >>> optimizer = AdamUniform([values], lr=0.1)
    >>> values.square().sum().backward()
    >>> optimizer.step()
    >>> [round(value, 4) for value in values.tolist()]  # a tenth of the gradient makes a tenth of the step
    [0.9, 0.09]
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 0.1, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        super().__init__(params, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, self.state[parameter], group["lr"], group["betas"])
        return loss

    @staticmethod
    def _update(parameter: Tensor, state: dict[str, Any], rate: float, betas: tuple[float, float]) -> None:
        if not state:
            state["step"] = 0
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        state["step"] += 1
        gradient = parameter.grad
        mean, square = state["mean"], state["square"]
        mean.lerp_(gradient, 1 - betas[0])
        square.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
        max_root = (square.max() / (1 - betas[1] ** state["step"])).sqrt()
        scale = rate / (1 - betas[0] ** state["step"])
        # If all gradients so far are zero, there is nothing to scale.
        parameter.sub_(mean / max_root.clamp_min(torch.finfo(mean.dtype).tiny) * scale)
