"""OFF files: OFF, COFF, NOFF, STOFF and their combinations, in text.

Source: the Geomview manual, "OFF Files".
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from lumigrad.io._named_files import read_bytes
from lumigrad.io._problems import Notes, UnreadableError
from lumigrad.io.geometry.colors import unit_range
from lumigrad.io.geometry.palette import painted
from lumigrad.io.geometry.part import Part, assembled, unit
from lumigrad.io.geometry.polygons import triangulate
from lumigrad.io.obj.materials import default_material
from lumigrad.io.obj.text import line_ends, numbers, word_starts
from lumigrad.scene.shapes.mesh import Mesh

_KEYWORD = re.compile(rb"\s*(ST)?(C)?(N)?(4)?(n)?OFF(\s+BINARY)?")


def read(path: Path, notes: Notes) -> Mesh | None:
    """The mesh of a file; None where it has no faces."""
    has, text = _header(read_bytes(path))
    values, per_line = _numbers(text)
    vertices, faces = int(values[0]), int(values[1])
    if vertices < 0 or faces < 0 or 3 * vertices + faces > len(values):
        raise UnreadableError(
            f"the file is cut short: it has {len(values)} numbers for {vertices} vertices, {faces} faces"
        )
    ends = np.cumsum(per_line)
    first = int(np.searchsorted(ends, 3))
    by_line = first < len(ends) and ends[first] == 3
    lines = per_line[first + 1 :] if by_line else np.zeros(0, np.int64)
    columns = _columns(lines[:vertices], vertices, *has)
    stop = 3 + vertices * columns
    if stop > len(values):
        raise UnreadableError(f"the file is cut short: it has {len(values)} numbers, its vertices end at {stop}")
    table = values[3:stop].reshape(vertices, columns)
    on_lines = len(lines) >= vertices and int(lines[:vertices].sum()) == vertices * columns
    counts, corners, colors = _faces(values[stop:], lines[vertices:] if on_lines else lines[:0], faces)
    if len(corners) and (int(corners.min()) < 0 or int(corners.max()) >= vertices):
        raise UnreadableError(f"its faces refer to vertices {int(corners.min())} to {int(corners.max())} of {vertices}")
    part = _part(table, *has)
    triangles = triangulate(part.positions, counts, corners)
    part.faces = triangles.of(corners)
    if not len(part.faces):
        if vertices:
            raise UnreadableError(f"it holds {vertices} points and no faces")
        return None
    mesh = assembled([part], default_material)
    if colors is None:
        return mesh
    if part.colors is not None:
        notes.add("its colours of faces are left out beside those of vertices")
        return mesh
    return painted(mesh, colors[triangles.owner])


def _header(data: bytes) -> tuple[tuple[bool, bool, bool], bytes]:
    """Whether vertices have texture coordinates, colours and normals, and the text behind the keyword."""
    text = b"\n".join(line.partition(b"#")[0] for line in data.replace(b"\r", b"\n").split(b"\n")) + b"\n"
    head = _KEYWORD.match(text)
    if head is None:
        if not text.lstrip()[:1].isdigit():
            raise UnreadableError("it is no OFF file: it does not begin with OFF")
        return (False, False, False), text
    if head[4] or head[5] or head[6]:
        kind = "binary" if head[6] else "of other than three dimensions"
        raise UnreadableError(f"it is an OFF file that is {kind}, which is not supported")
    return (bool(head[1]), bool(head[2]), bool(head[3])), text[head.end() :]


def _numbers(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """All numbers, of which the first three count vertices, faces and edges, and how many each line has."""
    starts = word_starts(np.frombuffer(text, np.uint8))
    values = numbers(text, starts, np.float64)
    per_line = np.diff(np.searchsorted(starts, line_ends(np.frombuffer(text, np.uint8))), prepend=0)
    per_line = per_line[per_line > 0]
    if len(values) < 2:
        raise UnreadableError("the file is cut short: it has no numbers of vertices and faces")
    # Some writers omit the number of edges, which has no use.
    if per_line[0] == 2 and per_line[1:2].tolist() != [1]:
        values, per_line[0] = np.insert(values, 2, 0), 3
    return values, per_line


def write(positions: np.ndarray, faces: np.ndarray, colors: np.ndarray | None, path: Path) -> None:
    """Write vertices [V, 3], faces [F, 3] and, in COFF, colours [V, 3 or 4] in [0, 1]."""
    pattern, columns = "%.9g %.9g %.9g", [positions]
    if colors is not None:
        pattern += " %d %d %d %d"
        alpha = np.ones((len(colors), 1)) if colors.shape[1] == 3 else colors[:, 3:]
        columns.append(np.concatenate([colors[:, :3], alpha], 1).clip(0, 1) * 255 + 0.5)
    lines = ["OFF" if colors is None else "COFF", f"{len(positions)} {len(faces)} 0"]
    lines += [pattern % tuple(row) for row in np.concatenate(columns, 1).tolist()]
    lines += [f"3 {a} {b} {c}" for a, b, c in faces.tolist()]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _columns(lines: np.ndarray, vertices: int, textured: bool, colored: bool, normal: bool) -> int:
    """The number of values per vertex: as in its line, or as the keyword says."""
    said = 3 + 3 * normal + 4 * colored + 2 * textured
    if len(lines) == vertices and vertices and bool((lines == lines[0]).all()):
        width = int(lines[0])
        if width in (said, said - colored) or (not (normal or textured) and width in (3, 6, 7)):
            return width
    return said


def _part(table: np.ndarray, textured: bool, colored: bool, normal: bool) -> Part:
    """The vertices: position, normal, colour, texture coordinate, in this order."""
    part = Part(table[:, :3].astype(np.float32), np.zeros((0, 3), np.int64))
    rest = table[:, 3:]
    if normal:
        part.normals, rest = unit(rest[:, :3]), rest[:, 3:]
    if textured:
        part.uvs, rest = np.stack([rest[:, -2], 1 - rest[:, -1]], -1), rest[:, :-2]
    if rest.shape[1] in (3, 4):
        part.colors = unit_range(rest)
        if part.colors.shape[1] == 4 and bool((part.colors[:, 3] == 1).all()):
            part.colors = part.colors[:, :3]
    return part


def _faces(values: np.ndarray, lines: np.ndarray, faces: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Corners of each face, all of them one after the other, and colours [F, 3] or None."""
    lines = lines[:faces]
    if len(lines) == faces and int(lines.sum()) <= len(values):
        begin = np.cumsum(lines) - lines
        counts = values[begin].astype(np.int64)
        if bool(((counts >= 0) & (counts < lines)).all()):
            inside = np.repeat(begin + 1 - (np.cumsum(counts) - counts), counts)
            corners = values[inside + np.arange(len(inside))].astype(np.int64)
            extra = lines - counts - 1
            if faces and bool((extra >= 3).all()):
                colors = values[(begin + 1 + counts)[:, None] + np.arange(3)]
                return counts, corners, unit_range(colors)
            return counts, corners, None
    found, corners_of, position = [], [], 0
    for face in range(faces):
        count = int(values[position]) if position < len(values) else -1
        if count < 0 or position + 1 + count > len(values):
            raise UnreadableError(f"the file is cut short: it ends within face {face} of {faces}")
        found.append(count)
        corners_of.append(values[position + 1 : position + 1 + count])
        position += 1 + count
    corners = np.concatenate(corners_of).astype(np.int64) if corners_of else np.zeros(0, np.int64)
    return np.array(found, np.int64), corners, None
