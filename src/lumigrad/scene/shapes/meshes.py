"""Batches of meshes with different numbers of vertices and faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.materials import Material, PhongMaterial
from lumigrad.scene.shapes._packed import Index, Packing, numbers, same_kind
from lumigrad.scene.shapes.mesh import INDEXED, Mesh
from lumigrad.types.shapes import Float, Int

Tensors = list[Tensor]  # the class has a method named `list`


@dataclass(frozen=True)
class Meshes:
    """Meshes one after the other in packed tensors; made by `Meshes.join`.

    `packed` is rendered in one call: each mesh in its own image with ``rasterize(..., ranges=meshes.ranges)``::

        clip = meshes.project(camera)
        frags = lumigrad.rasterize(clip, meshes.faces_packed, camera.size, ranges=meshes.ranges)

    Triangle numbers then count through the whole batch, as `interpolate` and `antialias` want them; `local_triangles`
    counts them from each mesh's first face.

    Attributes:
        packed: all vertices and faces, faces indexing the packed vertices; without texture or materials.
        vertices, triangles: how many of them each mesh has.
        coordinates, normals, second_coordinates: how many texture coordinates, authored normals and second texture
            coordinates each has.
        textures: texture of each mesh, or None.
        materials: materials of each mesh.
        face_materials: [faces] integers into its own mesh's materials.

    >>> from lumigrad.scene import Meshes, icosphere
    >>> batch = Meshes.join([icosphere(0), icosphere(1)])
    >>> len(batch), batch.positions_packed.shape, batch.ranges.tolist()
    (2, torch.Size([54, 3]), [[0, 20], [20, 80]])
    >>> batch.positions_padded().shape, batch[1].faces.shape
    (torch.Size([2, 42, 3]), torch.Size([80, 3]))
    """

    packed: Mesh
    vertices: Packing
    triangles: Packing
    coordinates: Packing
    normals: Packing
    textures: tuple[Tensor | None, ...]
    materials: tuple[tuple[Material, ...], ...]
    face_materials: Int[Tensor, " faces"]
    second_coordinates: Packing

    @classmethod
    def join(cls, parts: Sequence[Mesh | Meshes]) -> Meshes:
        """A batch of meshes, and of the meshes in batches of either kind, in this order.

        Where some have vertex colours, texture coordinates or authored normals and others have not, the others get
        white, the coordinate (0, 0) for all corners, and their `vertex_normals`.

        Raises:
            TypeError: something else than meshes.
            ValueError: no mesh at all, or tensors of different dtypes, devices or numbers of channels.
        """
        meshes: list[Mesh] = []
        for part in parts:
            if not isinstance(part, (Mesh, Meshes)):
                raise TypeError(f"parts: expected Mesh or Meshes, got {type(part).__name__}")
            meshes.extend(part.unbind() if isinstance(part, Mesh) else part.list())
        if not meshes:
            raise ValueError("parts: expected at least one mesh, got none")
        same_kind([mesh.positions for mesh in meshes], "positions")
        meshes = _completed(meshes)
        packed: dict[str, Any] = {}
        packings = {}
        for name, index_name in INDEXED.items():
            values = [getattr(mesh, name) for mesh in meshes]
            packings[name] = Packing(tuple(0 if v is None else len(v) for v in values))
            if values[0] is None:
                continue
            indices = [getattr(mesh, index_name) for mesh in meshes]
            same_kind(values, name)
            same_kind(indices, index_name)
            packed[name] = torch.cat(values)
            packed[index_name] = torch.cat([index + first for index, first in zip(indices, packings[name].first)])
        if meshes[0].colors is not None:
            packed["colors"] = torch.cat([mesh.colors for mesh in meshes if mesh.colors is not None])
        return cls(
            Mesh(**packed),
            packings["positions"],
            Packing(tuple(len(mesh.faces) for mesh in meshes)),
            packings["uvs"],
            packings["normals"],
            tuple(mesh.texture for mesh in meshes),
            tuple(mesh.materials for mesh in meshes),
            torch.cat([_face_materials(mesh) for mesh in meshes]),
            packings["second_uvs"],
        )

    def __len__(self) -> int:
        return len(self.vertices)

    def __getitem__(self, index: Index) -> Mesh | Meshes:
        """One mesh for an integer, a batch for a slice, integers or a mask [N].

        Raises:
            IndexError, TypeError: an index that does not fit.
        """
        if isinstance(index, int):
            return self.mesh(*numbers(index, len(self)))
        return Meshes.join([self.mesh(i) for i in numbers(index, len(self))])

    def __iter__(self) -> Iterator[Mesh]:
        return (self.mesh(i) for i in range(len(self)))

    def mesh(self, number: int) -> Mesh:
        """One of the meshes, its float tensors views into the batch."""
        packed = self.packed
        fields: dict[str, Any] = {"texture": self.textures[number], "materials": self.materials[number]}
        for name, index_name, packing in (
            ("positions", "faces", self.vertices),
            ("uvs", "uv_faces", self.coordinates),
            ("normals", "normal_faces", self.normals),
            ("second_uvs", "second_uv_faces", self.second_coordinates),
        ):
            values = getattr(packed, name)
            if values is not None:
                fields[name] = packing.part(values, number)
                fields[index_name] = self.triangles.part(getattr(packed, index_name), number) - packing.first[number]
        if packed.colors is not None:
            fields["colors"] = self.vertices.part(packed.colors, number)
        if len(self.materials[number]) > 1:
            fields["face_materials"] = self.triangles.part(self.face_materials, number)
        return Mesh(**fields)

    def list(self) -> list[Mesh]:
        """All meshes."""
        return list(self)

    @property
    def positions_packed(self) -> Float[Tensor, "vertices 3"]:
        """[all vertices, 3]."""
        return self.packed.positions

    @property
    def faces_packed(self) -> Int[Tensor, "faces 3"]:
        """[all faces, 3] into `positions_packed`."""
        return self.packed.faces

    @property
    def ranges(self) -> Int[Tensor, "meshes 2"]:
        """(first face, number of faces) of each mesh, int64 [N, 2], as `lumigrad.rasterize` takes them."""
        return self.triangles.ranges()

    @property
    def mesh_of_vertex(self) -> Int[Tensor, " vertices"]:
        """Which mesh each packed vertex belongs to, int64."""
        return self.vertices.owner(self.packed.positions.device)

    @property
    def mesh_of_face(self) -> Int[Tensor, " faces"]:
        """Which mesh each packed face belongs to, int64."""
        return self.triangles.owner(self.packed.faces.device)

    def positions_list(self) -> Tensors:
        """[V_n, 3] of each mesh."""
        return self.vertices.split(self.packed.positions)

    def faces_list(self) -> Tensors:
        """[F_n, 3] of each mesh, into its own vertices."""
        return [faces - first for faces, first in zip(self.triangles.split(self.packed.faces), self.vertices.first)]

    def positions_padded(self) -> Float[Tensor, "meshes vertices 3"]:
        """[N, most vertices, 3], filled up with 0."""
        return self.vertices.padded(self.packed.positions)

    def faces_padded(self) -> Int[Tensor, "meshes faces 3"]:
        """[N, most faces, 3] into each mesh's own vertices, filled up with -1."""
        first = torch.tensor(self.vertices.first, dtype=self.packed.faces.dtype).to(self.packed.faces.device)
        return self.triangles.padded(self.packed.faces - first[self.mesh_of_face][:, None], -1)

    def with_positions(self, positions: Float[Tensor, "vertices 3"]) -> Meshes:
        """The batch with other packed positions [all vertices, 3]; authored normals stay as they are."""
        return replace(self, packed=replace(self.packed, positions=positions))

    def project(self, camera: Camera) -> Float[Tensor, "vertices 4"]:
        """Packed clip-space positions [all vertices, 4], each mesh seen by its own camera or by the only one.

        They are the same bit for bit as those of the single meshes.

        Raises:
            ValueError: a batch of cameras of another length.
        """
        if tuple(camera.shape) not in ((), (len(self),)):
            raise ValueError(f"camera: expected batch shape [] or [{len(self)}], got {list(camera.shape)}")
        cameras = [camera[i] if camera.shape else camera for i in range(len(self))]
        return torch.cat([one.project(points) for one, points in zip(cameras, self.positions_list())])

    def local_triangles(self, tri: Int[Tensor, "*image"]) -> Int[Tensor, "*image"]:
        """Triangle numbers [N, ...] of the whole batch counted from the first face of the image's mesh; -1 stays.

        Raises:
            ValueError: not one image for each mesh.
        """
        if tri.ndim == 0 or len(tri) != len(self):
            raise ValueError(f"tri: expected one image for each of {len(self)} meshes, got {list(tri.shape)}")
        first = torch.tensor(self.triangles.first, dtype=tri.dtype).to(tri.device)
        return torch.where(tri >= 0, tri - first.reshape(-1, *[1] * (tri.ndim - 1)), tri)

    def to(self, *args: Any) -> Meshes:
        """Copy with floating tensors passed through `Tensor.to`; index buffers only follow a device."""
        return Meshes.join([mesh.to(*args) for mesh in self])

    def transformed(self, matrix: Float[Tensor, "_ 4"] | Float[Tensor, "meshes _ 4"]) -> Meshes:
        """The meshes moved by an affine map [4, 4], or each by its own of [N, 4, 4]; see `Mesh.transformed`.

        Raises:
            ValueError: a matrix of another shape.
        """
        if matrix.ndim == 3 and len(matrix) != len(self):
            raise ValueError(f"matrix: expected one for each of {len(self)} meshes, got {list(matrix.shape)}")
        return Meshes.join([mesh.transformed(matrix[i] if matrix.ndim == 3 else matrix) for i, mesh in enumerate(self)])

    def as_scene(self) -> Mesh:
        """All meshes as one, in one space. Materials are lined up, and textures of meshes that have no materials
        become materials of their own: as they are, without highlights."""
        if not any(self.materials) and all(texture is None for texture in self.textures):
            return self.packed
        device = self.packed.positions.device
        sets = [
            mine or (PhongMaterial(specular=torch.zeros(3, device=device), diffuse_texture=texture),)
            for mine, texture in zip(self.materials, self.textures)
        ]
        first = torch.tensor(Packing(tuple(map(len, sets))).first, dtype=torch.int64).to(device)
        face_materials = self.face_materials + first[self.mesh_of_face]
        return replace(self.packed, materials=tuple(m for mine in sets for m in mine), face_materials=face_materials)


def _face_materials(mesh: Mesh) -> Tensor:
    if mesh.face_materials is None:
        return torch.zeros(len(mesh.faces), dtype=torch.int64, device=mesh.faces.device)
    return mesh.face_materials.long()


def _completed(meshes: list[Mesh]) -> list[Mesh]:
    """The meshes, all completed with colours, texture coordinates and normals if one of them has these."""
    painted = [mesh.colors for mesh in meshes if mesh.colors is not None]
    same_kind(painted, "colors")
    textured = [name for name in ("uvs", "second_uvs") if any(getattr(mesh, name) is not None for mesh in meshes)]
    shaped = any(mesh.normals is not None for mesh in meshes)
    result = []
    for mesh in meshes:
        changed: dict[str, Any] = {}
        if painted and mesh.colors is None:
            changed["colors"] = painted[0].new_ones(len(mesh.positions), painted[0].shape[1])
        for name in textured:
            if getattr(mesh, name) is None:
                changed |= {name: mesh.positions.new_zeros(1, 2), INDEXED[name]: torch.zeros_like(mesh.faces)}
        if shaped and mesh.normals is None:
            changed["normals"], changed["normal_faces"] = mesh.shading_normals()
        result.append(replace(mesh, **changed) if changed else mesh)
    return result
