"""Compare the gradient methods of `lumigrad.gradients`: what each sees, and where it leads.

For a triangle over a background, shows how every pixel changes with a shift to the right according to each method,
beside the truth. Then lets each method fit place, angle and size of a flat shape to its silhouette, from the same
start with the same optimiser, and prints the error that is left.

    python examples/compare_gradients.py --figure docs/images/gradients.png
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import Tensor

import lumigrad as lg
from lumigrad import gradients

SMALL, SIZE, FINE = 24, 128, 16
TRIANGLE = torch.tensor([[-0.62, -0.7, 0, 1], [0.75, -0.2, 0, 1], [-0.2, 0.8, 0, 1]])


class Fit(NamedTuple):
    """How one method fared: vertex error in pixels after every step, and milliseconds a step."""

    errors: list[float]
    milliseconds: float


def silhouette(pos: Tensor, tri: Tensor, size: int, method: str | None = None) -> Tensor:
    """1 where the shape is, 0 elsewhere [N, size, size, 1]; hard without a method."""
    frags = lg.rasterize(pos, tri, (size, size))
    inside = (frags.tri >= 0).to(pos.dtype)[..., None]
    return inside if method is None else gradients.apply(inside, frags, pos, tri, method)


def coverage(pos: Tensor, tri: Tensor, size: int, fine: int) -> Tensor:
    """What a camera would record: the mean of fine x fine samples a pixel."""
    samples = silhouette(pos, tri, size * fine)
    return samples.view(len(pos), size, fine, size, fine, 1).mean((2, 4))


# ---- What the methods see --------------------------------------------------------------------------------------


def shift_derivative(method: str) -> Tensor:
    """What the method says of each pixel's change [size, size] by a shift of one pixel to the right.

    Every pixel gets an image of its own whose incoming gradient is that pixel: all derivatives in one pass. Half the
    difference of asking for less and for more, as NMR answers only where the loss would fall.
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
    """The same by differences of coverage."""
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
    """Clip positions [1, V, 4] of the points at place = (x, y, angle, log size)."""
    c, s = place[2].cos(), place[2].sin()
    turned = points @ torch.stack((torch.stack((c, s)), torch.stack((-s, c)))) * place[3].exp()
    return torch.cat((turned + place[:2], turned.new_tensor([0, 1]).expand(len(points), 2)), 1)[None]


def fit(method: str, start: Tensor, target: Tensor, steps: int) -> Fit:
    """Adam on the squared difference of the images. The learning rate falls to a hundredth."""
    points, tri = star()
    goal = placed(points, target)
    wanted = coverage(goal, tri, SIZE, 8)
    place = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([place], lr=0.02)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.01 ** (1 / steps))
    errors, spent = [], 0.0
    for _ in range(steps + 1):
        began = time.perf_counter()
        pos = placed(points, place)
        errors.append(((pos - goal)[..., :2].norm(dim=-1).mean() * SIZE / 2).item())
        loss = ((silhouette(pos, tri, SIZE, method) - wanted) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        spent += time.perf_counter() - began
    return Fit(errors, 1000 * spent / (steps + 1))


# ---- The figure ----------------------------------------------------------------------------------------------------


def draw(path: Path, seen: dict[str, Tensor], fits: dict[str, Fit]) -> None:
    columns = len(seen) + 1
    figure = plt.figure(figsize=(1.7 * columns, 5.2), dpi=80, layout="constrained")
    grid = figure.add_gridspec(2, columns, height_ratios=[1, 1.5])
    pictures = {"image": silhouette(TRIANGLE[None], torch.tensor([[0, 1, 2]]), SMALL)[0, ..., 0], **seen}
    for k, (name, picture) in enumerate(pictures.items()):
        axes = figure.add_subplot(grid[0, k])
        # A few pixels next to an outline can have far more than all others: colours end where most do.
        scale = max(1, round(picture.abs()[picture.abs() > 1e-3].quantile(0.9).item()))
        axes.imshow(picture, cmap="gray" if name == "image" else "RdBu_r", vmin=0 if k == 0 else -scale, vmax=scale)
        axes.set_title(name if scale == 1 else f"{name} (÷{scale})", fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
    axes = figure.add_subplot(grid[1, :])
    for name, result in fits.items():
        axes.semilogy(result.errors, label=name)
    axes.set_xlabel("step")
    axes.set_ylabel("vertex error in pixels")
    axes.legend(fontsize=8, ncols=2)
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--steps", type=int, default=200, help="optimisation steps for each method")
    parser.add_argument("--figure", type=Path, default=Path("out/gradients.png"), help="where to write the figure")
    arguments = parser.parse_args()
    methods = sorted(gradients.METHODS)
    start, target = torch.tensor([-0.2, 0.12, 0.0, -1.0]), torch.tensor([0.13, -0.06, 0.25, -0.7])
    fits = {method: fit(method, start, target, arguments.steps) for method in methods}
    print(f"{'method':12} {'steps':>5} {'start':>9} {'error':>9} {'ms/step':>8}   (mean vertex error in pixels)")
    for method, result in fits.items():
        print(
            f"{method:12} {len(result.errors) - 1:5} {result.errors[0]:9.3f} {result.errors[-1]:9.4f} "
            f"{result.milliseconds:8.2f}"
        )
    seen = {"truth": true_derivative(), **{method: shift_derivative(method) for method in methods}}
    draw(arguments.figure, seen, fits)
    print(f"wrote {arguments.figure}")


if __name__ == "__main__":
    main()
