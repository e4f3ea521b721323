"""Cloning, splitting and pruning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lumigrad.compat.gsplat.strategy.base import Strategy
from lumigrad.compat.gsplat.strategy.ops import Optimizers, Params, duplicate, remove, reset_opa, split


@dataclass
class DefaultStrategy(Strategy):
    """Clone small and split large Gaussians whose gradients on the image are large; drop faint ones; fade all.

    Attributes:
        prune_opa: fainter ones are dropped.
        grow_grad2d: the least mean gradient of those that are cloned or split, with the image's sides as 2.
        grow_scale3d: what is smaller, in units of the scene, is cloned, all else split.
        grow_scale2d, prune_scale2d: what is larger, in units of the image, is split or dropped.
        prune_scale3d: what is larger, in units of the scene, is dropped, once opacities have been reset.
        refine_scale2d_stop_iter: the step up to which sizes on the image count.
        refine_start_iter, refine_stop_iter, refine_every: when.
        reset_every: steps after which opacities are held to twice `prune_opa`.
        pause_refine_after_reset: steps after that without a change.
        absgrad: not offered.
        revised_opacity: see `ops.split`.
        verbose: whether to print what changes.
        key_for_gradient: "means2d", or "gradient_2dgs" for `rasterization_2dgs`.

    Source: Kerbl et al. 2023, "3D Gaussian splatting for real-time radiance field rendering", section 5.2.
    """

    prune_opa: float = 0.005
    grow_grad2d: float = 0.0002
    grow_scale3d: float = 0.01
    grow_scale2d: float = 0.05
    prune_scale3d: float = 0.1
    prune_scale2d: float = 0.15
    refine_scale2d_stop_iter: int = 0
    refine_start_iter: int = 500
    refine_stop_iter: int = 15_000
    reset_every: int = 3000
    refine_every: int = 100
    pause_refine_after_reset: int = 0
    absgrad: bool = False
    revised_opacity: bool = False
    verbose: bool = False
    key_for_gradient: str = "means2d"

    def __post_init__(self) -> None:
        if self.absgrad:
            raise NotImplementedError("absgrad: rasterization has no absolute gradients; leave it at its default")

    def initialize_state(self, scene_scale: float = 1.0) -> dict[str, Any]:
        """What the strategy keeps between steps; `scene_scale` is the size of the scene."""
        state: dict[str, Any] = {"grad2d": None, "count": None, "scene_scale": scene_scale}
        if self.refine_scale2d_stop_iter > 0:
            state["radii"] = None
        return state

    def check_sanity(
        self, params: Mapping[str, torch.nn.Parameter], optimizers: Mapping[str, torch.optim.Optimizer]
    ) -> None:
        super().check_sanity(params, optimizers)
        self.check_required(params)

    def step_pre_backward(
        self, params: Params, optimizers: Optimizers, state: dict[str, Any], step: int, info: dict[str, Any]
    ) -> None:
        """Have the gradient on the image kept; `info` is what rendering returned last."""
        assert self.key_for_gradient in info, f"info: expected {self.key_for_gradient}"
        info[self.key_for_gradient].retain_grad()

    def step_post_backward(
        self, params: Params, optimizers: Optimizers, state: dict[str, Any], step: int, info: dict[str, Any],
        packed: bool = False, scene: Any = None,
    ) -> None:  # fmt: skip
        """Sum up gradients, and change the Gaussians if it is time."""
        if step >= self.refine_stop_iter:
            return
        self._sum_up(params, state, info, packed)
        paused = step % self.reset_every < self.pause_refine_after_reset
        if step > self.refine_start_iter and step % self.refine_every == 0 and not paused:
            cloned, halved = self._grow(params, optimizers, state, step, scene)
            dropped = self._prune(params, optimizers, state, step, scene)
            if self.verbose:
                count = len(params["means"])
                print(f"step {step}: {cloned} cloned, {halved} split, {dropped} dropped; {count} Gaussians")
            for name in ("grad2d", "count", "radii"):
                if name in state:
                    state[name].zero_()
        if step > 0 and step % self.reset_every == 0:
            reset_opa(params, optimizers, state, 2 * self.prune_opa)

    @torch.no_grad()
    def _sum_up(self, params: Params, state: dict[str, Any], info: dict[str, Any], packed: bool) -> None:
        sides = (info["width"], info["height"])
        grads = info[self.key_for_gradient].grad
        grads = grads * grads.new_tensor(sides) / 2 * info["n_cameras"]
        radii = info["radii"]
        if packed:
            rows = info["gaussian_ids"]
        else:
            seen = (radii > 0).all(-1)
            rows = seen.nonzero()[:, -1]
            grads, radii = grads[seen], radii[seen]
        for name in ("grad2d", "count", "radii"):
            if name in state and state[name] is None:
                state[name] = torch.zeros(len(params["means"]), device=grads.device)
        lengths = grads.norm(dim=-1).to(state["grad2d"].dtype)
        state["grad2d"].index_add_(0, rows, lengths)
        state["count"].index_add_(0, rows, torch.ones_like(lengths))
        if "radii" in state:
            sizes = radii.amax(-1).to(state["radii"].dtype) / max(sides)
            state["radii"].scatter_reduce_(0, rows, sizes, "amax")

    def _grow(
        self, params: Params, optimizers: Optimizers, state: dict[str, Any], step: int, scene: Any
    ) -> tuple[int, int]:
        steep = state["grad2d"] / state["count"].clamp(min=1) > self.grow_grad2d
        small = params["scales"].detach().exp().amax(-1) <= self.grow_scale3d * state["scene_scale"]
        clone, halve = steep & small, steep & ~small
        if step < self.refine_scale2d_stop_iter:
            halve = halve | (state["radii"] > self.grow_scale2d)
        cloned, halved = int(clone.sum()), int(halve.sum())
        if cloned:
            duplicate(params, optimizers, state, clone, scene)
        if halved:
            split(params, optimizers, state, torch.cat((halve, halve.new_zeros(cloned))), self.revised_opacity, scene)
        return cloned, halved

    def _prune(self, params: Params, optimizers: Optimizers, state: dict[str, Any], step: int, scene: Any) -> int:
        drop = params["opacities"].detach().sigmoid().flatten() < self.prune_opa
        if step > self.reset_every:
            drop = drop | (params["scales"].detach().exp().amax(-1) > self.prune_scale3d * state["scene_scale"])
            if step < self.refine_scale2d_stop_iter:
                drop = drop | (state["radii"] > self.prune_scale2d)
        if drop.any():
            remove(params, optimizers, state, drop, scene)
        return int(drop.sum())
