"""Memory for the outputs of ops on the CPU, which the library keeps for reuse (see native/runtime/memory.h).

``LUMIGRAD_CACHE_MB`` in the environment sets how much freed memory to keep (default 1024; 0 keeps none).
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Sequence

import torch
from torch.utils.dlpack import from_dlpack

from lumigrad._engine.loading import cpu_library

# DLPack's (type code, bits).
_DLPACK_TYPES = {
    torch.float32: (2, 32),
    torch.float64: (2, 64),
    torch.int32: (0, 32),
    torch.int64: (0, 64),
    torch.uint8: (1, 8),
}
# Below this many elements, malloc already reuses memory, and torch.empty is faster.
_RECYCLED_ELEMENTS = 64 * 1024
_CPU = torch.device("cpu")
# More than any machine's memory; the sizes of smaller buffers do not overflow 64 bits.
_MAX_ELEMENTS = 1 << 48

_capsule_new = ctypes.pythonapi.PyCapsule_New
_capsule_new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_capsule_new.restype = ctypes.py_object


def empty(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """An uninitialised CPU tensor, from recycled memory when it is large."""
    count = math.prod(shape)
    if count < _RECYCLED_ELEMENTS:
        return plain_empty(shape, dtype, _CPU)
    code, bits = _DLPACK_TYPES[dtype]
    if count > _MAX_ELEMENTS:
        raise MemoryError(f"no memory for an output of shape {tuple(shape)} and type {dtype}")
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    managed = cpu_library.lg_tensor_new(code, bits, len(shape), sizes)
    if not managed:
        raise MemoryError(f"no memory for an output of shape {tuple(shape)} and type {dtype}")
    return from_dlpack(_capsule_new(managed, b"dltensor", None))


def plain_empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """`torch.empty`, called in the way that has the least overhead."""
    if not shape:
        return torch.empty((), dtype=dtype, device=device)
    return torch.empty(*shape, dtype=dtype, device=device)


def stats() -> dict[str, int]:
    """Bytes of large outputs and workspaces: `in_use` now, `cached` for reuse, `peak` use since the reset.

    >>> import lumigrad.memory
    >>> sorted(lumigrad.memory.stats())
    ['cached', 'in_use', 'peak']
    """
    values = [ctypes.c_int64() for _ in range(3)]
    cpu_library.lg_memory_stats(*(ctypes.byref(value) for value in values))
    return dict(zip(("in_use", "cached", "peak"), (value.value for value in values)))


def reset_peak_memory() -> None:
    """Restart `stats()["peak"]` from the memory now in use.

    >>> import lumigrad.memory
    >>> lumigrad.memory.reset_peak_memory()
    >>> stats = lumigrad.memory.stats()
    >>> stats["peak"] == stats["in_use"]
    True
    """
    cpu_library.lg_memory_reset_peak()


def empty_cache() -> None:
    """Give all cached memory back to the system.

    >>> import lumigrad.memory
    >>> lumigrad.memory.empty_cache()
    >>> lumigrad.memory.stats()["cached"]
    0
    """
    cpu_library.lg_memory_empty_cache()


def set_cache_limit(megabytes: int) -> None:
    """Keep at most this much freed memory for reuse. Memory cached now is returned to the system.

    >>> import lumigrad.memory
    >>> lumigrad.memory.set_cache_limit(256)
    >>> lumigrad.memory.stats()["cached"] <= 256 * 2**20
    True
    >>> lumigrad.memory.set_cache_limit(1024)  # as at first
    """
    if megabytes < 0:
        raise ValueError(f"megabytes: expected a non-negative number, got {megabytes}")
    cpu_library.lg_memory_set_limit(megabytes << 20)


set_cache_limit(int(os.environ.get("LUMIGRAD_CACHE_MB", "1024")))
