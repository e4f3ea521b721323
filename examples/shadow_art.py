"""The shape of an object from its shadow.

A flat object hangs under a small panel light, outside the picture: the camera sees the ground below, where its shadow
falls. From one picture of the shadow, the outline of the object is recovered, starting with a circle. The gradient from
a shadow to its caster comes from the edges in front of the light, as seen from points on the ground.

Usage:
    python examples/shadow_art.py             # two minutes on two cores, to shadow_art.png
    python examples/shadow_art.py --steps 300 --corners 96
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
from light_common import save_figure
from torch import Tensor

from lumigrad.render import render, render_path
from lumigrad.scene import DiffuseMaterial, Mesh, PerspectiveCamera, Scene, look_at

HEIGHT, LAMP_HEIGHT = 1.2, 3.0  # heights of the object and of the lamp above the ground
BLACK = DiffuseMaterial(base_color=(0.0, 0.0, 0.0))
LAMP = DiffuseMaterial(base_color=(0.0, 0.0, 0.0), emissive=(150.0, 140.0, 120.0))


def square(half: float, height: float, material: DiffuseMaterial) -> Mesh:
    corners = torch.tensor([[-1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 0.0, -1.0]])
    placed = half * corners + torch.tensor([0.0, height, 0.0])
    return Mesh(placed, torch.tensor([[0, 1, 2], [0, 2, 3]]), materials=(material,))


def thing(radii: Tensor) -> Mesh:
    """A flat shape around its middle, given the distances of its corners."""
    count = len(radii)
    angle = 2 * math.pi * torch.arange(count) / count
    rim = torch.stack([radii * angle.cos(), torch.full((count,), HEIGHT), radii * angle.sin()], -1)
    k = torch.arange(count)
    faces = torch.stack([torch.full((count,), count), (k + 1) % count, k], -1)
    return Mesh(torch.cat([rim, torch.tensor([[0.0, HEIGHT, 0.0]])]), faces, materials=(BLACK,))


def flower(count: int) -> Tensor:
    """The true radii: five petals, one of them longer."""
    angle = 2 * math.pi * torch.arange(count) / count
    return 0.26 * (1 + 0.35 * torch.cos(5 * angle) + 0.15 * torch.cos(angle - 0.6))


def shadow(radii: Tensor, size: int, samples: int, seed: int) -> Tensor:
    """The camera's image of the ground [H, W, 3] from below the object; direct light alone."""
    ground = square(3.0, 0.0, DiffuseMaterial(base_color=(0.7, 0.7, 0.7)))
    scene = Scene([thing(radii), ground, square(0.1, LAMP_HEIGHT, LAMP)])
    down = look_at((0.0, 0.9, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, -1.0))
    camera = PerspectiveCamera.from_fov(76.0, (size, size), down)
    shot = render_path(scene, camera, samples, max_depth=2, seed=seed, tone_mapping=lambda color: color)
    return shot.color[0]


def seen(radii: Tensor, size: int) -> Tensor:
    """The object itself [H, W, 3], dark on white, from above."""
    above = PerspectiveCamera.from_fov(30.0, (size, size), look_at((0.0, 2.8, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, -1.0)))
    mask = render(Scene(thing(radii)), above, shading="unlit", supersampling=2).mask[0]
    return (1 - 0.9 * mask).expand(-1, -1, 3)


def bends(radii: Tensor) -> Tensor:
    """How much the outline bends from corner to corner."""
    return (radii.roll(1) - 2 * radii + radii.roll(-1)).square().sum()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Recovers a shape from its shadow.")
    parser.add_argument("--size", type=int, default=64, help="pixels along a side of the picture")
    parser.add_argument("--corners", type=int, default=60, help="of the outline")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--samples", type=int, default=8, help="paths of each pixel, in each step")
    parser.add_argument("--out", type=Path, default=Path("shadow_art.png"))
    options = parser.parse_args(arguments)
    truth = flower(options.corners)
    photo = shadow(truth, options.size, 256, 0)

    start = torch.full((options.corners,), 0.2)
    logarithms = start.log().requires_grad_()
    optimiser = torch.optim.Adam([logarithms], lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.steps, 0.002)
    errors: dict[str, list[float]] = {"shadow": [], "radii": []}
    begin = time.process_time()
    for step in range(options.steps):
        radii = logarithms.exp()
        image = shadow(radii, options.size, options.samples, 1 + step)
        loss = ((image - photo) / photo.max()).square().mean()
        optimiser.zero_grad()
        (loss + 0.1 * bends(radii)).backward()
        optimiser.step()
        schedule.step()
        errors["shadow"].append(loss.item())
        errors["radii"].append((radii - truth).abs().mean().item())
        if step % 20 == 19:
            spent = time.process_time() - begin
            print(f"step {step + 1}: radii off by {errors['radii'][-1]:.4f}, {spent:.0f} s of the processor")
    print(f"radii off by {errors['radii'][0]:.4f} at first, {errors['radii'][-1]:.4f} found")
    found = logarithms.detach().exp()
    shapes = {"truth": truth, "start": start, "found": found}
    shadows = [(f"{name}: shadow", shadow(radii, options.size, 64, 0) / photo.max()) for name, radii in shapes.items()]
    things = [(f"{name}: shape", seen(radii, 2 * options.size)) for name, radii in shapes.items()]
    save_figure(options.out, [shadows, things], errors)


if __name__ == "__main__":
    main()
