"""Mesh files, through trimesh.

Many formats store a vertex once for each of its texture coordinates, which cuts the surface open along texture
seams. Loading welds vertices in identical positions, and keeps texture coordinates in an index buffer of their own.
In trimesh v points upwards for every format (it flips glTF's); in lumigrad v grows with the image row. Reading and
writing therefore both flip v.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from lumigrad._optional import require
from lumigrad.io import _gltf, _obj
from lumigrad.io.image import from_pil
from lumigrad.scene.materials import Material, PBRMaterial
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.meshes import Meshes

if TYPE_CHECKING:
    import trimesh
    from PIL import Image

T = TypeVar("T", Mesh, Material)
READABLE = (".obj", ".gltf", ".glb", ".ply", ".stl", ".off")
WRITABLE = (".obj", ".glb", ".ply", ".stl", ".off")


def load_mesh(path: str | Path, materials: bool = True) -> Mesh:
    """Read a triangle mesh with its materials, texture, vertex colours and normals.

    Args:
        path: OBJ, glTF/GLB, PLY, STL or OFF. Several parts of a scene are joined into one mesh.
        materials: keep materials and the file's normals: glTF's as `PBRMaterial`, those of OBJ as `PhongMaterial`.
            Otherwise parts share one texture (an atlas, if there are several) in the colours of the materials, and
            plain colours of materials become vertex colours.

    Returns:
        Mesh on the CPU, float32 and int64. Polygons are triangulated, vertices in identical positions are
        welded, and vertices without faces are dropped; faces keep the order of the file, part after part. The
        texture of a single material, tinted, is also the mesh's `texture`, for renderers without materials.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the format is unknown, or the file cannot be read or contains no triangle.

    >>> from lumigrad.io import load_mesh, save_mesh
    >>> from lumigrad.scene import icosphere
    >>> save_mesh(icosphere(1), "ball.obj")
    >>> mesh = load_mesh("ball.obj")
    >>> len(mesh.positions), len(mesh.faces), mesh.normals.shape
    (42, 80, torch.Size([42, 3]))
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such mesh: {path}")
    if path.suffix.lower() not in READABLE:
        raise ValueError(f"cannot read {path}: expected one of {', '.join(READABLE)}")
    _require_packages("lumigrad.io.load_mesh")
    try:
        mesh = _load_with_materials(path) if materials else _load_plain(path)
    except Exception as error:  # parsers of third-party formats can raise anything
        raise ValueError(f"cannot read {path} as a mesh: {error}") from error
    if mesh is None:
        raise ValueError(f"cannot read {path} as a mesh: it holds no triangles")
    return mesh


def _require_packages(user: str) -> None:
    for module in ("trimesh", "PIL.Image"):
        require(module, user)


def _load_plain(path: Path) -> Mesh | None:
    import trimesh

    loaded = trimesh.load_scene(path, process=False).to_mesh()
    if not isinstance(loaded, trimesh.Trimesh) or len(loaded.faces) == 0:
        return None
    mesh = _geometry(loaded)
    visual: Any = loaded.visual
    if visual.kind != "texture":
        return _welded(replace(mesh, normals=None, normal_faces=None))
    texture, tint = _appearance(visual.material)
    texture = None if mesh.uvs is None else texture
    colors = tint.expand(len(mesh.positions), 3).double() if texture is None and tint is not None else None
    return _welded(replace(mesh, texture=texture, colors=colors, normals=None, normal_faces=None))


