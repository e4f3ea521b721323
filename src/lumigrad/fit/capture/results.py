"""The results of a capture: meshes, metrics, pictures, an animation and a page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lumigrad._optional import require
from lumigrad.fit.capture.drawing import draw_frames
from lumigrad.fit.capture.model import CaptureModel
from lumigrad.fit.capture.rig import CaptureRig
from lumigrad.fit.capture.state import CaptureState
from lumigrad.fit.capture.truth import seen_vertices, shape_errors
from lumigrad.fit.metrics import write_metrics
from lumigrad.fit.report_page import Curve, Picture, write_page
from lumigrad.io.image import save_gif
from lumigrad.io.mesh import save_mesh
from lumigrad.ops.surface import edge_topology
from lumigrad.render.mesh import render_mesh
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.light.lights import Lighting
from lumigrad.scene.materials import PBRMaterial
from lumigrad.scene.shapes.mesh import Mesh

_SHOWN = 4  # frames in the comparison
_GREY = Lighting(ambient=0.25, headlight=0.35, intensities=(0.4,))


@dataclass(frozen=True)
class Drawn:
    """Frames as seen by the rig's cameras.

    Attributes:
        camera: the cameras in the space of the model.
        shapes: of all frames in the world, [frames, V, 3].
    """

    rig: CaptureRig
    camera: PerspectiveCamera
    model: CaptureModel
    shapes: Tensor

    @torch.no_grad()
    def render(self, frame: int, camera: int) -> Tensor:
        """The model's image of a frame, [H, W, 3]."""
        frames, cameras = torch.tensor([frame]), torch.tensor([camera])
        positions = self.model.positions(frames)
        topology = edge_topology(self.model.mesh.faces)
        image = draw_frames(self.model, positions, self.camera, cameras, self.rig.background, topology)
        return image[0].clamp(0, 1).cpu()

    def reference(self, frame: int, camera: int) -> Tensor:
        """The recorded image [H, W, 3]."""
        return self.rig.images(torch.tensor([frame]), torch.tensor([camera]))[0, ..., :3]

    @torch.no_grad()
    def geometry(self, frame: int, camera: int) -> Tensor:
        """The untextured shape, grey, [H, W, 3]."""
        grey = Mesh(self.model.positions(torch.tensor([frame]))[0], self.model.mesh.faces)
        return render_mesh(grey, self.camera[camera : camera + 1], _GREY).over(0.0)[0].clamp(0, 1).cpu()

    @property
    def middle(self) -> int:
        """The camera in the middle of the others."""
        back = self.rig.camera.world_to_camera[:, 2, :3]
        return int((back @ back.mean(0)).argmax())


def write(
    drawn: Drawn,
    state: CaptureState,
    settings: dict[str, Any],
    truth: Tensor | None,
    millimetres: float,
    folder: Path,
    frames: int,
) -> dict[str, Any]:
    """Write all files; returns the metrics."""
    numbers = metrics(drawn, state, truth, millimetres)
    write_metrics(numbers, folder / "metrics.json")
    meshes(drawn, folder)
    comparison(drawn, folder / "comparison.png")
    animation(drawn, folder / "capture.gif", frames)
    curves = [
        Curve("PSNR of recorded images, dB", *_columns(state.curve, "psnr_db")),
        Curve("mean squared error of filtered images", range(1, len(state.losses) + 1), state.losses),
    ]
    for name, title in (("vertex_mm_by_frame", "error of vertices, mm"), ("motion_mm_by_frame", "error of motion, mm")):
        if name in numbers:
            curves.append(Curve(title, range(len(numbers[name])), numbers[name], "frame"))
    write_page(
        folder / "report.html",
        "Facial performance capture",
        numbers,
        settings,
        [
            Picture("comparison.png", "Recorded images, renders, their differences, and the shape."),
            Picture("capture.gif", "Recorded images, renders, and the shape over time."),
        ],
        curves,
        ("mesh.glb", "metrics.json"),
    )
    return numbers


