"""PLY files."""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.io._ply_parser import is_constant, is_list, load_ply_raw
from lumigrad.compat.pytorch3d.io.pluggable_formats import MeshFormatInterpreter, PointcloudFormatInterpreter
from lumigrad.compat.pytorch3d.io.utils import PathOrStr, has_suffix, open_file, read_image
from lumigrad.compat.pytorch3d.renderer.mesh.textures import TexturesBase, TexturesUV, TexturesVertex
from lumigrad.compat.pytorch3d.structures.meshes import Meshes
from lumigrad.compat.pytorch3d.structures.pointclouds import Pointclouds
from lumigrad.io.ply.elements import Header


class _PlyData(NamedTuple):
    """Vertices [V, 3], faces [F, 3], and what vertices have beside their positions; None where they have not."""

    header: Header
    verts: Tensor
    faces: Tensor | None
    colors: Tensor | None
    normals: Tensor | None
    uvs: Tensor | None


def _load_ply_raw(f: Any, path_manager: Any = None) -> tuple[Header, dict[str, Any]]:
    """See `_ply_parser.load_ply_raw`."""
    with open_file(f, path_manager, "rb") as file:
        return load_ply_raw(file)


def _load_ply(f: Any, path_manager: Any = None) -> _PlyData:
    header, elements = _load_ply_raw(f, path_manager)
    if "vertex" not in elements:
        raise ValueError("The ply file has no vertex element.")
    head = next(element for element in header.elements if element.name == "vertex")
    if not is_constant(head):
        raise ValueError("Invalid vertices in file.")
    arrays = elements["vertex"]
    columns = {name: n for n, (name, _, _) in enumerate(head.properties)}
    flat = [part[:, k] for part in arrays for k in range(part.shape[1])]

    def pick(*names: str) -> Tensor | None:
        if any(name not in columns for name in names):
            return None
        table = np.stack([flat[columns[name]] for name in names], 1)
        return torch.from_numpy(np.ascontiguousarray(table, dtype=np.float32))

    verts, colors = pick("x", "y", "z"), pick("red", "green", "blue")
    if verts is None:
        raise ValueError("Invalid vertices in file.")
    if colors is not None and all(flat[columns[name]].dtype.itemsize == 1 for name in ("red", "green", "blue")):
        colors = colors / 255
    faces = _triangles(header, elements)
    if faces is not None:
        _warn_about(faces, len(verts))
    return _PlyData(header, verts, faces, colors, pick("nx", "ny", "nz"), pick("texture_u", "texture_v"))


def _triangles(header: Header, elements: dict[str, Any]) -> Tensor | None:
    """Fans of the polygons [F, 3]: the first triangle of each, then the second ones, where all have as many corners."""
    face = elements.get("face")
    if face is None or not len(face):
        return None
    head = next(element for element in header.elements if element.name == "face")
    if not is_list(head):
        numbers = [n for n, p in enumerate(head.properties) if p[0] in ("vertex_index", "vertex_indices")]
        if not numbers or is_constant(head):
            raise ValueError("Unexpected form of faces data.")
        face = [[row[numbers[0]]] for row in face]
    if isinstance(face, np.ndarray):
        if face.shape[1] < 3:
            raise ValueError("Faces must have at least 3 vertices.")
        fans = [face[:, [0, k + 1, k + 2]] for k in range(face.shape[1] - 2)]
        return torch.from_numpy(np.concatenate(fans).astype(np.int64))
    triangles = []
    for (polygon,) in face:
        if len(polygon) < 3:
            raise ValueError("Faces must have at least 3 vertices.")
        triangles += [[polygon[0], b, c] for b, c in itertools.pairwise(polygon[1:])]
    return torch.tensor(np.array(triangles, dtype=np.int64))


def _warn_about(faces: Tensor, count: int) -> None:
    if len(faces) and bool(((faces < 0) | (faces >= count)).any()):
        warnings.warn("Faces have invalid indices", stacklevel=3)


def load_ply(f: Any, *, path_manager: Any = None) -> tuple[Tensor, Tensor]:
    """Vertices [V, 3] and faces [F, 3] of a file. `IO` reads colours, normals and textures too.

    Args:
        f: path or file object.
        path_manager: has `open`, for paths of its own kind.

    Raises:
        ValueError: a file that cannot be read.
    """
    data = _load_ply(f, path_manager)
    return data.verts, torch.zeros(0, 3, dtype=torch.int64) if data.faces is None else data.faces


def save_ply(
    f: Any,
    verts: Tensor,
    faces: Tensor | None = None,
    verts_normals: Tensor | None = None,
    ascii: bool = False,
    decimal_places: int | None = None,
    path_manager: Any = None,
) -> None:
    """Write a mesh.

    Args:
        f: path or file object for bytes.
        verts, faces, verts_normals: [V, 3], [F, 3] and [V, 3].
        ascii: numbers as text.
        decimal_places: of these numbers; 6 by default.
        path_manager: has `open`, for paths of its own kind.

    Raises:
        ValueError: shapes that do not fit.
    """
    for name, value in (("verts", verts), ("faces", faces), ("verts_normals", verts_normals)):
        if value is not None and len(value) and (value.ndim != 2 or value.shape[1] != 3):
            raise ValueError(
                f"Argument '{name}' should either be empty or of shape (rows, 3), got {tuple(value.shape)}."
            )
    if verts_normals is not None and len(verts_normals) not in (0, len(verts)):
        raise ValueError(f"Argument 'verts_normals' should have {len(verts)} rows, got {len(verts_normals)}.")
    with open_file(f, path_manager, "wb") as file:
        file.write(_ply_bytes(verts, faces, verts_normals, None, ascii, decimal_places, False))


