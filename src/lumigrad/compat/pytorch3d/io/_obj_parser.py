"""The text of an OBJ file as PyTorch3D gives it.

`lumigrad.io` reads the lines. What differs here is PyTorch3D's contract: vertices stay as they are in the file,
polygons become fans whatever their shape, numbers that do not exist are kept (`load_obj` warns of them), and lines that
other programs tolerate are errors.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lumigrad.io._named_files import decoded
from lumigrad.io.geometry.polygons import fans
from lumigrad.io.obj.faces import Corners, before, said_corners
from lumigrad.io.obj.text import Lines, table

_TOO_MANY = re.compile(rb"[^\s/]+/[^\s/]*/[^\s/]*/[^\s]*")
_NOWHERE = np.iinfo(np.int32).max  # a number that does not exist, which must not be taken for -1


class ObjText(NamedTuple):
    """What an OBJ file says.

    Attributes:
        verts, normals, uvs: [V, 3], [N, 3], [U, 2].
        faces: of vertices, normals and texture coordinates, [F, 3] each, counted from 0, -1 for none.
        materials: int64 [F], numbers of `material_names`, -1 for none.
        material_names: in their order of use.
        libraries: material files.
    """

    verts: Tensor
    normals: Tensor
    uvs: Tensor
    faces: tuple[Tensor, Tensor, Tensor]
    materials: Tensor
    material_names: list[str]
    libraries: list[str]


def parse_obj(content: str | bytes) -> ObjText:
    """Read a file's content.

    Raises:
        ValueError: a line that cannot be read.
    """
    lines = Lines.of(content.encode("utf-8") if isinstance(content, str) else content)
    defined = [lines.beginning(word) for word in (b"v", b"vt", b"vn")]
    verts = _floats(lines, defined[0], b"v", 3, "Vertex")
    uvs = _floats(lines, defined[1], b"vt", 2, "Texture")
    normals = _floats(lines, defined[2], b"vn", 3, "Normal")
    many = _TOO_MANY.search(lines.joined(lines.beginning(b"f"), 1))
    if many is not None:
        raise ValueError(f"Face vertices can only have 3 properties. Face vert {decoded(many[0]).split('/')}")
    corners = said_corners(lines)
    _check_corners(lines, corners)
    triangles = fans(corners.counts)
    found = [triangles.of(_from_zero(corners, slot, where)) for slot, where in enumerate(defined)]
    faces = (torch.from_numpy(found[0]), torch.from_numpy(found[2]), torch.from_numpy(found[1]))
    chosen, names = _materials(lines, corners)
    return ObjText(verts, normals, uvs, faces, torch.from_numpy(chosen[triangles.owner]), names, _libraries(lines))


def _floats(lines: Lines, rows: np.ndarray, word: bytes, width: int, name: str) -> Tensor:
    """The first `width` numbers of lines [N, width]."""
    if not len(rows):
        return torch.zeros(0, width)
    values, counts = table(lines.joined(rows, len(word)))
    if int(counts.min()) < width:
        said = decoded(lines.rest(int(rows[counts.argmin()]), len(word))).split()
        raise ValueError(f"{name} {said} does not have {width} values.")
    starts = np.cumsum(counts) - counts
    return torch.from_numpy(values[starts[:, None] + np.arange(width)].astype(np.float32))


def _check_corners(lines: Lines, corners: Corners) -> None:
    """Refuse faces of which some corners have texture coordinates or normals and others have not."""
    starts = np.minimum(np.cumsum(corners.counts) - corners.counts, max(int(corners.counts.sum()) - 1, 0))
    for index in corners.index[1:]:
        if index is None:
            continue
        given = np.add.reduceat(index != 0, starts, dtype=np.int64) * (corners.counts > 0)
        mixed = (given > 0) & (given < corners.counts)
        if mixed.any():
            line = decoded(lines.rest(int(corners.lines[mixed.argmax()]), 0)).strip()
            raise ValueError(
                f"Face {line.split()[1:]} is an illegal statement. Vertex properties are inconsistent. Line: {line}"
            )


def _from_zero(corners: Corners, slot: int, defined: np.ndarray) -> np.ndarray:
    """Numbers of all corners from 0: those of a file count from 1, or negative ones back from the last one above."""
    said = corners.index[slot]
    if said is None:
        return np.full(int(corners.counts.sum()), -1, np.int64)
    result = np.where(said > 0, said - 1, before(defined, corners) + said)
    result[result < 0] = _NOWHERE
    result[said == 0] = _NOWHERE if slot == 0 else -1
    return result


def _materials(lines: Lines, corners: Corners) -> tuple[np.ndarray, list[str]]:
    """The material of each face, -1 for none, and the names of all."""
    rows = lines.beginning(b"usemtl")
    used = [decoded(lines.rest(row, 6)).strip() for row in rows.tolist()]
    names = list(dict.fromkeys(used))
    number = {name: place for place, name in enumerate(names)}
    numbers = np.array([-1, *(number[name] for name in used)], np.int64)
    return numbers[np.searchsorted(rows, corners.lines)], names


def _libraries(lines: Lines) -> list[str]:
    found = []
    for row in lines.beginning(b"mtllib").tolist():
        name = decoded(lines.rest(row, 6)).strip()
        if not name:
            raise ValueError(f"material file name is not specified. Line: {decoded(lines.rest(row, 0))}")
        found.append(name)
    return found
