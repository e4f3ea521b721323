"""Bits of occupied cells, defined in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lumigrad.types import Occupancy


def occupancy(density: Tensor, threshold: float = 0.0) -> Occupancy:
    """Arguments and result: `lumigrad.occupancy`."""
    if density.dtype == torch.bool:
        filled = density
    else:
        reached = functional.max_pool3d(density.detach().nan_to_num(0.0)[None, None], 3, stride=1, padding=1)[0, 0]
        filled = reached > threshold
    depth, height, width = filled.shape
    padded = functional.pad(filled, (0, -width % 4, 0, -height % 4, 0, -depth % 4))
    bricks = padded.unflatten(2, (-1, 4)).unflatten(1, (-1, 4)).unflatten(0, (-1, 4)).permute(0, 2, 4, 1, 3, 5)
    bits = torch.arange(64, device=density.device)
    words = (bricks.flatten(3).long() << bits).sum(-1)
    return Occupancy(words, (depth, height, width))
