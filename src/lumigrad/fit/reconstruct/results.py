"""The results of a reconstruction: the mesh, metrics, pictures, a turntable and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.fit.mesh.report import detached
from lumigrad.fit.metrics import psnr, write_metrics
from lumigrad.fit.photos import Photo, flight, report
from lumigrad.fit.preview import upright
from lumigrad.fit.reconstruct.drawing import Drawer
from lumigrad.fit.reconstruct.exposure import best_gains
from lumigrad.fit.reconstruct.held_out import corrections, with_cameras_found
from lumigrad.fit.reconstruct.measure import evaluate
from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.fit.reconstruct.placement import Placement
from lumigrad.fit.reconstruct.state import ReconstructState
from lumigrad.fit.reconstruct.truth import surface_errors
from lumigrad.fit.report_page import Curve, Picture, write_page
from lumigrad.io.image import save_gif
from lumigrad.io.mesh import save_mesh
from lumigrad.render.mesh import render_mesh
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.cameras.pose import look_at
from lumigrad.scene.materials import PBRMaterial
from lumigrad.scene.shapes.mesh import Mesh


class Scene(NamedTuple):
    """The parts of an open scene besides its mesh.

    Attributes:
        background: [3], of pixels that the mesh does not cover.
        field_steps, field_seconds: of the field, and the seconds of making a surface of it.
    """

    background: Tensor
    field_steps: int
    field_seconds: float

    def numbers(self, state: ReconstructState) -> dict[str, Any]:
        """Metrics, of which some take the place of those of the surface alone."""
        levels = {f"seconds_to_{level}_db": report.seconds_to(state, level) for level in report.LEVELS_DB}
        return {
            **{name: None if found is None else self.field_seconds + found for name, found in levels.items()},
            "background": [round(float(value), 4) for value in self.background],
            "depths": "hash field",
            "field_steps": self.field_steps,
            "field_seconds": self.field_seconds,
            "seconds": self.field_seconds + state.seconds,
        }


_SHOWN = 4  # photographs in the comparison
_TURNTABLE = 320  # rows


def write(
    state: ReconstructState,
    photos: PhotoSet,
    held_out: list[Photo],
    place: Placement,
    settings: dict[str, Any],
    truth: Mesh | None,
    folder: Path,
    frames: int,
    scene: Scene | None = None,
) -> dict[str, Any]:
    """Write all files; returns the metrics."""
    mesh = detached(state.mesh())
    numbers = metrics(mesh, state, held_out, place, truth, scene)
    write_metrics(numbers, folder / "metrics.json")
    save_mesh(exported(mesh, place, scene is None), folder / "mesh.glb")
    step = max(1, len(held_out) // _SHOWN)
    draw = Drawer(mesh, None if scene is None else scene.background)
    comparison(draw, held_out[::step][:_SHOWN], folder / "comparison.png")
    path = around(photos, frames) if scene is None else along(photos, frames)
    turntable(draw, path, folder / "turntable.gif")
    curve = [(row["iteration"], row["psnr_db"]) for row in state.curve]
    write_page(
        folder / "report.html",
        "Textured mesh from photographs",
        numbers,
        settings,
        [
            Picture("comparison.png", "Photographs that were held out, renders, differences, and the shape."),
            Picture("turntable.gif", "Around the object, or along the cameras of the photographs."),
        ],
        [
            Curve("PSNR on the photographs held out, dB", [x for x, _ in curve], [y for _, y in curve]),
            Curve("mean absolute error of a step", range(1, len(state.losses) + 1), state.losses),
        ],
        ("mesh.glb", "metrics.json"),
    )
    return numbers


def metrics(
    mesh: Mesh,
    state: ReconstructState,
    held_out: list[Photo],
    place: Placement,
    truth: Mesh | None,
    scene: Scene | None = None,
) -> dict[str, Any]:
    """All metrics of a reconstruction; distances are relative to the diagonal of the true mesh's bounding box."""
    texture = None if mesh.texture is None else list(mesh.texture.shape[:2])
    gains = state.gains.log().std(0) if len(state.gains) > 1 else torch.zeros(3)
    background = None if scene is None else scene.background
    world, part = place.mesh(mesh.to("cpu")), scene is not None
    return {
        **evaluate(mesh, held_out, background),
        "psnr_gain_db": psnr_with_gains(mesh, held_out),
        **({} if truth is None else surface_errors(world, truth, part=part)),
        "vertices": len(mesh.positions),
        "faces": len(mesh.faces),
        "texture_size": texture,
        "atlas": state.atlas or None,
        "exposure_spread": [round(float(value), 5) for value in gains],
        **_of_cameras(mesh, state, held_out, place, background),
        **report.times(state, held_out, mesh.positions.device),
        **({} if scene is None else scene.numbers(state)),
    }


