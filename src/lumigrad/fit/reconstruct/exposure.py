"""Exposure and white balance of photographs: a gain of each channel."""

from __future__ import annotations

import torch
from torch import Tensor

# Gains are pulled towards 1 as if this fraction of the photograph were grey and agreed, and kept within these limits.
_PRIOR, _LIMIT = 0.01, 4.0
# The fraction of the way to the best gain that one step takes.
_PACE = 0.3


@torch.no_grad()
def gains_of(color: Tensor, target: Tensor, counts: Tensor, before: Tensor) -> Tensor:
    """Gains [N, 3] nearer to those by which renders would agree best with photographs.

    Args:
        color: renders without gains, [N, H, W, 3].
        target: photographs, [N, H, W, 3].
        counts: which pixels are compared, bool [N, H, W, 1].
        before: gains so far, [N, 3].

    >>> import torch
    >>> from lumigrad.fit.reconstruct.exposure import gains_of
    >>> color, every = torch.rand(1, 8, 8, 3), torch.ones(1, 8, 8, 1, dtype=torch.bool)
    >>> gains = torch.ones(1, 3)
    >>> for _ in range(30):
    ...     gains = gains_of(color, 0.5 * color, every, gains)
    >>> bool((gains - 0.5).abs().max() < 0.05)
    True
    """
    return before + _PACE * (best_gains(color, target, counts) - before)


@torch.no_grad()
def best_gains(color: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """The gains [N, 3] by which renders agree best with photographs; see `gains_of`."""
    prior = _PRIOR * 0.25 * counts[0].numel()
    # Clipped highlights say nothing about the gain.
    weight = counts * (target < 0.995).to(color)
    both = (weight * color * target).sum((1, 2)) + prior
    own = (weight * color * color).sum((1, 2)) + prior
    return (both / own).clamp(1 / _LIMIT, _LIMIT)


@torch.no_grad()
def centred(gains: Tensor) -> Tensor:
    """Gains [N, 3] whose geometric mean is 1: the surface has the colours of the average photograph."""
    return gains / gains.log().mean(0).exp()
