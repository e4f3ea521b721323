"""A small square image for every face."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.ops.interp_face_attrs import present_faces, spread
from lumigrad.compat.pytorch3d.renderer.mesh._textures_base import TexturesBase, checked_rows


class TexturesAtlas(TexturesBase):
    """Images of faces, a list of [F_n, R, R, C] or [N, F, R, R, C].

    Corner 0 of a face has texel [0, R - 1], corner 1 [R - 1, 0], corner 2 [0, 0]; texels beyond the diagonal lie
    between them. Texels are looked up, not interpolated.

    Raises:
        ValueError: other shapes.
    """

    _of_faces = ("atlas",)

    def __init__(self, atlas: Any) -> None:
        rows = checked_rows("atlas", atlas, "F R R C")
        sizes = {tuple(a.shape[1:3]) for a in rows.listed} if rows.listed is not None else {rows.sample().shape[2:4]}
        if len(sizes) > 1 or any(height != width for height, width in sizes):
            raise ValueError(f"Expected atlas to have squares of one size, (F, R, R, C); got {sorted(sizes)}")
        self._start({"atlas": rows})

    def atlas_list(self) -> list[Tensor]:
        return self._rows["atlas"].list()

    def atlas_packed(self) -> Tensor:
        """[F, R, R, C], of all meshes in a row."""
        return self._rows["atlas"].packed()

    def atlas_padded(self) -> Tensor:
        """[N, most faces, R, R, C], filled up with 0."""
        return self._rows["atlas"].padded()

    def sample_textures(self, fragments: Any, faces_packed: Tensor | None = None) -> Tensor:
        """Texels [N, H, W, K, C]; zero where there is no face. Gradients reach the atlas, not the fragments."""
        atlas = self.atlas_packed()
        size = atlas.shape[1]
        present, faces = present_faces(fragments.pix_to_face)
        place = fragments.bary_coords.reshape(-1, 3).index_select(0, present)[:, :2] * size
        cell = place.long().clamp(0, size - 1)
        beyond = (place.sum(1) - cell.sum(1) > 1)[:, None]
        x, y = torch.where(beyond, size - 1 - cell, cell).unbind(1)
        return spread(atlas[faces, y, x], present, fragments.pix_to_face)

    def faces_verts_textures_packed(self, faces_packed: Tensor | None = None) -> Tensor:
        atlas = self.atlas_packed()
        return torch.stack((atlas[:, 0, -1], atlas[:, -1, 0], atlas[:, 0, 0]), 1)

    def join_scene(self) -> TexturesAtlas:
        return TexturesAtlas([self.atlas_packed()])

    def submeshes(self, vertex_ids_list: Any, faces_ids_list: Any) -> TexturesAtlas:
        atlas = self.atlas_list()
        if len(faces_ids_list) != len(atlas):
            raise IndexError(f"faces_ids_list must be of length {len(atlas)}, got {len(faces_ids_list)}")
        return TexturesAtlas([a[part] for a, parts in zip(atlas, faces_ids_list) for part in parts])
