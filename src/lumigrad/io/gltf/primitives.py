"""Primitives of glTF meshes as triangles: all modes, morph targets, skins, compressed ones.

Source: Khronos, glTF 2.0 specification, section 3.7.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lumigrad.io._problems import UnreadableError
from lumigrad.io.geometry.colors import encode
from lumigrad.io.geometry.part import Part, unit
from lumigrad.io.geometry.polygons import strips
from lumigrad.io.gltf.compression import draco_arrays
from lumigrad.io.gltf.document import Document, normalized
from lumigrad.io.gltf.materials import Coordinates, Materials

_POINTS, _TRIANGLES, _STRIP, _FAN = 0, 4, 5, 6
DRACO = "KHR_draco_mesh_compression"


def read_primitive(
    document: Document,
    materials: Materials,
    primitive: dict[str, Any],
    where: str,
    weights: list[float],
    joints: np.ndarray | None,
) -> Part | None:
    """The triangles of a primitive; None where it has none.

    Args:
        document, materials: of the file.
        primitive: its JSON.
        where: its place in the JSON, for messages.
        weights: of the morph targets.
        joints: matrices [J, 4, 4] of the skin, which place it in the world, or None.
    """
    mode = primitive.get("mode", _TRIANGLES)
    if mode not in (_TRIANGLES, _STRIP, _FAN):
        kind = "points" if mode == _POINTS else "lines"
        document.notes.add(f"its {kind} are left out", where)
        return None
    faces, attributes = _arrays(document, primitive, where)
    if "POSITION" not in attributes:
        document.notes.add("it is left out: it has no POSITION", where)
        return None
    count = len(attributes["POSITION"])
    faces = _triangles(faces, mode)
    if faces.size and int(faces.max()) >= count:
        raise UnreadableError(f"{where} has indices up to {int(faces.max())} into {count} vertices")
    _morph(document, primitive, attributes, weights, where)
    if joints is not None:
        _pose(attributes, joints, where)
    material, (first, second) = materials.get(primitive.get("material"), where)
    return Part(
        _floats(attributes["POSITION"], 3, where),
        faces.astype(np.int64),
        uvs=_uvs(document, attributes, first, where),
        second_uvs=None if second is None else _uvs(document, attributes, second, where),
        normals=None if "NORMAL" not in attributes else unit(_floats(attributes["NORMAL"], 3, where)),
        colors=None if "COLOR_0" not in attributes else _colors(attributes["COLOR_0"]),
        materials=[material],
    )


def _arrays(document: Document, primitive: dict[str, Any], where: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Indices, and the attributes by name."""
    said = primitive.get("attributes", {})
    draco = primitive.get("extensions", {}).get(DRACO)
    if draco is not None:
        data = bytes(document.view(draco.get("bufferView"), where))
        faces, attributes = draco_arrays(data, draco.get("attributes", {}), where)
        for name, array in attributes.items():
            entry = document.entry("accessors", said.get(name), where) if name in said else {}
            attributes[name] = normalized(array) if entry.get("normalized") else array
        for name in said.keys() - attributes.keys():
            attributes[name] = document.accessor(said[name], where)
        return faces.reshape(-1), attributes
    attributes = {name: document.accessor(index, where) for name, index in said.items() if not name.startswith("_")}
    lengths = {len(array) for array in attributes.values()}
    if len(lengths) > 1:
        raise UnreadableError(f"{where} has attributes of different lengths: {sorted(lengths)}")
    if "indices" in primitive:
        return document.accessor(primitive["indices"], where)[:, 0], attributes
    return np.arange(max(lengths, default=0)), attributes


def _triangles(indices: np.ndarray, mode: int) -> np.ndarray:
    """Faces [F, 3] of a list of indices."""
    if mode == _TRIANGLES:
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    if len(indices) < 3:
        return np.zeros((0, 3), np.int64)
    if mode == _STRIP:
        return strips(np.array([len(indices)]), indices.astype(np.int64)).of(indices)
    return np.stack([np.broadcast_to(indices[0], len(indices) - 2), indices[1:-1], indices[2:]], -1)


