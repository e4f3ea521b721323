"""Clocks: repeated measurements in turns, the machine's copying speed, and the C heap's behaviour."""

from __future__ import annotations

import ctypes
import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

COPY_BYTES = 64_000_000
_RUNS_IN_A_TURN = 4

# Parameters of glibc's mallopt, from its malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -3, -4, -8


@dataclass(frozen=True)
class Budget:
    """How long to measure: at least `repeats` rounds, and until the tasks have had `seconds` each on average.

    A task whose first call takes longer than `patience` seconds is not called again.
    """

    repeats: int = 5
    seconds: float = 1.0
    patience: float = 10.0
    max_rounds: int = 200


@dataclass(frozen=True)
class Timing:
    """Timing of one task in seconds: the median, the fastest and slowest run, and the number of runs."""

    median: float
    fastest: float
    slowest: float
    runs: int

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        return cls(statistics.median(seconds), min(seconds), max(seconds), len(seconds))


def measure(
    tasks: Mapping[str, Callable[[], object]], budget: Budget, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Timing]:
    """Times `tasks` in turns, round after round, so that a disturbance of the machine affects them all equally.

    In its turn a task runs several times in a row, like frames in a fitting loop; the first run, whose caches hold the
    other tasks' data, is not counted. Freeing a task's results is counted: returning memory to the system is part of
    its cost. clock: in seconds.
    """
    first = {name: _time(task, clock) for name, task in tasks.items()}
    slow = {name for name, seconds in first.items() if seconds > budget.patience}
    # The first call of a quick task was its warm-up; a slow task has no other.
    runs = {name: [seconds] if name in slow else [] for name, seconds in first.items()}
    quick = {name: task for name, task in tasks.items() if name not in slow}
    for task in quick.values():
        task()
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        deadline = time.perf_counter() + budget.seconds * len(quick)
        rounds = 0
        while quick and rounds < budget.max_rounds and (rounds < budget.repeats or time.perf_counter() < deadline):
            for name, task in quick.items():
                task()
                runs[name] += [_time(task, clock) for _ in range(_RUNS_IN_A_TURN)]
            rounds += 1
    finally:
        if collecting:
            gc.enable()
    return {name: Timing.of(seconds) for name, seconds in runs.items()}


def _time(task: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    task()
    return clock() - start


def copy_task() -> Callable[[], object]:
    """Copies 64 MB between two existing tensors: the yardstick for everything else."""
    # Not zeros: until written, those may all be one page of memory.
    source = torch.ones(COPY_BYTES // 4)
    target = torch.ones_like(source)
    return lambda: target.copy_(source)


def trim_heap() -> None:
    """Returns unused memory of the C heap to the system, if the heap is glibc's."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def recycle_heap() -> bool:
    """Makes the C heap keep freed memory for the rest of the process. Returns False if it is not glibc's.

    By default glibc maps every large block afresh and unmaps it when freed, so that every image-sized tensor costs a
    page fault for each of its 4 KiB pages. With kept memory, only the computation itself is timed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = {
        _M_MMAP_THRESHOLD: 1 << 30,
        _M_MMAP_MAX: 0,  # if the threshold above is rejected as too high
        _M_TRIM_THRESHOLD: (1 << 31) - 1,
        _M_TOP_PAD: 256 << 20,
        _M_ARENA_MAX: 1,  # arenas of other threads cannot hold blocks this large
    }
    accepted = {key: mallopt(key, value) == 1 for key, value in settings.items()}
    return accepted[_M_MMAP_MAX] and accepted[_M_TRIM_THRESHOLD]
