"""A compiled library for the CPU or for CUDA, as used by ops: functions to call, and memory for their results."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from ctypes import byref
from typing import Any

import torch

from lumigrad._engine import memory, threads
from lumigrad._engine.loading import HEADER, cpu_library

_OK, _INVALID, _OUT_OF_MEMORY, _NEEDS_WORKSPACE = (
    HEADER.constants[name] for name in ("LG_OK", "LG_INVALID", "LG_OUT_OF_MEMORY", "LG_NEEDS_WORKSPACE")
)


class Call(HEADER.structure("lg_call")):  # type: ignore[misc]
    """lg_call, how a call runs: its fields in the order of the header, or by name."""


class Core:
    """An opened library.

    calls: the functions of those ops that it has, by name, without "lg_". They take the header's parameters after
    ``lg_call``, raise on failure, and give the library the workspace that it requests.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        empty: Callable[[Sequence[int], torch.dtype], torch.Tensor],
        settings: Callable[[], Call],
        likely_workspace: int = 0,
    ) -> None:
        """empty(shape, dtype): a new tensor where the library's functions work. settings(): how a call is to run.

        likely_workspace: if a function has requested at most this many bytes of workspace, its next calls get that many
        immediately, which saves a request; other functions always ask first.
        """
        self.library = library
        self.empty = empty
        self.settings = settings
        self._likely_workspace = likely_workspace
        self.calls = {
            name.removeprefix("lg_"): self._caller(name)
            for name, function in HEADER.functions.items()
            if function.is_op and hasattr(library, name)
        }

    @property
    def isa(self) -> str:
        """The target of the library: an instruction set, or "cuda"."""
        name: bytes = self.library.lg_isa()
        return name.decode()

    @property
    def toolkit(self) -> str:
        """The CUDA version that the library was built with."""
        number = self.library.lg_toolkit()
        return f"{number // 1000}.{number % 1000 // 10}"

    def problem(self) -> str | None:
        """The reason why this machine (with CUDA, the current device) cannot run the kernels, or None if it can."""
        return None if self.library.lg_check() == _OK else self._last_error()

    def _caller(self, name: str) -> Callable[..., None]:
        native = getattr(self.library, name)
        likely = 0  # in bytes

        def call(*arguments: Any) -> None:
            nonlocal likely
            how = self.settings()
            # The workspace is freed on return: work put on the stream later cannot overtake the work that uses
            # it.
            if likely:
                workspace = self.empty((likely,), torch.uint8)
                how.workspace, how.workspace_bytes = workspace.data_ptr(), likely
            status = native(byref(how), *arguments)
            if status == _NEEDS_WORKSPACE:
                workspace = self.empty((how.workspace_bytes,), torch.uint8)
                how.workspace = workspace.data_ptr()
                status = native(byref(how), *arguments)
                if how.workspace_bytes <= self._likely_workspace:
                    likely = how.workspace_bytes
            if status != _OK:
                self._raise(status)

        call.__name__ = name
        return call

    def _last_error(self) -> str:
        message: bytes = self.library.lg_last_error()
        return message.decode()

    def _raise(self, status: int) -> None:
        message = self._last_error()
        if status == _INVALID:
            raise ValueError(message)
        if status == _OUT_OF_MEMORY:
            raise MemoryError(message)
        raise RuntimeError(f"lumigrad's compiled library ({self.isa}) failed: {message}")


# Keyed by the number of threads: CPU functions do not write to them.
_settings: dict[int, Call] = {}


def _cpu_settings() -> Call:
    count = threads.thread_count()
    if count not in _settings:
        _settings[count] = Call(count)
    return _settings[count]


cpu = Core(cpu_library, memory.empty, _cpu_settings)