def _load_with_materials(path: Path) -> Mesh | None:
    import trimesh

    scene: trimesh.Scene
    said: list[dict[str, Any]] = []
    if path.suffix.lower() in (".glb", ".gltf"):
        scene, said = _gltf.read(path)
    else:
        scene = trimesh.load_scene(path, process=False)
    names = list(scene.geometry)
    if path.suffix.lower() == ".obj":
        names.reverse()  # trimesh has the last part first
    rank = {name: i for i, name in enumerate(names)}
    nodes = [scene.graph[node] for node in scene.graph.nodes_geometry]
    parts, found = [], []
    for matrix, name in sorted(nodes, key=lambda node: rank[node[1]]):
        loaded = scene.geometry[name]
        if isinstance(loaded, trimesh.Trimesh) and len(loaded.faces):
            part = _geometry(loaded)
            if not np.array_equal(matrix, np.eye(4)):
                part = part.transformed(torch.from_numpy(np.array(matrix, dtype=np.float64)))
            parts.append(part)
            visual: Any = loaded.visual
            found.append(visual.material if _has_material(visual) else None)
    return _assembled(parts, found, said, path.parent) if parts else None


def _assembled(parts: list[Mesh], found: list[Any], said: list[dict[str, Any]], folder: Path) -> Mesh:
    """One mesh of all parts, with the trimesh material, or None, of each."""
    from trimesh.visual.material import PBRMaterial as GltfMaterial

    known: dict[int, Material] = {}
    for material in found:
        if material is not None and id(material) not in known:
            known[id(material)] = (
                _gltf.material_of(material, said)
                if isinstance(material, GltfMaterial)
                else _obj.material_of(material, folder)
            )
    joined = _welded(Meshes.join(parts).packed if len(parts) > 1 else parts[0])
    if not known:
        return joined
    if any(material is None for material in found):
        known[id(None)] = PBRMaterial(metallic=1.0, roughness=1.0)  # glTF's default
    slots = {key: i for i, key in enumerate(known)}
    chosen = [torch.full((len(p.faces),), slots[id(m)]) for p, m in zip(parts, found, strict=True)]
    face_materials = torch.cat(chosen) if len(known) > 1 else None
    mesh = replace(joined, materials=tuple(known.values()), face_materials=face_materials)
    if len(known) == 1 and mesh.uvs is not None:
        mesh = replace(mesh, texture=_appearance(found[0])[0])
    return mesh


def _has_material(visual: Any) -> bool:
    """Whether the material of a trimesh mesh comes from the file."""
    from trimesh.visual.material import PBRMaterial as GltfMaterial

    if visual.kind != "texture":
        return False
    material = visual.material
    if isinstance(material, GltfMaterial):
        return True
    return bool(material.kwargs) or not (material.image is None or _is_placeholder(material.image))


def _geometry(loaded: trimesh.Trimesh) -> Mesh:
    """Float64 positions, texture coordinates, colours and authored normals of trimesh's vertices."""
    faces = torch.from_numpy(np.array(loaded.faces, dtype=np.int64))
    uvs = colors = normals = None
    visual: Any = loaded.visual
    if visual.kind == "texture":
        if visual.uv is not None and len(visual.uv) == len(loaded.vertices):
            uvs = torch.from_numpy(np.asarray(visual.uv, dtype=np.float64)[:, :2] * (1.0, -1.0) + (0.0, 1.0))
        colors = _unit_range(visual.vertex_attributes.get("color"))
    elif visual.kind == "vertex":
        colors = _unit_range(visual.vertex_colors)
    # Right after loading, the cache has the normals of the file, if any. Otherwise trimesh would compute normals, which
    # `Mesh` does better.
    if "vertex_normals" in loaded._cache:
        normals = torch.from_numpy(np.array(loaded.vertex_normals, dtype=np.float64))
    positions = torch.from_numpy(np.array(loaded.vertices, dtype=np.float64))
    if colors is not None and len(colors) != len(positions):
        colors = None
    return Mesh(positions, faces, uvs, colors=colors, normals=normals)


def _unit_range(colors: Any) -> Tensor | None:
    """Colours [V, 3] in [0, 1] of floats or integers of any width."""
    if colors is None:
        return None
    values = np.asarray(colors)
    scale = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1.0
    return torch.from_numpy(values[:, :3].astype(np.float64) / scale)


