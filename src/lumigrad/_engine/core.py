"""The bridge to the compiled core: with `_cuda` the only module that knows its shared libraries.

The core is a plain C library (``native/include/lumigrad.h``), compiled once per instruction set. This module
loads the best one that the processor runs, declares its functions, allocates outputs from its recycled memory
and turns tensors into pointers. It knows nothing about the meaning of any op.

Environment variables, read once at import:

* ``LUMIGRAD_ISA``: ``portable``, ``avx2`` or ``avx512`` instead of the best available one.
* ``LUMIGRAD_NATIVE_DIR``: the folder to load the core from instead of the installed one (an instrumented
  build, say).
* ``LUMIGRAD_THREADS``: ``own`` for a thread pool of lumigrad's own where torch's OpenMP team would be used.
* ``LUMIGRAD_CACHE_MB``: how much freed output memory to keep for reuse (default 1024; 0 keeps none).
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.dlpack import from_dlpack

ABI_VERSION = 5
ISAS = ("portable", "avx2", "avx512")

_DIRECTORY = Path(os.environ.get("LUMIGRAD_NATIVE_DIR") or Path(__file__).parents[1] / "_native")
_OK, _INVALID, _OUT_OF_MEMORY = 0, 1, 2
_FLOAT_CODES = {torch.float32: 0, torch.float64: 1}
# DLPack's (type code, bits).
_DLPACK_TYPES = {torch.float32: (2, 32), torch.float64: (2, 64), torch.int32: (0, 32), torch.uint8: (1, 8)}
# Below this many elements malloc reuses memory by itself, and torch.empty is quicker.
_RECYCLED_ELEMENTS = 64 * 1024
# More than any machine has memory for; the sizes of smaller buffers do not overflow 64 bits.
_MAX_ELEMENTS = 1 << 48

# The C functions' arguments: p pointer, i int32, q int64, d double. All return an int32 status.
_SIGNATURES = {
    "lg_rasterize_forward": "pippp qqqqq i ppi ppppp",
    "lg_rasterize_backward": "pippi qqqqq i pppp p",
    "lg_soft_rasterize_forward": "pippp qqqqq q di pppp",
    "lg_soft_rasterize_backward": "pippi qqqqq qi pppp p",
    "lg_soft_blend_forward": "pippp qqqqq dii dddddd pp qqq ppppp",
    "lg_soft_blend_backward": "pippp qqqqq dii dddddd pp qqq ppppp ppp pp",
    "lg_interpolate_forward": "pi pppppp qqqqqqq pp",
    "lg_interpolate_backward": "pi pppppp qqqqqqqq pp ppp",
    "lg_edge_topology": "p pp qq p",
    "lg_antialias_forward": "pi pppppp i qqqqqq iq pp",
    "lg_antialias_backward": "pi ppppppp i qqqqqq iq p pp",
    "lg_edge_gradient": "pi ppppp i qqqqqq pp",
    "lg_nmr_gradient": "pi pppp i qqqqqq qd pp",
    "lg_texture_forward": "pi pi qqqq ppp qqq iii p",
    "lg_texture_backward": "pi pi qqqq ppp qqq iii p pppp",
    "lg_build_mips": "pi pi qqqq",
    "lg_fold_mips": "pi pi qqqq i",
    "lg_splat_forward": "piii ppp q pppppp pp",
    "lg_splat_backward": "piii ppp pp pp",
    "lg_project_gaussians_forward": "pi pp qq pppp",
    "lg_project_gaussians_backward": "pi pp qq pp",
    "lg_project_surfels_forward": "pi pp qq p",
    "lg_project_surfels_backward": "pi pp qq pp",
    "lg_splat_visibility": "pi qqqq pppp",
}
CTYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int32, "q": ctypes.c_int64, "d": ctypes.c_double}
# Ops that CUDA has too. Those of the CPU begin with the number of threads, except where it says no threads.
_SHARED_OPS = (
    "rasterize_forward", "rasterize_backward", "interpolate_forward", "interpolate_backward", "edge_topology",
    "antialias_forward", "antialias_backward", "texture_forward", "texture_backward", "build_mips", "fold_mips",
    "soft_rasterize_forward", "soft_rasterize_backward", "soft_blend_forward", "soft_blend_backward",
    "edge_gradient", "nmr_gradient", "splat_forward", "splat_backward", "project_gaussians_forward",
    "project_gaussians_backward", "project_surfels_forward", "project_surfels_backward", "splat_visibility",
)  # fmt: skip


class CoreNotFoundError(ImportError):
    """The compiled core is missing from the installation or does not load."""


def _library_path(isa: str) -> Path:
    """Where the core compiled for `isa` is looked for; "cuda" for the CUDA library."""
    if sys.platform == "win32":
        return _DIRECTORY / f"lumigrad_{isa}.dll"
    return _DIRECTORY / f"liblumigrad_{isa}{'.dylib' if sys.platform == 'darwin' else '.so'}"


def load_library(isa: str) -> ctypes.CDLL:
    """Open the core compiled for `isa` and declare its functions."""
    path = _library_path(isa)
    if not path.exists():
        raise CoreNotFoundError(
            f"lumigrad's compiled core is not at {path}. Install lumigrad with pip; a source tree needs "
            "`cmake -S . -B build/dev && cmake --build build/dev && cmake --install build/dev --prefix src`."
        )
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise CoreNotFoundError(f"lumigrad's compiled core at {path} does not load: {error}") from error
    if library.lg_abi_version() != ABI_VERSION:
        raise CoreNotFoundError(f"{path} belongs to another version of lumigrad; reinstall lumigrad")
    for name, signature in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes = [CTYPES[letter] for letter in signature.replace(" ", "")]
        function.restype = ctypes.c_int32
    for name in ("lg_last_error", "lg_isa", "lg_best_isa"):
        getattr(library, name).restype = ctypes.c_char_p
    library.lg_tensor_new.argtypes = [ctypes.c_int32, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p]
    library.lg_tensor_new.restype = ctypes.c_void_p
    library.lg_memory_set_limit.argtypes = [ctypes.c_int64]
    library.lg_use_team.argtypes = [ctypes.c_void_p]
    library.lg_use_team.restype = None
    return library


def available_isas() -> list[str]:
    """Instruction sets that this installation has a library for and this processor can run."""
    best = ISAS.index(load_library("portable").lg_best_isa().decode())
    return [isa for isa in ISAS[: best + 1] if _library_path(isa).exists()]


def _choose_isa() -> str:
    usable = available_isas()
    wanted = os.environ.get("LUMIGRAD_ISA", usable[-1])
    if wanted not in usable:
        raise CoreNotFoundError(f"LUMIGRAD_ISA={wanted!r}: this machine has {', '.join(usable)}")
    return wanted


def _torch_openmp() -> ctypes.CDLL | None:
    """The GNU OpenMP runtime that torch has loaded, if it has."""
    if not sys.platform.startswith("linux") or os.environ.get("LUMIGRAD_THREADS") == "own":
        return None
    paths = list((Path(torch.__file__).parent / "lib").glob("libgomp*"))
    paths += [path for path in map(Path, _loaded_libraries()) if path.name.startswith("libgomp")]
    for path in paths:
        try:
            # RTLD_NOLOAD: only a runtime that is in the process already.
            runtime = ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_NOW)
            if runtime.GOMP_parallel:
                return runtime
        except (OSError, AttributeError):
            continue
    return None


def _loaded_libraries() -> list[str]:
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    return sorted({line.split()[-1] for line in lines if "/" in line})


_library = load_library(_choose_isa())
_openmp = _torch_openmp()
_library.lg_use_team(_openmp and ctypes.cast(_openmp.GOMP_parallel, ctypes.c_void_p))
_library.lg_memory_set_limit(int(os.environ.get("LUMIGRAD_CACHE_MB", "1024")) << 20)


def isa() -> str:
    """The instruction set of the library in use."""
    return _library.lg_isa().decode()


def thread_source() -> str:
    """Whose threads run the kernels."""
    return "own pool" if _openmp is None else "torch's OpenMP team"


# ---- Calls ---------------------------------------------------------------------------------------------


def function(name: str) -> Callable[..., None]:
    """The C function `name`, as a callable that takes tensors, None and numbers, and raises on failure."""
    native = getattr(_library, name)

    def call(*arguments: Any) -> None:
        status = native(*arguments)
        if status != _OK:
            _raise(status)

    call.__name__ = name
    return call


def _raise(status: int) -> None:
    message = _library.lg_last_error().decode()
    if status == _INVALID:
        raise ValueError(message)
    if status == _OUT_OF_MEMORY:
        raise MemoryError(message)
    raise RuntimeError(f"lumigrad's core failed: {message}")


def pointer(tensor: torch.Tensor | None) -> int | None:
    """The address of a contiguous tensor's data, or None."""
    return None if tensor is None else tensor.data_ptr()


