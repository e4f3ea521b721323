"""Softly rasterized meshes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.ops.soft import blending, soft_colors, soft_silhouette
from lumigrad.ops.surface import rasterize
from lumigrad.render.background import choose_background
from lumigrad.render.color import ToneMapping, resolve_tone_mapping
from lumigrad.render.geometry import Geometry, assemble
from lumigrad.render.painting import Painter
from lumigrad.render.rendering import Rendering, finished
from lumigrad.render.shading import LINEAR, Shader, resolve_shader
from lumigrad.render.stage import lights_of, stage_of
from lumigrad.render.surface import MeshShape, Surface, TextureStore
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.lights import Light, Lighting
from lumigrad.scene.scene import Scene
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.meshes import Meshes
from lumigrad.types.fragments import Fragments

MODES = ("silhouette", *blending.MODES)


def render_soft(
    scene: Scene | Mesh | Meshes | Sequence[Mesh],
    camera: Camera,
    background: Any = None,
    *,
    sigma: float = 1e-4,
    gamma: float = 1e-4,
    mode: str = "softras",
    blur_radius: float | None = None,
    depth_range: tuple[float, float] | None = None,
    shading: str | Shader = "phong",
    lights: Sequence[Light] | Lighting | None = None,
    tone_mapping: ToneMapping = "auto",
    buffers: bool = True,
) -> Rendering:
    """Render meshes softly: every face is blurred, and all are mixed by distance and depth.

    Colours are those of the shader at the corners of the triangles, textures included, and linear in between; what a
    texture shows within a triangle is not seen. The alpha of materials is not looked at.

    Args:
        scene: a `Scene` or a `Mesh`, seen from every camera; or `Meshes`, or a sequence of meshes: a batch, of which
            image n shows mesh n.
        camera: batch shape [N] or []; one camera serves a whole batch of meshes.
        background: None for the scene's, which is black by default; a display-encoded number, colour ([C], [N, C]) or
            image ([H, W, C], [N, H, W, C]), an `EnvironmentLight`, or "environment" for the one that lights the scene.
        sigma: width of the blur, a squared distance in units of half the image's shorter side: an edge is blurred over
            a few times sqrt(sigma) * min(H, W) / 2 pixels.
        gamma: softness of the order in depth.
        mode: how colours are mixed: "softras" or "pytorch3d", see `lumigrad.soft_colors`; "silhouette" for white
            shapes, which are faster, by `lumigrad.soft_silhouette`.
        blur_radius: the squared distance from which on faces are left out; by default where they have faded.
        depth_range: (near, far) of the faces' nearness, for `mode` other than "silhouette"; None to take depth as clip
            space has it. See `lumigrad.blending.nearness`.
        shading: "phong", "pbr", "flat", "unlit", "normals", "depth" or a function, as for `render`.
        lights: the lights, in place of all that the scene has. Where there are none at all, `pbr` gets the built-in
            studio environment, the others `Lighting()`.
        tone_mapping: as for `render`.
        buffers: whether to return depth, normals, uv and ids.

    Returns:
        Rendering of N images. The mask is the soft silhouette; colours are mixed with the background by a rule of their
        own, which `transmittance` tells (but for "silhouette"). The buffers are not blurred: they tell of the surface
        at the pixel's centre, as those of `render`. Gradients reach positions, colours, textures, materials, lights,
        the camera and the background.

    Raises:
        TypeError, ValueError: for arguments that are none of the above, or do not fit each other.

    Source: Liu et al. 2019, "Soft Rasterizer"; Ravi et al. 2020, "Accelerating 3D Deep Learning with PyTorch3D".

    >>> from lumigrad.render import render_soft
    >>> from lumigrad.scene import PerspectiveCamera
    >>> from lumigrad.scene.shapes.procedural import icosphere
    >>> camera = PerspectiveCamera.orbit(azimuth=30.0, elevation=20.0, distance=3.0, fov_y=45.0, size=(32, 32))
    >>> shot = render_soft(icosphere(2), camera, background=(1.0, 1.0, 1.0))
    >>> shot.image.shape, round(shot.mask[0, 16, 16, 0].item(), 1), round(shot.depth[0, 16, 16, 0].item(), 1)
    (torch.Size([1, 32, 32, 3]), 1.0, 2.0)
    """
    if mode not in MODES:
        raise ValueError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
    shader = resolve_shader(shading)
    tone = resolve_tone_mapping(tone_mapping, shader in LINEAR)
    stage = stage_of(scene, camera, kinds=(Mesh,))
    given = lights_of(stage.scene, lights, shader, camera)
    lit = [tuple(light.at(n) for light in given) for n in range(len(stage.cameras))]
    geometry = _opaque(assemble(stage.scene.meshes, stage.cameras, stage.together))
    shapes = [MeshShape(mesh) for mesh in stage.scene.meshes]
    painter = Painter(
        geometry, shapes, shader, stage.cameras, lit, TextureStore(mips=False), None, stage.together, False
    )
    pos, tri, ranges = geometry.pos, geometry.tri, geometry.ranges
    transmittance = None
    if mode == "silhouette":
        mask = soft_silhouette(pos, tri, camera.size, sigma, blur_radius, ranges=ranges)
        color = mask.expand(*mask.shape[:-1], 3)
    else:
        frags, index = _corners(geometry, len(stage.cameras))
        colors = painter.paint(frags).color.flatten(1, 2)
        # One more channel, of ones, gives the part of a pixel that is not background.
        colors = torch.cat((colors, torch.ones_like(colors[..., :1])), -1)
        mixed = soft_colors(
            pos, tri, colors, camera.size, sigma, gamma, mode=mode, blur_radius=blur_radius, depth_range=depth_range,
            attr_tri=index, ranges=ranges,
        )  # fmt: skip
        color, mask, transmittance = mixed[..., :-2], mixed[..., -1:], 1 - mixed[..., -2:-1]
    found = {}
    if buffers:
        seen = rasterize(pos, tri, camera.size, ranges)
        found = replace(painter, shader=_nothing, buffers=True).paint(seen).found
    behind = choose_background(background, stage.scene, lit[0])
    return finished(color, mask, behind, stage.cameras, tone, found, transmittance)


def _opaque(geometry: Geometry) -> Geometry:
    """The geometry, with opaque materials."""
    groups = [group._replace(material=replace(group.material, alpha_mode="opaque")) for group in geometry.groups]
    return replace(geometry, groups=groups)


def _corners(geometry: Geometry, images: int) -> tuple[Fragments, Tensor]:
    """The corners of all triangles, as fragments of images with a row for each triangle and three columns.

    Returns:
        Fragments [N, most triangles of an image, 3], and for each of all triangles the numbers of its corners [T, 3]
        among those of its image.
    """
    tri, device = geometry.tri, geometry.pos.device
    ranges = torch.tensor([[0, len(tri)]] * images) if geometry.ranges is None else geometry.ranges
    first, count = ranges[:, :1], ranges[:, 1:]
    row = torch.arange(int(count.max()))
    number = torch.where(row < count, first + row, -1).to(device=device, dtype=torch.int32)
    shape = (*number.shape, 3)
    weights = torch.eye(3, dtype=geometry.pos.dtype, device=device)[:, :2]
    frags = Fragments(
        number[..., None].expand(shape),
        weights.expand(*shape, 2),
        geometry.pos.new_zeros(shape),
        geometry.pos.new_zeros(*shape, 2, 2),
    )
    own = row if geometry.ranges is None else row.expand(len(count), -1)[row < count]
    return frags, (3 * own[:, None] + torch.arange(3)).to(device=device, dtype=torch.int32)


def _nothing(surface: Surface, lights: Sequence[Light], camera: Camera) -> Tensor:
    """A shader for renderings of which only the buffers are wanted."""
    return surface.position.new_zeros(len(surface.position), 1)
