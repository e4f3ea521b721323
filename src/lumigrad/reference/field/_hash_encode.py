"""Features of points from tables of several resolutions, defined in plain PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from lumigrad.reference._gradients import finite_gradient

PRIMES = (1, 2654435761, 805459861)


def hash_encode(x: Tensor, tables: Tensor | Sequence[Tensor], resolutions: Sequence[int] | Tensor) -> Tensor:
    """Arguments and result: `lumigrad.hash_encode`."""
    finite = x.isfinite().all(-1)
    safe = torch.where(finite[:, None], x, 0).clamp(0, 1)
    levels = [_level(safe, table, int(resolution)) for table, resolution in zip(tables, resolutions)]
    return torch.where(finite[:, None], torch.cat(levels, -1), 0)


def _level(x: Tensor, table: Tensor, resolution: int) -> Tensor:
    place = x * resolution
    cell = place.detach().floor().clamp(max=resolution - 1).long()
    fraction = place - cell
    out: Tensor | float = 0.0
    for corner in itertools.product((0, 1), repeat=x.shape[1]):
        far = torch.tensor(corner, device=x.device)
        weight = torch.where(far == 1, fraction, 1 - fraction).prod(-1)
        out = out + finite_gradient(weight)[:, None] * table[_rows(cell + far, len(table), resolution)]
    assert isinstance(out, Tensor)
    return out


def _rows(corner: Tensor, entries: int, resolution: int) -> Tensor:
    """The rows of the corners [M, axes] of cells."""
    side, axes = resolution + 1, corner.shape[1]
    if side**axes <= entries:
        return sum((corner[:, a] * side**a for a in range(axes)), torch.zeros_like(corner[:, 0]))
    row = torch.zeros_like(corner[:, 0])
    for a in range(axes):
        row = row ^ (corner[:, a] * PRIMES[a] & 0xFFFFFFFF)
    return row % entries
