"""Soft spheres: a shape from silhouettes, a head from pictures, a network that shades features, and the speed.

After Lassner, Zollhoefer, "Pulsar: Efficient Sphere-based Neural Rendering", 2021, sections 5 and 6, on a small scale:
spheres are moved, resized, coloured and removed until they look like a glossy head from all sides. Held-out views
measure how well they show it from other directions. docs/experiments/spheres.md has results.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import lumigrad as lg
from benchmarks.splats import sphere_passes
from benchmarks.timing import Budget, copy_task, measure
from experiments.common import Run, parser, steps
from experiments.cube import generator
from lumigrad.fit import psnr, ssim
from lumigrad.render import render
from lumigrad.scene import EnvironmentLight, Mesh, PBRMaterial, PerspectiveCamera, Scene, icosphere, sky

METHODS = ["silhouettes", "colours", "features"]
DISTANCE, FIELD_OF_VIEW = 3.2, 34.0
DEPTHS = (DISTANCE - 1.3, DISTANCE + 1.3)  # the range to which the softmax over depth is relative
GAMMAS = (0.3, 0.1)  # of that softmax, first and last: softer ones give gradients to more rims and hidden spheres
RADII = 0.6  # radius of the ball that is filled at random in the beginning
# Adam's learning rates, by parameter; all fall to a tenth.
RATES = {"positions": 4e-3, "sizes": 2e-2, "features": 2e-2, "network": 3e-3}
PRUNINGS = (0.2, 0.4, 0.6, 0.8)  # parts of the fit after which spheres are removed
FAINT = 0.25  # a sphere that covers less of all views' pixels, relative to the mean sphere, is removed
CHANNELS, WIDTH = 15, 32  # of the features, and inside the network
MEASUREMENTS = 20
# Spheres in a slab at 1024 x 1024 pixels, and the largest radius; a radius of 0.1 is about 9 pixels.
SPEEDS = [(1_000, 1.0), (10_000, 1.0), (1_000, 0.1), (10_000, 0.1), (100_000, 0.1), (1_000_000, 0.1)]


@dataclass(frozen=True)
class Settings:
    size: int = 128
    views: int = 60
    held_out: int = 12
    spheres: int = 8000
    batch: int = 4  # views per step
    steps: int = 3000
    speed_size: int = 1024
    speed_spheres: int = 1_000_000  # at most


QUICK = Settings(size=48, views=24, held_out=6, spheres=1000, steps=200, speed_size=256, speed_spheres=10_000)


# ---- The head ---------------------------------------------------------------------------------------------------


def head(level: int = 5) -> Mesh:
    """An icosphere with a nose, ears, a chin, eyes, lips and wavy hair; y up, looking along z."""
    sphere = icosphere(level)
    at = sphere.positions
    x, y, z = at.unbind(1)

    def near(centre: tuple[float, float, float], sharpness: float) -> Tensor:
        """1 in the given direction, with a Gaussian falloff in the angle."""
        axis = torch.nn.functional.normalize(torch.tensor(centre), dim=0)
        return torch.exp(sharpness * (at @ axis - 1))

    hair = torch.sigmoid(14 * (y - 0.35 + 0.75 * (-z - 0.2).clamp(-0.6, 0.5)))
    radius = 0.7 + 0.15 * near((0, -0.05, 1), 55) + 0.07 * near((0, -0.8, 0.6), 12)
    eyes, pupils = torch.zeros_like(x), torch.zeros_like(x)
    for side in (-1.0, 1.0):
        radius += 0.16 * near((side, -0.02, -0.1), 45) - 0.06 * near((0.36 * side, 0.24, 0.9), 40)
        eyes += near((0.34 * side, 0.22, 0.9), 70)
        pupils += near((0.33 * side, 0.22, 0.9), 260)
    radius += hair * (0.05 + 0.02 * torch.sin(22 * torch.atan2(x, z) + 6 * y))
    layers: list[tuple[Tensor, tuple[float, float, float]]] = [
        (near((0, -0.42, 0.9), 40) * (y + 0.42).abs().mul(-12).exp(), (0.55, 0.12, 0.14)),
        (eyes, (0.9, 0.9, 0.88)),
        (pupils, (0.05, 0.12, 0.25)),
        (hair, (0.16, 0.07, 0.03)),
    ]
    color = torch.tensor([0.75, 0.45, 0.32]).expand(len(at), 3)
    for weight, paint in layers:
        amount = torch.sigmoid(20 * (weight - 0.45))[:, None]
        color = torch.lerp(color, torch.tensor(paint).expand_as(color), amount)
    return Mesh(at * radius[:, None] * torch.tensor([0.86, 1.08, 0.96]), sphere.faces, colors=color)


def around(count: int, size: int, turned: float = 0.0) -> PerspectiveCamera:
    """Cameras at evenly spaced heights between the poles, successive ones a golden angle apart."""
    index = torch.arange(count)
    elevation = torch.rad2deg(torch.asin(0.8 * ((2 * index + 1) / count - 1)))
    return PerspectiveCamera.orbit(turned + index * 137.508, elevation, DISTANCE, FIELD_OF_VIEW, (size, size))


class Views(NamedTuple):
    cameras: PerspectiveCamera
    pictures: Tensor  # [N, H, W, 4]: display-encoded colours on black, and coverage


@torch.no_grad()
def photographed(camera: PerspectiveCamera) -> Views:
    """The glossy head under a sky."""
    mesh = replace(head(), materials=(PBRMaterial(roughness=0.3),))
    scene = Scene([mesh], environment=EnvironmentLight(sky(64)))
    shots = [
        render(scene, camera[k], background=(0.0, 0.0, 0.0), supersampling=2, buffers=False)
        for k in range(camera.shape[0])
    ]
    return Views(camera, torch.cat([torch.cat([shot.image.clamp(0, 1), shot.mask], -1) for shot in shots]))


# ---- The spheres ------------------------------------------------------------------------------------------------


class Shader(nn.Module):
    """A small network from features, coverage and the viewing direction to an offset of the first three features."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels + 4, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, 3, 1),
        )  # fmt: skip
        # At the start, nothing is added.
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, seen: Tensor, rays: Tensor) -> Tensor:
        """seen [N, H, W, C + 1], its last channel the coverage; rays [N, H, W, 3] -> [N, H, W, 3]."""
        stack = torch.cat([seen, rays], -1).permute(0, 3, 1, 2)
        added: Tensor = self.layers(stack).permute(0, 2, 3, 1) * seen[..., -1:]
        return seen[..., :3] + added


