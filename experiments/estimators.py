"""Published gradients of visibility side by side: what each yields in an image, and where optimisation by it ends.

For a triangle over a background, shows the derivative of every pixel with respect to a shift to the right, by each
method of `lumigrad.gradients` and exactly. Then each method fits the place, angle and size of a flat shape to its
silhouette, from the same starts with the same optimiser. docs/experiments/estimators.md has results.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

import lumigrad as lg
from experiments.common import Run, parser, set_rate, steps
from lumigrad import gradients

SMALL, FINE = 24, 16  # pixels of the image whose gradients are shown, and samples per pixel of the reference
TRIANGLE = torch.tensor([[-0.62, -0.7, 0, 1], [0.75, -0.2, 0, 1], [-0.2, 0.8, 0, 1]])


TARGET = torch.tensor([0.13, -0.06, 0.25, -0.7])  # x, y, angle, log size
SPREAD = torch.tensor([0.35, 0.35, 0.3, 0.3])  # spread of the starts around it: they overlap the target, some barely
STARTING_RATE, FINAL_RATE = 2e-2, 2e-4


@dataclass(frozen=True)
class Settings:
    size: int = 128
    starts: int = 8
    steps: int = 300


QUICK = Settings(size=64, starts=4, steps=200)


class Fit(NamedTuple):
    """The results of one method, and the time of a step for all starts."""

    errors: Tensor  # [steps + 1, starts], of vertices in pixels, before every step and after the last
    milliseconds: float


def silhouette(pos: Tensor, tri: Tensor, size: int, method: str | None = None) -> Tensor:
    """1 where the shape is, 0 elsewhere [N, size, size, 1]; hard without a method."""
    frags = lg.rasterize(pos, tri, (size, size))
    if method is None:
        return mask(frags)
    # The colours on either side of an outline; the other methods need only those of the image.
    options = {"shade": mask} if method == "exact" else {}
    return gradients.apply(mask(frags), frags, pos, tri, method, **options)


def mask(frags: lg.Fragments) -> Tensor:
    return (frags.tri >= 0).to(frags.bary.dtype)[..., None]


def coverage(pos: Tensor, tri: Tensor, size: int, fine: int) -> Tensor:
    """The image of an ideal camera: the mean of fine x fine samples per pixel."""
    samples = silhouette(pos, tri, size * fine)
    return samples.view(len(pos), size, fine, size, fine, 1).mean((2, 4))


# ---- What the methods see --------------------------------------------------------------------------------------


def shift_derivative(method: str) -> Tensor:
    """Each pixel's derivative [size, size] with respect to a shift of one pixel to the right, by the method.

    Every pixel gets its own image, whose incoming gradient is nonzero only at that pixel, so one pass yields all
    derivatives. The result is half the difference between incoming gradients of both signs, since NMR only responds if
    the loss would fall.
    """
    pixels, tri = SMALL * SMALL, torch.tensor([[0, 1, 2]])
    ask = torch.eye(pixels).view(pixels, SMALL, SMALL, 1)
    answers = []
    for sign in (1, -1):
        pos = TRIANGLE.repeat(pixels, 1, 1).requires_grad_()
        (grad,) = torch.autograd.grad((silhouette(pos, tri, SMALL, method) * ask).sum() * sign, pos)
        answers.append(grad[..., 0].sum(1))
    return ((answers[0] - answers[1]) / 2 * (2 / SMALL)).view(SMALL, SMALL)


def true_derivative() -> Tensor:
    """The same by finite differences of coverage."""
    sides, half = [], 0.25
    for shift in (half, -half):
        pos = (TRIANGLE + torch.tensor([shift * 2 / SMALL, 0, 0, 0]))[None]
        sides.append(coverage(pos, torch.tensor([[0, 1, 2]]), SMALL, FINE)[0, ..., 0])
    return (sides[0] - sides[1]) / (2 * half)


# ---- Where they lead ---------------------------------------------------------------------------------------------


def star() -> tuple[Tensor, Tensor]:
    """A lopsided star of five points, as a fan around its centre: [11, 2], faces."""
    corner = torch.arange(10)
    angle = corner * (2 * math.pi / 10)
    radius = torch.where(corner % 2 == 0, 1.0, 0.5) * (1 + 0.3 * torch.cos(angle))
    rim = radius[:, None] * torch.stack((angle.cos(), angle.sin()), 1)
    faces = torch.stack((torch.full((10,), 10), corner, (corner + 1) % 10), 1)
    return torch.cat((rim, torch.zeros(1, 2))), faces


def placed(points: Tensor, place: Tensor) -> Tensor:
    """Clip positions [N, V, 4] of the points [V, 2] at places [N, 4]: x, y, angle, log size."""
    x, y, angle, size = place.unbind(-1)
    c, s, zero = angle.cos() * size.exp(), angle.sin() * size.exp(), torch.zeros_like(x)
    rows = torch.stack((torch.stack((c, -s, x), -1), torch.stack((s, c, y), -1)), 1)
    flat = torch.cat((points, torch.ones(len(points), 1)), 1) @ rows.transpose(1, 2)
    return torch.cat((flat, torch.stack((zero, zero + 1), -1)[:, None].expand(-1, len(points), -1)), 2)


def fit(run: Run, method: str, settings: Settings, seed: int) -> Fit:
    """Adam on the squared difference of the images. The learning rate falls to a hundredth.

    All starts form one batch. The loss is summed over them, so that each has the gradients that it would have alone.
    """
    points, tri = star()
    goal = placed(points, TARGET[None])
    wanted = coverage(goal, tri, settings.size, 8)
    random = torch.Generator().manual_seed(seed)
    place = (TARGET + SPREAD * (2 * torch.rand(settings.starts, 4, generator=random) - 1)).requires_grad_()
    optimiser = torch.optim.Adam([place], lr=STARTING_RATE)
    series: list[tuple[list[float], float]] = []  # errors, seconds
    for step in steps(run, method, settings.steps, optimiser, series, every=50):
        began = time.perf_counter()
        set_rate(optimiser, STARTING_RATE * (FINAL_RATE / STARTING_RATE) ** (step / settings.steps))
        pos = placed(points, place)
        errors = vertex_errors(pos, goal, settings.size)
        loss = ((silhouette(pos, tri, settings.size, method) - wanted) ** 2).mean((1, 2, 3)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        series.append((errors, time.perf_counter() - began))
    end = vertex_errors(placed(points, place), goal, settings.size)
    all_errors, seconds = [errors for errors, _ in series], [spent for _, spent in series]
    return Fit(torch.tensor([*all_errors, end]), 1000 * sum(seconds) / len(seconds))


def vertex_errors(pos: Tensor, goal: Tensor, size: int) -> list[float]:
    """Mean vertex distance in pixels, for each start."""
    errors: list[float] = ((pos - goal)[..., :2].detach().norm(dim=-1).mean(1) * size / 2).tolist()
    return errors


# ---- The figure ----------------------------------------------------------------------------------------------------


def draw(seen: dict[str, Tensor], fits: dict[str, Fit]) -> Figure:
    columns = len(seen) + 1
    figure = plt.figure(figsize=(1.7 * columns, 5.2), dpi=80, layout="constrained")
    grid = figure.add_gridspec(2, columns, height_ratios=[1, 1.5])
    pictures = {"image": silhouette(TRIANGLE[None], torch.tensor([[0, 1, 2]]), SMALL)[0, ..., 0], **seen}
    for k, (name, picture) in enumerate(pictures.items()):
        axes = figure.add_subplot(grid[0, k])
        # A few pixels next to an outline can be far larger than all others: the colour scale ends where most do.
        scale = max(1, round(picture.abs()[picture.abs() > 1e-3].quantile(0.9).item()))
        axes.imshow(
            picture.numpy(), cmap="gray" if name == "image" else "RdBu_r", vmin=0 if k == 0 else -scale, vmax=scale
        )
        axes.set_title(name if scale == 1 else f"{name} (÷{scale})", fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
    axes = figure.add_subplot(grid[1, :])
    for name, result in fits.items():
        axes.semilogy(result.errors.quantile(0.5, dim=1).numpy(), label=name)
    axes.set_xlabel("step")
    axes.set_ylabel("median vertex error (pixels)")
    axes.legend(fontsize=8, ncols=2)
    axes.grid(alpha=0.3)
    return figure


def experiment(run: Run, settings: Settings, seed: int = 0) -> dict[str, Fit]:
    """Runs and plots every method, and writes ``results.json`` and ``estimators.png``."""
    truth = true_derivative()
    seen, fits, rows = {"truth": truth}, {}, {}
    print(
        f"{'method':12} {'field error':>11} {'start':>8} {'median':>8} {'worst':>8} {'ms/step':>8}   (errors in pixels)"
    )
    for method in sorted(gradients.METHODS):
        seen[method] = shift_derivative(method)
        fits[method] = fit(run, method, settings, seed)
        start, end = fits[method].errors[0], fits[method].errors[-1]
        row = rows[method] = {
            "field error": ((seen[method] - truth).norm() / truth.norm()).item(),
            "median start": start.quantile(0.5).item(),
            "median end": end.quantile(0.5).item(),
            "worst end": end.max().item(),
            "milliseconds": fits[method].milliseconds,
        }
        print(f"{method:12} {row['field error']:11.3f} {row['median start']:8.3f} {row['median end']:8.4f} "
              f"{row['worst end']:8.3f} {row['milliseconds']:8.2f}", flush=True)  # fmt: skip
    run.save_json({"settings": asdict(settings), "seed": seed, "methods": rows})
    figure = draw(seen, fits)
    run.save_figure(figure, "estimators.png")
    plt.close(figure)
    return fits


def main() -> None:
    args = parser("estimators", __doc__.split("\n", 1)[0]).parse_args()
    experiment(Run("estimators", args), QUICK if args.quick else Settings(), args.seed)


if __name__ == "__main__":
    main()
