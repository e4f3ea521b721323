"""Whose threads run the CPU's kernels.

Those of torch's own OpenMP team, where it is GNU's and can be found: two teams would fight for the cores. Otherwise,
and with ``LUMIGRAD_THREADS=own`` in the environment when lumigrad is imported, the library starts its own.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import torch

from lumigrad._engine.loading import cpu_library

thread_count = torch.get_num_threads


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


_openmp = _torch_openmp()


def use_team() -> None:
    """Run kernels on torch's team, where there is one."""
    cpu_library.lg_use_team(_openmp and ctypes.cast(_openmp.GOMP_parallel, ctypes.c_void_p))


def use_own_pool() -> None:
    """Run kernels on threads of the library's own."""
    cpu_library.lg_use_team(None)


def thread_source() -> str:
    """Whose threads run the kernels."""
    return "own pool" if _openmp is None else "torch's OpenMP team"


use_team()
