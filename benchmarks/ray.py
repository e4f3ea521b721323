"""Benchmarks of rays through a mesh, compared with Embree if a binding of it can be imported.

Usage:
    python -m benchmarks.ray --meshes FOLDER                  # stanford-bunny, 10^6 rays of each kind
    python -m benchmarks.ray --quick                          # small, to see that it runs
    PYTHONPATH=$PYTHONPATH:OTHER/site-packages python -m benchmarks.ray    # with open3d or embreex from elsewhere

Coherent rays are those of a pinhole camera, row by row; incoherent ones come from all sides. Rays per second are those
of one core: seconds are those of the processor, of all threads together.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

import lumigrad as lg
from benchmarks.meshes import Mesh, load
from benchmarks.timing import Budget, measure

Rays = tuple[Tensor, Tensor]
Tasks = dict[str, Callable[[], object]]


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    side = 64 if options.quick else options.side
    budget = Budget(repeats=1, seconds=0.1) if options.quick else Budget(repeats=3, seconds=options.seconds)
    torch.set_num_threads(options.threads)
    mesh, note = load("suzanne" if options.quick else options.mesh, options.meshes)
    if note:
        print(note)
    kinds = {"coherent": pinhole(side), "incoherent": from_all_sides(side * side)}
    tasks: Tasks = {}
    for of_library in (by_lumigrad, by_open3d, by_embreex):
        tasks |= of_library(mesh, kinds)
    print(f"{mesh.name}, {mesh.triangles} triangles, {side * side} rays, {options.threads} threads")
    for name, rays in kinds.items():
        print(f"  {name}: {lg.occluded(*rays, mesh.vertices, mesh.faces).float().mean():.0%} hit")
    for name, timing in measure(tasks, budget, time.process_time).items():
        rate = mesh.triangles if "build" in name or "refit" in name else side * side
        what = "triangles" if rate == mesh.triangles else "rays"
        print(f"  {name:34} {1e3 * timing.fastest:9.2f} ms  {rate / timing.fastest / 1e6:7.2f} M {what}/s")


def pinhole(side: int) -> Rays:
    """A camera at (0, 0.3, 2.7) that looks along -z, 50 degrees wide."""
    reach = math.tan(math.radians(25))
    place = (torch.arange(side) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(-place * reach, place * reach, indexing="ij")
    directions = torch.stack((x, y, -torch.ones_like(x)), -1).reshape(-1, 3)
    return torch.tensor([0.0, 0.3, 2.7]).expand_as(directions).contiguous(), directions.contiguous()


def from_all_sides(count: int) -> Rays:
    """From a sphere of radius 1.8 towards points in a box."""
    generator = torch.Generator().manual_seed(0)
    origins = 1.8 * torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    return origins, torch.rand(count, 3, generator=generator) * 1.2 - 0.6 - origins


def by_lumigrad(mesh: Mesh, kinds: dict[str, Rays]) -> Tasks:
    scene = mesh.vertices, mesh.faces
    bvh = lg.build_bvh(*scene)
    tasks: Tasks = {
        "lumigrad, build": partial(lg.build_bvh, *scene),
        "lumigrad, refit": partial(lg.refit_bvh, bvh, mesh.vertices),
    }
    for name, rays in kinds.items():
        tasks[f"lumigrad, closest, {name}"] = partial(lg.trace, *rays, *scene, bvh)
        tasks[f"lumigrad, any, {name}"] = partial(lg.occluded, *rays, *scene, bvh)
    return tasks


def by_open3d(mesh: Mesh, kinds: dict[str, Rays]) -> Tasks:
    if importlib.util.find_spec("open3d") is None:
        return {}
    import open3d.core as o3c
    from open3d.t.geometry import RaycastingScene

    vertices, faces = o3c.Tensor(mesh.vertices.numpy()), o3c.Tensor(mesh.faces.numpy().astype("uint32"))

    def build() -> RaycastingScene:
        scene = RaycastingScene()
        scene.add_triangles(vertices, faces)
        scene.cast_rays(o3c.Tensor.zeros((1, 6)))  # the tree is built when first needed
        return scene

    scene = build()
    tasks: Tasks = {"open3d, build": build}
    for name, rays in kinds.items():
        packed = o3c.Tensor(torch.cat(rays, -1).numpy())
        tasks[f"open3d, closest, {name}"] = partial(scene.cast_rays, packed)
        tasks[f"open3d, any, {name}"] = partial(scene.test_occlusions, packed)
    return tasks


def by_embreex(mesh: Mesh, kinds: dict[str, Rays]) -> Tasks:
    if importlib.util.find_spec("embreex") is None:
        return {}
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    def build() -> EmbreeScene:
        scene = EmbreeScene()
        TriangleMesh(scene, mesh.vertices.numpy(), mesh.faces.numpy())
        scene.run(kinds["coherent"][0][:1].numpy(), kinds["coherent"][1][:1].numpy())
        return scene

    scene = build()
    tasks: Tasks = {"embreex, build": build}
    for name, (origins, directions) in kinds.items():
        tasks[f"embreex, closest, {name}"] = partial(scene.run, origins.numpy(), directions.numpy())
    return tasks


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meshes", type=Path, help="folder of OBJ files")
    parser.add_argument("--mesh", default="stanford-bunny", help="name of the file")
    parser.add_argument("--side", type=int, default=1000, help="root of the number of rays")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each task, on average")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    return parser


if __name__ == "__main__":
    main()
