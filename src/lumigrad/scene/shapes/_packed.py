"""Batches of elements of different sizes, concatenated in one tensor."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Index = int | slice | Sequence[int] | Tensor


@dataclass(frozen=True)
class Packing:
    """The number of rows of each element of a batch. Sizes are kept in Python, so no call waits for a device.

    Attributes:
        counts: rows of each element.
    """

    counts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def total(self) -> int:
        """Rows of all elements."""
        return sum(self.counts)

    @property
    def first(self) -> tuple[int, ...]:
        """First row of each element."""
        return tuple(itertools.accumulate(self.counts, initial=0))[:-1]

    def owner(self, device: torch.device) -> Tensor:
        """Element of each row, int64 [total]."""
        counts = torch.tensor(self.counts, dtype=torch.int64)
        return torch.repeat_interleave(torch.arange(len(self)), counts).to(device)

    def ranges(self) -> Tensor:
        """(first, count) of each element, int64 [N, 2] on the CPU."""
        return torch.tensor([self.first, self.counts], dtype=torch.int64).T.contiguous().reshape(-1, 2)

    def part(self, packed: Tensor, number: int) -> Tensor:
        """Rows of one element, a view."""
        return packed[self.first[number] : self.first[number] + self.counts[number]]

    def split(self, packed: Tensor) -> list[Tensor]:
        """Rows of every element, views."""
        return list(packed.split(list(self.counts)))

    def padded(self, packed: Tensor, value: float = 0) -> Tensor:
        """[N, longest, ...], filled up with `value`."""
        shape = (len(self), max(self.counts, default=0), *packed.shape[1:])
        mask = self.mask(packed.device)
        return packed.new_full(shape, value).index_put(mask.nonzero(as_tuple=True), packed)

    def mask(self, device: torch.device) -> Tensor:
        """Which entries of a padded tensor are rows, bool [N, longest]."""
        counts = torch.tensor(self.counts, dtype=torch.int64)
        return (torch.arange(max(self.counts, default=0)) < counts[:, None]).to(device)


def numbers(index: Index, count: int) -> list[int]:
    """The elements that an index picks from `count`, in its order; negative ones count from the end.

    Raises:
        IndexError: an element that does not exist, or a mask of another length.
        TypeError: an index of another kind.
    """
    if isinstance(index, slice):
        return list(range(*index.indices(count)))
    if isinstance(index, Tensor):
        if index.dtype == torch.bool:
            if index.shape != (count,):
                raise IndexError(f"index: expected a mask [{count}], got {list(index.shape)}")
            index = index.nonzero()[:, 0]
        index = index.reshape(-1).tolist()
    if isinstance(index, int):
        index = [index]
    if isinstance(index, str) or not isinstance(index, Sequence) or not all(isinstance(i, int) for i in index):
        raise TypeError(f"index: expected integers, a slice or a tensor, got {type(index).__name__}")
    for i in index:
        if not -count <= i < count:
            raise IndexError(f"index: {i} is out of range for {count} elements")
    return [i % count for i in index]


def same_kind(tensors: Sequence[Tensor], name: str) -> None:
    """Check that tensors to be packed have the same dtype, device and row shape."""
    kinds = [(tensor.dtype, tensor.shape[1:], tensor.device) for tensor in tensors]
    for dtype, shape, device in kinds[1:]:
        if (dtype, shape, device) != kinds[0]:
            like, rows, place = kinds[0]
            raise ValueError(
                f"{name}: expected the same kind throughout a batch, got rows {list(rows)} of {like} on {place} "
                f"and rows {list(shape)} of {dtype} on {device}"
            )
