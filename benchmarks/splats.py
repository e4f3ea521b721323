"""Benchmarks of spheres and Gaussians: tables on the screen and a JSON file.

Usage:
    python -m benchmarks.splats                     # everything
    python -m benchmarks.splats --only spheres      # some sections
    python -m benchmarks.splats --quick             # small and short, to see that it runs
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lumigrad as lg
from benchmarks.primitives import machine
from benchmarks.report import Column, Table, milliseconds, ratio
from benchmarks.timing import Budget, measure

CLOUD = Path("../shared/data/garden_points.npz")
# Pulsar's forward and backward on a CPU in milliseconds, for the cases measured (two cores; its gradients reach the
# five nearest spheres of a pixel).
PULSAR = {(1_000, 256): (44.8, 14.9), (10_000, 512): (1258, 66.9), (100_000, 512): (6489, 76.8),
          (100_000, 1000): (18654, 234)}  # fmt: skip
COLUMNS = [
    Column("primitives", "primitives"),
    Column("side", "image"),
    Column("radii", "radii"),
    Column("forward", "forward ms", milliseconds),
    Column("backward", "backward ms", milliseconds),
    Column("ratio", "backward / forward", ratio),
    Column("pulsar", "Pulsar forward / ours", ratio),
]
Passes = tuple[Callable[[], object], Callable[[], object]]


def sphere_passes(count: int, side: int, max_radius: float, spread: float = 1.0, device: str = "cpu") -> Passes:
    """Forward without a graph, and backward alone: Pulsar's benchmark, with all gradients.

    spread: how many times wider than the view the slab is, along both axes.
    """
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    xy, z = spread * (10 * uniform(count, 2) - 5), -25 - 10 * uniform(count, 1)
    pixels = torch.full((1,), 5.0 * side / 2)  # focal length 5, sensor 2
    inputs = {
        "positions": torch.cat((xy, z), 1), "radii": max_radius * uniform(count) + 1e-3, "features": uniform(count, 3),
        "matrix": torch.eye(4)[None], "fx": pixels, "fy": pixels.clone(), "cx": torch.full((1,), side / 2),
        "cy": torch.full((1,), side / 2), "opacities": torch.ones(count), "background": torch.zeros(3),
        "gamma": torch.tensor(0.1),
    }  # fmt: skip
    return passes(lambda leaves: draw(lg.spheres, leaves, (side, side), max_depth=45.0).image, inputs, device)


def gaussian_passes(cloud: Path, quick: bool, device: str = "cpu") -> tuple[Passes, int, tuple[int, int]]:
    """A point cloud as Gaussians, seen by its first camera at about one megapixel; projection included."""
    points, view, intrinsics, size = _cloud(cloud, quick)
    inputs = points | {
        "matrix": torch.diag(torch.tensor([1.0, -1, -1, 1])) @ view,
        "fx": intrinsics[:, 0, 0], "fy": intrinsics[:, 1, 1], "cx": intrinsics[:, 0, 2], "cy": intrinsics[:, 1, 2],
    }  # fmt: skip
    count = len(points["means"])
    return passes(lambda leaves: draw(lg.gaussians, leaves, size).image, inputs, device), count, size


def gsplat_passes(cloud: Path, quick: bool, device: str = "cuda") -> tuple[Passes, int, tuple[int, int]]:
    """The same scene in gsplat, with the gradients it supports: those to the Gaussians and the camera's pose."""
    from gsplat import rasterization

    points, view, intrinsics, size = _cloud(cloud, quick)
    intrinsics = intrinsics.to(device)
    points |= {"colors": points.pop("features"), "viewmats": view}

    def render(leaves: dict[str, torch.Tensor]) -> torch.Tensor:
        return rasterization(**leaves, Ks=intrinsics, width=size[1], height=size[0], packed=False)[0]

    return passes(render, points, device), len(points["means"]), size


