"""Proposals of samples along rays: cheap weights of many segments, and the loss that trains them.

Source: Barron, Mildenhall, Verbin, Srinivasan and Hedman 2022, "Mip-NeRF 360", sections 3 and 4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.ops.field import resample_rays
from lumigrad.types import RaySamples

_EPSILON = 1e-5


def warp(t: Tensor) -> Tensor:
    """Distances from 0 to infinity as numbers from 0 to 1: in even steps up to 1, beyond it in even steps of 1 / t.

    >>> import torch
    >>> from lumigrad.fit.fields.proposals import unwarp, warp
    >>> warp(torch.tensor([0.0, 0.5, 1.0, 2.0, 5.0])).tolist()
    [0.0, 0.25, 0.5, 0.75, 0.8999999761581421]
    >>> unwarp(torch.tensor([0.25, 0.75])).tolist()
    [0.5, 2.0]
    """
    return torch.where(t < 1, 0.5 * t, 1 - 0.5 / t.clamp_min(1))


def unwarp(s: Tensor) -> Tensor:
    """The inverse of `warp`."""
    return torch.where(s < 0.5, 2 * s, 0.5 / (1 - s.clamp(0.5, 0.9999)))


class RayNoise:
    """Random numbers of the rays of a step, or of a part of them, which has those that it has among all.

    Args:
        generator: on the rays' device; its next numbers do not depend on the part.
        rays: number of all rays.
        part: which of them are those that are traced.

    >>> import torch
    >>> from lumigrad.fit.fields.proposals import RayNoise
    >>> every, last = (RayNoise(torch.Generator().manual_seed(0), 5, part) for part in (slice(0, 5), slice(3, 5)))
    >>> torch.equal(every.uniform(2)[3:], last.uniform(2))
    True
    """

    def __init__(self, generator: torch.Generator, rays: int, part: slice) -> None:
        self._generator, self._rays, self._part = generator, rays, part

    def uniform(self, columns: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Numbers [R, columns] in [0, 1)."""
        random = torch.rand(self._rays, columns, generator=self._generator, device=self._generator.device, dtype=dtype)
        return random[self._part]

    def resample(self, samples: RaySamples, weights: Tensor, count: int) -> RaySamples:
        """`resample_rays` with the jitter of each ray."""
        seed = int(torch.randint(1 << 30, (1,), generator=self._generator, device=self._generator.device))
        # A ray's jitter depends on its number, so rays before the part are present, without samples.
        before = self._part.start
        offsets = torch.cat((samples.offsets.new_zeros(before), samples.offsets)) if before else samples.offsets
        found = resample_rays(samples._replace(offsets=offsets), weights, count, seed)
        return found._replace(offsets=found.offsets[before:])


def cut(rays: int, count: int, near: float, far: float, like: Tensor, noise: RayNoise | None) -> Tensor:
    """Ends [R, count + 1] of segments of rays, of the same length when warped; with noise, moved a little."""
    ends = torch.linspace(0, 1, count + 1, device=like.device, dtype=like.dtype).expand(rays, -1)
    if noise is not None:
        random = noise.uniform(count - 1, like.dtype)
        ends = torch.cat((ends[:, :1], ends[:, 1:-1] + (random - 0.5) / count, ends[:, -1:]), 1)
    first, last = warp(like.new_tensor([near, far])).tolist()
    return unwarp(first + (last - first) * ends)


def as_samples(ends: Tensor) -> RaySamples:
    """Segments between ends [R, N + 1], for rays with unit directions, N per ray."""
    rays, count = ends.shape[0], ends.shape[1] - 1
    offsets = count * torch.arange(rays + 1, device=ends.device)
    return RaySamples(ends[:, :-1].reshape(-1), ends[:, 1:].reshape(-1), offsets)


def shortfall(proposed: RaySamples, bounds: Tensor, samples: RaySamples, weights: Tensor) -> Tensor:
    """The mean over rays of the excess of samples' weights over the weights proposed there.

    Args:
        proposed: of R rays, the same number of samples each.
        bounds: [S], their weights, which have gradients.
        samples: of the same rays, the same number of samples each, within those proposed.
        weights: [T], theirs.

    >>> import torch
    >>> from lumigrad.fit.fields.proposals import as_samples, shortfall
    >>> proposed, samples = as_samples(torch.tensor([[0.0, 1.0, 2.0]])), as_samples(torch.tensor([[0.5, 0.9, 1.5]]))
    >>> shortfall(proposed, torch.tensor([0.5, 0.5]), samples, torch.tensor([0.4, 0.6])).item()  # 0.6 is from 0 to 2
    0.0
    >>> round(shortfall(proposed, torch.tensor([0.1, 0.5]), samples, torch.tensor([0.4, 0.6])).item(), 3)  # 0.3^2 / 0.4
    0.225
    """
    rays = len(proposed.offsets) - 1
    begin, end = proposed.t_start.view(rays, -1), proposed.t_end.view(rays, -1)
    sums = torch.nn.functional.pad(bounds.view(rays, -1).cumsum(1), (1, 0))
    # The first and last segments that a sample touches.
    first = torch.searchsorted(end, samples.t_start.view(rays, -1).contiguous(), right=True)
    behind = torch.searchsorted(begin, samples.t_end.view(rays, -1).contiguous())
    last = begin.shape[1]
    found = sums.gather(1, behind.clamp(max=last)) - sums.gather(1, first.clamp(max=last))
    wanted = weights.view(rays, -1)
    return ((wanted - found).clamp_min(0).square() / (wanted + _EPSILON)).sum(1).mean()
