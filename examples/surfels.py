"""Samples of a surface as Gaussian surfels and as elliptical splats, side by side.

Upper row, surfels: image, normals, expected depth, distortion of depth. Lower row, elliptical surface splats: image,
normals, depth, and the image of a tenth as many samples.

Usage:
    python examples/surfels.py                                     # the built-in creature, to surfels.png
    python examples/surfels.py --samples 100000 --size 512 --out surfels.png
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib import colormaps
from torch import Tensor

import lumigrad as lg
from lumigrad.io import save_image
from lumigrad.scene import Mesh, PerspectiveCamera
from lumigrad.scene.shapes.procedural import creature


class Samples(NamedTuple):
    positions: Tensor  # [V, 3]
    normals: Tensor  # [V, 3]
    colors: Tensor  # [V, 3]
    spacing: float  # the mean distance between neighbours


def sample(mesh: Mesh, count: int) -> Samples:
    """Points distributed evenly over the surface, with smooth normals and the texture's colours."""
    corners = mesh.positions[mesh.faces]
    areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1) / 2
    generator = torch.Generator().manual_seed(0)
    face = torch.multinomial(areas, count, replacement=True, generator=generator)
    u, v = torch.rand(2, count, generator=generator)
    u, v = torch.where(u + v > 1, 1 - u, u), torch.where(u + v > 1, 1 - v, v)
    weights = torch.stack((1 - u - v, u, v), 1)[..., None]
    normals = torch.nn.functional.normalize((weights * mesh.vertex_normals()[mesh.faces[face]]).sum(1), dim=1)
    uv = (weights * mesh.uvs[mesh.uv_faces[face]]).sum(1)
    colors = lg.texture(mesh.texture[None], uv[None, None])[0, 0]
    light = torch.nn.functional.normalize(torch.tensor([0.5, 0.7, 0.6]), dim=0)
    shade = 0.35 + 0.65 * (normals @ light).clamp(min=0)
    spacing = (areas.sum() / count).sqrt().item()
    return Samples((weights * corners[face]).sum(1), normals, colors * shade[:, None], spacing)


def facing(normals: Tensor) -> Tensor:
    """Quaternions that rotate the z axis to the normals or to their opposites."""
    x, y, z = torch.where(normals[:, 2:] < 0, -normals, normals).unbind(1)
    return torch.stack((1 + z, -y, x, torch.zeros_like(x)), 1)


def colored(values: Tensor, seen: Tensor, low: float, high: float) -> Tensor:
    """Values [H, W] as colours, white where nothing is visible."""
    table = torch.tensor(colormaps["viridis"](torch.linspace(0, 1, 256).numpy())[:, :3]).float()
    index = (255 * ((values - low) / (high - low)).clamp(0, 1)).round().long()
    return torch.where(seen[..., None], table[index], 1)


def surfel_row(points: Samples, view: lg.View) -> tuple[list[Tensor], tuple[float, float]]:
    """The pictures of the upper row, and the nearest and farthest depth."""
    count = len(points.positions)
    start = time.perf_counter()
    surfels = lg.surfels(
        points.positions, facing(points.normals), torch.full((count, 2), 1.1 * points.spacing),
        torch.full((count,), 0.9), points.colors, view, torch.ones(3),
    )  # fmt: skip
    seconds = time.perf_counter() - start
    alpha = surfels.alpha[0]
    seen = alpha > 0.5
    depth = surfels.depth[0] / alpha.clamp(min=1e-6)
    near, far = depth[seen].min().item(), depth[seen].max().item()
    print(f"{count} surfels: {1e3 * seconds:.0f} ms; depth from {near:.2f} to {far:.2f}, "
          f"mean distortion {surfels.distortion.mean().item():.5f}")  # fmt: skip
    pictures = [
        surfels.image[0],
        surfels.normals[0] * 0.5 + 0.5 * alpha[..., None] + (1 - alpha[..., None]),
        colored(depth, seen, near, far),
        colored(surfels.distortion[0].clamp(min=1e-12).log10(), alpha > 0.01, -7.0, 0.0),
    ]
    return pictures, (near, far)


def splat_row(points: Samples, few: Samples, view: lg.View, depths: tuple[float, float]) -> list[Tensor]:
    """The pictures of the lower row; depths: the ends of the colour scale."""
    start = time.perf_counter()
    splats = surface_splats(points, torch.cat((points.colors, points.normals), 1), view)
    seconds = time.perf_counter() - start
    print(f"{len(points.positions)} surface splats: {1e3 * seconds:.0f} ms; "
          f"{100 * splats.alpha.mean().item():.1f} % covered")  # fmt: skip
    return [
        splats.image[0, ..., :3],
        0.5 + 0.5 * splats.image[0, ..., 3:],
        colored(splats.depth[0], splats.alpha[0] > 0, *depths),
        surface_splats(few, few.colors, view).image[0],
    ]


def surface_splats(points: Samples, features: Tensor, view: lg.View) -> lg.Splats:
    """Splats that just overlap, on a background of ones."""
    radii = torch.full((len(points.positions),), 0.9 * points.spacing)
    return lg.surface_splats(points.positions, points.normals, radii, features, view, torch.ones(features.shape[1]))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draws a surface as surfels and as elliptical splats.")
    parser.add_argument("--samples", type=int, default=40_000)
    parser.add_argument("--size", type=int, default=320, help="pixels along a side of each picture")
    parser.add_argument("--out", type=Path, default=Path("surfels.png"))
    options = parser.parse_args(arguments)
    mesh = creature(level=5)
    camera = PerspectiveCamera.orbit(25.0, 15.0, 3.3, 40.0, (options.size, options.size))
    view = camera.view()

    points = sample(mesh, options.samples)
    upper, depths = surfel_row(points, view)
    lower = splat_row(points, sample(mesh, max(options.samples // 10, 1)), view, depths)
    save_image(torch.cat((torch.cat(upper, 1), torch.cat(lower, 1)), 0), options.out)
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
