"""Parts of a file, and the mesh that they make up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from lumigrad.io._problems import UnreadableError
from lumigrad.io.geometry.weld import weld
from lumigrad.scene.materials import Material
from lumigrad.scene.shapes.mesh import INDEXED, Mesh, vertex_normals

LARGEST = 2**29  # faces; more would mean a damaged file
_BLOCK = 1 << 13  # faces whose normals are computed at a time, to stay in the cache


@dataclass
class Part:
    """Triangles of a file as arrays; index arrays are those of `Mesh`.

    Attributes:
        positions: [V, 3].
        faces: [F, 3].
        uvs, uv_faces: [U, 2] with v downwards, [F, 3], or None.
        normals, normal_faces: [M, 3], [F, 3], or None. An index of -1 stands for a corner that has none.
        colors: display-encoded [V, 3 or 4], or None.
        second_uvs, second_uv_faces: likewise, of textures that are looked up there.
        materials: what its faces are made of; None is what the file does not say.
        face_materials: [F] integers into materials, or None where all faces have the first.
    """

    positions: np.ndarray
    faces: np.ndarray
    uvs: np.ndarray | None = None
    uv_faces: np.ndarray | None = None
    normals: np.ndarray | None = None
    normal_faces: np.ndarray | None = None
    colors: np.ndarray | None = None
    materials: Sequence[Material | None] = field(default_factory=lambda: [None])
    face_materials: np.ndarray | None = None
    second_uvs: np.ndarray | None = None
    second_uv_faces: np.ndarray | None = None

    def transformed(self, matrix: np.ndarray) -> Part:
        """The part moved by an affine map [4, 4]; where it mirrors, faces are turned around."""
        linear = matrix[:3, :3].astype(np.float64)
        changed: dict[str, Any] = {"positions": self.positions @ linear.T + matrix[:3, 3]}
        mirrored = np.linalg.det(linear) < 0
        if self.normals is not None:
            # Cofactors are the inverse transpose times the determinant, and also exist for singular maps.
            a, b, c = linear
            cofactors = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)])
            changed["normals"] = unit(self.normals @ cofactors.T * (-1 if mirrored else 1))
        if mirrored:
            for name in INDEXED.values():
                index = getattr(self, name)
                changed[name] = None if index is None else index[:, [0, 2, 1]]
        return replace(self, **changed)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors normalised to length 1; those of length 0 are unchanged."""
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    length[~(length > 0)] = 1
    return vectors / length[:, None]


