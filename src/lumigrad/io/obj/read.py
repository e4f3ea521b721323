"""OBJ files as meshes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lumigrad.io._named_files import decoded, find, read_bytes, without_comment
from lumigrad.io._problems import Notes, UnreadableError
from lumigrad.io.geometry.colors import unit_range
from lumigrad.io.geometry.part import Part, assembled, unit
from lumigrad.io.geometry.polygons import Triangles, triangulate
from lumigrad.io.geometry.wrapping import REPEAT, unwrapped
from lumigrad.io.obj.faces import Corners, read_faces
from lumigrad.io.obj.library import Entry, read_libraries
from lumigrad.io.obj.maps import Maps
from lumigrad.io.obj.materials import Placed, default_material, read_material
from lumigrad.io.obj.text import Lines, table
from lumigrad.scene.shapes.mesh import Mesh

_LEFT_OUT = {b"l": "lines", b"p": "points", b"curv": "curves", b"curv2": "curves", b"surf": "free-form surfaces"}


def read(path: Path, notes: Notes) -> Mesh | None:
    """The mesh of a file; None where it has no faces."""
    data = read_bytes(path)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = decoded(data).encode()
    lines = Lines.of(data)
    defined = [lines.beginning(word) for word in (b"v", b"vt", b"vn")]
    for word, kind in _LEFT_OUT.items():
        rows = lines.beginning(word)
        if len(rows):
            notes.add(f"its {kind} ({word.decode()}) are left out", f"line {int(rows[0]) + 1}")
    corners = read_faces(lines, defined, notes)
    positions, colors = _positions(lines, defined[0])
    if corners.index[0] is None or not len(corners.index[0]):
        if len(positions):
            raise UnreadableError(f"it holds {len(positions)} vertices and no faces")
        return None
    if int(corners.counts.min(initial=3)) < 3:
        row = int(corners.lines[(corners.counts < 3).argmax()])
        notes.add("a face of less than three corners is left out", f"line {row + 1}")
    triangles = triangulate(positions, corners.counts, corners.index[0])
    if not len(triangles.owner):
        return None
    part = Part(positions, triangles.of(corners.index[0]), colors=colors)
    _add_normals(part, _vectors(lines, defined[2], 3), corners.index[2], triangles)
    uvs = _vectors(lines, defined[1], 2) if corners.index[1] is not None else None
    placed = _materials(lines, path, notes, corners, triangles.owner, part)
    _add_uvs(part, uvs, corners.index[1], triangles, placed)
    mesh = assembled([part], default_material)
    clamped = {id(one.material) for one in placed if one is not None and one.clamp}
    return unwrapped(mesh, [("clamp", "clamp") if id(m) in clamped else REPEAT for m in mesh.materials])


def _positions(lines: Lines, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Positions [V, 3] and colours [V, 3 or 4], which follow the coordinates of a vertex."""
    if not len(rows):
        return np.zeros((0, 3), np.float32), None
    values, counts, starts = _rows(lines, rows, b"v", 3)
    if counts is None:
        width = values.shape[1]
        colors = values[:, 3:7] if width in (6, 7) else None
        return values[:, :3].astype(np.float32), None if colors is None else unit_range(colors)
    positions = values[starts[:, None] + np.arange(3)].astype(np.float32)
    painted = counts >= 6
    if not painted.any():
        return positions, None
    colors = np.ones((len(positions), 3), np.float32)
    colors[painted] = unit_range(values[starts[painted, None] + np.arange(3, 6)])
    return positions, colors


def _vectors(lines: Lines, rows: np.ndarray, columns: int) -> np.ndarray:
    """Texture coordinates or normals [N, columns]; missing numbers are 0."""
    if not len(rows):
        return np.zeros((0, columns), np.float32)
    values, counts, starts = _rows(lines, rows, b"vt" if columns == 2 else b"vn", 1 if columns == 2 else 3)
    if counts is None and values.shape[1] >= columns:
        return values[:, :columns].astype(np.float32)
    if counts is None:
        counts, starts, values = np.full(len(rows), values.shape[1]), np.arange(len(rows)), values.reshape(-1)
    result = np.zeros((len(rows), columns), np.float32)
    for i in range(columns):
        said = counts > i
        result[said, i] = values[starts[said] + i]
    return result


