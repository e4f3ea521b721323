"""Benchmarks of implicit surfaces: marching cubes compared with scikit-image if installed, and redistancing compared
with its definition in PyTorch.

Usage:
    python -m benchmarks.implicit                       # a bumpy ball, by one thread and by two
    python -m benchmarks.implicit --only redistance     # one of the sections
    python -m benchmarks.implicit --quick               # small, to see that it runs

Sections:
    marching_cubes  of 256^3 values.
    redistance      four rounds of 128^3 values.

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

ROUNDS = 4

Tasks = dict[str, Callable[[], object]]


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    size = 32 if options.quick else options.size
    budget = Budget(repeats=1, seconds=0.1 if options.quick else 1.0)
    for name in options.only or SECTIONS:
        tasks, what = SECTIONS[name](size)
        print(f"{name}: {what}")
        report(tasks, options.threads, budget)


def report(tasks: Tasks, thread_counts: list[int], budget: Budget) -> None:
    for threads in thread_counts:
        torch.set_num_threads(threads)
        total, own = (measure(tasks, budget, clock) for clock in (time.process_time, time.thread_time))
        print(f"{threads} thread{'s' if threads > 1 else ''}: all together, the calling one")
        for name in tasks:
            print(f"  {name:34} {1e3 * total[name].median:9.2f} ms {1e3 * own[name].median:9.2f} ms")


def marching_cubes_tasks(size: int) -> tuple[Tasks, str]:
    values = bumpy_ball(size)
    verts, faces = lg.marching_cubes(values)
    tasks: Tasks = {
        "touch": values.sum,
        "lumigrad, forward": partial(lg.marching_cubes, values),
        "lumigrad, forward and backward": partial(both, values),
    }
    if importlib.util.find_spec("skimage"):
        from skimage.measure import marching_cubes

        tasks["scikit-image, forward"] = partial(marching_cubes, values.numpy(), 0.0)
    return tasks, f"{size}^3 values, {len(verts)} vertices, {len(faces)} triangles"


def redistance_tasks(size: int) -> tuple[Tasks, str]:
    size //= 2
    values = 2 * bumpy_ball(size)
    tasks: Tasks = {
        "touch": values.sum,
        "lumigrad": partial(lg.redistance, values, sweeps=ROUNDS),
        "the definition": partial(lg.reference.redistance, values, sweeps=ROUNDS),
    }
    return tasks, f"{ROUNDS} rounds of {size}^3 values"


def bumpy_ball(size: int) -> Tensor:
    axis = torch.linspace(-1, 1, size)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return (x * x + y * y + z * z).sqrt() - 0.7 - 0.1 * torch.sin(12 * x) * torch.sin(12 * y) * torch.sin(12 * z)


def both(values: Tensor) -> Tensor:
    leaf = values.detach().requires_grad_()
    return torch.autograd.grad(lg.marching_cubes(leaf)[0].sum(), leaf)[0]


SECTIONS = {"marching_cubes": marching_cubes_tasks, "redistance": redistance_tasks}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.implicit", description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=256, help="a side of the grid, twice that of distances")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="some of the sections")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--quick", action="store_true", help="small and short")
    return parser


if __name__ == "__main__":
    main()
