"""Samples from cheap fields that are fitted to the true one (mip-NeRF 360, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from lumigrad.compat.nerfacc.data_specs import RayIntervals
from lumigrad.compat.nerfacc.estimators.base import AbstractEstimator
from lumigrad.compat.nerfacc.pdf import importance_sampling, searchsorted
from lumigrad.compat.nerfacc.volrend import render_transmittance_from_density

SamplingType = Literal["uniform", "lindisp"]


class PropNetEstimator(AbstractEstimator):
    """Samples rays by proposal networks.

    Args:
        optimizer: of the proposal networks.
        scheduler: of the optimizer.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None = None, scheduler: Any = None) -> None:
        super().__init__()
        self.optimizer, self.scheduler = optimizer, scheduler
        self.prop_cache: list[tuple[RayIntervals, Tensor | None]] = []

    def sampling(
        self, prop_sigma_fns: Sequence[Callable[..., Tensor]], prop_samples: Sequence[int], num_samples: int,
        n_rays: int, near_plane: float, far_plane: float, sampling_type: SamplingType = "lindisp",
        stratified: bool = False, requires_grad: bool = False,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Starts and ends of samples [R, num_samples].

        Args:
            prop_sigma_fns: (t_starts, t_ends) [R, n] to densities [R, n], from the coarsest on.
            prop_samples: n of each of them.
            num_samples: how many samples each ray has in the end.
            n_rays: R.
            near_plane, far_plane: the part of the rays that is sampled.
            sampling_type: even in distance, "uniform", or in its inverse, "lindisp".
            stratified: of `importance_sampling`.
            requires_grad: keep what `compute_loss` needs.

        Raises:
            ValueError: arguments that do not fit.
        """
        if len(prop_sigma_fns) != len(prop_samples):
            raise ValueError(f"prop_samples: expected {len(prop_sigma_fns)} numbers, got {len(prop_samples)}")
        if requires_grad:
            self.prop_cache.clear()
        cdfs = torch.tensor([0.0, 1.0], device=self.device).expand(n_rays, 2)
        intervals = RayIntervals(cdfs)
        for function, count in zip(prop_sigma_fns, prop_samples):
            intervals, _ = importance_sampling(intervals, cdfs.detach(), count, stratified)
            t = _distances(intervals.vals, near_plane, far_plane, sampling_type)
            starts, ends = t[..., :-1], t[..., 1:]
            with torch.set_grad_enabled(requires_grad):
                sigmas = function(starts, ends)
                if sigmas.shape != starts.shape:
                    raise ValueError(
                        f"prop_sigma_fns: expected densities {list(starts.shape)}, got {list(sigmas.shape)}"
                    )
                cdfs = _cdfs(render_transmittance_from_density(starts, ends, sigmas)[0])
            if requires_grad:
                self.prop_cache.append((intervals, cdfs))
        intervals, _ = importance_sampling(intervals, cdfs.detach(), num_samples, stratified)
        if requires_grad:
            self.prop_cache.append((intervals, None))
        t = _distances(intervals.vals, near_plane, far_plane, sampling_type)
        return t[..., :-1], t[..., 1:]

    def compute_loss(self, trans: Tensor, loss_scaler: float = 1.0) -> Tensor:
        """How far the proposals are from bounding the weights, of the last sampling.

        Args:
            trans: transmittances of the samples [R, num_samples].
            loss_scaler: a factor of the result.
        """
        if not self.prop_cache:
            return torch.zeros((), device=self.device)
        intervals, _ = self.prop_cache.pop()
        cdfs = _cdfs(trans).detach()
        loss = torch.zeros((), device=trans.device, dtype=trans.dtype)
        while self.prop_cache:
            proposed, proposed_cdfs = self.prop_cache.pop()
            assert proposed_cdfs is not None
            loss = loss + _pdf_loss(intervals, cdfs, proposed, proposed_cdfs).mean()
        return loss * loss_scaler

    def update_every_n_steps(self, trans: Tensor, requires_grad: bool = False, loss_scaler: float = 1.0) -> float:
        """One step of the optimizer, if `requires_grad`. Returns the loss.

        Raises:
            ValueError: there is no optimizer.
        """
        if not requires_grad:
            if self.scheduler is not None:
                self.scheduler.step()
            return 0.0
        if self.optimizer is None:
            raise ValueError("optimizer: expected one of the proposal networks, got None")
        loss = self.compute_loss(trans, loss_scaler)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        return loss.item()


def get_proposal_requires_grad_fn(target: float = 5.0, num_steps: int = 1000) -> Callable[[int], bool]:
    """Whether a step trains the proposals: each at first, and every `target`-th from `num_steps` on."""
    since = 0

    def requires_grad(step: int) -> bool:
        nonlocal since
        due = since > min(step / num_steps, 1.0) * target
        since = 0 if due else since + 1
        return due

    return requires_grad


def _cdfs(trans: Tensor) -> Tensor:
    """The share of light that has been stopped up to each edge; all of it at the last."""
    return 1 - torch.cat((trans, torch.zeros_like(trans[..., :1])), -1)


def _distances(place: Tensor, near: float, far: float, kind: str) -> Tensor:
    """Distances of places between 0 and 1."""
    if kind == "uniform":
        return near + place * (far - near)
    if kind == "lindisp":
        if near <= 0:
            raise ValueError(f"near_plane: expected a positive number for sampling_type 'lindisp', got {near}")
        return 1 / (place / far + (1 - place) / near)
    raise ValueError(f"sampling_type: expected 'uniform' or 'lindisp', got {kind!r}")


def _pdf_loss(query: RayIntervals, cdfs: Tensor, key: RayIntervals, key_cdfs: Tensor) -> Tensor:
    """How much the weight of each interval is above what covers it (mip-NeRF 360, equation 13)."""
    left, right = searchsorted(key, query)
    weights = cdfs[..., 1:] - cdfs[..., :-1]
    bound = key_cdfs.gather(-1, right[..., 1:]) - key_cdfs.gather(-1, left[..., :-1])
    return (weights - bound).clamp(min=0).square() / (weights + 1e-7)
