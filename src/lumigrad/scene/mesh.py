"""Triangle meshes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


def _check_indices(faces: Tensor, count: int, name: str) -> None:
    if faces.ndim != 2 or faces.shape[-1] != 3 or faces.is_floating_point():
        raise ValueError(f"{name}: expected integers [F, 3], got {faces.dtype} {list(faces.shape)}")
    if faces.numel() and (int(faces.min()) < 0 or int(faces.max()) >= count):
        raise ValueError(
            f"{name}: expected indices in [0, {count}), got {int(faces.min())} to {int(faces.max())}"
        )


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh; texture coordinates have an index buffer of their own.

    Vertices are counter-clockwise seen from outside. Texture coordinate (0, 0) is the outer corner of texel
    [0, 0] and v grows with the row.

    Attributes:
        positions: [V, 3].
        faces: [F, 3] integers into positions.
        uvs: [U, 2], or None.
        uv_faces: [F, 3] integers into uvs; `faces` when only uvs are given.
        texture: [H, W, C] in [0, 1], row 0 first; display-encoded (sRGB), as image files hold it.
        colors: [V, C] per vertex, multiplied with the texture where there are both.
    """

    positions: Tensor
    faces: Tensor
    uvs: Tensor | None = None
    uv_faces: Tensor | None = None
    texture: Tensor | None = None
    colors: Tensor | None = None

    def __post_init__(self) -> None:
        if self.positions.ndim != 2 or self.positions.shape[-1] != 3:
            raise ValueError(f"positions: expected [V, 3], got {list(self.positions.shape)}")
        _check_indices(self.faces, len(self.positions), "faces")
        if self.uvs is None:
            if self.uv_faces is not None:
                raise ValueError("uvs: expected [U, 2] together with uv_faces, got None")
        else:
            if self.uvs.ndim != 2 or self.uvs.shape[-1] != 2:
                raise ValueError(f"uvs: expected [U, 2], got {list(self.uvs.shape)}")
            if self.uv_faces is None:
                object.__setattr__(self, "uv_faces", self.faces)
            assert self.uv_faces is not None
            _check_indices(self.uv_faces, len(self.uvs), "uv_faces")
            if len(self.uv_faces) != len(self.faces):
                raise ValueError(f"uv_faces: expected {len(self.faces)} rows, got {len(self.uv_faces)}")
        if self.texture is not None and self.texture.ndim != 3:
            raise ValueError(f"texture: expected [H, W, C], got {list(self.texture.shape)}")
        if self.colors is not None and (self.colors.ndim != 2 or len(self.colors) != len(self.positions)):
            raise ValueError(f"colors: expected [{len(self.positions)}, C], got {list(self.colors.shape)}")

    def to(self, *args: object) -> Mesh:
        """Copy with floating tensors passed through `Tensor.to`; index buffers only follow a device."""
        fields: dict[str, Tensor | None] = {}
        for name in ("positions", "uvs", "texture", "colors"):
            value = getattr(self, name)
            fields[name] = None if value is None else value.to(*args)
        for name in ("faces", "uv_faces"):
            value = getattr(self, name)
            fields[name] = None if value is None else value.to(fields["positions"].device)  # type: ignore[union-attr]
        return replace(self, **fields)  # type: ignore[arg-type]

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Smallest and largest corner [3] of the box around the vertices that faces use."""
        if not len(self.faces):
            raise ValueError("faces: an empty mesh has no bounds")
        used = self.positions[self.faces.reshape(-1).long()]
        return used.amin(0), used.amax(0)

    def face_normals(self) -> Tensor:
        """Normals [F, 3] whose length is twice the face's area."""
        corners = self.positions[self.faces.long()]
        return torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])

    def vertex_normals(self) -> Tensor:
        """Unit normals [V, 3], area weighted over the faces around each vertex; zero where there are none."""
        return vertex_normals(self.positions, self.faces)


def vertex_normals(positions: Tensor, faces: Tensor) -> Tensor:
    """Unit normals [V, 3], area weighted over the faces around each vertex; zero where there are none."""
    index = faces.long()
    corners = positions[index]
    face = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = torch.zeros_like(positions).index_add(0, index.reshape(-1), face.repeat_interleave(3, dim=0))
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-20)
