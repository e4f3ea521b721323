"""The nodes of a glTF scene and their world matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from lumigrad.io._problems import UnreadableError
from lumigrad.io.gltf.document import Document

INSTANCING = "EXT_mesh_gpu_instancing"
_MOST_NODES = 10_000_000


def world_matrices(document: Document) -> list[tuple[int, np.ndarray]]:
    """The nodes of the scene by number, each with its matrix [4, 4], in the order of the file's tree.

    A node that several others have as a child, which the format forbids and files have, is there several times.
    """
    nodes = document.json.get("nodes", [])
    found: list[tuple[int, np.ndarray]] = []
    pending = [(root, np.eye(4), 1) for root in reversed(_roots(document, nodes))]
    while pending:
        number, parent, depth = pending.pop()
        node = document.entry("nodes", number, "the scene")
        if depth > len(nodes):
            raise UnreadableError(f"nodes[{number}] is among its own children")
        matrix = parent @ local_matrix(node, f"nodes[{number}]")
        found.append((number, matrix))
        if len(found) > _MOST_NODES:
            raise UnreadableError(f"its scene has more than {_MOST_NODES} nodes")
        pending += [(child, matrix, depth + 1) for child in reversed(node.get("children", []))]
    return found


def _roots(document: Document, nodes: list[dict[str, Any]]) -> list[int]:
    """Nodes of the default scene; if there are no scenes, the nodes that are not children."""
    scenes = document.json.get("scenes", [])
    if scenes:
        return list(document.entry("scenes", document.json.get("scene", 0), "the file").get("nodes", []))
    children = {child for node in nodes for child in node.get("children", [])}
    return [number for number in range(len(nodes)) if number not in children]


def local_matrix(node: dict[str, Any], where: str) -> np.ndarray:
    """A node's own matrix."""
    if "matrix" in node:
        matrix = np.array(node["matrix"], dtype=np.float64)
        if matrix.shape != (16,):
            raise UnreadableError(f"{where} has a matrix of {matrix.size} numbers; expected 16")
        return matrix.reshape(4, 4).T
    parts = [np.array(node.get(name, default), dtype=np.float64) for name, default in _DEFAULTS.items()]
    if [part.size for part in parts] != [3, 4, 3]:
        raise UnreadableError(f"{where} has a translation, rotation or scale of another length than 3, 4 and 3")
    return placements(*(part[None] for part in parts))[0]


_DEFAULTS = {"translation": (0, 0, 0), "rotation": (0, 0, 0, 1), "scale": (1, 1, 1)}


def placements(translation: np.ndarray, rotation: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Matrices [N, 4, 4] of translations [N, 3], quaternions (x, y, z, w) [N, 4] and scales [N, 3]."""
    length = np.linalg.norm(rotation, axis=1, keepdims=True)
    x, y, z, w = (rotation / np.where(length > 0, length, 1)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrices = np.tile(np.eye(4), (len(translation), 1, 1))
    matrices[:, :3, :3] = np.moveaxis(np.array(rows), -1, 0) * scale[:, None]
    matrices[:, :3, 3] = translation
    return matrices


def instances(document: Document, node: dict[str, Any], where: str) -> np.ndarray:
    """Matrices [N, 4, 4] of a node's instances (EXT_mesh_gpu_instancing); the identity where it has none."""
    said = node.get("extensions", {}).get(INSTANCING, {}).get("attributes")
    if not said:
        return np.eye(4)[None]
    arrays = {name: document.accessor(index, where).astype(np.float64) for name, index in said.items()}
    counts = {len(array) for array in arrays.values()}
    if len(counts) != 1:
        raise UnreadableError(f"{where} has instances of different numbers: {sorted(counts)}")
    columns = []
    for name, default in _DEFAULTS.items():
        columns.append(arrays.get(name.upper(), np.tile(np.array(default, np.float64), (counts.copy().pop(), 1))))
    return placements(*columns)


def joint_matrices(document: Document, skin: Any, world: dict[int, np.ndarray], where: str) -> np.ndarray:
    """Matrices [J, 4, 4] that place the vertices of a skin as its joints stand in the file."""
    entry = document.entry("skins", skin, where)
    joints = entry.get("joints", [])
    outside = [joint for joint in joints if joint not in world]
    if outside:
        raise UnreadableError(f"skins[{skin}] has the joint nodes[{outside[0]}], which is not in the scene")
    matrices = np.stack([world[joint] for joint in joints]) if joints else np.zeros((0, 4, 4))
    if "inverseBindMatrices" not in entry:
        return matrices
    inverse = document.accessor(entry["inverseBindMatrices"], f"skins[{skin}]").astype(np.float64)
    if len(inverse) < len(joints) or inverse.shape[1] != 16:
        raise UnreadableError(f"skins[{skin}] has {len(inverse)} inverse bind matrices for {len(joints)} joints")
    return matrices @ inverse[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1)