def _rows(lines: Lines, rows: np.ndarray, word: bytes, fewest: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The numbers of lines as a table; or as one list, with the number per line and where each line starts."""
    try:
        values, counts = table(lines.joined(rows, len(word)))
    except UnreadableError as error:
        raise UnreadableError(f"a line of {word.decode()}: {error}") from error
    if int(counts.min()) < fewest:
        row = int(rows[counts.argmin()]) + 1
        raise UnreadableError(f"line {row}: {word.decode()} has {int(counts.min())} numbers; expected {fewest}")
    starts = np.cumsum(counts) - counts
    if int(counts.max()) == int(counts.min()):
        return values.reshape(len(rows), -1), None, starts
    return values, counts, starts


def _add_normals(part: Part, normals: np.ndarray, index: np.ndarray | None, triangles: Triangles) -> None:
    if index is not None:
        part.normals, part.normal_faces = unit(normals), triangles.of(index)


def _add_uvs(
    part: Part, uvs: np.ndarray | None, index: np.ndarray | None, triangles: Triangles, placed: list[Placed | None]
) -> None:
    """Texture coordinates, moved as the options of the materials' images say; (0, 0) for corners that have none."""
    if uvs is None or index is None:
        return
    faces = triangles.of(index)
    if faces.min() < 0:
        faces = np.where(faces < 0, len(uvs), faces)
        uvs = np.concatenate([uvs, np.array([[0, 1]], np.float32)])
    for slot, one in enumerate(placed):
        if one is None or (one.scale, one.offset) == ((1.0, 1.0), (0.0, 0.0)):
            continue
        assert part.face_materials is not None
        chosen = part.face_materials == slot
        used, inverse = np.unique(faces[chosen], return_inverse=True)
        faces[chosen] = inverse.reshape(-1, 3) + len(uvs)
        uvs = np.concatenate([uvs, (uvs[used] * np.array(one.scale) + np.array(one.offset)).astype(np.float32)])
    part.uvs, part.uv_faces = np.stack([uvs[:, 0], 1 - uvs[:, 1]], -1), faces


def _materials(
    lines: Lines, path: Path, notes: Notes, corners: Corners, owner: np.ndarray, part: Part
) -> list[Placed | None]:
    """The materials of the part, which are set in it; None stands for faces that have none."""
    statements = lines.beginning(b"usemtl")
    libraries = [(int(row) + 1, decoded(lines.rest(row, 6)).strip()) for row in lines.beginning(b"mtllib")]
    if not libraries and len(statements) and find(f"{path.stem}.mtl", path.parent) is not None:
        libraries = [(1, f"{path.stem}.mtl")]
    entries = read_libraries(libraries, path, notes)
    names = [decoded(lines.rest(row, 6)).strip() for row in statements]
    if not names and entries:
        names, statements = [next(iter(entries))], np.zeros(1, np.int64) - 1
    maps = Maps(notes)
    made: dict[str, int] = {}
    placed: list[Placed | None] = [None]
    slots = []
    for name, row in zip(names, statements.tolist()):
        if name not in made:
            entry = _entry(name, entries)
            if entry is None and entries and name.lower() not in ("", "none", "(null)"):
                notes.add(f"usemtl {name}: no material library has it", f"line {row + 1}")
            made[name] = len(placed) if entry is not None else 0
            if entry is not None:
                placed.append(read_material(entry, maps, notes))
        slots.append(made[name])
    table_of = np.array([0, *slots])
    current = np.searchsorted(statements, corners.lines)
    part.face_materials = table_of[current][owner]
    part.materials = [None if one is None else one.material for one in placed]
    return placed


def _entry(name: str, entries: dict[str, Entry]) -> Entry | None:
    """The material with a name, or otherwise one whose name differs in case, quotes or a trailing comment."""
    if name in entries:
        return entries[name]
    plain = _plain(name)
    return next((entry for key, entry in entries.items() if _plain(key) == plain), None)


def _plain(name: str) -> str:
    return without_comment(name).strip('"').lower()
