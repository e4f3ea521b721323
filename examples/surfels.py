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


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draws a surface as surfels and as elliptical splats.")
    parser.add_argument("--samples", type=int, default=40_000)
    parser.add_argument("--size", type=int, default=320, help="pixels along a side of each picture")
    parser.add_argument("--out", type=Path, default=Path("surfels.png"))
    options = parser.parse_args(arguments)
    mesh = creature(level=5)
    camera = PerspectiveCamera.orbit(25.0, 15.0, 3.3, 40.0, (options.size, options.size))
    view = camera.view()
    white = torch.ones(3)

    points = sample(mesh, options.samples)
    count = len(points.positions)
    start = time.perf_counter()
    surfels = lg.surfels(
        points.positions, facing(points.normals), torch.full((count, 2), 1.1 * points.spacing),
        torch.full((count,), 0.9), points.colors, view, white,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    alpha = surfels.alpha[0]
    seen = alpha > 0.5
    depth = surfels.depth[0] / alpha.clamp(min=1e-6)
    near, far = depth[seen].min().item(), depth[seen].max().item()
    upper = [
        surfels.image[0],
        surfels.normals[0] * 0.5 + 0.5 * alpha[..., None] + (1 - alpha[..., None]),
        colored(depth, seen, near, far),
        colored(surfels.distortion[0].clamp(min=1e-12).log10(), alpha > 0.01, -7.0, 0.0),
    ]
    print(f"{count} surfels: {1e3 * seconds:.0f} ms; depth from {near:.2f} to {far:.2f}, "
          f"mean distortion {surfels.distortion.mean().item():.5f}")  # fmt: skip

    start = time.perf_counter()
    both = torch.cat((points.colors, points.normals), 1)
    radii = torch.full((count,), 0.9 * points.spacing)
    splats = lg.surface_splats(points.positions, points.normals, radii, both, view, torch.ones(6))
    seconds = time.perf_counter() - start
    few = sample(mesh, max(options.samples // 10, 1))
    coarse = lg.surface_splats(
        few.positions, few.normals, torch.full((len(few.positions),), 0.9 * few.spacing), few.colors, view, white
    )
    covered = splats.alpha[0] > 0
    lower = [
        splats.image[0, ..., :3],
        0.5 + 0.5 * splats.image[0, ..., 3:],
        colored(splats.depth[0], covered, near, far),
        coarse.image[0],
    ]
    print(f"{count} surface splats: {1e3 * seconds:.0f} ms; {100 * splats.alpha.mean().item():.1f} % covered")
    save_image(torch.cat((torch.cat(upper, 1), torch.cat(lower, 1)), 0), options.out)
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
