"""Batches of triangle meshes."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lumigrad.compat.pytorch3d.common.datatypes import Device, make_device
from lumigrad.compat.pytorch3d.structures._edges import uniform_laplacian, unique_edges
from lumigrad.compat.pytorch3d.structures._rows import Batch, Rows, check_index, checked_repeats, chosen
from lumigrad.compat.pytorch3d.structures.utils import padded_to_packed

EPSILON = 1e-6  # PyTorch3D's smallest length of what it normalises

# What follows from the faces stays with other positions; what follows from the positions does not.
_OF_FACES = (
    "_verts_packed_to_mesh_idx",
    "_faces_packed_to_mesh_idx",
    "_mesh_to_verts_packed_first_idx",
    "_mesh_to_faces_packed_first_idx",
    "_verts_padded_to_packed_idx",
    "_edges_packed",
    "_edges_packed_to_mesh_idx",
    "_mesh_to_edges_packed_first_idx",
    "_faces_packed_to_edges_packed",
    "_num_edges_per_mesh",
    "_laplacian_packed",
)
_OF_VERTS = ("_faces_areas_packed", "_faces_normals_packed", "_verts_normals_packed")
_FORMS = {"list": "listed", "packed": "packed_rows", "padded": "padded_rows"}


class Meshes:
    """N triangle meshes of any sizes.

    Args:
        verts: positions, a list of [V_n, 3] or all in one tensor [N, V, 3].
        faces: vertices of each face within its mesh, a list of [F_n, 3] or [N, F, 3], where -1 fills up the end.
        textures: of as many meshes.
        verts_normals: normals in place of those computed, a list of [V_n, 3] or [N, V, 3]. Moving vertices one by one
            drops them.

    Raises:
        ValueError: shapes, devices or lengths that do not fit, or a face with a vertex that its mesh lacks.
    """

    _INTERNAL_TENSORS = (*_OF_FACES, *_OF_VERTS, "_num_verts_per_mesh", "_num_faces_per_mesh", "valid")

    def __init__(self, verts: Batch, faces: Batch, textures: Any = None, *, verts_normals: Batch | None = None) -> None:
        if textures is not None and not hasattr(textures, "sample_textures"):
            raise ValueError(f"textures: expected an instance of TexturesBase, got {type(textures).__name__}")
        self._verts, self._faces = _checked(verts, faces)
        self._cache: dict[str, Tensor | None] = {}
        counts = (self._verts.counts, self._faces.counts)
        self._N, self._V, self._F = len(self._verts), self._verts.longest, self._faces.longest
        self.device = self._verts.sample().device
        self.equisized = len(self) > 0 and all(len(set(c)) == 1 for c in counts)
        self.valid = torch.tensor([v > 0 and f > 0 for v, f in zip(*counts)], dtype=torch.bool, device=self.device)
        # An entirely empty batch has no sizes.
        empty = self.isempty()
        self._num_verts_per_mesh = self._verts.numbers([] if empty else counts[0])
        self._num_faces_per_mesh = self._faces.numbers([] if empty else counts[1])
        self.textures = textures
        if textures is not None:
            self._check_textures()
            textures.fit_to_meshes(*counts, self.valid)
        if verts_normals is not None:
            self._set_verts_normals(verts_normals)

    def _check_textures(self) -> None:
        if not self.textures.check_shapes(self._N, self._V, self._F):
            raise ValueError(
                f"Textures do not match the dimensions of Meshes: expected those of {self._N} meshes of up to "
                f"{self._V} vertices and {self._F} faces"
            )

    def _set_verts_normals(self, normals: Batch) -> None:
        if isinstance(normals, Tensor):
            if normals.shape != (self._N, self._V, 3):
                raise ValueError(f"verts_normals: expected shape {(self._N, self._V, 3)}, got {tuple(normals.shape)}")
            self._cache["_verts_normals_packed"] = padded_to_packed(normals, self._verts.counts)
            return
        if not isinstance(normals, (list, tuple)):
            raise ValueError(f"verts_normals must be a list or tensor, got {type(normals).__name__}")
        shapes = [tuple(n.shape) if isinstance(n, Tensor) else None for n in normals]
        if shapes != [(count, 3) for count in self._verts.counts]:
            raise ValueError(f"Invalid verts_normals input: expected {self._verts.counts} normals, got {shapes}")
        self._cache["_verts_normals_packed"] = torch.cat(list(normals))

    def __len__(self) -> int:
        return self._N

    def __iter__(self) -> Iterator[Meshes]:
        return (self[n] for n in range(len(self)))

    def __getattr__(self, name: str) -> Any:
        """PyTorch3D's private attributes, which programs read: None where nothing has been computed yet."""
        if name in _OF_FACES or name in _OF_VERTS:
            return self.__dict__.get("_cache", {}).get(name)
        for kind in ("verts", "faces"):
            form = name.removeprefix(f"_{kind}_")
            if name != form and form in _FORMS and f"_{kind}" in self.__dict__:
                return getattr(self.__dict__[f"_{kind}"], _FORMS[form])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _cached(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        value = self._cache.get(name)
        if value is None:
            value = self._cache[name] = make()
        return value

    def isempty(self) -> bool:
        """Whether no mesh has both vertices and faces."""
        return self._N == 0 or not any(v and f for v, f in zip(self._verts.counts, self._faces.counts))

    # ---- Views of the data

    def verts_list(self) -> list[Tensor]:
        return self._verts.list()

    def faces_list(self) -> list[Tensor]:
        return self._faces.list()

    def verts_packed(self) -> Tensor:
        """Vertices of all meshes in a row [V, 3]."""
        return self._verts.packed()

    def verts_padded(self) -> Tensor:
        """[N, most vertices, 3], filled up with 0."""
        return self._verts.padded()

    def faces_packed(self) -> Tensor:
        """Faces of all meshes in a row [F, 3], with the numbers of packed vertices."""
        if self._faces.packed_rows is None:
            starts = self._verts.numbers(self._verts.first)
            self._faces.packed_rows = self._local_faces() + starts[self.faces_packed_to_mesh_idx()][:, None]
        return self._faces.packed_rows

    def _local_faces(self) -> Tensor:
        """Packed faces with the numbers of vertices within their meshes."""
        parts = [f.reshape(-1, 3) for f in self._faces.list()]
        return torch.cat(parts) if parts else torch.zeros(0, 3, dtype=torch.int64)

    def faces_padded(self) -> Tensor:
        """[N, most faces, 3] within the meshes, filled up with -1."""
        self._faces.list()
        return self._faces.padded()

    def get_mesh_verts_faces(self, index: int) -> tuple[Tensor, Tensor]:
        """Vertices and faces of one mesh.

        Raises:
            ValueError: an index that is no integer, or beyond the batch.
        """
        check_index("Mesh", index, self._N)
        return self.verts_list()[index], self.faces_list()[index]

    def num_verts_per_mesh(self) -> Tensor:
        return self._num_verts_per_mesh

    def num_faces_per_mesh(self) -> Tensor:
        return self._num_faces_per_mesh

    def verts_packed_to_mesh_idx(self) -> Tensor:
        """The mesh of each packed vertex [V]."""
        return self._cached("_verts_packed_to_mesh_idx", self._verts.owner)

    def faces_packed_to_mesh_idx(self) -> Tensor:
        """The mesh of each packed face [F]."""
        return self._cached("_faces_packed_to_mesh_idx", self._faces.owner)

    def mesh_to_verts_packed_first_idx(self) -> Tensor:
        rows = self._verts
        return self._cached("_mesh_to_verts_packed_first_idx", lambda: rows.numbers(rows.first))

    def mesh_to_faces_packed_first_idx(self) -> Tensor:
        rows = self._faces
        return self._cached("_mesh_to_faces_packed_first_idx", lambda: rows.numbers(rows.first))

    def verts_padded_to_packed_idx(self) -> Tensor:
        """Where packed vertices [V] lie in the flattened padded ones."""
        return self._cached("_verts_padded_to_packed_idx", self._verts.places)

    def face_ranges(self) -> Tensor:
        """(first, count) of each mesh's packed faces [N, 2], on the CPU, as ops take them. Not in PyTorch3D."""
        return self._faces.ranges()

    # ---- Edges

    def _compute_edges_packed(self, refresh: bool = False) -> None:
        if refresh or self._cache.get("_edges_packed") is None:
            edges, across = unique_edges(self.faces_packed(), len(self.verts_packed()))
            self._cache["_edges_packed"], self._cache["_faces_packed_to_edges_packed"] = edges, across
            owner = self.verts_packed_to_mesh_idx()[edges[:, 0]]
            self._cache["_edges_packed_to_mesh_idx"] = owner
            counts = torch.bincount(owner, minlength=self._N)
            self._cache["_num_edges_per_mesh"] = counts.to(torch.int32)
            self._cache["_mesh_to_edges_packed_first_idx"] = counts.cumsum(0) - counts

    def _of_edges(self, name: str) -> Tensor:
        self._compute_edges_packed()
        value = self._cache[name]
        assert value is not None
        return value

    def edges_packed(self) -> Tensor:
        """The two packed vertices of every edge [E, 2], the smaller first, in their order."""
        return self._of_edges("_edges_packed")

    def edges_packed_to_mesh_idx(self) -> Tensor:
        return self._of_edges("_edges_packed_to_mesh_idx")

    def mesh_to_edges_packed_first_idx(self) -> Tensor:
        return self._of_edges("_mesh_to_edges_packed_first_idx")

    def faces_packed_to_edges_packed(self) -> Tensor:
        """The packed edge across each corner of each face [F, 3]."""
        return self._of_edges("_faces_packed_to_edges_packed")

    def num_edges_per_mesh(self) -> Tensor:
        return self._of_edges("_num_edges_per_mesh")

    def laplacian_packed(self) -> Tensor:
        """The sparse matrix [V, V] of `lumigrad.compat.pytorch3d.ops.laplacian`."""
        return self._cached("_laplacian_packed", lambda: uniform_laplacian(self.verts_packed(), self.edges_packed()))

    # ---- Normals and areas

    def _face_crosses(self) -> Tensor:
        a, b, c = self.verts_packed()[self.faces_packed()].unbind(1)
        return torch.linalg.cross(b - a, c - a)

    def faces_normals_packed(self) -> Tensor:
        """Unit normals [F, 3], outwards where faces are counter-clockwise seen from outside."""
        return self._cached("_faces_normals_packed", lambda: F.normalize(self._face_crosses(), eps=EPSILON, dim=1))

    def faces_areas_packed(self) -> Tensor:
        return self._cached("_faces_areas_packed", lambda: self._face_crosses().norm(dim=1) / 2)

    def faces_normals_list(self) -> list[Tensor]:
        return list(self.faces_normals_packed().split(self._faces.counts)) if len(self) else []

    def faces_normals_padded(self) -> Tensor:
        return self._padded_like(self._faces, self.faces_normals_packed())

    def has_verts_normals(self) -> bool:
        """Whether there are normals of vertices, given or computed."""
        return self._cache.get("_verts_normals_packed") is not None

    def verts_normals_packed(self) -> Tensor:
        """Unit normals [V, 3]: means of those of the faces around, weighted by their areas."""
        return self._cached("_verts_normals_packed", self._mean_normals)

    def _mean_normals(self) -> Tensor:
        around = self._face_crosses()[:, None].expand(-1, 3, -1).reshape(-1, 3)
        total = torch.zeros_like(self.verts_packed()).index_add(0, self.faces_packed().reshape(-1), around)
        return F.normalize(total, eps=EPSILON, dim=1)

    def verts_normals_list(self) -> list[Tensor]:
        return list(self.verts_normals_packed().split(self._verts.counts)) if len(self) else []

    def verts_normals_padded(self) -> Tensor:
        return self._padded_like(self._verts, self.verts_normals_packed())

    def _padded_like(self, rows: Rows, packed: Tensor) -> Tensor:
        other = Rows([], fill=0)
        other.counts, other.listed, other.packed_rows = rows.counts, None, packed
        return other.padded() if len(self) else packed.reshape(0, 0, 3)

    def get_bounding_boxes(self) -> Tensor:
        """[N, 3, 2], the smallest and the largest coordinates."""
        return torch.stack([torch.stack((v.amin(0), v.amax(0)), 1) for v in self.verts_list()])

    def _compute_packed(self, refresh: bool = False) -> None:
        self.verts_packed()
        self.faces_packed()

    def _compute_padded(self, refresh: bool = False) -> None:
        self.verts_padded()
        self.faces_padded()

    def _compute_face_areas_normals(self, refresh: bool = False) -> None:
        self.faces_areas_packed()
        self.faces_normals_packed()

    def _compute_vertex_normals(self, refresh: bool = False) -> None:
        self.verts_normals_packed()

    # ---- Other batches

    def _with_verts(self, verts: Rows, keep: Sequence[str] = ()) -> Meshes:
        """The same faces with other positions, of which some of what was computed still holds."""
        other = copy.copy(self)
        other._verts = verts
        other._cache = {k: v for k, v in self._cache.items() if k in _OF_FACES or k in keep}
        return other

    def update_padded(self, new_verts_padded: Tensor) -> Meshes:
        """The same faces with other positions [N, most vertices, 3].

        Raises:
            ValueError: another shape.
        """
        expected = (self._N, self._V, 3)
        if new_verts_padded.shape != expected:
            raise ValueError(f"new_verts_padded: expected shape {expected}, got {tuple(new_verts_padded.shape)}")
        return self._with_verts(Rows(new_verts_padded, self._verts.counts))

    def offset_verts(self, vert_offsets_packed: Tensor) -> Meshes:
        """Vertices moved by [V, 3] or [3].

        Raises:
            ValueError: another shape.
        """
        verts = self.verts_packed()
        if vert_offsets_packed.shape not in ((3,), verts.shape):
            raise ValueError(
                f"vert_offsets_packed: expected shape {tuple(verts.shape)} or (3,), "
                f"got {tuple(vert_offsets_packed.shape)}"
            )
        keep = _OF_VERTS if vert_offsets_packed.ndim == 1 else ()
        return self._with_verts(self._verts.with_packed(verts + vert_offsets_packed), keep)

    def scale_verts(self, scale: float | Tensor) -> Meshes:
        """Scaled about the origin by a number, or by one for each mesh [N].

        Raises:
            ValueError: another shape.
        """
        verts = self.verts_packed()
        factor = torch.as_tensor(scale, dtype=verts.dtype, device=verts.device)
        if factor.ndim and factor.shape != (len(self),):
            raise ValueError(f"scale: expected a number or shape ({len(self)},), got {tuple(factor.shape)}")
        factor = factor[self.verts_packed_to_mesh_idx()][:, None] if factor.ndim else factor
        return self._with_verts(self._verts.with_packed(verts * factor))

    def _become(self, other: Meshes) -> Meshes:
        self._verts, self._cache = other._verts, other._cache
        return self

    def offset_verts_(self, vert_offsets_packed: Tensor) -> Meshes:
        """`offset_verts`, in place; returns the batch itself."""
        return self._become(self.offset_verts(vert_offsets_packed))

    def scale_verts_(self, scale: float | Tensor) -> Meshes:
        """`scale_verts`, in place; returns the batch itself."""
        return self._become(self.scale_verts(scale))

    def extend(self, N: int) -> Meshes:
        """Each mesh N times in a row; copies, through which gradients flow.

        Raises:
            ValueError: N is no positive integer.
        """
        times = range(checked_repeats(N))
        verts = [v.clone() for v in self.verts_list() for _ in times]
        faces = [f.clone() for f in self.faces_list() for _ in times]
        return type(self)(verts, faces, None if self.textures is None else self.textures.extend(N))

    def __getitem__(self, index: Any) -> Meshes:
        """Some of the meshes; one of them is a batch of one.

        Raises:
            IndexError: an index beyond the batch or of another kind.
        """
        numbers = chosen(index, self._N)
        verts, faces = self.verts_list(), self.faces_list()
        textures = None if self.textures is None else self.textures[index]
        return type(self)([verts[n] for n in numbers], [faces[n] for n in numbers], textures)

    def split(self, split_sizes: Sequence[int]) -> list[Meshes]:
        """Batches of so many meshes each.

        Raises:
            ValueError: sizes that are no integers.
        """
        if not all(isinstance(size, int) for size in split_sizes):
            raise ValueError(f"split_sizes: expected integers, got {list(split_sizes)}")
        ends = torch.tensor([0, *split_sizes]).cumsum(0).tolist()
        return [self[start:end] for start, end in itertools.pairwise(ends)]

    def submeshes(self, face_indices: Sequence[Sequence[Tensor]] | Sequence[Tensor] | Tensor) -> Meshes:
        """Parts of the meshes: one mesh for every set of faces, with the vertices that it needs, in their order.

        Args:
            face_indices: for each mesh a list of faces' numbers [F_k], or a tensor [parts, faces] of them.

        Raises:
            ValueError: another number of lists than of meshes.
        """
        if len(face_indices) != self._N:
            raise ValueError(
                "You must specify exactly one set of submeshes for each mesh in this Meshes object: "
                f"expected {self._N}, got {len(face_indices)}"
            )
        verts: list[Tensor] = []
        faces: list[Tensor] = []
        kept: list[list[Tensor]] = []
        for v, f, parts in zip(self.verts_list(), self.faces_list(), face_indices):
            pairs = [torch.unique(f[part], return_inverse=True) for part in parts]
            kept.append([used for used, _ in pairs])
            verts += [v[used] for used, _ in pairs]
            faces += [renumbered for _, renumbered in pairs]
        textures = None if self.textures is None else self.textures.submeshes(kept, face_indices)
        return type(self)(verts, faces, textures)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Meshes:
        other = copy.copy(self)
        other._verts, other._faces = self._verts.map(function), self._faces.map(function)
        other._cache = {k: None if v is None else function(v) for k, v in self._cache.items()}
        for name in ("_num_verts_per_mesh", "_num_faces_per_mesh", "valid"):
            setattr(other, name, function(getattr(self, name)))
        return other

    def to(self, device: Device, copy: bool = False) -> Meshes:
        """On a device; the batch itself where it is there already."""
        place = make_device(device)
        if place == self.device and not copy:
            return self
        other = self._map(lambda value: value.to(place, copy=copy))
        other.device = place
        if self.textures is not None:
            other.textures = self.textures.to(place)
        return other

    def cpu(self) -> Meshes:
        return self.to("cpu")

    def cuda(self) -> Meshes:
        return self.to("cuda")

    def clone(self) -> Meshes:
        """A copy of its own, through which gradients flow."""
        other = self._map(torch.clone)
        other.textures = None if self.textures is None else self.textures.clone()
        return other

    def detach(self) -> Meshes:
        other = self._map(torch.detach)
        other.textures = None if self.textures is None else self.textures.detach()
        return other

    def sample_textures(self, fragments: Any) -> Tensor:
        """Colours [N, H, W, K, C] at fragments.

        Raises:
            ValueError: no textures, or those of other meshes.
        """
        if self.textures is None:
            raise ValueError("Meshes does not have textures")
        self._check_textures()
        return self.textures.sample_textures(fragments, faces_packed=self.faces_packed())


def _checked(verts: Batch, faces: Batch) -> tuple[Rows, Rows]:
    """Vertices and faces whose shapes, devices and numbers fit."""
    if isinstance(verts, Tensor) and isinstance(faces, Tensor):
        rows, triangles = _from_padded(verts, faces)
    elif isinstance(verts, (list, tuple)) and isinstance(faces, (list, tuple)):
        rows, triangles = Rows(_listed(verts, "verts")), Rows([_whole(f) for f in _listed(faces, "faces")], fill=-1)
    else:
        raise ValueError(
            "Verts and Faces must be either a list or a tensor with shape (batch_size, N, 3), both of them alike: got "
            f"{type(verts).__name__} and {type(faces).__name__}"
        )
    if len(rows) != len(triangles):
        raise ValueError(f"faces: expected {len(rows)} meshes as in verts, got {len(triangles)}")
    _check_vertices(rows, triangles)
    return rows, triangles


def _whole(faces: Tensor) -> Tensor:
    """Faces without those that fill up."""
    faces = faces.long()
    return faces[(faces != -1).all(1)] if len(faces) else faces


def _from_padded(verts: Tensor, faces: Tensor) -> tuple[Rows, Rows]:
    if verts.ndim != 3 or faces.ndim != 3 or verts.shape[2] != 3 or faces.shape[2] != 3:
        raise ValueError(
            "Verts or Faces tensors have incorrect dimensions: expected [N, V, 3] and [N, F, 3], got "
            f"{tuple(verts.shape)} and {tuple(faces.shape)}"
        )
    if verts.device != faces.device:
        raise ValueError(f"Verts and Faces tensors should be on same device, got {verts.device} and {faces.device}")
    faces = faces.long()
    real = (faces != -1).all(2)
    if bool((real[:, 1:] & ~real[:, :-1]).any()):
        raise ValueError("Padding of faces must be at the end")
    return Rows(verts), Rows(faces, real.sum(1).tolist(), fill=-1)


def _listed(value: Sequence[Tensor], name: str) -> list[Tensor]:
    """Tensors [R, 3]; empty ones of one dimension become [0, 3]."""
    rows = []
    for row in value:
        if not isinstance(row, Tensor):
            raise TypeError(f"{name}: expected tensors, got {type(row).__name__}")
        row = row.reshape(0, 3) if row.numel() == 0 else row
        if row.ndim != 2 or row.shape[1] != 3:
            raise ValueError(f"{name}: expected shape [R, 3] for each mesh, got {tuple(row.shape)}")
        rows.append(row)
    return rows


def _check_vertices(verts: Rows, faces: Rows) -> None:
    devices = {value.device for rows in (verts, faces) for value in (rows.listed or ())}
    if len(devices) > 1:
        raise ValueError(f"All Verts and Faces tensors should be on same device, got {sorted(map(str, devices))}")
    if len({value.dtype for value in verts.listed or ()}) > 1:
        raise ValueError("verts: expected the same dtype throughout a batch")
    for n, (count, f) in enumerate(zip(verts.counts, faces.list())):
        if f.numel() and (int(f.min()) < 0 or int(f.max()) >= count):
            raise ValueError(f"faces: expected vertices 0 to {count - 1} in mesh {n}, got {f.min()} to {f.max()}")


def join_meshes_as_batch(meshes: Sequence[Meshes], include_textures: bool = True) -> Meshes:
    """One batch of several, textures of one kind included.

    Raises:
        ValueError: textures of different kinds, or of some meshes only.
    """
    if isinstance(meshes, Meshes):
        raise ValueError("Wrong first argument to join_meshes_as_batch: expected a list of Meshes, got one Meshes")
    parts = list(meshes)
    textures = None
    if include_textures and any(part.textures is not None for part in parts):
        kinds = {type(part.textures).__name__ for part in parts}
        if any(part.textures is None for part in parts):
            raise ValueError("Inconsistent textures in join_meshes_as_batch: some meshes have none")
        if len(kinds) != 1:
            raise ValueError(f"All meshes in the batch must have the same type of texture, got {sorted(kinds)}")
        textures = parts[0].textures.join_batch([part.textures for part in parts[1:]])
    return Meshes([v for p in parts for v in p.verts_list()], [f for p in parts for f in p.faces_list()], textures)


def join_meshes_as_scene(meshes: Meshes | Sequence[Meshes], include_textures: bool = True) -> Meshes:
    """One mesh of all, textures of one kind included.

    Raises:
        ValueError: textures that cannot be joined, or something else than a flag for `include_textures`.
    """
    if not isinstance(include_textures, (bool, int)):
        raise ValueError(f"include_textures: expected a flag, the argument cannot be {type(include_textures)}")
    batch = meshes if isinstance(meshes, Meshes) else join_meshes_as_batch(meshes, include_textures)
    if len(batch) == 1:
        return batch
    textures = batch.textures.join_scene() if include_textures and batch.textures is not None else None
    return Meshes([batch.verts_packed()], [batch.faces_packed()], textures)
