"""Properties of this installation of lumigrad: instruction sets, threads, CUDA."""

from __future__ import annotations

from lumigrad._engine.core import cpu
from lumigrad._engine.cuda import available as cuda_available
from lumigrad._engine.cuda import status as cuda_status
from lumigrad._engine.loading import ISAS, available_isas, best_isa, library_path
from lumigrad._engine.threads import contended, thread_source, wait_policy

__all__ = [
    "ISAS",
    "available_isas",
    "best_isa",
    "contended",
    "cuda_available",
    "cuda_status",
    "isa",
    "library_path",
    "thread_source",
    "wait_policy",
]


def isa() -> str:
    """The instruction set of the library in use."""
    return cpu.isa
