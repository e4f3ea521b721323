"""Colours of vertices."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lumigrad.compat.pytorch3d.ops.interp_face_attrs import interpolate_face_attributes
from lumigrad.compat.pytorch3d.ops.subdivide_meshes import refined
from lumigrad.compat.pytorch3d.renderer.mesh._textures_base import TexturesBase, checked_rows


class TexturesVertex(TexturesBase):
    """Features of the vertices, a list of [V_n, C] or [N, V, C].

    Raises:
        ValueError: other shapes.
    """

    _of_verts = ("verts_features",)

    def __init__(self, verts_features: Any) -> None:
        self._start({"verts_features": checked_rows("verts_features", verts_features, "V C")})

    def verts_features_list(self) -> list[Tensor]:
        return self._rows["verts_features"].list()

    def verts_features_packed(self) -> Tensor:
        """[V, C], of all meshes in a row."""
        return self._rows["verts_features"].packed()

    def verts_features_padded(self) -> Tensor:
        """[N, most vertices, C], filled up with 0."""
        return self._rows["verts_features"].padded()

    def sample_textures(self, fragments: Any, faces_packed: Tensor | None = None) -> Tensor:
        """Colours [N, H, W, K, C]; zero where there is no face.

        Args:
            fragments: of the rasterizer.
            faces_packed: the meshes' faces [F, 3].
        """
        corners = self.faces_verts_textures_packed(faces_packed)
        return interpolate_face_attributes(fragments.pix_to_face, fragments.bary_coords, corners)

    def faces_verts_textures_packed(self, faces_packed: Tensor | None = None) -> Tensor:
        if faces_packed is None:
            raise ValueError("faces_packed: expected the meshes' faces, got None")
        return self.verts_features_packed()[faces_packed]

    def join_scene(self) -> TexturesVertex:
        return TexturesVertex([self.verts_features_packed()])

    def submeshes(self, vertex_ids_list: Any, faces_ids_list: Any) -> TexturesVertex:
        features = self.verts_features_list()
        if len(vertex_ids_list) != len(features):
            raise IndexError(f"vertex_ids_list must be of length {len(features)}, got {len(vertex_ids_list)}")
        return TexturesVertex([f[used] for f, parts in zip(features, vertex_ids_list) for used in parts])

    def subdivided(self, meshes: Any) -> TexturesVertex:
        return TexturesVertex(refined(meshes, self.verts_features_packed()))
