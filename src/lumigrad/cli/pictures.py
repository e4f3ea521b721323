"""From subjects and cameras to pictures: light, shading, background, and sheets of several pictures."""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lumigrad.cli.errors import UserError
from lumigrad.cli.subjects import Shape, Subject
from lumigrad.cli.tracing import Tracing, tracing_of
from lumigrad.cli.viewpoints import upright
from lumigrad.io.image import holds_linear, load_image
from lumigrad.render import render, render_gaussians, render_points, render_surfels
from lumigrad.render.color import TONE_MAPPINGS, srgb_decode
from lumigrad.render.rendering import Rendering
from lumigrad.render.shading import Shader, unlit
from lumigrad.render.surface import Surface
from lumigrad.scene import AmbientLight, DirectionalLight, EnvironmentLight, Light, Lighting, sky, studio
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.scene import Scene, listed
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.point_cloud import PointCloud
from lumigrad.scene.shapes.surfel_cloud import SurfelCloud

SHADINGS = ("diffuse", "pbr", "phong", "gouraud", "flat", "unlit", "normals", "depth", "ids")
_DATA = ("normals", "depth", "ids")  # shadings whose values are not colours
_FAINT = 0.3  # display-encoded light from all around
# Backgrounds for most things (the first one) and for bright things.
_BACKGROUNDS = ((1.0, 1.0, 1.0), (0.2, 0.22, 0.26))


@dataclass(frozen=True)
class Style:
    """How everything is drawn.

    Attributes:
        shading: one of `SHADINGS`.
        lights: of meshes in files that bring none.
        beside: what lights meshes beside the lights that their files bring.
        as_they_are: whether these are neither dimmed nor strengthened.
        environment: what is seen past them, or None for a plain background.
        lighting: of the shading "diffuse".
        exposure: factor of linear light.
        tone: name of the tone mapping of linear light.
        supersampling: samples of a pixel along each axis.
        radius: of points without radii, in pixels; None for one that suits their number.
        antialiased: whether Gaussians keep their weight however small they are seen.
        tracing: of meshes, None for rasterized ones.
        plain: whether no light is asked for: where meshes emit, and are traced, they are the only light.
    """

    shading: str
    lights: tuple[Light, ...]
    beside: tuple[Light, ...]
    as_they_are: bool
    environment: EnvironmentLight | None
    lighting: Lighting
    exposure: float
    tone: str
    supersampling: int
    radius: float | None
    antialiased: bool
    tracing: Tracing | None
    plain: bool


def style_of(arguments: argparse.Namespace, lit: bool, progress: bool = False) -> Style:
    """The style set by the options.

    Args:
        lit: whether a file brings lights.
        progress: whether pictures that take long show a bar.
    """
    tracing = tracing_of(arguments, progress)
    shading = "unlit" if arguments.unlit else arguments.shading or ("pbr" if lit or tracing else "diffuse")
    turn = upright(arguments.up).T.float()
    lights: list[Light] = [DirectionalLight(light[:3], intensity=light[3]) for light in arguments.light]
    environment = _environment(arguments, shading, turn)
    if shading == "diffuse" and (lights or environment is not None):
        raise UserError("--light, --environment: choose a --shading other than diffuse")
    exposure = arguments.exposure or 0.0
    if shading != "pbr" and (exposure or arguments.tone != "srgb"):
        raise UserError("--exposure, --tone: they need --shading pbr")
    # Without anything around it, the side away from distant lights would be black.
    faint = AmbientLight(intensity=float(srgb_decode(torch.tensor(_FAINT))) if shading == "pbr" else _FAINT)
    around: list[Light] = [environment] if environment is not None else [faint] * bool(lights)
    asked_for = environment is not None and (arguments.environment is not None or arguments.show_environment)
    plain = Lighting()
    directions = tuple(tuple((turn @ torch.tensor(direction)).tolist()) for direction in plain.directions)
    return Style(
        shading,
        (*lights, *around),
        (*lights, environment if asked_for and environment is not None else faint),
        arguments.exposure is not None,
        environment if arguments.show_environment else None,
        replace(plain, directions=directions),
        2.0**exposure,
        arguments.tone,
        arguments.supersampling,
        arguments.radius,
        arguments.antialiased,
        tracing,
        not (lights or asked_for),
    )


