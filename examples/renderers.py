"""One shape by five renderers, side by side: points, spheres, Gaussians, surfels, and softly rasterized triangles.

Below each picture is its depth.

Usage:
    python examples/renderers.py                                    # the built-in creature, to renderers.png
    python examples/renderers.py --samples 50000 --size 512 --out renderers.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib import colormaps
from surfels import facing, sample
from torch import Tensor

from lumigrad.io import save_image
from lumigrad.render import (
    Rendering,
    render_gaussians,
    render_points,
    render_soft,
    render_spheres,
    render_surfels,
)
from lumigrad.scene import (
    Camera,
    GaussianCloud,
    Lighting,
    PerspectiveCamera,
    PointCloud,
    SurfelCloud,
    constant_harmonics,
)
from lumigrad.scene.shapes.procedural import creature

WHITE = (1.0, 1.0, 1.0)


def pictures(samples: int, camera: Camera) -> dict[str, Rendering]:
    """The creature by each renderer."""
    mesh = creature(level=5)
    found = sample(mesh, samples)
    points = PointCloud(found.positions, found.colors, found.normals, torch.full((samples,), 1.6 * found.spacing))
    quats, harmonics, opacities = facing(found.normals), constant_harmonics(found.colors), torch.full((samples,), 0.9)
    flat = torch.tensor([found.spacing, found.spacing, 0.1 * found.spacing])
    gaussians = GaussianCloud(found.positions, quats, flat.expand(samples, 3), opacities, harmonics)
    surfels = SurfelCloud(found.positions, quats, flat[:2].expand(samples, 2), opacities, harmonics)
    light = Lighting(ambient=0.35, headlight=0.0, directions=((0.5, 0.7, 0.6),), intensities=(0.65,))
    return {
        "points": render_points(points, camera, WHITE),
        "spheres": render_spheres(points, camera, WHITE),
        "gaussians": render_gaussians(gaussians, camera, WHITE),
        "surfels": render_surfels(surfels, camera, WHITE),
        "soft": render_soft(mesh, camera, WHITE, sigma=3e-5, lights=light),
    }


def colored(depth: Tensor, seen: Tensor, near: float, far: float) -> Tensor:
    """Depths [H, W] as colours, white where nothing is visible."""
    table = torch.tensor(colormaps["viridis"](torch.linspace(0, 1, 256).numpy())[:, :3]).float()
    index = (255 * ((depth - near) / (far - near)).clamp(0, 1)).round().long()
    return torch.where(seen[..., None], table[index], 1)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draws one shape by five renderers.")
    parser.add_argument("--samples", type=int, default=6_000)
    parser.add_argument("--size", type=int, default=200, help="pixels along a side of each picture")
    parser.add_argument("--out", type=Path, default=Path("renderers.png"))
    options = parser.parse_args(arguments)
    camera = PerspectiveCamera.orbit(25.0, 15.0, 3.3, 40.0, (options.size, options.size))
    columns = []
    for name, shot in pictures(options.samples, camera).items():
        depth, seen = shot.depth[0, ..., 0], shot.primitive_ids[0] >= 0
        near, far = depth[seen].min().item(), depth[seen].max().item()
        print(f"{name}: {100 * shot.mask.mean().item():.1f} % covered, depth from {near:.2f} to {far:.2f}")
        columns.append(torch.cat((shot.image[0], colored(depth, seen, 2.2, 3.8)), 0))
    save_image(torch.cat(columns, 1), options.out)
    print(f"written: {options.out}")


if __name__ == "__main__":
    with torch.no_grad():
        main()
