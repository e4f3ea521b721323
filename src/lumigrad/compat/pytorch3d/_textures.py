"""PyTorch3D's textures: colours of vertices, and images on texture coordinates."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lumigrad.compat.pytorch3d._interpolate import interpolate_face_attributes

Batch = Sequence[Tensor] | Tensor


class TexturesBase:
    """Lists of tensors, one of each for every mesh."""

    _fields: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(getattr(self, self._fields[0]))

    @property
    def device(self) -> torch.device:
        return getattr(self, self._fields[0])[0].device

    def _changed(self, change: Callable[[list[Tensor]], list[Tensor]]) -> Any:
        other = copy.copy(self)
        for name in self._fields:
            setattr(other, name, change(getattr(self, name)))
        return other

    def _map(self, function: Callable[[Tensor], Tensor]) -> Any:
        return self._changed(lambda values: [function(value) for value in values])

    def __getitem__(self, index: int | Sequence[int]) -> Any:
        chosen = [index] if isinstance(index, int) else list(index)
        return self._changed(lambda values: [values[n] for n in chosen])

    def extend(self, N: int) -> Any:
        return self[[n for n in range(len(self)) for _ in range(N)]]

    def to(self, device: torch.device | str) -> Any:
        return self._map(lambda value: value.to(device))

    def clone(self) -> Any:
        return self._map(torch.clone)

    def detach(self) -> Any:
        return self._map(torch.detach)

    def join(self, parts: Sequence[Any]) -> Any:
        """One of several of its kind."""
        other = copy.copy(self)
        for name in self._fields:
            setattr(other, name, [value for part in parts for value in getattr(part, name)])
        return other

    def sample_textures(self, fragments: Any, faces_packed: Tensor | None = None) -> Tensor:
        raise NotImplementedError


class TexturesVertex(TexturesBase):
    """Features of the vertices, a list of [V_n, C] or [N, V, C]."""

    _fields = ("_features",)

    def __init__(self, verts_features: Batch) -> None:
        self._features = _listed("verts_features", verts_features, 2)

    def verts_features_list(self) -> list[Tensor]:
        return self._features

    def verts_features_packed(self) -> Tensor:
        """[V, C], of all meshes in a row."""
        return torch.cat(self._features)

    def verts_features_padded(self) -> Tensor:
        """[N, most vertices, C], filled up with 0."""
        return torch.nn.utils.rnn.pad_sequence(self._features, batch_first=True)

    def sample_textures(self, fragments: Any, faces_packed: Tensor | None = None) -> Tensor:
        """Colours [N, H, W, K, C]; zero where there is no face.

        Args:
            fragments: of the rasterizer.
            faces_packed: the meshes' faces [F, 3].
        """
        if faces_packed is None:
            raise ValueError("faces_packed: expected the meshes' faces, got None")
        corners = self.verts_features_packed()[faces_packed]
        return interpolate_face_attributes(fragments.pix_to_face, fragments.bary_coords, corners)


class TexturesUV(TexturesBase):
    """Images on texture coordinates; u points right, v **up**.

    Args:
        maps: [N, H, W, C] with row 0 at the top, or a list of [H, W, C] of any sizes.
        faces_uvs: texture coordinates of each face, a list of [F_n, 3] or [N, F, 3].
        verts_uvs: texture coordinates, a list of [U_n, 2] or [N, U, 2].
        padding_mode: beyond the image: "border", "zeros" or "reflection".
        align_corners: True: (0, 0) is the centre of the lower left texel; False: its outer corner.
        sampling_mode: "bilinear" or "nearest".

    Raises:
        ValueError: shapes, lengths or modes that do not fit.
    """

    _fields = ("_maps", "_faces_uvs", "_verts_uvs")

    def __init__(
        self,
        maps: Batch,
        faces_uvs: Batch,
        verts_uvs: Batch,
        padding_mode: str = "border",
        align_corners: bool = True,
        sampling_mode: str = "bilinear",
    ) -> None:
        self._maps = _listed("maps", maps, 3)
        self._faces_uvs = [faces.long() for faces in _listed("faces_uvs", faces_uvs, 2)]
        self._verts_uvs = _listed("verts_uvs", verts_uvs, 2)
        for name in ("faces_uvs", "verts_uvs"):
            if len(getattr(self, f"_{name}")) != len(self._maps):
                raise ValueError(
                    f"{name}: expected {len(self._maps)} meshes as in maps, got {len(getattr(self, f'_{name}'))}"
                )
        for name, value, known in (
            ("padding_mode", padding_mode, ("border", "zeros", "reflection")),
            ("sampling_mode", sampling_mode, ("bilinear", "nearest")),
        ):
            if value not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
        self.padding_mode, self.align_corners, self.sampling_mode = padding_mode, align_corners, sampling_mode

    def maps_list(self) -> list[Tensor]:
        return self._maps

    def maps_padded(self) -> Tensor:
        """[N, H, W, C]; maps must have one size."""
        return torch.stack(self._maps)

    def faces_uvs_list(self) -> list[Tensor]:
        return self._faces_uvs

    def verts_uvs_list(self) -> list[Tensor]:
        return self._verts_uvs

    def sample_textures(self, fragments: Any, faces_packed: Tensor | None = None) -> Tensor:
        """Colours [N, H, W, K, C]; where there is no face, those at (0, 0)."""
        corners = torch.cat([uvs[faces] for uvs, faces in zip(self._verts_uvs, self._faces_uvs)])
        uv = interpolate_face_attributes(fragments.pix_to_face, fragments.bary_coords, corners)
        # grid_sample's coordinates: -1 to 1, downwards.
        grid = (2 * uv - 1) * uv.new_tensor([1.0, -1.0])
        same = all(m.shape == self._maps[0].shape for m in self._maps)
        batches = [(torch.stack(self._maps), grid)] if same else [(m[None], g[None]) for m, g in zip(self._maps, grid)]
        return torch.cat([self._look_up(maps, where) for maps, where in batches])

    def _look_up(self, maps: Tensor, grid: Tensor) -> Tensor:
        count, height, width, faces, _ = grid.shape
        found = F.grid_sample(
            maps.permute(0, 3, 1, 2),
            grid.reshape(count, height, width * faces, 2),
            mode=self.sampling_mode,
            padding_mode=self.padding_mode,
            align_corners=self.align_corners,
        )
        return found.permute(0, 2, 3, 1).reshape(count, height, width, faces, -1)


def _listed(name: str, value: Batch, ndim: int) -> list[Tensor]:
    """A tensor for each mesh."""
    if isinstance(value, Tensor) and value.ndim != ndim + 1:
        raise ValueError(f"{name}: expected {ndim + 1} dimensions or a list, got shape {tuple(value.shape)}")
    values = list(value)
    for tensor in values:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name}: expected tensors, got {type(tensor).__name__}")
        if tensor.ndim != ndim:
            raise ValueError(f"{name}: expected {ndim} dimensions for each mesh, got shape {tuple(tensor.shape)}")
    return values
