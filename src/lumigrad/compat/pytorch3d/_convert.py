"""Meshes of :mod:`lumigrad.scene` as PyTorch3D's."""

from __future__ import annotations

import torch

from lumigrad.compat.pytorch3d.renderer.mesh.textures import TexturesBase, TexturesUV, TexturesVertex
from lumigrad.compat.pytorch3d.structures.meshes import Meshes
from lumigrad.scene.shapes.mesh import Mesh


def meshes_from(mesh: Mesh) -> Meshes:
    """A batch of one mesh of :mod:`lumigrad.scene`, with its texture or its vertex colours. Not in PyTorch3D."""
    textures: TexturesBase | None = None
    if mesh.texture is not None and mesh.uvs is not None and mesh.uv_faces is not None:
        # PyTorch3D's v points up, lumigrad's grows with the row.
        uvs = torch.stack((mesh.uvs[:, 0], 1 - mesh.uvs[:, 1]), 1)
        textures = TexturesUV([mesh.texture[..., :3]], [mesh.uv_faces], [uvs])
    elif mesh.colors is not None:
        textures = TexturesVertex([mesh.colors[:, :3]])
    return Meshes([mesh.positions], [mesh.faces], textures)
