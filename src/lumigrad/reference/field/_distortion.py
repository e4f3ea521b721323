"""How far the weights of a ray's samples lie apart, and unbounded space in a ball, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.types import RaySamples


def distortion_loss(samples: RaySamples, weights: Tensor) -> Tensor:
    """Arguments and result: `lumigrad.distortion_loss`."""
    first, ray = samples.offsets[:-1], samples.ray
    middle, length = 0.5 * (samples.t_start + samples.t_end), samples.t_end - samples.t_start
    rays = len(first)

    def before(values: Tensor) -> Tensor:
        """The sum of a ray's values in front of each sample. In float64: sums go on from ray to ray."""
        sums = torch.cumsum(torch.cat((values.new_zeros(1, dtype=torch.float64), values.double())), 0)
        return (sums[:-1] - sums[first][ray]).to(values.dtype)

    pairs = 2 * weights * (middle * before(weights) - before(weights * middle))
    own = weights.square() * length / 3
    return weights.new_zeros(rays).index_add(0, ray, pairs + own)


def contract(points: Tensor) -> Tensor:
    """Arguments and result: `lumigrad.contract`."""
    radius = points.norm(dim=-1, keepdim=True)
    outside = radius > 1
    safe = torch.where(outside, radius, 1)
    return torch.where(outside, (2 - 1 / safe) * (points / safe), points)
