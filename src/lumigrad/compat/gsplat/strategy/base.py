"""What all strategies have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

REQUIRED = ("means", "scales", "quats", "opacities")


class Strategy:
    """Changes Gaussians between the steps of a fit."""

    def check_sanity(
        self, params: Mapping[str, torch.nn.Parameter], optimizers: Mapping[str, torch.optim.Optimizer]
    ) -> None:
        """Raise an error unless each trained parameter has its own optimiser, with one group.

        Raises:
            AssertionError: it does not.
        """
        trained = {name for name, value in params.items() if value.requires_grad}
        assert trained == set(optimizers), f"optimizers: expected those of {trained}, got {set(optimizers)}"
        for name, optimizer in optimizers.items():
            groups = len(optimizer.param_groups)
            assert groups == 1, f"optimizers: expected one group of parameters for {name}, got {groups}"

    def check_required(self, params: Mapping[str, torch.nn.Parameter]) -> None:
        """Complain about a parameter of Gaussians that is missing."""
        missing = [name for name in REQUIRED if name not in params]
        assert not missing, f"params: expected {', '.join(REQUIRED)}; {', '.join(missing)} is missing"

    def step_pre_backward(self, *args: Any, **kwargs: Any) -> None:
        """To be called before `backward`."""

    def step_post_backward(self, *args: Any, **kwargs: Any) -> None:
        """To be called after `backward`."""
