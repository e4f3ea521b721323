"""The CUDA library: opened when it is first asked for, and only where torch has a CUDA device."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lumigrad._engine import loading
from lumigrad._engine.core import Call, Core
from lumigrad._engine.loading import CoreNotFoundError

# The library, or why there is none, once that has been asked for.
_opened: Core | str | None = None
# Devices that can run it. Only yes is remembered: a device may be full for a while.
_runs_on: set[int] = set()


def core() -> Core:
    """The CUDA library. Raises CoreNotFoundError, saying why, where there is none."""
    global _opened
    if _opened is None:
        try:
            _opened = _open()
        except CoreNotFoundError as error:
            _opened = str(error)
    if isinstance(_opened, str):
        raise CoreNotFoundError(_opened)
    return _opened


def _open() -> Core:
    if not torch.cuda.is_available():
        raise CoreNotFoundError("this torch finds no CUDA device")
    path = loading.library_path("cuda")
    if not path.exists():
        raise CoreNotFoundError(
            "this installation of lumigrad has no CUDA library (LUMIGRAD_CUDA=ON pip install builds it); "
            "CUDA tensors use the reference"
        )
    return Core(loading.open_library(path, of_cpu=False), _empty, _settings)


def _empty(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="cuda")


def _settings() -> Call:
    return Call(
        deterministic=torch.are_deterministic_algorithms_enabled(), stream=torch.cuda.current_stream().cuda_stream
    )


def available(device: torch.device | None = None) -> bool:
    """Whether tensors on a CUDA device, by default the current one, have kernels."""
    try:
        library = core()
    except CoreNotFoundError:
        return False
    index = None if device is None else device.index
    if index is None:
        index = torch.cuda.current_device()
    if index not in _runs_on:
        with torch.cuda.device(index):
            if library.problem() is None:
                _runs_on.add(index)
    return index in _runs_on


def status() -> str:
    """Whether CUDA kernels can be used, and why not if they cannot."""
    try:
        library = core()
    except CoreNotFoundError as error:
        return f"not used: {error}"
    problem = library.problem()  # an old driver, or a device that it was not compiled for
    if problem is not None:
        return f"not used: lumigrad's CUDA library at {library.library._name} cannot run here: {problem}"
    return f"used: built with CUDA {library.toolkit}, on {torch.cuda.get_device_name()}"