def _welded(mesh: Mesh) -> Mesh:
    """Float32 mesh in which equal positions, texture coordinates and normals are merged."""
    changed: dict[str, Any] = {}
    for name, index_name in (("positions", "faces"), ("uvs", "uv_faces"), ("normals", "normal_faces")):
        values = getattr(mesh, name)
        if values is None:
            continue
        # + 0.0 turns negative zeros into positive ones; np.unique would distinguish them.
        rows, index, source = _weld(values.numpy() + 0.0, getattr(mesh, index_name).numpy())
        changed |= {name: torch.from_numpy(rows).float(), index_name: torch.from_numpy(index)}
        if name == "positions" and mesh.colors is not None:
            changed["colors"] = mesh.colors[torch.from_numpy(source)].float()
    return replace(mesh, **changed)


def _weld(rows: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unique rows in order of first use, faces that index them, and the source row of each."""
    used = faces.reshape(-1)
    _, first, inverse = np.unique(rows[used], axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    source = used[first[order]]
    return rows[source], rank[inverse.reshape(-1)].reshape(faces.shape), source


def _appearance(material: Any) -> tuple[Tensor | None, Tensor | None]:
    """Base colour image [H, W, 3] and base colour [3] of a trimesh material; None where it has none."""
    from PIL import Image

    picture = getattr(material, "baseColorTexture", None)
    if picture is None:
        picture = getattr(material, "image", None)
    factor = getattr(material, "baseColorFactor", None)
    tint = None
    if factor is not None:
        values = np.asarray(factor)
        scale = 255 if values.dtype.kind in "iu" else 1
        tint = torch.from_numpy(values.astype(np.float32)[:3] / scale)
    elif picture is None and getattr(material, "diffuse", None) is not None:
        tint = torch.from_numpy(np.asarray(material.diffuse, dtype=np.float32)[:3] / 255)
    if not isinstance(picture, Image.Image) or _is_placeholder(picture):
        return None, tint
    texture = from_pil(picture)[..., :3]
    return (texture if tint is None else texture * tint), tint


def _is_placeholder(picture: Image.Image) -> bool:
    """Whether this is the small grey image that trimesh uses where there is no material."""
    from trimesh.visual.material import empty_material

    blank = empty_material().image
    return picture.size == blank.size and picture.convert("RGB").tobytes() == blank.convert("RGB").tobytes()


def save_mesh(mesh: Mesh, path: str | Path) -> None:
    """Write a mesh in the format that the suffix names.

    GLB and OBJ store texture coordinates, normals, vertex colours and materials, with one part per material (OBJ has a
    material library and images beside it). In GLB, Phong materials become metallic-roughness materials, and in OBJ the
    other way round; the texture of a mesh without materials becomes a material. PLY stores texture coordinates or
    vertex colours; STL and OFF store geometry only. Where the mesh has no normals and the format has, smooth normals of
    the surface are written.

    Raises:
        ValueError: an unknown suffix.

    >>> from pathlib import Path
    >>> from lumigrad.io import save_mesh
    >>> from lumigrad.scene import icosphere
    >>> save_mesh(icosphere(1), "ball.glb")
    >>> Path("ball.glb").read_bytes()[:4]
    b'glTF'
    """
    path = Path(path)
    if path.suffix.lower() not in WRITABLE:
        raise ValueError(f"cannot write {path}: expected one of {', '.join(WRITABLE)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh = _detached(replace(mesh, materials=tuple(_detached(m) for m in mesh.materials))).to("cpu")
    normals, normal_faces = mesh.shading_normals()
    mesh = replace(mesh, normals=normals, normal_faces=normal_faces)
    if path.suffix.lower() != ".obj":
        _require_packages("lumigrad.io.save_mesh")
    if path.suffix.lower() not in (".obj", ".glb"):
        _save_without_materials(mesh, path)
        return
    if not mesh.materials and mesh.uvs is not None:
        texture = None if mesh.texture is None else mesh.texture[..., :3].expand(-1, -1, 3)
        unlit = PBRMaterial(base_color_texture=texture, metallic=0.0, roughness=1.0)
        mesh = replace(mesh, materials=(unlit,), face_materials=None)
    if path.suffix.lower() == ".obj":
        _obj.write(mesh, path)
        return
    path.write_bytes(_gltf.write([_part(part) for part in _by_material(mesh)]))


def _detached(thing: T) -> T:
    """The mesh or material with its tensors detached from the autograd graph."""
    values = {field.name: getattr(thing, field.name) for field in fields(thing)}
    changed: dict[str, Any] = {name: value.detach() for name, value in values.items() if isinstance(value, Tensor)}
    return replace(thing, **changed)


def _save_without_materials(mesh: Mesh, path: Path) -> None:
    from trimesh.visual import TextureVisuals

    if path.suffix.lower() == ".ply" and mesh.uvs is not None and mesh.colors is None:
        result, uvs, _ = _part(mesh)  # in PLY, texture coordinates are the properties s and t of vertices
        assert uvs is not None
        result.visual = TextureVisuals(uv=uvs.numpy())
    else:
        result = _to_trimesh(replace(mesh, normals=None, normal_faces=None))
    result.export(path)


def _by_material(mesh: Mesh) -> list[Mesh]:
    """The mesh's parts, one per material; materials without faces are left out."""
    if mesh.face_materials is None:
        return [replace(mesh, materials=mesh.materials[:1])]
    parts = []
    for i, material in enumerate(mesh.materials):
        chosen = mesh.face_materials == i
        if bool(chosen.any()):
            parts.append(replace(mesh.submesh(chosen), materials=(material,), face_materials=None))
    return parts


def _part(mesh: Mesh) -> tuple[trimesh.Trimesh, Tensor | None, Material | None]:
    split = _split(mesh)
    uvs = None
    if split.uvs is not None:
        uvs = split.uvs.double() * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0])
    return _to_trimesh(split), uvs, mesh.materials[0] if mesh.materials else None