def _of_cameras(
    mesh: Mesh, state: ReconstructState, held_out: list[Photo], place: Placement, background: Tensor | None
) -> dict[str, Any]:
    """Metrics of fitted cameras. All other numbers are for held-out cameras as given."""
    if not state.cameras:
        return {}
    again = evaluate(mesh, with_cameras_found(mesh, held_out), background)
    return {"psnr_refined_db": again["psnr_db"], **corrections(state.cameras, place)}


def psnr_with_gains(mesh: Mesh, photos: list[Photo]) -> float:
    """Mean PSNR of covered pixels in decibels, after each render has been given the photograph's exposure."""
    draw, ratios = Drawer(mesh), []
    for photo in photos:
        shot = draw(photo.camera)
        compared = (photo.covered > 0) & (shot.mask > 0)
        if bool(compared.any()):
            gains = best_gains(shot.color, photo.image, compared & (shot.mask > 0.99))
            image = (shot.color * gains[:, None, None]).clamp(0, 1)
            ratios.append(float(psnr(image, photo.image, compared[..., 0])))
    return sum(ratios) / max(1, len(ratios))


def exported(mesh: Mesh, place: Placement, double_sided: bool = True) -> Mesh:
    """The mesh in the world; its colours have the light of the photographs in them, so that its material is unlit.

    Args:
        double_sided: whether viewers show the backs of faces. Those of a scene hide it from without.
    """
    material = PBRMaterial(name="photographs", unlit=True, base_color_texture=mesh.texture, double_sided=double_sided)
    return place.mesh(replace(mesh, texture=None, materials=(material,)).to("cpu"))


@torch.no_grad()
def comparison(draw: Drawer, photos: list[Photo], path: Path) -> None:
    """Picture of photographs, renders, their differences and the shape, one row for each photograph."""
    shape = _shape(draw.mesh)

    def more(camera: PerspectiveCamera) -> Sequence[Tensor]:
        return (render_mesh(shape, camera, topology=draw.topology).over(0.0).clamp(0, 1)[0],)

    report.comparison(lambda camera: draw(camera).color, photos, path, more, ("shape",))


@torch.no_grad()
def turntable(draw: Drawer, camera: PerspectiveCamera, path: Path) -> None:
    """Animated GIF of what cameras [F] see, one after the other: colours, and the shape beside them."""
    shape = _shape(draw.mesh)
    pictures = []
    for n in range(camera.shape[0]):
        one = camera[n : n + 1]
        grey = render_mesh(shape, one, topology=draw.topology).over(0.0)
        pictures.append(torch.cat([draw(one).color, grey], dim=2).clamp(0, 1)[0])
    save_gif(pictures, path, frames_per_second=16)


def along(photos: PhotoSet, frames: int) -> PerspectiveCamera:
    """Cameras [frames] on a path along those of the photographs, and back."""
    ones = [
        Photo(photos.images[n : n + 1], photos.counts[n : n + 1], photos.camera[n : n + 1]) for n in range(len(photos))
    ]
    return _shown(flight(ones, frames))


def around(photos: PhotoSet, frames: int) -> PerspectiveCamera:
    """Cameras [frames] on a circle about the origin, as far away and as upright as those of the photographs."""
    camera = photos.camera
    eyes = camera.position
    up = upright(camera.world_to_camera)
    side = torch.linalg.cross(up, _across(up))
    forward = torch.linalg.cross(side, up)
    height = (eyes @ up).median().clamp(-1, 1)
    distance = eyes.norm(dim=-1).median()
    radius = (distance.square() - height.square()).clamp_min(1e-6).sqrt()
    angle = torch.arange(frames, device=eyes.device) * (2 * torch.pi / frames)
    ring = angle.cos()[:, None] * forward + angle.sin()[:, None] * side
    places = radius * ring + height * up
    view = look_at(places, torch.zeros_like(places), up.expand_as(places))
    one = PerspectiveCamera(view, camera.fx[0], camera.fy[0], camera.cx[0], camera.cy[0], camera.size)
    return _shown(one)


def _shown(camera: PerspectiveCamera) -> PerspectiveCamera:
    """The same cameras, with images of the turntable's size."""
    factor = min(1.0, _TURNTABLE / camera.size[0])
    size = (max(1, round(camera.size[0] * factor)), max(1, round(camera.size[1] * factor)))
    return replace(camera, near=0.02, far=200.0).resized(size)


def _across(up: Tensor) -> Tensor:
    """A direction that is not parallel to another."""
    return torch.eye(3, dtype=up.dtype, device=up.device)[int(up.abs().argmin())]


def _shape(mesh: Mesh) -> Mesh:
    return Mesh(mesh.positions, mesh.faces)
