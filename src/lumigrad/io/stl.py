"""STL files, text and binary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lumigrad.io._named_files import read_bytes
from lumigrad.io._problems import Notes, UnreadableError
from lumigrad.io.geometry.weld import weld
from lumigrad.io.obj.text import Lines, table
from lumigrad.scene.shapes.mesh import Mesh

_HEADER, _FACET = 84, 50
_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read(path: Path, notes: Notes) -> Mesh | None:
    """The mesh of a file; None where it has no facets. Normals of facets are not kept: they follow from the corners."""
    data = read_bytes(path)
    corners = _text(data, notes) if _is_text(data) else _binary(data, notes)
    if not len(corners):
        return None
    kept, faces = weld(corners)
    return Mesh(torch.from_numpy(corners[kept] + np.float32(0)), torch.from_numpy(faces))


def write(positions: np.ndarray, faces: np.ndarray, normals: np.ndarray, path: Path) -> None:
    """Write a binary file of vertices [V, 3], faces [F, 3] and the faces' unit normals [F, 3]."""
    records = np.zeros(len(faces), _RECORD)
    records["corners"], records["normal"] = positions[faces], normals
    path.write_bytes(b"lumigrad".ljust(80) + np.uint32(len(faces)).tobytes() + records.tobytes())


def _is_text(data: bytes) -> bool:
    """Whether a file is text. Headers of binary files may begin with "solid", and texts with blanks or comments."""
    head = data[:4096].lower()
    if b"facet" not in head or b"\0" in head:
        return False
    return len(data) != _HEADER + _FACET * int.from_bytes(data[80:_HEADER], "little")


def _binary(data: bytes, notes: Notes) -> np.ndarray:
    if len(data) < _HEADER:
        if data[:5].lower() == b"solid":
            return np.zeros((0, 3), np.float32)
        raise UnreadableError(f"the file is cut short, or no STL file: it has {len(data)} bytes of at least {_HEADER}")
    count = int(np.frombuffer(data, "<u4", 1, 80)[0])
    there = (len(data) - _HEADER) // _FACET
    if there < count:
        raise UnreadableError(f"the file is cut short, or no STL file: it has {there} facets of {count}")
    records = np.frombuffer(data, _RECORD, count, _HEADER)
    if b"COLOR=" in data[:80] or bool((records["attribute"] & 0x8000).any()):
        notes.add("its colours of facets are left out: programs do not agree on their meaning")
    return records["corners"].reshape(-1, 3)


def _text(data: bytes, notes: Notes) -> np.ndarray:
    data = data.lower()
    lines = Lines.of(data)
    rows = lines.beginning(b"vertex")
    if not len(rows):
        return np.zeros((0, 3), np.float32)
    values, counts = table(lines.joined(rows, 6))
    if bool((counts != 3).any()) or len(rows) % 3:
        line = int(rows[(counts != 3).argmax() if (counts != 3).any() else -1]) + 1
        raise UnreadableError(f"line {line}: expected three vertices of three numbers for each facet; is it cut short?")
    if b"endsolid" not in data:
        notes.add("the file has no endsolid: it may be cut short")
    return values.reshape(-1, 3).astype(np.float32)
