"""Markov chain Monte Carlo."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lumigrad.compat.gsplat.strategy.base import Strategy
from lumigrad.compat.gsplat.strategy.ops import (
    OPACITY_K,
    OPACITY_T,
    Optimizers,
    Params,
    inject_noise_to_position,
    relocate,
    sample_add,
)

MOST_COPIES = 51


@dataclass
class MCMCStrategy(Strategy):
    """Move faint Gaussians onto opaque ones, add 5 % more at a time, and move all a little at random.

    Attributes:
        cap_max: how many there are at most.
        noise_lr: the random steps, in units of the learning rate of positions.
        refine_start_iter, refine_stop_iter, refine_every: when the number changes.
        noise_injection_stop_iter: the last of the random steps; -1 for none.
        min_opacity: fainter ones are moved.
        verbose: whether to print what changes.
        noise_opacity_t, noise_opacity_k: see `ops.inject_noise_to_position`.

    Source: Kheradmand et al. 2024, "3D Gaussian splatting as Markov chain Monte Carlo".
    """

    cap_max: int = 1_000_000
    noise_lr: float = 5e5
    refine_start_iter: int = 500
    refine_stop_iter: int = 25_000
    noise_injection_stop_iter: int = -1
    refine_every: int = 100
    min_opacity: float = 0.005
    verbose: bool = False
    noise_opacity_t: float = OPACITY_T
    noise_opacity_k: float = OPACITY_K

    def initialize_state(self) -> dict[str, Any]:
        """What the strategy keeps between steps: a table of n over k."""
        table = [[float(math.comb(n, k)) for k in range(MOST_COPIES)] for n in range(MOST_COPIES)]
        return {"binoms": torch.tensor(table)}

    def check_sanity(
        self, params: Mapping[str, torch.nn.Parameter], optimizers: Mapping[str, torch.optim.Optimizer]
    ) -> None:
        super().check_sanity(params, optimizers)
        self.check_required(params)

    def step_post_backward(
        self, params: Params, optimizers: Optimizers, state: dict[str, Any], step: int, info: dict[str, Any],
        lr: float, scene: Any = None,
    ) -> None:  # fmt: skip
        """Change the Gaussians; `lr` is the learning rate of positions."""
        state["binoms"] = state["binoms"].to(params["means"].device)
        if self.refine_start_iter < step < self.refine_stop_iter and step % self.refine_every == 0:
            self._refine(params, optimizers, state["binoms"], step, scene)
        if self.noise_injection_stop_iter < 0 or step < self.noise_injection_stop_iter:
            inject_noise_to_position(
                params, optimizers, {}, lr * self.noise_lr, t=self.noise_opacity_t, k=self.noise_opacity_k
            )

    def _refine(self, params: Params, optimizers: Optimizers, binoms: torch.Tensor, step: int, scene: Any) -> None:
        faint = params["opacities"].detach().sigmoid().flatten() <= self.min_opacity
        if faint.any():
            relocate(params, optimizers, {}, faint, binoms, self.min_opacity, scene)
        count = len(params["means"])
        added = max(min(self.cap_max, int(1.05 * count)) - count, 0)
        if added:
            sample_add(params, optimizers, {}, added, binoms, self.min_opacity, scene)
        if self.verbose:
            print(f"step {step}: {int(faint.sum())} moved, {added} added; {count + added} Gaussians")
