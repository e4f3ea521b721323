"""Smoke, path traced, and its densities recovered from four pictures of it.

python examples/smoke.py --output smoke.png
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.io import save_image
from lumigrad.render import render_path
from lumigrad.render.color import srgb_encode
from lumigrad.scene import AmbientLight, DiffuseMaterial, GridMedium, Mesh, PerspectiveCamera, Scene

BOX = ((-0.6, 0.0, -0.6), (0.6, 1.6, 0.6))
EXTINCTION, ALBEDO, DEPTH = 9.0, 0.95, 6


def plume(sides: tuple[int, int, int]) -> Tensor:
    """Densities [D, H, W] of a column that winds and widens as it rises, in puffs."""
    z, y, x = torch.meshgrid(*((torch.arange(n) + 0.5) / n for n in sides), indexing="ij")
    angle, width = 5 * y, 0.08 + 0.2 * y
    x, z = x - 0.5 - 0.14 * y * angle.cos(), z - 0.5 - 0.14 * y * angle.sin()
    puffs = 0.65 + 0.35 * torch.sin(19 * y + 7 * x) * torch.cos(23 * z + 3 * y) * torch.cos(17 * x - 5 * y)
    inside = torch.exp(-(x.square() + z.square()) / (0.5 * width.square()))
    return (inside * puffs * (1.15 - y) - 0.12).clamp_min(0) * (1 - (2 * y - 1) ** 8)


def square(half: float, height: float, up: bool, material: DiffuseMaterial, x: float = 0.0) -> Mesh:
    """Parallel to the ground; it faces up or down."""
    corners = torch.tensor([[-1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 0.0, -1.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    place = torch.tensor([x, height, 0.0])
    return Mesh(half * corners + place, faces if up else faces.flip(-1), materials=(material,))


def scene(densities: Tensor) -> Scene:
    """Smoke above the ground, below a lamp, under a dim sky."""
    smoke = GridMedium(densities=densities, box=BOX, extinction=EXTINCTION, albedo=ALBEDO, g=0.3)
    ground = square(6.0, 0.0, True, DiffuseMaterial(base_color=(0.35, 0.3, 0.26)))
    lamp = DiffuseMaterial(base_color=(0.0, 0.0, 0.0), emissive=(42.0, 36.0, 27.0), double_sided=False)
    return Scene(
        [ground, square(0.5, 3.2, False, lamp, 1.2), smoke.boundary()], lights=[AmbientLight(color=(0.12, 0.16, 0.24))]
    )


def camera(azimuth: float, size: int) -> PerspectiveCamera:
    return PerspectiveCamera.orbit(
        azimuth=azimuth, elevation=12.0, distance=3.6, fov_y=32.0, target=(0.0, 0.75, 0.0), size=(size, size)
    )


def picture(densities: Tensor, azimuth: float, size: int, samples: int, seed: int = 0) -> Tensor:
    """Linear light [H, W, 3]."""
    return render_path(scene(densities), camera(azimuth, size), samples, DEPTH, seed).color[0]


def recover(views: list[float], images: list[Tensor], sides: tuple[int, int, int], steps: int) -> tuple[Tensor, list]:
    """Densities whose pictures are those given, from an even haze on, and the losses on the way."""
    raw = torch.full(sides, -3.0, requires_grad=True)  # of softplus: densities stay positive
    optimizer = torch.optim.Adam([raw], lr=0.15)
    losses = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.15 * 0.5 * (1.03 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        loss = torch.zeros(())
        for view, image in zip(views, images, strict=True):
            shown = picture(torch.nn.functional.softplus(raw), view, len(image), 12, seed=1 + step)
            loss = loss + (shown - image).square().mean() / len(views)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return torch.nn.functional.softplus(raw).detach(), losses


def curve(losses: list[float], height: int, width: int) -> Tensor:
    """Losses against steps, on a logarithmic scale: [H, W, 3]."""
    values = torch.tensor(losses).log10()
    values = (values - values.min()) / (values.max() - values.min()).clamp_min(1e-6)
    at = torch.linspace(0, len(losses) - 1, width)
    line = torch.lerp(values[at.floor().long()], values[at.ceil().long()], at.frac())
    rows = torch.linspace(1.05, -0.05, height)[:, None]
    ink = (1 - (rows - line).abs() * height / 3).clamp(0, 1)[..., None]
    return 1 - ink * torch.tensor([0.9, 0.6, 0.2])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Renders smoke, and recovers its densities from four pictures.")
    parser.add_argument("--output", type=Path, default=Path("smoke.png"))
    parser.add_argument("--size", type=int, default=240, help="pixels of a side")
    parser.add_argument("--samples", type=int, default=128, help="paths of each pixel of the pictures that are shown")
    parser.add_argument("--steps", type=int, default=60, help="of the optimiser")
    options = parser.parse_args(arguments)
    sides, views, side = (14, 18, 14), [20.0, 110.0, 200.0, 290.0], 32
    with torch.no_grad():
        fine = picture(plume((48, 64, 48)), 65.0, options.size, options.samples)
        target = plume(sides)
        images = [picture(target, view, side, 256, seed=99) for view in views]
    found, losses = recover(views, images, sides, options.steps)
    print(f"loss {losses[0]:.5f} -> {losses[-1]:.5f}")
    with torch.no_grad():
        shown = [fine, *(picture(d, 65.0, options.size, options.samples) for d in (target, found))]
    parts = [srgb_encode(image).clamp(0, 1) for image in shown]
    save_image(torch.cat([*parts, curve(losses, options.size, options.size)], 1), options.output)
    print(options.output)


if __name__ == "__main__":
    main()
