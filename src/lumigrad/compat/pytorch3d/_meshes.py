"""Batches of meshes under PyTorch3D's names: lists, rows of all meshes ("packed"), rectangles ("padded")."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lumigrad.compat.pytorch3d._textures import TexturesBase
from lumigrad.fit._laplacian import unique_edges
from lumigrad.scene.shapes._packed import Index, Packing, numbers, same_kind

Rows = Sequence[Tensor] | Tensor
EPSILON = 1e-6  # PyTorch3D's least length of what it normalises


class Meshes:
    """N triangle meshes of any sizes.

    Nothing changes a batch but assigning `textures`, `offset_verts_` and `scale_verts_`; all else returns another one.

    Args:
        verts: positions, a list of [V_n, 3] or all in one tensor [N, V, 3].
        faces: vertices of each face within its mesh, a list of [F_n, 3] or [N, F, 3], where -1 fills up.
        textures: :class:`TexturesVertex` or :class:`TexturesUV` of as many meshes.

    Raises:
        ValueError: shapes or lengths that do not fit, or a face with a vertex that its mesh lacks.
    """

    def __init__(self, verts: Rows, faces: Rows, textures: TexturesBase | None = None) -> None:
        vertices, triangles = _rows(verts, "verts"), [f.long() for f in _rows(faces, "faces")]
        if isinstance(faces, Tensor):
            triangles = [f[(f >= 0).all(1)] for f in triangles]
        if len(vertices) != len(triangles):
            raise ValueError(f"faces: expected {len(vertices)} meshes as in verts, got {len(triangles)}")
        for n, (v, f) in enumerate(zip(vertices, triangles)):
            if f.numel() and (int(f.min()) < 0 or int(f.max()) >= len(v)):
                raise ValueError(f"faces: expected vertices 0 to {len(v) - 1} in mesh {n}, got {f.min()} to {f.max()}")
        same_kind(vertices, "verts")
        self._vertices = Packing(tuple(map(len, vertices)))
        self._triangles = Packing(tuple(map(len, triangles)))
        self._verts = torch.cat(vertices) if vertices else torch.zeros(0, 3)
        shifted = [f + start for f, start in zip(triangles, self._vertices.first)]
        self._faces = torch.cat(shifted) if shifted else torch.zeros(0, 3, dtype=torch.int64)
        self.textures = textures

    def __len__(self) -> int:
        return len(self._vertices)

    @property
    def device(self) -> torch.device:
        return self._verts.device

    def isempty(self) -> bool:
        """Whether there is no face in any mesh."""
        return self._triangles.total == 0

    # ---- Views of the data

    def verts_packed(self) -> Tensor:
        """Vertices of all meshes in a row [V, 3]."""
        return self._verts

    def faces_packed(self) -> Tensor:
        """Faces of all meshes in a row [F, 3], with the numbers of packed vertices."""
        return self._faces

    def verts_list(self) -> list[Tensor]:
        return self._vertices.split(self._verts)

    def faces_list(self) -> list[Tensor]:
        parts = self._triangles.split(self._faces)
        return [part - start for part, start in zip(parts, self._vertices.first)]

    def verts_padded(self) -> Tensor:
        """[N, most vertices, 3], filled up with 0."""
        return self._vertices.padded(self._verts)

    def faces_padded(self) -> Tensor:
        """[N, most faces, 3] within the meshes, filled up with -1."""
        rows = self.faces_list()
        return self._triangles.padded(torch.cat(rows) if rows else self._faces, -1)

    def get_mesh_verts_faces(self, index: int) -> tuple[Tensor, Tensor]:
        return self.verts_list()[index], self.faces_list()[index]

    def num_verts_per_mesh(self) -> Tensor:
        return torch.tensor(self._vertices.counts, dtype=torch.int64, device=self.device)

    def num_faces_per_mesh(self) -> Tensor:
        return torch.tensor(self._triangles.counts, dtype=torch.int64, device=self.device)

    def verts_packed_to_mesh_idx(self) -> Tensor:
        """The mesh of each packed vertex [V]."""
        return self._vertices.owner(self.device)

    def faces_packed_to_mesh_idx(self) -> Tensor:
        """The mesh of each packed face [F]."""
        return self._triangles.owner(self.device)

    def mesh_to_verts_packed_first_idx(self) -> Tensor:
        return torch.tensor(self._vertices.first, dtype=torch.int64, device=self.device)

    def mesh_to_faces_packed_first_idx(self) -> Tensor:
        return torch.tensor(self._triangles.first, dtype=torch.int64, device=self.device)

    def face_ranges(self) -> Tensor:
        """(first, count) of each mesh's packed faces [N, 2], on the CPU, as ops take them. Not in PyTorch3D."""
        return self._triangles.ranges()

    # ---- What follows from the data

    def _face_crosses(self) -> Tensor:
        a, b, c = self._verts[self._faces].unbind(1)
        return torch.linalg.cross(b - a, c - a)

    def faces_normals_packed(self) -> Tensor:
        """Unit normals [F, 3], outwards where faces are counter-clockwise seen from outside."""
        return F.normalize(self._face_crosses(), eps=EPSILON, dim=1)

    def faces_areas_packed(self) -> Tensor:
        return self._face_crosses().norm(dim=1) / 2

    def verts_normals_packed(self) -> Tensor:
        """Unit normals [V, 3]: means of those of the faces around, weighted by their areas."""
        around = self._face_crosses()[:, None].expand(-1, 3, -1).reshape(-1, 3)
        total = torch.zeros_like(self._verts).index_add(0, self._faces.reshape(-1), around)
        return F.normalize(total, eps=EPSILON, dim=1)

    def verts_normals_list(self) -> list[Tensor]:
        return self._vertices.split(self.verts_normals_packed())

    def verts_normals_padded(self) -> Tensor:
        return self._vertices.padded(self.verts_normals_packed())

    def edges_packed(self) -> Tensor:
        """The two packed vertices of every edge [E, 2], the smaller first, in their order."""
        return unique_edges(self._faces)

    def edges_packed_to_mesh_idx(self) -> Tensor:
        return self.verts_packed_to_mesh_idx()[self.edges_packed()[:, 0]]

    def get_bounding_boxes(self) -> Tensor:
        """[N, 3, 2], the least and the greatest coordinates."""
        return torch.stack([torch.stack((v.amin(0), v.amax(0)), 1) for v in self.verts_list()])

    # ---- Other batches

    def _with_verts(self, verts: Tensor) -> Meshes:
        other = copy.copy(self)
        other._verts = verts
        return other

    def update_padded(self, new_verts_padded: Tensor) -> Meshes:
        """The same faces with other positions [N, most vertices, 3]."""
        expected = (len(self), max(self._vertices.counts, default=0), 3)
        if new_verts_padded.shape != expected:
            raise ValueError(f"new_verts_padded: expected shape {expected}, got {tuple(new_verts_padded.shape)}")
        return self._with_verts(new_verts_padded[self._vertices.mask(self.device)])

    def offset_verts(self, vert_offsets_packed: Tensor) -> Meshes:
        """Vertices moved by [V, 3] or [3]."""
        if vert_offsets_packed.shape not in ((3,), self._verts.shape):
            raise ValueError(
                f"vert_offsets_packed: expected shape {tuple(self._verts.shape)} or (3,), "
                f"got {tuple(vert_offsets_packed.shape)}"
            )
        return self._with_verts(self._verts + vert_offsets_packed)

    def scale_verts(self, scale: float | Tensor) -> Meshes:
        """Scaled about the origin by a number, or by one for each mesh [N]."""
        factor = torch.as_tensor(scale, dtype=self._verts.dtype, device=self.device)
        if factor.ndim == 0:
            return self._with_verts(self._verts * factor)
        if factor.shape != (len(self),):
            raise ValueError(f"scale: expected a number or shape ({len(self)},), got {tuple(factor.shape)}")
        return self._with_verts(self._verts * factor[self.verts_packed_to_mesh_idx()][:, None])

    def offset_verts_(self, vert_offsets_packed: Tensor) -> Meshes:
        """`offset_verts`, in place; returns the batch itself."""
        self._verts = self.offset_verts(vert_offsets_packed)._verts
        return self

    def scale_verts_(self, scale: float | Tensor) -> Meshes:
        """`scale_verts`, in place; returns the batch itself."""
        self._verts = self.scale_verts(scale)._verts
        return self

    def extend(self, N: int) -> Meshes:
        """Each mesh N times in a row, sharing what is trained."""
        if not isinstance(N, int) or N < 1:
            raise ValueError(f"N: expected a positive integer, got {N!r}")
        return self[[n for n in range(len(self)) for _ in range(N)]]

    def __getitem__(self, index: Index) -> Meshes:
        """Some of the meshes; one of them is a batch of one."""
        chosen = numbers(index, len(self))
        verts, faces = self.verts_list(), self.faces_list()
        textures = None if self.textures is None else self.textures[chosen]
        return Meshes([verts[n] for n in chosen], [faces[n] for n in chosen], textures)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Meshes:
        other = self._with_verts(function(self._verts))
        other._faces = function(self._faces)
        other.textures = None if self.textures is None else self.textures._map(function)
        return other

    def to(self, device: torch.device | str, copy: bool = False) -> Meshes:
        return self._map(lambda value: value.to(device, copy=copy))

    def cpu(self) -> Meshes:
        return self.to("cpu")

    def cuda(self) -> Meshes:
        return self.to("cuda")

    def clone(self) -> Meshes:
        """A copy of its own, through which gradients flow."""
        return self._map(torch.clone)

    def detach(self) -> Meshes:
        return self._map(torch.detach)

    # ---- Textures

    def sample_textures(self, fragments: Any) -> Tensor:
        """Colours [N, H, W, K, C] at fragments."""
        if self.textures is None:
            raise ValueError("meshes: expected textures, got meshes without")
        return self.textures.sample_textures(fragments, self._faces)


