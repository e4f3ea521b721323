"""The results of a fit of materials: the mesh, the light, metrics, pictures, a turntable and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad._optional import installed
from lumigrad.fit.atlas import fill_gaps
from lumigrad.fit.materials.drawing import LitDrawer, Tracing
from lumigrad.fit.materials.maps import MaterialMaps
from lumigrad.fit.materials.relit import RelitPhotos, relit_metrics
from lumigrad.fit.materials.state import MaterialsState
from lumigrad.fit.materials.truth import material_errors, material_image
from lumigrad.fit.metrics import write_metrics
from lumigrad.fit.photos import Photo, report
from lumigrad.fit.reconstruct.known_mesh import KnownMesh
from lumigrad.fit.reconstruct.measure import evaluate_drawn
from lumigrad.fit.reconstruct.results import around
from lumigrad.fit.report_page import Curve, Picture, write_page
from lumigrad.io.image import save_gif, save_image
from lumigrad.io.mesh import save_mesh
from lumigrad.scene._vectors import unit
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.color import srgb_encode
from lumigrad.scene.light.cubemap import cube_to_equirect
from lumigrad.scene.light.environment import EnvironmentLight
from lumigrad.scene.light.skies import sky, studio
from lumigrad.scene.shapes.mesh import Mesh

_SHOWN = 4  # photographs in the comparison
_SAMPLES = 32  # samples per pixel of pictures that are traced
_OTHERS = 32  # texels per side of the built-in lights
_TURNTABLE = 200  # rows


class Subject(NamedTuple):
    """The result of a fit, and the references to measure it against.

    Attributes:
        tracing: how light was traced in the end; None where it was not.
        truth: a mesh in the space of the fit whose materials are right, or None.
        relit: photographs in another light, in the world, or None.
    """

    state: MaterialsState
    known: KnownMesh
    tracing: Tracing | None
    truth: Mesh | None
    relit: RelitPhotos | None

    @property
    def mesh(self) -> Mesh:
        """With texture coordinates, in the space of the fit."""
        return self.state.on(self.known.mesh)

    def maps(self) -> MaterialMaps:
        """The maps, continued past the charts so that filtering does not mix in what lies between them."""
        covered, maps = self.state.covered(self.known.mesh), self.state.maps()
        images = {name: value for name, value in vars(maps).items() if name != "light" and value is not None}
        return replace(maps, **{name: fill_gaps(value, covered) for name, value in images.items()})

    def fine_tracing(self) -> Tracing | None:
        """The tracing of the fit, with less noise."""
        return None if self.tracing is None else self.tracing.at_least(_SAMPLES)


@torch.no_grad()
def write(
    subject: Subject, settings: dict[str, Any], folder: Path, frames: int, choice: dict[str, Any]
) -> dict[str, Any]:
    """Write all files; returns the metrics, which include the numbers of a choice, see `choose_normals`."""
    maps, held_out = subject.maps(), subject.known.held_out
    draw = LitDrawer(subject.mesh, maps, subject.fine_tracing())
    numbers = {**metrics(subject, maps, draw), **choice, **_relit(subject, maps, folder)}
    numbers |= report.times(subject.state, held_out, subject.mesh.positions.device)
    write_metrics(numbers, folder / "metrics.json")
    save_mesh(subject.known.place.mesh(maps.on(subject.mesh).to("cpu")), folder / "mesh.glb")
    light = "environment.exr" if installed("OpenImageIO") else "environment.pfm"
    panorama = cube_to_equirect(maps.light).cpu()
    save_image(panorama, folder / light)
    save_image(srgb_encode(panorama.clamp(0, 1)), folder / "environment.png")
    shown = held_out[:: max(1, len(held_out) // _SHOWN)][:_SHOWN]
    comparison(maps, draw, shown, folder / "comparison.png")
    other_lights(subject, maps, draw, shown, folder / "relit.png")
    turntable(subject, maps, folder / "turntable.gif", frames)
    _write_page(subject, numbers, settings, folder, light)
    return numbers


def metrics(subject: Subject, maps: MaterialMaps, draw: LitDrawer) -> dict[str, Any]:
    """The metrics that need no photographs in another light."""
    held_out, state = subject.known.held_out, subject.state
    cameras = [photo.camera for photo in held_out]
    errors = {} if subject.truth is None else material_errors(maps.on(subject.mesh), subject.truth, cameras)
    gains = state.gains.log().std(0) if len(state.gains) > 1 else torch.zeros(3)
    inside = state.covered(subject.known.mesh)
    return {
        **evaluate_drawn(draw.shown, held_out),
        **errors,
        "mean_roughness": float(maps.roughness[inside].mean()),
        "mean_metallic": float(maps.metallic[inside].mean()),
        "mean_light": [round(float(value), 5) for value in maps.light.mean((0, 1, 2))],
        "faces": len(subject.mesh.faces),
        "texture_size": list(state.size),
        "exposure_spread": [round(float(value), 5) for value in gains],
    }


def _relit(subject: Subject, maps: MaterialMaps, folder: Path) -> dict[str, float]:
    """Metrics and a picture of photographs in another light, if there are any."""
    if subject.relit is None:
        return {}
    device = subject.mesh.positions.device
    photos = [subject.known.place.photo(photo).to(device) for photo in subject.relit.photos]
    light = subject.relit.light.to(device)
    draw = LitDrawer(subject.mesh, maps, subject.fine_tracing(), light)
    numbers, gains = relit_metrics(draw, photos)
    scaled = LitDrawer(subject.mesh, maps, subject.fine_tracing(), light * gains)
    few = photos[:: max(1, len(photos) // _SHOWN)][:_SHOWN]
    report.comparison(lambda camera: scaled.shown(camera)[0], few, folder / "relit_photographs.png")
    return numbers


# ---- Pictures ------------------------------------------------------------------------------------------------------


def comparison(maps: MaterialMaps, draw: LitDrawer, photos: list[Photo], path: Path) -> None:
    """Picture of photographs, renders, their differences, the maps and the light, one row for each photograph."""
    surface, light = maps.on(draw.mesh), EnvironmentLight(maps.light)

    def more(camera: PerspectiveCamera) -> Sequence[Tensor]:
        image, mask = (value[0] for value in material_image(surface, camera))
        color, roughness, metallic, normal = image.split((3, 1, 1, 3), dim=-1)
        scalars = [value.clamp(0, 1).expand(-1, -1, 3) for value in (roughness, metallic)]
        bent = [] if maps.normal is None else [mask * (0.5 + 0.5 * normal @ camera.camera_to_world[0, :3, :3])]
        return srgb_encode(color.clamp(0, 1)), *scalars, *bent, mirror_ball(light, camera)

    bent = () if maps.normal is None else ("normals, to the camera",)
    titles = ("base colour", "roughness", "metallic", *bent, "light, in a mirror ball")
    report.comparison(lambda camera: draw.shown(camera)[0], photos, path, more, titles)


def mirror_ball(light: EnvironmentLight, camera: PerspectiveCamera) -> Tensor:
    """The light as reflected in a distant mirror ball towards a camera [1], display-encoded [H, W, 3], with black
    around it.

    >>> import torch
    >>> from lumigrad.fit.materials.results import mirror_ball
    >>> from lumigrad.scene import EnvironmentLight, PerspectiveCamera
    >>> camera = PerspectiveCamera.orbit(torch.zeros(1), 0.0, 3.0, fov_y=45.0, size=(9, 9))
    >>> behind = torch.zeros(6, 8, 8, 3)
    >>> behind[4] = 1.0  # light from +z, where the camera is: seen in the middle
    >>> ball = mirror_ball(EnvironmentLight(behind), camera)
    >>> round(ball[4, 4, 0].item(), 3), ball[0, 0, 0].item(), ball[4, 0, 0].item()
    (1.0, 0.0, 0.0)
    """
    height, width = camera.size
    rotation = camera.camera_to_world[0, :3, :3]
    span = torch.arange(height, device=rotation.device), torch.arange(width, device=rotation.device)
    row, column = torch.meshgrid(*span, indexing="ij")
    scale = 0.5 * min(height, width)
    x, y = (column + 0.5 - 0.5 * width) / scale, (0.5 * height - row - 0.5) / scale
    inside = x.square() + y.square() < 1
    z = (1 - x.square() - y.square()).clamp_min(0).sqrt()
    # A ray along -z is reflected at a normal (x, y, z) to 2 z (x, y, z) - (0, 0, 1).
    mirrored = torch.stack((2 * z * x, 2 * z * y, 2 * z * z - 1), -1)
    radiance = light.sample(unit(mirrored @ rotation.T))
    return srgb_encode(radiance.clamp(0, 1)) * inside[..., None]


def other_lights(subject: Subject, maps: MaterialMaps, draw: LitDrawer, photos: list[Photo], path: Path) -> None:
    """Picture of renders in the light that was found, in a studio and under a sky, one row for each photograph."""
    tracing = subject.fine_tracing()
    lights = [LitDrawer(subject.mesh, maps, tracing, cube.to(maps.light)) for cube in (studio(_OTHERS), sky(_OTHERS))]
    rows = [torch.cat([one.shown(photo.camera)[0][0] for one in (draw, *lights)], dim=1) for photo in photos]
    width = max(row.shape[1] for row in rows)
    rows = [torch.nn.functional.pad(row, (0, 0, 0, width - row.shape[1])) for row in rows]
    save_image(torch.cat(rows).clamp(0, 1), path)


def turntable(subject: Subject, maps: MaterialMaps, path: Path, frames: int) -> None:
    """Animated GIF once around, in the light that was found and in a studio beside it; without traced shadows."""
    camera = around(subject.known.photos, frames)
    size = (min(_TURNTABLE, camera.size[0]), max(1, round(camera.size[1] * min(1.0, _TURNTABLE / camera.size[0]))))
    camera = camera.resized(size)
    lights = [LitDrawer(subject.mesh, maps), LitDrawer(subject.mesh, maps, light=studio(_OTHERS).to(maps.light))]
    pictures = [torch.cat([one.shown(camera[n : n + 1])[0][0] for one in lights], dim=1) for n in range(frames)]
    save_gif([picture.clamp(0, 1) for picture in pictures], path, frames_per_second=16)


def _write_page(subject: Subject, numbers: dict[str, Any], settings: dict[str, Any], folder: Path, light: str) -> None:
    curve = subject.state.curve
    write_page(
        folder / "report.html",
        "Materials from photographs",
        numbers,
        settings,
        [
            Picture("comparison.png", "Photographs that were held out, renders, differences, maps, and the light."),
            Picture("relit_photographs.png", "Photographs in another light, renders in it, and differences."),
            Picture("relit.png", "In the light that was found, in a studio, and under a sky."),
            Picture("environment.png", "The light that was found: the middle is -z, +x is to the right of it."),
            Picture("turntable.gif", "Once around, in the light that was found and in a studio."),
        ],
        [
            Curve(
                "PSNR on the photographs held out, dB",
                [row["iteration"] for row in curve],
                [row["psnr_db"] for row in curve],
            ),
            Curve("root mean square error of a step", range(1, len(subject.state.losses) + 1), subject.state.losses),
        ],
        ("mesh.glb", light, "metrics.json"),
    )