def _split(mesh: Mesh) -> Mesh:
    """The mesh with one vertex per combination of position, texture coordinate and normal."""
    columns = [index for index in (mesh.faces, mesh.uv_faces, mesh.normal_faces) if index is not None]
    corners = np.stack([index.numpy().reshape(-1) for index in columns], axis=1)
    unique, index, _ = _weld(corners, np.arange(len(corners)).reshape(-1, 3))
    faces, picks = torch.from_numpy(index), [torch.from_numpy(column) for column in unique.T.astype(np.int64)]
    changed: dict[str, Any] = {"positions": mesh.positions[picks[0]], "faces": faces}
    if mesh.colors is not None:
        changed["colors"] = mesh.colors[picks[0]]
    if mesh.uvs is not None:
        changed |= {"uvs": mesh.uvs[picks[1]], "uv_faces": faces}
    if mesh.normals is not None:
        changed |= {"normals": mesh.normals[picks[-1]], "normal_faces": faces}
    return replace(mesh, **changed)


def _to_trimesh(mesh: Mesh) -> trimesh.Trimesh:
    """Positions, faces, colours, and the normals of vertices."""
    import trimesh

    positions, faces = mesh.positions.double().numpy(), mesh.faces.numpy()
    normals = mesh.vertex_normals() if mesh.normals is None else mesh.normals
    result = trimesh.Trimesh(positions, faces, vertex_normals=normals.double().numpy(), process=False)
    if mesh.colors is not None:
        colors = (mesh.colors.float()[..., :3].expand(-1, 3).clamp(0, 1) * 255 + 0.5).to(torch.uint8)
        result.visual = trimesh.visual.ColorVisuals(result, vertex_colors=colors.numpy())
    return result
