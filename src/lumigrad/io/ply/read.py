"""PLY files as meshes: polygons or triangle strips, colours of vertices or faces, texture coordinates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lumigrad.io._named_files import find
from lumigrad.io._problems import Notes, UnreadableError
from lumigrad.io.geometry.colors import unit_range
from lumigrad.io.geometry.palette import painted
from lumigrad.io.geometry.part import Part, assembled, unit
from lumigrad.io.geometry.polygons import NO_TRIANGLES, Triangles, strips, triangulate
from lumigrad.io.image import load_image
from lumigrad.io.obj.materials import default_material
from lumigrad.io.ply.elements import Element, Lists, Ply, read_ply
from lumigrad.scene.materials import Material, PhongMaterial
from lumigrad.scene.shapes.mesh import Mesh

_INDICES = ("vertex_indices", "vertex_index", "vertex_indexes", "indices")
_COLORS = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))
_UVS = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"))
_ALPHAS = ("alpha", "a", "diffuse_alpha")


def read(path: Path, notes: Notes) -> Mesh | None:
    """The mesh of a file; None where it has no faces."""
    ply = read_ply(path)
    vertex, face = ply.elements.get("vertex"), ply.elements.get("face")
    if vertex is None or vertex.column("x") is None:
        raise UnreadableError("it has no vertices with x, y and z")
    if {"f_dc_0", "opacity"} <= vertex.columns.keys() or "packed_position" in vertex.columns:
        raise UnreadableError(f"it holds {vertex.count} Gaussians; read it with lumigrad.io.load_gaussians")
    positions = _stack(vertex, ("x", "y", "z"))
    if positions is None:
        raise UnreadableError("its vertices have no y or no z")
    positions = positions.astype(np.float32, copy=False)
    corners, triangles = _faces(ply, face, positions)
    if not len(triangles.owner):
        if vertex.count and not any(
            name in ply.elements and ply.elements[name].count for name in ("face", "tristrips")
        ):
            raise UnreadableError(f"it holds {vertex.count} points and no faces; read it with lumigrad.io.load_points")
        return None
    part = Part(positions, triangles.of(corners), colors=_colors(vertex))
    normals = _stack(vertex, ("nx", "ny", "nz"))
    part.normals = None if normals is None else unit(normals.astype(np.float32))
    _add_uvs(part, vertex, face, triangles, notes)
    textures = _textures(ply, path, notes) if part.uvs is not None else []
    number = None if face is None else face.column("texnumber")
    if len(textures) > 1 and number is not None:
        part.face_materials = np.clip(number[triangles.owner].astype(np.int64), 0, len(textures) - 1)
        part.materials = [_shown(texture) for texture in textures]
    mesh = assembled([part], default_material)
    if textures and not mesh.materials:
        mesh = replace(mesh, texture=textures[0])
    colors = None if face is None else _colors(face)
    if colors is None:
        return mesh
    if textures or part.colors is not None:
        beside = "a texture" if textures else "colours of vertices"
        notes.add(f"its colours of faces are left out beside {beside}")
        return mesh
    return painted(mesh, colors[triangles.owner])


def _faces(ply: Ply, face: Element | None, positions: np.ndarray) -> tuple[np.ndarray, Triangles]:
    """All corners [C], and triangles of them."""
    strip = ply.elements.get("tristrips")
    if face is not None and face.count:
        polygons = face.lists(*_INDICES) or _first_list(face)
        if polygons is None:
            return np.zeros(0, np.int64), NO_TRIANGLES
        _check(polygons.values, len(positions), 0)
        corners = polygons.values.astype(np.int64)
        return corners, triangulate(positions, polygons.counts, corners)
    lists = None if strip is None else strip.lists(*_INDICES)
    if lists is None:
        return np.zeros(0, np.int64), NO_TRIANGLES
    corners = lists.values.astype(np.int64)
    _check(corners, len(positions), -1)
    return corners, strips(lists.counts, corners)


def _first_list(face: Element) -> Lists | None:
    found = [c for name, c in face.columns.items() if isinstance(c, Lists) and "tex" not in name]
    return found[0] if found else None


def _check(corners: np.ndarray, count: int, lowest: int) -> None:
    if len(corners) and (int(corners.min()) < lowest or int(corners.max()) >= count):
        raise UnreadableError(f"its faces refer to vertices {int(corners.min())} to {int(corners.max())} of {count}")


def _stack(element: Element, names: tuple[str, ...]) -> np.ndarray | None:
    columns = [element.column(name) for name in names]
    if any(column is None for column in columns):
        return None
    return np.stack(columns, -1)  # type: ignore[arg-type]


def _colors(element: Element) -> np.ndarray | None:
    for names in _COLORS:
        colors = _stack(element, names)
        if colors is not None:
            alpha = element.column(*_ALPHAS)
            colors = unit_range(colors)
            if alpha is not None:
                alpha = unit_range(alpha)
                if bool((alpha != 1).any()):
                    colors = np.concatenate([colors, alpha[:, None]], 1)
            return colors
    return None


def _add_uvs(part: Part, vertex: Element, face: Element | None, triangles: Triangles, notes: Notes) -> None:
    """Texture coordinates of vertices, or of corners (texcoord, as MeshLab writes them)."""
    wedge = None if face is None else face.lists("texcoord")
    if wedge is not None and face is not None and bool((wedge.counts > 0).any()):
        polygons = face.lists(*_INDICES) or _first_list(face)
        if polygons is not None and bool((wedge.counts == 2 * polygons.counts).all()):
            corner = triangles.of(np.arange(len(polygons.values)))
            part.uvs, part.uv_faces = _flipped(wedge.values.reshape(-1, 2)), corner
            return
        notes.add("its texcoord is left out: it has not two numbers for each corner")
    for names in _UVS:
        uvs = _stack(vertex, names)
        if uvs is not None:
            part.uvs = _flipped(uvs)
            return


def _flipped(uvs: np.ndarray) -> np.ndarray:
    """Convert v upwards to v downwards."""
    return np.stack([uvs[:, 0], 1 - uvs[:, 1]], -1).astype(np.float32)


def _textures(ply: Ply, path: Path, notes: Notes) -> list[Tensor]:
    """The images that comments name with TextureFile."""
    found = []
    for comment in ply.comments:
        key, _, name = comment.partition(" ")
        if key.lower() != "texturefile":
            continue
        file = find(name, path.parent)
        try:
            if file is None:
                raise ValueError("there is no such file")
            found.append(load_image(file, orient=False)[..., :3].contiguous())
        except (OSError, ValueError) as error:
            notes.add(f"TextureFile {name}: {error}")
    return found


def _shown(texture: Tensor) -> Material:
    """A material that shows an image and has no highlights."""
    return PhongMaterial(specular=torch.zeros(3), shininess=1.0, diffuse_texture=texture)
