"""A Cornell box from one picture: the colours of its walls, and the pose of its block.

The block's place on the floor, its rotation, and the colours of two walls are optimised together against one picture.
The block's motion shows in its edges, in its shadow, and in the light that it blocks from and reflects to the walls.

Usage:
    python examples/cornell_pose.py           # to cornell_pose.png
    python examples/cornell_pose.py --steps 200 --samples 16
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from cornell import WHITE, block, camera, walls
from light_common import save_figure
from torch import Tensor

from lumigrad.render import render_path
from lumigrad.scene import DiffuseMaterial, Mesh, Scene

LEFT, RIGHT = 3, 4  # of the walls
PLACE, TURN = (0.25, 0.1), -17.0
COLORS = ((0.63, 0.06, 0.05), (0.14, 0.45, 0.09))
BLOCK = (0.6, 0.8, 0.6)


def standing(place: Tensor, degrees: Tensor) -> Mesh:
    """A block at (x, z) on the floor, rotated about the vertical."""
    still = block((0.0, 0.0), BLOCK, 0.0)
    turn = degrees * (torch.pi / 180)
    c, s, zero = turn.cos(), turn.sin(), torch.zeros(())
    matrix = torch.stack([torch.stack([c, zero, s]), torch.stack([zero, zero + 1, zero]), torch.stack([-s, zero, c])])
    moved = still.positions @ matrix.T + torch.stack([place[0], zero, place[1]])
    return Mesh(moved, still.faces, materials=(WHITE,)).creased(0.0)


def room(place: Tensor, degrees: Tensor, colors: Tensor) -> Scene:
    """The walls, two of them in the colours [2, 3], and the block."""
    shapes = walls()
    for wall, color in zip((LEFT, RIGHT), colors, strict=True):
        shapes[wall] = replace(shapes[wall], materials=(DiffuseMaterial(base_color=color),))
    return Scene([*shapes, standing(place, degrees)])


def picture(scene: Scene, size: int, samples: int, seed: int) -> Tensor:
    """Linear light [H, W, 3]."""
    shot = render_path(scene, camera((size, size)), samples, 4, seed=seed, tone_mapping=lambda color: color)
    return shot.color[0]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Recovers colours and a block's place from one picture.")
    parser.add_argument("--size", type=int, default=48, help="pixels along a side of the picture")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--samples", type=int, default=8, help="paths of each pixel, in each step")
    parser.add_argument("--out", type=Path, default=Path("cornell_pose.png"))
    options = parser.parse_args(arguments)
    truth = torch.tensor(PLACE), torch.tensor(TURN), torch.tensor(COLORS)
    photo = picture(room(*truth), options.size, 32 * options.samples, 0)
    weight = 1 / (photo + 0.1)

    place = torch.tensor([-0.05, -0.2], requires_grad=True)
    tens = torch.tensor(-0.4, requires_grad=True)  # of degrees
    logits = torch.full((2, 3), -1.0, requires_grad=True)
    start = room(place.detach().clone(), 10 * tens.detach().clone(), logits.detach().sigmoid())
    optimiser = torch.optim.Adam([{"params": [place], "lr": 0.03}, {"params": [tens, logits], "lr": 0.2}])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.05 ** (step / options.steps))
    errors: dict[str, list[float]] = {"picture": [], "place": [], "turn in degrees": [], "colours": []}
    begin = time.process_time()
    for step in range(options.steps):
        image = picture(room(place, 10 * tens, logits.sigmoid()), options.size, options.samples, 1 + step)
        loss = (weight * (image - photo)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            errors["picture"].append(loss.item())
            errors["place"].append((place - truth[0]).norm().item())
            errors["turn in degrees"].append(abs(10 * tens.item() - TURN))
            errors["colours"].append((logits.sigmoid() - truth[2]).abs().mean().item())
        if step % 20 == 19:
            spent = time.process_time() - begin
            print(f"step {step + 1}: place off by {errors['place'][-1]:.3f}, {spent:.0f} s of the processor")
    for name, values in errors.items():
        print(f"{name}: {values[0]:.3f} off at first, {values[-1]:.3f} found")
    found = room(place.detach(), 10 * tens.detach(), logits.detach().sigmoid())
    shown = {"truth": room(*truth), "start": start, "found": found}
    rows = [[(name, picture(scene, 3 * options.size, 32, 0)) for name, scene in shown.items()]]
    save_figure(options.out, rows, errors)


if __name__ == "__main__":
    main()
