"""Functions of points, supplied by users."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def evaluated(name: str, function: Callable[..., T], *points: Tensor) -> T:
    """What a function returns for points [M, 3], and what else it takes [M, ...] of the same type.

    Raises:
        TypeError: the function fails with points of this type, and would not with the other one, float32 or float64.
    """
    try:
        return function(*points)
    except (RuntimeError, TypeError) as error:
        given = points[0].dtype
        other = torch.float32 if given == torch.float64 else torch.float64
        few = [value[:1].detach() for value in points]
        if _works(function, few) or not _works(function, [value.to(other) for value in few]):
            raise
        raise TypeError(
            f"{name}: expected a function of points of {given} (the widest type of what is drawn together, or that of "
            f"its box or the camera), got one that takes {other} alone; convert what it depends on (a module by "
            f"`.to({given})`), or the points within it"
        ) from error


def _works(function: Callable[..., object], points: list[Tensor]) -> bool:
    try:
        with torch.no_grad():
            function(*points)
    except (RuntimeError, TypeError):
        return False
    return True
