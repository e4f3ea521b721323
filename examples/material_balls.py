"""Material balls, path traced: a clear coat, rough glass, a mask with holes, a normal map.

python examples/material_balls.py --output material_balls.png
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.io import save_image
from lumigrad.render import render_path
from lumigrad.scene import (
    DiffuseMaterial,
    EnvironmentLight,
    Material,
    Mesh,
    PBRMaterial,
    PerspectiveCamera,
    Scene,
    look_at,
    sky,
)


def globe(place: tuple[float, float, float], radius: float, material: Material, rows: int = 48) -> Mesh:
    """A ball with longitude and latitude as texture coordinates."""
    v, u = torch.meshgrid(torch.linspace(0, 1, rows + 1), torch.linspace(0, 1, 2 * rows + 1), indexing="ij")
    theta, phi = math.pi * v.reshape(-1), 2 * math.pi * u.reshape(-1)
    normals = torch.stack((theta.sin() * phi.cos(), theta.cos(), -theta.sin() * phi.sin()), -1)
    corner = torch.arange(rows)[:, None] * (2 * rows + 1) + torch.arange(2 * rows)
    a, b, c, d = (value.reshape(-1) for value in (corner, corner + 2 * rows + 1, corner + 2 * rows + 2, corner + 1))
    faces = torch.cat((torch.stack((a, b, c), -1), torch.stack((a, c, d), -1)))
    uvs = torch.stack((u.reshape(-1), v.reshape(-1)), -1)
    return Mesh(radius * normals + torch.tensor(place), faces, uvs=uvs, normals=normals, materials=(material,))


def waves(size: int = 256) -> Tensor:
    """Heights [H, W] of periodic ripples."""
    t = 2 * math.pi * torch.arange(size) / size
    return torch.sin(16 * t)[None] * torch.sin(8 * t)[:, None]


def bumps(strength: float = 0.35) -> Tensor:
    """The normal map of ripples."""
    height = waves()
    slope = [strength * (height.roll(1, dim) - height.roll(-1, dim)) for dim in (1, 0)]
    steep = torch.stack((*slope, torch.full_like(height, 0.2)), -1)
    return 0.5 + 0.5 * torch.nn.functional.normalize(steep, dim=-1)


def holes() -> Tensor:
    """Green, with an alpha that is 0 within holes."""
    green = torch.tensor([0.25, 0.55, 0.2]).expand(256, 256, 3)
    return torch.cat((green, (waves() < 0.35).float()[..., None]), -1)


def balls() -> Scene:
    """Four balls on the ground under a panel light and a sky."""
    materials = (
        PBRMaterial(base_color=(0.5, 0.02, 0.02), metallic=0.6, roughness=0.55, clearcoat=1.0),
        PBRMaterial(
            base_color=(1.0, 1.0, 1.0), roughness=0.3, transmission=1.0, solid=True, absorption=(0.9, 0.3, 0.2)
        ),
        PBRMaterial(base_color_texture=holes(), roughness=0.8, alpha_mode="mask"),
        PBRMaterial(base_color=(0.9, 0.6, 0.25), metallic=1.0, roughness=0.35, normal_texture=bumps()),
    )
    square = torch.tensor([[-1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 0.0, -1.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    ground = Mesh(100 * square, faces, materials=(DiffuseMaterial(base_color=(0.4, 0.4, 0.4)),))
    lamp = DiffuseMaterial(base_color=(0.0, 0.0, 0.0), emissive=(9.0, 8.5, 8.0))
    panel = Mesh(1.2 * square + torch.tensor([-1.5, 4.0, 2.0]), faces.flip(1), materials=(lamp,))
    shapes = [globe((2.2 * (i - 1.5), 1.0, 0.0), 1.0, material) for i, material in enumerate(materials)]
    return Scene([*shapes, ground, panel], environment=EnvironmentLight(0.6 * sky(64)), background="environment")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Renders four material balls by path tracing.")
    parser.add_argument("--output", type=Path, default=Path("material_balls.png"))
    parser.add_argument("--width", type=int, default=480, help="pixels")
    parser.add_argument("--samples", type=int, default=96, help="paths of each pixel")
    options = parser.parse_args(arguments)
    view = look_at((0.0, 2.6, 11.0), (0.0, 0.85, 0.0))
    size = (max(options.width * 2 // 7, 1), options.width)
    camera = PerspectiveCamera.from_fov(14.5, size=size, world_to_camera=view, near=0.01)
    shot = render_path(balls(), camera, options.samples, 10)
    save_image(shot.image[0].clamp(0, 1), options.output)
    print(options.output)


if __name__ == "__main__":
    main()
