"""Benchmarks of marching through a grid, beside torch's grid_sample on the same samples, and of hash encoding, beside
the same in torch's indexing.

Usage:
    python -m benchmarks.fields            # 512^2 rays, 128 samples each, through 128^3 voxels of 1 + 3 values;
                                           # 10^6 points in 16 levels of 2^19 rows of 2 values
    python -m benchmarks.fields --quick    # small, to see that it runs

All rays cross the whole box, so that both take the same samples, and none of them is empty. Seconds are those of the
processor, of all threads together. "touch" reads every value of the grid once, the least that memory takes.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

import lumigrad as lg
from benchmarks.timing import Budget, measure

SAMPLES = 128
BOX = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    rays, voxels = (64, 32) if options.quick else (options.rays, options.voxels)
    budget = (
        Budget(repeats=1, seconds=0.1, patience=0.0) if options.quick else Budget(repeats=1, seconds=1.0, patience=2.0)
    )
    grid, origins, directions, step = scene(rays, voxels)
    for threads in options.threads:
        torch.set_num_threads(threads)
        tasks = {
            "touch": partial(touch, grid, origins, directions, step),
            "torch, forward": partial(by_torch, grid, origins, directions, step),
            "torch, forward and backward": partial(both, by_torch, grid, origins, directions, step),
            "lumigrad, forward": partial(by_lumigrad, grid, origins, directions, step),
            "lumigrad, forward and backward": partial(both, by_lumigrad, grid, origins, directions, step),
        }
        seconds = {name: timing.fastest for name, timing in measure(tasks, budget, time.process_time).items()}
        print(f"{threads} threads, {rays}^2 rays, {voxels}^3 voxels")
        for name, value in seconds.items():
            samples = rays * rays * SAMPLES / value / 1e6
            other = seconds.get(name.replace("lumigrad", "torch"), math.nan)
            print(f"  {name:32} {1e3 * value:9.1f} ms  {samples:7.1f} M samples/s  {other / value:6.1f} x torch")
        compare_hash_encoding(20_000 if options.quick else options.points, threads, budget)


def compare_hash_encoding(count: int, threads: int, budget: Budget) -> None:
    """Forward, and forward and backward to the tables, of random points."""
    generator = torch.Generator().manual_seed(0)
    resolutions = [int(16 * 128 ** (level / 15)) for level in range(16)]
    tables = torch.rand(16, 2**19, 2, generator=generator)
    points = torch.rand(count, 3, generator=generator)
    tasks = {}
    for library, encode in (("torch", lg.reference.hash_encode), ("lumigrad", lg.hash_encode)):
        tasks[f"{library}, forward"] = partial(encode, points, tables, resolutions)
        tasks[f"{library}, forward and backward"] = partial(both, by_tables, tables, encode, points, resolutions)
    seconds = {name: timing.fastest for name, timing in measure(tasks, budget, time.process_time).items()}
    print(f"{threads} threads, hash encoding of {count} points")
    for name, value in seconds.items():
        other = seconds[name.replace("lumigrad", "torch")]
        print(f"  {name:32} {1e3 * value:9.1f} ms  {count / value / 1e6:7.2f} M points/s  {other / value:6.1f} x torch")


def by_tables(tables: Tensor, encode: Callable[..., Tensor], points: Tensor, resolutions: Sequence[int]) -> Tensor:
    return encode(points, tables, resolutions)


def scene(rays: int, voxels: int) -> tuple[Tensor, Tensor, Tensor, float]:
    """A grid of fog, and parallel rays askew through it, from face to face."""
    generator = torch.Generator().manual_seed(0)
    grid = torch.rand(voxels, voxels, voxels, 4, generator=generator)
    place = torch.linspace(-0.7, 0.7, rays)
    y, x = torch.meshgrid(-place, place, indexing="ij")
    directions = torch.tensor([0.1, -0.13, -1.0]).expand(rays, rays, 3).contiguous()
    origins = torch.stack((x, y, torch.zeros_like(x)), -1) - 2 * directions
    return grid, origins, directions, 2 / SAMPLES * (1 + 1e-6)


def by_lumigrad(grid: Tensor, origins: Tensor, directions: Tensor, step: float) -> Tensor:
    return lg.march(grid, origins, directions, BOX, step).features


def by_torch(grid: Tensor, origins: Tensor, directions: Tensor, step: float, rows: int = 64) -> Tensor:
    """The same samples, some rows of the image at a time."""
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


def both(march: Callable[..., Tensor], grid: Tensor, *rays: object) -> Tensor:
    leaf = grid.detach().requires_grad_()
    return torch.autograd.grad(march(leaf, *rays).sum(), leaf)[0]


def touch(grid: Tensor, origins: Tensor, directions: Tensor, step: float) -> Tensor:
    """Reads the grid once."""
    return grid.sum()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fields", description=__doc__.split("\n")[0])
    parser.add_argument("--rays", type=int, default=512, help="a side of the image")
    parser.add_argument("--voxels", type=int, default=128, help="a side of the grid")
    parser.add_argument("--points", type=int, default=1_000_000, help="points of the hash encoding")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--quick", action="store_true", help="small and short")
    return parser


if __name__ == "__main__":
    main()
