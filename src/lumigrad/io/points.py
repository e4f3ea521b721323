"""Point clouds in PLY files, through trimesh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lumigrad._optional import require
from lumigrad.scene.shapes.point_cloud import PointCloud

_COLORS = (("red", "green", "blue"), ("r", "g", "b"))


def load_points(path: str | Path) -> PointCloud:
    """Read the vertices of a PLY file with their colours, normals (nx, ny, nz) and radii (radius).

    Args:
        path: PLY, text or binary; faces are ignored.

    Returns:
        PointCloud on the CPU, float32, in the file's order; colours in [0, 1], with alpha if the file has it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a PLY file, or contains no points.

    >>> import torch
    >>> from lumigrad.io import load_points, save_points
    >>> from lumigrad.scene import PointCloud
    >>> save_points(PointCloud(torch.rand(5, 3), colors=torch.ones(5, 3)), "points.ply")
    >>> cloud = load_points("points.ply")
    >>> len(cloud), cloud.colors[0].tolist(), cloud.normals
    (5, [1.0, 1.0, 1.0, 1.0], None)
    """
    columns = read_columns(Path(path), "a point cloud", "lumigrad.io.load_points")
    positions = _stack(columns, ("x", "y", "z"))
    if positions is None:
        raise ValueError(f"cannot read {path} as a point cloud: it holds no points")
    colors = None
    for names in _COLORS:
        if names[0] in columns:
            every = names + (("alpha",) if "alpha" in columns else ())
            colors = _stack(columns, every)
            kind = columns[names[0]].dtype
            if colors is not None and kind.kind in "iu":
                colors = colors / float(np.iinfo(kind).max)
            break
    radii = _stack(columns, ("radius",))
    return PointCloud(positions, colors, _stack(columns, ("nx", "ny", "nz")), None if radii is None else radii[:, 0])


def read_columns(path: Path, kind: str, user: str) -> dict[str, np.ndarray]:
    """The properties of a PLY file's vertices by name, one value for each vertex.

    Args:
        path: PLY, text or binary.
        kind: what the vertices are meant to be, for messages.
        user: the public function that reads, for messages.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a PLY file, is cut short, or contains no vertices.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file of {kind.removeprefix('a ')}: {path}")
    if path.suffix.lower() != ".ply":
        raise ValueError(f"cannot read {path}: expected .ply")
    ply = require("trimesh.exchange.ply", user)
    try:
        with path.open("rb") as file:
            # The parser is called directly, because trimesh's point clouds keep neither normals nor other properties.
            read = ply.load_ply(file, fix_texture=False)
        data: Any = read["metadata"]["_ply_raw"]["vertex"]["data"]
        names = data.dtype.names if hasattr(data, "dtype") else data
        columns = {name: np.asarray(data[name]).reshape(-1) for name in names}
    except Exception as error:  # parsers of third-party formats can raise anything
        raise ValueError(f"cannot read {path} as {kind}: {error}") from error
    if not columns or not all(map(len, columns.values())):
        raise ValueError(f"cannot read {path} as {kind}: it holds no points")
    return columns


def _stack(columns: dict[str, np.ndarray], names: tuple[str, ...]) -> Tensor | None:
    if not all(name in columns for name in names):
        return None
    return torch.from_numpy(np.stack([columns[name].astype(np.float32) for name in names], axis=-1))


def save_points(cloud: PointCloud, path: str | Path) -> None:
    """Write a binary PLY file: float32 positions, normals and radii, 8-bit colours. Opacities are not written.

    Raises:
        ValueError: another suffix than .ply, no points, or colours that have neither 3 nor 4 channels.

    >>> import torch
    >>> from lumigrad.io import load_points, save_points
    >>> from lumigrad.scene import PointCloud
    >>> save_points(PointCloud(torch.rand(5, 3), colors=torch.ones(5, 3)), "points.ply")
    >>> load_points("points.ply").positions.shape
    torch.Size([5, 3])
    """
    path = Path(path)
    if path.suffix.lower() != ".ply":
        raise ValueError(f"cannot write {path}: expected .ply")
    if not len(cloud):
        raise ValueError("positions: expected at least one point to write")
    if cloud.colors is not None and cloud.colors.shape[1] not in (3, 4):
        raise ValueError(f"colors: expected 3 or 4 channels to write, got {cloud.colors.shape[1]}")
    trimesh = require("trimesh", "lumigrad.io.save_points")
    attributes: dict[str, Any] = {}
    if cloud.normals is not None:
        attributes |= {name: _column(cloud.normals[:, i]) for i, name in enumerate(("nx", "ny", "nz"))}
    if cloud.radii is not None:
        attributes["radius"] = _column(cloud.radii)
    # A mesh without faces, because trimesh's point clouds have no properties but colour.
    mesh = trimesh.Trimesh(cloud.positions.detach().double().cpu().numpy(), vertex_attributes=attributes, process=False)
    if cloud.colors is not None:
        colors = (cloud.colors.detach().float().cpu().clamp(0, 1) * 255 + 0.5).to(torch.uint8)
        mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=colors.numpy())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(trimesh.exchange.ply.export_ply(mesh, vertex_normal=False))


def _column(values: Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy()
