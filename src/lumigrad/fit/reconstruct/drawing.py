"""Drawing meshes in their own colours, as photographs show them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.ops.surface import antialias, edge_topology, interpolate, rasterize
from lumigrad.ops.texture import build_mips, texture
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types.fragments import Fragments

# Lookups along the longer axis of a pixel's footprint: surfaces at grazing angles must not be blurred.
_ANISOTROPY = 8


class Drawn(NamedTuple):
    """Colours over black [N, H, W, 3], coverage [N, H, W, 1], and the fragments that they were made from."""

    color: Tensor
    mask: Tensor
    frags: Fragments


def draw(mesh: Mesh, camera: PerspectiveCamera, topology: Tensor, exact: bool = False) -> Drawn:
    """Render a mesh in the colours of its texture or vertices, without light.

    Args:
        mesh: with a texture of three channels, or colours of vertices.
        camera: [N].
        topology: `edge_topology(mesh.faces)`.
        exact: average over whole pixels where outlines cut them (see `lumigrad.antialias`), which takes longer.
    """
    clip = camera.project(mesh.positions)
    textured = mesh.texture is not None
    frags = rasterize(clip, mesh.faces, camera.size, derivatives=textured)
    mips = build_mips(mesh.texture[None]) if mesh.texture is not None else None

    def shade(seen: Fragments) -> Tensor:
        inside = (seen.tri >= 0)[..., None].to(mesh.positions)
        if mips is None:
            assert mesh.colors is not None
            color = interpolate(mesh.colors, seen, mesh.faces)
        else:
            assert mesh.texture is not None and mesh.uvs is not None and mesh.uv_faces is not None  # noqa: PT018
            uv, uv_d = interpolate(mesh.uvs, seen, mesh.uv_faces, derivatives=True)
            color = texture(mesh.texture[None], uv, uv_d, mips=mips, wrap="clamp", anisotropy=_ANISOTROPY)
        return torch.cat([color * inside, inside], dim=-1)

    method = "exact" if exact else "fast"
    blended = antialias(shade(frags), frags, clip, mesh.faces, topology, method, shade if exact else None)
    return Drawn(blended[..., :3], blended[..., 3:], frags)


class Drawer:
    """Draws one mesh from one camera after another, without autograd, over a colour [3] or black."""

    def __init__(self, mesh: Mesh, background: Tensor | None = None) -> None:
        self.mesh, self.topology, self.background = mesh, edge_topology(mesh.faces), background

    @torch.no_grad()
    def __call__(self, camera: PerspectiveCamera) -> Drawn:
        shot = draw(self.mesh, camera, self.topology, exact=True)
        if self.background is None:
            return shot
        return shot._replace(color=shot.color + (1 - shot.mask) * self.background)
