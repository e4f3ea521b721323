"""OFF files."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from lumigrad.compat.pytorch3d._convert import meshes_from
from lumigrad.compat.pytorch3d.io.pluggable_formats import MeshFormatInterpreter
from lumigrad.compat.pytorch3d.io.utils import PathOrStr, has_suffix, open_file
from lumigrad.compat.pytorch3d.renderer.mesh.textures import TexturesAtlas, TexturesVertex
from lumigrad.compat.pytorch3d.structures.meshes import Meshes
from lumigrad.io.mesh import load_mesh

SUFFIXES = (".off",)


class MeshOffFormat(MeshFormatInterpreter):
    """Text files of vertices and faces, with one colour for each vertex or for each face."""

    def read(
        self, path: PathOrStr, include_textures: bool, device: Any, path_manager: Any, **kwargs: Any
    ) -> Meshes | None:
        return read_with_lumigrad(path, SUFFIXES, include_textures, device, path_manager)

    def save(
        self, data: Meshes, path: PathOrStr, path_manager: Any, binary: bool | None,
        decimal_places: int | None = None, **kwargs: Any,
    ) -> bool:  # fmt: skip
        if not has_suffix(path, SUFFIXES):
            return False
        verts, faces = data.verts_list()[0].detach().cpu(), data.faces_list()[0].cpu()
        vertex_colors = face_colors = None
        if isinstance(data.textures, TexturesVertex):
            vertex_colors = data.textures.verts_features_packed().detach().cpu()
        elif isinstance(data.textures, TexturesAtlas):
            face_colors = data.textures.atlas_packed().detach().cpu().mean((1, 2))
        digits = "%f" if decimal_places is None else f"%.{decimal_places}f"
        lines = ["OFF", f"{len(verts)} {len(faces)} 0"]
        lines += [
            _row(vert, digits, None if vertex_colors is None else vertex_colors[n]) for n, vert in enumerate(verts)
        ]
        for n, face in enumerate(faces):
            corners = "3 " + " ".join(map(str, face.tolist()))
            lines.append(corners if face_colors is None else f"{corners} {_numbers(face_colors[n], '%f')}")
        with open_file(path, path_manager, "w") as file:
            file.write("\n".join(lines) + "\n")
        return True


def _numbers(values: Tensor, digits: str) -> str:
    return " ".join(digits % value for value in values.tolist())


def _row(vert: Tensor, digits: str, color: Tensor | None) -> str:
    return _numbers(vert, digits) if color is None else f"{_numbers(vert, digits)} {_numbers(color, '%f')}"


def read_with_lumigrad(
    path: PathOrStr, suffixes: tuple[str, ...], include_textures: bool, device: Any, path_manager: Any
) -> Meshes | None:
    """A file as `lumigrad.io` reads it, or None where it has another suffix."""
    if not has_suffix(path, suffixes):
        return None
    mesh = _read(path, suffixes[0], path_manager)
    return mesh.to(device) if include_textures else Meshes(mesh.verts_list(), mesh.faces_list()).to(device)


def _read(path: PathOrStr, suffix: str, path_manager: Any) -> Meshes:
    """What is not a plain path is copied to such before."""
    if path_manager is None and not hasattr(path, "read"):
        return meshes_from(load_mesh(Path(path), materials=False))
    with TemporaryDirectory() as folder, open_file(path, path_manager, "rb") as file:
        copy = Path(folder, "mesh" + suffix)
        copy.write_bytes(file.read())
        return meshes_from(load_mesh(copy, materials=False))
