"""Benchmarks of fields: marching through a grid compared with torch's grid_sample at the same samples, compositing of
packed samples with torch's scatter operations, and hash encoding with torch's indexing.

Usage:
    python -m benchmarks.fields                     # all sections, some minutes
    python -m benchmarks.fields --only march,hash   # some of them
    python -m benchmarks.fields --quick             # small, to see that it runs

Sections:
    march      512^2 rays, 128 samples each, through 128^3 voxels of 1 + 3 values. All rays cross the whole box, so that
               both libraries take the same samples, and none of them is empty.
    channels   the same with other features, spherical harmonics among them, and 256^2 rays.
    options    the same of lumigrad alone, with other activations, segments that are cells, and gradients to rays.
    occupancy  the same with a ball in an empty box, by the share of cells that are occupied.
    composite  10^7 samples of 10^5 rays.
    hash       10^6 points in 16 levels of 2^19 rows of 2 values.

Seconds are those of the processor, of all threads together, so that other programs disturb them little. What is
compared runs in turns. "touch" reads every value of the grid once, the least that memory takes.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor
from torch.nn import functional

import lumigrad as lg
from benchmarks.timing import Budget, measure

SAMPLES = 128
BOX = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])

Tasks = dict[str, Callable[[], object]]


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    quick = Budget(repeats=1, seconds=0.1, patience=0.0)
    budget = quick if options.quick else Budget(repeats=1, seconds=1.0, patience=2.0)
    if options.quick:
        options.rays, options.voxels, options.points, options.samples = 64, 32, 20_000, 20_000
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name in options.only or SECTIONS:
            print(f"\n{name}, {threads} thread{'s' if threads > 1 else ''}")
            SECTIONS[name](options, budget)


def compare_march(options: argparse.Namespace, budget: Budget) -> None:
    given = scene(options.rays, options.voxels)
    tasks: Tasks = {"touch": partial(touch, *given)}
    for library, march in (("torch", by_torch), ("lumigrad", by_lumigrad)):
        tasks[f"{library}, forward"] = partial(march, *given)
        tasks[f"{library}, forward and backward"] = partial(both, march, *given)
    report(tasks, budget, options.rays**2 * SAMPLES, "samples")


def compare_channels(options: argparse.Namespace, budget: Budget) -> None:
    """1 + C values, and spherical-harmonic coefficients of three colours."""
    rays = options.rays // 2
    payloads = {"1 + 1": 1, "1 + 3": 3, "1 + 8": 8} | {f"degree {d}": 3 * (d + 1) ** 2 for d in (1, 2, 3)}
    for name, payload in payloads.items():
        given = scene(rays, options.voxels, payload)
        tasks: Tasks = {}
        for library, march in (("torch", by_torch), ("lumigrad", by_lumigrad)):
            tasks[f"{library}, {name}, forward"] = partial(march, *given)
            tasks[f"{library}, {name}, forward and backward"] = partial(both, march, *given)
        report(tasks, budget, rays**2 * SAMPLES, "samples")


def time_options(options: argparse.Namespace, budget: Budget) -> None:
    rays = options.rays // 2
    grid, origins, directions, step = scene(rays, options.voxels)
    tasks: Tasks = {}
    for activation in ("relu", "softplus", "exp"):
        tasks[f"{activation}, forward"] = partial(by_lumigrad, grid, origins, directions, step, activation)
        tasks[f"{activation}, forward and backward"] = partial(
            both, by_lumigrad, grid, origins, directions, step, activation
        )
    tasks["cells, forward"] = partial(by_lumigrad, grid, origins, directions, None)
    tasks["cells, forward and backward"] = partial(both, by_lumigrad, grid, origins, directions, None)
    tasks["with gradients to rays"] = partial(to_rays, grid, origins, directions, step)
    report(tasks, budget, rays**2 * SAMPLES, "samples")


def time_occupancy(options: argparse.Namespace, budget: Budget) -> None:
    """A ball of fog that fills an increasing share of the box."""
    grid, origins, directions, step = scene(options.rays // 2, options.voxels)
    axis = (torch.arange(options.voxels) + 0.5) / options.voxels * 2 - 1
    distance = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).norm(dim=-1)
    tasks: Tasks = {"everything, no occupancy": partial(by_lumigrad, grid, origins, directions, step)}
    for radius in (0.1, 0.25, 0.5, 0.75, 1.0, 2.0):
        ball = grid.clone()
        ball[..., 0] *= distance < radius
        occupancy = lg.occupancy(ball[..., 0])
        share = (distance < radius).float().mean()
        march = partial(lg.march, ball, origins, directions, BOX, step, occupancy)
        tasks[f"{100 * share:5.1f} % of the box"] = march
    report(tasks, budget, origins.shape[0] ** 2 * SAMPLES, "samples")


def compare_composite(options: argparse.Namespace, budget: Budget) -> None:
    generator = torch.Generator().manual_seed(0)
    count, rays = options.samples, max(options.samples // 100, 1)
    offsets = torch.linspace(0, count, rays + 1).long()
    t = torch.arange(count) * 0.01
    samples = lg.RaySamples(t, t + 0.01, offsets)
    density, colors = torch.rand(count, generator=generator), torch.rand(count, 3, generator=generator)
    tasks: Tasks = {}
    for library, blend in (("torch", composite_by_torch), ("lumigrad", composite_by_lumigrad)):
        tasks[f"{library}, forward"] = partial(blend, density, colors, samples)
        tasks[f"{library}, forward and backward"] = partial(both, blend, density, colors, samples)
    report(tasks, budget, count, "samples")


def compare_hash(options: argparse.Namespace, budget: Budget) -> None:
    """Forward alone, then forward and backward to the tables, at random points."""
    generator = torch.Generator().manual_seed(0)
    resolutions = [int(16 * 128 ** (level / 15)) for level in range(16)]
    tables = torch.rand(16, 2**19, 2, generator=generator)
    points = torch.rand(options.points, 3, generator=generator)
    tasks: Tasks = {}
    for library, encode in (("torch", lg.reference.hash_encode), ("lumigrad", lg.hash_encode)):
        tasks[f"{library}, forward"] = partial(encode, points, tables, resolutions)
        tasks[f"{library}, forward and backward"] = partial(both, by_tables, tables, encode, points, resolutions)
    report(tasks, budget, options.points, "points")


def report(tasks: Tasks, budget: Budget, count: int, unit: str) -> None:
    seconds = {name: timing.fastest for name, timing in measure(tasks, budget, time.process_time).items()}
    for name, value in seconds.items():
        other = seconds.get(name.replace("lumigrad", "torch"), math.nan)
        beside = f"  {other / value:6.1f} x torch" if name.startswith("lumigrad") else ""
        print(f"  {name:46} {1e3 * value:9.1f} ms  {count / value / 1e6:8.2f} M {unit}/s{beside}")


def scene(rays: int, voxels: int, payload: int = 3) -> tuple[Tensor, Tensor, Tensor, float]:
    """A grid of fog, and parallel rays that cross it obliquely from face to face."""
    generator = torch.Generator().manual_seed(0)
    grid = torch.rand(voxels, voxels, voxels, 1 + payload, generator=generator)
    place = torch.linspace(-0.7, 0.7, rays)
    y, x = torch.meshgrid(-place, place, indexing="ij")
    directions = torch.tensor([0.1, -0.13, -1.0]).expand(rays, rays, 3).contiguous()
    origins = torch.stack((x, y, torch.zeros_like(x)), -1) - 2 * directions
    return grid, origins, directions, 2 / SAMPLES * (1 + 1e-6)


@lru_cache
def _box(device: torch.device) -> Tensor:
    """Copied once: a CUDA graph cannot contain a copy from the host."""
    return BOX.to(device)


def by_lumigrad(
    grid: Tensor, origins: Tensor, directions: Tensor, step: float | None, activation: str = "relu"
) -> Tensor:
    return lg.march(grid, origins, directions, _box(grid.device), step, activation=activation).features


def by_torch(grid: Tensor, origins: Tensor, directions: Tensor, step: float, rows: int = 64) -> Tensor:
    """The same samples, a few rows of the image at a time."""
    volume = grid.permute(3, 0, 1, 2)[None]
    length = step * directions.norm(dim=-1)[..., None]
    t = 1 + (torch.arange(SAMPLES) + 0.5) * step
    images = []
    for o, d, part in zip(origins.split(rows), directions.split(rows), length.split(rows)):
        points = o[..., None, :] + t[:, None] * d[..., None, :]
        values = functional.grid_sample(volume, points[None], align_corners=False, padding_mode="border")[0]
        alpha = 1 - torch.exp(-values[0].relu() * part)
        passed = functional.pad(torch.cumprod(1 - alpha, -1)[..., :-1], (1, 0), value=1.0)
        images.append(((alpha * passed)[None] * values[1:]).sum(-1).permute(1, 2, 0))
    return torch.cat(images)


def composite_by_lumigrad(density: Tensor, colors: Tensor, samples: lg.RaySamples) -> Tensor:
    return lg.composite(samples, density, colors).features


def composite_by_torch(density: Tensor, colors: Tensor, samples: lg.RaySamples) -> Tensor:
    """A running sum of optical depths minus its value at the start of the ray, then a scatter."""
    tau = density * (samples.t_end - samples.t_start)
    before = torch.cumsum(tau.double(), 0) - tau
    counts = samples.offsets.diff()
    reached = torch.exp(-(before - before[samples.offsets[:-1]].repeat_interleave(counts))).to(tau.dtype)
    weights = reached * -torch.expm1(-tau)
    ray = torch.repeat_interleave(torch.arange(len(counts)), counts)
    return torch.zeros(len(counts), colors.shape[1]).index_add(0, ray, weights[:, None] * colors)


def by_tables(tables: Tensor, encode: Callable[..., Tensor], points: Tensor, resolutions: Sequence[int]) -> Tensor:
    return encode(points, tables, resolutions)


def both(function: Callable[..., Tensor], first: Tensor, *others: object) -> Tensor:
    """Forward, then backward to the first argument."""
    leaf = first.detach().requires_grad_()
    return torch.autograd.grad(function(leaf, *others).sum(), leaf)[0]


def to_rays(grid: Tensor, origins: Tensor, directions: Tensor, step: float) -> tuple[Tensor, ...]:
    """Forward, then backward to the grid and the rays."""
    leaves = [each.detach().requires_grad_() for each in (grid, origins, directions)]
    return torch.autograd.grad(by_lumigrad(*leaves, step).sum(), leaves)


def touch(grid: Tensor, origins: Tensor, directions: Tensor, step: float) -> Tensor:
    """Reads the grid once."""
    return grid.sum()


SECTIONS = {
    "march": compare_march,
    "channels": compare_channels,
    "options": time_options,
    "occupancy": time_occupancy,
    "composite": compare_composite,
    "hash": compare_hash,
}


def _sections(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in SECTIONS:
            raise argparse.ArgumentTypeError(f"expected some of {','.join(SECTIONS)}, got {name!r}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fields", description=__doc__.split("\n")[0])
    parser.add_argument("--only", type=_sections, help="sections, separated by commas")
    parser.add_argument("--rays", type=int, default=512, help="a side of the image")
    parser.add_argument("--voxels", type=int, default=128, help="a side of the grid")
    parser.add_argument("--points", type=int, default=1_000_000, help="points of the hash encoding")
    parser.add_argument("--samples", type=int, default=10_000_000, help="samples that are composited")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--quick", action="store_true", help="small and short")
    return parser


if __name__ == "__main__":
    main()
