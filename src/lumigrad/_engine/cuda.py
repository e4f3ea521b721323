"""The bridge to the CUDA library: for CUDA tensors what `_core` is for those of the CPU.

The library (``native/include/lumigrad.h``) is opened when it is first asked for, and only where torch has a
CUDA device. Its functions take what the core's take, save that a stream and a workspace stand in the place of the
number of threads; ops are written against what the two modules have in common: ``calls``, ``empty``, ``pointer``,
``pointers``, ``addresses`` and ``float_code``.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from lumigrad._engine import core as _core

_OK, _INVALID, _NEEDS_WORKSPACE = 0, 1, 4


class CudaCore:
    """An opened CUDA library, seen as ops see `_core`. Tensors are made on torch's current CUDA device."""

    pointer = staticmethod(_core.pointer)
    pointers = staticmethod(_core.pointers)
    addresses = staticmethod(_core.addresses)
    float_code = staticmethod(_core.float_code)

    def __init__(self, path: Path) -> None:
        try:
            self._library = ctypes.CDLL(str(path))
        except OSError as error:
            raise _core.CoreNotFoundError(f"lumigrad's CUDA library at {path} does not load: {error}") from error
        if self._library.lg_abi_version() != _core.ABI_VERSION:
            raise _core.CoreNotFoundError(f"{path} belongs to another version of lumigrad; reinstall lumigrad")
        self._library.lg_last_error.restype = ctypes.c_char_p
        self._path = path
        self._runs_on: set[int] = set()
        self.calls = {name: self._caller(name, signature) for name, signature in _core.op_signatures().items()}

    def check(self) -> None:
        """Raises CoreNotFoundError, saying why, where torch's current device cannot run the kernels."""
        if self._library.lg_check() != _OK:  # an old driver, or a device that it was not compiled for
            raise _core.CoreNotFoundError(
                f"lumigrad's CUDA library at {self._path} cannot run here: {self._last_error()}"
            )

    def runs_on(self, index: int) -> bool:
        """Whether that device can run the kernels. Only yes is remembered: a device may be full for a while."""
        if index not in self._runs_on:
            with torch.cuda.device(index), contextlib.suppress(_core.CoreNotFoundError):
                self.check()
                self._runs_on.add(index)
        return index in self._runs_on

    @property
    def toolkit(self) -> str:
        """The CUDA version that the library was built with."""
        number = self._library.lg_toolkit()
        return f"{number // 1000}.{number % 1000 // 10}"

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """An uninitialised tensor on the current device."""
        return torch.empty(shape, dtype=dtype, device="cuda")

    def stream(self) -> int | None:
        """The address of torch's current stream."""
        return torch.cuda.current_stream().cuda_stream

    def _caller(self, name: str, signature: str) -> Callable[..., None]:
        native = getattr(self._library, f"lg_{name}")
        native.argtypes = [ctypes.c_void_p, *(_core.CTYPES[letter] for letter in signature)]
        native.restype = ctypes.c_int32

        def call(*arguments: Any) -> None:
            how = _core.Call(0, torch.are_deterministic_algorithms_enabled(), self.stream(), None, 0)
            place = ctypes.addressof(how)
            status = native(place, *arguments)
            if status == _NEEDS_WORKSPACE:
                # Given back on return: work that is put on the stream later cannot overtake that which uses it.
                workspace = self.empty((how.workspace_bytes,), torch.uint8)
                how.workspace = workspace.data_ptr()
                status = native(place, *arguments)
            if status != _OK:
                self._raise(status)

        call.__name__ = name
        return call

    def _last_error(self) -> str:
        return self._library.lg_last_error().decode()

    def _raise(self, status: int) -> None:
        message = self._last_error()
        if status == _INVALID:
            raise ValueError(message)
        raise RuntimeError(f"lumigrad's CUDA library failed: {message}")


# The library, or why there is none, once that has been asked for.
_opened: CudaCore | str | None = None


def core() -> CudaCore:
    """The CUDA library. Raises CoreNotFoundError, saying why, where it cannot be used."""
    global _opened
    if _opened is None:
        try:
            _opened = _open()
        except _core.CoreNotFoundError as error:
            _opened = str(error)
    if isinstance(_opened, str):
        raise _core.CoreNotFoundError(_opened)
    return _opened


def _open() -> CudaCore:
    if not torch.cuda.is_available():
        raise _core.CoreNotFoundError("this torch finds no CUDA device")
    path = _core._library_path("cuda")
    if not path.exists():
        raise _core.CoreNotFoundError(
            "this installation of lumigrad has no CUDA library (install it where nvcc is found); "
            "CUDA tensors use the reference"
        )
    return CudaCore(path)


def available(device: torch.device | None = None) -> bool:
    """Whether tensors on a CUDA device, by default the current one, have kernels."""
    if _opened is None:
        with contextlib.suppress(_core.CoreNotFoundError):
            core()
    if not isinstance(_opened, CudaCore):
        return False
    index = None if device is None else device.index
    return _opened.runs_on(torch.cuda.current_device() if index is None else index)


def status() -> str:
    """Whether CUDA kernels can be used, and why not if they cannot."""
    try:
        toolkit = core().toolkit
        core().check()
    except _core.CoreNotFoundError as error:
        return f"not used: {error}"
    return f"used: built with CUDA {toolkit}, on {torch.cuda.get_device_name()}"
