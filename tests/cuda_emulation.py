"""The kernels of the CUDA library on this processor (native/tests/cuda_emulation), behind the ops of CPU tensors.

Shows that the kernels compute what they should, and nothing about races, memory ordering or speed on a device.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from lumigrad._cuda import CudaCore
from lumigrad.ops._registration import kernels_for_any_core

ROOT = Path(__file__).resolve().parent.parent


def library() -> Path | None:
    """Where the emulation lies: $LUMIGRAD_CUDA_EMULATED, or build/emulated in the checkout."""
    path = Path(os.environ.get("LUMIGRAD_CUDA_EMULATED") or ROOT / "build/emulated/liblumigrad_cuda_emulated.so")
    return path if path.is_file() else None


class EmulatedCore(CudaCore):
    """The emulation, seen as `_cuda.core()` is by ops; tensors are those of the CPU."""

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        # Not zeros, and not whatever a page of fresh memory holds: what is not written shows.
        tensor = torch.empty(shape, dtype=dtype)
        return tensor.fill_(float("nan") if dtype.is_floating_point else 0x5A)

    def stream(self) -> int | None:
        return None

    def set_order(self, backwards: bool) -> None:
        """Let blocks and threads start in order, or in the opposite order."""
        self._library.lg_emulation_set_order(ctypes.c_int32(backwards))


@functools.lru_cache(1)
def emulated_core() -> EmulatedCore:
    path = library()
    assert path is not None
    return EmulatedCore(path)


@contextmanager
def emulated_cuda() -> Iterator[EmulatedCore]:
    """Within this block, the ops of CPU tensors run the CUDA kernels."""
    core = emulated_core()
    override = torch.library.Library("lumigrad", "IMPL")
    try:
        for name, kernel in kernels_for_any_core.items():
            override.impl(name, functools.partial(kernel, core), "CPU", allow_override=True)
        yield core
    finally:
        override._destroy()