def addresses(values: Sequence[int | None]) -> Any:
    """Several addresses, or None for none, as a C array."""
    return (ctypes.c_void_p * len(values))(*values)


def pointers(tensors: Sequence[torch.Tensor | None]) -> Any:
    """The addresses of several tensors, as a C array."""
    return addresses([pointer(tensor) for tensor in tensors])


def float_code(tensor: torch.Tensor) -> int:
    """The core's name for a floating-point tensor's type."""
    return _FLOAT_CODES[tensor.dtype]


threads = torch.get_num_threads


def op_signatures() -> dict[str, str]:
    """The arguments of the ops that CUDA has too, without the call, as letters of `CTYPES`."""
    return {name: _SIGNATURES[f"lg_{name}"].replace(" ", "")[1:] for name in _SHARED_OPS}


class Call(ctypes.Structure):
    """lg_call."""

    _fields_ = (
        ("threads", ctypes.c_int32),
        ("deterministic", ctypes.c_int32),
        ("stream", ctypes.c_void_p),
        ("workspace", ctypes.c_void_p),
        ("workspace_bytes", ctypes.c_int64),
    )


# By the number of threads: the core does not write to them.
_calls: dict[int, tuple[int, Call]] = {}


def call_address() -> int:
    """The address of the lg_call of a function of the CPU's core."""
    count = threads()
    if count not in _calls:
        call = Call(count)
        _calls[count] = ctypes.addressof(call), call
    return _calls[count][0]


