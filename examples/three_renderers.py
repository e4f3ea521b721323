"""The same objects under the same light with `render`, `render_direct` and `render_path`: hard, soft, and global light.

python examples/three_renderers.py --output three_renderers.png
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from lumigrad.io import save_image
from lumigrad.render import render, render_direct, render_path
from lumigrad.scene import DiffuseMaterial, Mesh, PBRMaterial, PerspectiveCamera, PointLight, Scene, icosphere

WHITE = PBRMaterial(base_color=(0.75, 0.75, 0.75), roughness=0.9)
RED = PBRMaterial(base_color=(0.75, 0.12, 0.08), roughness=0.9)
BLUE = PBRMaterial(base_color=(0.15, 0.3, 0.7), roughness=0.5)
LAMP = DiffuseMaterial(base_color=(0.0, 0.0, 0.0), emissive=(16.0, 15.0, 13.0), double_sided=False)
CENTRE = (0.4, 3.0, 0.8)


def quad(corners: list[tuple[float, float, float]], material: PBRMaterial | DiffuseMaterial) -> Mesh:
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    positions = torch.tensor(corners, dtype=torch.float32)
    return Mesh(positions, faces, materials=(material,)).creased(0.0)


def things() -> list[Mesh]:
    """A ball on the ground, in front of a red wall."""
    ball = icosphere(5)
    placed = replace(ball, positions=0.6 * ball.positions + torch.tensor([0.0, 0.6, 0.0]), materials=(BLUE,))
    ground = quad([(-4, 0, 4), (4, 0, 4), (4, 0, -4), (-4, 0, -4)], WHITE)
    wall = quad([(-1.2, 0, 2), (-1.2, 0, -2), (-1.2, 2, -2), (-1.2, 2, 2)], RED)
    return [ground, wall, placed]


def panel() -> Mesh:
    """A lamp of 0.8 x 0.8 that looks down."""
    x, y, z = CENTRE
    return quad([(x - 0.4, y, z - 0.4), (x + 0.4, y, z - 0.4), (x + 0.4, y, z + 0.4), (x - 0.4, y, z + 0.4)], LAMP)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Renders one scene in three ways.")
    parser.add_argument("--output", type=Path, default=Path("three_renderers.png"))
    parser.add_argument("--size", type=int, default=240, help="pixels of a side")
    parser.add_argument("--samples", type=int, default=64, help="of a pixel; paths have four times as many")
    options = parser.parse_args(arguments)
    camera = PerspectiveCamera.orbit(
        azimuth=35.0,
        elevation=20.0,
        distance=4.6,
        fov_y=38.0,
        size=(options.size, options.size),
        target=(0.0, 0.5, 0.0),
    )
    # Straight below, this point light is as bright as the panel: its intensity is the panel's radiance times its area.
    point = PointLight(CENTRE, color=(16.0, 15.0, 13.0), intensity=0.64)
    scene = Scene([*things(), panel()])
    shots = [
        render(Scene(things()), camera, lights=[point], shadows=True),
        render_direct(scene, camera, options.samples, lights=[]),
        render_path(scene, camera, 4 * options.samples, lights=[]),
    ]
    save_image(torch.cat([shot.image[0] for shot in shots], 1).clamp(0, 1), options.output)
    print(options.output)


if __name__ == "__main__":
    main()
