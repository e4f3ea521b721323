"""Mesh files: one function reads them all, one writes them.

Many formats store a vertex once for each of its texture coordinates, which cuts the surface open along texture
seams. Loading welds vertices in identical positions, and keeps texture coordinates in an index buffer of their own.
Texture coordinates have v downwards in glTF and in lumigrad, and upwards in the other formats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from lumigrad._optional import MissingPackageError
from lumigrad.io import off, stl
from lumigrad.io._problems import Notes, UnreadableError
from lumigrad.io.geometry.part import flat_normals
from lumigrad.io.geometry.plain import look_of, plain
from lumigrad.io.geometry.weld import weld
from lumigrad.io.gltf import read as read_gltf
from lumigrad.io.gltf.write import write as write_gltf
from lumigrad.io.image import save_image
from lumigrad.io.obj import read as read_obj
from lumigrad.io.obj.write import write as write_obj
from lumigrad.io.ply import read as read_ply
from lumigrad.io.ply.write import color_columns
from lumigrad.io.ply.write import write as write_ply
from lumigrad.scene.materials import Material, PBRMaterial
from lumigrad.scene.shapes.mesh import INDEXED, Mesh
from lumigrad.types.validation import as_path, instance

T = TypeVar("T", Mesh, Material)
_READERS: dict[str, Callable[[Path, Notes], Mesh | None]] = {
    ".obj": read_obj.read,
    ".gltf": read_gltf.read,
    ".glb": read_gltf.read,
    ".ply": read_ply.read,
    ".stl": stl.read,
    ".off": off.read,
}
READABLE = tuple(_READERS)
WRITABLE = (".obj", ".glb", ".ply", ".stl", ".off")


def load_mesh(path: str | Path, materials: bool = True) -> Mesh:
    """Read a triangle mesh with its materials, texture, vertex colours and normals.

    What the file names and what cannot be found or is not supported (an image, an extension) is left out with a
    `FileWarning` that names the file, the place in it and the thing.

    Args:
        path: OBJ, glTF/GLB, PLY, STL or OFF. Several parts of a scene are joined into one mesh.
        materials: keep materials and the file's normals: glTF's as `PBRMaterial`, those of OBJ as `PhongMaterial`, or
            as `PBRMaterial` where they speak of roughness or metal. Otherwise the base colours of the materials become
            one texture (an atlas, if there are several), or vertex colours.

    Returns:
        Mesh on the CPU, float32 and int64. Polygons are triangulated, vertices in identical positions (and of the same
        colour) are welded, and vertices without faces are dropped; faces and vertices keep the order of the file, part
        after part. The texture of a single material, tinted, is also the mesh's `texture`, for renderers without
        materials.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the format is unknown, or the file cannot be read or contains no triangle; the message says why.
        MissingPackageError: a package that the file needs is not installed: Pillow for images, mapbox_earcut for
            concave polygons, DracoPy for Draco.

    >>> from lumigrad.io import load_mesh, save_mesh
    >>> from lumigrad.scene import icosphere
    >>> save_mesh(icosphere(1), "ball.obj")
    >>> mesh = load_mesh("ball.obj")
    >>> len(mesh.positions), len(mesh.faces), mesh.normals.shape
    (42, 80, torch.Size([42, 3]))
    """
    path = as_path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"no such mesh: {path}")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"cannot read {path}: expected one of {', '.join(READABLE)}")
    mesh = read_file(path, reader, materials)
    if mesh is None:
        raise ValueError(f"cannot read {path} as a mesh: it holds no triangles")
    return mesh


def read_file(path: Path, reader: Callable[[Path, Notes], Mesh | None], materials: bool) -> Mesh | None:
    """Read a file with a reader; issues its warnings, and adds the file's name to its errors."""
    notes = Notes(path)
    try:
        mesh = reader(path, notes)
        if mesh is not None:
            mesh = _with_texture(mesh) if materials else plain(mesh, notes)
    except MissingPackageError:
        raise
    except UnreadableError as error:
        raise ValueError(f"cannot read {path} as a mesh: {error}") from error
    except MemoryError as error:
        raise ValueError(f"cannot read {path} as a mesh: there is not enough memory for it") from error
    except OSError as error:
        raise ValueError(f"cannot read {path} as a mesh: {error}") from error
    except Exception as error:  # a damaged file can cause any error
        raise ValueError(f"cannot read {path} as a mesh: it is damaged ({type(error).__name__}: {error})") from error
    finally:
        notes.warn(stacklevel=3)
    return mesh


def _with_texture(mesh: Mesh) -> Mesh:
    """The mesh with the colours of its only material as its texture."""
    if len(mesh.materials) != 1 or mesh.uvs is None:
        return mesh
    image = look_of(mesh.materials[0]).image
    return mesh if image is None else replace(mesh, texture=image[..., :3].contiguous())


