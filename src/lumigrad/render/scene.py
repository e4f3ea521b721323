"""From a scene and cameras to images, with any shader, transparency and buffers of what was seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.ops.surface import antialias as blend_edges
from lumigrad.ops.surface import edge_topology
from lumigrad.render.background import choose_background
from lumigrad.render.color import ToneMapping, resolve_tone_mapping
from lumigrad.render.gaussians import render_gaussians
from lumigrad.render.geometry import Geometry, assemble
from lumigrad.render.implicit import render_implicit
from lumigrad.render.layers import DEFAULT_FRAGMENTS, SHADED, Options, render_layers
from lumigrad.render.painting import Layer, Painter
from lumigrad.render.peeling import cut, layers_wanted, occluders_of, peeled
from lumigrad.render.points import render_points
from lumigrad.render.rendering import Rendering, averaged, finished
from lumigrad.render.shading import LINEAR, Shader, gouraud, resolve_shader
from lumigrad.render.stage import NAMES, Stage, lights_of, stage_of
from lumigrad.render.surface import MeshShape, TextureStore
from lumigrad.render.surfels import render_surfels
from lumigrad.render.volume import render_volume
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.lights import Light, Lighting
from lumigrad.scene.scene import Scene, Shape
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.meshes import Meshes
from lumigrad.scene.shapes.point_cloud import PointCloud, PointClouds
from lumigrad.scene.shapes.signed_distance_function import SignedDistanceFunction
from lumigrad.scene.shapes.signed_distance_grid import SignedDistanceGrid
from lumigrad.scene.shapes.sphere_cloud import SphereCloud
from lumigrad.scene.shapes.surfel_cloud import SurfelCloud
from lumigrad.scene.shapes.volume_field import VolumeField
from lumigrad.scene.shapes.voxel_grid import VoxelGrid
from lumigrad.types import validation as check

CLOUDS = (PointCloud, GaussianCloud, SurfelCloud, SphereCloud)
MIXED_ONLY = (SphereCloud, SignedDistanceFunction, VolumeField)  # shapes without another renderer here
RENDERERS: dict[type, Callable[..., Rendering]] = {
    PointCloud: render_points,
    GaussianCloud: render_gaussians,
    SurfelCloud: render_surfels,
    VoxelGrid: render_volume,
}


def render(
    scene: Scene | Shape | Meshes | PointClouds | Sequence[Shape],
    camera: Camera,
    size: tuple[int, int] | None = None,
    shading: str | Shader = "pbr",
    lights: Sequence[Light] | Lighting | None = None,
    background: Any = None,
    supersampling: int = 1,
    layers: int | None = None,
    antialias: bool = True,
    tone_mapping: ToneMapping = "auto",
    previous: tuple[Scene | Mesh | Meshes | Sequence[Mesh], Camera] | None = None,
    buffers: bool = True,
    shadows: bool = False,
    fragments: int | None = None,
) -> Rendering:
    """Render a scene, a shape, or a batch of shapes, from one camera or a batch of cameras.

    Meshes are shaded as described here. Point clouds, Gaussians and surfels have their own colours: they are drawn by
    `render_points`, `render_gaussians` and `render_surfels` with default options, and voxel grids by `render_volume`;
    only `size`, `background`, `tone_mapping` and `buffers` apply. Grids of signed distances are shaded like meshes, by
    `render_implicit`; `shading`, `lights` and `supersampling` apply too.

    A `Scene` may mix shapes of all kinds, including spheres, fields, functions of signed distances and several grids.
    Each pixel's ray meets layers of meshes, points of surfaces and splats, and intervals of media, which are blended in
    the order of their distances along the ray. Fog ends at an opaque surface and continues behind glass; overlapping
    media add their densities. See `docs/rendering.md`. The only buffer of such an image is the depth: the mean over all
    contributions to the pixel, weighted like its colour.

    Gradients reach everything: positions, cameras, lights, materials, textures, environments, backgrounds; those of
    visibility come from `antialias`.

    Args:
        scene: a `Scene` or a shape, seen from every camera; or `Meshes`, `PointClouds`, or a sequence of shapes: a
            batch, of which image n shows shape n. All are of one kind, with any sizes and materials. A mesh with
            positions [N, V, 3] is a batch too.
        camera: batch shape [N] or []; one camera serves a whole batch of shapes.
        size: (height, width) in pixels; the camera's by default.
        shading: "pbr", "phong", "gouraud", "flat", "unlit", "normals", "depth", or a function
            `shader(surface, lights, camera) -> [P, C]` (see `lumigrad.render.shading`).
        lights: replace all lights of the scene. If there are none at all, `pbr` uses the built-in studio environment,
            the other shaders `Lighting()`.
        background: replaces the scene's: None, a display-encoded colour ([C], [N, C]) or image ([H, W, C],
            [N, H, W, C]), an `EnvironmentLight`, or "environment" for the one that lights the scene.
        supersampling: samples a pixel along each axis, averaged.
        layers: the number of surfaces along a ray that are blended, by depth peeling. By default 1 if all materials are
            opaque, otherwise 4. Surfaces farther behind are left out.
        antialias: blend silhouettes.
        tone_mapping: from linear light to display: "srgb", "reinhard", "filmic", a function, or None for none. "auto"
            is "srgb" for meshes in `pbr` and None otherwise. With a tone mapping, colours are taken as linear light and
            backgrounds are decoded; blending and averaging use linear light. In mixtures with shapes whose colours are
            display-encoded, "auto" encodes surfaces in `pbr` and blends everything display-encoded.
        previous: the earlier `scene` and `camera`, with the same faces, for `Rendering.motion`.
        buffers: whether to return depth, normals, uv and ids.
        shadows: whether meshes cast hard shadows in the light of punctual lights, by rays. Transparent surfaces cast
            them too. Shadow edges have no gradients. Not for "gouraud", which computes light at vertices.
        fragments: for clouds whose points, Gaussians, surfels or spheres lie among other shapes: the number of nearest
            ones that are sorted in each pixel, 16 by default. Those behind them are merged into one; solid spheres
            behind them are left out.

    Returns:
        Rendering of N images.

    Raises:
        TypeError, ValueError: for arguments that are invalid, do not fit each other, or do not apply to the shapes.

    >>> from lumigrad.render import render
    >>> from lumigrad.scene import PerspectiveCamera
    >>> from lumigrad.scene.shapes.procedural import icosphere
    >>> camera = PerspectiveCamera.orbit(azimuth=30.0, elevation=20.0, distance=3.0, fov_y=45.0, size=(24, 32))
    >>> shot = render(icosphere(2), camera, shading="phong", background=(1.0, 1.0, 1.0))
    >>> shot.image.shape, shot.depth.shape
    (torch.Size([1, 24, 32, 3]), torch.Size([1, 24, 32, 1]))
    """
    shader = resolve_shader(shading)
    tone = resolve_tone_mapping(tone_mapping, shader in LINEAR)
    for name, value in (("supersampling", supersampling), ("layers", 1 if layers is None else layers)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")
    if check.flag("shadows", shadows) and shader is gouraud:
        raise ValueError("shadows: expected False for gouraud shading, which looks at lights from vertices")
    stage = stage_of(scene, camera, size, mixed=True)
    needed = {
        "shading": (shading != "pbr", SHADED), "lights": (lights is not None, SHADED),
        "layers": (layers is not None, (Mesh,)), "antialias": (not antialias, (Mesh,)), "shadows": (shadows, (Mesh,)),
    }  # fmt: skip
    listed = DEFAULT_FRAGMENTS if fragments is None else check.integer("fragments", fragments, 1, 1024)
    options = Options(
        shader, lights, background, supersampling, layers, antialias, tone_mapping, buffers, shadows, listed
    )
    if _is_mixture(stage):
        _refuse(stage, **needed, fragments=(fragments is not None, CLOUDS))
        if previous is not None:
            raise ValueError("previous: only scenes of meshes alone have motion")
        return render_layers(stage, options)
    if fragments is not None:
        raise ValueError("fragments: only scenes of several kinds of shapes, and of spheres, have this option")
    if stage.kind is not Mesh:
        whole: Any = stage.scene if stage.together else stage.shapes
        _refuse(stage, **needed, supersampling=(supersampling != 1, SHADED), previous=(previous is not None, (Mesh,)))
        if stage.kind is SignedDistanceGrid:
            return render_implicit(
                whole, stage.camera, shader, lights, background, supersampling=supersampling, tone_mapping=tone,
                buffers=buffers,
            )  # fmt: skip
        return RENDERERS[stage.kind](
            whole, stage.camera, background=background, tone_mapping=tone_mapping, buffers=buffers
        )
    return _render_meshes(stage, options, camera, previous, tone)


def _render_meshes(
    stage: Stage,
    options: Options,
    camera: Camera,
    previous: tuple[Scene | Mesh | Meshes | Sequence[Mesh], Camera] | None,
    tone: Any,
) -> Rendering:
    meshes, cameras = stage.scene.meshes, stage.cameras
    shader, supersampling = options.shader, options.supersampling
    lights = lights_of(stage.scene, options.lights, shader, camera)
    lit = [tuple(light.at(n) for light in lights) for n in range(len(cameras))]
    height, width = cameras[0].size
    fine = [c.resized((height * supersampling, width * supersampling)) for c in cameras]
    geometry = assemble(meshes, fine, stage.together)
    before = None if previous is None else _previous_clip(previous, meshes, fine)
    shapes = [MeshShape(mesh) for mesh in meshes]
    occluders = occluders_of(meshes, len(cameras), stage.together) if options.shadows else None
    painter = Painter(
        geometry, shapes, shader, fine, lit, TextureStore(), before, stage.together, options.buffers, occluders
    )
    count = layers_wanted(geometry, options.layers)
    painted = [painter.paint(frags) for frags in peeled(geometry, fine[0].size, count)]
    color, mask = _composite(painted, geometry, options.antialias)
    middle = slice(supersampling // 2, None, supersampling)
    found = {name: value[:, middle, middle] for name, value in _front(painted).items()}
    if previous is not None:
        found["motion"] = found["motion"] / supersampling  # from samples to pixels
    color, mask = averaged(color, supersampling), averaged(mask, supersampling)
    behind = choose_background(options.background, stage.scene, lit[0] if lit else ())
    return finished(color, mask, behind, cameras, tone, found)


def _is_mixture(stage: Stage) -> bool:
    """Whether the shapes must be sorted along each ray."""
    if not stage.together:
        if any(kind in MIXED_ONLY for kind in stage.kinds):
            names = " and ".join(NAMES[kind] for kind in MIXED_ONLY)
            raise ValueError(f"scene: expected {names} in a Scene, got a batch of shapes, one for each image")
        return False
    several = len(stage.shapes) > 1 and stage.kind in (VoxelGrid, SignedDistanceGrid)
    return len(stage.kinds) > 1 or several or stage.kind in MIXED_ONLY


def _refuse(stage: Stage, **given: tuple[bool, Sequence[type]]) -> None:
    """Raise an error for options that are set but have no effect on the shapes; `given`: each option, and its
    classes."""
    for name, (present, having) in given.items():
        if present and not any(kind in having for kind in stage.kinds):
            those = " and ".join(NAMES[one] for one in having)
            held = " and ".join(NAMES[kind] for kind in stage.kinds)
            raise ValueError(f"{name}: only {those} have this option, the scene holds {held}")


def _previous_clip(previous: Any, meshes: Sequence[Mesh], cameras: Sequence[Camera]) -> list[list[Tensor]]:
    """The previous clip-space positions of every mesh, for each image."""
    try:
        scene, camera = previous
    except (TypeError, ValueError):
        raise TypeError("previous: expected (scene, camera)") from None
    then = stage_of(scene, camera, cameras[0].size, "previous", (Mesh,))
    then_meshes, then_cameras = then.scene.meshes, then.cameras
    counts, before = ([len(mesh.positions) for mesh in some] for some in (meshes, then_meshes))
    if counts != before or len(then_cameras) not in (1, len(cameras)):
        raise ValueError(f"previous: expected meshes of {counts} vertices and as many images, got {before}")
    then_cameras = then_cameras * (len(cameras) // len(then_cameras))
    return [[c.project(mesh.positions) for mesh in then_meshes] for c in then_cameras]


# ---- Layers --------------------------------------------------------------------------------------------------------


def _composite(painted: Sequence[Layer], geometry: Geometry, antialias: bool) -> tuple[Tensor, Tensor]:
    """All layers, rearmost first: premultiplied colour [N, H, W, C] and coverage [N, H, W, 1].

    Each layer's silhouettes are blended once everything behind it is in place: past the rim of a glass one sees what
    lies behind it, not the emptiness of its layer. Pixels that a silhouette cuts take what lies behind as it was before
    blending: the front and the back of a closed surface share their rim, which must not be blended twice.
    """
    topology = edge_topology(geometry.tri) if antialias else None
    plain = smooth = torch.cat([painted[-1].color, painted[-1].alpha], -1)
    if antialias:
        smooth = blend_edges(plain, painted[-1].frags, geometry.pos, geometry.tri, topology)
    for layer in reversed(painted[:-1]):
        front, through = torch.cat([layer.color, layer.alpha], -1), 1 - layer.alpha
        plain, smooth = front + through * plain, front + through * smooth
        if antialias:
            smooth = torch.where(cut(layer.frags, geometry, topology), plain, smooth)
            smooth = blend_edges(smooth, layer.frags, geometry.pos, geometry.tri, topology)
    return smooth[..., :-1], smooth[..., -1:]


def _front(painted: Sequence[Layer]) -> dict[str, Tensor]:
    """Buffers of the first surface with an alpha above zero."""
    found = dict(painted[0].found)
    through = (painted[0].alpha <= 0)[..., 0]
    if len(painted) == 1:
        hidden = through & (painted[0].frags.tri >= 0)
        nothing_is = check.values_can_be_checked() and not bool(hidden.any())
        return found if nothing_is else {k: _cleared(k, v, hidden) for k, v in found.items()}
    found = {name: _cleared(name, value, through) for name, value in found.items()}
    for layer in painted[1:]:
        visible = through & (layer.alpha > 0)[..., 0]
        for name, value in layer.found.items():
            mask = visible.reshape(*visible.shape, *[1] * (value.ndim - 3))
            found[name] = torch.where(mask, value, found[name])
        through = through & ~visible
    return found


def _cleared(name: str, value: Tensor, where: Tensor) -> Tensor:
    mask = where.reshape(*where.shape, *[1] * (value.ndim - 3))
    return value.masked_fill(mask, -1 if name.endswith("_ids") else 0)
