"""Gaussians in .spz files: gzip-compressed, 8 to 24 bits for each number.

The format's axes are OpenGL's (x right, y up, z backwards), those of PLY files by convention x right, y down, z
forwards. Reading and writing turn by half a turn about x, so that a scene is the same in both kinds of files.

Source: Niantic Labs, "spz", file format, versions 1 to 3.
"""

from __future__ import annotations

import gzip
import math
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lumigrad.io._splat_file import to_bytes
from lumigrad.io._splat_ply import with_largest
from lumigrad.scene.shapes._splat_cloud import COUNTS
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud

_HEADER = struct.Struct("<4sIIBBBB")
_MAGIC, _VERSION = b"NGSP", 3
_COLOR = 0.15  # one unit of a byte's range for each unit of the constant coefficient
_LOWEST, _STEPS = -10.0, 16.0  # logarithms of scales
_MOST_BITS = 30

# How the real spherical harmonics change their sign when y and z do.
_SIGNS = (1, -1, -1, 1, -1, 1, 1, -1, 1, -1, 1, -1, -1, 1, -1, 1, -1, 1, -1, 1, 1, -1, 1, -1, 1)
_AXES = (1.0, -1.0, -1.0)
_ROTATION = (1.0, 1.0, -1.0, -1.0)


def load(path: Path) -> GaussianCloud:
    """Read a .spz file; see `load_gaussians`."""
    try:
        return _load(path)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise ValueError(f"cannot read {path} as Gaussians: {error}") from error


def _load(path: Path) -> GaussianCloud:
    with path.open("rb") as plain:
        if plain.read(4) == _MAGIC:
            raise ValueError(f"cannot read {path} as Gaussians: expected version 1, 2 or 3 of the format, got a later")
    with gzip.open(path) as file:
        magic, version, count, degree, fraction, _, _ = _HEADER.unpack(file.read(_HEADER.size))
        if magic != _MAGIC or version not in (1, 2, 3) or degree > 4:
            raise ValueError(
                f"cannot read {path} as Gaussians: expected spz version 1, 2 or 3 and harmonics of up to degree 4, "
                f"got version {version} and degree {degree}"
            )

        def take(width: int, dtype: str = "u1") -> np.ndarray:
            size = count * width * np.dtype(dtype).itemsize
            data = file.read(size)
            if len(data) < size:
                raise ValueError(f"cannot read {path} as Gaussians: cut short, it announces {count} of them")
            return np.frombuffer(data, dtype).reshape(count, width)

        positions = take(3, "<f2").astype(np.float32) if version == 1 else _fixed(take(9), fraction)
        opacities = take(1)[:, 0] / np.float32(255)
        constant = (take(3) / np.float32(255) - np.float32(0.5)) / np.float32(_COLOR)
        scales = np.exp(take(3) / np.float32(_STEPS) + np.float32(_LOWEST))
        quats = _smallest_three(take(4)) if version >= 3 else _first_three(take(3))
        rest = (take(3 * (COUNTS[degree] - 1)).astype(np.float32) - 128) / 128
    if not count:
        raise ValueError(f"cannot read {path} as Gaussians: it holds none")
    harmonics = np.concatenate([constant[:, None], rest.reshape(count, -1, 3)], axis=1)
    return _turned(GaussianCloud(*(torch.from_numpy(v) for v in (positions, quats, scales, opacities, harmonics))))