def _cloud(path: Path, quick: bool) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor, tuple[int, int]]:
    """Gaussians as wide as the distance to the nearest neighbours; the camera's matrix (x right, y down, z ahead) and
    intrinsics [1, 3, 3], and the image's size."""
    from scipy.spatial import cKDTree

    data = np.load(path)
    means = data["means3d"]
    near = cKDTree(means).query(means, k=4)[0][:, 1:].mean(1).clip(1e-4)
    scale = (0.02 if quick else 1.0) * 1e6 / (int(data["height"]) * int(data["width"]))
    height, width = (round(int(data[side]) * scale**0.5) for side in ("height", "width"))
    intrinsics = torch.tensor(data["Ks"][:1])
    intrinsics[:, :2] *= scale**0.5
    points = {
        "means": torch.tensor(means), "quats": torch.tensor([1.0, 0, 0, 0]).repeat(len(means), 1),
        "scales": torch.tensor(near, dtype=torch.float32)[:, None].repeat(1, 3),
        "opacities": torch.full((len(means),), 0.7), "features": torch.tensor(data["colors"]) / 255,
    }  # fmt: skip
    return points, torch.tensor(data["viewmats"][:1]), intrinsics, (height, width)


def disc_passes(kind: str, count: int, side: int, device: str = "cpu") -> Passes:
    """Discs on a unit sphere, as wide as the distance between neighbours: all outputs, all gradients."""
    normals = torch.nn.functional.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    x, y, z = normals.unbind(1)
    extent = (4 * np.pi / count) ** 0.5
    inputs = {
        "features": 0.5 + 0.5 * normals, "matrix": torch.eye(4)[None], "fx": torch.full((1,), 1.2 * side),
        "fy": torch.full((1,), 1.2 * side), "cx": torch.full((1,), side / 2), "cy": torch.full((1,), side / 2),
    }  # fmt: skip
    centres = normals - torch.tensor([0.0, 0, 3])
    if kind == "surfels":
        inputs.update(means=centres, quats=torch.stack((1 + z, -y, x, 0 * x), 1),
                      scales=torch.full((count, 2), 0.7 * extent), opacities=torch.full((count,), 0.8))  # fmt: skip
    else:
        inputs.update(positions=centres, normals=normals, radii=torch.full((count,), 0.5 * extent))

    def render(leaves: dict[str, torch.Tensor]) -> torch.Tensor:
        if kind != "surfels":
            out = draw(lg.surface_splats, leaves, (side, side), visibility_gradient=kind == "visibility")
            return torch.cat((out.image, out.depth[..., None], out.alpha[..., None]), -1)
        surfels = draw(lg.surfels, leaves, (side, side))
        single = torch.stack((surfels.alpha, surfels.depth, surfels.distortion, surfels.median_depth), -1)
        return torch.cat((surfels.image, surfels.normals, single), -1)

    return passes(render, inputs, device)


def draw(op: Callable, leaves: dict[str, torch.Tensor], size: tuple[int, int], **options: Any) -> Any:
    """Calls an op, with the tensors of its view among the leaves."""
    tensors = dict(leaves)
    view = lg.View(*(tensors.pop(name) for name in ("matrix", "fx", "fy", "cx", "cy")), size)
    return op(**tensors, view=view, **options)


def passes(
    render: Callable[[dict[str, torch.Tensor]], torch.Tensor], inputs: dict[str, torch.Tensor], device: str
) -> Passes:
    inputs = {name: value.to(device) for name, value in inputs.items()}
    leaves = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    image = render(leaves)
    gradient = torch.randn(image.shape, generator=torch.Generator().manual_seed(1)).to(device)

    def forward() -> object:
        return render(inputs)

    def backward() -> object:
        return torch.autograd.grad(image, list(leaves.values()), gradient, retain_graph=True)

    return forward, backward


def measured(task: Passes, budget: Budget, **row: Any) -> dict[str, Any]:
    times = measure({"forward": task[0], "backward": task[1]}, budget)
    return {**row, **times, "ratio": times["backward"].median / times["forward"].median}


