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
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch.utils._pytree import tree_map_only

from lumigrad._engine import loading
from lumigrad._engine.core import Call, Core
from lumigrad._engine.declare import DIRECTIONS
from lumigrad._engine.direction import Direction
from lumigrad.ops.splat import _compositing

ROOT = Path(__file__).resolve().parent.parent

# What starts so says that an index is out of range, or no memory left; a device cannot say the one without being
# waited for, and torch's allocator says the other in its own words.
CPU_MESSAGES = ("tri[", "attr_tri[", "tri: expected indices below", "frags.tri holds", "topology[", "no memory")


# Inputs that CUDA's functions read on the host.
ON_HOST = ("ranges", "level_starts")


def skip_where_devices_are_silent(kernels: str, message: str) -> None:
    """Skip the test of an error, given by a pattern of its message, that CUDA kernels do not raise."""
    if kernels != "cpu" and message.replace("\\", "").startswith(CPU_MESSAGES):
        pytest.skip("only the CPU's kernels raise this")


@contextmanager
def _instead_of_cpu(kernel_of: Callable[[str], Callable]) -> Iterator[None]:
    """Within this block, kernel_of(name) serves the CPU tensors of each op."""
    override = torch.library.Library("lumigrad", "IMPL")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch says that a kernel is replaced, as it should be
            for name, direction in DIRECTIONS.items():
                if isinstance(direction, Direction) and direction.function.cpu_only:
                    continue
                override.impl(name, kernel_of(name), "CPU", allow_override=True)
        yield
    finally:
        override._destroy()


# ---- On a device -----------------------------------------------------------------------------------------


def _moved(name: str) -> Callable:
    op = getattr(torch.ops.lumigrad, name).default
    inputs = list(DIRECTIONS[name].inputs)

    def run(*args: Any) -> Any:
        moved = [
            arg if input in ON_HOST else tree_map_only(torch.Tensor, torch.Tensor.cuda, arg)
            for input, arg in zip(inputs, args)
        ]
        return tree_map_only(torch.Tensor, torch.Tensor.cpu, op(*moved))

    return run


def on_device() -> Any:
    """Within this block, the ops of CPU tensors go to the CUDA device and back."""
    return _instead_of_cpu(_moved)


def leave_if_the_device_is_lost(test: str) -> None:
    """A kernel that reads out of bounds leaves its process without a device. One of several workers of pytest then
    ends, and another takes its place; without, every later test would fail with it."""
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        if "PYTEST_XDIST_WORKER" in os.environ:
            print(f"{test}: {str(error).splitlines()[0]}", file=sys.__stderr__, flush=True)
            os._exit(1)
        raise


# ---- Emulation -------------------------------------------------------------------------------------------


def library() -> Path | None:
    """Where the emulation lies: $LUMIGRAD_CUDA_EMULATED, or build/emulated in the checkout."""
    path = Path(os.environ.get("LUMIGRAD_CUDA_EMULATED") or ROOT / "build/emulated/liblumigrad_cuda_emulated.so")
    return path if path.is_file() else None


def _empty(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Neither zeros nor what happens to be there: what is not written shows."""
    return torch.empty(shape, dtype=dtype).fill_(float("nan") if dtype.is_floating_point else 0x5A)


def _settings() -> Call:
    return Call(deterministic=torch.are_deterministic_algorithms_enabled())


@functools.lru_cache(1)
def emulated_core() -> Core:
    """The emulation; tensors are those of the CPU."""
    path = library()
    assert path is not None
    return Core(loading.open_library(path, of_cpu=False), _empty, _settings)


def set_order(backwards: bool) -> None:
    """Let blocks and threads of the emulation start in order, or in the opposite order."""
    emulated_core().library.lg_emulation_set_order(ctypes.c_int32(backwards))


@contextmanager
def emulated_cuda() -> Iterator[Core]:
    """Within this block, the ops of CPU tensors run the CUDA kernels on this processor. Its lists of splats have as
    little room as the emulation gives them."""
    core = emulated_core()
    small = _compositing.Room(least=1000, ample=0, ample_for_each=0, for_each=3)
    with (
        mock.patch.multiple(_compositing, ROOM=small, keeps_lists=lambda tensor: True),
        _instead_of_cpu(lambda name: functools.partial(DIRECTIONS[name].run, core)),
    ):
        yield core
