"""Meshes to begin with, and OBJ files, on :mod:`lumigrad.io`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d._meshes import Meshes, join_meshes_as_batch
from lumigrad.compat.pytorch3d._textures import TexturesBase, TexturesUV, TexturesVertex
from lumigrad.io.mesh import load_mesh
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.procedural import icosphere


class Faces(NamedTuple):
    """Index buffers [F, 3]; -1 where a mesh has no such things."""

    verts_idx: Tensor
    normals_idx: Tensor
    textures_idx: Tensor


class Properties(NamedTuple):
    """What an OBJ file has beside vertices and faces; None where it has not.

    `verts_uvs` [U, 2] has v upwards. `texture_images` has one image, [H, W, 3], which covers all materials.
    """

    normals: Tensor | None
    verts_uvs: Tensor | None
    verts_colors: Tensor | None
    texture_images: dict[str, Tensor]


def ico_sphere(level: int = 0, device: Any = "cpu") -> Meshes:
    """A unit sphere of 20 * 4**level faces."""
    mesh = icosphere(level)
    return Meshes([mesh.positions.float()], [mesh.faces]).to(device)


def load_obj(path: str | Path, load_textures: bool = True, device: Any = "cpu") -> tuple[Tensor, Faces, Properties]:
    """Vertices [V, 3], faces and the rest of a file, as :func:`lumigrad.io.load_mesh` reads it.

    Vertices in one place are one vertex and vertices without faces are dropped, so that their numbers may differ from
    those in the file; faces keep their order.

    Raises:
        FileNotFoundError, ValueError: a file that is not there or not a mesh.
    """
    mesh = load_mesh(path, materials=False).to(device)
    missing = torch.full_like(mesh.faces, -1)
    indices = [missing if index is None else index for index in (mesh.normal_faces, mesh.uv_faces)]
    uvs = None if mesh.uvs is None else _upwards(mesh.uvs)
    images = {"texture": mesh.texture[..., :3]} if load_textures and mesh.texture is not None else {}
    return mesh.positions, Faces(mesh.faces, *indices), Properties(mesh.normals, uvs, mesh.colors, images)


def load_objs_as_meshes(files: Sequence[str | Path], device: Any = "cpu", load_textures: bool = True) -> Meshes:
    """A batch of files, one mesh each, with textures where all files have the same kind."""
    parts = [meshes_from(load_mesh(path, materials=False)).to(device) for path in files]
    return join_meshes_as_batch(parts, load_textures and len({type(part.textures) for part in parts}) == 1)


def meshes_from(mesh: Mesh) -> Meshes:
    """A batch of one mesh of :mod:`lumigrad.scene`, with its texture or its vertex colours. Not in PyTorch3D."""
    textures: TexturesBase | None = None
    if mesh.texture is not None and mesh.uvs is not None and mesh.uv_faces is not None:
        textures = TexturesUV([mesh.texture[..., :3]], [mesh.uv_faces], [_upwards(mesh.uvs)])
    elif mesh.colors is not None:
        textures = TexturesVertex([mesh.colors[:, :3]])
    return Meshes([mesh.positions], [mesh.faces], textures)


def _upwards(uvs: Tensor) -> Tensor:
    """Texture coordinates with v upwards from those of :mod:`lumigrad.scene`, where it grows with the row."""
    return torch.stack((uvs[:, 0], 1 - uvs[:, 1]), 1)
