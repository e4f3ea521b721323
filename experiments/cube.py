"""Vertices and colours of a cube, recovered from pictures of a few pixels.

After Laine, Hellsten, Karras, Seol, Lehtinen, Aila, "Modular Primitives for High-Performance Differentiable Rendering",
2020, section 4.1. The vertices of a unit cube are perturbed and its colours discarded; both are recovered from pictures
of random views. Every variant runs with the gradient of `antialias` and with the exact one. docs/experiments/cube.md
has results.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict, dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

import lumigrad as lg
from experiments.common import Run, generator, parser, set_rate, steps
from lumigrad.scene import PerspectiveCamera, quaternion_to_matrix

METHODS = ("antialias", "exact")
CORNERS = torch.tensor(list(itertools.product((-0.5, 0.5), repeat=3)))
# Four corners per face, in order around it.
FACES = torch.tensor([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
TRI = FACES[:, [0, 1, 2, 0, 2, 3]].reshape(12, 3)
# The same triangles, by corners of faces: for colours that differ across edges.
FACE_CORNERS = torch.arange(24).view(6, 4)[:, [0, 1, 2, 0, 2, 3]].reshape(12, 3)
DISTANCE, FOV = 3.0, 35.0
STARTING_RATE, FINAL_RATE = 1e-2, 1e-4
CONVERGED = 0.05  # of the cube's side, mean over vertices


@dataclass(frozen=True)
class Settings:
    """What to run; the defaults are those of the paper."""

    sizes: tuple[int, ...] = (2, 4, 8, 16)
    colors: tuple[int, ...] = (8, 24)
    runs: int = 10
    iterations: int = 5000


QUICK = Settings(runs=4, iterations=600)


class Variant(NamedTuple):
    size: int
    colors: int
    method: str

    @property
    def name(self) -> str:
        return f"{self.size}px-{self.colors}-colours-{self.method}"


def views(runs: int, size: int, random: torch.Generator) -> PerspectiveCamera:
    """One camera for each run; each sees the cube in a random rotation."""
    quaternions = torch.randn(runs, 4, generator=random)
    poses = torch.eye(4).repeat(runs, 1, 1)
    poses[:, :3, :3] = quaternion_to_matrix(quaternions / quaternions.norm(dim=1, keepdim=True))
    poses[:, 2, 3] = -DISTANCE
    return PerspectiveCamera.from_fov(FOV, (size, size), world_to_camera=poses)


def picture(vertices: Tensor, colors: Tensor, camera: PerspectiveCamera, method: str, topology: Tensor) -> Tensor:
    """Images [runs, size, size, 3] of cubes with vertices [runs, 8, 3], colours [runs, 8 or 24, 3], on black."""
    corners = TRI if colors.shape[1] == 8 else FACE_CORNERS

    def shade(frags: lg.Fragments) -> Tensor:
        return lg.interpolate(colors, frags, corners)

    pos = camera.project(vertices)
    frags = lg.rasterize(pos, TRI, camera.size)
    if method == "antialias":
        return lg.antialias(shade(frags), frags, pos, TRI, topology)
    jumps = colors.shape[1] == 24
    return lg.antialias(shade(frags), frags, pos, TRI, topology, method="exact", shade=shade, every_edge=jumps)


class Curves(NamedTuple):
    """The error curves of all runs of a variant."""

    errors: Tensor  # [iterations + 1, runs], mean distance of the vertices, before every step and after the last
    folded: Tensor  # [runs], whether a triangle faces the wrong way at the end


def fit(run: Run, variant: Variant, settings: Settings, seed: int) -> Curves:
    """Adam on the squared difference of the images, each step from a new random view.

    All runs are one batch. The loss is summed over them, so that each run has the gradients that it would have alone.
    """
    random = generator(seed, variant.colors)
    shape = (settings.runs, variant.colors, 3)
    true_colors = torch.rand(shape, generator=random)
    vertices = (CORNERS + torch.rand(settings.runs, 8, 3, generator=random) - 0.5).requires_grad_()
    colors = torch.rand(shape, generator=random).requires_grad_()
    truth = CORNERS.repeat(settings.runs, 1, 1)
    topology = lg.edge_topology(TRI)
    optimiser = torch.optim.Adam([vertices, colors], lr=STARTING_RATE, betas=(0.9, 0.999))
    errors: list[list[float]] = []
    for step in steps(run, variant.name, settings.iterations, optimiser, errors):
        errors.append(vertex_errors(vertices).tolist())
        camera = views(settings.runs, variant.size, generator(seed, variant.colors, step + 1))
        with torch.no_grad():
            wanted = picture(truth, true_colors, camera, variant.method, topology)
        got = picture(vertices, colors, camera, variant.method, topology)
        loss = ((got - wanted) ** 2).mean((1, 2, 3)).sum()
        set_rate(optimiser, STARTING_RATE * (FINAL_RATE / STARTING_RATE) ** (step / settings.iterations))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Curves(torch.tensor([*errors, vertex_errors(vertices).tolist()]), folded(vertices.detach()))


def vertex_errors(vertices: Tensor) -> Tensor:
    return (vertices.detach() - CORNERS).norm(dim=-1).mean(1)


def normals(vertices: Tensor) -> Tensor:
    """Triangle normals [..., 12, 3], each twice as long as its triangle's area."""
    a, b, c = vertices[..., TRI, :].unbind(-2)
    return torch.linalg.cross(b - a, c - a)


