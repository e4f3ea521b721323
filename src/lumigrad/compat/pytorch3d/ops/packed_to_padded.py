"""Rows of a batch in a row and as a rectangle, by the first row of each element."""

from __future__ import annotations

import torch
from torch import Tensor


def _places(first_idxs: Tensor, total: int, max_size: int) -> tuple[Tensor, Tensor]:
    """Packed rows as they lie padded [N, max_size], and which of those places have a row.

    Raises:
        ValueError: first rows of another shape or type, or a size that is no integer.
    """
    if first_idxs.ndim != 1:
        raise ValueError(f"first_idxs can only be 1-dimensional, got shape {tuple(first_idxs.shape)}")
    if first_idxs.dtype != torch.int64:
        raise ValueError(f"first_idxs has to be of type torch.int64, got {first_idxs.dtype}")
    if not isinstance(max_size, int) or not isinstance(total, int):
        raise ValueError(f"max_size has to be int, got {max_size!r}")
    ends = torch.cat((first_idxs[1:], first_idxs.new_tensor([total])))
    place = first_idxs[:, None] + torch.arange(max_size, device=first_idxs.device)
    return place, place < ends[:, None]


def packed_to_padded(inputs: Tensor, first_idxs: Tensor, max_size: int) -> Tensor:
    """[N, max_size, ...], filled up with 0, of rows [F, ...].

    Args:
        inputs: the rows.
        first_idxs: int64 [N], the first row of each element.
        max_size: the longest element.

    Raises:
        ValueError: shapes or types that do not fit.
    """
    place, there = _places(first_idxs, len(inputs), max_size)
    if len(inputs) == 0:
        return inputs.new_zeros((*place.shape, *inputs.shape[1:]))
    rows = inputs[place.clamp(max=len(inputs) - 1)]
    return torch.where(there.reshape(*there.shape, *[1] * (inputs.ndim - 1)), rows, torch.zeros_like(rows[:1, :1]))


def padded_to_packed(inputs: Tensor, first_idxs: Tensor, num_inputs: int, max_size_dim: int = 1) -> Tensor:
    """Rows [num_inputs, ...] of a padded tensor [N, ..., max_size, ...].

    Args:
        inputs: padded rows.
        first_idxs: int64 [N], the first row of each element.
        num_inputs: how many rows there are.
        max_size_dim: which dimension counts the rows of an element.

    Raises:
        ValueError: shapes or types that do not fit.
    """
    if inputs.ndim < 2:
        raise ValueError(f"inputs: expected at least 2 dimensions, got shape {tuple(inputs.shape)}")
    inputs = inputs.movedim(max_size_dim, 1)
    _, there = _places(first_idxs, num_inputs, inputs.shape[1])
    return inputs[there]
