"""The random ingredients of a case: numbers, shapes, layouts and values, drawn from its name."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
COUNTS = (0, 1, 2, 3, 4, 6, 9, 13)
SIDES = (1, 1, 2, 3, 5, 7, 8, 9, 16, 17)
TINY = (1e-40, -1e-40, 1e-20, 0.0)
TINY_OR_HUGE = (*TINY, 1e30, -1e30, 1e18)
NOT_FINITE = (torch.nan, torch.inf, -torch.inf)


class Draw:
    """Random choices that depend on the op and the seed alone.

    Attributes:
        dtype: of all floating-point tensors of the case.
        extreme: some values are tiny or huge: in float32 they over- and underflow, and it cannot be held to float64.
        huge: some of them are huge: what is beside them is small differences of large values, in float64 as well.
    """

    def __init__(self, op: str, seed: int) -> None:
        self._random = random.Random(f"{op}:{seed}")
        self._generator = torch.Generator().manual_seed(self._random.getrandbits(62))
        self.dtype = self.choice((torch.float32, torch.float64))
        self.extreme = self.huge = False
        self._spoils = self.chance(0.3)
        self._step = self.choice((0.0, 0.0, 0.0, 0.125, 0.5))

    # ---- Choices

    def chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def choice(self, options: Sequence[T]) -> T:
        return self._random.choice(options)

    def integer(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return self._random.randint(low, high)

    def number(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def power(self, low: float, high: float) -> float:
        """A power of ten, its exponent uniform."""
        return float(10 ** self._random.uniform(low, high))

    def some(self, options: Sequence[T]) -> list[T]:
        """A random subset, in its order."""
        share = self.choice((0.0, 0.3, 0.7, 1.0, 1.0))
        return [option for option in options if self.chance(share)]

    def count(self, most: int = 13) -> int:
        return min(most, self.choice(COUNTS))

    def views(self) -> int:
        return self.choice((0, 1, 1, 1, 2, 2, 3))

    def size(self) -> tuple[int, int]:
        """Mostly within a tile; sometimes long, for several tiles and threads."""
        if self.chance(0.06):
            return self.choice(((70, 3), (1, 150), (40, 37), (33, 65)))
        return self.choice(SIDES), self.choice(SIDES)

    # ---- Tensors

    def uniform(self, *shape: int, low: float = -1.0, high: float = 1.0) -> Tensor:
        """Values in [low, high); in some cases multiples of a step, so that ties are exact."""
        values = low + (high - low) * torch.rand(shape, generator=self._generator, dtype=torch.float64)
        if self._step:
            values = (values / self._step).round() * self._step
        return values.to(self.dtype)

    def indices(self, *shape: int, below: int, low: int = 0) -> Tensor:
        values = torch.randint(low, max(below, low + 1), shape, generator=self._generator)
        return values.to(self.choice((torch.int32, torch.int64)))

    def rows(self, *shape: int, low: float = -1.0, high: float = 1.0) -> Tensor:
        """As `uniform`, one primitive a row: some coincide, and some are spoiled."""
        return self.spoiled(self.coincident(self.uniform(*shape, low=low, high=high)))

    def coincident(self, values: Tensor) -> Tensor:
        """With rows that are copies of others, here and there."""
        rows = values.shape[-2] if values.dim() > 1 else 0
        if rows > 1 and self.chance(0.2):
            source = torch.randint(rows, (rows,), generator=self._generator)
            values = values[..., source, :]
        return values

    def spoiled(self, values: Tensor, finite: bool = False, huge: bool = True) -> Tensor:
        """In some cases, absurd values in one or a few places."""
        if not self._spoils or not values.numel() or self.chance(0.3):
            return values
        values = values.clone()
        flat = values.view(-1)
        for _ in range(self.choice((1, 1, 2, 5))):
            likely = TINY_OR_HUGE if huge else TINY
            bad = self.choice(NOT_FINITE if self.chance(0.4) and not finite else likely)
            self.extreme |= math.isfinite(bad) and bad != 0
            self.huge |= math.isfinite(bad) and abs(bad) > 1
            flat[self.integer(0, len(flat) - 1)] = bad
        return values

    def laid_out(self, values: Tensor) -> Tensor:
        """The values in another order of memory."""
        kind = self.choice(("plain", "plain", "plain", "transposed", "strided", "offset"))
        if values.dim() == 0 or kind == "plain":
            return values
        if kind == "transposed":
            return values.mT.contiguous().mT if values.dim() > 1 else values
        if kind == "strided":
            wide = values.new_full((*values.shape[:-1], 2 * values.shape[-1] + 1), 7)
            wide[..., 1::2] = values
            return wide[..., 1::2]
        long = values.new_full((values.numel() + 3,), 7)
        long[3:] = values.flatten()
        return long[3:].view(values.shape)

    def expanded(self, values: Tensor) -> Tensor:
        """In some cases the first of the values for all, with a stride of zero."""
        if values.dim() and len(values) > 1 and self.chance(0.1):
            return values[:1].expand(values.shape)
        return self.laid_out(values)

    def optional(self, value: Any, probability: float = 0.5) -> Any:
        return value if self.chance(probability) else None
