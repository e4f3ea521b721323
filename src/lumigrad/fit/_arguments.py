"""Checks of array arguments of functions on meshes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lumigrad.types.validation import fractional, in_range, integral, shape


def check_rows(name: str, value: Any, columns: int | str, like: Tensor | None = None) -> Tensor:
    """Floating-point values [V, columns], of the type of another tensor if one is given."""
    checked = fractional(name, value)
    shape(name, checked, ["V", columns])
    if like is not None and checked.dtype != like.dtype:
        raise TypeError(f"{name}: expected {like.dtype} like the others, got {checked.dtype}")
    return checked


def check_positions(value: Any) -> int:
    """The number of vertices of positions [..., V, 3]."""
    checked = fractional("positions", value)
    if checked.ndim < 2 or checked.shape[-1] != 3:
        raise ValueError(f"positions: expected shape [..., V, 3], got {tuple(checked.shape)}")
    return checked.shape[-2]


def check_indices(name: str, value: Any, columns: int, count: int | None = None) -> Tensor:
    """Indices [F, columns], below a count if there is one."""
    checked = integral(name, value)
    shape(name, checked, ["F", columns])
    if count is not None:
        in_range(name, checked, 0, count)
    return checked


def check_surface(positions: Any, faces: Any) -> None:
    """Positions [V, 3] and faces [F, 3] of a mesh."""
    check_indices("faces", faces, 3, len(check_rows("positions", positions, 3)))
