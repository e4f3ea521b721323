"""The elements of a PLY file as arrays.

Source: Greg Turk, "The PLY Polygon File Format".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lumigrad.io._named_files import decoded, read_bytes
from lumigrad.io._problems import UnreadableError
from lumigrad.io.obj.text import line_ends, numbers, word_starts

TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4",
    "float64": "f8", "int64": "i8", "uint64": "u8", "bool": "u1",
}  # fmt: skip
_COMMENT = re.compile(rb"^[ \t]*comment\b[^\r\n]*", re.MULTILINE)
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass
class Lists:
    """A list of numbers per row: the number of each, and all numbers in one sequence."""

    counts: np.ndarray
    values: np.ndarray


@dataclass
class Element:
    """An element of a PLY file.

    Attributes:
        name: such as "vertex" or "face".
        count: how many there are.
        properties: name, type of the number of values (None where it is always one), type of the values.
        columns: the values of each property by name.
    """

    name: str
    count: int
    properties: list[tuple[str, str | None, str]] = field(default_factory=list)
    columns: dict[str, np.ndarray | Lists] = field(default_factory=dict)

    def column(self, *names: str) -> np.ndarray | None:
        """The single values of the first of these names that there is."""
        for name in names:
            found = self.columns.get(name)
            if isinstance(found, np.ndarray):
                return found
        return None

    def lists(self, *names: str) -> Lists | None:
        """The lists of the first of these names that there is."""
        for name in names:
            found = self.columns.get(name)
            if isinstance(found, Lists):
                return found
        return None


@dataclass
class Header:
    """The header of a file.

    Attributes:
        order: of bytes, "<" or ">"; "" for text.
        elements: in their order, without values.
        comments: lines of text.
        begin: where the rows begin.
    """

    order: str
    elements: list[Element]
    comments: list[str]
    begin: int

    @property
    def ascii(self) -> bool:
        """Whether the rows are text."""
        return not self.order


@dataclass
class Ply:
    """A file: its elements by name, its comments, and where its last row ends."""

    elements: dict[str, Element]
    comments: list[str]
    end: int


def read_ply(path: Path) -> Ply:
    """Read a file.

    Raises:
        UnreadableError: it is no PLY file, or shorter than its header says.
    """
    return parse_ply(read_bytes(path))


def parse_ply(data: bytes) -> Ply:
    """Read the bytes of a file; see `read_ply`."""
    header = read_header(data)
    end = len(data)
    if header.order:
        end = _read_binary(data, header.begin, header.order, header.elements)
    else:
        _read_text(data[header.begin :], header.elements)
    return Ply({element.name: element for element in header.elements}, header.comments, end)


def read_header(data: bytes) -> Header:
    """The header of a file.

    Raises:
        UnreadableError: it has none, or one that is not understood.
    """
    if data[:3] != b"ply":
        raise UnreadableError("it is no PLY file: it does not begin with 'ply'")
    end = data.find(b"end_header")
    if end < 0:
        raise UnreadableError("the file is cut short, or no PLY file: its header has no end_header")
    begin = data.find(b"\n", end) + 1
    if not begin or (data[end + 10 : end + 11] == b"\r" and data[end + 11 : end + 12] != b"\n"):
        begin = end + 11
    order, elements, comments = None, [], []
    for line in decoded(data[:end]).splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "format":
            order = _ORDERS.get(words[1] if len(words) > 1 else "")
        elif words[0] in ("comment", "obj_info"):
            comments.append(line.partition(" ")[2].strip())
        elif words[0] == "element" and len(words) >= 3 and words[2].isdigit():
            elements.append(Element(words[1], int(words[2])))
        elif words[0] == "property" and elements:
            elements[-1].properties.append(_property(words, line))
    if order is None:
        raise UnreadableError("its header names no format: expected ascii, binary_little_endian or binary_big_endian")
    return Header(order, elements, comments, begin)


def _property(words: list[str], line: str) -> tuple[str, str | None, str]:
    if len(words) >= 5 and words[1] == "list" and words[2] in TYPES and words[3] in TYPES:
        return words[4], TYPES[words[2]], TYPES[words[3]]
    if len(words) >= 3 and words[1] in TYPES:
        return words[2], None, TYPES[words[1]]
    raise UnreadableError(f"its header has the line '{line.strip()[:60]}', which is not understood")


def _cut_short(element: Element, needed: int, there: int, unit: str) -> UnreadableError:
    return UnreadableError(
        f"the file is cut short: {element.count} rows of '{element.name}' need {needed} {unit}, it has {there} left"
    )


# ---- Binary --------------------------------------------------------------------------------------------------------


def _read_binary(data: bytes, position: int, order: str, elements: list[Element]) -> int:
    """Read all elements from a position on; returns where they end."""
    for element in elements:
        if not element.count or not element.properties:
            continue
        least = sum(np.dtype(count or kind).itemsize for _, count, kind in element.properties)
        if element.count * least > len(data) - position:
            raise _cut_short(element, element.count * least, len(data) - position, "bytes")
        end = _rows_of_one_size(data, position, order, element)
        position = _rows_of_any_size(data, position, order, element) if end is None else end
    return position


def _rows_of_one_size(data: bytes, position: int, order: str, element: Element) -> int | None:
    """Read rows whose lists are as long as those of the first row; None where they are not."""
    layout: list[tuple[Any, ...]] = []
    offset = position
    for i, (_, count, kind) in enumerate(element.properties):
        size = np.dtype(kind).itemsize
        if count is None:
            layout.append((f"v{i}", order + kind))
            offset += size
            continue
        width = np.dtype(count).itemsize
        if offset + width > len(data):
            return None
        length = int(np.frombuffer(data, order + count, 1, offset)[0])
        if length < 0 or offset + width + length * size > len(data):
            return None
        layout += [(f"n{i}", order + count), (f"v{i}", order + kind, (length,))]
        offset += width + length * size
    dtype = np.dtype(layout)
    if position + dtype.itemsize * element.count > len(data):
        return None
    rows = np.frombuffer(data, dtype, element.count, position)
    for i, (_, count, _) in enumerate(element.properties):
        if count is not None and not bool((rows[f"n{i}"] == rows[f"n{i}"][0]).all()):
            return None
    for i, (name, count, kind) in enumerate(element.properties):
        values = rows[f"v{i}"]
        if count is None:
            element.columns[name] = values.astype(kind, copy=False)
        else:
            counts = np.broadcast_to(np.int64(values.shape[1]), element.count)
            element.columns[name] = Lists(counts, values.reshape(-1).astype(kind, copy=False))
    return position + dtype.itemsize * element.count


def _rows_of_any_size(data: bytes, position: int, order: str, element: Element) -> int:
    """Read rows with lists of different lengths, whose places are found one after the other."""
    sizes = [
        (np.dtype(count).itemsize if count else 0, np.dtype(kind).itemsize) for _, count, kind in element.properties
    ]
    endian: Literal["big", "little"] = "big" if order == ">" else "little"
    places: list[list[int]] = [[] for _ in sizes]
    lengths: list[list[int]] = [[] for _ in sizes]
    signed = [count is not None and count[0] == "i" for _, count, _ in element.properties]
    end = len(data)
    for row in range(element.count):
        for i, (width, size) in enumerate(sizes):
            length = 1
            if width:
                length = int.from_bytes(data[position : position + width], endian, signed=signed[i])
                position += width
            places[i].append(position)
            lengths[i].append(length)
            position += length * size
            if length < 0 or position > end:
                raise UnreadableError(
                    f"the file is cut short or damaged: row {row} of '{element.name}' has a list of {length} values"
                )
    for i, (name, count, kind) in enumerate(element.properties):
        counts, size = np.array(lengths[i], np.int64), sizes[i][1]
        firsts = np.repeat(np.array(places[i], np.int64) - (np.cumsum(counts) - counts) * size, counts)
        where = firsts + np.arange(len(firsts)) * size
        raw = np.frombuffer(data, np.uint8)[where[:, None] + np.arange(size)]
        values = np.ascontiguousarray(raw).view(order + kind)[:, 0].astype(kind) if len(raw) else np.zeros(0, kind)
        element.columns[name] = values if count is None else Lists(counts, values)
    return position


# ---- Text ----------------------------------------------------------------------------------------------------------


def _read_text(text: bytes, elements: list[Element]) -> None:
    text = _COMMENT.sub(b"", text) if b"comment" in text else text
    array = np.frombuffer(text, np.uint8)
    words = word_starts(array)
    values = numbers(text, words, np.float64)
    ends = np.searchsorted(words, np.append(line_ends(array), len(array)))
    ends = ends[np.diff(ends, prepend=0) > 0]
    elements = [element for element in elements if element.count and element.properties]
    for element in elements:
        least = element.count * len(element.properties)
        if least > len(values):
            raise _cut_short(element, least, len(values), "numbers")
    # Rows are lines in nearly all files, and some lines have more numbers than the header says.
    if sum(element.count for element in elements) <= len(ends) and _by_lines(values, np.r_[0, ends], elements):
        return
    position = 0
    for element in elements:
        position = _row_by_row(values, element, None, position)


def _by_lines(values: np.ndarray, bounds: np.ndarray, elements: list[Element]) -> bool:
    """Read each row from a line of its own, between two `bounds`; False where lines are too short for it."""
    row = 0
    for element in elements:
        begin, end = bounds[row : row + element.count], bounds[row + 1 : row + 1 + element.count]
        row += element.count
        if _rows_alike(values, element, begin, end):
            continue
        try:
            _row_by_row(values, element, (begin, end), 0)
        except UnreadableError:
            return False
    return True


def _rows_alike(values: np.ndarray, element: Element, begin: np.ndarray, end: np.ndarray) -> bool:
    """Read rows whose lists are as long as those of the first row; False where they are not."""
    offset, columns = 0, []
    for _, count, _ in element.properties:
        length = 1
        if count is not None:
            if begin[0] + offset >= end[0]:
                return False
            length = int(values[begin[0] + offset])
            if length < 0 or bool((begin + offset >= end).any()):
                return False
            if bool((values[begin + offset] != length).any()):
                return False
            offset += 1
        columns.append((offset, length))
        offset += length
    if bool((begin + offset > end).any()):
        return False
    for (name, count, kind), (first, length) in zip(element.properties, columns):
        part = values[(begin + first)[:, None] + np.arange(length)].astype(kind)
        counts = np.full(element.count, length)
        element.columns[name] = part[:, 0] if count is None else Lists(counts, part.reshape(-1))
    return True


def _row_by_row(
    values: np.ndarray, element: Element, lines: tuple[np.ndarray, np.ndarray] | None, position: int
) -> int:
    """Read rows one after the other: from their lines, or as they follow each other from a position on."""
    places: list[list[int]] = [[] for _ in element.properties]
    lengths: list[list[int]] = [[] for _ in element.properties]
    listed = [count is not None for _, count, _ in element.properties]
    whole = values.tolist()
    begins: list[int] = [] if lines is None else lines[0].tolist()
    ends: list[int] = [] if lines is None else lines[1].tolist()
    end = len(whole)
    for row in range(element.count):
        if lines is not None:
            position, end = begins[row], ends[row]
        for i, has_length in enumerate(listed):
            length = 1
            if has_length and position < end:
                length = int(whole[position])
                position += 1
            places[i].append(position)
            lengths[i].append(length)
            position += length
            if length < 0 or position > end:
                raise UnreadableError(f"the file is cut short or damaged: it ends within row {row} of '{element.name}'")
    for i, (name, count, kind) in enumerate(element.properties):
        counts = np.array(lengths[i], np.int64)
        firsts = np.repeat(np.array(places[i], np.int64) - (np.cumsum(counts) - counts), counts)
        found = values[firsts + np.arange(len(firsts))].astype(kind)
        element.columns[name] = found if count is None else Lists(counts, found)
    return position
