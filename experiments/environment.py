"""Surroundings and gloss of an object, recovered from its reflections.

After Laine, Hellsten, Karras, Seol, Lehtinen, Aila, "Modular Primitives for High-Performance Differentiable Rendering",
2020, section 4. An object of known shape mirrors an unknown environment map, and shines in the light of a known lamp by
Phong's model, whose parameters are unknown. Every image has a new random camera and a new random lamp.
docs/experiments/environment.md has results.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

import lumigrad as lg
from experiments import procedural
from experiments.common import Run, add_device, device_of, generator, parser, set_rate, steps
from lumigrad.fit import psnr
from lumigrad.scene import PerspectiveCamera, creature, cube_to_equirect, quaternion_to_matrix

DISTANCE, FOV = 3.2, 40.0
RATE, FINAL_RATE = 1e-2, 1e-3  # constant in the first half, then falling
CURVE_POINTS = 100


@dataclass(frozen=True)
class Settings:
    faces: int = 128  # texels along the edge of a face
    size: int = 256  # of the images
    iterations: int = 3000
    device: str = "cpu"


QUICK = Settings(faces=32, size=96, iterations=1500)


class Phong(NamedTuple):
    """The lamp's contribution: diffuse colour [3] times n.l, plus specular colour [3] times a power of (r.v)."""

    diffuse: Tensor
    specular: Tensor
    log_shininess: Tensor  # of the exponent [], so that steps are relative and it stays positive

    def numbers(self) -> dict[str, Any]:
        return {
            "diffuse": self.diffuse.tolist(),
            "specular": self.specular.tolist(),
            "shininess": self.log_shininess.exp().item(),
        }


def phong(diffuse: tuple[float, ...], specular: tuple[float, ...], shininess: float, device: str = "cpu") -> Phong:
    values = (diffuse, specular, math.log(shininess))
    return Phong._make(torch.tensor(value, device=device) for value in values)


TRUTH = ((0.35, 0.20, 0.10), (0.50, 0.45, 0.40), 30.0)  # diffuse, specular, shininess
START = ((0.0, 0.0, 0.0), (0.2, 0.2, 0.2), 5.0)


# ---- Images --------------------------------------------------------------------------------------------------------


class Shape(NamedTuple):
    surface: Tensor  # positions and normals of vertices [V, 6]
    tri: Tensor


def shape(device: str = "cpu") -> Shape:
    mesh = creature(5, 8).to(device)
    return Shape(torch.cat([mesh.positions, mesh.vertex_normals()], -1), mesh.faces.int())


class View(NamedTuple):
    camera: PerspectiveCamera
    lamp: Tensor  # unit direction towards it [3]


def view(size: int, random: torch.Generator, device: str = "cpu") -> View:
    """A camera and a lamp in uniformly random directions."""
    pose = torch.eye(4)
    pose[:3, :3] = quaternion_to_matrix(torch.randn(4, generator=random))
    pose[2, 3] = -DISTANCE
    lamp = torch.nn.functional.normalize(torch.randn(3, generator=random), dim=0)
    camera = PerspectiveCamera.from_fov(FOV, (size, size), world_to_camera=pose[None])
    return View(camera.to(device), lamp.to(device))


def image(environment: Tensor, gloss: Phong, seen: View, known: Shape) -> Tensor:
    """[1, H, W, 3], on black, with the cube map [1, 6, S, S, 3] looked up trilinearly."""
    frags = lg.rasterize(seen.camera.project(known.surface[:, :3]), known.tri, seen.camera.size)
    found, found_d = lg.interpolate(known.surface, frags, known.tri, derivatives=True)
    covered = (frags.tri >= 0)[..., None]
    # The background needs some direction to look up; it is masked in the end.
    found = torch.where(covered, found, 1.0)
    eye = seen.camera.position[:, None, None]
    incoming, normal = found[..., :3] - eye, found[..., 3:]
    normal, normal_d = _normalized(normal, found_d[..., 3:, :])
    mirrored, mirrored_d = _reflected(incoming, found_d[..., :3, :], normal, normal_d)
    color = lg.texture_cube(environment, mirrored, mirrored_d) + _shine(gloss, incoming, normal, seen.lamp)
    return torch.where(covered, color, 0.0)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)


