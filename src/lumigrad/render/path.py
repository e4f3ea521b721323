"""Images with all of the light that surfaces send to one another, by path tracing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.ops.light import trace_paths
from lumigrad.ops.ray import build_bvh
from lumigrad.render.background import choose_background
from lumigrad.render.color import ToneMapping, resolve_tone_mapping
from lumigrad.render.path_outlines import add_outlines
from lumigrad.render.paths_scene import lit_scene
from lumigrad.render.rendering import Rendering, finished
from lumigrad.render.stage import default_environment, stage_of
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.lights import Light
from lumigrad.scene.scene import Scene
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.meshes import Meshes
from lumigrad.types import LitScene, TracedPaths
from lumigrad.types import validation as check

GRAZING = 0.02  # cosine to the viewing direction below which rays are not brought to a plane
SEEDS = 2**61


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
) -> Rendering:
    """Render meshes with shadows, reflections and light that goes from surface to surface.

    Unbiased up to rounding: the mean of images with other seeds is the solution of the rendering equation. Materials
    are those of `render`, `DiffuseMaterial`, `ConductorMaterial`, `DielectricMaterial` and `PlasticMaterial`; what
    emits lights the scene.

    Gradients reach materials, textures, vertex colours, lights, environments, shapes and cameras, with what edges cover
    and uncover: shadows by edge sampling, silhouettes by the rasterizer. Hard shadows of lights without a size, and
    edges seen in mirrors and through smooth glass, have no such gradients.

    Args:
        scene: a `Scene` or a mesh, seen from every camera; or meshes, of which image n shows mesh n.
        camera: batch shape [N] or [].
        samples: paths of each pixel, spread evenly over its square (a box filter).
        max_depth: the largest number of segments of a path: 1 shows what emits, 2 direct light, 3 light that has been
            reflected twice, and so on. None for no limit.
        seed: of the random numbers.
        size: (height, width) in pixels; the camera's by default.
        lights: in place of all that the scene has. Where there are none, and nothing emits, the built-in studio.
        background: as for `render`. By default, black is seen past the surfaces, or what the scene has.
        tone_mapping: from linear light to display, see `render`.
        gradient_seed: of the paths that gradients are computed from; another than `seed` by default.

    Returns:
        Rendering of N images, with depth, normals and albedo: means of what is seen first. A surface of one side
        (`double_sided=False`) is black from behind.

    Raises:
        TypeError, ValueError: for arguments that are none of the above, or do not fit each other.
        NotImplementedError: materials of the user's own, vertex colours with alpha on materials that are partly there.

    >>> from lumigrad.render import render_path
    >>> from lumigrad.scene import PerspectiveCamera, icosphere
    >>> camera = PerspectiveCamera.orbit(azimuth=30.0, elevation=20.0, distance=3.0, fov_y=45.0, size=(24, 32))
    >>> shot = render_path(icosphere(2), camera, samples=8)
    >>> shot.image.shape, shot.mask[0, 12, 16].item(), shot.mask[0, 0, 0].item()
    (torch.Size([1, 24, 32, 3]), 1.0, 0.0)
    """
    tone = resolve_tone_mapping(tone_mapping, True)
    stage = stage_of(scene, camera, size, kinds=(Mesh,))
    seed = check.integer("seed", seed, 0, SEEDS - 1)
    other = seed + SEEDS // 2 if gradient_seed is None else check.integer("gradient_seed", gradient_seed, 0, SEEDS - 1)
    found = []
    lit: LitScene | None = None
    for n, one in enumerate(stage.cameras):
        if lit is None or not stage.together or _varies(stage.scene, lights):
            shapes = stage.scene.meshes if stage.together else stage.scene.meshes[n : n + 1]
            lit = _lit(shapes, stage.scene, lights, n)
        found.append(_image(lit, one, samples, max_depth, _of_image(seed, n), _of_image(other, n)))
    color, mask, depth, normals, albedo = (torch.stack(values) for values in zip(*found, strict=True))
    mask = mask[..., None]
    seen = torch.where(mask > 0, mask, 1)
    length = normals.norm(dim=-1, keepdim=True)
    buffers = {
        "depth": depth[..., None] / seen,
        "normals": normals / torch.where(length > 0, length, 1),
        "albedo": albedo / seen,
    }
    behind = choose_background(background, stage.scene, _lights(stage.scene, lights))
    return finished(color, mask, behind, stage.cameras, tone, buffers)


def _image(
    lit: LitScene, camera: Camera, samples: int, max_depth: int | None, seed: int, gradient_seed: int
) -> TracedPaths:
    corners = corner_rays(camera, lit.positions)
    if not (torch.is_grad_enabled() and any(value.requires_grad for value in (lit.positions, *corners))):
        return trace_paths(lit, *corners, samples, max_depth, seed, gradient_seed)
    tree = build_bvh(lit.positions.detach(), lit.tri)
    out = trace_paths(lit, *corners, samples, max_depth, seed, gradient_seed, tree)
    return add_outlines(out, lit, camera, samples, max_depth, gradient_seed + SEEDS, tree)


def _lights(scene: Scene, lights: Sequence[Light] | None) -> tuple[Light, ...]:
    if lights is not None:
        return tuple(lights)
    return (*scene.lights, *(() if scene.environment is None else (scene.environment,)))


def _varies(scene: Scene, lights: Sequence[Light] | None) -> bool:
    """Whether images have lights of their own."""
    return any(
        getattr(light, name) is not None and getattr(light, name).ndim > rank
        for light in _lights(scene, lights)
        for name, rank in light.ranks.items()
    )


def _lit(meshes: Sequence[Mesh], scene: Scene, lights: Sequence[Light] | None, image: int) -> LitScene:
    chosen = [light.at(image) for light in _lights(scene, lights)]
    lit = lit_scene(meshes, chosen)
    if chosen or bool((lit.materials[:, 9:12] > 0).any()):
        return lit
    return lit_scene(meshes, [default_environment()])


def _of_image(seed: int, image: int) -> int:
    """A seed for each image of a batch; that of the first is the seed itself."""
    return (seed + image * 0x9E3779B97F4A7C15) % SEEDS


def corner_rays(camera: Camera, like: Tensor) -> tuple[Tensor, Tensor]:
    """Rays through the corners of the pixels [H + 1, W + 1, 3], of the type of a tensor.

    Directions end on the plane at distance 1 along the viewing direction, where all of them come near it: there,
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
