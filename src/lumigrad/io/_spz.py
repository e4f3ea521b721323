"""Gaussians in .spz files: compressed, 8 to 24 bits for each number.

The format's axes are OpenGL's (x right, y up, z backwards), those of PLY files by convention x right, y down, z
forwards. Reading and writing turn by half a turn about x, so that a scene is the same in both kinds of files.

Versions 1 to 3 are one stream, compressed by gzip (or, of some programs, not at all). In version 4 each kind of number
is a stream of its own, compressed by Zstandard; the streams come in the same order.

Source: Niantic Labs, "spz", file format, versions 1 to 4.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import warnings
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np
import torch
from torch import Tensor

from lumigrad._optional import MissingPackageError, require
from lumigrad.io._splat_file import to_bytes
from lumigrad.io._splat_ply import with_largest
from lumigrad.scene.shapes._splat_cloud import COUNTS
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud

_HEADER = struct.Struct("<4sIIBBBB")
_MAGIC, _VERSION = b"NGSP", 3
_COLOR = 0.15  # units of a byte's range per unit of the constant coefficient
_LOWEST, _STEPS = -10.0, 16.0  # logarithms of scales
_MOST_BITS = 30
_EXTENDED = 2  # the flag of a file with extensions

# The sign changes of the real spherical harmonics when y and z change sign.
_SIGNS = (1, -1, -1, 1, -1, 1, 1, -1, 1, -1, 1, -1, -1, 1, -1, 1, -1, 1, -1, 1, 1, -1, 1, -1, 1)
_AXES = (1.0, -1.0, -1.0)
_ROTATION = (1.0, 1.0, -1.0, -1.0)


class _DamagedError(Exception):
    """The contents of a file contradict its header."""


def load(path: Path) -> GaussianCloud:
    """Read a .spz file; see `load_gaussians`."""
    try:
        return _load(path)
    except MissingPackageError:
        raise
    except (OSError, EOFError, zlib.error, struct.error, _DamagedError) as error:
        raise ValueError(f"cannot read {path} as Gaussians: {error}") from error


def _load(path: Path) -> GaussianCloud:
    with _opened(path) as file:
        magic, version, count, degree, fraction, flags, streams = _HEADER.unpack(file.read(_HEADER.size))
        if magic != _MAGIC or version not in (1, 2, 3, 4) or degree > 4:
            raise ValueError(
                f"cannot read {path} as Gaussians: expected spz version 1, 2, 3 or 4 and harmonics of up to degree 4, "
                f"got version {version} and degree {degree}"
            )
        rotation = 3 if version < 3 else 4
        widths = [6 if version == 1 else 9, 1, 3, 3, rotation, 3 * (COUNTS[degree] - 1)]
        if version == 4:
            if flags & _EXTENDED:
                warnings.warn(f"{path}: its extensions are not read; its axes may differ", stacklevel=4)
            numbers: IO[bytes] = io.BytesIO(_streams(path.read_bytes(), [count * w for w in widths if w], streams))
        else:
            numbers = file

        def take(width: int) -> np.ndarray:
            data = numbers.read(count * width)
            if len(data) < count * width:
                raise ValueError(f"cannot read {path} as Gaussians: cut short, it announces {count} of them")
            return np.frombuffer(data, "u1").reshape(count, width)

        first, alphas, colors, sizes, turns, others = (take(width) for width in widths)
    if not count:
        raise ValueError(f"cannot read {path} as Gaussians: it holds none")
    positions = first.view("<f2").astype(np.float32) if version == 1 else _fixed(first, fraction)
    opacities = alphas[:, 0] / np.float32(255)
    constant = (colors / np.float32(255) - np.float32(0.5)) / np.float32(_COLOR)
    scales = np.exp(sizes / np.float32(_STEPS) + np.float32(_LOWEST))
    quats = _smallest_three(turns) if version >= 3 else _first_three(turns)
    rest = (others.astype(np.float32) - 128) / 128
    harmonics = np.concatenate([constant[:, None], rest.reshape(count, -1, 3)], axis=1)
    return _turned(GaussianCloud(*(torch.from_numpy(v) for v in (positions, quats, scales, opacities, harmonics))))


def _opened(path: Path) -> IO[bytes]:
    """The file, uncompressed if gzip compressed it as a whole."""
    with path.open("rb") as plain:
        whole = plain.read(4) != _MAGIC
    return cast(IO[bytes], gzip.open(path) if whole else path.open("rb"))


def _streams(data: bytes, sizes: list[int], announced: int) -> bytes:
    """The streams of version 4 one after the other, uncompressed.

    Args:
        data: the file.
        sizes: bytes of each stream that is to be there.
        announced: how many there are by the header.
    """
    (begin,) = struct.unpack_from("<I", data, _HEADER.size)
    if begin < 2 * _HEADER.size or announced < len(sizes):
        raise _DamagedError(f"expected {len(sizes)} streams listed behind the header, got {announced} at byte {begin}")
    zstandard = require("zstandard", "reading .spz files of version 4")
    table = [struct.unpack_from("<QQ", data, begin + 16 * i) for i in range(announced)]
    place, found = begin + 16 * announced, []
    for (packed, size), expected in zip(table, sizes):
        stream = data[place : place + packed]
        # Sizes are compared before memory is allocated: a few bytes may claim to be terabytes.
        try:
            claimed = zstandard.frame_content_size(stream)
            if len(stream) < packed or size != expected or claimed not in (-1, expected):
                raise _DamagedError(f"cut short or damaged: expected a stream of {expected} bytes, got {size}")
            found.append(zstandard.ZstdDecompressor().decompress(stream, max_output_size=expected))
        except zstandard.ZstdError as error:
            raise _DamagedError(f"damaged: {error}") from error
        place += packed
    return b"".join(found)


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
