"""Pictures of gradients: each pixel's derivative by each method as a scene moves, and the descent directions of
vertices.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.gradients import scenes
from benchmarks.gradients.judging import Case, UnsupportedSceneError, cases_of, gradient_of
from benchmarks.gradients.methods import Entry
from benchmarks.gradients.scenes import Scene

FIELDS = (("overlap", 0), ("thin .5", 1), ("gap", 1), ("crease", 1), ("intersection", 4))
ARROWS = (("overlap", 0), ("sphere", 0), ("thin .5", 1))
DOTS_PER_INCH = 72
COLORS = 200  # of a picture's palette


def draw(methods: Mapping[str, Entry], folder: Path) -> list[Path]:
    """Writes the pictures to a folder and returns their paths."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    examples = [scenes.make(*each) for each in FIELDS + ARROWS]
    methods = {name: entry for name, entry in methods.items() if any(_can_render(entry, scene) for scene in examples)}
    return [_fields(methods, folder / "gradients_fields.png"), _arrows(methods, folder / "gradients_arrows.png")]


def _can_render(entry: Entry, scene: Scene) -> bool:
    try:
        entry.image(scene, scene.positions(scene.parameters).to(entry.dtype))
    except UnsupportedSceneError:
        return False
    return True


# ---- The derivative of every pixel


def _fields(methods: Mapping[str, Entry], path: Path) -> Path:
    """Rows: scenes. Columns: the image, the truth, the methods."""
    figure, axes = _grid(len(FIELDS), len(methods) + 2)
    for row, (family, seed) in enumerate(FIELDS):
        scene = scenes.make(family, seed)
        case = cases_of(scene, ["white"])[0]
        motion = _motion(scene)
        axes[row][0].imshow(case.image.numpy().clip(0, 1))
        axes[row][0].set_ylabel(family)
        truth = pixel_derivatives(Entry(lambda scene, pos: scene.exact(pos)), scene, motion)
        assert truth is not None
        limit = truth.abs().max().item()
        for column, (name, field) in enumerate([("truth", truth)] + [
            (name, pixel_derivatives(entry, scene, motion)) for name, entry in methods.items()
        ], 1):  # fmt: skip
            _title(axes, row, column, name)
            if field is not None:
                axes[row][column].imshow(field.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
    _title(axes, 0, 0, "image")
    return _saved(figure, path)


def pixel_derivatives(entry: Entry, scene: Scene, motion: Tensor) -> Tensor | None:
    """How fast each pixel [H, W] of the sum of colours changes with a motion of the parameters, by backward passes."""
    parameters = scene.parameters.clone().requires_grad_()
    try:
        image = entry.image(scene, scene.positions(parameters).to(entry.dtype))
    except UnsupportedSceneError:
        return None
    pixels = image.reshape(*scene.size, -1).sum(-1)
    found = torch.zeros(pixels.numel(), dtype=torch.float64)
    for k, pixel in enumerate(pixels.flatten()):
        (gradient,) = torch.autograd.grad(pixel, parameters, retain_graph=True, allow_unused=True)
        if gradient is not None:
            found[k] = (gradient * motion).sum()
    return found.view(scene.size)


def _motion(scene: Scene) -> Tensor:
    """A shift by a pixel to the right.

    If surfaces intersect, every second one comes nearer by a hundredth instead and all keep their places on the screen,
    so that only the intersections move.
    """
    points = scene.parameters
    if scene.family == "intersection":
        return torch.where(torch.arange(len(points))[:, None] // 3 % 2 == 0, -0.01 * points, 0)
    return points[:, 2:] * points.new_tensor([-2 / min(scene.size), 0, 0])


# ---- Arrows


def _arrows(methods: Mapping[str, Entry], path: Path) -> Path:
    """The descent of a smooth loss at the vertices: the truth in black, the methods in red."""
    figure, axes = _grid(len(ARROWS), len(methods))
    for row, (family, seed) in enumerate(ARROWS):
        case = cases_of(scenes.make(family, seed), ["smooth"])[0]
        places = _on_screen(case.scene)
        wanted = _descent(case, case.gradient)
        scale = wanted.norm(dim=1).max().item() / 6  # the longest arrow is six pixels long
        for column, (name, entry) in enumerate(methods.items()):
            axis = axes[row][column]
            _title(axes, row, column, name)
            axis.imshow(0.5 + 0.5 * case.image.numpy(), extent=(0, case.scene.size[1], case.scene.size[0], 0))
            _quiver(axis, places, wanted, scale, "black")
            try:
                _, gradient = gradient_of(entry.image, case, entry.dtype)
            except UnsupportedSceneError:
                continue
            _quiver(axis, places, _descent(case, gradient), scale, "red")
            axis.set_xlim(0, case.scene.size[1])
            axis.set_ylim(case.scene.size[0], 0)
        axes[row][0].set_ylabel(family)
    return _saved(figure, path)


def _on_screen(scene: Scene) -> Tensor:
    pos = scene.positions(scene.parameters)
    ndc = pos[:, :2] / pos[:, 3:]
    return torch.stack(((ndc[:, 0] + 1) * scene.size[1] / 2, (1 - ndc[:, 1]) * scene.size[0] / 2), 1)


def _descent(case: Case, gradient: Tensor) -> Tensor:
    """Minus the gradient with respect to screen positions [V, 2], x to the right and y down, up to a factor."""
    depth = -case.scene.parameters[:, 2:]
    return -gradient[:, :2] * depth * gradient.new_tensor([1, -1])


def _quiver(axis: Any, places: Tensor, arrows: Tensor, scale: float, color: str) -> None:
    kept = arrows.norm(dim=1) > 0.05 * scale
    x, y = places[kept].T.numpy()
    u, v = arrows[kept].T.numpy() / scale
    axis.quiver(x, y, u, v, color=color, angles="xy", scale_units="xy", scale=1, width=0.012, alpha=0.8)


# ---- Frames


def _grid(rows: int, columns: int) -> tuple[Any, Any]:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=(1.45 * columns, 1.3 * rows + 0.25), squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    return figure, axes


def _title(axes: Any, row: int, column: int, name: str) -> None:
    if row == 0:
        axes[0][column].set_title(name, fontsize=8)


def _saved(figure: Any, path: Path) -> Path:
    import matplotlib.pyplot as plt
    from PIL import Image

    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=DOTS_PER_INCH)
    plt.close(figure)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLORS)
    small.save(path, optimize=True)
    return path