def _morph(
    document: Document, primitive: dict[str, Any], attributes: dict[str, np.ndarray], weights: list[float], where: str
) -> None:
    """Add the weighted morph targets to the attributes."""
    for target, weight in zip(primitive.get("targets", []), weights):
        for name, index in target.items():
            if weight and name in attributes:
                base, delta = attributes[name], document.accessor(index, where)
                if len(delta) != len(base):
                    raise UnreadableError(f"{where} has a morph target of {len(delta)} vertices for {len(base)}")
                columns = min(delta.shape[1], base.shape[1])
                base = base.astype(np.float64)
                base[:, :columns] += float(weight) * delta[:, :columns]
                attributes[name] = base


def _pose(attributes: dict[str, np.ndarray], joints: np.ndarray, where: str) -> None:
    """Place vertices and normals by the weighted matrices of their joints."""
    positions = _floats(attributes["POSITION"], 3, where).astype(np.float64)
    matrices, total = np.zeros((len(positions), 4, 4)), np.zeros(len(positions))
    number = 0
    while f"JOINTS_{number}" in attributes and f"WEIGHTS_{number}" in attributes:
        bones, shares = attributes[f"JOINTS_{number}"].astype(np.int64), attributes[f"WEIGHTS_{number}"]
        shares = normalized(shares).astype(np.float64)
        if bones.size and int(bones.max()) >= len(joints):
            raise UnreadableError(f"{where} has joint {int(bones.max())} of a skin of {len(joints)}")
        for i in range(bones.shape[1]):
            matrices += shares[:, i, None, None] * joints[bones[:, i]]
            total += shares[:, i]
        number += 1
    if not number:
        return
    matrices[total == 0] = np.eye(4)
    total = np.where(total == 0, 1, total)
    attributes["POSITION"] = (np.einsum("vij,vj->vi", matrices[:, :3, :3], positions) + matrices[:, :3, 3]) / total[
        :, None
    ]
    if "NORMAL" in attributes:
        a, b, c = matrices[:, 0, :3], matrices[:, 1, :3], matrices[:, 2, :3]
        cofactors = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], 1)
        sign = np.sign(np.einsum("vi,vi->v", a, np.cross(b, c)))[:, None]
        normals = _floats(attributes["NORMAL"], 3, where).astype(np.float64)
        attributes["NORMAL"] = sign * np.einsum("vij,vj->vi", cofactors, normals)


def _uvs(document: Document, attributes: dict[str, np.ndarray], wanted: Coordinates, where: str) -> np.ndarray | None:
    """The texture coordinates that a material wants; None, with a note where there are others, if they are missing."""
    uvs = attributes.get(f"TEXCOORD_{wanted.set}")
    if uvs is None:
        if "TEXCOORD_0" in attributes:
            document.notes.add(f"it has no TEXCOORD_{wanted.set}, which its material wants", where)
        return None
    return wanted.applied(_floats(uvs, 2, where))


def _floats(array: np.ndarray, columns: int, where: str) -> np.ndarray:
    """Floating values [V, columns]; integers stand for themselves (KHR_mesh_quantization)."""
    if array.shape[1] < columns:
        raise UnreadableError(f"{where} has an attribute of {array.shape[1]} components where {columns} are expected")
    values = array[:, :columns]
    return values if values.dtype.kind == "f" else values.astype(np.float32)


def _colors(array: np.ndarray) -> np.ndarray:
    """Display-encoded colours of linear ones; alpha stays."""
    values = normalized(array).astype(np.float64)
    colors = np.concatenate([encode(values[:, :3]), values[:, 3:4]], 1).astype(np.float32)
    opaque = colors.shape[1] == 4 and bool((colors[:, 3] == 1).all())
    return np.ascontiguousarray(colors[:, :3]) if opaque else colors
