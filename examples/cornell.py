"""The Cornell box, path traced: soft shadows, and the walls' colours on the blocks.

python examples/cornell.py --output cornell.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.io import save_image
from lumigrad.render import render_path
from lumigrad.scene import (
    ConductorMaterial,
    DielectricMaterial,
    DiffuseMaterial,
    Mesh,
    PerspectiveCamera,
    Scene,
    icosphere,
    look_at,
)

WHITE = DiffuseMaterial(base_color=(0.73, 0.71, 0.68))
RED = DiffuseMaterial(base_color=(0.63, 0.06, 0.05))
GREEN = DiffuseMaterial(base_color=(0.14, 0.45, 0.09))
LAMP = DiffuseMaterial(base_color=(0.0, 0.0, 0.0), emissive=(17.0, 12.0, 4.0), double_sided=False)
GOLD = ConductorMaterial(eta=(0.14, 0.37, 1.44), k=(3.98, 2.38, 1.6), roughness=0.3)


def quad(corner: tuple[float, ...], a: tuple[float, ...], b: tuple[float, ...], material: DiffuseMaterial) -> Mesh:
    """A parallelogram with a corner and two edges; it faces along a x b."""
    p, along, up = (torch.tensor(v, dtype=torch.float32) for v in (corner, a, b))
    positions = torch.stack([p, p + along, p + along + up, p + up])
    return Mesh(positions, torch.tensor([[0, 1, 2], [0, 2, 3]]), materials=(material,))


def block(centre: tuple[float, float], size: tuple[float, float, float], degrees: float) -> Mesh:
    """A box that stands on the floor at (x, z), rotated about the vertical."""
    corners = torch.tensor([[x, y, z] for x in (-0.5, 0.5) for y in (0.0, 1.0) for z in (-0.5, 0.5)])
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = torch.tensor([f for a, b, c, d in sides for f in ((a, b, c), (a, c, d))])
    return Mesh(_placed(corners * torch.tensor(size), centre, degrees), faces, materials=(WHITE,)).creased(0.0)


def _placed(positions: Tensor, centre: tuple[float, float], degrees: float) -> Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    c, s = angle.cos().item(), angle.sin().item()
    turn = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    return positions @ turn.T + torch.tensor([centre[0], 0.0, centre[1]])


def walls() -> list[Mesh]:
    """A room from -1 to 1, 2 high, open to the front, with a lamp in the ceiling."""
    return [
        quad((-1, 0, 1), (2, 0, 0), (0, 0, -2), WHITE),
        quad((-1, 2, -1), (2, 0, 0), (0, 0, 2), WHITE),
        quad((-1, 0, -1), (2, 0, 0), (0, 2, 0), WHITE),
        quad((-1, 0, 1), (0, 0, -2), (0, 2, 0), RED),
        quad((1, 0, -1), (0, 0, 2), (0, 2, 0), GREEN),
        quad((-0.25, 1.99, -0.25), (0.5, 0, 0), (0, 0, 0.5), LAMP),
    ]


def cornell_box() -> Scene:
    """The room with a tall and a short block."""
    return Scene([*walls(), block((-0.35, -0.3), (0.6, 1.2, 0.6), 17.0), block((0.33, 0.35), (0.6, 0.6, 0.6), -17.0)])


def with_balls() -> Scene:
    """The room with a ball of gold and one of glass."""
    ball = icosphere(5)
    normals = torch.nn.functional.normalize(ball.positions, dim=-1)

    def at(place: tuple[float, float, float], radius: float, material: ConductorMaterial | DielectricMaterial) -> Mesh:
        positions = radius * normals + torch.tensor(place)
        return Mesh(positions, ball.faces, normals=normals, materials=(material,))

    return Scene(
        [*walls(), at((-0.42, 0.45, -0.3), 0.45, GOLD), at((0.4, 0.35, 0.3), 0.35, DielectricMaterial(ior=1.5))]
    )


def camera(size: tuple[int, int]) -> PerspectiveCamera:
    return PerspectiveCamera.from_fov(
        39.3, size=size, world_to_camera=look_at((0.0, 1.0, 3.9), (0.0, 1.0, 0.0)), near=0.01
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Renders the Cornell box by path tracing.")
    parser.add_argument("--output", type=Path, default=Path("cornell.png"))
    parser.add_argument("--size", type=int, default=320, help="pixels of a side")
    parser.add_argument("--samples", type=int, default=256, help="paths of each pixel")
    parser.add_argument("--depth", type=int, default=8, help="most segments of a path")
    options = parser.parse_args(arguments)
    view = camera((options.size, options.size))
    shots = [render_path(scene, view, options.samples, options.depth) for scene in (cornell_box(), with_balls())]
    save_image(torch.cat([shot.image[0] for shot in shots], 1).clamp(0, 1), options.output)
    print(options.output)


if __name__ == "__main__":
    main()
