"""A texture recovered from images far coarser than itself, with and without mipmaps.

After Laine, Hellsten, Karras, Seol, Lehtinen, Aila, "Modular Primitives for High-Performance Differentiable Rendering",
2020, section 4. A cube map on a sphere is seen from distances of 1.5 to 50; from most, a pixel covers many texels. The
references are supersampled and therefore correct at every distance. Lookups without mipmaps alias, and their gradients
reach only a few of the texels that a pixel covers. docs/experiments/texture.md has results.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

import lumigrad as lg
from experiments import procedural
from experiments.common import Run, add_device, device_of, generator, parser, set_rate, steps
from lumigrad.fit import psnr
from lumigrad.scene import PerspectiveCamera, icosphere, quaternion_to_matrix

FILTERS = {"mipmaps": "linear-mipmap-linear", "no mipmaps": "linear"}
PUBLISHED = {"mipmaps": 32.9, "no mipmaps": 25.6}  # dB
FOV = 45.0
STARTING_RATE, FINAL_RATE = 1e-2, 1e-5
SUBDIVISIONS = 4  # of the icosphere: 5120 triangles
BAND = 512  # rows of a reference held in memory at the same time
CURVE_POINTS = 100


@dataclass(frozen=True)
class Settings:
    """What to run; the defaults are those of the paper."""

    faces: int = 512  # texels along the edge of a face
    size: int = 512  # of the images
    samples: int = 8  # of a reference along the edge of a pixel: 4096 along that of the image
    iterations: int = 20_000
    distances: tuple[float, float] = (1.5, 50.0)  # from the centre of a sphere of radius 1
    device: str = "cpu"


# Most of the published views are too far away to resolve a texel; only many iterations make up for that.
QUICK = Settings(faces=64, size=64, iterations=4000, distances=(1.5, 15.0))


class Sphere(NamedTuple):
    """Every point of its surface is also its direction for lookups in the cube map."""

    vertices: Tensor
    tri: Tensor
    topology: Tensor


def sphere(device: str = "cpu") -> Sphere:
    mesh = icosphere(SUBDIVISIONS).to(device)
    return Sphere(mesh.positions, mesh.faces.int(), lg.edge_topology(mesh.faces))


# ---- Images --------------------------------------------------------------------------------------------------------


def view(size: int, distances: tuple[float, float], random: torch.Generator) -> PerspectiveCamera:
    """A camera at a uniformly random distance and rotation, looking at the centre of the sphere."""
    pose = torch.eye(4)
    pose[:3, :3] = quaternion_to_matrix(torch.randn(4, generator=random))
    near, far = distances
    pose[2, 3] = -(near + (far - near) * torch.rand((), generator=random))
    return PerspectiveCamera.from_fov(FOV, (size, size), world_to_camera=pose[None])


def cropped(camera: PerspectiveCamera) -> PerspectiveCamera:
    """The same camera without the black rows and columns around the sphere: the same pixels and rays."""
    distance = -camera.world_to_camera[0, 2, 3].item()
    size = camera.size[0]
    # The outline is a circle: the sphere's tangent cone from the eye. One more pixel allows for rounding.
    radius = math.ceil(camera.fy.item() / math.sqrt(distance**2 - 1)) + 1
    kept = min(size, 2 * radius + size % 2)
    return replace(camera, cx=0.5 * kept, cy=0.5 * kept, size=(kept, kept))


def image(cube: Tensor, camera: PerspectiveCamera, ball: Sphere, name: str) -> Tensor:
    """The fitted image [1, H, W, 3]: one lookup per pixel in the cube map [1, 6, S, S, 3]; antialiased, on black."""
    pos = camera.project(ball.vertices)
    frags = lg.rasterize(pos, ball.tri, camera.size)
    direction, direction_d = lg.interpolate(ball.vertices, frags, ball.tri, derivatives=True)
    color = lg.texture_cube(cube, direction, direction_d, filter=FILTERS[name])
    return lg.antialias(color, frags, pos, ball.tri, ball.topology)


@torch.no_grad()
def reference(cube: Tensor, camera: PerspectiveCamera, ball: Sphere, samples: int) -> Tensor:
    """The mean of samples x samples bilinear lookups per pixel [1, H, W, 3], rendered in bands of rows."""
    height, width = camera.size
    fine = camera.resized((height * samples, width * samples))
    bands = []
    for first in range(0, height, max(1, BAND // samples)):
        rows = min(max(1, BAND // samples), height - first)
        band = replace(fine, cy=fine.cy - first * samples, size=(rows * samples, width * samples))
        frags = lg.rasterize(band.project(ball.vertices), ball.tri, band.size, derivatives=False)
        color = lg.texture_cube(cube, lg.interpolate(ball.vertices, frags, ball.tri), filter="linear")
        bands.append(color.view(1, rows, samples, width, samples, 3).mean((2, 4)))
    return torch.cat(bands, 1)


# ---- Fitting -------------------------------------------------------------------------------------------------------


class Fitted(NamedTuple):
    textures: dict[str, Tensor]  # [6, S, S, 3]
    curve: list[list[float]]  # step, PSNR of each texture


def fit(run: Run, truth: Tensor, settings: Settings, seed: int) -> Fitted:
    """Adam on the squared difference of the images, each step from a new random view.

    The loss is a sum over the pixels: a mean of so many would bring gradients close to Adam's epsilon. Both textures
    see the same views, so that they share each reference. They are otherwise independent: their losses are added, and
    Adam treats every texel separately.
    """
    ball, truth = sphere(settings.device), truth[None].to(settings.device)
    textures = {name: torch.full_like(truth, 0.5).requires_grad_() for name in FILTERS}
    optimiser = torch.optim.Adam(textures.values(), lr=STARTING_RATE, fused=True)
    curve: list[list[float]] = []
    every, began = max(1, settings.iterations // CURVE_POINTS), time.perf_counter()
    for step in steps(run, "texture", settings.iterations, optimiser, curve):
        if step % every == 0:
            curve.append([step, *errors(textures, truth).values()])
        camera = cropped(view(settings.size, settings.distances, generator(seed, step + 1))).to(settings.device)
        wanted = reference(truth, camera, ball, settings.samples)
        images = torch.cat([image(cube, camera, ball, name) for name, cube in textures.items()])
        loss = ((images - wanted) ** 2).sum()
        set_rate(optimiser, STARTING_RATE * (FINAL_RATE / STARTING_RATE) ** (step / settings.iterations))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (step + 1) % max(1, settings.iterations // 10) == 0:
            values = ", ".join(f"{name} {value:.2f} dB" for name, value in errors(textures, truth).items())
            print(f"step {step + 1}: {values} ({time.perf_counter() - began:.0f} s)", flush=True)
    curve.append([settings.iterations, *errors(textures, truth).values()])
    return Fitted({name: cube.detach()[0].cpu() for name, cube in textures.items()}, curve)


def errors(textures: dict[str, Tensor], truth: Tensor) -> dict[str, float]:
    """PSNR in dB over all texels, of each texture [1, 6, S, S, 3]."""
    return {name: psnr(cube.detach().flatten(1, 2), truth.flatten(1, 2)).item() for name, cube in textures.items()}


# ---- Results -------------------------------------------------------------------------------------------------------


def draw(fitted: Fitted, truth: Tensor, settings: Settings) -> Figure:
    """PSNR over the steps, and a part of a face: the true and the recovered one."""
    drawn = Figure(figsize=(10.5, 3.0), dpi=90, layout="constrained")
    plot, *parts = drawn.subplots(1, 4, width_ratios=[1.4, 1, 1, 1])
    for k, name in enumerate(FILTERS):
        plot.plot([row[0] for row in fitted.curve], [row[1 + k] for row in fitted.curve], label=name)
    plot.set(xlabel="iteration", ylabel="PSNR of the texture, dB")
    plot.grid(alpha=0.3)
    plot.legend()
    shown = {"truth": truth} | {f"{name}, {fitted.curve[-1][1 + k]:.1f} dB": fitted.textures[name]
                                for k, name in enumerate(FILTERS)}  # fmt: skip
    part = max(1, settings.faces // 2)
    for axis, (title, cube) in zip(parts, shown.items()):
        axis.imshow(cube[4, :part, :part].clamp(0, 1).numpy(), interpolation="nearest")
        axis.set_title(title, fontsize=10)
        axis.set(xticks=[], yticks=[])
    return drawn


def experiment(args: argparse.Namespace) -> dict[str, Any]:
    """Fits with and without mipmaps, and writes ``results.json``, ``textures.pt`` and ``texture.png``."""
    run = Run("texture", args)
    base = QUICK if args.quick else Settings()
    settings = Settings(
        args.size or base.faces,
        args.size or base.size,
        args.samples or base.samples,
        args.iterations or base.iterations,
        base.distances,
        device_of(args),
    )
    if args.texture is None:
        truth = procedural.planet(settings.faces, args.seed)
    else:
        truth = procedural.from_file(args.texture, settings.faces)
    fitted = fit(run, truth, settings, args.seed)
    found = dict(zip(FILTERS, fitted.curve[-1][1:]))
    for name, value in found.items():
        print(f"{name}: {value:.2f} dB (published: {PUBLISHED[name]} dB)")
    results = {
        "settings": asdict(settings)
        | {"quick": args.quick, "seed": args.seed, "texture": str(args.texture or "planet")},
        "psnr": found,
        "published": PUBLISHED,
        "curve": fitted.curve,
    }
    run.save_json(results)
    torch.save({"truth": truth} | fitted.textures, run.path("textures.pt"))
    run.save_figure(draw(fitted, truth, settings), "texture.png")
    return results


def arguments() -> argparse.ArgumentParser:
    parsed = parser("texture", __doc__.split("\n", 1)[0])
    parsed.add_argument(
        "--texture", type=Path, metavar="FILE", help="equirectangular image in place of a planet made of noise"
    )
    parsed.add_argument("--size", type=int, help="width and height of the images, and of the faces of the cube map")
    parsed.add_argument("--samples", type=int, help="of a reference along the edge of a pixel")
    parsed.add_argument("--iterations", type=int, help="images of each texture")
    add_device(parsed)
    return parsed


if __name__ == "__main__":
    experiment(arguments().parse_args())
