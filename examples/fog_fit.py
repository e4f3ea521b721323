"""The position of a ball in fog, from one picture: its dimness shows its distance.

python examples/fog_fit.py --output fog_fit.png
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.io import save_image
from lumigrad.render import render
from lumigrad.scene import Mesh, PBRMaterial, PerspectiveCamera, Scene, VoxelGrid, icosphere

FOG = VoxelGrid(torch.tensor([[[[0.35, 0.75, 0.8, 0.85]]]]), [[-4.0, -4.0, -4.0], [4.0, 4.0, 4.0]])
RED = PBRMaterial(base_color=(0.8, 0.1, 0.05))


def picture(ball: Mesh, place: Tensor, size: int) -> Tensor:
    """The ball at a place in the fog, seen from the fog's edge."""
    camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=4.0, fov_y=45.0, size=(size, size))
    moved = replace(ball, positions=ball.positions + place)
    return render(Scene([moved, FOG]), camera, shading="unlit", background=(0.1, 0.15, 0.3)).image


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Finds a ball in fog from one picture.")
    parser.add_argument("--output", type=Path, default=Path("fog_fit.png"))
    parser.add_argument("--size", type=int, default=96, help="pixels of a side")
    parser.add_argument("--steps", type=int, default=25)
    options = parser.parse_args(arguments)
    ball = icosphere(3)
    ball = replace(ball, positions=0.5 * ball.positions, materials=(RED,))
    truth = torch.tensor([0.35, -0.2, -0.8])
    place = torch.tensor([-0.1, 0.1, 0.5], requires_grad=True)
    with torch.no_grad():
        target, start = picture(ball, truth, options.size), picture(ball, place, options.size)
    print(f"start: {float((place.detach() - truth).norm()):.4f} away")
    optimizer = torch.optim.LBFGS([place], max_iter=options.steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        error = 1e3 * (picture(ball, place, options.size) - target).square().mean()
        error.backward()
        return error

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        found = picture(ball, place, options.size)
    print(f"end: {float((place.detach() - truth).norm()):.4f} away")
    save_image(torch.cat((start, target, found), 2)[0], options.output)
    print(options.output)


if __name__ == "__main__":
    main()
