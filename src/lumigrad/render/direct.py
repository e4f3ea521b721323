"""Images of rasterized surfaces in the direct light of any lights, with traced shadows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.ops.light import direct_light
from lumigrad.ops.surface import antialias as blend_edges
from lumigrad.ops.surface import interpolate, rasterize
from lumigrad.render.background import choose_background
from lumigrad.render.color import ToneMapping, resolve_tone_mapping
from lumigrad.render.geometry import starts
from lumigrad.render.path_scene import SEEDS, given_lights, lit_images, seed_of_image
from lumigrad.render.rendering import Rendering, averaged, finished
from lumigrad.render.stage import Stage, stage_of
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.lights import Light
from lumigrad.scene.scene import Scene
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.meshes import Meshes
from lumigrad.types import Bvh, DirectLight, Fragments, Hits, LitScene
from lumigrad.types import validation as check


def render_direct(
    scene: Scene | Mesh | Meshes | Sequence[Mesh],
    camera: Camera,
    samples: int = 16,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    lights: Sequence[Light] | None = None,
    ambient_occlusion: float | None = None,
    antialias: bool | str = True,
    supersampling: int = 1,
    background: Any = None,
    tone_mapping: ToneMapping = "srgb",
    gradient_seed: int | None = None,
) -> Rendering:
    """Render meshes in direct light, with hard shadows of lamps and soft shadows of all other lights.

    Visible surfaces are rasterized, so outlines have no noise; their light is traced. Point, spot and distant lights
    add no noise either; emissive meshes and environments do. Apart from noise and antialiasing, images are those of
    `render_path` with a `max_depth` of 2: materials and lights are the same.

    Gradients reach materials, textures, vertex colours, intensities of lights and environments; and, through the
    antialiased outlines, shapes and cameras. They do not include the change of light on a surface as it moves, nor the
    motion of shadows.

    Args:
        scene: a `Scene` or a mesh, seen from every camera; or meshes, of which image n shows mesh n.
        camera: batch shape [N] or [].
        samples: directions per pixel that are drawn to emissive meshes, to the environment and from the material. They
            are not used if there are only lamps.
        seed: of the random numbers.
        size: (height, width) in pixels; the camera's by default.
        lights: replace all lights of the scene. If there are none, and nothing emits, the built-in studio is used.
        ambient_occlusion: the distance beyond which surfaces do not block light of `AmbientLight` and
            `EnvironmentLight`. Without a limit (the default), shadows are exact; with one, closed rooms are lit from
            outside, and their corners are dark.
        antialias: how silhouettes are blended: True or "fast", "exact", False for not at all; see `lumigrad.antialias`.
        supersampling: samples a pixel along each axis, averaged; each draws `samples` directions.
        background: as for `render`; by default the scene's, or black.
        tone_mapping: from linear light to display, see `render`.
        gradient_seed: of the directions that gradients are computed from; different from `seed` by default.

    Returns:
        Rendering of N images, with depth, normals, albedo, primitive_ids and shape_ids at the pixels' centres. A
        single-sided surface (`double_sided=False`) is black from behind.

    Raises:
        TypeError, ValueError: for arguments that are invalid, or do not fit each other.
        NotImplementedError: media, materials that are partly there (`alpha_mode`), and those that `render_path`
            refuses.

    >>> from lumigrad.render import render_direct
    >>> from lumigrad.scene import PerspectiveCamera, PointLight, icosphere
    >>> camera = PerspectiveCamera.orbit(azimuth=30.0, elevation=20.0, distance=3.0, fov_y=45.0, size=(24, 32))
    >>> shot = render_direct(icosphere(2), camera, lights=[PointLight((3.0, 3.0, 3.0), intensity=30.0)])
    >>> shot.image.shape, shot.mask[0, 12, 16].item(), shot.mask[0, 0, 0].item()
    (torch.Size([1, 24, 32, 3]), 1.0, 0.0)
    """
    tone = resolve_tone_mapping(tone_mapping, True)
    stage = stage_of(scene, camera, size, kinds=(Mesh,))
    seed = check.integer("seed", seed, 0, SEEDS - 1)
    other = seed + SEEDS // 2 if gradient_seed is None else check.integer("gradient_seed", gradient_seed, 0, SEEDS - 1)
    blending = _blending(antialias)
    step = check.integer("supersampling", supersampling, 1)
    reach = math.inf if ambient_occlusion is None else check.number("ambient_occlusion", ambient_occlusion, True)
    found: list[dict[str, Tensor]] = []
    for n, (one, lit, tree) in enumerate(lit_images(stage, lights)):
        fine = one.resized((one.size[0] * step, one.size[1] * step))
        seeds = seed_of_image(seed, n), seed_of_image(other, n)
        image, tri = _image(_Shading(fine, lit, tree, samples, reach, seeds), blending)
        found.append(image | _numbers(tri, stage, n))
    buffers = {name: torch.stack([image[name] for image in found]) for name in found[0]}
    color, mask = (averaged(buffers.pop(name), step) for name in ("color", "mask"))
    middle = slice(step // 2, None, step)
    buffers = {name: value[:, middle, middle] for name, value in buffers.items()}
    behind = choose_background(background, stage.scene, given_lights(stage.scene, lights))
    return finished(color, mask, behind, stage.cameras, tone, buffers)


def _blending(antialias: bool | str) -> str | None:
    if isinstance(antialias, (bool, str)) and antialias in (True, False, "fast", "exact"):
        return "fast" if antialias is True else antialias or None
    raise ValueError(f"antialias: expected True, False, 'fast' or 'exact', got {antialias!r}")


class _Shading(NamedTuple):
    """Shades the fragments of one camera's image."""

    camera: Camera
    lit: LitScene
    tree: Bvh
    samples: int
    reach: float
    seeds: tuple[int, int]

    def light(self, frags: Fragments) -> DirectLight:
        """At fragments [1, H, W]."""
        with torch.no_grad():
            position = interpolate(self.lit.positions, frags, self.lit.tri)
            # Where nothing is visible, any direction will do.
            directions = torch.where(frags.tri[..., None] >= 0, -self.camera.towards(position), 1.0)
        hits = Hits(frags.tri, frags.bary.detach(), torch.zeros_like(frags.bary[..., 0]))
        return direct_light(self.lit, hits, directions, self.samples, self.reach, *self.seeds, self.tree)

    def colors(self, frags: Fragments) -> Tensor:
        """Radiance and coverage [1, H, W, 4]."""
        return _covered(self.light(frags), frags)