def save_mesh(mesh: Mesh, path: str | Path) -> None:
    """Write a mesh in the format that the suffix names.

    GLB and OBJ store texture coordinates, normals, vertex colours and materials, with one part per material (OBJ has a
    material library and images beside it). In GLB, Phong materials become metallic-roughness materials, and in OBJ the
    other way round; the texture of a mesh without materials becomes a material. PLY stores texture coordinates, the
    texture (an image beside it) and vertex colours, but no materials; OFF stores vertex colours, STL geometry only.
    Where the mesh has no normals and the format has, smooth normals of the surface are written.

    Raises:
        ValueError: an unknown suffix, or a batch of meshes.

    >>> from pathlib import Path
    >>> from lumigrad.io import save_mesh
    >>> from lumigrad.scene import icosphere
    >>> save_mesh(icosphere(1), "ball.glb")
    >>> Path("ball.glb").read_bytes()[:4]
    b'glTF'
    """
    path = as_path("path", path)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise ValueError(f"cannot write {path}: expected one of {', '.join(WRITABLE)}")
    instance("mesh", mesh, Mesh)
    if mesh.shape:
        raise ValueError(f"mesh: expected a single one, got a batch of {mesh.shape[0]}; write each of mesh.unbind()")
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh = _detached(replace(mesh, materials=tuple(_detached(m) for m in mesh.materials))).to("cpu")
    if suffix in (".obj", ".glb"):
        _save_with_materials(mesh, path)
    elif suffix == ".ply":
        _save_ply(mesh, path)
    elif suffix == ".off":
        colors = None if mesh.colors is None else _three_or_four(mesh.colors).numpy()
        off.write(mesh.positions.numpy(), mesh.faces.numpy(), colors, path)
    else:
        positions, faces = mesh.positions.numpy(), mesh.faces.numpy()
        stl.write(positions, faces, flat_normals(positions, faces), path)


def _save_with_materials(mesh: Mesh, path: Path) -> None:
    normals, normal_faces = mesh.shading_normals()
    mesh = replace(mesh, normals=normals, normal_faces=normal_faces)
    if not mesh.materials and mesh.uvs is not None:
        texture = None if mesh.texture is None else mesh.texture[..., :3].expand(-1, -1, 3)
        shown = PBRMaterial(base_color_texture=texture, metallic=0.0, roughness=1.0)
        mesh = replace(mesh, materials=(shown,), face_materials=None)
    if path.suffix.lower() == ".obj":
        write_obj(mesh, path)
    else:
        path.write_bytes(write_gltf([_split(part) for part in _by_material(mesh)]))


def _save_ply(mesh: Mesh, path: Path) -> None:
    comments = []
    if mesh.uvs is not None:
        mesh = _split(replace(mesh, normals=None, normal_faces=None, second_uvs=None, second_uv_faces=None))
    columns = {name: mesh.positions[:, i].float().numpy() for i, name in enumerate("xyz")}
    if mesh.uvs is not None:
        columns |= {"s": mesh.uvs[:, 0].float().numpy(), "t": (1 - mesh.uvs[:, 1]).float().numpy()}
        if mesh.texture is not None:
            image = path.with_suffix(".png")
            save_image(_three_or_four(mesh.texture)[..., :3], image)
            comments = [f"TextureFile {image.name}"]
    if mesh.colors is not None:
        columns |= color_columns(mesh.colors.numpy())
    write_ply(path, columns, mesh.faces.numpy(), comments)


def _three_or_four(values: Tensor) -> Tensor:
    """Colours with one channel become grey ones with three; others are unchanged."""
    return values.expand(*values.shape[:-1], 3) if values.shape[-1] == 1 else values[..., :4]


def _detached(thing: T) -> T:
    """The mesh or material with its tensors detached from the autograd graph."""
    values = {field.name: getattr(thing, field.name) for field in fields(thing)}
    changed: dict[str, Any] = {name: value.detach() for name, value in values.items() if isinstance(value, Tensor)}
    return replace(thing, **changed)


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


def _split(mesh: Mesh) -> Mesh:
    """The mesh with one vertex per combination of position, texture coordinates and normal."""
    names = [name for name in INDEXED if getattr(mesh, name) is not None]
    corners = np.stack([getattr(mesh, INDEXED[name]).numpy().reshape(-1) for name in names], axis=1)
    kept, index = weld(corners, np.arange(len(corners)).reshape(-1, 3))
    faces, picks = torch.from_numpy(index), [torch.from_numpy(column) for column in corners[kept].T.astype(np.int64)]
    changed: dict[str, Any] = {}
    for name, chosen in zip(names, picks):
        changed |= {name: getattr(mesh, name)[chosen], INDEXED[name]: faces}
    if mesh.colors is not None:
        changed["colors"] = mesh.colors[picks[0]]
    return replace(mesh, **changed)
