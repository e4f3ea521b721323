"""Emission and absorption along rays through a grid, defined in plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from lumigrad.reference._gradients import finite_gradient
from lumigrad.reference.field._volume import interpolate, occupied
from lumigrad.reference.splat._spherical_harmonics import spherical_harmonics
from lumigrad.types import Marched, Occupancy

MAX_STEPS = 65536
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda value: value,
    "relu": torch.relu,
    "softplus": lambda value: value.clamp(min=0) + torch.log1p(torch.exp(-value.abs())),
    "exp": lambda value: torch.exp(value.clamp(max=87.0 if value.dtype == torch.float32 else 708.0)),
}


def march(
    grid: Tensor,
    origins: Tensor,
    directions: Tensor,
    box: Tensor,
    step: float | None = None,
    occupancy: Occupancy | None = None,
    background: Tensor | None = None,
    t_min: float | Tensor = 0.0,
    t_max: float | Tensor = math.inf,
    activation: str = "relu",
    degree: int | None = None,
    min_transmittance: float = 0.0,
) -> Marched:
    """Arguments and result: `lumigrad.march`."""
    box = torch.as_tensor(box, dtype=grid.dtype, device=grid.device)
    origins, directions = torch.broadcast_tensors(origins, directions)
    shape = directions.shape[:-1]
    begin, end = (torch.as_tensor(t, dtype=grid.dtype, device=grid.device).expand(shape) for t in (t_min, t_max))
    features, alpha, depth, median = _march(
        grid, origins.reshape(-1, 3), directions.reshape(-1, 3), box, begin.reshape(-1), end.reshape(-1), step,
        occupancy, activation, min_transmittance,
    )  # fmt: skip
    return as_marched(features, alpha, depth, median, directions, degree, background)


def as_marched(
    features: Tensor,
    alpha: Tensor,
    depth: Tensor,
    median: Tensor,
    directions: Tensor,
    degree: int | None,
    background: Tensor | None,
) -> Marched:
    """The results of rays [R], in the shape of their directions [..., 3] and in front of a background."""
    shape = directions.shape[:-1]
    features = seen_features(features.reshape(*shape, features.shape[-1]), directions, degree)
    alpha = alpha.reshape(shape)
    if background is not None:
        features = features + (1 - alpha)[..., None] * finite_gradient(background)
    return Marched(features, alpha, depth.reshape(shape), median.reshape(shape))


def seen_features(features: Tensor, directions: Tensor, degree: int | None) -> Tensor:
    """Features [..., C], evaluated from coefficients [..., K C] if there is a degree."""
    if degree is None:
        return features
    count = (degree + 1) ** 2
    directions = finite_gradient(directions)
    coefficients = features.reshape(features.shape[:-1].numel(), count, features.shape[-1] // count)
    seen = spherical_harmonics(coefficients, directions.reshape(-1, 3))
    return seen.reshape(*features.shape[:-1], seen.shape[-1])


def _march(
    grid: Tensor, origins: Tensor, directions: Tensor, box: Tensor, begin: Tensor, end: Tensor, step: float | None,
    occupancy: Occupancy | None, activation: str, min_transmittance: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    grid, origins, directions, box, begin, end = map(finite_gradient, (grid, origins, directions, box, begin, end))
    origins, directions, hits = _regular(origins, directions, box)
    begin, end, hits = _clip(origins, directions, box, begin, end, hits)
    times = _planes(grid, origins, directions, box, begin, end) if step is None else _steps(begin, end, step)
    length, middle = times[:, 1:] - times[:, :-1], 0.5 * (times[:, 1:] + times[:, :-1])
    norm = directions.norm(dim=-1)[:, None]

    def values_at(t: Tensor) -> Tensor:
        return interpolate(grid, box, origins[:, None] + t[..., None] * directions[:, None])

    def extinction(values: Tensor) -> Tensor:
        safe = torch.where(values.isfinite(), values, 0)
        return torch.where(values.isfinite(), ACTIVATIONS[activation](safe), 0)

    values = values_at(middle)
    sigma = extinction(values[..., 0])
    if step is None:
        ends = extinction(values_at(times)[..., 0])
        sigma = (ends[:, :-1] + 4 * sigma + ends[:, 1:]) / 6
    counts = hits[:, None] & (length > 0)
    if occupancy is not None:
        counts = counts & occupied(occupancy, [box], origins[:, None] + middle[..., None] * directions[:, None])
    tau = torch.where(counts, sigma * norm * length, 0)
    passed = torch.exp(-torch.cumsum(functional.pad(tau, (1, 0)), dim=-1))
    reached = (passed > min_transmittance)[:, :-1].cumprod(-1)  # what lies behind the last one does not count
    tau = tau * reached
    passed = torch.exp(-torch.cumsum(functional.pad(tau, (1, 0)), dim=-1))
    weights = finite_gradient(passed[:, :-1] * -torch.expm1(-tau))
    lit = (weights != 0)[..., None]
    features = (weights[..., None] * torch.where(lit, values[..., 1:], 0)).sum(-2)
    depth = (weights * middle).sum(-1)
    return features, 1 - passed[:, -1], depth, _median(times, tau, passed)


def _regular(origins: Tensor, directions: Tensor, box: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rays that can be computed with, and a mask of those that were valid."""
    norm = directions.detach().norm(dim=-1)
    hits = (norm > 0) & norm.isfinite() & origins.isfinite().all(-1) & (box[0] < box[1]).all() & box.isfinite().all()
    unit = torch.ones_like(directions)
    return torch.where(hits[:, None], origins, 0), torch.where(hits[:, None], directions, unit), hits


