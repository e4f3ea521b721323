"""Adam for those rows that were seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class SelectiveAdam(torch.optim.Adam):
    """Adam that does not change rows, and their running averages, where a mask is false.

    As in the original, the averages are not corrected for their start at zero, and a group has one tensor.

    Args:
        params: tensors [N, ...] in groups of one. eps, betas: as for `torch.optim.Adam`.
    """

    def __init__(self, params: Iterable[Any], eps: float, betas: tuple[float, float]) -> None:
        super().__init__(params, eps=eps, betas=betas)

    @torch.no_grad()
    def step(self, visibility: Tensor) -> None:  # type: ignore[override]
        """Take a step in the rows where `visibility` [N] is true."""
        for group in self.param_groups:
            assert len(group["params"]) == 1, f"params: expected groups of one tensor, got {len(group['params'])}"
            param = group["params"][0]
            if param.grad is not None:
                self._step(param, param.grad, group, visibility.bool())

    def _step(self, param: Tensor, grad: Tensor, group: dict[str, Any], seen: Tensor) -> None:
        state = self.state[param]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(param), torch.zeros_like(param)
        first, second = group["betas"]
        grad = grad[seen]
        mean = state["exp_avg"][seen].lerp(grad, 1 - first)
        square = state["exp_avg_sq"][seen].lerp(grad.square(), 1 - second)
        state["exp_avg"][seen], state["exp_avg_sq"][seen] = mean, square
        param[seen] = param[seen] - group["lr"] * mean / (square.sqrt() + group["eps"])
