"""A shape from pictures: a signed distance grid, from the visual hull to a watertight mesh.

Pictures of a mesh are made first, with one light and one colour; the fit then uses only them, their masks and their
cameras. It prints the distance of the result from the mesh, and whether each of its edges belongs to two triangles. The
output shows, from left to right, the mesh, its visual hull and the result, from two directions without a photograph.

Usage:
    python examples/sdf_from_images.py                       # the built-in creature, to sdf_from_images.png
    python examples/sdf_from_images.py --mesh bunny.obj --save fitted.ply
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.fit import (
    chamfer_distance,
    default_sdf_stages,
    fibonacci_cameras,
    fit_sdf,
    largest_piece,
    render_views,
    visual_hull,
)
from lumigrad.io import load_mesh, save_image, save_mesh
from lumigrad.render import render_mesh
from lumigrad.scene import Lighting, Mesh, PerspectiveCamera, creature

BOX = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


def subject(path: Path | None) -> Mesh:
    """The shape alone, in the unit ball."""
    mesh = creature() if path is None else load_mesh(path)
    low, high = mesh.bounds()
    moved = mesh.positions - 0.5 * (low + high)
    used = moved[mesh.faces.reshape(-1).long()]
    return Mesh(0.95 * moved / used.norm(dim=-1).max(), mesh.faces)


def edges(mesh: Mesh) -> Tensor:
    """The number of triangles at each edge of a mesh."""
    pairs = torch.stack((mesh.faces, mesh.faces.roll(-1, 1)), -1).reshape(-1, 2).long().sort(-1).values
    return torch.unique(pairs, dim=0, return_counts=True)[1]


def report(name: str, mesh: Mesh, truth: Mesh) -> None:
    counts = edges(mesh)
    euler = len(mesh.positions) - len(counts) + len(mesh.faces)
    distance = 100 * chamfer_distance(mesh, truth, count=100_000)
    closed = "closed" if bool((counts == 2).all()) else "open"
    print(f"{name}: Chamfer distance {distance:.3f} % of the diagonal; {closed}, Euler number {euler}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Recovers a shape from pictures and masks.")
    parser.add_argument("--mesh", type=Path, help="whose pictures are taken; the built-in creature by default")
    parser.add_argument("--views", type=int, default=24)
    parser.add_argument("--size", type=int, default=128, help="pixels along a side of each picture")
    parser.add_argument("--resolution", type=int, default=96, help="voxels along a side")
    parser.add_argument("--effort", type=float, default=1.0, help="scales the number of steps")
    parser.add_argument("--save", type=Path, help="a mesh file for the result")
    parser.add_argument("--out", type=Path, default=Path("sdf_from_images.png"))
    options = parser.parse_args(arguments)
    truth, light = subject(options.mesh), Lighting()
    cameras = fibonacci_cameras(options.views, (options.size, options.size))
    views = render_views(truth, cameras, light)
    report("the mesh itself", truth, truth)
    hull = visual_hull(views, options.resolution, BOX).mesh()
    report("visual hull", hull, truth)
    begin = time.process_time()

    def said(step: int, error: float) -> bool:
        if step % 20 == 0:
            print(f"step {step}: {error:.4f} off, {time.process_time() - begin:.0f} s of the processor")
        return True

    grid = fit_sdf(
        views, light, BOX, default_sdf_stages(options.size, options.resolution, options.effort), on_step=said
    )
    mesh = largest_piece(grid).mesh()
    report("fit", mesh, truth)
    if options.save is not None:
        save_mesh(mesh, options.save)
    sides = PerspectiveCamera.orbit(torch.tensor([35.0, 205.0]), torch.tensor([15.0, 25.0]), 3.5, 35.0, (320, 320))
    columns = [render_mesh(shape, sides, light) for shape in (truth, hull, mesh)]
    picture = torch.cat([shot.over(1.0).flatten(0, 1) for shot in columns], 1)
    save_image(picture.clamp(0, 1), options.out)


if __name__ == "__main__":
    main()