def metrics(drawn: Drawn, state: CaptureState, truth: Tensor | None, millimetres: float) -> dict[str, Any]:
    """All metrics; errors are means over the vertices that at least two cameras see in the first true frame."""
    rig, model = drawn.rig, drawn.model
    found: dict[str, Any] = {"psnr_db": _psnr(drawn)}
    if truth is not None:
        errors = shape_errors(drawn.shapes, truth, seen_vertices(rig, truth[0]), rig.counts)
        for name, values in errors.items():
            found[f"{name}_mm"] = float(values.mean()) * millimetres
            found[f"{name}_mm_worst_frame"] = float(values.max()) * millimetres
        for name, values in errors.items():
            found[f"{name}_mm_by_frame"] = [round(value * millimetres, 4) for value in values.tolist()]
    return found | {
        "frames": rig.frames,
        "sequences": len(rig.takes),
        "cameras": len(rig.names),
        "image_size": list(rig.camera.size),
        "vertices": len(rig.base.positions),
        "contrast": {name: round(value, 4) for name, value in zip(rig.names, model.contrast.exp().tolist())},
        "brightness": {name: round(value, 4) for name, value in zip(rig.names, model.brightness.tolist())},
        "seconds": state.seconds,
        "seconds_per_iteration": state.seconds / max(1, state.iteration),
        "iterations": state.iteration,
        "threads": torch.get_num_threads(),
        "curve": state.curve,
    }


def _psnr(drawn: Drawn) -> float:
    """The PSNR of some frames from all cameras, over all pixels that count, in decibels."""
    total, count = 0.0, 0.0
    for frame in _spread(drawn.rig.frames, _SHOWN):
        for camera in range(len(drawn.rig.names)):
            target = drawn.rig.images(torch.tensor([frame]), torch.tensor([camera]))[0]
            error = (drawn.render(frame, camera) - target[..., :3]) * target[..., 3:]
            total, count = total + float(error.square().sum()), count + 3 * float(target[..., 3].sum())
    return float(-10 * torch.log10(torch.tensor(max(total, 1e-12) / max(count, 1.0))))


def meshes(drawn: Drawn, folder: Path) -> None:
    """Write mesh.glb, the first frame with the texture, and meshes/SEQUENCE/0000.ply, the shape of every frame."""
    mesh = drawn.model.mesh
    unlit = PBRMaterial(name="skin", unlit=True, base_color_texture=drawn.model.texture.detach())
    save_mesh(replace(mesh, positions=drawn.shapes[0], texture=None, materials=(unlit,)), folder / "mesh.glb")
    first = 0
    for take in drawn.rig.takes:
        for number in range(len(take)):
            shape = Mesh(drawn.shapes[first + number], mesh.faces)
            save_mesh(shape, folder / "meshes" / take.name / f"{number:04d}.ply")
        first += len(take)


def comparison(drawn: Drawn, path: Path) -> None:
    """Picture of recorded images, renders, differences and shapes, one row for each of some frames."""
    Figure = require("matplotlib.figure", "lumigrad.fit.capture.results.comparison").Figure
    frames = _spread(drawn.rig.frames, _SHOWN)
    titles = ("recorded", "render", "4 x difference", "shape", "shape, from the side")
    height, width = drawn.rig.camera.size
    figure = Figure(figsize=(3 * len(titles), 3 * len(frames) * height / width + 0.3), layout="constrained")
    axes = figure.subplots(len(frames), len(titles), squeeze=False)
    for row, frame in zip(axes, frames, strict=True):
        recorded, image = drawn.reference(frame, drawn.middle), drawn.render(frame, drawn.middle)
        difference = (4 * (image - recorded).abs()).clamp(max=1)
        shapes = (drawn.geometry(frame, drawn.middle), drawn.geometry(frame, 0))
        for axis, picture in zip(row, (recorded, image, difference, *shapes), strict=True):
            axis.imshow(picture.cpu().numpy(), interpolation="lanczos")
            axis.set_axis_off()
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    figure.savefig(path, dpi=80)


def animation(drawn: Drawn, path: Path, frames: int) -> None:
    """Animated GIF of recorded images, renders and shapes over time."""
    pictures = []
    for frame in _spread(drawn.rig.frames, frames):
        of = (drawn.reference, drawn.render, drawn.geometry)
        pictures.append(torch.cat([one(frame, drawn.middle) for one in of], dim=1))
    save_gif(pictures, path, frames_per_second=12)


def _spread(count: int, most: int) -> list[int]:
    """At most `most` numbers below `count`, evenly spread."""
    return torch.linspace(0, count - 1, min(count, most)).round().long().tolist()


def _columns(rows: list[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    return [row["iteration"] for row in rows], [row[name] for row in rows]
