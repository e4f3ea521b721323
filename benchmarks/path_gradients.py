"""Derivatives of path-traced images with respect to motion, compared with another renderer's finite differences.

Usage:
    python -m benchmarks.path_gradients FOLDER                  # with mi_grad_*.npz, see below
    python -m benchmarks.path_gradients FOLDER --samples 256    # quick and noisy
    python -m benchmarks.path_gradients --speed                 # the gradient's time over the image's

A file has a scene of Mitsuba 3, the motion of a mesh or the camera, and the derivative of the image and of a weighted
sum of it by that motion: `fd`, central differences of Mitsuba's images with common random numbers. A row compares the
sum with `fd`, in standard errors of both together (the step of `fd` has an error of its own); and the derivative of the
pixels' means over channels: its cosine with that of `fd`, and the ratio of norms (of two halves of the paths, whose
noise is independent). Where the image of `fd` is noisy, no cosine can be 1: `of fd` is about the best there can be.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from examples.cornell import camera as cornell_camera
from examples.cornell import cornell_box
from lumigrad.render import render_path
from lumigrad.scene import Scene

MOVED = {
    "shadow_translation": "occluder", "shadow_vertex": "occluder", "receiver_y": "ground",
    "silhouette_depth2": "object", "silhouette_depth3": "object", "cornell_box_x_depth3": "tall",
    "camera_x": None, "camera_z": None,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--samples", type=int, default=2048, help="paths of each pixel in each of the two halves")
    parser.add_argument("--only", choices=list(MOVED), help="one of the motions")
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args(arguments)
    if options.speed:
        speed()
    if options.folder is not None:
        print("motion                 sum ours           fd                 z     cosine  of fd   norm")
        for name in [options.only] if options.only else MOVED:
            compare(options.folder / f"mi_grad_{name}.npz", name, options.samples)


def compare(file: Path, name: str, samples: int) -> None:
    from tests.oracle_common import Oracle  # needs pytest

    oracle = Oracle(file.stem, folder=file.parent)
    data = oracle.data
    images, runs = [], []
    for half in range(2):
        images.append(derivative(oracle, name, samples, 100 + half))
        runs += [derivative_of_sum(oracle, name, samples // 8, 1000 * half + k) for k in range(8)]
    mean, error = np.mean(runs), np.std(runs, ddof=1) / math.sqrt(len(runs))
    fd, fd_error = data["fd.scalar"], data["fd.scalar_stderr"]
    z = (mean - fd) / math.hypot(error, fd_error)
    ours, theirs = (images[0] + images[1]) / 2, data["fd.image"].mean(-1)
    noise = (data["fd.stderr"] ** 2).sum() / 9  # channels are roughly independent
    length = np.linalg.norm(theirs)
    best = math.sqrt(max(1 - noise / length**2, 0))
    cosine = (ours * theirs).sum() / np.linalg.norm(ours) / length
    norm = math.sqrt(max((images[0] * images[1]).sum(), 0)) / (best * length)
    print(
        f"{name:22} {mean:8.3f} ± {error:5.3f}   {fd:8.3f} ± {fd_error:5.3f}   {z:5.1f}   "
        f"{cosine:6.3f}  {best:5.3f}   {norm:5.3f}",
        flush=True,
    )


def image_by(oracle: Any, name: str, samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """An image, and the number that controls the motion."""
    shift, direction = torch.zeros((), requires_grad=True), torch.from_numpy(oracle.data["direction"]).float()
    meshes, camera, moved = dict(oracle.meshes), oracle.camera, MOVED[name]
    if moved is None:
        back = torch.eye(4) - shift * torch.nn.functional.pad(direction[:, None], (3, 0, 0, 1))
        oracle.camera = replace(camera, world_to_camera=camera.world_to_camera @ back)
    else:
        meshes[moved] = replace(meshes[moved], positions=meshes[moved].positions + shift * direction)
    scene = replace(oracle.scene, shapes=list(meshes.values()))
    image = oracle.render(samples, oracle.text["max_depth"], seed, scene)
    oracle.camera = camera
    return image, shift


def derivative_of_sum(oracle: Any, name: str, samples: int, seed: int) -> float:
    image, shift = image_by(oracle, name, samples, seed)
    weight = torch.from_numpy(oracle.data["weight"]).float()
    return torch.autograd.grad((weight * image).sum(), shift)[0].item()


def derivative(oracle: Any, name: str, samples: int, seed: int) -> np.ndarray:
    """The derivative of each pixel, one at a time."""
    image, shift = image_by(oracle, name, samples, seed)
    gray = image.mean(-1)
    found = [torch.autograd.grad(pixel, shift, retain_graph=True)[0].item() for pixel in gray.reshape(-1)]
    return np.array(found).reshape(gray.shape)


# ---- Speed -------------------------------------------------------------------------------------------------------


def speed(size: int = 64, samples: int = 16) -> None:
    """The time of the Cornell box: an image, gradients to the emission, and gradients to all positions."""
    scene, camera = cornell_box(), cornell_camera((size, size))
    for depth in (2, 6):
        light = torch.ones((), requires_grad=True)
        kinds = {
            "image": scene.meshes,
            "emission": [replace(m, materials=tuple(_brighter(x, light) for x in m.materials)) for m in scene.meshes],
            "positions": [replace(m, positions=m.positions.clone().requires_grad_()) for m in scene.meshes],
        }
        took = {}
        for what, shapes in kinds.items():
            start = time.process_time()
            image = render_path(Scene(shapes), camera, samples, depth, tone_mapping=None).color
            if image.requires_grad:
                image.sum().backward()
            took[what] = time.process_time() - start
        ratios = ", ".join(f"{what} {took[what] / took['image']:.1f}" for what in took)
        print(f"Cornell box, depth {depth}, processor time over that of an image: {ratios}")


def _brighter(material: Any, light: Tensor) -> Any:
    return replace(material, emissive=material.emissive * light)


if __name__ == "__main__":
    main()
