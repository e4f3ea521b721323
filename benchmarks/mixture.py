"""Benchmarks of images with several kinds of shapes, compared with images of their parts.

Usage:
    python -m benchmarks.mixture                      # all scenes, 256^2 pixels
    python -m benchmarks.mixture --only fog --size 512
    python -m benchmarks.mixture --quick              # small, to see that it runs

Scenes:
    fog         a mesh of 82k triangles within a grid of 64^3 voxels.
    around      the mesh among 20,000 Gaussians, some before it and some behind it.
    smoke       the Gaussians within the grid: each of them cuts the rays through it.
    glass       a mesh of two transparent materials within the grid.
    everything  the mesh, the Gaussians, the grid, and 200 spheres.

Seconds are those of the processor, of all threads together, so that other programs disturb them little. A mixture and
its parts run in turns. "ratio" is that of the mixture to the sum of its parts, each drawn by its own renderer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.timing import Budget, measure
from lumigrad.render import render, render_gaussians, render_spheres, render_volume
from lumigrad.scene import (
    GaussianCloud,
    Mesh,
    PBRMaterial,
    PerspectiveCamera,
    PointCloud,
    Scene,
    SphereCloud,
    VoxelGrid,
    constant_harmonics,
    icosphere,
)

Part = Callable[[], Any]


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    size = 48 if options.quick else options.size
    budget = Budget(repeats=1, seconds=0.05 if options.quick else options.seconds, max_rounds=10)
    torch.set_num_threads(options.threads)
    camera = PerspectiveCamera.orbit(azimuth=20.0, elevation=15.0, distance=3.0, fov_y=45.0, size=(size, size))
    print(f"{size}^2 pixels, {options.threads} thread{'s' if options.threads > 1 else ''}, ms of the processor")
    for name in options.only or SCENES:
        compare(name, SCENES[name](), camera, budget)


def compare(name: str, shapes: Sequence[Any], camera: PerspectiveCamera, budget: Budget) -> None:
    leaves = [leaf for shape in shapes if (leaf := _leaf(shape)) is not None]
    parts = [partial(_alone, shape, camera) for shape in shapes]
    whole = partial(_together, shapes, camera)
    for way, run in (("forward", _forward), ("forward and backward", partial(_both, leaves))):
        tasks = {"mixture": partial(run, whole)}
        tasks |= {_name(shape): partial(run, part) for shape, part in zip(shapes, parts, strict=True)}
        found = {task: 1e3 * timing.median for task, timing in measure(tasks, budget, time.process_time).items()}
        total = sum(found.values()) - found["mixture"]
        print(f"{name}, {way}: mixture {found['mixture']:.0f}, parts {total:.0f}, ratio {found['mixture'] / total:.2f}")
        print("   " + ", ".join(f"{part} {spent:.0f}" for part, spent in found.items() if part != "mixture"))


def _name(shape: Any) -> str:
    return type(shape).__name__


def _leaf(shape: Any) -> Tensor | None:
    """The tensors of a shape that receive gradients."""
    found: Tensor | None = shape.values if isinstance(shape, VoxelGrid) else None
    found = shape.means if isinstance(shape, GaussianCloud) else found
    found = shape.positions if isinstance(shape, (Mesh, SphereCloud)) else found
    return found.requires_grad_() if found is not None else None


def _together(shapes: Sequence[Any], camera: PerspectiveCamera) -> Tensor:
    options = {"shading": "phong"} if any(isinstance(shape, Mesh) for shape in shapes) else {}
    return render(Scene(shapes), camera, **options).image


def _alone(shape: Any, camera: PerspectiveCamera) -> Tensor:
    if isinstance(shape, Mesh):
        return render(shape, camera, shading="phong").image
    if isinstance(shape, GaussianCloud):
        return render_gaussians(shape, camera).image
    if isinstance(shape, VoxelGrid):
        return render_volume(shape, camera, buffers=True).image
    return render_spheres(PointCloud(shape.positions, shape.colors, radii=shape.radii), camera).image


def _forward(part: Part) -> None:
    with torch.no_grad():
        part()


def _both(leaves: Sequence[Tensor], part: Part) -> None:
    part().square().mean().backward()
    for leaf in leaves:
        leaf.grad = None


# ---- Scenes --------------------------------------------------------------------------------------------------------


def mesh(level: int = 6) -> Mesh:
    ball = icosphere(level)
    return replace(ball, positions=0.7 * ball.positions)


def glass() -> Mesh:
    green = PBRMaterial(base_color=(0.4, 0.8, 0.5, 0.4), alpha_mode="blend", double_sided=True)
    return replace(mesh(), materials=(green,))


def grid(voxels: int = 64) -> VoxelGrid:
    def smoke(points: Tensor) -> Tensor:
        density = 2 + 2 * torch.sin(6 * points).prod(-1, keepdim=True)
        return torch.cat((density, 0.5 + 0.5 * torch.sin(3 * points)), -1)

    return VoxelGrid.from_function(smoke, (voxels, voxels, voxels), [[-1.0] * 3, [1.0] * 3])


def gaussians(count: int = 20_000) -> GaussianCloud:
    random = torch.Generator().manual_seed(0)
    means = 2 * torch.rand(count, 3, generator=random) - 1
    quats, scales = torch.randn(count, 4, generator=random), 0.004 + 0.02 * torch.rand(count, 3, generator=random)
    opacities, colors = torch.rand(count, generator=random), torch.rand(count, 3, generator=random)
    return GaussianCloud(means, quats, scales, opacities, constant_harmonics(colors))


def spheres(count: int = 200) -> SphereCloud:
    random = torch.Generator().manual_seed(1)
    positions = 2 * torch.rand(count, 3, generator=random) - 1
    return SphereCloud(positions, torch.full((count,), 0.06), torch.rand(count, 3, generator=random))


SCENES: dict[str, Callable[[], list[Any]]] = {
    "fog": lambda: [mesh(), grid()],
    "around": lambda: [mesh(), gaussians()],
    "smoke": lambda: [gaussians(), grid()],
    "glass": lambda: [glass(), grid()],
    "everything": lambda: [mesh(), gaussians(), grid(), spheres()],
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), help="scenes, separated by commas")
    parser.add_argument("--size", type=int, default=256, help="pixels a side (256)")
    parser.add_argument("--threads", type=int, default=1, help="threads (1)")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each task, at least (1)")
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    return parser


if __name__ == "__main__":
    main()
