"""Images of fields: functions from points to densities and features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.ops.field import composite, sample_rays
from lumigrad.render.background import choose_background
from lumigrad.render.color import ToneMapping, resolve_tone_mapping
from lumigrad.render.geometry import cameras_of
from lumigrad.render.rendering import Rendering, finished
from lumigrad.render.shading import LINEAR, Shader, resolve_shader
from lumigrad.render.stage import check_camera, lights_of
from lumigrad.render.surface import Surface
from lumigrad.render.volume import clip_rays, mean_depth, mean_normals
from lumigrad.scene._vectors import unit
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.lights import Light, Lighting
from lumigrad.scene.materials import Material, PBRMaterial
from lumigrad.scene.scene import Scene
from lumigrad.types import Occupancy
from lumigrad.types import validation as check
from lumigrad.types.functions import evaluated
from lumigrad.types.grids import Box, check_corners

Field = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class _Picture(NamedTuple):
    color: Tensor
    mask: Tensor
    depth: Tensor
    normals: Tensor | None


class _Shading(NamedTuple):
    shader: Shader
    lights: tuple[Light, ...]
    camera: Camera
    material: Material


def render_field(
    field: Field,
    camera: Camera,
    box: Box,
    step: float,
    shading: str | Shader | None = None,
    lights: Sequence[Light] | Lighting | None = None,
    background: Any = None,
    occupancy: Occupancy | None = None,
    *,
    material: Material | None = None,
    tone_mapping: ToneMapping = "auto",
    jitter: int | None = None,
    buffers: bool = False,
    chunk: int = 2**20,
) -> Rendering:
    """Images of a field that absorbs and emits, by `lumigrad.sample_rays` and `lumigrad.composite`.

    Args:
        field: from points [M, 3] and unit viewing directions [M, 3], away from the camera, to densities [M] (or [M, 1])
            that are not negative, and features [M, C]. It is called with no points too.
        camera: batch shape [N] or []. Any camera, with or without the distortion of a lens. Rays begin at the near
            plane and end at the far one.
        box: the two corners [2, 3] of the region in which the field is evaluated; its type and device are those of the
            points.
        step: length of the segments that rays are cut into, in world units. The field is evaluated at their middles.
        shading: None if features are emitted colours. With a shader as for `render`, features are display-encoded
            colours of a surface [M, 3], which multiply the material's; each sample is shaded with the normal that
            points in the direction of falling density.
        lights, tone_mapping: as for `render`.
        background: as for `render_volume`.
        occupancy: from `lumigrad.occupancy` or a `lumigrad.fit.OccupancyGrid`: empty space is skipped.
        material: of shaded samples.
        jitter: a seed that shifts the segments of each ray by a random fraction of a step; None for no randomness.
        buffers: whether to return depth and normals. Normals need the derivative of the density to the points.
        chunk: samples that the field is evaluated at together.

    Returns:
        Rendering of N images of C channels. Depths and normals are means over all contributions to the pixel, weighted
        like its colour; normals are zero where the density does not depend on the point. Gradients reach the parameters
        of the field, the camera and the background. Those to the camera are right for fields that fade away within the
        box, because the distances at which rays are cut are held fixed. Normals are differentiable if the density is
        twice differentiable.

    Raises:
        TypeError, ValueError: for arguments of other types, shapes or ranges, or what the field returns.

    >>> import torch
    >>> from lumigrad.render import render_field
    >>> from lumigrad.scene import PerspectiveCamera
    >>> def ball(points, directions):
    ...     return 50 * torch.sigmoid(200 * (0.4 - points.norm(dim=-1))), torch.ones_like(points)
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=2.0, fov_y=40.0, size=(33, 33))
    >>> shot = render_field(ball, camera, [[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]], 0.01, shading="phong", buffers=True)
    >>> round(shot.mask[0, 16, 16].item(), 3), round(shot.depth[0, 16, 16].item(), 1)
    (1.0, 1.6)
    >>> round(shot.normals[0, 16, 16, 2].item(), 2)
    1.0
    """
    if not callable(field):
        raise TypeError(f"field: expected a function of points and directions, got {type(field).__name__}")
    check_camera(camera)
    shader = None if shading is None else resolve_shader(shading)
    tone = resolve_tone_mapping(tone_mapping, shader in LINEAR)
    chunk = check.integer("chunk", chunk, 1)
    cameras = cameras_of(camera, camera.shape.numel())
    if not cameras:
        raise ValueError("camera: expected at least one, got none")
    scene = Scene([])
    lit = () if shader is None else lights_of(scene, lights, shader, camera)
    pictures = []
    for n, one in enumerate(cameras):
        given = tuple(light.at(n) for light in lit)
        shade = (
            None if shader is None else _Shading(shader, given, one, PBRMaterial() if material is None else material)
        )
        pictures.append(_draw(field, one, box, step, occupancy, jitter, shade, buffers, chunk))
    color, mask, depth = (torch.stack(part) for part in list(zip(*pictures, strict=True))[:3])
    found = {}
    if buffers:
        found["depth"] = mean_depth(depth, mask)
        found["normals"] = mean_normals(torch.stack([each.normals for each in pictures if each.normals is not None]))
    behind = background if shader is None else choose_background(background, scene, [light.at(0) for light in lit])
    return finished(color, mask, behind, cameras, tone, found)


def _draw(
    field: Field, camera: Camera, box: Box, step: float, occupancy: Occupancy | None, jitter: int | None,
    shade: _Shading | None, buffers: bool, chunk: int,
) -> _Picture:  # fmt: skip
    origins, directions = camera.rays()
    corners = check_corners(box, box if isinstance(box, Tensor) else origins, "box")
    origins, directions = (v.to(corners).expand_as(directions).reshape(-1, 3) for v in (origins, directions))
    begin, end, cosine = clip_rays(camera, directions)
    samples = sample_rays(origins, directions, corners, step, occupancy, begin, end, jitter)
    ray, middles = samples.ray, 0.5 * (samples.t_start + samples.t_end)
    parts = []
    for first in range(0, max(len(ray), 1), chunk):
        chosen = ray[first : first + chunk]
        along = directions[chosen]
        points = origins[chosen] + middles[first : first + chunk, None] * along
        parts.append(_look_up(field, points, torch.nn.functional.normalize(along, dim=-1), shade, buffers))
    density, payload = (torch.cat(part) for part in zip(*parts, strict=True))
    seen = composite(samples, density, payload)
    size = camera.size
    color, normals = (seen.features[:, :-3], seen.features[:, -3:]) if buffers else (seen.features, None)
    return _Picture(
        color.unflatten(0, size),
        seen.alpha.view(*size, 1),
        (seen.depth * cosine).view(*size, 1),
        None if normals is None else normals.unflatten(0, size),
    )


def _look_up(
    field: Field, points: Tensor, directions: Tensor, shade: _Shading | None, buffers: bool
) -> tuple[Tensor, Tensor]:
    """Densities [M] and colours, followed by normals if these are requested, [M, C or C + 3]."""
    if shade is None and not buffers:
        return looked_up("field", field, points, directions)
    wanted = torch.is_grad_enabled()
    with torch.enable_grad():
        points = points if points.requires_grad else points.detach().requires_grad_()
        density, features = looked_up("field", field, points, directions)
        slope = None
        if density.requires_grad:
            (slope,) = torch.autograd.grad(
                density.sum(), points, create_graph=wanted, retain_graph=True, allow_unused=True
            )
        normals = torch.zeros_like(points) if slope is None else unit(-slope)
    if not wanted:
        points, density, features, normals = (v.detach() for v in (points, density, features, normals))
    if shade is not None:
        if features.shape[-1] != 3:
            raise ValueError(f"field: expected features [M, 3] for a shader, got {list(features.shape)}")
        surface = Surface(
            points, normals, normals, -directions, shade.material, depth=shade.camera.depth(points)[..., None],
            color=features, back=torch.zeros_like(density[:, None], dtype=torch.bool),
        )  # fmt: skip
        features = shade.shader(surface, shade.lights, shade.camera)
    return density, torch.cat((features, normals), -1) if buffers else features


def looked_up(name: str, field: Field, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Density [M] and features [M, C] of a field, with the name of the argument or attribute for messages."""
    found: Any = evaluated(name, field, points, directions)
    count = len(points)
    if not isinstance(found, tuple) or len(found) != 2 or not all(isinstance(v, Tensor) for v in found):
        raise TypeError(f"{name}: expected it to return a density and features, got {type(found).__name__}")
    density, features = found
    if density.shape not in ((count,), (count, 1)) or features.dim() != 2 or len(features) != count:
        shapes = f"{list(density.shape)} and {list(features.shape)}"
        raise ValueError(f"{name}: expected it to return shapes [{count}] and [{count}, C], got {shapes}")
    return density.reshape(-1).to(points), features.to(points)
