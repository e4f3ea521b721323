"""Mitsuba's own format of meshes: several of them in one file, compressed one by one.

Source: the documentation of Mitsuba 3, "Serialized mesh loader".
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from lumigrad.io._problems import UnreadableError
from lumigrad.io.geometry.part import Part, assembled, unit
from lumigrad.scene import DiffuseMaterial
from lumigrad.scene.shapes.mesh import Mesh

_FORMAT = 0x041C
_NORMALS, _UVS, _COLORS, _DOUBLE = 0x0001, 0x0002, 0x0008, 0x2000


def read(path: Path, index: int) -> Mesh:
    """One of the meshes of a file, counted from 0, welded as `lumigrad.io.load_mesh` does it.

    Texture coordinates are as they are looked up.

    Raises:
        ValueError: it is no such file, is damaged, or has no mesh of this number.
    """
    data = path.read_bytes()
    try:
        start, version = _start(data, index)
        body = zlib.decompressobj().decompress(data[start:])
        return assembled([_part(body, version)], DiffuseMaterial)
    except (zlib.error, UnreadableError) as error:
        raise ValueError(f"cannot read {path} as a serialized mesh: {error}") from error


def _start(data: bytes, index: int) -> tuple[int, int]:
    """Where the compressed bytes of a mesh begin, and the version of the format."""
    if len(data) < 8 or int.from_bytes(data[:2], "little") != _FORMAT:
        raise UnreadableError("it does not begin as such a file does")
    version, count = int.from_bytes(data[2:4], "little"), int.from_bytes(data[-4:], "little")
    if version not in (3, 4):
        raise UnreadableError(f"expected version 3 or 4 of the format, got {version}")
    if not 0 <= index < count:
        raise UnreadableError(f"shape_index: expected one of its {count} meshes, got {index}")
    width = 8 if version == 4 else 4
    entry = len(data) - 4 - width * (count - index)
    start = int.from_bytes(data[entry : entry + width], "little") + 4  # the first four bytes are those of the file
    if entry < 0 or start > len(data):
        raise UnreadableError("it is cut short, or its list of meshes is damaged")
    return start, version


def _part(body: bytes, version: int) -> Part:
    flags, position = int.from_bytes(body[:4], "little"), 4
    if version == 4:
        position = body.find(b"\0", 4) + 1  # after its name
    vertices, triangles = (int.from_bytes(body[position + 8 * i : position + 8 * i + 8], "little") for i in (0, 1))
    position += 16
    number, wide = np.dtype("<f8" if flags & _DOUBLE else "<f4"), np.dtype("<u8" if vertices > 2**32 - 1 else "<u4")
    arrays = {}
    for name, flag, columns in (
        ("positions", 0, 3),
        ("normals", _NORMALS, 3),
        ("uvs", _UVS, 2),
        ("colors", _COLORS, 3),
    ):
        if flag and not flags & flag:
            continue
        arrays[name] = _taken(body, position, number, vertices, columns)
        position += arrays[name].nbytes
    faces = _taken(body, position, wide, triangles, 3).astype(np.int64)
    if triangles and int(faces.max()) >= vertices:
        raise UnreadableError(f"its faces refer to vertices up to {int(faces.max())} of {vertices}")
    normals = arrays.get("normals")
    return Part(
        arrays["positions"].astype(np.float32), faces, uvs=arrays.get("uvs"),
        normals=None if normals is None else unit(normals),
    )  # fmt: skip


def _taken(body: bytes, position: int, kind: np.dtype, rows: int, columns: int) -> np.ndarray:
    needed = rows * columns * kind.itemsize
    if needed > len(body) - position:
        raise UnreadableError(
            f"it is cut short: {rows} rows need {needed} bytes, it has {max(len(body) - position, 0)}"
        )
    return np.frombuffer(body, kind, rows * columns, position).reshape(rows, columns)