def save(cloud: GaussianCloud, path: Path) -> None:
    """Write a .spz file, version 3; see `save_gaussians`."""
    count, cloud = len(cloud), _turned(cloud.to(torch.float32))
    largest = float(cloud.means.abs().max()) if count else 0.0
    if not largest < 2**23:
        raise ValueError(f"means: expected coordinates below {2**23} to write a .spz file, got {largest:g}")
    fraction = _MOST_BITS if not largest else max(0, min(_MOST_BITS, 22 - math.floor(math.log2(largest))))
    logarithms = cloud.scales.clamp_min(1e-30).log()
    cut = int(((logarithms < _LOWEST - 0.5 / _STEPS) | (logarithms > _LOWEST + 255.5 / _STEPS)).any(-1).sum())
    if cut:
        warnings.warn(
            f"{path}: {cut} of {count} Gaussians have scales outside of 4.5e-5 to 380, the limits of the format, and "
            "are written with the nearest one",
            stacklevel=3,
        )
    degree = COUNTS.index(cloud.harmonics.shape[1])
    parts = [
        _HEADER.pack(_MAGIC, _VERSION, count, degree, fraction, 0, 0),
        _to_fixed(cloud.means, fraction),
        to_bytes(255 * cloud.opacities).tobytes(),
        to_bytes(255 * (0.5 + _COLOR * cloud.harmonics[:, 0])).tobytes(),
        to_bytes(_STEPS * (logarithms - _LOWEST)).tobytes(),
        _to_smallest_three(cloud.quats),
        to_bytes(128 + 128 * cloud.harmonics[:, 1:]).tobytes(),
    ]
    path.write_bytes(gzip.compress(b"".join(parts), mtime=0))


def _turned(cloud: GaussianCloud) -> GaussianCloud:
    """Half a turn about x, which is its own inverse."""
    means, quats = cloud.means * cloud.means.new_tensor(_AXES), cloud.quats * cloud.quats.new_tensor(_ROTATION)
    signs = cloud.harmonics.new_tensor(_SIGNS[: cloud.harmonics.shape[1]])
    return GaussianCloud(means, quats, cloud.scales, cloud.opacities, cloud.harmonics * signs[:, None])


def _fixed(data: np.ndarray, fraction: int) -> np.ndarray:
    """Coordinates [V, 3] of 24-bit integers, little-endian, [V, 9] bytes."""
    low, middle, high = (data[:, i::3].astype(np.int32) for i in range(3))
    whole = low | middle << 8 | high << 16
    return ((whole ^ 0x800000) - 0x800000).astype(np.float32) * np.float32(2.0**-fraction)


def _to_fixed(means: Tensor, fraction: int) -> bytes:
    limit = 2**23 - 1
    whole = (means.double().cpu() * 2.0**fraction).round().clamp(-limit, limit).to(torch.int32).numpy()
    return np.stack([(whole >> shift & 255).astype(np.uint8) for shift in (0, 8, 16)], axis=-1).tobytes()


def _first_three(data: np.ndarray) -> np.ndarray:
    """Quaternions (w, x, y, z) of the bytes x, y, z; w is not negative."""
    return with_largest(data / np.float32(127.5) - 1, np.zeros(len(data), int))


def _smallest_three(data: np.ndarray) -> np.ndarray:
    """Quaternions (w, x, y, z) of components with a sign and 9 bits, and the place of the largest in x, y, z, w."""
    packed = np.ascontiguousarray(data).view("<u4")[:, 0]
    fields = np.stack([packed >> np.uint32(shift) & np.uint32(1023) for shift in (20, 10, 0)], axis=-1)
    size = (fields & 511) / np.float32(511) * np.float32(math.sqrt(0.5))
    found = with_largest(np.where(fields & 512, -size, size), packed >> np.uint32(30))
    return np.roll(found, 1, axis=1)


def _to_smallest_three(quats: Tensor) -> bytes:
    unit = torch.nn.functional.normalize(quats.detach().double().cpu(), dim=-1).roll(-1, dims=1).numpy()
    largest = np.abs(unit).argmax(axis=1)
    unit = unit * np.where(np.take_along_axis(unit, largest[:, None], 1) < 0, -1.0, 1.0)
    others = unit[np.arange(4) != largest[:, None]].reshape(-1, 3)
    size = np.minimum(511, np.round(np.abs(others) * math.sqrt(2) * 511)).astype(np.uint32)
    fields = size | (others < 0).astype(np.uint32) << np.uint32(9)
    packed = largest.astype(np.uint32) << np.uint32(30)
    for column, shift in enumerate((20, 10, 0)):
        packed |= fields[:, column] << np.uint32(shift)
    return packed.astype("<u4").tobytes()
