"""Argument checks shared by all ops."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

_LOW_PRECISION = (torch.float16, torch.bfloat16)


def values_can_be_checked() -> bool:
    """Whether the values of tensors may be checked: torch.compile cannot trace branches on them."""
    return not torch.compiler.is_compiling()


def tensor(name: str, value: Any) -> torch.Tensor:
    """Return `value` if it is a dense tensor."""
    if not isinstance(value, torch.Tensor):
        advice = "; torch.from_numpy makes a tensor of it" if type(value).__name__ == "ndarray" else ""
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(value).__name__}{advice}")
    if value.layout != torch.strided:
        raise TypeError(f"{name}: expected a dense tensor, got layout {value.layout}")
    return value


def constant(value: Any, like: torch.Tensor) -> torch.Tensor:
    """Numbers as a tensor with the type and device of another. Anything else raises the error of `torch.as_tensor`.

    A single number reaches a CUDA device without synchronisation, so a CUDA graph can record it; a list does not.
    """
    if like.is_cuda and isinstance(value, (int, float)):
        return torch.full((), value, dtype=torch.float64, device=like.device).to(like.dtype)
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)


def describe(value: torch.Tensor) -> str:
    """The shape and type of a tensor, for error messages."""
    return f"shape {tuple(value.shape)} and type {str(value.dtype).removeprefix('torch.')}"


def floating(name: str, value: Any, like: torch.Tensor | None = None, like_name: str = "") -> torch.Tensor:
    """A float32 or float64 tensor; under autocast, half precision is promoted to float32.

    With `like`, the type and device must be the same as that tensor's.
    """
    checked = tensor(name, value)
    if checked.dtype in _LOW_PRECISION and torch.is_autocast_enabled(checked.device.type):
        checked = checked.float()
    if checked.dtype != torch.float32 and checked.dtype != torch.float64:
        hint = " (half precision is accepted under torch.autocast)" if checked.dtype in _LOW_PRECISION else ""
        raise TypeError(f"{name}: expected float32 or float64, got {str(checked.dtype).removeprefix('torch.')}{hint}")
    if like is not None:
        if checked.dtype != like.dtype:
            raise TypeError(f"{name}: expected {like.dtype} like {like_name}, got {checked.dtype}")
        if checked.device != like.device:
            raise ValueError(f"{name}: expected device {like.device} like {like_name}, got {checked.device}")
    return checked


def fractional(name: str, value: Any) -> torch.Tensor:
    """Return `value` if it is a dense tensor of a floating type of any precision."""
    checked = tensor(name, value)
    if not checked.is_floating_point():
        got = str(checked.dtype).removeprefix("torch.")
        raise TypeError(f"{name}: expected a floating type, got {got}; convert it with Tensor.float()")
    return checked


def is_integral(values: torch.Tensor) -> bool:
    """Whether a tensor holds integers, of any width."""
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def integral(name: str, value: Any) -> torch.Tensor:
    """Return `value` if it is a dense tensor of integers of any width."""
    checked = tensor(name, value)
    if not is_integral(checked):
        raise TypeError(f"{name}: expected integers, got {str(checked.dtype).removeprefix('torch.')}")
    return checked


def instance(name: str, value: Any, *kinds: type) -> None:
    """Raise unless `value` is an instance of one of the classes."""
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{name}: expected a {wanted}, got {type(value).__name__}")


def as_path(name: str, value: Any) -> Path:
    """A path, given as str or Path."""
    try:
        return Path(value)
    except TypeError:
        raise TypeError(f"{name}: expected a path (str or Path), got {type(value).__name__}") from None


def triangles(value: Any, device: torch.device, name: str = "tri") -> torch.Tensor:
    """Triangle indices [T, 3] as contiguous int32."""
    checked = tensor(name, value)
    if checked.dtype != torch.int32 and checked.dtype != torch.int64:
        raise TypeError(f"{name}: expected int32 or int64, got {str(checked.dtype).removeprefix('torch.')}")
    if checked.dim() != 2 or checked.shape[1] != 3:
        raise ValueError(f"{name}: expected shape [triangles, 3], got {tuple(checked.shape)}")
    if checked.device != device:
        raise ValueError(f"{name}: expected device {device} like the other tensors, got {checked.device}")
    if checked.dtype == torch.int64:
        checked = narrow_indices(name, checked)
    return checked.contiguous()


def narrow_indices(name: str, value: torch.Tensor) -> torch.Tensor:
    """Convert int64 indices to int32. An index beyond int32 becomes one that is out of range for every buffer."""
    return value.clamp(-1, 2**31 - 1).to(torch.int32)


def indices(name: str, value: Any, expected: Sequence[int | str], like: torch.Tensor, like_name: str) -> torch.Tensor:
    """Contiguous int32 numbers of a given shape, on the device of another tensor."""
    checked = tensor(name, value)
    if checked.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{name}: expected int32 or int64, got {str(checked.dtype).removeprefix('torch.')}")
    shape(name, checked, expected)
    if checked.device != like.device:
        raise ValueError(f"{name}: expected device {like.device} like {like_name}, got {checked.device}")
    return (narrow_indices(name, checked) if checked.dtype == torch.int64 else checked).contiguous()


def flag(name: str, value: Any) -> bool:
    """Return a bool unchanged."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected a bool, got {value!r}")
    return value