def _clip(
    origins: Tensor, directions: Tensor, box: Tensor, begin: Tensor, end: Tensor, hits: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Where rays enter and leave the box, and a mask of those that meet it."""
    hits = hits & (begin < end)
    for axis in range(3):
        o, d = origins[:, axis], directions[:, axis]
        along = d != 0
        low, high = (torch.where(along, (box[i, axis] - o) / torch.where(along, d, 1), 0) for i in range(2))
        enters, leaves = torch.where(d > 0, low, high), torch.where(d > 0, high, low)
        begin = torch.where(along & (enters > begin), enters, begin)
        end = torch.where(along & (leaves < end), leaves, end)
        hits = hits & (along | ((o >= box[0, axis]) & (o <= box[1, axis])))
    length = end - begin
    hits = hits & (length > 0) & length.isfinite()
    return torch.where(hits, begin, 0), torch.where(hits, end, 0), hits


def _steps(begin: Tensor, end: Tensor, step: float) -> Tensor:
    """The ends of segments [rays, N + 1]. Those after the last one equal the ray's end."""
    length = (end - begin).detach()
    size = torch.maximum(length / MAX_STEPS, torch.full_like(length, step))
    count = int((length / size).ceil().max().clamp(1, MAX_STEPS)) if len(begin) else 1
    number = torch.arange(count + 1, dtype=begin.dtype, device=begin.device)
    times = begin[:, None] + number * size[:, None]
    return torch.where(number * size[:, None] < length[:, None], times, end[:, None])


def _planes(grid: Tensor, origins: Tensor, directions: Tensor, box: Tensor, begin: Tensor, end: Tensor) -> Tensor:
    """Where rays cross the planes of voxel centres, [rays, N + 1], including the rays' starts and ends."""
    times = [begin[:, None], end[:, None]]
    for axis, size in enumerate((grid.shape[2], grid.shape[1], grid.shape[0])):
        share = (torch.arange(size, dtype=grid.dtype, device=grid.device) + 0.5) / size
        place = box[0, axis] + share * (box[1, axis] - box[0, axis])
        o, d = origins[:, axis, None], directions[:, axis, None]
        crossing = (place - o) / torch.where(d == 0, 1, d)
        inside = (d != 0) & (crossing > begin[:, None]) & (crossing < end[:, None])
        times.append(torch.where(inside, crossing, end[:, None]))
    return torch.cat(times, -1).sort(dim=-1).values


def _median(times: Tensor, tau: Tensor, passed: Tensor) -> Tensor:
    crossed = (passed[:, :-1] >= 0.5) & (passed[:, 1:] < 0.5)
    share = torch.log(2 * passed[:, :-1]) / torch.where(crossed, tau, 1)
    at = times[:, :-1] + (times[:, 1:] - times[:, :-1]) * share
    first = crossed & (torch.cumsum(crossed, dim=-1) == crossed.sum(-1, keepdim=True))
    return torch.where(first, at, 0).sum(-1).detach()
