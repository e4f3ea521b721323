"""Triangle meshes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.scene._transform import mirrored, transform_directions, transform_points
from lumigrad.scene.materials import Material
from lumigrad.scene.shapes._displayed import Displayed
from lumigrad.scene.shapes.creases import crease_normals
from lumigrad.scene.shapes.tangents import corner_tangents
from lumigrad.types.shapes import Bool, Float, Int
from lumigrad.types.validation import fractional, is_integral, tensor, values_can_be_checked

_REQUIRED = ("positions", "faces")
# Values, and the index buffers into them.
INDEXED = {
    "positions": "faces", "uvs": "uv_faces", "normals": "normal_faces", "second_uvs": "second_uv_faces",
}  # fmt: skip
_NUMBERS = (*INDEXED.values(), "face_materials")


def _check_indices(faces: Tensor, count: int, name: str) -> None:
    if faces.ndim != 2 or faces.shape[-1] != 3 or not is_integral(faces):
        raise ValueError(f"{name}: expected integers [F, 3], got {faces.dtype} {list(faces.shape)}")
    _check_range(faces, count, name)


def _check_range(indices: Tensor, count: int, name: str) -> None:
    if not values_can_be_checked():
        return
    if not indices.numel():
        return
    values: Any = indices
    if indices.device.type == "cpu":
        # NumPy finds the extremes of integers in a fraction of torch's time. Within torch.func, it has no access to
        # memory.
        with contextlib.suppress(RuntimeError):
            values = indices.numpy()
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= count:
        raise ValueError(f"{name}: expected indices in [0, {count}), got {low} to {high}")


@dataclass(frozen=True)
class Mesh(Displayed):
    """A triangle mesh; texture coordinates and authored normals have their own index buffers.

    Vertices are counter-clockwise seen from outside. Texture coordinate (0, 0) is the outer corner of texel
    [0, 0] and v grows with the row. A mesh without materials is drawn in its texture times its vertex colours, as
    they are encoded; with materials, vertex colours multiply the base colour and `texture` is not looked at.

    A batch of one template, such as a network predicts it, has positions [N, V, 3], and all else in common. Renderers
    show mesh n in image n; `unbind` gives single meshes to what else there is.

    Attributes:
        positions: [V, 3], or [N, V, 3].
        faces: [F, 3] integers into positions.
        uvs: [U, 2], or None.
        uv_faces: [F, 3] integers into uvs; `faces` when only uvs are given.
        texture: [H, W, C] in [0, 1], row 0 first; display-encoded (sRGB), as image files hold it.
        colors: [V, C] per vertex, multiplied with the texture where there are both.
        normals: authored normals [M, 3], unit, outwards, or None.
        normal_faces: [F, 3] integers into normals; `faces` when only normals are given.
        materials: what its faces are made of.
        face_materials: [F] integers into materials, or None where all faces have the first.
        second_uvs: [W, 2] other texture coordinates, for the textures that materials look up there, or None.
        second_uv_faces: [F, 3] integers into them; `faces` when only these are given.

    >>> import torch
    >>> from lumigrad.scene import Mesh
    >>> square = Mesh(
    ...     positions=torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]),
    ...     faces=torch.tensor([[0, 1, 2], [0, 2, 3]]),
    ... )
    >>> square.vertex_normals()[0].tolist(), [corner.tolist() for corner in square.bounds()]
    ([0.0, 0.0, 1.0], [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    >>> len(square.submesh(torch.tensor([True, False])).positions)
    3
    >>> batch = Mesh(square.positions + torch.rand(5, 1, 3), square.faces)
    >>> batch.vertex_normals().shape, len(batch.unbind())
    (torch.Size([5, 4, 3]), 5)
    """

    positions: Float[Tensor, "*batch vertices 3"]
    faces: Int[Tensor, "faces 3"]
    uvs: Float[Tensor, "coordinates 2"] | None = None
    uv_faces: Int[Tensor, "faces 3"] | None = None
    texture: Float[Tensor, "height width channels"] | None = None
    colors: Float[Tensor, "vertices color_channels"] | None = None
    normals: Float[Tensor, "normals 3"] | None = None
    normal_faces: Int[Tensor, "faces 3"] | None = None
    materials: tuple[Material, ...] = ()
    face_materials: Int[Tensor, " faces"] | None = None
    second_uvs: Float[Tensor, "second_coordinates 2"] | None = None
    second_uv_faces: Int[Tensor, "faces 3"] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _REQUIRED or (field.name != "materials" and value is not None):
                (tensor if field.name in _NUMBERS else fractional)(field.name, value)
        if self.positions.ndim not in (2, 3) or self.positions.shape[-1] != 3:
            raise ValueError(f"positions: expected [V, 3] or [N, V, 3], got {list(self.positions.shape)}")
        _check_indices(self.faces, self.positions.shape[-2], "faces")
        self._check_indexed("uvs", "uv_faces", 2, "U")
        self._check_indexed("normals", "normal_faces", 3, "M")
        self._check_indexed("second_uvs", "second_uv_faces", 2, "W")
        if self.texture is not None and self.texture.ndim != 3:
            raise ValueError(f"texture: expected [H, W, C], got {list(self.texture.shape)}")
        if self.colors is not None and (self.colors.ndim != 2 or len(self.colors) != self.positions.shape[-2]):
            raise ValueError(f"colors: expected [{self.positions.shape[-2]}, C], got {list(self.colors.shape)}")
        self._check_materials()

    def _check_indexed(self, name: str, index_name: str, size: int, count: str) -> None:
        values, index = getattr(self, name), getattr(self, index_name)
        if values is None:
            if index is not None:
                raise ValueError(f"{name}: expected [{count}, {size}] together with {index_name}, got None")
            return
        if values.ndim != 2 or values.shape[-1] != size:
            raise ValueError(f"{name}: expected [{count}, {size}], got {list(values.shape)}")
        if index is None:
            object.__setattr__(self, index_name, self.faces)
            index = self.faces
        _check_indices(index, len(values), index_name)
        if len(index) != len(self.faces):
            raise ValueError(f"{index_name}: expected {len(self.faces)} rows, got {len(index)}")

    def _check_materials(self) -> None:
        if not isinstance(self.materials, tuple) or not all(isinstance(m, Material) for m in self.materials):
            raise TypeError(f"materials: expected a tuple of materials, got {self.materials!r}")
        chosen = self.face_materials
        if chosen is None:
            return
        if chosen.ndim != 1 or len(chosen) != len(self.faces) or not is_integral(chosen):
            got = f"{chosen.dtype} {list(chosen.shape)}"
            raise ValueError(f"face_materials: expected integers [{len(self.faces)}], got {got}")
        _check_range(chosen, len(self.materials), "face_materials")

    def to(self, *args: Any) -> Mesh:
        """Copy with floating tensors passed through `Tensor.to`; index buffers only follow a device."""
        changed: dict[str, Any] = {"materials": tuple(material.to(*args) for material in self.materials)}
        device = self.positions.to(*args).device
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                changed[field.name] = value.to(*args) if value.is_floating_point() else value.to(device)
        return replace(self, **changed)

    @property
    def shape(self) -> torch.Size:
        """Batch shape: [N], or [] for a single mesh."""
        return self.positions.shape[:-2]

    def unbind(self) -> list[Mesh]:
        """The meshes of a batch; a single mesh is a batch of one."""
        if not self.shape:
            return [self]
        return [replace(self, positions=positions) for positions in self.positions]

    def _check_single(self, what: str) -> None:
        if self.shape:
            raise ValueError(f"positions: {what} needs a single mesh [V, 3], got a batch {list(self.positions.shape)}")

    def bounds(self) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
        """Smallest and largest corner [3] of the box around the vertices that faces use."""
        if not len(self.faces):
            raise ValueError("faces: an empty mesh has no bounds")
        used = self.positions[..., self.faces.reshape(-1).long(), :].reshape(-1, 3)
        if not len(used):
            raise ValueError("positions: an empty batch has no bounds")
        return used.amin(0), used.amax(0)

    def face_normals(self) -> Float[Tensor, "*batch faces 3"]:
        """Normals [..., F, 3] whose length is twice the face's area."""
        return _face_normals(self.positions, self.faces)

    def vertex_normals(self) -> Float[Tensor, "*batch vertices 3"]:
        """Unit normals [..., V, 3], area weighted over the faces around each vertex; zero where there are none."""
        return vertex_normals(self.positions, self.faces)

    def shading_normals(self) -> tuple[Float[Tensor, "normals 3"], Int[Tensor, "faces 3"]]:
        """Normals [M, 3] and the faces [F, 3] that index them: the authored ones, or else `vertex_normals`.

        Raises:
            ValueError: a batch of meshes.
        """
        self._check_single("shading_normals")
        if self.normals is not None:
            assert self.normal_faces is not None
            return self.normals, self.normal_faces
        return self.vertex_normals(), self.faces

    def creased(self, degrees: float) -> Mesh:
        """The mesh with normals that are smooth but for edges at which faces meet at more than `degrees`.

        Authored normals are replaced. 0 gives flat faces, 180 smooth ones; CAD parts look right at about 30.

        Raises:
            ValueError: an angle that is not between 0 and 180, or a batch of meshes.

        >>> from lumigrad.scene import icosphere
        >>> flat = icosphere(0).creased(0.0)  # each of 20 faces has a normal of its own
        >>> flat.normals.shape
        torch.Size([20, 3])
        """
        if not 0 <= degrees <= 180:
            raise ValueError(f"degrees: expected 0 to 180, got {degrees}")
        self._check_single("creased")
        normals, normal_faces = crease_normals(self.positions, self.faces, degrees)
        return replace(self, normals=normals, normal_faces=normal_faces)

    def tangents(self) -> tuple[Float[Tensor, "tangents 4"], Int[Tensor, "faces 3"]]:
        """Tangents [K, 4] for normal maps, and the faces [F, 3] that index them; see `corner_tangents`.

        Raises:
            ValueError: a mesh without texture coordinates, or a batch of meshes.
        """
        self._check_single("tangents")
        if self.uvs is None or self.uv_faces is None:
            raise ValueError("uvs: tangents need texture coordinates, this mesh has none")
        normals, normal_faces = self.shading_normals()
        return corner_tangents(self.positions, self.faces, self.uvs, self.uv_faces, normals, normal_faces)

    def transformed(self, matrix: Float[Tensor, "_ 4"]) -> Mesh:
        """The mesh moved by an affine map [4, 4] (or [3, 4]) that acts on column vectors.

        Normals go with the inverse transpose. A map that mirrors also swaps two corners of every face, so that
        vertices stay counter-clockwise seen from outside.

        Raises:
            ValueError: a matrix of another shape.
        """
        moved = transform_points(self.positions.reshape(-1, 3), matrix).reshape(self.positions.shape)
        changed: dict[str, Any] = {"positions": moved}
        if self.normals is not None:
            changed["normals"] = transform_directions(self.normals, matrix)
        if bool(mirrored(matrix)):
            for name in INDEXED.values():
                index = getattr(self, name)
                changed[name] = None if index is None else index[:, [0, 2, 1]]
        return replace(self, **changed)

    def submesh(self, chosen: Bool[Tensor, " faces"] | Int[Tensor, " chosen"]) -> Mesh:
        """Some of the faces, with the vertices, texture coordinates and normals that they use; materials stay.

        Args:
            chosen: faces, as a mask [F] or indices [K].
        """
        changed: dict[str, Any] = {}
        for name, index_name in INDEXED.items():
            values, index = getattr(self, name), getattr(self, index_name)
            if values is None:
                continue
            used, inverse = torch.unique(index[chosen].long(), return_inverse=True)
            changed |= {name: values[..., used, :], index_name: inverse.reshape(-1, 3).to(index.dtype)}
            if name == "positions" and self.colors is not None:
                changed["colors"] = self.colors[used]
        if self.face_materials is not None:
            changed["face_materials"] = self.face_materials[chosen]
        return replace(self, **changed)


def vertex_normals(
    positions: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"]
) -> Float[Tensor, "*batch vertices 3"]:
    """Unit normals [..., V, 3], area weighted over the faces around each vertex; zero where there are none."""
    shares = _face_normals(positions, faces).repeat_interleave(3, dim=-2)
    total = torch.zeros_like(positions).index_add(-2, faces.long().reshape(-1), shares)
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-20)


def _face_normals(positions: Tensor, faces: Tensor) -> Tensor:
    a, b, c = positions[..., faces.long(), :].unbind(-2)
    normals: Tensor = torch.linalg.cross(b - a, c - a)
    return normals
