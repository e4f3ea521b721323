"""Segments of rays in occupied cells, and segments of equal weights, defined in plain PyTorch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lumigrad.reference._gradients import lengths
from lumigrad.reference.field._march import MAX_STEPS, _clip, _regular
from lumigrad.reference.field._volume import occupied
from lumigrad.types import Occupancy, RaySamples
from lumigrad.types.counters import mixed
from lumigrad.types.fields import ray_numbers
from lumigrad.types.grids import scaled_box


def sample_rays(
    origins: Tensor,
    directions: Tensor,
    box: Tensor,
    step: float,
    occupancy: Occupancy | None = None,
    t_min: float | Tensor = 0.0,
    t_max: float | Tensor = math.inf,
    jitter: int | None = None,
) -> RaySamples:
    """Arguments and result: `lumigrad.sample_rays`."""
    origins, directions = torch.broadcast_tensors(origins, directions)
    shape = directions.shape[:-1]
    begin, end, box = (
        torch.as_tensor(value, dtype=origins.dtype, device=origins.device).detach() for value in (t_min, t_max, box)
    )
    begin, end = begin.expand(shape).reshape(-1), end.expand(shape).reshape(-1)
    origins, directions = origins.reshape(-1, 3), directions.reshape(-1, 3)
    norms = lengths(directions)
    levels = 1 if occupancy is None or occupancy.words.dim() == 3 else len(occupancy.words)
    boxes = [scaled_box(box, 2**level) for level in range(levels)]
    with torch.no_grad():
        origins, directions, hits = _regular(origins, directions, boxes[-1])
        begin, end, hits = _clip(origins, directions, boxes[-1], begin, end, hits)
        shift = torch.zeros_like(begin) if jitter is None else shifts(jitter, len(begin), begin)
        times = _edges(begin, end, step, shift)
        middle = 0.5 * (times[:, :-1] + times[:, 1:])
        counts = hits[:, None] & (times[:, 1:] > times[:, :-1])
        if occupancy is not None:
            points = origins[:, None] + middle[..., None] * directions[:, None]
            counts = counts & occupied(occupancy, boxes, points)
        offsets = torch.cat((counts.new_zeros(1, dtype=torch.int64), counts.sum(-1).cumsum(0)))
        return RaySamples(times[:, :-1][counts], times[:, 1:][counts], offsets, norms)


def resample_rays(samples: RaySamples, weights: Tensor, count: int, jitter: int | None = None) -> RaySamples:
    """Arguments and result: `lumigrad.resample_rays`."""
    rays = len(samples.offsets) - 1
    counts = samples.offsets[1:] - samples.offsets[:-1]
    ray = ray_numbers(samples.offsets, len(weights))
    start, end = samples.t_start.detach().double(), samples.t_end.detach().double()
    weight = weights.detach().double()
    placed = start.isfinite() & end.isfinite()
    start, end = torch.where(placed, start, 0), torch.where(placed, end, 0)
    weight = torch.where((weight > 0) & weight.isfinite() & placed, weight, 0)
    total = weight.new_zeros(rays).index_add(0, ray, weight)
    weight = torch.where(total[ray] > 0, weight, (end - start).clamp(min=0))
    total = weight.new_zeros(rays).index_add(0, ray, weight)
    weight = torch.where(total[ray] > 0, weight, 1)
    # Without segments of zero weight: an end never lies in one.
    kept = weight > 0
    start, end, weight, ray = start[kept], end[kept], weight[kept], ray[kept]
    bounds = torch.searchsorted(ray, torch.arange(rays + 1, device=ray.device))
    share = weight / weight.new_zeros(rays).index_add(0, ray, weight)[ray]
    # The cumulative weight, which rises from r to r + 1 along ray r, so that one search serves all rays.
    sums = share.cumsum(0)
    upper = sums - torch.cat((sums.new_zeros(1), sums))[bounds[:-1]][ray] + ray
    full = (counts > 0).nonzero()[:, 0]
    number = torch.arange(count + 1, dtype=torch.float64, device=weight.device)
    part = number / count if jitter is None else (number + shifts(jitter, rays, weight)[full, None]) / (count + 1)
    wanted = full[:, None] + part.expand(len(full), -1)
    first, last = bounds[:-1][full, None], bounds[1:][full, None] - 1
    found = torch.searchsorted(upper, wanted.contiguous()).clamp(first, last)
    along = (wanted - (upper - share)[found]) / share[found]
    times = (start[found] + along.clamp(0, 1) * (end - start)[found]).to(samples.t_start)
    offsets = torch.cat((counts.new_zeros(1), ((counts > 0) * count).cumsum(0)))
    return RaySamples(times[:, :-1].reshape(-1), times[:, 1:].reshape(-1), offsets, samples.norms)


def shifts(seed: int, rays: int, like: Tensor) -> Tensor:
    """A number in [0, 1) for each ray, from the seed and the ray's number."""
    ray = torch.arange(rays, device=like.device)
    word = mixed(mixed(ray) + seed)  # hashed, so that consecutive seeds do not merely shift the rays' numbers
    return (word >> 40 & 0x7FFFFF).to(like.dtype) / 2**23


def _edges(begin: Tensor, end: Tensor, step: float, shift: Tensor) -> Tensor:
    """The ends of segments [rays, N + 1]. Those after the last one equal the ray's end."""
    length = end - begin
    wanted = length.double() / torch.tensor(step, dtype=length.dtype).double()
    size = torch.where(wanted <= MAX_STEPS, torch.full_like(length, step), length / MAX_STEPS)
    count = (wanted.clamp(max=MAX_STEPS) + shift).ceil().clamp(min=1)
    number = torch.arange(int(count.max()) + 1 if len(count) else 2, dtype=begin.dtype, device=begin.device)
    times = torch.minimum(begin[:, None] + (number - shift[:, None]) * size[:, None], end[:, None])
    times = torch.where(number < count[:, None], times, end[:, None])
    return torch.where(number == 0, begin[:, None], times)
