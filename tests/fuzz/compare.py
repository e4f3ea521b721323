"""Comparison of results up to rounding.

A result is held to the definition in float64: first to a fixed bound, then, where it is beyond that, to two measures of
how far an implementation may be off. One is what the definition itself makes of inputs that differ in their last
digits, which is much where rounding decides between two things. The other is the error of the definition in float32,
which is much where a value is the small difference of large ones; in float64 it is smaller by the ratio of the units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .arguments import mapped

# By dtype: relative bounds of outputs and of gradients.
BOUNDS = {torch.float32: (1e-4, 1e-3), torch.float64: (1e-10, 1e-8)}
# Inputs are moved by so many units of rounding; a result that moves by x may be off by `ALLOWANCE / units` times x.
UNITS = (*6 * [4], *4 * [64], *4 * [1000])
ALLOWANCE = 1000
UNITS_OF_SUMS = 2048  # for terms of about 1, whose sum may vanish
NARROW_ALLOWANCE = 100  # times the error of the definition in float32
# Beyond these magnitudes, products overflow or underflow in float32 but not in float64.
LARGE, SMALL = 1e36, 1e-30

Results = dict[str, Tensor]


def same_bits(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.is_floating_point:
        whole = torch.int64 if a.dtype == torch.float64 else torch.int32
        a, b = (value.detach().contiguous().view(whole) for value in (a, b))
    return torch.equal(a, b)


def typical(values: Tensor) -> float:
    """A typical magnitude, robust against a few large values."""
    magnitudes = values.detach().double().abs().flatten()
    magnitudes = magnitudes[magnitudes.isfinite() & (magnitudes > 0)]
    return magnitudes.median().item() if len(magnitudes) else 0.0


def differs(actual: Tensor, expected: Tensor, bound: float, spread: Tensor | float = 0.0) -> Tensor:
    """Where a result is not the expected one, by more than a relative bound and an absolute spread."""
    if not expected.dtype.is_floating_point:
        return (actual != expected) & ~torch.as_tensor(spread > 0)
    narrow = actual.dtype == torch.float32
    actual, expected = actual.detach().double(), expected.detach().double()
    room = bound * (expected.abs() + typical(expected)) + spread
    if narrow:
        room = room + SMALL
    near = ((actual - expected).abs() <= room) | (actual == expected) | (actual.isnan() & expected.isnan())
    near |= torch.as_tensor(spread == torch.inf)
    if narrow:
        near |= (expected.abs() > LARGE) & ~actual.isnan()
    return ~near


def moved(arguments: dict[str, Any], units: float, eps: float, generator: torch.Generator) -> dict[str, Any]:
    """The arguments, in float64, their numbers moved by so many units of rounding."""

    def move(path: str, value: Tensor) -> Tensor:
        if not value.dtype.is_floating_point:
            return value
        value = value.detach().double()
        turn = 2 * torch.rand(value.shape, generator=generator, dtype=torch.float64) - 1
        step = units * eps * turn * (value.abs() + typical(value))
        return torch.where(value.isfinite(), value + step.nan_to_num(0.0, 0.0, 0.0), value)

    return mapped(arguments, move)


def spread(expected: Results, evaluate: Callable[[dict[str, Any]], Results], arguments: dict[str, Any],
           dtype: torch.dtype) -> Results:  # fmt: skip
    """The allowed error of each expected result; infinite where anything is allowed. arguments: in `dtype`."""
    generator = torch.Generator().manual_seed(0)
    eps = torch.finfo(dtype).eps
    found = {name: torch.zeros(value.shape, dtype=torch.float64) for name, value in expected.items()}
    for units in UNITS:
        again = evaluate(moved(arguments, units, eps, generator))
        for name, value in expected.items():
            found[name] = torch.maximum(found[name], ALLOWANCE / units * _change(value, again[name]))
    narrow = evaluate(mapped(arguments, lambda _, v: v.float() if v.is_floating_point() else v))
    rounded = evaluate(mapped(arguments, lambda _, v: v.float().double() if v.is_floating_point() else v))
    for name, value in expected.items():
        error = _change(rounded[name], narrow[name])
        if not value.is_floating_point():
            continue
        # Values that float32 cannot represent are not informative.
        error = torch.where(error.isfinite(), error * (eps / torch.finfo(torch.float32).eps), 0)
        if found[name].dim() == 4:  # an image: what jumps in one channel may jump in all
            found[name] = found[name].amax(-1, keepdim=True).expand(value.shape) if value.shape[-1] else found[name]
        found[name] = found[name] + NARROW_ALLOWANCE * error + UNITS_OF_SUMS * eps
    return found


def _change(expected: Tensor, again: Tensor) -> Tensor:
    if expected.shape != again.shape:
        return torch.full(expected.shape, torch.inf, dtype=torch.float64)
    if not expected.dtype.is_floating_point:
        return (expected != again).double()
    change = (expected.detach().double() - again.detach().double()).abs()
    same = (expected == again) | (expected.isnan() & again.isnan())
    return torch.where(same, 0.0, change.nan_to_num(torch.inf, torch.inf, torch.inf))
