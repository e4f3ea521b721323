"""Implicit surfaces: grids of signed distances, and functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.ops.implicit import sphere_trace
from lumigrad.render.background import choose_background
from lumigrad.render.color import ToneMapping, resolve_tone_mapping
from lumigrad.render.geometry import cameras_of
from lumigrad.render.rendering import Rendering, finished
from lumigrad.render.shading import LINEAR, Shader, resolve_shader
from lumigrad.render.stage import Stage, check_camera, lights_of, stage_of
from lumigrad.render.surface import Surface
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.lights import Light, Lighting
from lumigrad.scene.materials import Material, PBRMaterial
from lumigrad.scene.scene import Scene
from lumigrad.scene.shapes.signed_distance_grid import SignedDistanceGrid
from lumigrad.types import Rays
from lumigrad.types import validation as check
from lumigrad.types.surface_hits import SurfaceHits


class _Picture(NamedTuple):
    color: Tensor
    mask: Tensor
    depth: Tensor
    normals: Tensor


def render_implicit(
    shape: Scene | SignedDistanceGrid | Sequence[SignedDistanceGrid] | Callable[[Tensor], Tensor],
    camera: Camera,
    shading: str | Shader = "pbr",
    lights: Sequence[Light] | Lighting | None = None,
    background: Any = None,
    *,
    silhouette: float | None = None,
    supersampling: int = 1,
    material: Material | None = None,
    tone_mapping: ToneMapping = "auto",
    buffers: bool = True,
    **tracing: Any,
) -> Rendering:
    """Render an implicit surface, by `lumigrad.sphere_trace`.

    Args:
        shape: a `SignedDistanceGrid`, a `Scene` of one, or a function from points [R, 3] to signed distances [R], seen
            from every camera; or a sequence of grids: a batch, of which image n shows grid n.
        camera: batch shape [N] or [].
        shading, lights, background, tone_mapping: as for `render`.
        silhouette: the width of the band in which the gradient of the silhouette is collected, as a distance; pixels
            should be finer where the surface is. By default a voxel's diagonal, and for a function 0: no such gradient.
        supersampling: rays per pixel, along each side. There is one ray for each of these: the image has no other
            antialiasing.
        material: in the place of the grid's.
        buffers: whether to return depth and normals.
        tracing: `steps`, `tolerance`, `relaxation` and `lipschitz` of `sphere_trace`, for functions; and `box`.

    Returns:
        Rendering of N images with depth and normals, which are means over the rays that hit. Gradients reach the
        values, or what the function depends on, the colours, the camera and, with a silhouette, go through the mask.

    Raises:
        TypeError, ValueError: for arguments of other types, shapes or ranges, and a scene of several grids, which
            `render` shows.

    >>> from lumigrad.render import render_implicit
    >>> from lumigrad.scene import PerspectiveCamera, SignedDistanceGrid
    >>> ball = SignedDistanceGrid.from_function(lambda x: x.norm(dim=-1) - 0.8, 24, [[-1, -1, -1], [1, 1, 1]])
    >>> camera = PerspectiveCamera.orbit(azimuth=30.0, elevation=20.0, distance=3.0, fov_y=45.0, size=(24, 32))
    >>> shot = render_implicit(ball, camera)
    >>> shot.image.shape, shot.mask[0, 12, 16].item(), round(shot.depth[0, 12, 16].item(), 1)
    (torch.Size([1, 24, 32, 3]), 1.0, 2.2)
    """
    check_camera(camera)
    shader = resolve_shader(shading)
    tone = resolve_tone_mapping(tone_mapping, shader in LINEAR)
    finer = check.integer("supersampling", supersampling, 1, 64)
    shapes, cameras, scene = _set(shape, camera)
    lit = [tuple(light.at(n) for light in lights_of(scene, lights, shader, camera)) for n in range(len(cameras))]
    height, width = camera.size
    pictures = [
        _draw(one, seen.resized((height * finer, width * finer)), shader, lit[n], silhouette, material, finer, tracing)
        for n, (one, seen) in enumerate(zip(shapes, cameras, strict=True))
    ]
    if not pictures:
        raise ValueError("camera: expected at least one, got none")
    color, mask, depth, normals = (torch.stack(part) for part in zip(*pictures, strict=True))
    behind = choose_background(background, scene, lit[0])
    found = {"depth": depth, "normals": normals} if buffers else {}
    return finished(color, mask, behind, cameras, tone, found)


def _set(shape: Any, camera: Camera) -> tuple[list[Any], list[Camera], Scene]:
    """The shape and camera of each image, and the scene around them."""
    if callable(shape):
        cameras = cameras_of(camera, camera.shape.numel())
        return [shape] * len(cameras), cameras, Scene([])
    if not isinstance(shape, (Scene, SignedDistanceGrid, Sequence)) or isinstance(shape, str):
        raise TypeError(f"shape: expected a SignedDistanceGrid or a function of points, got {type(shape).__name__}")
    stage: Stage = stage_of(shape, camera, name="shape", kinds=(SignedDistanceGrid,))
    return stage.alone("shape"), stage.cameras, stage.scene


class ShadedHits(NamedTuple):
    """Intersections of rays with an implicit surface, shaded.

    Attributes:
        hits: the points.
        front: the colours there [..., C].
        back: those of `hits.back`, or None.
    """

    hits: SurfaceHits
    front: Tensor
    back: Tensor | None


def traced(
    shape: Any,
    rays: Rays,
    camera: Camera,
    shader: Shader,
    lights: tuple[Light, ...],
    silhouette: float | None = None,
    material: Material | None = None,
    tracing: dict[str, Any] | None = None,
) -> ShadedHits:
    """Trace rays [..., 3] to a grid or a function and shade the hits; arguments as for `render_implicit`."""
    origins, directions = rays
    sdf: Any = shape
    tracing = {} if tracing is None else tracing
    if silhouette is None:
        silhouette = float(shape.voxel_size.detach().norm()) if isinstance(shape, SignedDistanceGrid) else 0.0
    if isinstance(shape, SignedDistanceGrid):
        sdf, tracing = shape.values, {**tracing, "box": shape.corners}
        material = shape.material if material is None else material
        origins, directions = origins.to(sdf), directions.to(sdf)
    hits = sphere_trace(sdf, origins, directions, silhouette=silhouette, **tracing)

    def shade(layer: SurfaceHits) -> Tensor:
        chosen = layer.t.isfinite()
        points = layer.positions[chosen]
        view = torch.nn.functional.normalize(-directions[chosen], dim=-1)
        tint = shape.color(points) if isinstance(shape, SignedDistanceGrid) else None
        normal = layer.normals[chosen]
        surface = Surface(
            points, normal, normal, view, PBRMaterial() if material is None else material,
            depth=camera.depth(points)[..., None], color=tint, back=torch.zeros_like(view[:, :1], dtype=torch.bool),
        )  # fmt: skip
        color = shader(surface, lights, camera)
        return color.new_zeros(*chosen.shape, color.shape[-1]).index_put((chosen,), color)

    return ShadedHits(hits, shade(hits), None if hits.back is None else shade(hits.back))


def _draw(
    shape: Any,
    camera: Camera,
    shader: Shader,
    lights: tuple[Light, ...],
    silhouette: float | None,
    material: Material | None,
    finer: int,
    tracing: dict[str, Any],
) -> _Picture:
    hits, color, behind = traced(shape, camera.rays(), camera, shader, lights, silhouette, material, tracing)
    alpha = hits.alpha[..., None]
    color, mask, first = alpha * color, alpha, hits
    if hits.back is not None and behind is not None:
        back = hits.back.alpha[..., None]
        color = color + (1 - alpha) * back * behind
        mask = alpha + (1 - alpha) * back
        first = _first(hits, hits.back)
    share = first.mask[..., None].to(color)
    depth = torch.where(first.mask, camera.depth(first.positions.reshape(-1, 3)).view(first.mask.shape), 0.0)
    total = _mean(share, finer)
    kept = torch.where(total > 0, total, 1.0)
    normals = torch.nn.functional.normalize(_mean(share * first.normals, finer), dim=-1)
    return _Picture(_mean(color, finer), _mean(mask, finer), _mean(depth[..., None], finer) / kept, normals)


def _first(front: SurfaceHits, back: SurfaceHits) -> SurfaceHits:
    """The surfaces that rays hit, where they may pass something in front of it."""
    mask, at = front.mask[..., None], front.mask
    return SurfaceHits(
        torch.where(at, front.t, back.t),
        torch.where(mask, front.positions, back.positions),
        torch.where(mask, front.normals, back.normals),
        at | back.mask,
        front.alpha,
    )


def _mean(image: Tensor, finer: int) -> Tensor:
    """[H f, W f, C] to [H, W, C]."""
    if finer == 1:
        return image
    height, width, channels = image.shape
    return image.view(height // finer, finer, width // finer, finer, channels).mean((1, 3))
