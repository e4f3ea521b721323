"""Random numbers that depend only on counters, so neither threads nor batches change them."""

from __future__ import annotations

from torch import Tensor


def mixed(number: Tensor) -> Tensor:
    """64 bits that depend on all bits of an int64: MurmurHash3's finaliser (A. Appleby), with unsigned shifts."""
    for shift, factor in ((33, -49064778989728563), (33, -4265267296055464877), (33, None)):
        number = number ^ (number >> shift & (1 << 64 - shift) - 1)
        number = number if factor is None else number * factor
    return number
