"""What a file format must offer to `IO`."""

from __future__ import annotations

from typing import Any


class MeshFormatInterpreter:
    """Reads and writes meshes in one format."""

    def read(self, path: Any, include_textures: bool, device: Any, path_manager: Any, **kwargs: Any) -> Any:
        """A mesh, or None if the file is of another format."""
        raise NotImplementedError

    def save(self, data: Any, path: Any, path_manager: Any, binary: bool | None, **kwargs: Any) -> bool:
        """Write a mesh; False if the file is of another format."""
        raise NotImplementedError


class PointcloudFormatInterpreter:
    """Reads and writes point clouds in one format."""

    def read(self, path: Any, device: Any, path_manager: Any, **kwargs: Any) -> Any:
        """A cloud, or None if the file is of another format."""
        raise NotImplementedError

    def save(self, data: Any, path: Any, path_manager: Any, binary: bool | None, **kwargs: Any) -> bool:
        """Write a cloud; False if the file is of another format."""
        raise NotImplementedError


def endswith(path: Any, suffixes: tuple[str, ...]) -> bool:
    """Whether a path ends so, in whatever case."""
    return str(path).lower().endswith(suffixes)
