"""Rows divided among several processes: each has the parameters, moments and statistics of only some primitives."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.splats.rows import Rows

_KINDS = ("parameters", "first", "second", "statistics")


@dataclass
class Traffic:
    """The data that a process has received from others and returned to them in the steps of a fit."""

    bytes: int = 0
    steps: int = 0


@dataclass
class DividedRows(Rows):
    """The rows of one process: of primitives whose numbers follow one another, as many as of the others or one more.

    Whatever adds, removes or moves primitives (`take`, `keep`, `double`) is called by all processes, with the same
    numbers; and `whole` is.

    Attributes:
        group: the processes.
        total: the number of all primitives.
        traffic: what steps have exchanged so far.
    """

    group: Group = field(default=ALONE)
    total: int = 0
    traffic: Traffic = field(default_factory=Traffic)

    @classmethod
    def of(cls, rows: Rows | None, group: Group) -> DividedRows:
        """The part of each process.

        Args:
            rows: all, in the first process; None in the others.
        """
        told = group.copied(lambda: _shapes(rows))  # type: ignore[arg-type]
        total = int(told["total"])
        begin, end = _bounds(total, group)[group.rank :][:2]
        parts: dict[str, dict[str, Tensor]] = {kind: {} for kind in _KINDS}
        device = torch.device("cpu") if rows is None else rows.device
        dtype = torch.float64 if told["double"] else torch.float32
        for kind, name, shape in told["tensors"]:
            part = parts[kind][name] = torch.empty(end - begin, *shape, dtype=dtype, device=device)
            group.from_first(None if rows is None else getattr(rows, kind)[name], part)
        parameters, first, second, statistics = (parts[kind] for kind in _KINDS)
        return cls(parameters, first, second, statistics, group, total)

    def to(self, device: torch.device) -> DividedRows:
        moved = super().to(device)
        parts = moved.parameters, moved.first, moved.second, moved.statistics
        return DividedRows(*parts, self.group, self.total, self.traffic)

    def __len__(self) -> int:
        return self.total

    @property
    def share(self) -> slice:
        begin, end = _bounds(self.total, self.group)[self.group.rank :][:2]
        return slice(begin, end)

    def here(self, index: Tensor) -> tuple[Tensor, Tensor]:
        share = self.share
        places = torch.nonzero((index >= share.start) & (index < share.stop))[:, 0]
        return index[places] - share.start, places

    def whole(self, values: Tensor) -> Tensor:
        return self.group.joined(values)

    def _mover(self, source: Tensor) -> Callable[[Tensor], Tensor]:
        share, bounds, new_bounds = self.share, _bounds(self.total, self.group), _bounds(len(source), self.group)
        wanted = [source[begin:end] for begin, end in itertools.pairwise(new_bounds)]
        leaving = [rows[(rows >= share.start) & (rows < share.stop)] - share.start for rows in wanted]
        leave, counts = torch.cat(leaving), [len(rows) for rows in leaving]
        # Rows arrive in the order of those that had them, and from each in the order of their places.
        owners = torch.bucketize(wanted[self.group.rank], source.new_tensor(bounds[1:-1]), right=True)
        places = owners.argsort(stable=True)
        self.total = len(source)

        def moved(value: Tensor) -> Tensor:
            arrived, _ = self.group.exchange(value[leave], counts)
            return torch.empty_like(arrived).index_copy_(0, places, arrived)

        return moved

    @contextmanager
    def all(self, folder: Path, kinds: tuple[str, ...] = _KINDS) -> Iterator[Rows | None]:
        """The rows of all processes, in the first one; None in the others. To be called by all.

        They are in files in a folder, which the system reads and writes as it has memory for them, and are gone after
        this context.

        Args:
            kinds: which of the tensors; the moments of others are zeros.
        """
        if not self.group.is_first:
            self._send(kinds)
            yield None
            return
        with tempfile.TemporaryDirectory(dir=folder, prefix="state.pt.") as files:
            yield self._received(kinds, Path(files))

    def _send(self, kinds: Sequence[str]) -> None:
        for kind in kinds:
            for value in getattr(self, kind).values():
                self.group.to_first(value, None)

    def _received(self, kinds: Sequence[str], folder: Path) -> Rows:
        parts: dict[str, dict[str, Tensor]] = {kind: {} for kind in kinds}
        for kind in kinds:
            for name, value in getattr(self, kind).items():
                whole = parts[kind][name] = _in_file(folder / f"{kind}-{name}", (self.total, *value.shape[1:]))
                self.group.to_first(value, whole)
        return Rows(**parts)


def _bounds(total: int, group: Group) -> list[int]:
    """Where each process's primitives begin, and the total."""
    return [total * rank // group.size for rank in range(group.size + 1)]


def _shapes(rows: Rows) -> dict[str, Any]:
    """The shapes of the data to divide."""
    tensors = [[kind, name, list(value.shape[1:])] for kind in _KINDS for name, value in getattr(rows, kind).items()]
    return {"total": len(rows), "double": rows.parameters["means"].dtype == torch.float64, "tensors": tensors}


def _in_file(path: Path, shape: tuple[int, ...]) -> Tensor:
    """A tensor of float32 whose memory is a file."""
    count = math.prod(shape)
    if not count:
        return torch.empty(shape)
    return torch.from_file(str(path), shared=True, size=count, dtype=torch.float32).view(shape)