def _ply_bytes(
    verts: Tensor, faces: Tensor | None, normals: Tensor | None, colors: Tensor | None, text: bool,
    decimals: int | None, colors_as_uint8: bool,
) -> bytes:  # fmt: skip
    groups = [(("x", "y", "z"), verts, False)]
    groups += [(("nx", "ny", "nz"), normals, False)] if normals is not None else []
    groups += [(("red", "green", "blue"), colors, colors_as_uint8)] if colors is not None else []
    order = "little" if sys.byteorder == "little" else "big"
    lines = ["ply", "format ascii 1.0" if text else f"format binary_{order}_endian 1.0", f"element vertex {len(verts)}"]
    lines += [f"property {'uchar' if small else 'float'} {name}" for names, _, small in groups for name in names]
    if len(verts) and faces is not None:
        lines += [f"element face {len(faces)}", "property list uchar int vertex_index"]
    header = ("\n".join(lines) + "\nend_header\n").encode("ascii")
    if not len(verts):
        warnings.warn("Empty 'verts' provided", stacklevel=3)
        return header
    arrays = [_numbers(value, small) for _, value, small in groups]
    triangles = np.zeros((0, 3), np.int64)
    if faces is not None and len(faces):
        _warn_about(faces, len(verts))
        triangles = faces.detach().cpu().numpy()
    if text:
        number = f"%.{6 if decimals is None else decimals}f"
        form = " ".join("%d" if small else number for names, _, small in groups for _ in names)
        rows = [form % tuple(row) for row in np.concatenate([a.astype(np.float64) for a in arrays], 1).tolist()]
        rows += [f"3 {a} {b} {c}" for a, b, c in triangles.tolist()]
        return header + "".join(row + "\n" for row in rows).encode("ascii")
    table = np.zeros(len(verts), [(str(n), a.dtype, (3,)) for n, a in enumerate(arrays)])
    for n, values in enumerate(arrays):
        table[str(n)] = values
    polygons = np.zeros(len(triangles), [("size", np.uint8), ("values", np.int32, (3,))])
    polygons["size"], polygons["values"] = 3, triangles
    return header + table.tobytes() + polygons.tobytes()


def _numbers(value: Tensor, small: bool) -> np.ndarray[Any, Any]:
    array = value.detach().cpu().numpy()
    return np.rint(array * 255).clip(0, 255).astype(np.uint8) if small else array.astype(np.float32)


class MeshPlyFormat(MeshFormatInterpreter):
    """Meshes in PLY files for `IO`."""

    known_suffixes = (".ply",)

    def read(
        self, path: PathOrStr, include_textures: bool, device: Any, path_manager: Any, **kwargs: Any
    ) -> Meshes | None:
        if not has_suffix(path, self.known_suffixes):
            return None
        data = _load_ply(path, path_manager)
        faces = torch.zeros(0, 3, dtype=torch.int64) if data.faces is None else data.faces
        textures = _textures(data, faces, path, path_manager) if include_textures else None
        normals = None if data.normals is None else [data.normals]
        return Meshes([data.verts], [faces], textures, verts_normals=normals).to(device)

    def save(self, data: Meshes, path: PathOrStr, path_manager: Any, binary: bool | None, **kwargs: Any) -> bool:
        if not has_suffix(path, self.known_suffixes):
            return False
        colors = None
        if isinstance(data.textures, TexturesVertex):
            colors = data.textures.verts_features_list()[0]
            if colors.shape[1] != 3:
                warnings.warn(f"Texture will not be saved as it has {colors.shape[1]} colors, not 3.", stacklevel=3)
                colors = None
        normals = data.verts_normals_list()[0] if data.has_verts_normals() else None
        content = (data.verts_list()[0], data.faces_list()[0], normals, colors)
        return _write(path, path_manager, content, binary, kwargs)


Content = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]  # vertices, faces, normals, colours


def _write(path: PathOrStr, path_manager: Any, content: Content, binary: bool | None, options: dict[str, Any]) -> bool:
    verts, faces, normals, colors = content
    decimals, small = options.get("decimal_places"), options.get("colors_as_uint8", False)
    with open_file(path, path_manager, "wb") as file:
        file.write(_ply_bytes(verts, faces, normals, colors, binary is False, decimals, small))
    return True


def _textures(data: _PlyData, faces: Tensor, path: PathOrStr, path_manager: Any) -> TexturesBase | None:
    """Colours of vertices, or the image that a comment names."""
    if data.colors is not None:
        return TexturesVertex([data.colors])
    names = [comment.split()[-1] for comment in data.header.comments if "TextureFile" in comment]
    if data.uvs is None or not names:
        return None
    image = read_image(os.path.join(os.path.dirname(str(path)), names[-1]), path_manager)
    return TexturesUV([image], [faces], [data.uvs])


class PointcloudPlyFormat(PointcloudFormatInterpreter):
    """Point clouds in PLY files for `IO`."""

    known_suffixes = (".ply",)

    def read(self, path: PathOrStr, device: Any, path_manager: Any, **kwargs: Any) -> Pointclouds | None:
        if not has_suffix(path, self.known_suffixes):
            return None
        data = _load_ply(path, path_manager)
        normals = None if data.normals is None else [data.normals]
        features = None if data.colors is None else [data.colors]
        return Pointclouds([data.verts], normals, features).to(device)

    def save(self, data: Pointclouds, path: PathOrStr, path_manager: Any, binary: bool | None, **kwargs: Any) -> bool:
        if not has_suffix(path, self.known_suffixes):
            return False
        content = (data.points_list()[0], None, data.normals_packed(), data.features_packed())
        return _write(path, path_manager, content, binary, kwargs)