class Spheres:
    """The fitted parameters. A sphere is removed by setting its radius to 0, which is not drawn, so that arrays keep
    their shapes."""

    def __init__(self, method: str, settings: Settings, seed: int) -> None:
        random = generator(seed, METHODS.index(method))
        count = settings.spheres
        direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=random), dim=-1)
        self.positions = (RADII * torch.rand(count, 1, generator=random) ** (1 / 3) * direction).requires_grad_()
        # Each radius corresponds to its share of the ball's volume.
        self.sizes = torch.full((count,), math.log(RADII * count ** (-1 / 3))).requires_grad_()
        channels = {"silhouettes": 0, "colours": 3, "features": CHANNELS}[method]
        features = 0.1 * torch.randn(count, channels, generator=random)
        features[:, :3] += 0.4
        self.features = features.requires_grad_()
        self.network = None
        if method == "features":
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                self.network = Shader(CHANNELS, WIDTH)

    def optimiser(self) -> torch.optim.Adam:
        groups = [{"params": [getattr(self, name)], "name": name} for name in ("positions", "sizes", "features")]
        if self.network is not None:
            groups.append({"params": list(self.network.parameters()), "name": "network"})
        return torch.optim.Adam(groups, betas=(0.9, 0.99))

    @property
    def count(self) -> int:
        return int((self.sizes.detach().exp() > 0).sum())

    def splat(self, camera: PerspectiveCamera, gamma: float) -> Tensor:
        """Features and coverage [N, H, W, C + 1]."""
        payload = torch.cat([self.features, torch.ones(len(self.features), 1)], 1)
        return drawn(self.positions, self.sizes.exp(), payload, camera, gamma)

    def picture(self, camera: PerspectiveCamera, gamma: float) -> Tensor:
        """Colours and coverage [N, H, W, 4], or coverage alone [N, H, W, 1]."""
        seen = self.splat(camera, gamma)
        if self.network is None:
            return seen
        rays = camera.rays()[1].view(*seen.shape[:-1], 3)
        return torch.cat([self.network(seen, rays), seen[..., -1:]], -1)

    def prune(self, cameras: PerspectiveCamera, gamma: float) -> None:
        """Removes spheres that no camera sees: a sphere's share of all pixels is the gradient of their sum to its
        coverage.
        """
        payload = torch.ones(len(self.positions), 1, requires_grad=True)
        with torch.no_grad():
            shape = self.positions.clone(), self.sizes.exp()
        for k in range(cameras.shape[0]):
            drawn(*shape, payload, cameras[k], gamma).sum().backward()
        assert payload.grad is not None
        with torch.no_grad():
            share = payload.grad[:, 0]
            self.sizes[share < FAINT * share.sum() / self.count] = -math.inf


