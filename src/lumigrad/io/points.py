"""Point clouds in PLY files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lumigrad.io._problems import UnreadableError
from lumigrad.io.ply.elements import read_ply
from lumigrad.io.ply.write import color_columns, write
from lumigrad.scene.shapes._splat_cloud import CONSTANT
from lumigrad.scene.shapes.point_cloud import PointCloud
from lumigrad.types.validation import as_path, instance

_COLORS = (("red", "green", "blue"), ("r", "g", "b"))


def load_points(path: str | Path) -> PointCloud:
    """Read the vertices of a PLY file with their colours, normals (nx, ny, nz), radii (radius) and opacities (opacity).

    Args:
        path: PLY, text or binary; faces are ignored. Of 3D Gaussians, positions, colours and opacities are read.

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
    (5, [1.0, 1.0, 1.0], None)
    """
    columns = read_columns(as_path("path", path), "a point cloud", "lumigrad.io.load_points")
    positions = _stack(columns, ("x", "y", "z"))
    if positions is None:
        raise ValueError(f"cannot read {path} as a point cloud: it holds no points")
    if "f_dc_0" in columns:
        return _centers(positions, columns)
    colors = None
    for names in _COLORS:
        if names[0] in columns:
            every = names + (("alpha",) if "alpha" in columns else ())
            colors = _stack(columns, every)
            kind = columns[names[0]].dtype
            if colors is not None and kind.kind in "iu":
                colors = colors / float(np.iinfo(kind).max)
            break
    radii, opacities = (_stack(columns, (name,)) for name in ("radius", "opacity"))
    return PointCloud(
        positions,
        colors,
        _stack(columns, ("nx", "ny", "nz")),
        None if radii is None else radii[:, 0],
        None if opacities is None else opacities[:, 0],
    )


def _centers(positions: Tensor, columns: dict[str, np.ndarray]) -> PointCloud:
    """The centres of 3D Gaussians, whose opacities are logits, and whose colours are spherical harmonics."""
    constant, logits = _stack(columns, ("f_dc_0", "f_dc_1", "f_dc_2")), _stack(columns, ("opacity",))
    colors = None if constant is None else (0.5 + CONSTANT * constant).clamp_min(0)
    return PointCloud(positions, colors, opacities=None if logits is None else logits[:, 0].sigmoid())


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
    try:
        vertex = read_ply(path).elements.get("vertex")
    except UnreadableError as error:
        raise ValueError(f"cannot read {path} as {kind}: {error}") from error
    found = {} if vertex is None else vertex.columns
    columns = {name: column for name, column in found.items() if isinstance(column, np.ndarray)}
    if not columns or not all(map(len, columns.values())):
        raise ValueError(f"cannot read {path} as {kind}: it holds no points")
    return columns


def _stack(columns: dict[str, np.ndarray], names: tuple[str, ...]) -> Tensor | None:
    if not all(name in columns for name in names):
        return None
    return torch.from_numpy(np.stack([columns[name].astype(np.float32) for name in names], axis=-1))


def save_points(cloud: PointCloud, path: str | Path) -> None:
    """Write a binary PLY file: float32 positions, normals, radii and opacities, 8-bit colours.

    Raises:
        ValueError: another suffix than .ply, no points, or colours that have neither 3 nor 4 channels.

    >>> import torch
    >>> from lumigrad.io import load_points, save_points
    >>> from lumigrad.scene import PointCloud
    >>> save_points(PointCloud(torch.rand(5, 3), colors=torch.ones(5, 3)), "points.ply")
    >>> load_points("points.ply").positions.shape
    torch.Size([5, 3])
    """
    path = as_path("path", path)
    if path.suffix.lower() != ".ply":
        raise ValueError(f"cannot write {path}: expected .ply")
    instance("cloud", cloud, PointCloud)
    if not len(cloud):
        raise ValueError("positions: expected at least one point to write")
    if cloud.colors is not None and cloud.colors.shape[1] not in (3, 4):
        raise ValueError(f"colors: expected 3 or 4 channels to write, got {cloud.colors.shape[1]}")
    columns = {name: _column(cloud.positions[:, i]) for i, name in enumerate("xyz")}
    if cloud.normals is not None:
        columns |= {name: _column(cloud.normals[:, i]) for i, name in enumerate(("nx", "ny", "nz"))}
    if cloud.colors is not None:
        columns |= color_columns(cloud.colors.detach().float().cpu().numpy())
    if cloud.radii is not None:
        columns["radius"] = _column(cloud.radii)
    if cloud.opacities is not None:
        columns["opacity"] = _column(cloud.opacities)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, columns)


def _column(values: Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy()
