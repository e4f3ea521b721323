"""The choice of threads that run the CPU's kernels.

These are the threads of torch's own OpenMP team, if it is GNU's and can be found: two teams would compete for the
cores. Otherwise, and with ``LUMIGRAD_THREADS=own`` in the environment when lumigrad is imported, the library starts its
own.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import torch

from lumigrad._engine.loading import cpu_library

thread_count = torch.get_num_threads

# Users set these to tell GNU's OpenMP runtime how its threads wait.
_wait_variables = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def _torch_openmp() -> ctypes.CDLL | None:
    """The GNU OpenMP runtime that torch has loaded, or None."""
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
    """Run kernels on torch's team, if there is one."""
    cpu_library.lg_use_team(_openmp and ctypes.cast(_openmp.GOMP_parallel, ctypes.c_void_p))


def adapt_waiting(adapt: bool = True) -> None:
    """While other processes compete for the cores, make idle threads of torch's team sleep instead of spinning.

    Changes nothing if the user has chosen a wait policy.
    """
    chosen = any(name in os.environ for name in _wait_variables)
    processors = 0 if _openmp is None or chosen or not adapt else _openmp.omp_get_num_procs()
    cpu_library.lg_adapt_waiting(processors)


def use_own_pool() -> None:
    """Run kernels on the library's own threads."""
    cpu_library.lg_use_team(None)


def thread_source() -> str:
    """Which threads run the kernels."""
    return "own pool" if _openmp is None else "torch's OpenMP team"


def wait_policy() -> str:
    """How idle threads wait."""
    if _openmp is None:
        return "spin for 60 us, then sleep"
    chosen = [f"{name}={os.environ[name]}" for name in _wait_variables if name in os.environ]
    if chosen:
        return f"as {', '.join(chosen)} says"
    return "spin; sleep while other processes compete for the cores"


def contended() -> bool:
    """Whether other processes have been found to compete for the cores, so that idle threads sleep at once."""
    return bool(cpu_library.lg_is_contended())


_PAUSE_HARD = 2  # omp_pause_hard
_team_ended = False


def _before_fork() -> None:
    """End the team first: a child has none, but its OpenMP runtime would believe that it still has the parent's."""
    global _team_ended
    try:
        assert _openmp is not None
        _team_ended = _openmp.omp_pause_resource_all(_PAUSE_HARD) == 0
    except AttributeError:  # a runtime older than OpenMP 5
        _team_ended = False


def _after_fork_in_child() -> None:
    """If the team could not be ended, work that torch gives to it would never finish, so use one thread."""
    if _team_ended:
        use_team()
    else:
        use_own_pool()
        torch.set_num_threads(1)


use_team()
adapt_waiting()
if _openmp is not None:
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
