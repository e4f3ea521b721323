"""Functions of newer versions of Python and PyTorch, under the names that programs know."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


def meshgrid_ij(*A: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """`torch.meshgrid` with rows first."""
    return tuple(torch.meshgrid(*A, indexing="ij"))  # type: ignore[arg-type]


def prod(iterable: Iterable[Any], *, start: Any = 1) -> Any:
    """`math.prod`."""
    return math.prod(iterable, start=start)