def _environment(arguments: argparse.Namespace, shading: str, turn: Tensor) -> EnvironmentLight | None:
    """What lights the scene, with its own rotation about the upward axis, in the axes of the file."""
    name = arguments.environment
    if name is None:
        if shading != "pbr" and not arguments.show_environment:
            return None
        name = "studio"
    angle = math.radians(arguments.environment_rotation)
    about = torch.tensor(
        [[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]], dtype=torch.float32
    )
    options = {"intensity": arguments.environment_strength, "rotation": turn @ about}
    if name in ("studio", "sky"):
        return EnvironmentLight(studio() if name == "studio" else sky(), **options)
    try:
        image = load_image(name)[..., :3]
        return EnvironmentLight.from_equirect(image if holds_linear(Path(name)) else srgb_decode(image), **options)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error


# ---- One picture ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def shot_of(subjects: Sequence[Subject], camera: Camera, style: Style, own: Sequence[Light]) -> Rendering:
    """Everything in the files, seen together, before any background; "depth" and "ids" have one channel.

    own: the lights of the files.
    """
    shapes = [subject.shape for subject in subjects]
    if len({type(shape) for shape in shapes}) > 1:
        return _mixed_shot(shapes, own, camera, style)
    if isinstance(shapes[0], Mesh):
        return _mesh_shot(Scene(shapes, _lights(shapes, own, style)), camera, style)
    if style.tracing is not None:
        raise UserError(f"--method {style.tracing.method}: it is for meshes, {subjects[0].path} holds none")
    return _cloud_shot(Scene(shapes), camera, style)


def _lights(meshes: Sequence[Shape], own: Sequence[Light], style: Style) -> tuple[Light, ...]:
    """Those of files, and those that are asked for or make up for missing ones."""
    if style.tracing and style.plain and (own or any(map(_emits, meshes))):
        return tuple(own)
    return (*own, *style.beside) if own else style.lights


def _emits(mesh: Shape) -> bool:
    assert isinstance(mesh, Mesh)
    found = (getattr(material, "emissive", None) for material in mesh.materials)
    return any(light is not None and bool((light > 0).any()) for light in found)


def _mesh_shot(scene: Scene, camera: Camera, style: Style) -> Rendering:
    if style.tracing is not None:
        shot = style.tracing.shot(scene, camera, style.tone)
        return replace(shot, color=shot.color * style.exposure)
    if style.shading == "ids":
        shot = render(scene, camera, shading="unlit")
        return _data_shot(shot, shot.primitive_ids[..., None].float())  # type: ignore[index]
    shading: str | Shader = _diffuse(style.lighting) if style.shading == "diffuse" else style.shading
    shot = render(
        scene, camera, shading=shading, supersampling=style.supersampling, buffers=False,
        tone_mapping=style.tone if style.shading == "pbr" else "auto",
    )  # fmt: skip
    return replace(shot, color=shot.color * style.exposure)


def _diffuse(lighting: Lighting) -> Shader:
    """Colours as they are encoded times white diffuse light, as `render_mesh` shades vertices."""

    def shader(surface: Surface, lights: Sequence[Light], camera: Camera) -> Tensor:
        eye = camera.position.to(surface.position)[None]
        return unlit(surface, lights, camera) * lighting.shade(surface.position, surface.normal, eye)[0]

    return shader


def _cloud_shot(scene: Scene, camera: Camera, style: Style) -> Rendering:
    """Points, Gaussians or surfels, which bring their colours with them."""
    height, width = camera.size
    fine = camera.resized((height * style.supersampling, width * style.supersampling))
    first = listed(scene.shapes)[0]
    if isinstance(first, PointCloud):
        radius = None if first.radii is not None and style.radius is None else _radius(first, camera, style)
        shot = render_points(scene, fine, radius=radius)
    elif isinstance(first, SurfelCloud):
        shot = render_surfels(scene, fine)
    else:
        assert isinstance(first, (GaussianCloud, Mesh))
        shot = render_gaussians(scene, fine, antialiased=style.antialiased)
    if style.shading in _DATA:
        found = {"normals": shot.normals, "depth": shot.depth, "ids": shot.primitive_ids}[style.shading]
        if found is None:
            raise UserError(f"--shading {style.shading}: the points have no normals")
        if style.shading == "ids":
            found = found[..., None].float()
        data = _data_shot(shot, 0.5 + 0.5 * found if style.shading == "normals" else found)
        return _subsampled(data, style.supersampling)
    return _averaged(shot, style.supersampling)