def number(name: str, value: Any, positive: bool = False) -> float:
    """A finite number that is non-negative, or positive."""
    result = real(name, value)
    if not math.isfinite(result) or result < 0 or (positive and result == 0):
        raise ValueError(f"{name}: expected a {'positive' if positive else 'non-negative'} number, got {result}")
    return result


def real(name: str, value: Any) -> float:
    """Any number, including non-finite ones."""
    try:
        if isinstance(value, (str, bytes)):  # which float() would parse
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise TypeError(f"{name}: expected a number, got {value!r}") from None


def integer(name: str, value: Any, low: int, high: int = 2**31 - 1) -> int:
    """An integer from `low` to `high`."""
    try:
        result = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {value!r}") from None
    if not low <= result <= high:
        raise ValueError(f"{name}: expected an integer from {low} to {high}, got {result}")
    return result


def in_range(name: str, value: torch.Tensor, low: int, end: int) -> None:
    """Integers from `low` on, below `end`. On a device other than the CPU, they are not checked.

    Raises:
        ValueError: for others.
    """
    if not values_can_be_checked() or value.device.type != "cpu" or not value.numel():
        return
    least, most = int(value.min()), int(value.max())
    if least < low or most >= end:
        raise ValueError(f"{name}: expected numbers in [{low}, {end}), got {least} to {most}")


def like_image(name: str, value: torch.Tensor, image: Sequence[int]) -> torch.Tensor:
    """A tensor that broadcasts with an image of the given shape."""
    fits = value.dim() <= len(image) and all(
        have in (1, want) for have, want in zip(reversed(value.shape), reversed(image))
    )
    if not fits:
        raise ValueError(f"{name}: expected a shape that broadcasts with {tuple(image)}, got {tuple(value.shape)}")
    return value


def shape(name: str, value: torch.Tensor, expected: Sequence[int | str]) -> None:
    """Check a shape. Integers must match; strings name sizes that are free."""
    have = value.shape
    fits = len(have) == len(expected)
    if fits:
        for size, want in zip(have, expected):
            if size != want and not isinstance(want, str):
                fits = False
                break
    if not fits:
        wanted = ", ".join(str(want) for want in expected)
        raise ValueError(f"{name}: expected shape [{wanted}], got {tuple(have)}")


def size(value: Any, name: str = "size") -> tuple[int, int]:
    """(height, width) as two positive integers."""
    try:
        height, width = value
        if not (isinstance(height, int) and isinstance(width, int)):  # the only checks that torch.compile traces
            height, width = operator.index(height), operator.index(width)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected (height, width) as two integers, got {value!r}") from None
    if height < 1 or width < 1 or height > 32768 or width > 32768:
        raise ValueError(f"{name}: expected 1 to 32768 pixels per side, got ({height}, {width})")
    return height, width
