"""The results of a fit to photographs: metrics, pictures and a fly-through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lumigrad._optional import require
from lumigrad.fit.splats.loop import Schedule, SplatState, evaluate
from lumigrad.fit.splats.models import Model
from lumigrad.fit.splats.photos import Photo
from lumigrad.io.image import save_gif
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.cameras.pose import look_at

LEVELS_DB = (20, 22, 24)


def metrics(state: SplatState, model: Model, held_out: list[Photo], schedule: Schedule) -> dict[str, Any]:
    """All metrics of a fit; times are of fitting alone, without reading files and evaluation."""
    return {
        **evaluate(model, state.rows.parameters, held_out, schedule.background),
        "seconds": state.seconds,
        "seconds_per_iteration": state.seconds / max(1, state.iteration),
        **{f"seconds_to_{level}_db": seconds_to(state, level) for level in LEVELS_DB},
        "iterations": state.iteration,
        "primitives": len(state.rows),
        "held_out_photographs": len(held_out),
        "image_size": list(held_out[0].camera.size),
        "device": state.rows.device.type,
        "threads": torch.get_num_threads(),
        "curve": state.curve,
    }


def seconds_to(state: SplatState, level: float) -> float | None:
    """Seconds of fitting until the PSNR on held-out photographs first reached a level in decibels."""
    return next((row["seconds"] for row in state.curve if row["psnr_db"] >= level), None)


@torch.no_grad()
def comparison(state: SplatState, model: Model, photos: list[Photo], schedule: Schedule, path: Path) -> None:
    """Picture of photographs, renders and their differences, one row for each."""
    Figure = require("matplotlib.figure", "lumigrad.fit.splats.report.comparison").Figure
    height, width = photos[0].camera.size
    figure = Figure(figsize=(9, 3.0 * len(photos) * height / width + 0.3), layout="constrained")
    axes = figure.subplots(len(photos), 3, squeeze=False)
    for row, photo in zip(axes, photos, strict=True):
        image = model.draw(state.rows.parameters, photo.camera, schedule.background, 1.0).clamp(0, 1)[0]
        difference = ((image - photo.image[0]) * photo.covered[0]).abs()
        for axis, picture in zip(row, (photo.image[0], image, (4 * difference).clamp(max=1)), strict=True):
            axis.imshow(picture.cpu().numpy(), interpolation="lanczos")
            axis.set_axis_off()
    for axis, title in zip(axes[0], ("photograph, held out", "render", "4 x difference"), strict=True):
        axis.set_title(title)
    figure.savefig(path, dpi=100)


def flight(photos: list[Photo], frames: int) -> PerspectiveCamera:
    """Cameras [frames] on a smooth path along the photographs' cameras and back."""
    first = photos[0].camera
    poses = torch.cat([photo.camera.camera_to_world for photo in photos])
    phase = torch.arange(frames, device=poses.device) / frames
    place = (1 - (2 * phase - 1).abs()) * (len(photos) - 1)
    steps = torch.arange(len(photos), device=poses.device)
    weights = torch.softmax(-0.5 * ((place[:, None] - steps) / 1.5) ** 2, dim=1)
    mean = (weights @ poses.flatten(1)).view(-1, 4, 4)
    eyes = mean[:, :3, 3]
    view = look_at(eyes, eyes - mean[:, :3, 2], mean[:, :3, 1])
    return PerspectiveCamera(view, first.fx[0], first.fy[0], first.cx[0], first.cy[0], first.size)


@torch.no_grad()
def fly_through(
    state: SplatState, model: Model, photos: list[Photo], schedule: Schedule, path: Path, frames: int = 60
) -> None:
    """Animated GIF of a flight along the photographs' cameras."""
    camera = flight(photos, frames)
    pictures: list[Tensor] = [
        model.draw(state.rows.parameters, camera[i : i + 1], schedule.background, 1.0)[0] for i in range(frames)
    ]
    save_gif(pictures, path, frames_per_second=16)
