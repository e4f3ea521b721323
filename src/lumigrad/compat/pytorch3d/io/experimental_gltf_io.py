"""Binary glTF files."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from lumigrad.compat.pytorch3d.io.off_io import read_with_lumigrad
from lumigrad.compat.pytorch3d.io.pluggable_formats import MeshFormatInterpreter
from lumigrad.compat.pytorch3d.io.utils import PathOrStr, has_suffix, open_file
from lumigrad.compat.pytorch3d.renderer.mesh.textures import TexturesUV, TexturesVertex
from lumigrad.compat.pytorch3d.structures.meshes import Meshes
from lumigrad.io.mesh import save_mesh
from lumigrad.scene.shapes.mesh import Mesh

SUFFIXES = (".glb",)


class MeshGlbFormat(MeshFormatInterpreter):
    """All meshes of a file's scene as one, with one texture or with colours of vertices.

    Files are read and written by `lumigrad.io`. Vertices at the same place are one.
    """

    def read(
        self, path: PathOrStr, include_textures: bool, device: Any, path_manager: Any, **kwargs: Any
    ) -> Meshes | None:
        return read_with_lumigrad(path, SUFFIXES, include_textures, device, path_manager)

    def save(self, data: Meshes, path: PathOrStr, path_manager: Any, binary: bool | None, **kwargs: Any) -> bool:
        """Write a mesh.

        Raises:
            ValueError: textures of another kind than those that glTF has.
        """
        if not has_suffix(path, SUFFIXES):
            return False
        mesh = Mesh(data.verts_packed().detach().cpu(), data.faces_packed().cpu(), **_look(data))
        with TemporaryDirectory() as folder, open_file(path, path_manager, "wb") as file:
            copy = Path(folder, "mesh.glb")
            save_mesh(mesh, copy)
            file.write(copy.read_bytes())
        return True


def _look(data: Meshes) -> dict[str, Any]:
    """The texture or the colours of a `Mesh`."""
    textures = data.textures
    if textures is None:
        return {}
    if isinstance(textures, TexturesVertex):
        return {"colors": textures.verts_features_packed().detach().cpu()[:, :3]}
    if isinstance(textures, TexturesUV):
        uvs = textures.verts_uvs_list()[0].detach().cpu()
        return {
            "uvs": torch.stack((uvs[:, 0], 1 - uvs[:, 1]), 1),
            "uv_faces": textures.faces_uvs_list()[0].cpu(),
            "texture": textures.maps_list()[0].detach().cpu(),
        }
    raise ValueError(f"textures: expected TexturesUV or TexturesVertex, got {type(textures).__name__}")


def load_meshes(path: PathOrStr, path_manager: Any = None, include_textures: bool = True) -> list[tuple[str, Meshes]]:
    """The meshes of a file, each with its name; here one, of all of them."""
    mesh = MeshGlbFormat().read(path, include_textures, torch.device("cpu"), path_manager)
    if mesh is None:
        raise ValueError(f"path: expected a file ending in .glb, got {path}")
    return [("", mesh)]
