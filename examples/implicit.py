"""Implicit surfaces: one function as three kinds of triangle meshes and as a traced surface, and a fit to silhouettes.

Upper row: marching cubes, FlexiCubes, marching tetrahedra, sphere tracing of the grid. Lower row: a ball is fitted to
the shape of the upper row, using only masks from eight sides; shown after 0, 1/4, 1/2 and all of the steps.

Usage:
    python examples/implicit.py                              # to implicit.png
    python examples/implicit.py --resolution 24 --steps 40 --size 128 --out implicit.png
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import torch
from torch import Tensor

import lumigrad as lg
from lumigrad.fit import curvature_loss, eikonal_loss, grid_gradients
from lumigrad.io import save_image
from lumigrad.render import render, render_implicit
from lumigrad.scene import Mesh, PerspectiveCamera, SignedDistanceGrid

CORNERS = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def knob(points: Tensor) -> Tensor:
    """The distance to a ring blended smoothly with a ball on it."""
    x, y, z = points.unbind(-1)
    ring = (((x**2 + y**2).sqrt() - 0.55) ** 2 + z**2).sqrt() - 0.17
    ball = (points - points.new_tensor([0.0, 0.5, 0.1])).norm(dim=-1) - 0.32
    blend = (0.5 + 0.5 * (ball - ring) / 0.1).clamp(0, 1)
    return ball * (1 - blend) + ring * blend - 0.1 * blend * (1 - blend)


def tetrahedra(grid: SignedDistanceGrid) -> tuple[Tensor, Tensor]:
    """The lattice of a grid's voxels as vertices [V, 3] and tetrahedra [T, 4], six per cell."""
    depth, height, width = grid.values.shape
    number = torch.arange(depth * height * width).view(depth, height, width)
    points = torch.stack(torch.unravel_index(number.flatten(), number.shape)[::-1], -1)
    steps = (1, width, width * height)
    base = number[:-1, :-1, :-1].flatten()
    paths = [itertools.accumulate((steps[k] for k in order), initial=0) for order in itertools.permutations(range(3))]
    tets = torch.cat([base[:, None] + torch.tensor(list(path)) for path in paths])
    return grid.corners[0] + (points + 0.5) * grid.voxel_size, tets


def fit(grid: SignedDistanceGrid, resolution: int, steps: int, size: int) -> list[SignedDistanceGrid]:
    """Fits a ball to the grid's shape by masks; returns the shapes after 0, 1/4, 1/2 and all of the steps."""
    cameras = PerspectiveCamera.orbit(torch.arange(8) * 45.0, torch.tensor([20.0, -20.0] * 4), 3.2, 40.0, (size, size))
    with torch.no_grad():
        masks = render_implicit(grid, cameras, shading="unlit", silhouette=0.0).mask
    start = SignedDistanceGrid.from_function(lambda x: x.norm(dim=-1) - 0.6, resolution, CORNERS)
    values = start.values.clone().requires_grad_()
    optimiser = torch.optim.Adam([values], 0.5 / resolution)
    kept = [start]
    for step in range(1, steps + 1):
        optimiser.zero_grad()
        shape = SignedDistanceGrid(values, CORNERS)
        mask = render_implicit(shape, cameras, shading="unlit").mask
        rough = 0.003 * eikonal_loss(grid_gradients(values, CORNERS)) + 2e-5 * curvature_loss(values, CORNERS)
        loss = ((mask - masks) ** 2).mean() + rough
        loss.backward()
        optimiser.step()
        if step % 10 == 0:
            with torch.no_grad():
                values.copy_(lg.redistance(values, CORNERS, sweeps=4))
        if step in (steps // 4, steps // 2, steps):
            kept.append(SignedDistanceGrid(values.detach().clone(), CORNERS))
            print(f"step {step}: masks differ in {((mask > 0.5) != (masks > 0.5)).float().mean():.4f} of the pixels")
    return kept


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draws implicit surfaces.")
    parser.add_argument("--resolution", type=int, default=24, help="voxels along a side")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--size", type=int, default=256, help="pixels along a side of each picture")
    parser.add_argument("--out", type=Path, default=Path("implicit.png"))
    options = parser.parse_args(arguments)
    camera = PerspectiveCamera.orbit(30.0, 25.0, 3.2, 40.0, (options.size, options.size))
    grid = SignedDistanceGrid.from_function(knob, options.resolution, CORNERS)
    surfaces = (
        lg.marching_cubes(grid.values, box=CORNERS),
        lg.flexicubes(grid.values, box=CORNERS)[:2],
        lg.marching_tetrahedra(*tetrahedra(grid), grid.values.flatten()),
    )
    for name, (verts, faces) in zip(("marching cubes", "flexicubes", "tetrahedra"), surfaces, strict=True):
        print(f"{name}: {len(verts)} vertices, {len(faces)} triangles")
    white = 1.0
    upper = [render(Mesh(*each), camera, shading="flat", background=white).image[0] for each in surfaces]
    upper.append(render_implicit(grid, camera, shading="phong", background=white, supersampling=2).image[0])
    fitted = fit(grid, options.resolution, options.steps, max(options.size // 4, 16))
    lower = [
        render_implicit(each, camera, shading="phong", background=white, supersampling=2).image[0] for each in fitted
    ]
    picture = torch.cat([torch.cat(row, 1) for row in (upper, lower)])
    save_image(picture.detach().clamp(0, 1), options.out)


if __name__ == "__main__":
    main()