def _caller(name: str) -> Callable[..., None]:
    native = getattr(_library, f"lg_{name}")

    def call(*arguments: Any) -> None:
        status = native(call_address(), *arguments)
        if status != _OK:
            _raise(status)

    call.__name__ = name
    return call


# For ops that are written for any core: `core.calls[name](...)`, without the call.
calls = {name: _caller(name) for name in _SHARED_OPS}


# ---- Memory --------------------------------------------------------------------------------------------

_capsule_new = ctypes.pythonapi.PyCapsule_New
_capsule_new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_capsule_new.restype = ctypes.py_object


def empty(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """An uninitialised CPU tensor, from recycled memory when it is large (see native/common/memory.h)."""
    count = 1
    for size in shape:
        count *= size
    if count < _RECYCLED_ELEMENTS:
        return torch.empty(shape, dtype=dtype)
    code, bits = _DLPACK_TYPES[dtype]
    if count > _MAX_ELEMENTS:
        raise MemoryError(f"no memory for an output of shape {tuple(shape)} and type {dtype}")
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    managed = _library.lg_tensor_new(code, bits, len(shape), sizes)
    if not managed:
        raise MemoryError(f"no memory for an output of shape {tuple(shape)} and type {dtype}")
    return from_dlpack(_capsule_new(managed, b"dltensor", None))


def memory_stats() -> dict[str, int]:
    """Bytes of large outputs and workspaces: `in_use` now, `cached` for reuse, `peak` use since the reset."""
    values = [ctypes.c_int64() for _ in range(3)]
    _library.lg_memory_stats(*(ctypes.byref(value) for value in values))
    return dict(zip(("in_use", "cached", "peak"), (value.value for value in values)))


def reset_peak_memory() -> None:
    """Let `memory_stats()["peak"]` start again from what is in use now."""
    _library.lg_memory_reset_peak()


def empty_cache() -> None:
    """Give all cached memory back to the system."""
    _library.lg_memory_empty_cache()


def set_cache_limit(megabytes: int) -> None:
    """Keep at most this much freed memory for reuse; what is cached now goes back to the system."""
    if megabytes < 0:
        raise ValueError(f"megabytes: expected a non-negative number, got {megabytes}")
    _library.lg_memory_set_limit(megabytes << 20)
