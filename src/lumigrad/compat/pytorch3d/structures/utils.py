"""Batches of rows of different lengths in three forms: a list, one tensor in a row ("packed"), padded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Sizes = Sequence[int] | Sequence[Sequence[int]]


def list_to_padded(
    x: Sequence[Tensor], pad_size: Sequence[int] | None = None, pad_value: float = 0.0, equisized: bool = False
) -> Tensor:
    """One tensor [N, ...] of N tensors, filled up with `pad_value`.

    Args:
        x: tensors of as many dimensions. Empty ones of one dimension fit any.
        pad_size: sizes of the dimensions after the first; the largest ones by default.
        pad_value: what the rest is filled with.
        equisized: whether all have one shape, which is then not looked at.

    Raises:
        ValueError: something else than tensors, or numbers of dimensions that do not fit.
    """
    if equisized:
        return torch.stack(list(x), 0)
    if not all(isinstance(y, Tensor) for y in x):
        raise ValueError("All items have to be instances of a torch.Tensor.")
    ndim = max(y.ndim for y in x)
    rows = [y.new_zeros([0] * ndim) if y.ndim == 1 and y.numel() == 0 else y for y in x]
    if any(y.ndim != ndim for y in rows):
        raise ValueError(f"All items have to have the same number of dimensions! got {sorted({y.ndim for y in x})}")
    if pad_size is not None and len(pad_size) != ndim:
        raise ValueError(f"Pad size must contain target size for all dimensions: expected {ndim}, got {len(pad_size)}")
    sizes = [max(y.shape[k] for y in rows) for k in range(ndim)] if pad_size is None else list(pad_size)
    return torch.stack([_filled_up(y, sizes, pad_value) for y in rows])


def _filled_up(x: Tensor, sizes: Sequence[int], value: float) -> Tensor:
    if list(x.shape) == list(sizes):
        return x
    if len(x) == 0:
        return x.new_full(tuple(sizes), value)
    # `pad` takes the last dimension first.
    margins = [m for size, have in zip(reversed(sizes), reversed(x.shape)) for m in (0, size - have)]
    return torch.nn.functional.pad(x, margins, value=value)


def padded_to_list(x: Tensor, split_size: Sizes | None = None) -> list[Tensor]:
    """The elements of a padded tensor [N, ...], cut to their sizes.

    Args:
        x: the tensor.
        split_size: for each element its first size, or its leading sizes. Nothing is cut by default.

    Raises:
        ValueError: another number of sizes than of elements.
    """
    elements = list(x.unbind(0))
    if split_size is None:
        return elements
    if len(split_size) != len(elements):
        raise ValueError(
            f"Split size must be of same length as inputs first dimension: expected {len(elements)}, "
            f"got {len(split_size)}"
        )
    sizes = [(size,) if isinstance(size, int) else tuple(size) for size in split_size]
    return [element[tuple(slice(0, s) for s in size)] for element, size in zip(elements, sizes)]


def list_to_packed(x: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All rows of N tensors in one.

    Returns:
        The rows [sum M_i, ...], the numbers of rows [N], the first row of each tensor [N], the tensor of each row.

    Raises:
        ValueError: no tensors.
    """
    if not x:
        raise ValueError("Input list is empty")
    device = x[0].device
    counts = torch.tensor([len(y) for y in x], dtype=torch.int64, device=device)
    owner = torch.arange(len(x), device=device).repeat_interleave(counts)
    return torch.cat(list(x)), counts, counts.cumsum(0) - counts, owner


def packed_to_list(x: Tensor, split_size: list[int] | int) -> tuple[Tensor, ...]:
    """Rows of each element of a packed tensor, views of it."""
    return x.split(split_size, dim=0)


def padded_to_packed(x: Tensor, split_size: Sequence[int] | None = None, pad_value: float | None = None) -> Tensor:
    """The rows [sum M_i, D] of a padded tensor [N, M, D].

    Args:
        x: the tensor.
        split_size: how many rows of each element count. All by default.
        pad_value: instead, leave out rows of nothing but this value.

    Raises:
        ValueError: shapes or sizes that do not fit, or both ways of choosing at once.
    """
    if x.ndim != 3:
        raise ValueError(f"Supports only 3-dimensional input tensors, got shape {tuple(x.shape)}")
    if split_size is not None and pad_value is not None:
        raise ValueError("Only one of split_size or pad_value should be provided.")
    rows = x.reshape(-1, x.shape[-1])
    if pad_value is not None:
        return rows[rows.ne(pad_value).any(-1)]
    if split_size is None:
        return rows
    if len(split_size) != len(x):
        raise ValueError(
            f"Split size must be of same length as inputs first dimension: expected {len(x)}, got {len(split_size)}"
        )
    if not all(isinstance(size, int) for size in split_size):
        raise ValueError(f"Support only 1-dimensional unbinded tensor. Split size: expected integers, got {split_size}")
    counts = torch.tensor(list(split_size), device=x.device)
    return rows[(torch.arange(x.shape[1], device=x.device) < counts[:, None]).reshape(-1)]
