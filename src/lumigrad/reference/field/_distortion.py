"""The distortion loss of a ray's weights, and the contraction of unbounded space to a ball, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.reference._gradients import finite_gradient
from lumigrad.types import RaySamples
from lumigrad.types.fields import ray_numbers


def distortion_loss(samples: RaySamples, weights: Tensor) -> Tensor:
    """Arguments and result: `lumigrad.distortion_loss`."""
    first, ray = samples.offsets[:-1], ray_numbers(samples.offsets, len(weights))
    weights, start, end = map(finite_gradient, (weights, samples.t_start, samples.t_end))
    middle, length = 0.5 * (start + end), end - start
    rays = len(first)
    # Sums run across rays, so non-finite values are removed from them, and their rays have no loss.
    broken = ~(weights.isfinite() & start.isfinite() & end.isfinite())
    lost = weights.new_zeros(rays).index_add(0, ray, broken.to(weights)) > 0
    weights, middle, length = (torch.where(lost[ray], 0, value) for value in (weights, middle, length))

    def before(values: Tensor) -> Tensor:
        """The sum of a ray's values in front of each sample. In float64, because sums run across rays."""
        sums = torch.cumsum(torch.cat((values.new_zeros(1, dtype=torch.float64), values.double())), 0)
        return (sums[:-1] - sums[first][ray]).to(values.dtype)

    pairs = 2 * weights * (middle * before(weights) - before(weights * middle))
    own = weights.square() * length / 3
    loss = weights.new_zeros(rays).index_add(0, ray, pairs + own)
    return torch.where(lost, torch.nan, loss)


def contract(points: Tensor) -> Tensor:
    """Arguments and result: `lumigrad.contract`."""
    points = finite_gradient(points)
    # Relative to their largest component, so that squares do not overflow.
    extent = points.detach().abs().amax(-1, keepdim=True).clamp(min=1)
    scaled = points / extent
    radius = scaled.norm(dim=-1, keepdim=True)
    outside = extent * radius.detach() > 1
    safe = torch.where(outside, radius, 1)
    return torch.where(outside, (2 - 1 / (extent * safe)) * (scaled / safe), points)
