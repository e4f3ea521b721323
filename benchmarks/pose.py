"""How well `fit_pose` finds poses: random trials on renders of meshes, in front of grey, with hard masks.

    python -m benchmarks.pose --meshes FOLDER --trials 100

In each trial a mesh is seen in a random rotation, from 4 to 8 radii away, beside the middle of an image of 256 x 256
pixels. The start is up to 60 degrees and 20 % of the distance away. Kinds of trials: `start`, with noise of 0 and 0.1
on every channel; `anywhere`, without a start; `outline`, a start and the silhouette alone; `hidden`, a start and a
vertical strip of 30 % of the mask's width masked out.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.report import Column, Table
from lumigrad.fit import PoseEstimate, PoseWarning, fit_pose
from lumigrad.io import load_image, load_mesh
from lumigrad.render import render_mesh
from lumigrad.scene import (
    Lighting,
    Mesh,
    PerspectiveCamera,
    axis_angle_to_matrix,
    creature,
    quaternion_to_matrix,
    rotation_angle,
)

SIZE, FIELD_OF_VIEW_DEGREES = (256, 256), 40.0
FARTHEST_START_DEGREES, STRIP = 60.0, 0.3
KINDS = ("start", "noisy", "anywhere", "outline", "hidden")
COLUMNS = [
    Column("mesh", "mesh"),
    Column("kind", "kind"),
    Column("median", "median, degrees", lambda v: f"{v:.3f}"),
    Column("within", "within 1 degree", lambda v: f"{v:.0%}"),
    Column("unsure", "said to be ambiguous", lambda v: f"{v:.0%}"),
    Column("occluded", "said to be occluded", lambda v: f"{v:.0%}"),
    Column("silent", "wrong without a word", lambda v: f"{v:.0%}"),
    Column("seconds", "seconds, median", lambda v: f"{v:.1f}"),
    Column("longest", "longest", lambda v: f"{v:.1f}"),
    Column("processor", "processor seconds", lambda v: f"{v:.1f}"),
]


class Trial(NamedTuple):
    """A picture whose pose is known, and a start."""

    image: Tensor
    mask: Tensor
    camera: PerspectiveCamera
    start: Tensor


def mesh_of(name: str, folder: Path | None) -> Mesh:
    """A mesh of the folder, with the texture of that name where there is one; or the built-in creature."""
    if folder is None:
        return creature()
    mesh = load_mesh(folder / f"{name}.obj")
    texture = folder / f"{name}_texture.png"
    return replace(mesh, texture=load_image(texture)[..., :3]) if texture.exists() else mesh


def trial(mesh: Mesh, noise: float, hidden: bool, generator: torch.Generator) -> Trial:
    low, high = mesh.bounds()
    centre = 0.5 * (low + high)
    radius = float((mesh.positions - centre).norm(dim=-1).max())
    rotation = quaternion_to_matrix(torch.randn(4, generator=generator))
    distance = radius * float(4 + 4 * torch.rand((), generator=generator))
    aside = distance * 0.12 * (torch.rand(2, generator=generator) - 0.5)
    place = torch.cat([aside, torch.tensor([-distance])])
    camera = PerspectiveCamera.from_fov(
        FIELD_OF_VIEW_DEGREES, SIZE, _pose(rotation, place, centre), 0.1 * radius, 30 * radius
    )
    with torch.no_grad():
        shot = render_mesh(mesh, camera)
    image = shot.over(0.5)[0] + noise * torch.randn(*SIZE, 3, generator=generator)
    mask = (shot.mask[0, ..., 0] > 0.5).float()
    if hidden:
        mask = mask * _strip(mask, float(torch.rand((), generator=generator)))
    axis = torch.nn.functional.normalize(torch.randn(3, generator=generator), dim=0)
    turn = math.radians(FARTHEST_START_DEGREES) * torch.rand((), generator=generator)
    away = place * (0.8 + 0.4 * torch.rand((), generator=generator))
    start = _pose(axis_angle_to_matrix(turn * axis) @ rotation, away, centre)
    return Trial(image.clamp(0, 1), mask, camera, start)


def _pose(rotation: Tensor, place: Tensor, centre: Tensor) -> Tensor:
    matrix = torch.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, place - rotation @ centre
    return matrix


def _strip(mask: Tensor, where: float) -> Tensor:
    """Zero in a vertical strip across the mask, [1, W]."""
    columns = (mask > 0).any(0).nonzero()[:, 0]
    width = float(columns[-1] - columns[0] + 1)
    left = float(columns[0]) + where * (1 - STRIP) * width
    places = torch.arange(mask.shape[1])
    return 1 - ((places >= left) & (places < left + STRIP * width)).float()


def fitted(mesh: Mesh, one: Trial, kind: str) -> PoseEstimate:
    """A mesh without colours is compared by its shading, as the renders have it."""
    outline = kind == "outline"
    return fit_pose(
        mesh,
        one.image,
        one.camera,
        one.mask,
        start=None if kind == "anywhere" else one.start,
        colors=False if outline else None,
        lighting=None if outline else Lighting(),
    )


def row(name: str, mesh: Mesh, kind: str, trials: int, seed: int) -> dict[str, object]:
    """What trials of one kind give."""
    generator = torch.Generator().manual_seed(seed)
    errors, seconds, processor, found = [], [], [], []
    for _ in range(trials):
        one = trial(mesh, 0.1 if kind == "noisy" else 0.0, kind == "hidden", generator)
        wall, used = time.perf_counter(), time.process_time()
        found.append(fitted(mesh, one, kind))
        seconds.append(time.perf_counter() - wall)
        processor.append(time.process_time() - used)
        turn = rotation_angle(found[-1].object_to_camera[:3, :3], one.camera.world_to_camera[:3, :3])
        errors.append(math.degrees(turn))
    return {
        "mesh": name,
        "kind": kind,
        "median": statistics.median(errors),
        "within": sum(error <= 1 for error in errors) / trials,
        "unsure": sum(one.ambiguous for one in found) / trials,
        "occluded": sum(one.occluded for one in found) / trials,
        "silent": sum(error > 1 and not one.doubts for error, one in zip(errors, found)) / trials,
        "seconds": statistics.median(seconds),
        "longest": max(seconds),
        "processor": statistics.median(processor),
        "errors": errors,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Random trials of fit_pose.")
    parser.add_argument("--meshes", type=Path, help="folder of OBJ files; the built-in creature without one")
    parser.add_argument("--names", default="spot,cow,suzanne", help="of meshes in the folder (spot,cow,suzanne)")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of trials ({','.join(KINDS)})")
    parser.add_argument("--trials", type=int, default=100, help="of each kind and mesh (100)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (0)")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", PoseWarning)
    table = Table("poses from one image", COLUMNS)
    for name in arguments.names.split(",") if arguments.meshes else ["creature"]:
        mesh = mesh_of(name, arguments.meshes)
        for kind in arguments.kinds.split(","):
            table.rows.append(row(name, mesh, kind, arguments.trials, arguments.seed))
            print(table.text(), flush=True)
    print(table.markdown())


if __name__ == "__main__":
    main()
