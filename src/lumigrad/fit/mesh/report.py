"""The results of a fit: metrics, pictures and a turntable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from lumigrad._optional import require
from lumigrad.fit.mesh.loop import FitState
from lumigrad.fit.mesh.stages import Stage
from lumigrad.fit.mesh.views import Views, render_views
from lumigrad.fit.metrics import chamfer_distance, psnr
from lumigrad.io.image import save_gif
from lumigrad.render.mesh import render_mesh
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.light.lights import Lighting
from lumigrad.scene.shapes.mesh import Mesh

Color = tuple[float, float, float]
BACKGROUND: Color = (0x40 / 255, 0x4A / 255, 0x56 / 255)


def over(images: Tensor, background: Color) -> Tensor:
    """Colour [N, H, W, 3] of premultiplied images [N, H, W, 4] in front of a background."""
    images = images.float()
    return images[..., :3] + (1 - images[..., 3:]) * images.new_tensor(background)


def image_metrics(mesh: Mesh, views: Views, lighting: Lighting, background: Color) -> dict[str, float]:
    """Mean PSNR of renders of the mesh against images that it was not fitted to.

    `psnr_db` counts all pixels, in front of the background. `psnr_mask_db` counts only pixels that the target or
    the render covers at least in part, so that an easy background does not raise it.
    """
    ours = render_views(mesh, views.camera, lighting).images
    covered = (ours[..., 3] > 0) | (views.images[..., 3] > 0)
    image, target = over(ours, background), over(views.images, background)
    return {
        "psnr_db": float(psnr(image, target).mean()),
        "psnr_mask_db": float(psnr(image, target, covered).mean()),
    }


def metrics(
    state: FitState, target: Mesh, views: Views, lighting: Lighting, background: Color
) -> dict[str, float | int]:
    """All metrics of a fit; distances are relative to the diagonal of the target's bounding box.

    `chamfer` compares random samples. `chamfer_floor` is its value for a perfect fit.
    """
    mesh = detached(state.mesh())
    return {
        **image_metrics(mesh, views, lighting, background),
        "chamfer": chamfer_distance(mesh, target),
        "chamfer_floor": chamfer_distance(target, target, seed=10),
        "seconds": state.seconds,
        "seconds_per_iteration": state.seconds / max(1, state.iteration),
        "iterations": state.iteration,
        "held_back_views": len(views),
        "image_size": views.camera.size[0],
        "vertices": len(mesh.positions),
        "faces": len(mesh.faces),
        "threads": torch.get_num_threads(),
    }


def detached(mesh: Mesh) -> Mesh:
    """The same mesh, detached from the autograd graph."""
    tensors = {k: v.detach() for k, v in vars(mesh).items() if isinstance(v, Tensor)}
    return replace(mesh, **tensors)  # type: ignore[arg-type]


def _plain(mesh: Mesh) -> Mesh:
    return replace(mesh, texture=None, colors=None)


@torch.no_grad()
def comparison(
    start: Mesh,
    target: Mesh,
    result: Mesh,
    camera: PerspectiveCamera,
    lighting: Lighting,
    background: Color,
    path: Path,
) -> None:
    """Picture of start, target and result, with and without colours, one row per camera."""
    columns = [
        ("start", start),
        ("target", target),
        ("recovered", result),
        ("target, shape", _plain(target)),
        ("recovered, shape", _plain(result)),
    ]
    rows = camera.shape[0]
    Figure = require("matplotlib.figure", "lumigrad.fit.mesh.report.comparison").Figure
    figure = Figure(figsize=(3 * len(columns), 3 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, len(columns), squeeze=False)
    for column, (title, mesh) in enumerate(columns):
        images = render_mesh(mesh, camera, lighting).over(background).clamp(0, 1)
        axes[0, column].set_title(title)
        for row in range(rows):
            axes[row, column].imshow(images[row].numpy(), interpolation="lanczos")
            axes[row, column].set_axis_off()
    figure.savefig(path, dpi=110)


def loss_plot(state: FitState, stages: list[Stage], path: Path) -> None:
    """Mean absolute error over iterations, with the stages marked."""
    Figure = require("matplotlib.figure", "lumigrad.fit.mesh.report.loss_plot").Figure
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    losses = torch.tensor(state.losses)
    axes.semilogy(losses.numpy(), color="tab:blue", alpha=0.3, linewidth=0.8, label="each step")
    width = min(21, len(losses))
    if width > 1:
        smooth = torch.nn.functional.avg_pool1d(losses[None, None], width, stride=1)[0, 0]
        steps = torch.arange(len(smooth)) + (width - 1) / 2
        axes.semilogy(steps.numpy(), smooth.numpy(), color="tab:blue", label=f"mean of {width}")
    begin = 0
    for stage in stages:
        paint = f"texture {stage.texture_size}" if stage.texture_size else "vertex colours"
        axes.axvline(begin, color="0.6", linewidth=0.8, linestyle=":")
        axes.text(
            begin,
            1.01,
            f" {stage.size} px, {paint}",
            transform=axes.get_xaxis_transform(),
            fontsize=7,
            va="bottom",
        )
        begin += stage.iterations
    axes.set_xlabel("iteration")
    axes.set_ylabel("mean absolute error of colour and coverage")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


@torch.no_grad()
def turntable(
    target: Mesh,
    result: Mesh,
    lighting: Lighting,
    background: Color,
    path: Path,
    frames: int = 48,
    size: int = 288,
    distance: float = 3.5,
    fov_y: float = 35.0,
) -> None:
    """Animated GIF once around the y axis, target on the left and result on the right."""
    azimuth = torch.arange(frames) * (360.0 / frames)
    camera = PerspectiveCamera.orbit(azimuth, 20.0, distance, fov_y, (size, size))
    pictures: list[Tensor] = []
    for first in range(0, frames, 8):
        part = camera[first : first + 8]
        pair = [render_mesh(mesh, part, lighting).over(background) for mesh in (target, result)]
        pictures += list(torch.cat(pair, dim=2))
    save_gif(pictures, path, frames_per_second=16)