def _rows(value: Rows, name: str) -> list[Tensor]:
    """A list of [R, 3], from one or from [N, R, 3]."""
    if isinstance(value, Tensor) and value.ndim != 3:
        raise ValueError(f"{name}: expected a list of tensors or one of shape [N, R, 3], got {tuple(value.shape)}")
    rows = list(value)
    for row in rows:
        if not isinstance(row, Tensor):
            raise TypeError(f"{name}: expected tensors, got {type(row).__name__}")
        if row.ndim != 2 or row.shape[1] != 3:
            raise ValueError(f"{name}: expected shape [R, 3] for each mesh, got {tuple(row.shape)}")
    return rows


def join_meshes_as_batch(meshes: Sequence[Meshes], include_textures: bool = True) -> Meshes:
    """One batch of several, textures of one kind included.

    Raises:
        ValueError: textures of different kinds, or of some meshes only.
    """
    parts = list(meshes)
    textures = None
    if include_textures and any(part.textures is not None for part in parts):
        kinds = {type(part.textures) for part in parts}
        first = parts[0].textures
        if len(kinds) != 1 or first is None:
            raise ValueError(f"meshes: expected textures of one kind, got {sorted(k.__name__ for k in kinds)}")
        textures = first.join([part.textures for part in parts])
    return Meshes([v for p in parts for v in p.verts_list()], [f for p in parts for f in p.faces_list()], textures)