def flat_normals(positions: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals [F, 3] of the faces, float32."""
    result = np.empty((len(faces), 3), np.float32)
    axes = [np.ascontiguousarray(column, np.float64) for column in positions.T]
    for begin in range(0, len(faces), _BLOCK):
        corners = np.ascontiguousarray(faces[begin : begin + _BLOCK].T)
        starts, *ends = ([axis.take(corner) for axis in axes] for corner in corners)
        (x, y, z), (u, v, w) = ([end - start for end, start in zip(others, starts)] for others in ends)
        normal = [y * w - z * v, z * u - x * w, x * v - y * u]
        length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
        length[~(length > 0)] = 1
        for axis, values in enumerate(normal):
            np.divide(values, length, out=result[begin : begin + _BLOCK, axis], casting="unsafe")
    return result


def assembled(parts: Sequence[Part], default: Callable[[], Material], flat: bool = False) -> Mesh:
    """One welded mesh of all parts, in their order.

    Where some parts have texture coordinates, colours or normals and others have not, the others get the coordinate
    (0, 0), white, and their smooth normals.

    Args:
        parts: at least one with faces.
        default: makes the material of faces that have none, where other faces have one.
        flat: parts without normals get those of their faces, in place of smooth ones or none.
    """
    parts = [part for part in parts if len(part.faces)]
    # Each face has its own normal: looking for equal ones would take longer than it saves.
    facets = flat and all(part.normals is None for part in parts)
    parts = [_flat(part) for part in parts] if flat else parts
    if sum(len(part.faces) for part in parts) > LARGEST:
        raise UnreadableError(f"it has more than {LARGEST} faces")
    names = [name for name in (*list(INDEXED)[1:], "colors") if any(getattr(part, name) is not None for part in parts)]
    parts = [_completed(part, names, parts) for part in parts]
    tensors: dict[str, Any] = {}
    for name, index_name in INDEXED.items():
        if name != "positions" and name not in names:
            continue
        rows = _joined([getattr(part, name).astype(np.float32, copy=False) for part in parts])
        faces = _joined(_shifted(parts, name, index_name))
        key = rows
        if name == "positions" and "colors" in names:
            colors = _joined([np.asarray(part.colors, np.float32) for part in parts])
            key = np.concatenate([rows, colors], axis=1)  # one place with two colours stays two vertices
        if name == "normals" and facets and len(faces) == len(rows):
            tensors |= {name: torch.from_numpy(rows), index_name: torch.from_numpy(faces)}
            continue
        kept, index = weld(key, faces)
        tensors[name] = torch.from_numpy(_rows(rows, kept) + np.float32(0))
        tensors[index_name] = torch.from_numpy(index)
        if name == "positions" and "colors" in names:
            tensors["colors"] = torch.from_numpy(_rows(colors, kept))
    materials, chosen = _materials(parts, default)
    return Mesh(**tensors, materials=materials, face_materials=chosen)


def _flat(part: Part) -> Part:
    """The part with the normals of its faces where it has none."""
    if part.normals is not None:
        return part
    faces = np.repeat(np.arange(len(part.faces))[:, None], 3, 1)
    return replace(part, normals=flat_normals(part.positions, part.faces), normal_faces=faces)


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _rows(rows: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return rows if len(kept) == len(rows) else rows[kept]


def _shifted(parts: Sequence[Part], name: str, index_name: str) -> list[np.ndarray]:
    result, first = [], 0
    for part in parts:
        index = getattr(part, index_name)
        result.append(index + first if first else index)
        first += len(getattr(part, name))
    return result


def _completed(part: Part, names: Sequence[str], parts: Sequence[Part]) -> Part:
    """The part completed with everything that another part has; a missing index array is `faces`."""
    changed: dict[str, Any] = {}
    for name in {"uvs", "second_uvs"} & set(names):
        if getattr(part, name) is None:
            changed |= {name: np.zeros((1, 2), np.float32), INDEXED[name]: np.zeros_like(part.faces)}
        elif getattr(part, INDEXED[name]) is None:
            changed[INDEXED[name]] = part.faces
    if "normals" in names:
        changed |= _all_normals(part)
    if "colors" in names:
        channels = max(other.colors.shape[1] for other in parts if other.colors is not None)
        colors = np.ones((len(part.positions), channels), np.float32)
        if part.colors is not None:
            colors[:, : part.colors.shape[1]] = part.colors
        changed["colors"] = colors
    return replace(part, **changed)


def _all_normals(part: Part) -> dict[str, Any]:
    """Normals for all corners: smooth ones where the part has none."""
    if part.normals is None:
        return {"normals": _smooth(part), "normal_faces": part.faces}
    index = part.faces if part.normal_faces is None else part.normal_faces
    void = ~(np.einsum("ij,ij->i", part.normals, part.normals) > 0)  # of zero length, or NaN
    if void.any():
        index = np.where(void[index], -1, index)
    if not len(index) or index.min() >= 0:
        return {"normals": part.normals, "normal_faces": index}
    normals = np.concatenate([part.normals, _smooth(part)])
    return {"normals": normals, "normal_faces": np.where(index < 0, part.faces + len(part.normals), index)}


def _smooth(part: Part) -> np.ndarray:
    """Normals [V, 3] that are the same for vertices in one place."""
    kept, faces = weld(part.positions.astype(np.float32), part.faces)
    positions = torch.from_numpy(part.positions[kept].astype(np.float64))
    welded = vertex_normals(positions, torch.from_numpy(faces)).numpy()
    result = np.zeros((len(part.positions), 3))
    result[part.faces.reshape(-1)] = welded[faces.reshape(-1)]
    return result


def _materials(parts: Sequence[Part], default: Callable[[], Material]) -> tuple[tuple[Material, ...], Any]:
    """The materials that faces use, in the order of their first use, and the choice of each face."""
    if all(material is None for part in parts for material in part.materials):
        return (), None
    slots: dict[int, int] = {}
    found: list[Material | None] = []
    chosen = []
    for part in parts:
        index = np.zeros(len(part.faces), np.int64) if part.face_materials is None else part.face_materials
        first = np.full(len(part.materials), len(index))
        first[index[::-1]] = np.arange(len(index))[::-1]  # with several faces, the first one is written last
        used = np.flatnonzero(first < len(index))
        table = np.zeros(len(part.materials), np.int64)
        for number in used[np.argsort(first[used])].tolist():
            material = part.materials[number]
            if id(material) not in slots:
                slots[id(material)] = len(found)
                found.append(material)
            table[number] = slots[id(material)]
        chosen.append(table[index])
    if all(material is None for material in found):
        return (), None
    materials = tuple(default() if material is None else material for material in found)
    return materials, torch.from_numpy(np.concatenate(chosen)) if len(materials) > 1 else None
