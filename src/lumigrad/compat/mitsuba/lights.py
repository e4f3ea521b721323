"""From emitters to lumigrad's lights."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lumigrad.compat.mitsuba.materials import color_texture
from lumigrad.compat.mitsuba.objects import Object, at, below
from lumigrad.scene import AmbientLight, DirectionalLight, EnvironmentLight, Light, PointLight, SpotLight
from lumigrad.scene.light.cubemap import cube_directions

LARGEST_FACE = 1024


def light_of(emitter: Object) -> Light:
    if emitter.kind == "area":
        raise ValueError(f"{at(emitter.path)}expected an area light to belong to a shape")
    return {"point": _point, "directional": _directional, "spot": _spot, "constant": _constant, "envmap": _envmap}[
        emitter.kind
    ](emitter)


def _color(emitter: Object, name: str) -> Tensor:
    found = color_texture(emitter.children[name])
    if found.image is not None:
        raise NotImplementedError(f"{below(emitter.path, name)}: expected a colour, got a bitmap")
    return found.color


def _point(emitter: Object) -> Light:
    return PointLight(emitter.values["position"], color=_color(emitter, "intensity"))


def _directional(emitter: Object) -> Light:
    """+z is where light travels."""
    return DirectionalLight(-emitter.values["to_world"][:3, 2], color=_color(emitter, "irradiance"))


def _spot(emitter: Object) -> Light:
    """+z is the axis. Between the cones, light fades with the angle, or by glTF's formula where that is asked for."""
    values, fades = emitter.values, {"linear": "angle", "gltf": "cosine"}
    if emitter.options["falloff"] not in fades:
        raise ValueError(
            f"{below(emitter.path, 'falloff')}: expected {' or '.join(map(repr, fades))}, "
            f"got {emitter.options['falloff']!r}"
        )
    if bool((_color(emitter, "texture") != 1).any()):
        raise NotImplementedError(f"{below(emitter.path, 'texture')}: expected none")
    matrix = values["to_world"]
    return SpotLight(
        matrix[:3, 3], _color(emitter, "intensity"), direction=matrix[:3, 2], inner=values["beam_width"],
        outer=values["cutoff_angle"], fade=fades[emitter.options["falloff"]],
    )  # fmt: skip


def _constant(emitter: Object) -> Light:
    return AmbientLight(color=_color(emitter, "radiance"))


def _envmap(emitter: Object) -> Light:
    """As a cube map, of texels of half the size: their means over four lookups each."""
    data, matrix = emitter.values["data"], emitter.values["to_world"]
    size = min(max(data.shape[0], 32), LARGEST_FACE)
    fine = look_up(data, cube_directions(2 * size, data.dtype, data.device))
    cube = fine.reshape(6, size, 2, size, 2, 3).mean((2, 4))
    # Paths look at the cube alone, so nothing needs to be filtered for rough reflections.
    return EnvironmentLight(cube, emitter.values["scale"], matrix[:3, :3], irradiance=cube, levels=())


def look_up(data: Tensor, directions: Tensor) -> Tensor:
    """Radiance [..., 3] of a map [H, W, 3] in directions [..., 3], by Mitsuba 3.9's convention.

    y is up, u = atan2(x, -z) / 2 pi, v = acos(y) / pi. Columns are u W - 1/2 and go around; rows are v (H - 1).
    """
    height, width = data.shape[:2]
    x, y, z = torch.nn.functional.normalize(directions, dim=-1).unbind(-1)
    column = torch.atan2(x, -z) / (2 * math.pi) % 1 * width - 0.5
    row = torch.acos(y.clamp(-1, 1)) / math.pi * (height - 1)
    left, top = column.floor(), row.floor().clamp(0, height - 2)
    along, down = (column - left)[..., None], (row - top)[..., None]
    i, j, k = top.long(), left.long() % width, (left.long() + 1) % width
    upper, lower = ((1 - along) * data[r, j] + along * data[r, k] for r in (i, i + 1))
    return (1 - down) * upper + down * lower
