"""Sphere tracing of a function, with over-relaxed steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lumigrad.types import validation as check
from lumigrad.types.functions import evaluated

_SECANT_STEPS = 24
_GOLDEN_STEPS = 32
_NEAR = 10
_GOLDEN = 0.6180339887498949


def march_function(
    sdf: Callable[[Tensor], Tensor],
    origins: Tensor,
    directions: Tensor,
    t_min: float,
    t_max: float,
    box: Tensor | None,
    band: float,
    steps: int,
    tolerance: float,
    relaxation: float,
    lipschitz: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """`hit`, `near` and `behind` as returned by :func:`trace_grid`, for rays [R, 3] in the units of the function."""
    speed = directions.norm(dim=-1)
    start, end = _clipped(origins, directions, t_min, t_max, box)
    start = torch.where(speed > 0, start, torch.inf)

    def along(t: Tensor, rays: Tensor) -> Tensor:
        return values_of(sdf, origins[rays] + t[:, None] * directions[rays]) / lipschitz

    marcher = _Marcher(along, speed, end, steps, tolerance, relaxation)
    hit, near = marcher.first(start, band)
    none = torch.full_like(hit, torch.inf)
    if band == 0:
        return hit, none, none
    inner, leaves = marcher.within(hit, near, band)
    near = torch.where(inner.isfinite(), inner, near)
    behind, _ = marcher.first(torch.where(inner.isfinite(), leaves, torch.inf), 0.0)
    return hit, near, behind


def values_of(sdf: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """The values [R] of a function at points [R, 3], in the type of the points."""
    value = check.tensor("sdf(points)", evaluated("sdf", sdf, points))
    if value.shape not in (points.shape[:-1], (*points.shape[:-1], 1)):
        raise ValueError(f"sdf: expected a function that returns shape [{len(points)}], got {tuple(value.shape)}")
    return value.reshape(points.shape[:-1]).to(points.dtype)


def _clipped(
    origins: Tensor, directions: Tensor, t_min: float, t_max: float, box: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The part of each ray in the box, if there is a box; it begins at infinity for rays that miss the box."""
    start, end = torch.full_like(origins[:, 0], t_min), torch.full_like(origins[:, 0], t_max)
    if box is not None:
        sides = (box - origins[:, None]) / directions[:, None]
        flat = directions == 0
        inside = (origins >= box[0]) & (origins <= box[1])
        low = torch.where(flat, torch.where(inside, -torch.inf, torch.inf), sides.amin(1))
        high = torch.where(flat, torch.inf, sides.amax(1))
        start, end = torch.maximum(start, low.amax(1)), torch.minimum(end, high.amin(1))
    good = (start < end) & origins.isfinite().all(-1) & directions.isfinite().all(-1)
    return torch.where(good, start, torch.inf), end


