"""Shapes of all kinds in one image: a floor and glass (meshes), an implicit torus, spheres, Gaussians, a column of
smoke (voxels) and mist above the floor (a field).

python examples/mixture.py --output mixture.png
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.io import save_image
from lumigrad.render import render
from lumigrad.scene import (
    AmbientLight,
    DirectionalLight,
    GaussianCloud,
    Mesh,
    PBRMaterial,
    PerspectiveCamera,
    Scene,
    SignedDistanceFunction,
    SphereCloud,
    VolumeField,
    VoxelGrid,
    constant_harmonics,
    icosphere,
)

FLOOR = -0.8


def floor(tiles: int = 12, size: float = 6.0) -> Mesh:
    """Tiles in two colours; each has its own vertices."""
    place = torch.arange(tiles * tiles)
    corner = torch.stack((place % tiles, place // tiles), -1)
    square = torch.tensor([[0, 0], [0, 1], [1, 1], [1, 0]])
    flat = ((corner[:, None] + square).reshape(-1, 2) / tiles - 0.5) * size
    positions = torch.stack((flat[:, 0], torch.full_like(flat[:, 0], FLOOR), flat[:, 1]), -1)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]]) + 4 * place[:, None, None]
    dark = (corner.sum(-1) % 2 == 0)[:, None]
    colors = torch.where(dark, torch.tensor([0.35, 0.4, 0.5]), torch.tensor([0.85, 0.83, 0.78]))
    return Mesh(positions, faces.reshape(-1, 3), colors=colors.repeat_interleave(4, 0))


def glass() -> Mesh:
    """A ball of green glass, visible from both sides."""
    ball = icosphere(4)
    look = PBRMaterial(base_color=(0.35, 0.8, 0.5, 0.35), roughness=0.1, alpha_mode="blend", double_sided=True)
    return Mesh(0.55 * ball.positions + torch.tensor([-1.05, FLOOR + 0.55, 0.35]), ball.faces, materials=(look,))


def torus() -> SignedDistanceFunction:
    """A golden torus that stands on the floor."""
    centre = torch.tensor([0.0, FLOOR + 0.78, 0.0])

    def distance(points: Tensor) -> Tensor:
        x = points - centre
        around = (x[:, :2].square().sum(-1) + 1e-12).sqrt() - 0.6
        return (around.square() + x[:, 2].square() + 1e-12).sqrt() - 0.18

    return SignedDistanceFunction(
        distance, material=PBRMaterial(base_color=(1.0, 0.7, 0.3), metallic=0.6, roughness=0.4)
    )


def spheres(count: int = 14) -> SphereCloud:
    """A ring of coloured balls that passes through the torus."""
    angle = torch.arange(count) * (2 * math.pi / count)
    places = torch.stack((0.75 * angle.sin(), 0.05 * (3 * angle).sin(), 0.75 * angle.cos()), -1)
    hue = angle[:, None] + torch.tensor([0.0, 2.1, 4.2])
    return SphereCloud(places, torch.full((count,), 0.13), 0.55 + 0.4 * hue.cos())


def plume(count: int = 500) -> GaussianCloud:
    """A spiral of thin blue and violet Gaussians, around and inside the glass ball."""
    random = torch.Generator().manual_seed(0)
    share = torch.linspace(0, 1, count)
    angle, radius = 9 * math.pi * share, 0.75 - 0.55 * share
    spiral = torch.stack((radius * angle.cos(), 1.5 * share, radius * angle.sin()), -1)
    means = spiral + 0.03 * torch.randn(count, 3, generator=random) + torch.tensor([-1.05, FLOOR + 0.1, 0.35])
    colors = torch.lerp(torch.tensor([0.3, 0.4, 1.0]), torch.tensor([0.9, 0.3, 0.8]), share[:, None])
    return GaussianCloud(
        means, torch.randn(count, 4, generator=random), 0.015 + 0.03 * torch.rand(count, 3, generator=random),
        torch.full((count,), 0.6), constant_harmonics(colors),
    )  # fmt: skip


def smoke(voxels: int = 64) -> VoxelGrid:
    """A column that widens and swirls as it rises, behind the spheres on the right and around some of them."""

    def density(points: Tensor) -> Tensor:
        x, y, z = points.unbind(-1)
        height = y - FLOOR
        swirl = 0.18 * torch.sin(5 * height), 0.18 * torch.cos(4 * height)
        apart = ((x - 1.0 - swirl[0]).square() + (z - swirl[1]).square()) / (0.12 + 0.13 * height).square()
        rough = 1 + 0.6 * torch.sin(9 * x + 7 * height) * torch.sin(11 * z - 5 * height) * torch.cos(8 * height)
        thin = 7 * torch.exp(-apart) * rough * (2.2 - height).clamp(0, 1)
        warm = torch.lerp(
            torch.tensor([1.0, 0.6, 0.35]), torch.tensor([0.95, 0.95, 1.0]), (height / 1.2).clamp(0, 1)[..., None]
        )
        return torch.cat((thin[..., None] - 0.05, warm), -1)

    box = torch.tensor([[0.1, FLOOR, -0.9], [1.9, FLOOR + 2.2, 0.9]])
    return VoxelGrid.from_function(density, (voxels, voxels, voxels), box)


def mist() -> VolumeField:
    """Thin, bluish, and denser towards the floor."""

    def field(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        waves = 1 + 0.5 * torch.sin(2.5 * points[:, 0] + torch.sin(2 * points[:, 2]))
        density = 0.9 * waves * torch.exp(-(points[:, 1] - FLOOR) / 0.25)
        return density, torch.tensor([0.72, 0.8, 0.9]).expand(len(points), 3)

    return VolumeField(field, [[-3.0, FLOOR, -3.0], [3.0, FLOOR + 1.2, 3.0]], step=0.08)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Renders shapes of all kinds in one image.")
    parser.add_argument("--output", type=Path, default=Path("mixture.png"))
    parser.add_argument("--size", type=int, default=360, help="height in pixels")
    parser.add_argument("--supersampling", type=int, default=2)
    options = parser.parse_args(arguments)
    camera = PerspectiveCamera.orbit(
        azimuth=14.0, elevation=17.0, distance=4.6, fov_y=36.0, size=(options.size, options.size * 16 // 9),
        target=(0.0, -0.05, 0.0),
    )  # fmt: skip
    scene = Scene(
        [floor(), glass(), torus(), spheres(), plume(), smoke(), mist()],
        lights=[DirectionalLight((0.5, 1.0, 0.7), intensity=2.6), AmbientLight(intensity=0.35)],
        background=(0.62, 0.74, 0.88),
    )
    with torch.no_grad():
        shot = render(scene, camera, supersampling=options.supersampling)
    save_image(shot.image[0], options.output)
    print(options.output)


if __name__ == "__main__":
    main()
