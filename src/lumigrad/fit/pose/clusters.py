"""Meshes with fewer faces, for small images."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.scene.shapes.mesh import Mesh


def clustered(mesh: Mesh, cell: float) -> Mesh:
    """The mesh with the vertices in each cube of a grid drawn together to their mean; faces that vanish are dropped.

    Colours are those of vertices: what the mesh has, or its texture where its corners are. Normals of a file are left
    out.

    Source: Rossignac and Borrel 1993, "Multi-resolution 3D approximations for rendering complex scenes".
    """
    places = (mesh.positions / cell).floor().long()
    _, member, count = places.unique(dim=0, return_inverse=True, return_counts=True)

    def mean(values: Tensor) -> Tensor:
        total = values.new_zeros(len(count), values.shape[-1]).index_add(0, member, values)
        return total / count[:, None]

    faces = member[mesh.faces.long()]
    a, b, c = faces.unbind(-1)
    faces = faces[(a != b) & (b != c) & (c != a)]
    # The smallest vertex first, so that faces that have become equal are found.
    first = faces.argmin(1, keepdim=True)
    faces = faces.gather(1, (first + torch.arange(3, device=faces.device)) % 3).unique(dim=0)
    colors = _vertex_colors(mesh)
    return Mesh(mean(mesh.positions), faces, colors=None if colors is None else mean(colors))


def _vertex_colors(mesh: Mesh) -> Tensor | None:
    """[V, C]; None where the mesh has none."""
    if mesh.texture is None or mesh.uvs is None:
        return mesh.colors
    uv_faces = mesh.faces if mesh.uv_faces is None else mesh.uv_faces
    uvs = mesh.uvs.new_zeros(len(mesh.positions), 2)
    uvs[mesh.faces.long().reshape(-1)] = mesh.uvs[uv_faces.long().reshape(-1)]
    height, width = mesh.texture.shape[:2]
    texels = ((uvs % 1) * uvs.new_tensor([width, height])).long()
    colors = mesh.texture[texels[:, 1].clamp(max=height - 1), texels[:, 0].clamp(max=width - 1)]
    return colors if mesh.colors is None else colors * mesh.colors[..., : colors.shape[-1]]
