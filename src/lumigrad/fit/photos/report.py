"""The results of a fit to photographs: times, pictures and a fly-through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from lumigrad._optional import require
from lumigrad.fit.photos.cameras import flight
from lumigrad.fit.photos.photo import Photo
from lumigrad.io.image import save_gif
from lumigrad.scene.cameras.camera import PerspectiveCamera

LEVELS_DB = (20, 22, 24, 26)
# The image [1, H, W, 3] that a camera [1] sees.
Draw = Callable[[PerspectiveCamera], Tensor]


class Measured(Protocol):
    """The state of a fit that measures itself on the photographs held out."""

    iteration: int
    seconds: float
    curve: list[dict[str, float]]


def times(state: Measured, held_out: list[Photo], device: torch.device) -> dict[str, Any]:
    """The entries of metrics.json for every fit. Times cover only fitting, without reading files and evaluation."""
    return {
        "seconds": state.seconds,
        "seconds_per_iteration": state.seconds / max(1, state.iteration),
        **{f"seconds_to_{level}_db": seconds_to(state, level) for level in LEVELS_DB},
        "iterations": state.iteration,
        "held_out_photographs": len(held_out),
        "image_size": list(held_out[0].camera.size),
        "device": device.type,
        "threads": torch.get_num_threads(),
        "curve": state.curve,
    }


def seconds_to(state: Measured, level: float) -> float | None:
    """Seconds of fitting until the PSNR on held-out photographs first reached a level in decibels."""
    return next((row["seconds"] for row in state.curve if row["psnr_db"] >= level), None)


@torch.no_grad()
def comparison(
    draw: Draw,
    photos: list[Photo],
    path: Path,
    more: Callable[[PerspectiveCamera], Sequence[Tensor]] = lambda camera: (),
    titles: Sequence[str] = (),
) -> None:
    """Picture of photographs, renders and their differences, one row for each.

    Args:
        more: further images [H, W] or [H, W, 3] of what a camera sees, one for each of `titles`.
    """
    Figure = require("matplotlib.figure", "lumigrad.fit.photos.report.comparison").Figure
    height, width = photos[0].camera.size
    titles = ("photograph, held out", "render", "4 x difference", *titles)
    figure = Figure(figsize=(3 * len(titles), 3.0 * len(photos) * height / width + 0.3), layout="constrained")
    axes = figure.subplots(len(photos), len(titles), squeeze=False)
    for row, photo in zip(axes, photos, strict=True):
        image = draw(photo.camera).clamp(0, 1)[0]
        difference = ((image - photo.image[0]) * photo.covered[0]).abs()
        pictures = (photo.image[0], image, (4 * difference).clamp(max=1), *more(photo.camera))
        for axis, picture in zip(row, pictures, strict=True):
            axis.imshow(picture.cpu().numpy(), interpolation="lanczos")
            axis.set_axis_off()
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    figure.savefig(path, dpi=100)


@torch.no_grad()
def fly_through(draw: Draw, photos: list[Photo], path: Path, frames: int = 60) -> None:
    """Animated GIF of a flight along the photographs' cameras."""
    camera = flight(photos, frames)
    save_gif([draw(camera[i : i + 1])[0] for i in range(frames)], path, frames_per_second=16)