def _normalized(vector: Tensor, vector_d: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors [..., 3], and their screen derivatives [..., 3, 2]."""
    length = vector.norm(dim=-1, keepdim=True)
    unit = vector / length
    along = (unit[..., None] * vector_d).sum(-2, keepdim=True)
    return unit, (vector_d - unit[..., None] * along) / length[..., None]


def _reflected(ray: Tensor, ray_d: Tensor, normal: Tensor, normal_d: Tensor) -> tuple[Tensor, Tensor]:
    """Rays [..., 3] of any length after reflection by unit normals, and their screen derivatives [..., 3, 2]."""
    across = _dot(ray, normal)
    across_d = (ray_d * normal[..., None] + ray[..., None] * normal_d).sum(-2, keepdim=True)
    out_d = ray_d - 2 * (across_d * normal[..., None] + across[..., None] * normal_d)
    return ray - 2 * across * normal, out_d


def _shine(gloss: Phong, incoming: Tensor, normal: Tensor, lamp: Tensor) -> Tensor:
    """The lamp's light reflected by the surface towards the eye [..., 3].

    Source: Phong 1975, "Illumination for Computer Generated Pictures".
    """
    cosine = _dot(normal, lamp)
    towards_eye = -torch.nn.functional.normalize(incoming, dim=-1)
    mirrored = _dot(2 * cosine * normal - lamp, towards_eye)
    seen = (cosine > 0) & (mirrored > 0)
    power = torch.where(seen, mirrored, 1.0) ** gloss.log_shininess.exp()
    return gloss.diffuse * cosine.clamp_min(0) + gloss.specular * torch.where(seen, power, 0.0)


# ---- Fitting -------------------------------------------------------------------------------------------------------


class Fitted(NamedTuple):
    environment: Tensor  # [6, S, S, 3]
    gloss: Phong
    curve: list[list[float]]  # step, PSNR of the environment, and the 7 numbers of Phong's model


def fit(run: Run, truth: Tensor, settings: Settings, seed: int) -> Fitted:
    """Adam on the squared difference of the images, each step from a new random view with a new random lamp."""
    known, truth = shape(settings.device), truth[None].to(settings.device)
    right = phong(*TRUTH, device=settings.device)
    environment = torch.full_like(truth, 0.5).requires_grad_()
    gloss = Phong(*(value.requires_grad_() for value in phong(*START, device=settings.device)))
    optimiser = torch.optim.Adam([environment, *gloss], lr=RATE)
    curve: list[list[float]] = []
    every, began = max(1, settings.iterations // CURVE_POINTS), time.perf_counter()

    def record(step: int) -> None:
        numbers = gloss.numbers()
        curve.append([step, error(environment, truth), *numbers["diffuse"], *numbers["specular"], numbers["shininess"]])

    for step in steps(run, "environment", settings.iterations, optimiser, curve):
        if step % every == 0:
            record(step)
        seen = view(settings.size, generator(seed, step + 1), settings.device)
        with torch.no_grad():
            wanted = image(truth, right, seen, known)
        loss = ((image(environment, gloss, seen, known) - wanted) ** 2).sum()
        fallen = max(0.0, 2 * step / settings.iterations - 1)
        set_rate(optimiser, RATE * (FINAL_RATE / RATE) ** fallen)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (step + 1) % max(1, settings.iterations // 10) == 0:
            print(f"step {step + 1}: environment {error(environment, truth):.2f} dB, "
                  f"shininess {gloss.log_shininess.exp().item():.2f} "
                  f"({time.perf_counter() - began:.0f} s)", flush=True)  # fmt: skip
    record(settings.iterations)
    return Fitted(environment.detach()[0].cpu(), Phong(*(value.detach().cpu() for value in gloss)), curve)


def error(environment: Tensor, truth: Tensor) -> float:
    """PSNR in dB over all texels of [1, 6, S, S, 3]."""
    return psnr(environment.detach().flatten(1, 2), truth.flatten(1, 2)).item()


# ---- Results -------------------------------------------------------------------------------------------------------


def draw(fitted: Fitted, truth: Tensor, settings: Settings, seed: int) -> Figure:
    """The true and recovered environment, an image of the object with each, and the curves."""
    drawn = Figure(figsize=(11, 4.4), dpi=90, layout="constrained")
    axes = drawn.subplots(2, 3, width_ratios=[2, 1, 1.6])
    known, seen = shape(), view(2 * settings.size, generator(seed, 0))
    rows = {"truth": (truth, phong(*TRUTH)), "found": (fitted.environment, fitted.gloss)}
    for line, (name, (environment, gloss)) in zip(axes, rows.items()):
        pictures = [cube_to_equirect(environment), image(environment[None], gloss, seen, known)[0]]
        for axis, picture in zip(line, pictures):
            axis.imshow(picture.clamp(0, 1).numpy())
            axis.set(xticks=[], yticks=[])
        line[0].set_title(f"environment: {name}", fontsize=10)
        line[1].set_title(f"object: {name}", fontsize=10)
    at = [row[0] for row in fitted.curve]
    axes[0, 2].plot(at, [row[1] for row in fitted.curve])
    axes[0, 2].set(xlabel="iteration", ylabel="environment: PSNR, dB")
    for first, kind, style, colors in ((2, "diffuse", "-", TRUTH[0]), (5, "specular", "--", TRUTH[1])):
        for k, (color, value) in enumerate(zip("rgb", colors)):
            label = kind if k == 0 else None
            values = [numbers[first + k] for numbers in fitted.curve]
            axes[1, 2].plot(at, values, style, color=color, label=label, linewidth=1.2)
            axes[1, 2].axhline(value, linestyle=style, color=color, linewidth=0.5)
    axes[1, 2].plot(at, [numbers[8] / 100 for numbers in fitted.curve], "k", label="shininess / 100", linewidth=1.2)
    axes[1, 2].axhline(TRUTH[2] / 100, color="k", linewidth=0.5)
    axes[1, 2].set(xlabel="iteration", ylabel="parameters (thin: truth)", ylim=(-0.02, 0.68))
    axes[1, 2].legend(fontsize=7, ncols=3, loc="upper center")
    for axis in axes[:, 2]:
        axis.grid(alpha=0.3)
    return drawn


def experiment(args: argparse.Namespace) -> dict[str, Any]:
    """Fits, and writes ``results.json``, ``environment.pt`` and ``environment.png``."""
    run = Run("environment", args)
    base = QUICK if args.quick else Settings()
    settings = Settings(
        args.faces or base.faces,
        args.size or base.size,
        args.iterations or base.iterations,
        device_of(args),
    )
    if args.environment is None:
        truth = procedural.landscape(settings.faces, args.seed)
    else:
        truth = procedural.from_file(args.environment, settings.faces)
    fitted = fit(run, truth, settings, args.seed)
    chosen = {"quick": args.quick, "seed": args.seed, "environment": str(args.environment or "landscape")}
    results: dict[str, Any] = {
        "settings": asdict(settings) | chosen,
        "environment psnr": fitted.curve[-1][1],
        "found": fitted.gloss.numbers(),
        "truth": phong(*TRUTH).numbers(),
        "start": phong(*START).numbers(),
        "curve": fitted.curve,
    }
    print(f"environment: {results['environment psnr']:.2f} dB")
    for name, value in results["found"].items():
        print(f"{name}: found {_text(value)}, truth {_text(results['truth'][name])}")
    run.save_json(results)
    torch.save({"truth": truth, "found": fitted.environment}, run.path("environment.pt"))
    run.save_figure(draw(fitted, truth, settings, args.seed), "environment.png")
    return results


def _text(value: float | list[float]) -> str:
    return " ".join(f"{part:.4f}" for part in (value if isinstance(value, list) else [value]))


def arguments() -> argparse.ArgumentParser:
    parsed = parser("environment", __doc__.split("\n", 1)[0])
    parsed.add_argument("--environment", type=Path, metavar="FILE", help="equirectangular image of the surroundings")
    parsed.add_argument("--faces", type=int, help="texels along the edge of a face of the environment")
    parsed.add_argument("--size", type=int, help="width and height of the images")
    parsed.add_argument("--iterations", type=int, help="one image each")
    add_device(parsed)
    return parsed


if __name__ == "__main__":
    experiment(arguments().parse_args())
