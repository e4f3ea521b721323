"""Path-traced smoke, and its densities recovered from four pictures.

python examples/smoke.py --output smoke.png
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
from light_common import save_figure
from torch import Tensor

from lumigrad.render import render_path
from lumigrad.scene import AmbientLight, DiffuseMaterial, GridMedium, Mesh, PerspectiveCamera, Scene

BOX = ((-0.6, 0.0, -0.6), (0.6, 1.6, 0.6))
EXTINCTION, ALBEDO, DEPTH = 9.0, 0.95, 6
HAZE = 0.05  # the initial density of a fit
RATE, SAMPLES = 0.03, 16  # of a fit: the first learning rate, and paths of each pixel


def plume(sides: tuple[int, int, int]) -> Tensor:
    """Densities [D, H, W] of a column that winds and widens as it rises, in puffs."""
    z, y, x = torch.meshgrid(*((torch.arange(n) + 0.5) / n for n in sides), indexing="ij")
    angle, width = 5 * y, 0.08 + 0.2 * y
    x, z = x - 0.5 - 0.14 * y * angle.cos(), z - 0.5 - 0.14 * y * angle.sin()
    puffs = 0.65 + 0.35 * torch.sin(19 * y + 7 * x) * torch.cos(23 * z + 3 * y) * torch.cos(17 * x - 5 * y)
    inside = torch.exp(-(x.square() + z.square()) / (0.5 * width.square()))
    return (inside * puffs * (1.15 - y) - 0.12).clamp_min(0) * (1 - (2 * y - 1) ** 8)


def square(half: float, height: float, up: bool, material: DiffuseMaterial, x: float = 0.0) -> Mesh:
    """A square parallel to the ground, facing up or down."""
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
    """An image in linear light [H, W, 3]."""
    return render_path(scene(densities), camera(azimuth, size), samples, DEPTH, seed).color[0]


def recover(views: list[float], photos: list[Tensor], truth: Tensor, steps: int) -> tuple[Tensor, dict[str, list]]:
    """Fits densities to the photos, starting with uniform haze; returns them and the curves of errors.

    truth: gives the size; its values are only used for the second curve.
    """
    densities = torch.full(truth.shape, HAZE, requires_grad=True)  # negative values count as 0
    optimizer = torch.optim.Adam([densities], lr=RATE)
    errors: dict[str, list[float]] = {"pictures": [], "densities": []}
    begin = time.process_time()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * 0.5 * (1.03 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        loss = torch.zeros(())
        for view, photo in zip(views, photos, strict=True):
            shown = picture(densities, view, len(photo), SAMPLES, seed=1 + step)
            loss = loss + (shown - photo).square().mean() / len(views)
        loss.backward()
        optimizer.step()
        errors["pictures"].append(loss.item())
        errors["densities"].append((densities.detach().clamp_min(0) - truth).square().mean().item())
        if step % 20 == 19:
            print(f"step {step + 1}: loss {loss.item():.5f}, {time.process_time() - begin:.0f} s of the processor")
    return densities.detach().clamp_min(0), errors


def decibels(image: Tensor, truth: Tensor) -> float:
    """The peak signal-to-noise ratio of images in linear light, clipped at white."""
    return -10 * (image.clamp(0, 1) - truth.clamp(0, 1)).square().mean().log10().item()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Renders smoke, and recovers its densities from four pictures.")
    parser.add_argument("--output", type=Path, default=Path("smoke.png"))
    parser.add_argument("--size", type=int, default=160, help="pixels of a side")
    parser.add_argument("--samples", type=int, default=96, help="paths of each pixel of the pictures that are shown")
    parser.add_argument("--steps", type=int, default=100, help="of the optimiser")
    options = parser.parse_args(arguments)
    views, side, held_back = [20.0, 110.0, 200.0, 290.0], 32, 65.0
    truth = plume((14, 18, 14))
    with torch.no_grad():
        photos = [picture(truth, view, side, 256, seed=99) for view in views]
    found, errors = recover(views, photos, truth, options.steps)
    start = torch.full_like(truth, HAZE)
    grids = {"finer smoke": plume((48, 64, 48)), "truth": truth, "start": start, "found": found}
    with torch.no_grad():
        shown = {name: picture(grid, held_back, options.size, options.samples) for name, grid in grids.items()}
    before, after = (decibels(shown[name], shown["truth"]) for name in ("start", "found"))
    print(f"loss {errors['pictures'][0]:.5f} -> {errors['pictures'][-1]:.5f}")
    print(f"a view that was not looked at: {before:.1f} dB at first, {after:.1f} dB found")
    named = [(f"photo from {view:.0f} degrees", photo) for view, photo in zip(views, photos, strict=True)]
    save_figure(options.output, [named, list(shown.items())], errors)
    print(options.output)


if __name__ == "__main__":
    main()