def drawn(positions: Tensor, radii: Tensor, features: Tensor, camera: PerspectiveCamera, gamma: float) -> Tensor:
    """[N, H, W, C] on zeros."""
    near, far = DEPTHS
    return lg.spheres(positions, radii, features, camera.view(), gamma=gamma, min_depth=near, max_depth=far).image


def geometric(ends: tuple[float, float], part: float) -> float:
    """Geometric interpolation from the first value to the second."""
    return ends[0] * math.pow(ends[1] / ends[0], part)


class Fit(NamedTuple):
    spheres: Spheres
    curve: list[tuple[int, float, int]]  # step, quality of held-out views, spheres
    seconds: float  # of a step
    row: dict[str, float]


def fit(run: Run, method: str, settings: Settings, seed: int, seen: Views, held_out: Views) -> Fit:
    """Adam on the absolute difference of the pictures, each step from a few random views."""
    spheres = Spheres(method, settings, seed)
    optimiser = spheres.optimiser()
    channels = slice(3, 4) if method == "silhouettes" else slice(0, 4)
    prunings = {round(part * settings.steps) for part in PRUNINGS}
    interval = max(1, settings.steps // MEASUREMENTS)
    series: list[tuple[float, float | None, int]] = []  # seconds, quality at some steps, spheres
    for step in steps(run, method, settings.steps, optimiser, series):
        part = step / settings.steps
        gamma = geometric(GAMMAS, part)
        if step in prunings:
            spheres.prune(seen.cameras, gamma)
        quality = None if step % interval else measures(spheres, gamma, held_out)["quality"]
        began = time.perf_counter()
        for group in optimiser.param_groups:
            group["lr"] = RATES[group["name"]] * 0.1**part
        chosen = torch.randperm(settings.views, generator=generator(seed, step))[: settings.batch]
        got = spheres.picture(seen.cameras[chosen], gamma)
        loss = (got - seen.pictures[chosen, ..., channels]).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        series.append((time.perf_counter() - began, quality, spheres.count))
    end = measures(spheres, GAMMAS[1], held_out)
    curve = [(k, quality, count) for k, (_, quality, count) in enumerate(series) if quality is not None]
    curve.append((settings.steps, end["quality"], spheres.count))
    row = {"spheres": spheres.count} | end
    row |= {f"{name}, seen views": value for name, value in measures(spheres, GAMMAS[1], seen).items()}
    return Fit(spheres, curve, sorted(seconds for seconds, *_ in series)[len(series) // 2], row)


@torch.no_grad()
def measures(spheres: Spheres, gamma: float, views: Views) -> dict[str, float]:
    """Means over the views. "quality" is PSNR if there are colours, and IoU in per cent otherwise."""
    got = torch.cat([spheres.picture(views.cameras[k], gamma) for k in range(views.cameras.shape[0])])
    inside, wanted = got[..., -1] > 0.5, views.pictures[..., 3] > 0.5
    overlap = (inside & wanted).sum((1, 2)) / (inside | wanted).sum((1, 2))
    found = {"IoU": overlap.mean().item()}
    if got.shape[-1] == 1:
        return found | {"quality": 100 * found["IoU"]}
    image, target = got[..., :3].clamp(0, 1), views.pictures[..., :3]
    found |= {"PSNR": psnr(image, target).mean().item(), "SSIM": ssim(image, target).mean().item()}
    return found | {"quality": found["PSNR"]}


# ---- Speed ------------------------------------------------------------------------------------------------------


def speeds(run: Run, settings: Settings, budget: Budget) -> list[dict[str, Any]]:
    """Times of an image and of all its gradients; resumes after existing rows."""
    file = "state-speed.pt"
    rows: list[dict[str, Any]] = (run.load_state(file) or {"rows": []})["rows"]
    wanted = [(count, radius) for count, radius in SPEEDS if count <= settings.speed_spheres]
    for count, radius in wanted[len(rows) :]:
        forward, backward = sphere_passes(count, settings.speed_size, radius)
        timings = measure({"forward": forward, "backward": backward, "copy": copy_task()}, budget)
        ms = {name: 1000 * timing.median for name, timing in timings.items()}
        rows.append({"spheres": count, "largest radius": radius} | ms)
        print(f"{count:8} spheres, radii U(0, {radius}): " + ", ".join(f"{k} {v:.1f} ms" for k, v in ms.items()))
        run.save_state(file, rows=rows)
    return rows


# ---- Figures ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def pictures(fits: dict[str, Fit], held_out: Views, columns: int = 4) -> Figure:
    """Held-out views: the head, each fit, and channels 4 to 6 of the features."""
    rows: dict[str, list[Tensor]] = {"held-out view": [], **{name: [] for name in fits}}
    if "features" in fits:
        rows["its channels\n4 to 6"] = []
    for k in range(columns):
        camera = held_out.cameras[k]
        rows["held-out view"].append(held_out.pictures[k, ..., :3])
        for name, found in fits.items():
            image = found.spheres.picture(camera, GAMMAS[1])[0]
            rows[name].append(image.expand(-1, -1, 3) if image.shape[-1] == 1 else image[..., :3])
        if "features" in fits:
            features = fits["features"].spheres.splat(camera, GAMMAS[1])[0]
            rows["its channels\n4 to 6"].append((0.5 + features[..., 3:6]) * features[..., -1:])
    figure = Figure(figsize=(1.5 * columns + 0.4, 1.5 * len(rows)), dpi=80, layout="constrained")
    for line, (name, images) in zip(figure.subplots(len(rows), columns, squeeze=False), rows.items()):
        for axis, image in zip(line, images):
            axis.imshow(image.clamp(0, 1).numpy())
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=9)
    return figure


def plots(fits: dict[str, Fit], rows: list[dict[str, Any]], settings: Settings) -> Figure:
    figure = Figure(figsize=(11, 3.4), dpi=90, layout="constrained")
    quality, counts, speed = figure.subplots(1, 3)
    for name, found in fits.items():
        at, values, left = zip(*found.curve)
        quality.plot(at, values, label=name + (" (IoU, %)" if name == "silhouettes" else " (PSNR, dB)"))
        counts.plot(at, left, label=name)
    quality.set(xlabel="step", ylabel="held-out views")
    counts.set(xlabel="step", ylabel="spheres", ylim=(0, None))
    for radius, style in ((1.0, "--"), (0.1, "-")):
        line = [row for row in rows if row["largest radius"] == radius]
        for k, name in enumerate(("forward", "backward")):
            label = f"{name}, radii to {radius:g}"
            times = [row[name] for row in line]
            speed.loglog([row["spheres"] for row in line], times, style, color=f"C{k}", marker="o", label=label)
    speed.set(xlabel="spheres", ylabel="ms", title=f"{settings.speed_size}², CPU")
    for axis in (quality, counts, speed):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, loc="lower right" if axis is counts else "best")
    return figure


# ---- The experiment ---------------------------------------------------------------------------------------------


def experiment(run: Run, settings: Settings, seed: int = 0, budget: Budget | None = None) -> dict[str, Any]:
    """Fits and measures with every method, and writes ``results.json``, ``pictures.png`` and ``plots.png``."""
    seen = photographed(around(settings.views, settings.size))
    held_out = photographed(around(settings.held_out, settings.size, turned=30.0))
    fits = {}
    for method in METHODS:
        fits[method] = fit(run, method, settings, seed, seen, held_out)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in fits[method].row.items())
        print(f"{method}: {shown}, {1000 * fits[method].seconds:.0f} ms a step", flush=True)
    rows = speeds(run, settings, budget or Budget(repeats=3, seconds=1.0))
    results = {
        "settings": asdict(settings) | {"seed": seed},
        "fits": {name: found.row | {"ms": 1000 * found.seconds, "curve": found.curve} for name, found in fits.items()},
        "speeds": rows,
    }
    run.save_json(results)
    run.save_figure(pictures(fits, held_out, min(4, settings.held_out)), "pictures.png")
    run.save_figure(plots(fits, rows, settings), "plots.png")
    return results


def arguments() -> argparse.ArgumentParser:
    parsed = parser("spheres", __doc__.split("\n", 1)[0])
    parsed.add_argument("--spheres", type=int, help="in the beginning")
    parsed.add_argument("--steps", type=int, help="of each fit")
    parsed.add_argument("--size", type=int, help="width and height of the pictures")
    return parsed


def main() -> None:
    args = arguments().parse_args()
    settings = QUICK if args.quick else Settings()
    chosen = {name: value for name in ("spheres", "steps", "size") if (value := getattr(args, name)) is not None}
    budget = Budget(repeats=1, seconds=0.2, max_rounds=3) if args.quick else None
    experiment(Run("spheres", args), replace(settings, **chosen), args.seed, budget)


if __name__ == "__main__":
    main()
