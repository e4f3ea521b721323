"""Rows of the elements of a batch in three forms, made when asked for: a list, in a row ("packed"), padded."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.structures.utils import list_to_padded

Batch = Sequence[Tensor] | Tensor


class Rows:
    """[R_n, ...] for each of N elements.

    Args:
        value: a list of tensors, or one tensor [N, R, ...].
        counts: how many rows of a padded tensor count; all by default.
        fill: what padded tensors are filled up with.
    """

    def __init__(self, value: Batch, counts: Sequence[int] | None = None, fill: float = 0.0) -> None:
        self.fill = fill
        self.packed_rows: Tensor | None = None
        self.listed: list[Tensor] | None = None
        self.padded_rows: Tensor | None = None
        if isinstance(value, Tensor):
            self.padded_rows = value
            self.counts = [value.shape[1]] * len(value) if counts is None else list(counts)
        else:
            self.listed = list(value)
            self.counts = [len(rows) for rows in self.listed]

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def first(self) -> list[int]:
        """The first packed row of each element."""
        return list(itertools.accumulate(self.counts, initial=0))[:-1]

    @property
    def longest(self) -> int:
        return max(self.counts, default=0)

    def sample(self) -> Tensor:
        """Any tensor of the batch, for its device and dtype."""
        for value in (self.padded_rows, self.packed_rows, *(self.listed or ())):
            if value is not None:
                return value
        return torch.zeros(0)

    def list(self) -> list[Tensor]:
        if self.listed is None:
            if self.packed_rows is not None:
                self.listed = list(self.packed_rows.split(self.counts))
            else:
                padded = self.padded()
                self.listed = [rows[:count] for rows, count in zip(padded.unbind(0), self.counts)]
        return self.listed

    def packed(self) -> Tensor:
        if self.packed_rows is None:
            if self.listed is None and self.padded_rows is not None and self.counts:
                padded = self.padded_rows
                whole = all(count == padded.shape[1] for count in self.counts)
                self.packed_rows = padded.flatten(0, 1) if whole else padded[self.mask()]
            else:
                parts = self.list()
                self.packed_rows = torch.cat(parts) if parts else self._nothing().reshape(0, *self._nothing().shape[2:])
        return self.packed_rows

    def padded(self) -> Tensor:
        if self.padded_rows is None:
            parts = self.list()
            if not parts:
                return self._nothing()
            self.padded_rows = list_to_padded(parts, (self.longest, *parts[0].shape[1:]), self.fill)
        return self.padded_rows

    def _nothing(self) -> Tensor:
        """The padded tensor of no element."""
        return torch.zeros(0, 0, 3) if self.padded_rows is None else self.padded_rows[:0]

    def mask(self) -> Tensor:
        """Which padded rows count, bool [N, longest]."""
        width = self.longest if self.padded_rows is None else self.padded_rows.shape[1]
        device = self.sample().device
        return torch.arange(width, device=device) < self.numbers(self.counts)[:, None]

    def places(self) -> Tensor:
        """Where packed rows lie among the flattened padded ones."""
        return self.mask().reshape(-1).nonzero()[:, 0]

    def ranges(self) -> Tensor:
        """(first, count) of each element's packed rows [N, 2], on the CPU, as ops take them."""
        return torch.tensor([self.first, self.counts], dtype=torch.int64).T.contiguous().reshape(-1, 2)

    def owner(self) -> Tensor:
        """The element of each packed row."""
        device = self.sample().device
        return torch.arange(len(self), device=device).repeat_interleave(self.numbers(self.counts))

    def numbers(self, values: Sequence[int]) -> Tensor:
        """Integers on the device of the batch."""
        return torch.tensor(values, dtype=torch.int64, device=self.sample().device)

    def recount(self, counts: Sequence[int]) -> None:
        """Let so many rows of a padded tensor count."""
        if list(counts) != self.counts:
            self.padded()
            self.counts, self.listed, self.packed_rows = list(counts), None, None

    def with_packed(self, packed: Tensor) -> Rows:
        """The same numbers of rows with other values."""
        other = Rows([], fill=self.fill)
        other.counts, other.listed, other.packed_rows = self.counts, None, packed
        return other

    def map(self, function: Callable[[Tensor], Tensor]) -> Rows:
        """Every form that there is, changed."""
        other = Rows([], fill=self.fill)
        other.counts = list(self.counts)
        other.listed = None if self.listed is None else [function(rows) for rows in self.listed]
        other.packed_rows = None if self.packed_rows is None else function(self.packed_rows)
        other.padded_rows = None if self.padded_rows is None else function(self.padded_rows)
        return other

    def select(self, chosen: Sequence[int]) -> Rows:
        """The rows of some elements."""
        if self.listed is None and self.padded_rows is not None:
            index = torch.as_tensor(chosen, dtype=torch.int64, device=self.padded_rows.device)
            return Rows(self.padded_rows[index], [self.counts[n] for n in chosen], self.fill)
        rows = self.list()
        picked = Rows([rows[n] for n in chosen], fill=self.fill)
        if not chosen:  # an empty batch keeps the shape of its rows
            picked.padded_rows = self.padded()[:0]
        return picked

    def repeat(self, times: int) -> Rows:
        """Each element so many times in a row; copies of their own."""
        return self.select([n for n in range(len(self)) for _ in range(times)]).map(torch.clone)


def chosen(index: Any, count: int) -> list[int]:
    """The elements that an index picks from `count`.

    Raises:
        IndexError: an index of another kind, or beyond the batch.
    """
    if isinstance(index, bool):
        raise IndexError(f"index: expected integers, a slice or a tensor, got {index!r}")
    if isinstance(index, slice):
        return list(range(count))[index]
    if isinstance(index, Tensor):
        if index.dtype.is_floating_point or index.ndim > 1:
            raise IndexError(f"index: expected integers or a mask, got {index.dtype} of shape {tuple(index.shape)}")
        if index.dtype == torch.bool:
            if len(index) != count:
                raise IndexError(f"index: expected a mask of {count}, got {len(index)}")
            index = index.nonzero()[:, 0]
        index = index.tolist()
    numbers = [index] if isinstance(index, int) else index
    if not isinstance(numbers, (list, tuple, range)) or not all(isinstance(n, int) for n in numbers):
        raise IndexError(f"index: expected integers, a slice or a tensor, got {index!r}")
    for n in numbers:
        if not -count <= n < count:
            raise IndexError(f"index: {n} is out of range for {count} elements")
    return [n % count for n in numbers]


def check_index(kind: str, index: Any, count: int) -> None:
    """Raise ValueError unless an index is an integer within a batch of `count`; kind: of what."""
    if not isinstance(index, int):
        raise ValueError(f"{kind} index must be an integer, got {index!r}")
    if not 0 <= index < count:
        raise ValueError(f"{kind} index must be in the range [0, {count}), got {index}")


def checked_repeats(N: Any) -> int:
    """How often a batch is repeated.

    Raises:
        ValueError: no positive integer.
    """
    if isinstance(N, bool) or not isinstance(N, int) or N < 1:
        raise ValueError(f"N: expected a positive integer, got {N!r}; N must be > 0.")
    return N
