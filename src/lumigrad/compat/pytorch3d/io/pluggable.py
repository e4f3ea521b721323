"""Meshes and point clouds in any of the registered formats."""

from __future__ import annotations

from typing import Any

from lumigrad.compat.pytorch3d.io.obj_io import MeshObjFormat
from lumigrad.compat.pytorch3d.io.off_io import MeshOffFormat
from lumigrad.compat.pytorch3d.io.pluggable_formats import MeshFormatInterpreter, PointcloudFormatInterpreter
from lumigrad.compat.pytorch3d.io.ply_io import MeshPlyFormat, PointcloudPlyFormat
from lumigrad.compat.pytorch3d.io.utils import PathOrStr
from lumigrad.compat.pytorch3d.structures.meshes import Meshes
from lumigrad.compat.pytorch3d.structures.pointclouds import Pointclouds


class IO:
    """Reads and writes meshes and point clouds; the last format registered is asked first.

    Args:
        include_default_formats: whether OBJ, OFF and PLY are known.
        path_manager: has `open` and `exists`, for paths of its own kind.
    """

    def __init__(self, include_default_formats: bool = True, path_manager: Any = None) -> None:
        self.path_manager = path_manager
        self.mesh_interpreters: list[MeshFormatInterpreter] = []
        self.pointcloud_interpreters: list[PointcloudFormatInterpreter] = []
        if include_default_formats:
            self.register_default_formats()

    def register_default_formats(self) -> None:
        self.register_meshes_format(MeshObjFormat())
        self.register_meshes_format(MeshOffFormat())
        self.register_meshes_format(MeshPlyFormat())
        self.register_pointcloud_format(PointcloudPlyFormat())

    def register_meshes_format(self, interpreter: MeshFormatInterpreter) -> None:
        if not isinstance(interpreter, MeshFormatInterpreter):
            raise ValueError(f"Invalid interpreter: {type(interpreter).__name__}")
        self.mesh_interpreters.insert(0, interpreter)

    def register_pointcloud_format(self, interpreter: PointcloudFormatInterpreter) -> None:
        if not isinstance(interpreter, PointcloudFormatInterpreter):
            raise ValueError(f"Invalid interpreter: {type(interpreter).__name__}")
        self.pointcloud_interpreters.insert(0, interpreter)

    def load_mesh(self, path: PathOrStr, include_textures: bool = True, device: Any = "cpu", **kwargs: Any) -> Meshes:
        """A batch of one mesh.

        Raises:
            ValueError: no format knows the file.
        """
        for interpreter in self.mesh_interpreters:
            mesh = interpreter.read(
                path, include_textures=include_textures, device=device, path_manager=self.path_manager, **kwargs
            )
            if mesh is not None:
                return mesh
        raise ValueError(f"No mesh interpreter found to read {path}.")

    def save_mesh(
        self, data: Meshes, path: PathOrStr, binary: bool | None = None, include_textures: bool = True, **kwargs: Any
    ) -> None:
        """Write a batch of one mesh.

        Raises:
            ValueError: no mesh, or no format knows the file.
        """
        if not isinstance(data, Meshes):
            raise ValueError(f"Meshes object expected, got {type(data).__name__}.")
        if len(data) != 1:
            raise ValueError(f"Can only save a single mesh, got {len(data)}.")
        if not include_textures:
            data = Meshes(data.verts_list(), data.faces_list())
        for interpreter in self.mesh_interpreters:
            if interpreter.save(data, path, path_manager=self.path_manager, binary=binary, **kwargs):
                return
        raise ValueError(f"No mesh interpreter found to write to {path}.")

    def load_pointcloud(self, path: PathOrStr, device: Any = "cpu", **kwargs: Any) -> Pointclouds:
        """A batch of one cloud.

        Raises:
            ValueError: no format knows the file.
        """
        for interpreter in self.pointcloud_interpreters:
            cloud = interpreter.read(path, device=device, path_manager=self.path_manager, **kwargs)
            if cloud is not None:
                return cloud
        raise ValueError(f"No point cloud interpreter found to read {path}.")

    def save_pointcloud(self, data: Pointclouds, path: PathOrStr, binary: bool | None = None, **kwargs: Any) -> None:
        """Write a batch of one cloud.

        Raises:
            ValueError: no cloud, or no format knows the file.
        """
        if not isinstance(data, Pointclouds):
            raise ValueError(f"Pointclouds object expected, got {type(data).__name__}.")
        if len(data) != 1:
            raise ValueError(f"Can only save a single point cloud, got {len(data)}.")
        for interpreter in self.pointcloud_interpreters:
            if interpreter.save(data, path, path_manager=self.path_manager, binary=binary, **kwargs):
                return
        raise ValueError(f"No point cloud interpreter found to write to {path}.")
