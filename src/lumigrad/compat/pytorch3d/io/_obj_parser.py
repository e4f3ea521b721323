"""The text of an OBJ file as tensors."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

Corner = tuple[int, int, int]
NONE = np.iinfo(np.int64).min  # a texture coordinate or normal that a corner lacks


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


def parse_obj(lines: Iterable[str | bytes]) -> ObjText:
    """Read lines.

    Raises:
        ValueError: a line that cannot be read.
    """
    rows: dict[str, list[Sequence[str]]] = {"v": [], "vn": [], "vt": []}
    triangles: list[tuple[Corner, Corner, Corner]] = []
    materials: list[int] = []
    names: list[str] = []
    libraries: list[str] = []
    material = -1
    for raw in lines:
        line = (raw.decode("utf-8") if isinstance(raw, bytes) else raw).strip()
        tokens = line.split()
        key = tokens[0] if tokens else ""
        if key in rows:
            rows[key].append(tokens[1:])
        elif key == "f":
            counts = (len(rows["v"]), len(rows["vt"]), len(rows["vn"]))
            corners = _corners(tokens[1:], counts, line)
            triangles += [(corners[0], b, c) for b, c in itertools.pairwise(corners[1:])]
            materials += [material] * (len(corners) - 2)
        elif key == "usemtl":
            name = line[len(key) :].strip()
            if name not in names:
                names.append(name)
            material = names.index(name)
        elif key == "mtllib":
            if len(tokens) < 2:
                raise ValueError(f"material file name is not specified. Line: {line}")
            libraries.append(line[len(key) :].strip())
    numbers = torch.tensor(triangles, dtype=torch.int64).reshape(-1, 3, 3)
    verts, uvs, normals = numbers.unbind(2)
    return ObjText(
        _floats(rows["v"], 3, "Vertex"), _floats(rows["vn"], 3, "Normal"), _floats(rows["vt"], 2, "Texture"),
        (verts, normals, uvs), torch.tensor(materials, dtype=torch.int64), names, libraries,
    )  # fmt: skip


def _floats(rows: Sequence[Sequence[str]], width: int, name: str) -> Tensor:
    for row in rows:
        if len(row) < width:
            raise ValueError(f"{name} {list(row)} does not have {width} values.")
    flat = np.array([value for row in rows for value in row[:width]], dtype=np.float32)
    return torch.from_numpy(flat.reshape(-1, width))


def _corners(tokens: Sequence[str], counts: Corner, line: str) -> list[Corner]:
    """Vertex, texture coordinate and normal of each corner of a face, counted from 0; -1 for none."""
    corners = []
    for token in tokens:
        parts = token.split("/")
        if len(parts) > 3:
            raise ValueError(f"Face vertices can only have 3 properties. Face vert {parts}, Line: {line}")
        parts += [""] * (3 - len(parts))
        corners.append(tuple(_from_zero(part, count) for part, count in zip(parts, counts)))
    for column in (1, 2):
        given = [corner[column] != NONE for corner in corners]
        if any(given) and not all(given):
            raise ValueError(
                f"Face {list(tokens)} is an illegal statement. Vertex properties are inconsistent. Line: {line}"
            )
    return [(v, -1 if t == NONE else t, -1 if n == NONE else n) for v, t, n in corners]


def _from_zero(text: str, count: int) -> int:
    """A number from 0: those of a file count from 1, or negative ones back from the last one read.

    One that does not exist is the number of rows or more, so that it is not taken for none.
    """
    if not text:
        return NONE
    number = int(text)
    place = number - 1 if number > 0 else count + number
    return place if place >= 0 and number != 0 else np.iinfo(np.int32).max
