"""Images with global illumination, by path tracing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.render.background import choose_background
from lumigrad.render.batches import Paths, traced, traced_until
from lumigrad.render.color import ToneMapping, resolve_tone_mapping
from lumigrad.render.path_bsdf import Bsdf
from lumigrad.render.path_lens import aperture_of, lens_cameras
from lumigrad.render.path_outlines import add_outlines
from lumigrad.render.path_scene import SEEDS, given_lights, lit_images, seed_of_image
from lumigrad.render.path_shadows import add_shadow_edges
from lumigrad.render.progress import shown_progress
from lumigrad.render.rendering import Rendering, finished
from lumigrad.render.stage import stage_of
from lumigrad.render.surface import default_material
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.cameras.lens import ThinLens
from lumigrad.scene.light.lights import Light
from lumigrad.scene.scene import Scene
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.meshes import Meshes
from lumigrad.types import TracedPaths
from lumigrad.types import validation as check

GRAZING = 0.02  # cosine to the viewing direction below which rays are not intersected with the plane


def render_path(
    scene: Scene | Mesh | Meshes | Sequence[Mesh],
    camera: Camera,
    samples: int = 16,
    max_depth: int | None = 6,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    lights: Sequence[Light] | None = None,
    background: Any = None,
    tone_mapping: ToneMapping = "srgb",
    gradient_seed: int | None = None,
    error: float | None = None,
    progress: bool | Callable[[float], None] = False,
    bsdfs: Mapping[str, Bsdf] | None = None,
    lens: ThinLens | None = None,
) -> Rendering:
    """Render meshes by path tracing: shadows, reflections, indirect light, and participating media.

    The image is unbiased up to rounding: the mean over seeds converges to the solution of the rendering equation.
    Materials are those of `render`, `DiffuseMaterial`, `ConductorMaterial`, `DielectricMaterial` and `PlasticMaterial`;
    emissive surfaces light the scene. Media fill closed meshes (`MediumBoundary`, `DielectricMaterial.interior`), boxes
    (`GridMedium.boundary`) and the scene (`Scene.medium`).

    Gradients reach media, materials, textures, vertex colours, lights, environments, shapes and cameras, including the
    gradient of visibility: soft shadows by edge sampling, silhouettes by the rasterizer, hard shadows along their edges
    in the image. Edges seen in mirrors and through smooth glass have no such gradients. In scenes with media, shapes,
    cameras and positions of lights have none.

    Args:
        scene: a `Scene` or a mesh, seen from every camera; or meshes, of which image n shows mesh n.
        camera: batch shape [N] or [].
        samples: paths of each pixel, spread evenly over its square (a box filter).
        max_depth: the largest number of segments of a path: 1 shows only emitters, 2 adds direct light, 3 light that
            has been reflected twice, and so on. None for no limit.
        seed: of the random numbers.
        size: (height, width) in pixels; the camera's by default.
        lights: replace all lights of the scene. If there are none, and nothing emits, the built-in studio is used.
        background: as for `render`; by default the scene's, or black.
        tone_mapping: from linear light to display, see `render`.
        gradient_seed: of the paths that gradients are computed from; different from `seed` by default.
        error: the accepted noise: the standard error of pixels relative to their brightness, for example 0.02. Blocks
            of 16 x 16 pixels get as many samples as they need, in batches of at most 16, up to `samples`. For blocks
            darker than a tenth of the image's mean, the error is relative to that brightness. The number of samples is
            estimated from the samples themselves, which biases the image slightly.
        progress: True shows a bar; a function receives the fraction of the work that is done.
        bsdfs: your own, by the names of the materials that they replace, see :class:`lumigrad.render.Bsdf`. Images that
            show any of these are traced in PyTorch, much more slowly, and without gradients of visibility.
        lens: replaces the pinhole, for depth of field; the camera is a `PerspectiveCamera` without distortion.
            Gradients reach the radius of its aperture and its focus distance. The background stays sharp.

    Returns:
        Rendering of N images, with depth, normals and albedo: means over the first surfaces; with `error`, also
        `samples`. A single-sided surface (`double_sided=False`) is black from behind.

    Raises:
        TypeError, ValueError: for arguments that are invalid, or do not fit each other.
        NotImplementedError: materials of the user's own; vertex colours with alpha on partly transparent materials; in
            scenes with media, shapes, cameras, lenses and positions of lights that require gradients.

    >>> from lumigrad.render import render_path
    >>> from lumigrad.scene import PerspectiveCamera, icosphere
    >>> camera = PerspectiveCamera.orbit(azimuth=30.0, elevation=20.0, distance=3.0, fov_y=45.0, size=(24, 32))
    >>> shot = render_path(icosphere(2), camera, samples=8)
    >>> shot.image.shape, shot.mask[0, 12, 16].item(), shot.mask[0, 0, 0].item()
    (torch.Size([1, 24, 32, 3]), 1.0, 0.0)
    """
    tone = resolve_tone_mapping(tone_mapping, True)
    stage = stage_of(scene, camera, size, kinds=(Mesh,), media=True)
    seed = check.integer("seed", seed, 0, SEEDS - 1)
    other = seed + SEEDS // 2 if gradient_seed is None else check.integer("gradient_seed", gradient_seed, 0, SEEDS - 1)
    samples = check.integer("samples", samples, 1)
    error = None if error is None else check.number("error", error, True)
    _check_names(bsdfs or {}, stage.scene.meshes)
    _check_lens(lens, len(stage.cameras))
    found, counts, media = [], [], False
    with shown_progress(progress, len(stage.cameras)) as report:
        for n, (one, lit, tree) in enumerate(lit_images(stage, lights)):
            media = media or lit.media is not None
            seeds = seed_of_image(seed, n), seed_of_image(other, n)
            own = _numbered(bsdfs or {}, stage.scene.meshes if stage.together else stage.scene.meshes[n : n + 1])
            glass = None if lens is None else lens.at(n)
            aperture = None if glass is None else aperture_of(glass, one, lit.positions)
            paths = Paths(lit, tree, *corner_rays(one, lit.positions), max_depth, *seeds, own, aperture)
            if lit.media is not None:
                _check_nothing_moves(paths, glass)
            if error is None:
                image = traced(paths, samples, report(n))
            else:
                image, count = traced_until(paths, error, samples, report(n))
                counts.append(count)
            found.append(image if own else _with_edges(image, paths, one, glass, samples))
    color, mask, depth, normals, albedo, through = (torch.stack(values) for values in zip(*found, strict=True))
    mask = mask[..., None]
    seen = torch.where(mask > 0, mask, 1).detach()  # means have no gradients
    length = normals.norm(dim=-1, keepdim=True)
    buffers = {
        "depth": depth[..., None] / seen,
        "normals": normals / torch.where(length > 0, length, 1),
        "albedo": albedo / seen,
    }
    if counts:
        buffers["samples"] = torch.stack(counts)
    behind = choose_background(background, stage.scene, given_lights(stage.scene, lights))
    return finished(color, mask, behind, stage.cameras, tone, buffers, through if media else None)


def _with_edges(image: TracedPaths, paths: Paths, camera: Camera, lens: ThinLens | None, samples: int) -> TracedPaths:
    """The image with visibility gradients, if any are requested.

    Through a lens, they are the means over some pinhole cameras.
    """
    if lens is None:
        return _seen_by(camera, image, paths, samples)
    cameras = lens_cameras(camera, lens, paths.gradient_seed)
    still = TracedPaths(*(torch.zeros_like(value) for value in image))
    for one in cameras:
        change = _seen_by(one, still, paths, max(samples // len(cameras), 1))
        image = TracedPaths(*(a + b / len(cameras) for a, b in zip(image, change, strict=True)))
    return image


def _seen_by(camera: Camera, image: TracedPaths, paths: Paths, samples: int) -> TracedPaths:
    """The image with the gradients of the edges that a pinhole camera sees."""
    scene, tree = paths.scene, paths.tree
    moving = [scene.positions, camera.world_to_camera, camera.fx, camera.fy, camera.cx, camera.cy]
    moving += [paths.origins, paths.directions]
    moves, casts = (
        torch.is_grad_enabled() and any(value is not None and value.requires_grad for value in values)
        for values in (moving, [*moving, scene.lamps])
    )
    if scene.media is not None or len(scene.tri) == 0:
        return image
    if casts and (paths.max_depth is None or paths.max_depth > 1):
        image = add_shadow_edges(image, scene, camera, samples, tree)
    if not moves:
        return image
    return add_outlines(image, scene, camera, samples, paths.max_depth, paths.gradient_seed + SEEDS, tree)


def _check_nothing_moves(paths: Paths, lens: ThinLens | None) -> None:
    """Raise an error rather than silently omit gradients."""
    scene = paths.scene
    wanted = {
        "positions, normals or texture coordinates of meshes": (
            scene.positions, scene.corner_normals, scene.corner_uvs, scene.corner_second_uvs
        ),
        "the camera": (paths.origins, paths.directions),
        "the lens": () if lens is None else (lens.radius, lens.focus_distance),
        "places of lights": (scene.lamps, scene.rotation),
    }  # fmt: skip
    if not torch.is_grad_enabled():
        return
    for what, values in wanted.items():
        if any(isinstance(value, Tensor) and value.requires_grad for value in values):
            raise NotImplementedError(
                f"scene: paths through media have no gradients to {what}; expected tensors that do not require "
                "gradients there (detach them), or a scene without media"
            )


def _check_lens(lens: ThinLens | None, images: int) -> None:
    if lens is None:
        return
    if not isinstance(lens, ThinLens):
        raise TypeError(f"lens: expected a ThinLens or None, got {type(lens).__name__}")
    if lens.count not in (None, images):
        raise ValueError(f"lens: expected one, or {images} like the images, got {lens.count}")


def _names(meshes: Sequence[Mesh]) -> list[str]:
    """The names of materials, in the order of their numbers in `lit_scene`."""
    return [material.name for mesh in meshes for material in (mesh.materials or (default_material(mesh),))]


def _check_names(bsdfs: Mapping[str, Bsdf], meshes: Sequence[Mesh]) -> None:
    """Raise an error for BSDFs whose name no material of any image has."""
    names = set(_names(meshes))
    for name in bsdfs:
        if name not in names:
            raise ValueError(f"bsdfs: expected names of materials, {sorted(names)}, got {name!r}")


def _numbered(bsdfs: Mapping[str, Bsdf], meshes: Sequence[Mesh]) -> dict[int, Bsdf]:
    """The BSDFs, keyed by the numbers of materials in `lit_scene`."""
    return {number: bsdfs[name] for number, name in enumerate(_names(meshes)) if name in bsdfs}


def corner_rays(camera: Camera, like: Tensor) -> tuple[Tensor, Tensor]:
    """Rays through the corners of the pixels [H + 1, W + 1, 3], of the type of a tensor.

    Directions end on the plane at distance 1 along the viewing direction, if all of them approach it: there,
    interpolation between the corners of a pixel is exact for pinhole cameras, and depth is the ray's parameter.
    """
    height, width = camera.size
    y, x = torch.meshgrid(torch.arange(height + 1.0), torch.arange(width + 1.0), indexing="ij")
    pixels = torch.stack((x, y), -1).reshape(-1, 2).to(camera.world_to_camera)
    origins, directions = (ray.reshape(height + 1, width + 1, 3).to(like) for ray in camera.rays(pixels))
    axis = -camera.camera_to_world[:3, 2].to(like)
    cosine = (directions * (axis / axis.norm())).sum(-1, keepdim=True)
    ahead = cosine > GRAZING
    return origins, torch.where(ahead.all(), directions / torch.where(ahead, cosine, 1), directions)
