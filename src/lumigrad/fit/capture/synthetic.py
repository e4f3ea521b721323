"""A synthetic recording of the built-in head with known shapes, to try a capture on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lumigrad.fit.capture._head import expressions, head
from lumigrad.fit.capture.smoothness import UniformLaplacian
from lumigrad.fit.template import blend_shapes
from lumigrad.io.image import save_image
from lumigrad.io.mesh import save_mesh
from lumigrad.render.direct import render_direct
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.cameras.conventions import to_transforms
from lumigrad.scene.light.lights import DirectionalLight
from lumigrad.scene.physical_materials import DiffuseMaterial
from lumigrad.scene.rotations import axis_angle_to_matrix
from lumigrad.scene.shapes.mesh import Mesh

_DISTANCE_MM, _FIELD_OF_VIEW = 900.0, 19.0
# Directions towards lights that stay where they are, and their irradiance: soft light from in front and above.
_LIGHTS = (
    ((0.0, 0.5, 1.0), 0.9),
    ((-0.9, 0.4, 0.8), 0.8),
    ((0.9, 0.3, 0.8), 0.7),
    ((0.0, -0.7, 0.9), 0.5),
    ((0.3, 1.0, 0.2), 0.4),
    ((-1.0, -0.1, 0.1), 0.3),
    ((1.0, -0.1, 0.1), 0.3),
)


@dataclass(frozen=True)
class RigOptions:
    """The options of a recording of the built-in head.

    Attributes:
        size: rows and columns of the images.
        frames: of each sequence.
        sequences: each with other expressions; from the second on, the head is elsewhere.
        cameras: on an arc in front.
        level: of the head's mesh, see `head`.
        supersampling: samples of a pixel along each axis.
        exposures: cameras of unequal contrast and brightness.
        nod: degrees that the head turns during a sequence.
        wrong: scales the errors of the base with which the fit begins.
        seed: of expressions and exposures.
    """

    size: int = 256
    frames: int = 24
    sequences: int = 1
    cameras: int = 9
    level: int = 4
    supersampling: int = 2
    exposures: bool = True
    nod: float = 0.0
    wrong: float = 1.0
    seed: int = 0


@torch.no_grad()
def write_rig(
    folder: str | Path, options: RigOptions | None = None, on_frame: Callable[[], None] | None = None
) -> Path:
    """Record the built-in head: a folder for `load_rig`, and `truth/SEQUENCE.npy`, positions [frames, V, 3].

    Images are made by `render_direct`, with shadows of lights that stay where they are, and with several samples a
    pixel. The mesh `base.obj` is the neutral head, smoothed, bent and beside its place. All lengths are millimetres.

    Args:
        on_frame: called after every frame, for example to show progress.

    Returns:
        The folder.
    """
    folder, options = Path(folder), options or RigOptions()
    mesh = head(options.level, texture_height=max(64, min(512, 4 * options.size)))
    camera = arc(options.cameras, (options.size, options.size))
    names = [f"camera{number}" for number in range(options.cameras)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cameras.json").write_text(json.dumps(to_transforms(camera, names), indent=1), encoding="utf-8")
    save_mesh(replace(wrong_base(mesh, options.wrong), texture=None), folder / "base.obj")
    save_image(mesh.texture, folder / "truth" / "texture.png")  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(options.seed)
    exposures = 2 * torch.rand(options.cameras, 2, generator=generator) - 1 if options.exposures else None
    for number in range(options.sequences):
        shapes = performance(mesh.positions, options, number)
        name = f"sequence{number}"
        np.save(folder / "truth" / f"{name}.npy", shapes.numpy())
        for frame, positions in enumerate(shapes):
            images = _photographs(replace(mesh, positions=positions), camera, options.supersampling)
            if exposures is not None:
                images = (1 + 0.12 * exposures[:, 0, None, None, None]) * images + 0.02 * (
                    1 + exposures[:, 1, None, None, None]
                )
            for place, image in zip(names, images, strict=True):
                save_image(image.clamp(0, 1), folder / name / place / f"{frame:04d}.png")
            if on_frame is not None:
                on_frame()
    return folder


def arc(count: int, size: tuple[int, int]) -> PerspectiveCamera:
    """Cameras [count] from left to right in front of the head, up and down by turns."""
    azimuth = torch.linspace(-65.0, 65.0, count) if count > 1 else torch.zeros(1)
    elevation = torch.tensor([(0.0, 18.0, 0.0, -14.0)[number % 4] for number in range(count)])
    near, far = _DISTANCE_MM - 250, _DISTANCE_MM + 250
    return PerspectiveCamera.orbit(azimuth, elevation, _DISTANCE_MM, _FIELD_OF_VIEW, size, near=near, far=far)


def performance(neutral: Tensor, options: RigOptions, sequence: int = 0) -> Tensor:
    """Positions [frames, V, 3] of a sequence: expressions that come and go, and head motion."""
    shapes = expressions(neutral)
    generator = torch.Generator().manual_seed(options.seed + 100 * sequence)
    time = torch.arange(options.frames) / max(1, options.frames)
    pace = 0.5 + 1.5 * torch.rand(len(shapes), generator=generator)
    strength = 0.6 + 0.5 * torch.rand(len(shapes), generator=generator)
    weights = strength * torch.sin(math.pi * pace * time[:, None]).square()
    moved = blend_shapes(neutral, torch.stack(list(shapes.values())), weights)
    turn = torch.zeros(options.frames, 3)
    if sequence:
        turn = turn + torch.deg2rad(torch.tensor([3.0, 6.0, -2.0]) * (-1) ** sequence)
    turn[:, 1] += math.radians(options.nod) * torch.sin(2 * math.pi * time)
    shift = torch.tensor([6.0, -4.0, 5.0]) * (-1) ** sequence if sequence else torch.zeros(3)
    return moved @ axis_angle_to_matrix(turn).transpose(1, 2) + shift


def wrong_base(mesh: Mesh, scale: float = 1.0) -> Mesh:
    """A realistic initial mesh: smoothed, bent by waves of some millimetres, and displaced."""
    smooth = UniformLaplacian(mesh.faces, len(mesh.positions))
    places = mesh.positions[None]
    for _ in range(round(6 * scale)):
        places = places - 0.5 * smooth(places)
    places = places[0]
    waves = torch.sin(places.roll(1, dims=1) / 45 + 1) + torch.sin(places.roll(2, dims=1) / 38)
    return replace(mesh, positions=places + scale * (1.2 * waves + places.new_tensor([2.0, -1.5, 1.0])))


def _photographs(mesh: Mesh, camera: PerspectiveCamera, supersampling: int) -> Tensor:
    """Display-encoded images [C, H, W, 3] in front of black."""
    skin = DiffuseMaterial(base_color=torch.ones(3), base_color_texture=mesh.texture)
    lit = replace(mesh, texture=None, materials=(skin,))
    lights = [DirectionalLight(direction, intensity=strength) for direction, strength in _LIGHTS]
    shot = render_direct(lit, camera, samples=1, lights=lights, antialias=False, supersampling=supersampling)
    return shot.image
