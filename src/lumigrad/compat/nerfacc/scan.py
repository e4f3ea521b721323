"""Sums and products along rays, batched or packed one ray after the other, with gradients of any order.

Packed scans double their reach from step to step. There is neither a division nor a difference of sums over all rays,
so that a factor of zero has its gradient, and a ray does not lose digits to those before it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.compat.nerfacc.pack import first_of_ray


def inclusive_sum(inputs: Tensor, packed_info: Tensor | None = None, indices: Tensor | None = None) -> Tensor:
    """Sums of the samples up to and with each, [R, P] or packed [S].

    Args:
        inputs: the samples.
        packed_info: (first, count) of each ray [R, 2], if they are packed.
        indices: the ray of each sample [S], in place of it.
    """
    if packed_info is None and indices is None:
        return inputs.cumsum(-1)
    return _scanned(inputs, first_of_ray(inputs, packed_info, indices), product=False)


def exclusive_sum(inputs: Tensor, packed_info: Tensor | None = None, indices: Tensor | None = None) -> Tensor:
    """Sums of the samples before each. Arguments as of `inclusive_sum`."""
    if packed_info is None and indices is None:
        return _shifted(inputs, 1, 0.0).cumsum(-1)
    first = first_of_ray(inputs, packed_info, indices)
    return _scanned(_before(inputs, first, 0.0), first, product=False)


def inclusive_prod(inputs: Tensor, packed_info: Tensor | None = None, indices: Tensor | None = None) -> Tensor:
    """Products of the samples up to and with each. Arguments as of `inclusive_sum`."""
    if packed_info is None and indices is None:
        return inputs.cumprod(-1)
    return _scanned(inputs, first_of_ray(inputs, packed_info, indices), product=True)


def exclusive_prod(inputs: Tensor, packed_info: Tensor | None = None, indices: Tensor | None = None) -> Tensor:
    """Products of the samples before each. Arguments as of `inclusive_sum`."""
    if packed_info is None and indices is None:
        return _shifted(inputs, 1, 1.0).cumprod(-1)
    first = first_of_ray(inputs, packed_info, indices)
    return _scanned(_before(inputs, first, 1.0), first, product=True)


def _shifted(values: Tensor, step: int, neutral: float) -> Tensor:
    """Values moved to the right along the last dimension."""
    head = torch.full_like(values[..., :step], neutral)
    return torch.cat((head, values[..., : values.shape[-1] - head.shape[-1]]), -1)


def _before(values: Tensor, first: Tensor, neutral: float) -> Tensor:
    """The sample before each of the same ray."""
    position = torch.arange(len(values), device=values.device)
    return torch.where(position > first, _shifted(values, 1, neutral), neutral)


def _scanned(values: Tensor, first: Tensor, product: bool) -> Tensor:
    neutral = 1.0 if product else 0.0
    place = torch.arange(len(values), device=values.device) - first
    longest = int(place.max()) + 1 if len(values) else 0
    step = 1
    while step < longest:
        earlier = torch.where(place >= step, _shifted(values, step, neutral), neutral)
        values = values * earlier if product else values + earlier
        step *= 2
    return values
