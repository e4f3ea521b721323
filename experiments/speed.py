"""Frame times for the speed experiments: one frame is rasterize, interpolate, antialias and all gradients."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks import gpu, meshes, peers
from benchmarks.timing import Budget, measure

FULL = Budget(repeats=5, seconds=2.0, patience=30.0)
QUICK = Budget(repeats=1, seconds=0.1, patience=2.0, max_rounds=2)


def devices() -> list[str]:
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def describe(device: str) -> str:
    """The facts on which the times depend besides the code."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def libraries(device: str) -> list[str]:
    """lumigrad, and those of its peers on `device` that can be imported."""
    return gpu.importable() if device == "cuda" else peers.importable(list(peers.RENDERERS))[0]


def frames(work: meshes.Workload, device: str, names: list[str], budget: Budget) -> dict[str, dict[str, float]]:
    """Seconds per frame by library, measured in turns: medians, and the fastest runs, which are the least disturbed."""
    timings = measure({name: _frame(name, work, device) for name in names}, budget, _clock(device))
    return {
        "seconds": {name: timing.median for name, timing in timings.items()},
        "fastest": {name: timing.fastest for name, timing in timings.items()},
    }


def _frame(name: str, work: meshes.Workload, device: str) -> Callable[[], Any]:
    if device == "cpu":
        return peers.RENDERERS[name](work).frame
    mesh = work.mesh
    clip, faces, colors, gradient = (t.to(device) for t in (work.clip, mesh.faces, mesh.colors, work.gradient))
    frame: Callable[[], Any] = gpu.LIBRARIES[name](gpu.Work(clip, faces, colors, gradient, work.size)).frame
    return frame


def _clock(device: str) -> Callable[[], float]:
    """Reads the time once the device has finished all its work."""
    if device == "cpu":
        return time.perf_counter

    def read() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return read
