"""Images on texture coordinates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lumigrad.compat.pytorch3d.ops.interp_face_attrs import interpolate_face_attributes
from lumigrad.compat.pytorch3d.renderer.mesh._textures_base import TexturesBase, checked_rows
from lumigrad.compat.pytorch3d.renderer.mesh.utils import PackedRectangle, Rectangle, pack_unique_rectangles
from lumigrad.compat.pytorch3d.structures._edges import unique_edges

_PADDING = ("border", "zeros", "reflection")
_SAMPLING = ("bilinear", "nearest")


class TexturesUV(TexturesBase):
    """Images on texture coordinates; u points right, v **up**.

    Args:
        maps: [N, H, W, C] with row 0 at the top, or a list of [H, W, C] of any sizes. With `maps_ids`, M of them for
            each mesh: [N, M, H, W, C] or a list of [M, H, W, C].
        faces_uvs: texture coordinates of each face, a list of [F_n, 3] or [N, F, 3].
        verts_uvs: texture coordinates, a list of [U_n, 2] or [N, U, 2].
        maps_ids: which image each face has, a list of [F_n] or [N, F].
        padding_mode: beyond the image: "border", "zeros" or "reflection".
        align_corners: True: (0, 0) is the centre of the lower left texel; False: its outer corner.
        sampling_mode: "bilinear" or "nearest".

    Raises:
        ValueError: shapes, lengths, devices or modes that do not fit.
    """

    _of_faces = ("faces_uvs",)

    def __init__(
        self,
        maps: Any,
        faces_uvs: Any,
        verts_uvs: Any,
        *,
        maps_ids: Any = None,
        padding_mode: str = "border",
        align_corners: bool = True,
        sampling_mode: str = "bilinear",
    ) -> None:
        rows = {
            "faces_uvs": checked_rows("faces_uvs", faces_uvs, "F 3").map(Tensor.long),
            "verts_uvs": checked_rows("verts_uvs", verts_uvs, "V 2"),
        }
        if maps_ids is not None:
            rows["maps_ids"] = checked_rows("maps_ids", maps_ids, "F").map(Tensor.long)
        for name, known, value in (
            ("padding_mode", _PADDING, padding_mode),
            ("sampling_mode", _SAMPLING, sampling_mode),
        ):
            if value not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
        self.padding_mode, self.align_corners, self.sampling_mode = padding_mode, align_corners, sampling_mode
        self._start(rows)
        self._maps_list, self._maps_padded = self._checked_maps(maps)
        self._check_batch()

    def _checked_maps(self, maps: Any) -> tuple[list[Tensor] | None, Tensor | None]:
        shape = "(H, W, C)" if self.maps_ids_padded() is None else "(M, H, W, C)"
        ndim = shape.count(",") + 1
        if isinstance(maps, Tensor):
            if maps.ndim != ndim + 1 or len(maps) != self._N:
                raise ValueError(f"Expected maps to be of shape ({self._N}, {shape[1:]}; got {tuple(maps.shape)}")
            return None, maps
        if not isinstance(maps, (list, tuple)):
            raise ValueError(f"Expected maps to be a tensor or list of tensors, got {type(maps).__name__}")
        if len(maps) != self._N:
            raise ValueError(f"Expected one texture map per mesh in the batch: maps: {self._N}, got {len(maps)}")
        if any(m.ndim != ndim or m.shape[-1] != maps[0].shape[-1] for m in maps):
            got = [tuple(m.shape) for m in maps]
            raise ValueError(f"Expected maps of shape {shape} with as many channels; got {got}")
        return list(maps), None

    def _check_batch(self) -> None:
        for name, rows in self._rows.items():
            if len(rows) != self._N:
                raise ValueError(f"{name}: expected {self._N} meshes as in faces_uvs, got {len(rows)}")
            if rows.sample().device != self.device:
                raise ValueError(f"{name}: expected the same device as faces_uvs, got {rows.sample().device}")
        if self._N and self._any_map().device != self.device:
            raise ValueError(f"maps must be on the same device as verts/faces uvs, got {self._any_map().device}")
        ids = self._rows.get("maps_ids")
        if ids is not None and ids.counts != self._rows["faces_uvs"].counts:
            raise ValueError("maps_ids and faces_uvs must have the same number of faces per mesh")

    def _any_map(self) -> Tensor:
        return self._maps_padded if self._maps_padded is not None else (self._maps_list or [torch.zeros(0, 0, 3)])[0]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "_num_faces_per_mesh" and "maps_ids" in self._rows:
            self._rows["maps_ids"].recount(list(value))

    # ---- Views of the data

    def maps_list(self) -> list[Tensor]:
        if self._maps_list is None:
            assert self._maps_padded is not None
            return list(self._maps_padded.unbind(0))
        return self._maps_list

    def maps_padded(self) -> Tensor:
        """[N, H, W, C] (or [N, M, H, W, C]), smaller maps scaled to the largest size."""
        if self._maps_padded is None:
            maps = self.maps_list()
            if not maps:
                return torch.zeros(0, 0, 0, 3, device=self.device)
            height, width = (max(m.shape[k] for m in maps) for k in (-3, -2))
            count = max(m.shape[0] for m in maps) if maps[0].ndim == 4 else 0
            scaled = [self._scaled(m, (height, width)) for m in maps]
            if count:
                scaled = [F.pad(m, (0, 0, 0, 0, 0, 0, 0, count - len(m))) for m in scaled]
            self._maps_padded = torch.stack(scaled)
        return self._maps_padded

    def _scaled(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        if tuple(image.shape[-3:-1]) == size:
            return image
        batch = image if image.ndim == 4 else image[None]
        scaled = F.interpolate(batch.permute(0, 3, 1, 2), size, mode="bilinear", align_corners=self.align_corners)
        return scaled.permute(0, 2, 3, 1).reshape(*image.shape[:-3], *size, image.shape[-1])

    def faces_uvs_list(self) -> list[Tensor]:
        return self._rows["faces_uvs"].list()

    def faces_uvs_padded(self) -> Tensor:
        return self._rows["faces_uvs"].padded()

    def verts_uvs_list(self) -> list[Tensor]:
        return self._rows["verts_uvs"].list()

    def verts_uvs_padded(self) -> Tensor:
        return self._rows["verts_uvs"].padded()

    def maps_ids_list(self) -> list[Tensor] | None:
        return self._rows["maps_ids"].list() if "maps_ids" in self._rows else None

    def maps_ids_padded(self) -> Tensor | None:
        return self._rows["maps_ids"].padded() if "maps_ids" in self._rows else None

    # ---- Other batches

    def _map(self, function: Callable[[Tensor], Tensor]) -> Any:
        other = super()._map(function)
        other._maps_list = None if self._maps_list is None else [function(m) for m in self._maps_list]
        other._maps_padded = None if self._maps_padded is None else function(self._maps_padded)
        return other

    def _select(self, numbers: Sequence[int]) -> Any:
        other = super()._select(numbers)
        if self._maps_list is None and self._maps_padded is not None:
            other._maps_padded = self._maps_padded[torch.as_tensor(numbers, dtype=torch.int64, device=self.device)]
        else:
            other._maps_list, other._maps_padded = [self.maps_list()[n] for n in numbers], None
            if not numbers:
                other._maps_padded = self.maps_padded()[:0]
        return other

    def join_batch(self, textures: Sequence[Any]) -> Any:
        parts = [self, *textures]
        for name in ("padding_mode", "align_corners", "sampling_mode"):
            if any(getattr(part, name, None) != getattr(self, name) for part in parts):
                raise ValueError(f"All textures must have the same {name}.")
        if any(part.maps_ids_padded() is not None for part in parts):
            raise NotImplementedError("join_batch does not support TexturesUV with multiple maps")
        other = super().join_batch(textures)
        other._maps_list, other._maps_padded = [m for part in parts for m in part.maps_list()], None
        return other

    def _like(self, maps: Any, faces_uvs: Any, verts_uvs: Any, maps_ids: Any = None) -> TexturesUV:
        return TexturesUV(
            maps, faces_uvs, verts_uvs, maps_ids=maps_ids, padding_mode=self.padding_mode,
            align_corners=self.align_corners, sampling_mode=self.sampling_mode,
        )  # fmt: skip

    def submeshes(self, vertex_ids_list: Any, faces_ids_list: Any) -> TexturesUV:
        if len(faces_ids_list) != self._N:
            raise IndexError(f"faces_ids_list must be of length {self._N}, got {len(faces_ids_list)}")
        picked = [(n, part) for n, parts in enumerate(faces_ids_list) for part in parts]
        pairs = [torch.unique(self.faces_uvs_list()[n][part], return_inverse=True) for n, part in picked]
        ids = self.maps_ids_list()
        return self._like(
            [self.maps_list()[n] for n, _ in picked],
            [faces for _, faces in pairs],
            [self.verts_uvs_list()[n][used] for (n, _), (used, _) in zip(picked, pairs)],
            None if ids is None else [ids[n][part] for n, part in picked],
        )

    def subdivided(self, meshes: Any) -> TexturesUV:
        faces, uvs = [], []
        for f, uv in zip(self.faces_uvs_list(), self.verts_uvs_list()):
            edges, across = unique_edges(f, len(uv))
            a, b, c = f.unbind(1)
            at_a, at_b, at_c = (across + len(uv)).unbind(1)
            corners = ((a, at_c, at_b), (b, at_a, at_c), (c, at_b, at_a), (at_a, at_b, at_c))
            faces.append(torch.cat([torch.stack(corner, 1) for corner in corners]))
            uvs.append(torch.cat((uv, uv[edges].mean(1))))
        ids = self.maps_ids_list()
        return self._like(self.maps_list(), faces, uvs, None if ids is None else [i.repeat(4) for i in ids])

    # ---- Looking up

    def _corners(self) -> list[Tensor]:
        """Texture coordinates of the corners of faces [F_n, 3, 2]."""
        return [uvs[faces] for uvs, faces in zip(self.verts_uvs_list(), self.faces_uvs_list())]

    def sample_textures(self, fragments: Any, faces_packed: Tensor | None = None) -> Tensor:
        """Colours [N, H, W, K, C]; where there is no face, those at (0, 0)."""
        corners = self._corners()
        packed = torch.cat(corners) if corners else torch.zeros(0, 3, 2)
        uv = interpolate_face_attributes(fragments.pix_to_face, fragments.bary_coords, packed)
        if self.maps_ids_padded() is not None:
            faces = fragments.pix_to_face.clamp(min=0)
            return self._by_map(uv, self._rows["maps_ids"].packed()[faces])
        maps = self.maps_list()
        if self._maps_list is None or all(m.shape == maps[0].shape for m in maps):
            return self._look_up(self.maps_padded(), uv)
        return torch.cat([self._look_up(m[None], where[None]) for m, where in zip(maps, uv)])

    def _look_up(self, maps: Tensor, uv: Tensor) -> Tensor:
        """Colours [N, ..., C] of images [N, H, W, C] at [N, ..., 2]."""
        # grid_sample's coordinates: -1 to 1, downwards.
        grid = (2 * uv - 1) * uv.new_tensor([1.0, -1.0])
        found = F.grid_sample(
            maps.permute(0, 3, 1, 2),
            grid.reshape(len(maps), uv.shape[1] if uv.ndim > 2 else 1, -1, 2),
            mode=self.sampling_mode,
            padding_mode=self.padding_mode,
            align_corners=self.align_corners,
        )
        return found.permute(0, 2, 3, 1).reshape(*uv.shape[:-1], maps.shape[-1])

    def _by_map(self, uv: Tensor, ids: Tensor) -> Tensor:
        """Colours [N, ..., C] at [N, ..., 2], of the images with numbers [N, ...]."""
        images = []
        for maps, where, which in zip(self.maps_list(), uv, ids):
            out = maps.new_zeros((which.numel(), maps.shape[-1]))
            for m, image in enumerate(maps):
                these = (which.reshape(-1) == m).nonzero()[:, 0]
                found = self._look_up(image[None], where.reshape(-1, 2)[these][None])[0]
                out = out.index_copy(0, these, found)
            images.append(out.reshape(*which.shape, -1))
        return torch.stack(images)

    def faces_verts_textures_packed(self, faces_packed: Tensor | None = None) -> Tensor:
        if not self._N:
            return torch.zeros(0, 3, self._any_map().shape[-1], device=self.device)
        ids = self.maps_ids_list()
        parts = []
        for n, (uv, maps) in enumerate(zip(self._corners(), self.maps_list())):
            if ids is None:
                parts.append(self._look_up(maps[None], uv[None])[0])
            else:
                parts.append(self[n]._by_map(uv[None], ids[n][None, :, None].expand(1, -1, 3))[0])
        return torch.cat(parts)

    # ---- One image of all

    def join_scene(self) -> TexturesUV:
        """One texture whose image holds all; equal image objects of a list are there once.

        Texture coordinates outside of [0, 1] then reach other images.
        """
        if self.maps_ids_padded() is not None:
            raise NotImplementedError("join_scene does not support multiple maps.")
        maps = self.maps_list()
        border = 0 if self.align_corners else 1
        sizes = [Rectangle(m.shape[0] + 2 * border, m.shape[1] + 2 * border, id(m)) for m in maps]
        plan = pack_unique_rectangles(sizes)
        image = maps[0].new_zeros((*plan.total_size, maps[0].shape[-1]))
        uvs = []
        for m, place, uv in zip(maps, plan.locations, self.verts_uvs_list()):
            if place.is_first:
                image = self._placed(image, m, place, border)
            uvs.append(self._moved(uv, m, place, plan.total_size, border))
        starts = self._rows["verts_uvs"].first
        faces = [f + start for f, start in zip(self.faces_uvs_list(), starts)]
        return self._like(image[None], [torch.cat(faces)], [torch.cat(uvs)])

    def _placed(self, image: Tensor, part: Tensor, place: PackedRectangle, border: int) -> Tensor:
        part = part.transpose(0, 1) if place.flipped else part
        if border:
            mode = "constant" if self.padding_mode == "zeros" else "replicate"
            part = F.pad(part.permute(2, 0, 1)[None], (1, 1, 1, 1), mode=mode)[0].permute(1, 2, 0)
        rows = torch.arange(place.x, place.x + part.shape[0], device=image.device)[:, None]
        columns = torch.arange(place.y, place.y + part.shape[1], device=image.device)
        return image.index_put((rows, columns), part)

    def _moved(self, uv: Tensor, part: Tensor, place: PackedRectangle, total: tuple[int, int], border: int) -> Tensor:
        """Texture coordinates in the whole image of those in a part."""
        inner = 1 if self.align_corners else 0  # coordinates count between centres of texels, or between edges
        row, column = (1 - uv[:, 1]) * (part.shape[0] - inner), uv[:, 0] * (part.shape[1] - inner)
        row, column = (column, row) if place.flipped else (row, column)
        row, column = row + place.x + border, column + place.y + border
        return torch.stack((column / (total[1] - inner), 1 - row / (total[0] - inner)), 1)

    def centers_for_image(self, index: int) -> Tensor:
        """Places (column, row) [U, 2] in one mesh's image of its texture coordinates, counted in texels.

        Raises:
            ValueError: several images for the mesh.
        """
        if self.maps_ids_padded() is not None:
            raise NotImplementedError("This function does not support multiple maps.")
        height, width = self.maps_list()[index].shape[:2]
        uv = self.verts_uvs_list()[index]
        place = torch.stack((uv[:, 0], 1 - uv[:, 1]), 1)
        size = uv.new_tensor([width, height])
        return place * (size - 1) if self.align_corners else place * size - 0.5
