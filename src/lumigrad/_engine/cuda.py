"""The CUDA library, opened on first use, and only if torch has a CUDA device."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import torch

from lumigrad._engine import loading, memory
from lumigrad._engine.core import Call, Core
from lumigrad._engine.loading import CoreNotFoundError

# More than almost all ops request whose time counts in microseconds, and little for a device.
_LIKELY_WORKSPACE = 16 << 20
# The library for the tensors of each device, once it is open.
_cores: dict[int, Core] = {}
# The reason why there is no library, after the first request.
_missing: str | None = None
# Devices that can run it. Only success is remembered: a device may be full for a while.
_runs_on: set[int] = set()


def core(index: int = 0) -> Core:
    """The CUDA library for tensors of a device, which must be the current one in every call.

    Raises CoreNotFoundError with the reason if there is none.
    """
    if index not in _cores:
        library = next(iter(_cores.values())).library if _cores else _open()
        _cores[index] = Core(library, _empty_on(index), _settings_on(index), _LIKELY_WORKSPACE)
    return _cores[index]


def _open() -> ctypes.CDLL:
    """Open the library. If it is missing, later calls repeat the reason."""
    global _missing
    if _missing is None:
        try:
            return _load()
        except CoreNotFoundError as error:
            _missing = str(error)
    raise CoreNotFoundError(_missing)


def _load() -> ctypes.CDLL:
    if not torch.cuda.is_available():
        raise CoreNotFoundError("this torch finds no CUDA device")
    path = loading.library_path("cuda")
    if not path.exists():
        raise CoreNotFoundError(
            "this installation of lumigrad has no CUDA library (LUMIGRAD_CUDA=ON pip install builds it); "
            "CUDA tensors use the reference"
        )
    return loading.open_library(path, of_cpu=False)


# An op on CUDA takes tens of microseconds, and torch's usual queries take about as long.


def _empty_on(index: int) -> Callable[[Sequence[int], torch.dtype], torch.Tensor]:
    device = torch.device("cuda", index)
    return lambda shape, dtype: memory.plain_empty(shape, dtype, device)


def _settings_on(index: int) -> Callable[[], Call]:
    """The settings of a call on the current stream of a device."""
    is_deterministic = torch.are_deterministic_algorithms_enabled
    # The stream as a number, as for torch.compile's own kernels: forty times faster than an object.
    raw = getattr(torch._C, "_cuda_getCurrentRawStream", None)
    if raw is None:
        return lambda: Call(0, is_deterministic(), torch.cuda.current_stream(index).cuda_stream)
    return lambda: Call(0, is_deterministic(), raw(index))


def available(device: torch.device | None = None) -> bool:
    """Whether kernels are available for tensors on a CUDA device (by default the current one)."""
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
    """Whether CUDA kernels can be used, and if not, why."""
    try:
        library = core()
    except CoreNotFoundError as error:
        return f"not used: {error}"
    problem = library.problem()  # an old driver, or a device that it was not compiled for
    if problem is not None:
        return f"not used: lumigrad's CUDA library at {library.library._name} cannot run here: {problem}"
    return f"used: built with CUDA {library.toolkit}, on {torch.cuda.get_device_name()}"