class _Marcher:
    """along(t [K], rays [K]): the values at t on the rays with these numbers."""

    def __init__(
        self,
        along: Callable[[Tensor, Tensor], Tensor],
        speed: Tensor,
        end: Tensor,
        steps: int,
        tolerance: float,
        relaxation: float,
    ) -> None:
        self.along, self.speed, self.end = along, speed, end
        self.steps, self.tolerance, self.relaxation = steps, tolerance, relaxation

    def first(self, start: Tensor, band: float) -> tuple[Tensor, Tensor]:
        """Where rays first enter the surface after `start` and, with a band, the first place before it at which they
        come closest, if that is within twice the band. Rays that start at infinity are skipped."""
        hit, near = torch.full_like(start, torch.inf), torch.full_like(start, torch.inf)
        rays = (start < self.end).nonzero()[:, 0]
        t, value = start[rays], self.along(start[rays], rays)
        omega = torch.full_like(t, self.relaxation)
        last_t, last_value = t, torch.full_like(t, -torch.inf)
        for _ in range(self.steps):
            if not len(rays):
                break
            radius = value.abs().clamp(min=self.tolerance) / self.speed[rays]
            next_t = torch.minimum(t + omega * radius, self.end[rays])
            next_value = self.along(next_t, rays)
            # The two spheres must overlap, or the step may have passed something.
            apart = (omega > 1) & (value > 0) & ((value.abs() + next_value.abs()) < (next_t - t) * self.speed[rays])
            if bool(apart.any()):
                redo = apart.nonzero()[:, 0]
                next_t[redo] = torch.minimum(t + radius, self.end[rays])[redo]
                next_value[redo] = self.along(next_t[redo], rays[redo])
            omega = torch.where(apart, 1.0, self.relaxation)
            enters = (value > 0) & (next_value <= 0)
            if bool(enters.any()):
                chosen = enters.nonzero()[:, 0]
                hit[rays[chosen]] = self._root(rays[chosen], t[chosen], next_t[chosen], value[chosen],
                                               next_value[chosen])  # fmt: skip
            # Near a minimum below 2 band, steps are short enough that one of them ends below this.
            turns = (last_value >= value) & (next_value > value) & (value > 0) & (value < _NEAR * band)
            chosen = (turns & near[rays].isinf()).nonzero()[:, 0]
            if len(chosen):
                near[rays[chosen]] = self._lowest(rays[chosen], last_t[chosen], next_t[chosen], 2 * band)
            ends = enters | (next_t >= self.end[rays]) | ~next_value.isfinite()
            keep = (~ends).nonzero()[:, 0]
            rays, last_t, last_value, t, value, omega = (
                part[keep] for part in (rays, t, value, next_t, next_value, omega)
            )
        return hit, near

    def within(self, hit: Tensor, near: Tensor, band: float) -> tuple[Tensor, Tensor]:
        """For rays that get no deeper below the surface than the band: where they are deepest, and where they leave it
        again. Infinity for others."""
        deepest, leaves = torch.full_like(hit, torch.inf), torch.full_like(hit, torch.inf)
        rays = (hit.isfinite() & ~near.isfinite()).nonzero()[:, 0]
        t = hit[rays]
        low, low_from, low_to = torch.zeros_like(t), t.clone(), t.clone()
        for _ in range(self.steps):
            if not len(rays):
                break
            value = self.along(t, rays)
            next_t = torch.minimum(t + value.abs().clamp(min=band / 8) / self.speed[rays], self.end[rays])
            next_value = self.along(next_t, rays)
            lower = next_value < low
            low = torch.where(lower, next_value, low)
            low_from, low_to = torch.where(lower, t, low_from), torch.where(lower, next_t, low_to)
            low_to = torch.where(~lower & (low_to == t), next_t, low_to)
            out = next_value > 0
            chosen = (out & (low < 0)).nonzero()[:, 0]
            if len(chosen):
                deepest[rays[chosen]] = self._lowest(rays[chosen], low_from[chosen], low_to[chosen], 0.0)
                leaves[rays[chosen]] = next_t[chosen]
            keep = (~out & (low > -2 * band) & (next_t < self.end[rays])).nonzero()[:, 0]
            rays, t, low, low_from, low_to = (part[keep] for part in (rays, next_t, low, low_from, low_to))
        return deepest, leaves

    def _root(self, rays: Tensor, a: Tensor, b: Tensor, value_a: Tensor, value_b: Tensor) -> Tensor:
        """Between a, where the value is positive, and b, where it is not: the Illinois form of the secant method."""
        kept = torch.zeros_like(a)
        middle = b
        for _ in range(_SECANT_STEPS):
            middle = a + (b - a) * (value_a / (value_a - value_b))
            value = self.along(middle, rays)
            above = value > 0
            value_b = torch.where(above & (kept == 1), 0.5 * value_b, value_b)
            value_a = torch.where(~above & (kept == -1), 0.5 * value_a, value_a)
            a, value_a = torch.where(above, middle, a), torch.where(above, value, value_a)
            b, value_b = torch.where(above, b, middle), torch.where(above, value_b, value)
            kept = torch.where(above, 1.0, -1.0)
            if bool((value == 0).all()):
                break
        return middle

    def _lowest(self, rays: Tensor, a: Tensor, b: Tensor, below: float) -> Tensor:
        """The place of the lowest value between a and b, by golden-section search; infinity if not below a limit."""
        for _ in range(_GOLDEN_STEPS):
            c, d = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
            left = self.along(c, rays) < self.along(d, rays)
            a, b = torch.where(left, a, c), torch.where(left, d, b)
        lowest = 0.5 * (a + b)
        return torch.where(self.along(lowest, rays) < below, lowest, torch.inf)
