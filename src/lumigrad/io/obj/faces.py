"""The face lines of an OBJ file: corners `v`, `v/vt`, `v//vn`, `v/vt/vn`, counted from the start or from the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lumigrad.io._problems import Notes, UnreadableError
from lumigrad.io.obj.text import Lines, line_ends, numbers, word_starts

_SLASH = 47


@dataclass
class Corners:
    """The corners of all faces, one after the other.

    Attributes:
        lines: [P] number of each face's line.
        counts: [P] corners of each face.
        index: for positions, texture coordinates and normals, [C] integers from 0, -1 where a corner has none;
            None where no corner has any.
    """

    lines: np.ndarray
    counts: np.ndarray
    index: list[np.ndarray | None]


def read_faces(lines: Lines, defined: list[np.ndarray], notes: Notes) -> Corners:
    """The corners of the file's faces.

    Args:
        lines: of the file.
        defined: numbers of the lines that define positions, texture coordinates and normals.
        notes: collects texture coordinates and normals that are missing.
    """
    said = said_corners(lines)
    index = [
        None if one is None else _from_zero(one, where, said, ("v", "vt", "vn")[slot], notes)
        for slot, (one, where) in enumerate(zip(said.index, defined))
    ]
    return Corners(said.lines, said.counts, index)


def said_corners(lines: Lines) -> Corners:
    """The corners as the file has them: counted from 1, or with negative numbers from the end; 0 for none."""
    rows = lines.beginning(b"f")
    text = lines.joined(rows, 1)
    array = np.frombuffer(text, np.uint8)
    plain = text.replace(b"/", b" ")
    starts = word_starts(np.frombuffer(plain, np.uint8))
    values = numbers(plain, starts, np.int64)
    slots = _slots(array, starts)
    ends = line_ends(array)
    if slots is None:
        return Corners(rows, np.diff(np.searchsorted(starts, ends), prepend=0), [values, None, None])
    per_line = np.diff(np.searchsorted(starts[slots == 0], ends), prepend=0)
    return Corners(rows, per_line, _by_slot(values, slots))


def before(defined: np.ndarray, corners: Corners) -> np.ndarray:
    """The number of definitions above each corner, from which negative numbers count back."""
    return np.repeat(np.searchsorted(defined, corners.lines), corners.counts)


def _slots(array: np.ndarray, starts: np.ndarray) -> np.ndarray | None:
    """Whether each number is a position (0), texture coordinate (1) or normal (2); None where all are positions."""
    slash = array[np.maximum(starts - 1, 0)] == _SLASH
    if not slash.any():
        return None
    double = slash & (array[np.maximum(starts - 2, 0)] == _SLASH)
    after_position = np.r_[True, ~slash[:-1]]
    return np.where(slash, np.where(double | ~after_position, 2, 1), 0).astype(np.int8)


def _by_slot(values: np.ndarray, slots: np.ndarray) -> list[np.ndarray | None]:
    """Positions, texture coordinates and normals of every corner; 0 where it has none."""
    for width in (2, 3):  # in most files, all corners have the same form
        if len(slots) % width == 0:
            pattern = slots.reshape(-1, width)
            if bool((pattern == pattern[0]).all()) and pattern[0, 0] == 0 and len(set(pattern[0].tolist())) == width:
                found = dict(zip(pattern[0].tolist(), values.reshape(-1, width).T))
                return [found.get(slot) for slot in range(3)]
    corner = np.cumsum(slots == 0) - 1
    count = int(corner[-1]) + 1 if len(corner) else 0
    result: list[np.ndarray | None] = []
    for slot in range(3):
        chosen = slots == slot
        if slot == 2 and int(np.bincount(corner[chosen], minlength=1).max()) > 1:
            raise UnreadableError("a corner of a face has more than three numbers")
        column = np.zeros(count, np.int64)
        column[corner[chosen]] = values[chosen]
        result.append(column if chosen.any() else None)
    return result


def _from_zero(said: np.ndarray, defined: np.ndarray, corners: Corners, kind: str, notes: Notes) -> np.ndarray:
    """Indices counted from 0; negative ones count back from the last definition above the face."""
    negative = said < 0
    result = said - 1
    if negative.any():
        result = np.where(negative, before(defined, corners) + said, result)
        missing = (said == 0) | (result < 0)
        result = np.where(said == 0, -1, result)
    else:
        missing = said == 0
    wrong = (missing if kind == "v" else missing & (said != 0)) | (result >= len(defined))
    if wrong.any():
        corner = int(wrong.argmax())
        line = int(corners.lines[np.searchsorted(np.cumsum(corners.counts), corner, side="right")]) + 1
        what = f"a face refers to {kind} {int(said[corner])}; there are {len(defined)}"
        if kind == "v":
            raise UnreadableError(f"line {line}: {what}")
        notes.add(f"{what}: such corners have none", f"line {line}")
        result = np.where(wrong, -1, result)
    return result
