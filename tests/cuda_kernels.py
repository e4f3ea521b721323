"""CUDA kernels behind the ops of CPU tensors, so that tests written for the CPU say whether they are right.

Two ways: on a device, with tensors moved there and back; and by the emulation of native/tests/cuda_emulation, which
runs the very same kernels on this processor. The emulation shows that they compute what they should, and nothing
about races, memory ordering or speed on a device. To build it:

    cmake -S . -B build/emulated -DLUMIGRAD_CUDA=OFF -DLUMIGRAD_CUDA_EMULATION=ON
    cmake --build build/emulated --target lumigrad_cuda_emulated
"""

from __future__ import annotations

import ctypes
import functools
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_map_only

from lumigrad._engine.cuda import CudaCore
from lumigrad._engine.registration import kernels_for_any_core

ROOT = Path(__file__).resolve().parent.parent

# What starts so says that an index is out of range, or no memory left; a device cannot say the one without being
# waited for, and torch's allocator says the other in its own words.
CPU_MESSAGES = ("tri[", "attr_tri[", "tri: expected indices below", "frags.tri holds", "topology[", "no memory")


# Ops whose third argument is `ranges`, which stays on the host.
WITH_RANGES = ("rasterize", "soft_rasterize", "soft_blend", "soft_blend_backward")


def skip_where_devices_are_silent(kernels: str, message: str) -> None:
    """Skip the test of an error, given by a pattern of its message, that CUDA kernels do not raise."""
    if kernels != "cpu" and message.replace("\\", "").startswith(CPU_MESSAGES):
        pytest.skip("only the CPU's kernels raise this")


@contextmanager
def _instead_of_cpu(kernel_of: Callable[[str], Callable]) -> Iterator[None]:
    """Within this block, kernel_of(name) serves the CPU tensors of each op that CUDA has too."""
    override = torch.library.Library("lumigrad", "IMPL")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch says that a kernel is replaced, as it should be
            for name in kernels_for_any_core:
                override.impl(name, kernel_of(name), "CPU", allow_override=True)
        yield
    finally:
        override._destroy()


# ---- On a device -----------------------------------------------------------------------------------------


def _moved(name: str) -> Callable:
    op = getattr(torch.ops.lumigrad, name).default
    on_host = {2} if name in WITH_RANGES else set()

    def run(*args: Any) -> Any:
        moved = [
            arg if i in on_host else tree_map_only(torch.Tensor, torch.Tensor.cuda, arg) for i, arg in enumerate(args)
        ]
        return tree_map_only(torch.Tensor, torch.Tensor.cpu, op(*moved))

    return run


def on_device() -> Any:
    """Within this block, the ops of CPU tensors go to the CUDA device and back."""
    return _instead_of_cpu(_moved)


# ---- Emulation -------------------------------------------------------------------------------------------


def library() -> Path | None:
    """Where the emulation lies: $LUMIGRAD_CUDA_EMULATED, or build/emulated in the checkout."""
    path = Path(os.environ.get("LUMIGRAD_CUDA_EMULATED") or ROOT / "build/emulated/liblumigrad_cuda_emulated.so")
    return path if path.is_file() else None


class EmulatedCore(CudaCore):
    """The emulation, seen as `_cuda.core()` is by ops; tensors are those of the CPU."""

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        # Neither zeros nor what happens to be there: what is not written shows.
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
    """Within this block, the ops of CPU tensors run the CUDA kernels on this processor."""
    core = emulated_core()
    with _instead_of_cpu(lambda name: functools.partial(kernels_for_any_core[name], core)):
        yield core
