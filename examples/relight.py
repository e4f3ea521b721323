"""Recovers light and materials from pictures, then relights the objects.

A camera moves around two balls, one of rough metal and one painted, on a grey table in a studio. From its pictures and
the known shapes, this recovers the environment light, the colour and roughness of the metal, and the paint. The grey of
the table is known: half the light with twice the reflectance would yield the same pictures. Light is reflected between
balls and table, so that shadows and reflections are not mistaken for paint.

Usage:
    python examples/relight.py                # four minutes on two cores, to relight.png
    python examples/relight.py --steps 600 --samples 32
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from light_common import save_figure
from torch import Tensor

from lumigrad.render import render_path
from lumigrad.scene import (
    DiffuseMaterial,
    EnvironmentLight,
    Mesh,
    PBRMaterial,
    PerspectiveCamera,
    Scene,
    cube_to_equirect,
    icosphere,
    sky,
    studio,
)
from lumigrad.scene.shapes.procedural import sphere_uvs

TABLE = DiffuseMaterial(base_color=(0.4, 0.4, 0.4))


@dataclass
class Guess:
    """The unknowns, each as the logit or logarithm that the optimiser steps in."""

    light: Tensor
    metal: Tensor
    roughness: Tensor
    paint: Tensor

    @classmethod
    def start(cls, texels: int) -> Guess:
        """Uniform grey light and grey materials."""
        return cls(torch.full((6, texels, texels, 3), -1.0), torch.zeros(3), torch.zeros(()), torch.zeros(16, 32, 3))

    def leaves(self) -> list[Tensor]:
        return [leaf.requires_grad_() for leaf in vars(self).values()]

    def scene(self) -> Scene:
        roughness = 0.1 + 0.8 * self.roughness.sigmoid()
        metal = PBRMaterial(self.metal.sigmoid(), metallic=1.0, roughness=roughness)
        return things(metal, self.paint.sigmoid(), self.light.exp())


def things(metal: PBRMaterial, paint: Tensor, light: Tensor) -> Scene:
    """Two balls on a table, lit by a cube map. The paint is display-encoded."""
    ball = icosphere(4)
    normals = torch.nn.functional.normalize(ball.positions, dim=-1)
    uvs, uv_faces = sphere_uvs(normals, ball.faces)
    ball = replace(ball, normals=normals, normal_faces=ball.faces)
    painted = DiffuseMaterial(base_color=(1.0, 1.0, 1.0), base_color_texture=paint)
    left, right = torch.tensor([-0.85, 0.0, 0.0]), torch.tensor([0.85, -0.2, 0.3])
    corners = 5 * torch.tensor([[-1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 0.0, -1.0]])
    table = Mesh(corners - torch.tensor([0.0, 1.0, 0.0]), torch.tensor([[0, 1, 2], [0, 2, 3]]), materials=(TABLE,))
    shapes = [
        replace(ball, positions=normals + left, materials=(metal,)),
        replace(ball, positions=0.8 * normals + right, uvs=uvs, uv_faces=uv_faces, materials=(painted,)),
        table,
    ]
    return Scene(shapes, environment=around(light))


def around(light: Tensor) -> EnvironmentLight:
    """Paths look up the cube map itself, so that it need not be filtered for rough reflections in every step."""
    return EnvironmentLight(light, irradiance=light, levels=())


def stripes() -> Tensor:
    """The true paint."""
    y, x = torch.meshgrid(torch.arange(16), torch.arange(32), indexing="ij")
    colors = torch.tensor([[0.9, 0.35, 0.2], [0.95, 0.85, 0.6], [0.15, 0.4, 0.7]])
    return colors[(x // 4 + y // 4) % 3]


def cameras(count: int, size: int) -> PerspectiveCamera:
    turn = torch.arange(count) / count
    elevation = 22.0 + 14.0 * torch.cos(4 * torch.pi * turn)
    return PerspectiveCamera.orbit(360 * turn, elevation, 5.0, fov_y=38.0, size=(size, size), target=(0.0, -0.2, 0.0))


def picture(scene: Scene, camera: PerspectiveCamera, samples: int, seed: int) -> Tensor:
    """An image in linear light [N, H, W, 3], on black."""
    return render_path(scene, camera, samples, max_depth=4, seed=seed, tone_mapping=lambda color: color).color


def unevenness(light: Tensor) -> Tensor:
    """The variation between neighbouring texels."""
    return sum((light.diff(dim=dim).abs().mean() for dim in (1, 2)), light.new_zeros(()))


def psnr(a: Tensor, b: Tensor) -> float:
    return -10 * ((a - b).clamp(-1, 1).square().mean() + 1e-12).log10().item()


def fit(
    guess: Guess, photos: Tensor, views: PerspectiveCamera, metal: PBRMaterial, steps: int, samples: int
) -> dict[str, list[float]]:
    """Fits the guess to the photographs; returns the errors of all steps, also those to the true materials."""
    weights = 1 / (photos + 0.2)  # dark pixels count as much as bright ones
    optimiser = torch.optim.Adam(guess.leaves(), lr=0.06)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, 0.005)
    order = torch.Generator().manual_seed(0)
    errors: dict[str, list[float]] = {"pictures": [], "roughness": [], "metal": [], "paint": []}
    begin = time.process_time()
    for step in range(steps):
        k = int(torch.randint(len(photos), (), generator=order))
        image = picture(guess.scene(), views[k], samples, 1000 + step)
        # The noise of the image and of its gradient are independent, so that squaring does not bias the fit.
        loss = (weights[k] * (image - photos[k : k + 1])).square().mean()
        optimiser.zero_grad()
        (loss + 1e-3 * unevenness(guess.light)).backward()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            errors["pictures"].append(loss.item())
            errors["roughness"].append(abs(0.1 + 0.8 * guess.roughness.sigmoid().item() - metal.roughness))
            errors["metal"].append((guess.metal.sigmoid() - metal.base_color).abs().mean().item())
            errors["paint"].append((guess.paint.sigmoid() - stripes()).abs().mean().item())
        if step % 50 == 49:
            print(f"step {step + 1}: {loss.item():.4f} off, {time.process_time() - begin:.0f} s of the processor")
    return errors


def compare(scenes: dict[str, Scene], camera: PerspectiveCamera) -> list[list[tuple[str, Tensor]]]:
    """Rows of named pictures: the scenes' lights, the scenes, and the scenes under another light."""
    another = around(sky(32, sun_radiance=20.0))
    lights = {name: cube_to_equirect(scene.environment.cube, 48) / 4 for name, scene in scenes.items()}
    seen = {name: picture(scene, camera, 64, 5)[0] for name, scene in scenes.items()}
    relit = {name: picture(replace(scene, environment=another), camera, 64, 6)[0] for name, scene in scenes.items()}
    before, after = (psnr(relit["truth"], relit[name]) for name in ("start", "found"))
    print(f"in another light: {before:.1f} dB at first, {after:.1f} dB found")
    rows = (("light", lights), ("picture", seen), ("in another light", relit))
    return [[(f"{name}: {what}", image) for name, image in images.items()] for what, images in rows]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Recovers light and materials, and lights the things anew.")
    parser.add_argument("--size", type=int, default=72, help="pixels along a side of each picture")
    parser.add_argument("--views", type=int, default=12)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--samples", type=int, default=16, help="paths of each pixel, in each step")
    parser.add_argument("--out", type=Path, default=Path("relight.png"))
    options = parser.parse_args(arguments)
    metal = PBRMaterial((0.95, 0.7, 0.35), metallic=1.0, roughness=0.3)
    truth = things(metal, stripes(), studio(32))
    views = cameras(options.views, options.size)
    photos = torch.cat([picture(truth, views[k], 16 * options.samples, k) for k in range(options.views)])

    guess = Guess.start(20)
    scenes = {"truth": truth, "start": guess.scene()}
    errors = fit(guess, photos, views, metal, options.steps, options.samples)
    print(f"off: roughness {errors['roughness'][-1]:.3f}, metal {errors['metal'][-1]:.3f}, "
          f"paint {errors['paint'][-1]:.3f}")  # fmt: skip
    with torch.no_grad():
        rows = compare(scenes | {"found": guess.scene()}, cameras(1, 2 * options.size)[0])
    save_figure(options.out, rows, errors)


if __name__ == "__main__":
    main()
