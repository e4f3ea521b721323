"""Finding and opening the compiled libraries.

They are plain C libraries: one for each instruction set of the CPU, of which the best one that the processor runs is
opened at import, and one for CUDA, which :mod:`lumigrad._engine.cuda` opens when it is first needed. Environment
variables, read once at import:

* ``LUMIGRAD_ISA``: ``portable``, ``avx2`` or ``avx512`` instead of the best available one.
* ``LUMIGRAD_NATIVE_DIR``: the folder from which to load libraries instead of the installed one (for example, an
  instrumented build). If it has no ``lumigrad.h``, the installed header is used.
"""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from pathlib import Path

from lumigrad._engine.abi import Function, Header, read_header

ISAS = ("portable", "avx2", "avx512")

_INSTALLED = Path(__file__).parents[1] / "_native"
_RESULTS = {"int32_t": ctypes.c_int32, "const char*": ctypes.c_char_p, "void*": ctypes.c_void_p, "void": None}
DIRECTORY = Path(os.environ.get("LUMIGRAD_NATIVE_DIR") or _INSTALLED)


class CoreNotFoundError(ImportError):
    """A compiled library is missing from the installation or does not load."""


def _missing(path: Path) -> CoreNotFoundError:
    return CoreNotFoundError(
        f"lumigrad's compiled core is not at {path}. Install lumigrad with pip; a source tree needs "
        "`cmake -S . -B build/dev && cmake --build build/dev && cmake --install build/dev --prefix src`."
    )


def _find_header() -> Header:
    for path in (DIRECTORY / "lumigrad.h", _INSTALLED / "lumigrad.h"):
        if path.exists():
            return read_header(path)
    raise _missing(path)


HEADER = _find_header()


def library_path(isa: str) -> Path:
    """The expected path of the library compiled for `isa`; "cuda" for the CUDA library."""
    if sys.platform == "win32":
        return DIRECTORY / f"lumigrad_{isa}.dll"
    return DIRECTORY / f"liblumigrad_{isa}{'.dylib' if sys.platform == 'darwin' else '.so'}"


def open_library(path: Path, of_cpu: bool) -> ctypes.CDLL:
    """Open a library and declare its functions according to the header."""
    library = _open(path, "compiled core" if of_cpu else "CUDA library")
    for function in HEADER.functions.values():
        if of_cpu or not function.cpu_only:
            _declare(library, function)
    return library


def _open(path: Path, kind: str) -> ctypes.CDLL:
    if not path.exists():
        raise _missing(path)
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise CoreNotFoundError(f"lumigrad's {kind} at {path} does not load: {error}") from error
    if library.lg_abi_version() != HEADER.constants["LG_ABI_VERSION"]:
        raise CoreNotFoundError(f"{path} belongs to another version of lumigrad; reinstall lumigrad")
    return library


def _declare(library: ctypes.CDLL, function: Function) -> None:
    native = getattr(library, function.name)
    native.argtypes = [parameter.ctype for parameter in function.parameters]
    native.restype = _RESULTS[function.result]


def best_isa() -> str:
    """The best instruction set that this processor can run, whether or not there is a library for it."""
    # Asked of a library that every processor runs.
    library = _open(_first_there("portable", "probe"), "compiled core")
    _declare(library, HEADER.functions["lg_best_isa"])
    best: str = library.lg_best_isa().decode()
    return best


def _first_there(*isas: str) -> Path:
    """The first of these libraries that is there; the first of all where none is."""
    paths = [library_path(isa) for isa in isas]
    return next((path for path in paths if path.exists()), paths[0])


def available_isas() -> list[str]:
    """Instruction sets for which this installation has a library and which this processor can run."""
    return [isa for isa in ISAS[: ISAS.index(best_isa()) + 1] if library_path(isa).exists()]


def _made_for_others() -> CoreNotFoundError:
    built = [isa for isa in ISAS if library_path(isa).exists()]
    if not built:
        return _missing(library_path(best_isa()))
    return CoreNotFoundError(
        f"lumigrad was installed for processors that run {' or '.join(built)}, and this one does not: install it again "
        "on this machine, or for all machines with LUMIGRAD_ISAS=ALL in the environment"
    )


def _choose_isa() -> str:
    usable = available_isas()
    if not usable:
        raise _made_for_others()
    wanted = os.environ.get("LUMIGRAD_ISA", usable[-1])
    if wanted not in usable:
        raise CoreNotFoundError(f"LUMIGRAD_ISA={wanted!r}: this machine has {', '.join(usable)}")
    if "LUMIGRAD_ISA" not in os.environ and best_isa() not in usable:
        # An installation by pip has the libraries for the machine on which it was made.
        warnings.warn(
            f"lumigrad runs its {wanted} library, which is slower than the one for {best_isa()} would be: install it "
            "again on this machine, or for all machines with LUMIGRAD_ISAS=ALL in the environment",
            stacklevel=2,
        )
    return wanted


cpu_library = open_library(library_path(_choose_isa()), of_cpu=True)