def _mixed_shot(shapes: Sequence[Shape], own: Sequence[Light], camera: Camera, style: Style) -> Rendering:
    """Shapes of several kinds, each in front of what lies behind it."""
    refused = {
        f"--method {style.tracing.method if style.tracing else ''}": style.tracing is not None,
        f"--shading {style.shading}": style.shading in ("normals", "ids"), "--antialiased": style.antialiased,
        "--exposure, --tone": style.exposure != 1 or style.tone != "srgb",
    }  # fmt: skip
    for option, present in refused.items():
        if present:
            raise UserError(f"{option}: not where files of several kinds are shown --together")
    meshes = [shape for shape in shapes if isinstance(shape, Mesh)]
    options: dict[str, Any] = {"supersampling": style.supersampling} if meshes else {}
    if meshes:
        plain = {"diffuse": _diffuse(style.lighting), "depth": "unlit"}
        options["shading"] = plain.get(style.shading, style.shading)
    sized = [_sized(shape, camera, style) if isinstance(shape, PointCloud) else shape for shape in shapes]
    shot = render(Scene(sized, _lights(meshes, own, style) if meshes else ()), camera, **options)
    if style.shading == "depth":
        assert shot.depth is not None
        seen = (shot.depth > 0).float()
        return Rendering(shot.depth * seen, seen)
    if style.shading != "pbr":
        return shot
    # The pictures of this shading are in linear light.
    color = srgb_decode(shot.straight()[..., :-1]) * shot.mask
    return Rendering(color, shot.mask, tone_mapping=TONE_MAPPINGS["srgb"])


def _sized(cloud: PointCloud, camera: Camera, style: Style) -> PointCloud:
    """Points with radii in the world: what is in pixels is so in the middle of the picture."""
    if cloud.radii is not None and style.radius is None:
        return cloud
    distance = 1.0 if camera.view().projection == "orthographic" else float(camera.position.norm())
    radius = _radius(cloud, camera, style) / style.supersampling * distance / float(camera.fx)
    return replace(cloud, radii=torch.full_like(cloud.positions[:, 0], radius))


def _radius(cloud: PointCloud, camera: Camera, style: Style) -> float:
    """In pixels of the supersampled image: such that the points about cover what they are on."""
    pixels = style.radius
    if pixels is None:
        pixels = min(8.0, max(0.7, math.sqrt(camera.size[0] * camera.size[1] / max(1, len(cloud)))))
    return pixels * style.supersampling


def _data_shot(shot: Rendering, values: Tensor) -> Rendering:
    """Values instead of colours, where anything is seen."""
    assert shot.primitive_ids is not None
    seen = torch.ge(shot.primitive_ids, 0)[..., None].float()
    return Rendering(values * seen, seen)


def _averaged(shot: Rendering, step: int) -> Rendering:
    color, mask = (_pooled(value, step) for value in (shot.color, shot.mask))
    return Rendering(color, mask, tone_mapping=shot.tone_mapping)


def _pooled(image: Tensor, step: int) -> Tensor:
    return torch.nn.functional.avg_pool2d(image.permute(0, 3, 1, 2), step).permute(0, 2, 3, 1)


