"""How well `fit_pose` finds poses: random trials on renders of meshes on grey, with hard masks.

    python -m benchmarks.pose --meshes FOLDER               # 100 trials of each kind on each mesh: an hour
    python -m benchmarks.pose --meshes FOLDER --trials 10   # the first ten of each
    python -m benchmarks.pose --meshes FOLDER --resume      # the trials that an earlier run has not reached

In each trial a mesh is seen in a random rotation, from 4 to 8 radii away, beside the middle of an image of 256 x 256
pixels. The start is up to 60 degrees and 20 % of the distance away. Kinds of trials: `start`, without noise;
`noisy`, with noise of 0.1 on every channel; `anywhere`, without a start; `outline`, a start and the silhouette alone;
`hidden`, a start and a vertical strip of 30 % of the mask's width masked out.

The random values of a trial depend only on its number and the seed. Each result is written to `--json` as soon as its
trial has ended.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.primitives import machine
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
    Column("trials", "trials"),
    Column("median", "median, degrees", lambda v: f"{v:.3f}"),
    Column("within", "within 1 degree", lambda v: f"{v:.0%}"),
    Column("worst", "worst, degrees", lambda v: f"{v:.2f}"),
    Column("unsure", "said to be ambiguous", lambda v: f"{v:.0%}"),
    Column("occluded", "said to be occluded", lambda v: f"{v:.0%}"),
    Column("silent", "wrong without a word", lambda v: f"{v:.0%}"),
    Column("seconds", "seconds, median", lambda v: f"{v:.1f}"),
    Column("processor", "processor seconds, median", lambda v: f"{v:.1f}"),
    Column("longest", "longest", lambda v: f"{v:.1f}"),
]


class Trial(NamedTuple):
    """A picture whose pose is known, and a start."""

    image: Tensor
    mask: Tensor
    camera: PerspectiveCamera
    start: Tensor


def mesh_of(name: str, folder: Path | None) -> Mesh:
    """A mesh of the folder, with the texture of that name if there is one; or the built-in creature."""
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
    """A mesh without colours is compared by its shading, which the renders have too."""
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


def measured(name: str, mesh: Mesh, kind: str, number: int, seed: int) -> dict[str, Any]:
    """One trial: the error of the pose, its warnings, and its time."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + number)
    one = trial(mesh, 0.1 if kind == "noisy" else 0.0, kind == "hidden", generator)
    wall, used = time.perf_counter(), time.process_time()
    found = fitted(mesh, one, kind)
    wall, used = time.perf_counter() - wall, time.process_time() - used
    pose, truth = found.object_to_camera, one.camera.world_to_camera
    centre = torch.cat([0.5 * (mesh.bounds()[0] + mesh.bounds()[1]), torch.ones(1)])
    place, right = (pose @ centre)[:3], (truth @ centre)[:3]
    return {
        "mesh": name,
        "kind": kind,
        "trial": number,
        "degrees": math.degrees(rotation_angle(pose[:3, :3], truth[:3, :3])),
        "shift": float((place - right).norm() / right.norm()),
        "start_degrees": math.degrees(rotation_angle(one.start[:3, :3], truth[:3, :3])),
        "hidden": found.hidden,
        "ambiguous": found.ambiguous,
        "occluded": found.occluded,
        "doubts": list(found.doubts),
        "seconds": wall,
        "processor": used,
    }


def row(trials: list[dict[str, Any]]) -> dict[str, object]:
    """A summary of all trials of one kind on one mesh."""
    columns = {key: [one[key] for one in trials] for key in trials[0]}
    wrong = [degrees > 1 for degrees in columns["degrees"]]
    return {
        "mesh": trials[0]["mesh"],
        "kind": trials[0]["kind"],
        "trials": len(trials),
        "median": statistics.median(columns["degrees"]),
        "within": 1 - statistics.fmean(wrong),
        "worst": max(columns["degrees"]),
        "unsure": statistics.fmean(columns["ambiguous"]),
        "occluded": statistics.fmean(columns["occluded"]),
        "silent": statistics.fmean(is_wrong and not doubts for is_wrong, doubts in zip(wrong, columns["doubts"])),
        "seconds": statistics.median(columns["seconds"]),
        "processor": statistics.median(columns["processor"]),
        "longest": max(columns["processor"]),
    }


def table(trials: list[dict[str, Any]]) -> Table:
    """A row for each mesh and kind, in order of appearance."""
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in trials:
        rows.setdefault((one["mesh"], one["kind"]), []).append(one)
    return Table("poses from one image", COLUMNS, [row(found) for found in rows.values()])


class Trials:
    """The completed trials, kept in a file that an interruption leaves intact."""

    def __init__(self, path: Path, seed: int, resume: bool) -> None:
        self.path, self.seed, self.machine = path, seed, machine()
        self.done: list[dict[str, Any]] = []
        if resume and path.exists():
            earlier = json.loads(path.read_text(encoding="utf-8"))
            if earlier["seed"] != seed:
                raise ValueError(f"--seed: expected that of {path}, {earlier['seed']}, got {seed}")
            self.done = earlier["trials"]

    def has(self, name: str, kind: str, number: int) -> bool:
        return any((one["mesh"], one["kind"], one["trial"]) == (name, kind, number) for one in self.done)

    def add(self, one: dict[str, Any]) -> None:
        self.done.append(one)
        values = {"machine": self.machine, "seed": self.seed, "rows": table(self.done).data(), "trials": self.done}
        unfinished = self.path.with_suffix(".part")
        unfinished.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        os.replace(unfinished, self.path)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Random trials of fit_pose.")
    parser.add_argument("--meshes", type=Path, help="folder of OBJ files; the built-in creature without one")
    parser.add_argument("--names", default="spot,cow,suzanne", help="of meshes in the folder (spot,cow,suzanne)")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of trials ({','.join(KINDS)})")
    parser.add_argument("--trials", type=int, default=100, help="of each kind and mesh (100)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (0)")
    parser.add_argument("--json", type=Path, default=Path("benchmark-pose.json"), help="where to write")
    parser.add_argument("--resume", action="store_true", help="keep the trials that are in --json, and do the others")
    options = parser.parse_args(argv)
    warnings.simplefilter("ignore", PoseWarning)
    kinds = options.kinds.split(",")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        parser.error(f"--kinds: expected some of {', '.join(KINDS)}, got {', '.join(unknown)}")
    names = options.names.split(",") if options.meshes else ["creature"]
    meshes = {name: mesh_of(name, options.meshes) for name in names}
    trials = Trials(options.json, options.seed, options.resume)
    # One trial of each kind and mesh at a time, so that an interrupted run has nearly as many of all.
    for number, name, kind in itertools.product(range(options.trials), names, kinds):
        if not trials.has(name, kind, number):
            trials.add(one := measured(name, meshes[name], kind, number, options.seed))
            print(f"{name}, {kind}, {number}: {one['degrees']:.3f} degrees, {one['processor']:.1f} s", flush=True)
    print(table(trials.done).markdown())
    print(f"\nwritten: {options.json}")


if __name__ == "__main__":
    main()
