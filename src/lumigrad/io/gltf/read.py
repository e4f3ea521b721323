"""The geometry of a glTF scene: every primitive of every node, in world space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lumigrad.io._problems import Notes, UnreadableError
from lumigrad.io.geometry.part import LARGEST, Part, assembled
from lumigrad.io.geometry.wrapping import unwrapped
from lumigrad.io.gltf.document import Document
from lumigrad.io.gltf.materials import SUPPORTED as MATERIAL_EXTENSIONS
from lumigrad.io.gltf.materials import Materials
from lumigrad.io.gltf.nodes import INSTANCING, instances, joint_matrices, world_matrices
from lumigrad.io.gltf.primitives import DRACO, read_primitive
from lumigrad.scene.materials import PBRMaterial
from lumigrad.scene.shapes.mesh import Mesh

_SUPPORTED = {
    "KHR_mesh_quantization", "KHR_lights_punctual", "KHR_materials_variants", INSTANCING, DRACO, *MATERIAL_EXTENSIONS,
    "EXT_meshopt_compression", "KHR_meshopt_compression",
}  # fmt: skip
_WRONG_KINDS = (AttributeError, TypeError, KeyError, IndexError)


def read(path: Path, notes: Notes) -> Mesh | None:
    """The mesh of a file; None where it has no triangles."""
    document = Document(path, notes)
    check_extensions(document)
    try:
        mesh = read_mesh(document)
    except _WRONG_KINDS as error:
        raise UnreadableError(f"its JSON has a value of another kind than expected ({error})") from error
    if mesh is None:
        meshes = document.json.get("meshes", [])
        kinds = {primitive.get("mode", 4) for entry in meshes for primitive in entry.get("primitives", [])}
        if kinds and max(kinds) < 4:
            raise UnreadableError("it holds points or lines, and no triangles")
    return mesh


def check_extensions(document: Document) -> None:
    """Raise an error for a file that requires an unsupported extension."""
    missing = [name for name in document.json.get("extensionsRequired", []) if name not in _SUPPORTED]
    if missing:
        raise UnreadableError(f"it requires the glTF extension {', '.join(missing)}, which is not supported")


def read_mesh(document: Document) -> Mesh | None:
    """All triangles of the scene as one mesh."""
    materials = Materials(document)
    parts, total = [], 0
    for part in _parts(document, materials):
        total += len(part.faces)
        if total > LARGEST:
            raise UnreadableError(f"the instances of its meshes have more than {LARGEST} faces")
        parts.append(part)
    if not total:
        return None
    # glTF's defaults: fully rough metal, visible only from the front, and flat if there are no normals.
    mesh = assembled(parts, lambda: PBRMaterial(metallic=1.0, roughness=1.0, double_sided=False), flat=True)
    first, second = (materials.wraps(mesh.materials, which) for which in (False, True))
    return unwrapped(unwrapped(mesh, first), second, second=True)


def _parts(document: Document, materials: Materials) -> Any:
    placed_nodes = world_matrices(document)
    world = dict(reversed(placed_nodes))
    nodes = document.json.get("nodes", [])
    if document.json.get("extensions", {}).get("KHR_materials_variants"):
        document.notes.add("it has variants of its materials (KHR_materials_variants), of which the default is read")
    for number, matrix in placed_nodes:
        node = nodes[number]
        if "mesh" not in node:
            continue
        where = f"nodes[{number}]"
        joints = joint_matrices(document, node["skin"], world, where) if "skin" in node else None
        local = read_node_mesh(document, materials, node, where, joints)
        for placed in instances(document, node, where):
            for part in local:
                whole = matrix @ placed
                # The joints of a skin place it in the world; its own node has no effect.
                moved = part if joints is not None or np.array_equal(whole, np.eye(4)) else part.transformed(whole)
                yield moved
    if not nodes:
        for index in range(len(document.json.get("meshes", []))):
            yield from read_node_mesh(document, materials, {"mesh": index}, f"meshes[{index}]", None)


def read_node_mesh(
    document: Document, materials: Materials, node: dict[str, Any], where: str, joints: np.ndarray | None
) -> list[Part]:
    """The parts of a node's mesh, in the node's own space."""
    index = node["mesh"]
    mesh = document.entry("meshes", index, where)
    weights = node.get("weights", mesh.get("weights", []))
    found = []
    for number, primitive in enumerate(mesh.get("primitives", [])):
        place = f"meshes[{index}].primitives[{number}]"
        part = read_primitive(document, materials, primitive, place, weights, joints)
        if part is not None:
            found.append(part)
    return found
