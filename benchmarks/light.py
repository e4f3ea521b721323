"""Benchmarks of path tracing: paths and their gradients per second of one processor core.

Usage:
    python -m benchmarks.light            # 256^2 pixels, 16 paths each
    python -m benchmarks.light --quick    # small, to see that it runs
    python -m benchmarks.light --peer mitsuba --mesh bunny.obj    # beside Mitsuba 3, where it is installed

Scenes: the Cornell box (two blocks, a light in the ceiling), and a ball on a ground under a panel and uniform light.
Depth 6 is the largest number of segments of a path. Seconds are those of the processor, of all threads together.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

import lumigrad as lg
from benchmarks.light_peers import PEERS, compare
from benchmarks.timing import Budget, measure
from examples.cornell import camera as cornell_camera
from examples.cornell import cornell_box
from lumigrad.render import lit_scene
from lumigrad.render.path import corner_rays
from lumigrad.scene import AmbientLight, Camera, DiffuseMaterial, Light, Mesh, PerspectiveCamera, icosphere


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    size, samples = (32, 2) if options.quick else (options.size, options.samples)
    budget = Budget(repeats=1, seconds=0.1, patience=0.0) if options.quick else Budget(3, 1.0, 2.0)
    if options.peer is not None:
        compare(size, samples, budget, options.mesh)
        return
    scenes = {
        "Cornell box": (cornell_box().meshes, [], cornell_camera((size, size))),
        "ball, panel, uniform light": (*_ball(), _orbit(size)),
    }
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name, (meshes, lights, camera) in scenes.items():
            print(f"{name}, {size}^2 x {samples}, {threads} threads")
            _measure(meshes, lights, camera, samples, budget)


def _measure(meshes: Sequence[Mesh], lights: Sequence[Light], camera: Camera, samples: int, budget: Budget) -> None:
    scene = lit_scene(meshes, lights)
    rays = corner_rays(camera, scene.positions)
    tree = lg.build_bvh(scene.positions, scene.tri)
    learned = scene._replace(materials=scene.materials.clone().requires_grad_())
    tasks = {
        f"depth {depth}": lambda depth=depth: lg.trace_paths(scene, *rays, samples, depth, bvh=tree)
        for depth in (1, 2, 6)
    }
    moving = scene._replace(positions=scene.positions.clone().requires_grad_())
    for what, one in (("materials", learned), ("shapes", moving)):
        tasks[f"depth 6, gradient to {what}"] = lambda one=one: (
            lg.trace_paths(one, *rays, samples, 6, bvh=tree).radiance.sum().backward()
        )
    height, width = camera.size
    for name, timing in measure(tasks, budget, time.process_time).items():
        paths = height * width * samples / timing.fastest / 1e6
        print(f"  {name:30} {1e3 * timing.fastest:9.1f} ms  {paths:7.2f} M paths/s")


def _ball() -> tuple[list[Mesh], list[Light]]:
    """69 thousand triangles, a third of them in view."""
    square = torch.tensor([[-1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 0.0, -1.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    ground = Mesh(4 * square - torch.tensor([0.0, 1.0, 0.0]), faces, materials=(DiffuseMaterial(),))
    lamp = DiffuseMaterial(base_color=(0.0, 0.0, 0.0), emissive=(6.0, 6.0, 6.0))
    panel = Mesh(0.7 * square + torch.tensor([1.0, 2.5, 1.0]), faces, materials=(lamp,))
    ball = replace(icosphere(6), materials=(DiffuseMaterial(),)).creased(0.0)
    return [ball, ground, panel], [AmbientLight(intensity=0.4)]


def _orbit(size: int) -> Camera:
    return PerspectiveCamera.orbit(azimuth=20.0, elevation=15.0, distance=4.0, fov_y=45.0, size=(size, size))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measures path tracing.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--size", type=int, default=256, help="pixels of a side")
    parser.add_argument("--samples", type=int, default=16, help="paths of each pixel")
    parser.add_argument("--peer", choices=PEERS, help="measure another library's path tracer beside")
    parser.add_argument("--mesh", type=Path, help="an OBJ file for the second scene of --peer")
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    return parser


if __name__ == "__main__":
    main()