def folded(vertices: Tensor) -> Tensor:
    return ((normals(vertices) * normals(CORNERS)).sum(-1) <= 0).any(-1)


def summary(curves: Curves) -> dict[str, float | int]:
    start, end = curves.errors[0], curves.errors[-1]
    good = end < CONVERGED
    return {
        "runs": end.numel(),
        "converged": int(good.sum()),
        "folded": int(curves.folded.sum()),
        "start": start.mean().item(),
        "mean": end.mean().item(),
        "median": end.quantile(0.5).item(),
        "mean of the converged": end[good].mean().item() if good.any() else float("nan"),
    }


def draw(curves: dict[Variant, Curves], settings: Settings) -> Figure:
    figure, axes = plt.subplots(1, len(settings.colors), figsize=(9, 3.6), dpi=90, layout="constrained",
                                sharey=True, squeeze=False)  # fmt: skip
    for axis, colors in zip(axes[0], settings.colors):
        for (k, size), method in itertools.product(enumerate(settings.sizes), METHODS):
            errors = curves[Variant(size, colors, method)].errors
            style = "-" if method == "exact" else "--"
            axis.semilogy(errors.mean(1).numpy(), style, color=f"C{k}", label=f"{size} px, {method}", linewidth=1.3)
        axis.set_title(f"{colors} colours, " + ("continuous" if colors == 8 else "discontinuous at edges"))
        axis.set_xlabel("iteration")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel(f"vertex error, mean of {settings.runs} runs")
    axes[0, 0].legend(fontsize=7, ncols=2)
    return figure


def experiment(run: Run, settings: Settings, seed: int = 0) -> dict[Variant, Curves]:
    """Fits every variant, and writes ``results.json``, ``curves.pt`` and ``cube.png``."""
    curves: dict[Variant, Curves] = {}
    rows = {}
    print(f"{'variant':28} {'start':>7} {'mean':>8} {'median':>8}  runs converged folded")
    for colors, size, method in itertools.product(settings.colors, settings.sizes, METHODS):
        variant = Variant(size, colors, method)
        began = time.perf_counter()
        curves[variant] = fit(run, variant, settings, seed)
        row = rows[variant.name] = summary(curves[variant])
        print(
            f"{variant.name:28} {row['start']:7.3f} {row['mean']:8.1e} {row['median']:8.1e}  "
            f"{row['runs']:4} {row['converged']:9} {row['folded']:6}  ({time.perf_counter() - began:.0f} s)",
            flush=True,
        )
    run.save_json({"settings": asdict(settings), "seed": seed, "variants": rows})
    torch.save({variant.name: found.errors for variant, found in curves.items()}, run.path("curves.pt"))
    figure = draw(curves, settings)
    run.save_figure(figure, "cube.png")
    plt.close(figure)
    return curves


def main() -> None:
    args = parser("cube", __doc__.split("\n", 1)[0]).parse_args()
    experiment(Run("cube", args), QUICK if args.quick else Settings(), args.seed)


if __name__ == "__main__":
    main()