def spheres(options: argparse.Namespace) -> Table:
    table = Table("Spheres uniform in a slab, gamma 0.1: forward, and backward with every gradient (medians)", COLUMNS)
    scenes = [(1_000, 256, 1.0), (10_000, 512, 1.0), (100_000, 512, 0.1), (100_000, 1000, 0.1), (1_000_000, 1024, 0.1)]
    for count, side, max_radius in scenes[: 2 if options.quick else None]:
        row = measured(sphere_passes(count, side, max_radius), options.budget, primitives=count, side=f"{side}^2",
                       radii=f"U(0, {max_radius:g})")  # fmt: skip
        known = PULSAR.get((count, side))
        if known:
            row["pulsar"] = known[0] / 1e3 / row["forward"].median
        table.rows.append(row)
    return table


def curve(options: argparse.Namespace) -> Table:
    table = Table("Spheres of the same covered area, from few large ones to many small ones, 1024^2", COLUMNS)
    for count in (1_000, 10_000) if options.quick else (1_000, 10_000, 100_000, 1_000_000, 5_000_000):
        max_radius = 0.1 * (100_000 / count) ** 0.5
        task = sphere_passes(count, 1024, max_radius)
        table.rows.append(
            measured(task, options.budget, primitives=count, side="1024^2", radii=f"U(0, {max_radius:.3g})")
        )
    return table


def hidden(options: argparse.Namespace) -> Table:
    table = Table("Equally many spheres in view, and ever more beside it, 1024^2", COLUMNS)
    for spread in (1, 10) if options.quick else (1, 3, 10, 22):
        count = 1_000 * spread**2 if options.quick else 10_000 * spread**2
        task = sphere_passes(count, 1024, 0.3, spread)
        table.rows.append(measured(task, options.budget, primitives=count, side="1024^2", radii="U(0, 0.3)"))
    return table


def gaussians(options: argparse.Namespace) -> Table:
    table = Table("Gaussians of a real point cloud, projection included", COLUMNS)
    if not options.cloud.is_file():
        table.notes.append(f"skipped: there is no {options.cloud}")
        return table
    task, count, size = gaussian_passes(options.cloud, options.quick)
    row = measured(task, options.budget, primitives=count, side=f"{size[0]}x{size[1]}", radii="nearest neighbours")
    table.rows.append(row)
    return table


def surfaces(options: argparse.Namespace) -> Table:
    table = Table("A sphere of surfels, and of surface splats without and with the visibility gradient", COLUMNS)
    for kind in ("surfels", "splats", "visibility"):
        for count, side in ((2_000, 128),) if options.quick else ((100_000, 512), (1_000_000, 1024)):
            task = disc_passes(kind, count, side)
            table.rows.append(measured(task, options.budget, primitives=count, side=f"{side}^2", radii=kind))
    return table


SECTIONS = {"spheres": spheres, "curve": curve, "hidden": hidden, "gaussians": gaussians, "surfaces": surfaces}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.splats", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SECTIONS), help=", ".join(SECTIONS))
    parser.add_argument("--cloud", type=Path, default=CLOUD, help="points for the Gaussians, .npz")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds spent on each measurement")
    parser.add_argument("--json", type=Path, default=Path("benchmark-splats.json"), help="where to write")
    parser.add_argument("--quick", action="store_true", help="small images and few runs")
    options = parser.parse_args(arguments)
    options.budget = Budget(2, 0.05 if options.quick else options.seconds, patience=0.8)
    results: dict[str, Any] = {"machine": machine()}
    print("\n".join(f"{key}: {value}" for key, value in results["machine"].items()))
    for section in options.only:
        table = SECTIONS[section](options)
        print(table.text(), flush=True)
        results[section] = table.data()
    options.json.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\nwritten: {options.json}")


if __name__ == "__main__":
    main()
