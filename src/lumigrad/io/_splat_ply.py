"""Gaussians and surfels in PLY files: as 3D and 2D Gaussian splatting write them, and compressed by PlayCanvas.

Float32 properties of each vertex: x y z, nx ny nz (unused, zero), f_dc_0..2, f_rest_* (the other coefficients of red,
then of green, then of blue), opacity (logit), scale_0..2 (logarithms; 0..1 of surfels), rot_0..3 (w, x, y, z).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lumigrad.io._problems import UnreadableError
from lumigrad.io.ply.elements import read_ply
from lumigrad.io.points import read_columns
from lumigrad.scene.shapes._splat_cloud import COUNTS, constant_harmonics
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud
from lumigrad.scene.shapes.surfel_cloud import SurfelCloud

Columns = dict[str, np.ndarray]
_KIND = "Gaussians"
_PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
_CHUNK = 256  # number of Gaussians that share their limits in compressed files


def load(path: Path) -> GaussianCloud | SurfelCloud:
    """Read a PLY file; see `load_gaussians`."""
    with path.open("rb") as file:
        if _PACKED[0].encode() in file.read(4096).partition(b"end_header")[0]:
            return _unpacked(path, _tables(path))
    columns = read_columns(path, _KIND, "lumigrad.io.load_gaussians")
    axes = 3 if "scale_2" in columns or "scale_0" not in columns else 2
    rest = sum(name.startswith("f_rest_") for name in columns)
    missing = [name for name in _names(rest, axes) if name not in columns and name not in ("nx", "ny", "nz")]
    if missing:
        raise ValueError(f"cannot read {path} as {_KIND}: it lacks {', '.join(missing)}")
    kind = GaussianCloud if axes == 3 else SurfelCloud
    return kind(
        _stack(columns, "x", "y", "z"),
        _stack(columns, "rot_0", "rot_1", "rot_2", "rot_3"),
        _stack(columns, *(f"scale_{i}" for i in range(axes))).exp(),
        _stack(columns, "opacity")[:, 0].sigmoid(),
        _harmonics(path, _stack(columns, "f_dc_0", "f_dc_1", "f_dc_2")[:, None], columns, rest),
    )


def save(cloud: GaussianCloud | SurfelCloud, path: Path) -> None:
    """Write a binary PLY file; see `save_gaussians`."""
    count, rest = len(cloud), cloud.harmonics[:, 1:].transpose(1, 2).flatten(1)
    columns = [
        cloud.means,
        torch.zeros_like(cloud.means),
        cloud.harmonics[:, 0],
        rest,
        torch.logit(cloud.opacities, eps=1e-6)[:, None],
        cloud.scales.clamp_min(torch.finfo(torch.float32).tiny).log(),
        torch.nn.functional.normalize(cloud.quats, dim=-1),
    ]
    table = torch.cat([column.detach().float().cpu() for column in columns], dim=1).numpy().astype("<f4")
    names = _names(rest.shape[1], cloud.scales.shape[1])
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    header += [f"property float {name}" for name in names] + ["end_header", ""]
    path.write_bytes("\n".join(header).encode("ascii") + table.tobytes())


def _names(rest: int, axes: int) -> list[str]:
    names = ["x", "y", "z", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3)), *(f"f_rest_{i}" for i in range(rest))]
    return [*names, "opacity", *(f"scale_{i}" for i in range(axes)), *(f"rot_{i}" for i in range(4))]


def _stack(columns: Columns, *names: str) -> Tensor:
    return torch.from_numpy(np.stack([columns[name].astype(np.float32) for name in names], axis=-1))


def _harmonics(path: Path, constant: Tensor, columns: Columns, rest: int) -> Tensor:
    """Coefficients [V, K, 3] of the constants [V, 1, 3] and of the `rest` columns f_rest_*."""
    if rest not in [3 * (count - 1) for count in COUNTS]:
        raise ValueError(f"cannot read {path} as {_KIND}: expected 0, 9, 24, 45 or 72 f_rest, got {rest}")
    if not rest:
        return constant
    others = _stack(columns, *(f"f_rest_{i}" for i in range(rest))).unflatten(1, (3, rest // 3)).transpose(1, 2)
    return torch.cat([constant, others], dim=1)


def _tables(path: Path) -> dict[str, Columns]:
    """The elements of a compressed file."""
    try:
        elements = read_ply(path).elements
    except UnreadableError as error:
        raise ValueError(f"cannot read {path} as {_KIND}: {error}") from error
    return {
        name: {column: values for column, values in element.columns.items() if isinstance(values, np.ndarray)}
        for name, element in elements.items()
    }


def _unpacked(path: Path, elements: dict[str, Columns]) -> GaussianCloud:
    """The Gaussians of a compressed file: 11 or 10 bits between the limits of each 256 of them.

    Source: PlayCanvas, "Compressed PLY format".
    """
    if not set(_PACKED) <= elements.get("vertex", {}).keys():
        raise ValueError(f"cannot read {path} as {_KIND}: expected a vertex with {', '.join(_PACKED)}")
    packed = {name: elements["vertex"][name].astype(np.uint32) for name in _PACKED}
    count, chunk = len(packed["packed_position"]), elements.get("chunk", {})
    wanted = [f"{side}_{axis}" for axis in ("x", "y", "z", "scale_x", "scale_y", "scale_z") for side in ("min", "max")]
    missing = [name for name in wanted if name not in chunk]
    if missing or len(chunk[wanted[0]]) * _CHUNK < count:
        raise ValueError(f"cannot read {path} as {_KIND}: its chunks lack {', '.join(missing) or 'rows'}")
    own = np.arange(count) // _CHUNK

    def between(axis: str, share: np.ndarray) -> np.ndarray:
        low, high = (chunk[f"{side}_{axis}"].astype(np.float32)[own] for side in ("min", "max"))
        return low + (high - low) * share

    def vector(name: str, axes: tuple[str, ...]) -> Tensor:
        shares = (_bits(packed[name], 21, 11), _bits(packed[name], 11, 10), _bits(packed[name], 0, 11))
        return torch.from_numpy(np.stack([between(axis, share) for axis, share in zip(axes, shares)], axis=-1))

    colors = [_bits(packed["packed_color"], shift, 8) for shift in (24, 16, 8)]
    if "min_r" in chunk:
        colors = [between(axis, share) for axis, share in zip("rgb", colors)]
    constant = constant_harmonics(torch.from_numpy(np.stack(colors, axis=-1).astype(np.float32)))
    rest = {name: _dequantised(values) for name, values in elements.get("sh", {}).items()}
    return GaussianCloud(
        vector("packed_position", ("x", "y", "z")),
        torch.from_numpy(_quaternions(packed["packed_rotation"])),
        vector("packed_scale", ("scale_x", "scale_y", "scale_z")).exp(),
        torch.from_numpy(_bits(packed["packed_color"], 0, 8)),
        _harmonics(path, constant, rest, len(rest)),
    )


def _bits(values: np.ndarray, shift: int, count: int) -> np.ndarray:
    """`count` bits as a number from 0 to 1."""
    largest = (1 << count) - 1
    return (((values >> np.uint32(shift)) & np.uint32(largest)) / largest).astype(np.float32)


def _quaternions(packed: np.ndarray) -> np.ndarray:
    """(w, x, y, z) of three components of 10 bits; two bits give the index of the largest, which is left out."""
    others = np.stack([(_bits(packed, shift, 10) - 0.5) * np.sqrt(2) for shift in (20, 10, 0)], axis=-1)
    return with_largest(others, packed >> np.uint32(30))


def with_largest(others: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Unit quaternions [V, 4] of three components [V, 3] and the place [V] of the fourth one, which is positive."""
    found = np.empty((len(others), 4), np.float32)
    missing = np.sqrt(np.maximum(0, 1 - np.square(others).sum(-1)))
    for place in range(4):
        rows = largest == place
        found[rows] = np.insert(others[rows], place, missing[rows], axis=1)
    return found


def _dequantised(values: np.ndarray) -> np.ndarray:
    """Coefficients from -4 to 4 of bytes, which stand for the middle of their range."""
    share = (values.astype(np.float32) + 0.5) / 256
    return (np.where(values == 0, 0, np.where(values == 255, 1, share)) - 0.5) * 8
