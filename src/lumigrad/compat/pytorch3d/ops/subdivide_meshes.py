"""Finer meshes: every face becomes four."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class SubdivideMeshes(nn.Module):
    """Splits every face into four at the middles of its edges. The surface stays what it is.

    Args:
        meshes: where it is given, its faces are split once, for calls with meshes of the same faces.
    """

    def __init__(self, meshes: Any = None) -> None:
        super().__init__()
        self._subdivided_faces = None if meshes is None else [_split(*parts) for parts in _parts(meshes)]

    def forward(self, meshes: Any, feats: Tensor | None = None) -> Any:
        """Finer meshes; with features of vertices, those of the finer ones too.

        Args:
            meshes: `Meshes`. Colours of vertices and texture coordinates are split too.
            feats: [V, D], packed.

        Returns:
            Meshes, or meshes and features [V + E, D].

        Raises:
            ValueError: textures that cannot be split.
        """
        faces = self._subdivided_faces or [_split(*parts) for parts in _parts(meshes)]
        verts = refined(meshes, meshes.verts_packed())
        textures = None if meshes.textures is None else meshes.textures.subdivided(meshes)
        finer = type(meshes)(verts, faces, textures)
        return finer if feats is None else (finer, torch.cat(refined(meshes, feats)))


def refined(meshes: Any, values: Tensor) -> list[Tensor]:
    """For each mesh the values [V_n + E_n, D] of its vertices and of the middles of its edges."""
    middles = values[meshes.edges_packed()].mean(1)
    edges = middles.split(meshes.num_edges_per_mesh().tolist())
    return [torch.cat(pair) for pair in zip(values.split([len(v) for v in meshes.verts_list()]), edges)]


def _parts(meshes: Any) -> list[tuple[Tensor, Tensor, int]]:
    """Faces, the edges across their corners and the number of vertices, of each mesh."""
    counts = [len(f) for f in meshes.faces_list()]
    across = meshes.faces_packed_to_edges_packed().split(counts)
    first = meshes.mesh_to_edges_packed_first_idx().tolist()
    vertices = [len(v) for v in meshes.verts_list()]
    return [(f, e - start, n) for f, e, start, n in zip(meshes.faces_list(), across, first, vertices)]


def _split(faces: Tensor, across: Tensor, vertices: int) -> Tensor:
    """Four faces of each: those at its three corners, one after the other for all faces, then the middle ones."""
    a, b, c = faces.unbind(1)
    at_a, at_b, at_c = (across + vertices).unbind(1)  # the middle across the corner
    corners = ((a, at_c, at_b), (b, at_a, at_c), (c, at_b, at_a), (at_a, at_b, at_c))
    return torch.cat([torch.stack(corner, 1) for corner in corners])
