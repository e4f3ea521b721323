"""Benchmarks of implicit surfaces: marching cubes, beside scikit-image where it is installed.

Usage:
    python -m benchmarks.implicit                # a bumpy ball of 256^3 values, by one thread and by two
    python -m benchmarks.implicit --quick        # small, to see that it runs

Seconds are those of the processor: of all threads together, and of the calling thread, which waits for the others. If
neither the one is more than with one thread nor the other more than its share, threads share the work well; unlike the
clock, these tell it on a machine with other users too. "touch" reads every value once, the least that memory takes.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

import lumigrad as lg
from benchmarks.timing import Budget, measure


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    size = 32 if options.quick else options.size
    budget = Budget(repeats=1, seconds=0.1 if options.quick else 1.0)
    values = bumpy_ball(size)
    verts, faces = lg.marching_cubes(values)
    print(f"{size}^3 values, {len(verts)} vertices, {len(faces)} triangles")
    for threads in options.threads:
        torch.set_num_threads(threads)
        tasks = tasks_of(values)
        total, own = (measure(tasks, budget, clock) for clock in (time.process_time, time.thread_time))
        print(f"{threads} thread{'s' if threads > 1 else ''}: all together, the calling one")
        for name in tasks:
            print(f"  {name:34} {1e3 * total[name].median:9.2f} ms {1e3 * own[name].median:9.2f} ms")


def tasks_of(values: Tensor) -> dict[str, Callable[[], object]]:
    tasks: dict[str, Callable[[], object]] = {
        "touch": values.sum,
        "lumigrad, forward": partial(lg.marching_cubes, values),
        "lumigrad, forward and backward": partial(both, values),
    }
    if importlib.util.find_spec("skimage"):
        from skimage.measure import marching_cubes

        tasks["scikit-image, forward"] = partial(marching_cubes, values.numpy(), 0.0)
    return tasks


def bumpy_ball(size: int) -> Tensor:
    axis = torch.linspace(-1, 1, size)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return (x * x + y * y + z * z).sqrt() - 0.7 - 0.1 * torch.sin(12 * x) * torch.sin(12 * y) * torch.sin(12 * z)


def both(values: Tensor) -> Tensor:
    leaf = values.detach().requires_grad_()
    return torch.autograd.grad(lg.marching_cubes(leaf)[0].sum(), leaf)[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.implicit", description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=256, help="a side of the grid")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--quick", action="store_true", help="small and short")
    return parser


if __name__ == "__main__":
    main()
