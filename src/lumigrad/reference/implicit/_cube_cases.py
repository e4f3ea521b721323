"""The cases of marching cubes, derived from how a surface cuts the faces of a cell.

Corner c of a cell lies at x = c & 1, y = c >> 1 & 1, z = c >> 2, and bit c of a cube case is set where it is inside.
Edges are numbered axis by axis, each by its lower corner; a face is two numbers, its axis and its side.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import torch
from torch import Tensor

EDGES = [(axis, corner) for axis in range(3) for corner in range(8) if not corner >> axis & 1]
CENTRE = 12
_NUMBER = {frozenset((corner, corner | 1 << axis)): number for number, (axis, corner) in enumerate(EDGES)}


def _face(axis: int, side: int) -> list[int]:
    """The corners of a face, counter-clockwise as seen from outside."""
    u, v, first = 1 << (axis + 1) % 3, 1 << (axis + 2) % 3, side << axis
    corners = [first, first | u, first | u | v, first | v]
    return corners if side else corners[::-1]


FACES = [_face(axis, side) for axis in range(3) for side in range(2)]
# The edges that bound each face, as sets.
_BOUNDS = [{_NUMBER[frozenset((face[i], face[i - 1]))] for i in range(4)} for face in FACES]


class CubeCases(NamedTuple):
    """Tables of tensors.

    Attributes:
        ambiguous: bool [256, 6], the faces on which only opposite corners are alike.
        first: [256], a case's first subcase; they are numbered by the bits of its ambiguous faces, lowest first:
            whether the inside corners are joined across the face.
        triangles: [656, 12, 3], edges or CENTRE; then -1.
        centre: [656, 12], the edges around the centre; then -1.
        patch: [656, 12], the loop of the case that an edge belongs to, -1 if it is not cut.
        loops: [656], the number of loops.
    """

    ambiguous: Tensor
    first: Tensor
    triangles: Tensor
    centre: Tensor
    patch: Tensor
    loops: Tensor


@functools.lru_cache(maxsize=1)
def cube_cases() -> CubeCases:
    """The tables, on the CPU."""
    ambiguous: list[list[bool]] = []
    first: list[int] = []
    triangles: list[list[tuple[int, int, int]]] = []
    centres: list[list[int]] = []
    patches: list[list[int]] = []
    counts: list[int] = []
    for case in range(256):
        faces = [is_ambiguous(case, face) for face in range(6)]
        ambiguous.append(faces)
        first.append(len(triangles))
        for bits in itertools.product((False, True), repeat=sum(faces)):
            bit = iter(bits[::-1])
            loops = _loops(case, [found and next(bit) for found in faces])
            filled = [_fill(loop) for loop in loops]
            triangles.append([triangle for part, _ in filled for triangle in part])
            centres.append([edge for _, loop in filled for edge in loop])
            patches.append([next((i for i, loop in enumerate(loops) if edge in loop), -1) for edge in range(12)])
            counts.append(len(loops))
    return CubeCases(
        torch.tensor(ambiguous),
        torch.tensor(first),
        torch.tensor([rows + [(-1, -1, -1)] * (12 - len(rows)) for rows in triangles]),
        torch.tensor([row + [-1] * (12 - len(row)) for row in centres]),
        torch.tensor(patches),
        torch.tensor(counts),
    )


def is_ambiguous(case: int, face: int) -> bool:
    """Whether all neighbouring corners of a face are on different sides."""
    inside = [case >> corner & 1 for corner in FACES[face]]
    return inside[0] == inside[2] != inside[1] == inside[3]


def _loops(case: int, joined: list[bool]) -> list[list[int]]:
    """The edges that each loop of the surface passes, starting with the lowest number, with the outside on its left."""
    following = {}
    for face, join in zip(FACES, joined, strict=True):
        inside = [case >> corner & 1 for corner in face]
        edges = [_NUMBER[frozenset((face[i], face[(i + 1) % 4]))] for i in range(4)]
        enters = [i for i in range(4) if not inside[i] and inside[(i + 1) % 4]]
        for i in (i for i in range(4) if inside[i] and not inside[(i + 1) % 4]):
            # Around an inside corner or, if these are joined, around an outside corner.
            entered = enters[0] if len(enters) == 1 else (i + (1 if join else -1)) % 4
            following[edges[entered]] = edges[i]
    loops = []
    while following:
        edge, loop = min(following), []
        while edge in following:
            loop.append(edge)
            edge = following.pop(edge)
        loops.append(loop)
    return loops


def _fill(loop: list[int]) -> tuple[list[tuple[int, int, int]], list[int]]:
    """Triangles that fill a loop, and the edges around the centre if they need one.

    No side shared by two of them may lie in a face of the cell, because the next cell may have the same one.
    """
    size = len(loop)
    cost, third = {(i, i + 1): 0 for i in range(size)}, {}

    def in_face(i: int, j: int) -> int:
        return 1 < j - i < size - 1 and any({loop[i], loop[j]} <= bounds for bounds in _BOUNDS)

    for length in range(2, size):
        for i in range(size - length):
            j = i + length
            ways = [(cost[i, k] + cost[k, j] + in_face(i, k) + in_face(k, j), k) for k in range(i + 1, j)]
            cost[i, j], third[i, j] = min(ways)
    if cost[0, size - 1]:
        return [(edge, loop[(i + 1) % size], CENTRE) for i, edge in enumerate(loop)], loop
    return list(_split(loop, third, 0, size - 1)), []


def _split(loop: list[int], third: dict[tuple[int, int], int], i: int, j: int) -> list[tuple[int, int, int]]:
    if j - i < 2:
        return []
    k = third[i, j]
    return [(loop[i], loop[k], loop[j]), *_split(loop, third, i, k), *_split(loop, third, k, j)]
