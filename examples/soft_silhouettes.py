"""Soft silhouettes of a mesh at three widths, and its soft colours, side by side.

Usage:
    python examples/soft_silhouettes.py                          # the built-in creature, to soft_silhouettes.png
    python examples/soft_silhouettes.py --mesh spot.obj --out spot.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import lumigrad as lg
from lumigrad.io import load_mesh, save_image
from lumigrad.scene import PerspectiveCamera
from lumigrad.scene.shapes.procedural import creature

SIGMAS = (1e-5, 1e-3, 1e-2)  # squared distances; half the image's side is 1


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draws soft silhouettes at three widths, and soft colours.")
    parser.add_argument("--mesh", type=Path, help="a mesh file (default: the built-in creature)")
    parser.add_argument("--size", type=int, default=320, help="pixels along a side of each picture")
    parser.add_argument("--out", type=Path, default=Path("soft_silhouettes.png"))
    options = parser.parse_args(arguments)
    mesh = creature(level=4) if options.mesh is None else load_mesh(options.mesh)
    points = mesh.positions - (mesh.positions.amin(0) + mesh.positions.amax(0)) / 2
    points = points / points.abs().max()
    size = (options.size, options.size)
    pos = PerspectiveCamera.orbit(30.0, 20.0, 3.2, 45.0, size).project(points)
    tiles = [lg.soft_silhouette(pos, mesh.faces, size, sigma)[0].expand(-1, -1, 3) for sigma in SIGMAS]
    # Each vertex is coloured by its direction from the middle.
    colors = 0.5 + 0.5 * torch.nn.functional.normalize(points, dim=-1)
    image = lg.soft_colors(pos, mesh.faces, colors, size, SIGMAS[1], 1e-2, 0.0)
    tiles.append(image[0, ..., :3] * image[0, ..., 3:])
    save_image(torch.cat(tiles, 1), options.out)
    print(f"written: {options.out}, sigma {', '.join(map(str, SIGMAS))}, and colours")


if __name__ == "__main__":
    main()
