"""Mesh files, through trimesh.

Files whose vertices carry texture coordinates store a vertex once per coordinate, which cuts the surface open
along texture seams. Loading welds vertices at identical positions again and keeps texture coordinates in an
index buffer of their own. Inside trimesh v points upwards for every format (it flips glTF's), here it grows
with the image row, so both directions flip.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from PIL import Image
from torch import Tensor

from lumigrad.io.image import from_pil, to_pil
from lumigrad.scene.mesh import Mesh

READABLE = (".obj", ".gltf", ".glb", ".ply", ".stl", ".off")
WRITABLE = (".obj", ".glb", ".ply", ".stl", ".off")


def load_mesh(path: str | Path) -> Mesh:
    """Read a triangle mesh with its texture or vertex colours.

    Args:
        path: OBJ, glTF/GLB, PLY, STL or OFF. Several parts of a scene are joined into one mesh.

    Returns:
        Mesh on the CPU, float32 and int64. Polygons are triangulated, vertices at identical positions are
        welded, vertices without faces are dropped; the order of faces is the file's.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the format is unknown, or the file cannot be read or holds no triangle.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such mesh: {path}")
    if path.suffix.lower() not in READABLE:
        raise ValueError(f"cannot read {path}: expected one of {', '.join(READABLE)}")
    try:
        loaded = trimesh.load_scene(path, process=False).to_mesh()
    except Exception as error:  # parsers of third-party formats fail in every way there is
        raise ValueError(f"cannot read {path} as a mesh: {error}") from error
    if not isinstance(loaded, trimesh.Trimesh) or len(loaded.faces) == 0:
        raise ValueError(f"cannot read {path} as a mesh: it holds no triangles")
    return _from_trimesh(loaded)


def _weld(rows: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unique rows in order of first use, faces that index them, and the source row of each."""
    used = faces.reshape(-1)
    _, first, inverse = np.unique(rows[used], axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    source = used[first[order]]
    return rows[source], rank[inverse.reshape(-1)].reshape(faces.shape), source


def _from_trimesh(loaded: trimesh.Trimesh) -> Mesh:
    faces = np.asarray(loaded.faces, dtype=np.int64)
    # + 0.0 turns negative zeros into zeros, which np.unique would tell apart.
    positions, welded, source = _weld(np.asarray(loaded.vertices, dtype=np.float64) + 0.0, faces)
    uvs = uv_faces = texture = colors = None
    visual: Any = loaded.visual
    if visual.kind == "texture":
        texture, tint = _material(visual.material)
        if visual.uv is not None and len(visual.uv) == len(loaded.vertices):
            flipped = np.asarray(visual.uv, dtype=np.float64)[:, :2] * (1.0, -1.0) + (0.0, 1.0)
            rows, index, _ = _weld(flipped, faces)
            uvs, uv_faces = torch.from_numpy(rows).float(), torch.from_numpy(index)
        if uvs is None:
            texture = None
        if texture is None and tint is not None:
            colors = tint.expand(len(positions), 3).clone()
    elif visual.kind == "vertex":
        rgba = np.asarray(visual.vertex_colors, dtype=np.float32)[source, :3] / 255
        colors = torch.from_numpy(rgba.copy())
    return Mesh(torch.from_numpy(positions).float(), torch.from_numpy(welded), uvs, uv_faces, texture, colors)


def _material(material: Any) -> tuple[Tensor | None, Tensor | None]:
    """Base colour image [H, W, 3] and base colour [3] of a trimesh material; None where it has none."""
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
    """Whether this is the small grey image that trimesh invents where there is no material."""
    blank = trimesh.visual.material.empty_material().image
    return picture.size == blank.size and picture.convert("RGB").tobytes() == blank.convert("RGB").tobytes()


def save_mesh(mesh: Mesh, path: str | Path) -> None:
    """Write a mesh in the format that the suffix names.

    GLB and OBJ hold texture coordinates and texture (OBJ in a material file and an image beside it); PLY
    holds vertex colours; STL and OFF the geometry alone. Smooth normals of the welded surface are written
    where the format has them.

    Raises:
        ValueError: an unknown suffix.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITABLE:
        raise ValueError(f"cannot write {path}: expected one of {', '.join(WRITABLE)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    _to_trimesh(mesh).export(path)


def _to_trimesh(mesh: Mesh) -> trimesh.Trimesh:
    positions = mesh.positions.detach().double().cpu().numpy()
    normals = mesh.vertex_normals().detach().double().cpu().numpy()
    faces = mesh.faces.cpu().numpy()
    if mesh.uvs is None or mesh.uv_faces is None:
        result = trimesh.Trimesh(positions, faces, vertex_normals=normals, process=False)
        if mesh.colors is not None:
            colors = (mesh.colors.detach().float().cpu().clamp(0, 1) * 255 + 0.5).to(torch.uint8)
            result.visual = trimesh.visual.ColorVisuals(result, vertex_colors=colors.numpy())
        return result
    pairs = np.stack([faces.reshape(-1), mesh.uv_faces.cpu().numpy().reshape(-1)], axis=1)
    unique, index, _ = _weld(pairs, np.arange(len(pairs)).reshape(-1, 3))
    uvs = mesh.uvs.detach().double().cpu().numpy()[unique[:, 1]] * (1.0, -1.0) + (0.0, 1.0)
    result = trimesh.Trimesh(
        positions[unique[:, 0]], index, vertex_normals=normals[unique[:, 0]], process=False
    )
    picture = None if mesh.texture is None else to_pil(mesh.texture[..., :3])
    material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=picture, metallicFactor=0.0, roughnessFactor=1.0
    )
    result.visual = trimesh.visual.TextureVisuals(uv=uvs, material=material)
    return result