def _subsampled(shot: Rendering, step: int) -> Rendering:
    """Values that must not be averaged: of one sample of each pixel."""
    color, mask = (value[:, step // 2 :: step, step // 2 :: step] for value in (shot.color, shot.mask))
    return Rendering(color, mask)


# ---- In front of something -----------------------------------------------------------------------------------------


def warn_if_empty(shots: Sequence[Rendering], name: str) -> None:
    """Warn that a picture shows nothing, and why this may be."""
    if not any(bool((shot.mask > 0).any()) for shot in shots):
        warnings.warn(
            f"{name}: nothing is seen; it may be behind the camera, or its faces turn their backs: try --double-sided",
            stacklevel=2,
        )


def chosen_background(shots: Sequence[Rendering]) -> tuple[float, float, float]:
    """The first built-in background, unless much of the picture is nearly as bright and another one is not."""
    contrasts = []
    for color in _BACKGROUNDS:
        behind = torch.tensor(color)
        apart = [(s.straight()[..., :-1] - behind).abs().amax(-1)[s.mask[..., 0] > 0.5] for s in shots]
        every = torch.cat(apart)
        contrasts.append(float((every > 0.15).float().mean()) if len(every) else 1.0)
    return _BACKGROUNDS[0] if contrasts[0] > min(0.8, contrasts[1]) else _BACKGROUNDS[1]


def background_of(shots: Sequence[Rendering], style: Style) -> tuple[float, float, float]:
    """The background that suits: of values, black behind depths and white behind others."""
    if style.shading in _DATA:
        return (0.0, 0.0, 0.0) if style.shading == "depth" else (1.0, 1.0, 1.0)
    return chosen_background(shots)


@torch.no_grad()
def picture(
    shot: Rendering, camera: Camera, style: Style, background: tuple[float, ...] | None, linear: bool
) -> Tensor:
    """The picture [H, W, 1, 3 or 4] for a file.

    Args:
        background: display-encoded, None for transparent.
        linear: whether the file holds linear radiance and plain values, instead of what is displayed.
    """
    if style.shading in _DATA and linear:
        return _plain_values(shot, style.shading)[0]
    if style.shading == "depth":
        shot = _near_is_white(shot)
    elif style.shading == "ids":
        shot = replace(shot, color=_hues(shot.color) * shot.mask)
    shot = replace(shot, tone_mapping=None) if linear else shot
    color, mask = shot.color, shot.mask
    if linear and style.shading != "pbr":
        color = srgb_decode(color)
    if style.environment is not None:
        behind = style.environment.sample(camera.rays()[1])[None] * style.exposure
        if style.shading == "pbr":
            mixed = color + (1 - mask) * behind
            return mixed[0] if shot.tone_mapping is None else shot.tone_mapping(mixed)[0]
        return (color + (1 - mask) * (behind if linear else TONE_MAPPINGS["srgb"](behind)))[0]
    if background is None:
        return torch.cat([color, mask], -1)[0] if linear else shot.straight()[0]
    behind = torch.tensor(background)
    if linear:
        return (color + (1 - mask) * srgb_decode(behind))[0]
    return _over(shot, behind)[0]


def _plain_values(shot: Rendering, shading: str) -> Tensor:
    """Depths and normals, zero where nothing is seen, and ids, -1 there."""
    if shading == "normals":
        return 2 * shot.color - shot.mask
    return shot.color - (1 - shot.mask) if shading == "ids" else shot.color


def _over(shot: Rendering, background: Tensor) -> Tensor:
    """In front of a colour that is displayed as it is, whatever the tone mapping of what is before it."""
    if shot.tone_mapping is None or shot.tone_mapping is TONE_MAPPINGS["srgb"]:
        return shot.over(background)
    straight = shot.straight()
    encode = TONE_MAPPINGS["srgb"]
    mixed = srgb_decode(straight[..., :-1]) * shot.mask + (1 - shot.mask) * srgb_decode(background)
    return encode(mixed)


def _near_is_white(shot: Rendering) -> Rendering:
    """Depths as grey: the nearest point white, the farthest nearly black."""
    inside = shot.mask > 0.5
    depth = shot.color / shot.mask.clamp_min(1e-6)
    found = depth[inside]
    near, far = (float(found.min()), float(found.max())) if len(found) else (0.0, 1.0)
    share = ((far - depth) / max(far - near, 1e-12 * max(abs(far), 1e-30))).clamp(0, 1)
    return replace(shot, color=((0.1 + 0.9 * share) * shot.mask).expand(-1, -1, -1, 3), image=None)  # type: ignore[arg-type]


def _hues(ids: Tensor) -> Tensor:
    """A colour for each number, which neighbouring numbers do not share."""
    golden = (ids.double() + 1) * 0.6180339887498949
    phase = torch.tensor([0.0, 1 / 3, 2 / 3], dtype=torch.float64)
    return (0.6 + 0.35 * torch.cos(2 * math.pi * (golden + phase))).float()


def sheet(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    """Pictures side by side and rows of them one below the other; smaller ones stand in the middle of their place."""
    pictures = [one for row in rows for one in row]
    height, width = max(len(one) for one in pictures), max(one.shape[1] for one in pictures)
    whole = pictures[0].new_zeros(len(rows) * height, max(len(row) for row in rows) * width, pictures[0].shape[2])
    if whole.shape[2] == 3:
        whole += pictures[0][0, 0]  # the corner shows the background
    for i, row in enumerate(rows):
        for j, one in enumerate(row):
            top, left = i * height + (height - len(one)) // 2, j * width + (width - one.shape[1]) // 2
            whole[top : top + len(one), left : left + one.shape[1]] = one
    return whole