def _covered(light: DirectLight, frags: Fragments) -> Tensor:
    return torch.cat((light.radiance, (frags.tri >= 0)[..., None].to(light.radiance)), -1)


def _image(shading: _Shading, blending: str | None) -> tuple[dict[str, Tensor], Tensor]:
    """Colour, coverage and buffers of one image, each [H, W, C], and the visible triangles [H, W]."""
    camera, lit = shading.camera, shading.lit
    pos, tri = camera.project(lit.positions)[None], lit.tri.to(torch.int32)
    frags = rasterize(pos, tri, camera.size)
    light = shading.light(frags)
    color = _covered(light, frags)
    if blending == "fast":
        color = blend_edges(color, frags, pos, tri)
    elif blending == "exact":
        color = blend_edges(color, frags, pos, tri, method="exact", shade=shading.colors)
    depth = camera.depth(interpolate(lit.positions, frags, tri).reshape(-1, 3)).reshape(frags.tri.shape)
    depth = torch.where(frags.tri >= 0, depth, 0)[..., None]
    buffers = {"color": color[..., :3], "mask": color[..., 3:], "depth": depth, **light._asdict()}
    del buffers["radiance"]
    return {name: value[0] for name, value in buffers.items()}, frags.tri[0]


def _numbers(tri: Tensor, stage: Stage, number: int) -> dict[str, Tensor]:
    """The visible triangles of an image, by mesh and number."""
    if not stage.together:
        return {"primitive_ids": tri, "shape_ids": torch.where(tri >= 0, number, -1).to(torch.int32)}
    first = torch.tensor(starts([len(mesh.faces) for mesh in stage.scene.meshes]), device=tri.device)
    mesh = torch.searchsorted(first, tri.clamp_min(0).long(), right=True) - 1
    found = {"primitive_ids": tri - first[mesh], "shape_ids": mesh}
    return {name: torch.where(tri >= 0, value, -1).to(torch.int32) for name, value in found.items()}
