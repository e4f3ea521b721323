"""PLY files as arrays."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip


class Property(NamedTuple):
    """One value of an element, or with `size_type` a list of values."""

    name: str
    data_type: str
    size_type: str | None = None


@dataclass
class Element:
    """A kind of rows.

    Attributes:
        name, count: what, and how many.
        properties: the values of a row.
    """

    name: str
    count: int
    properties: list[Property] = field(default_factory=list)

    def is_list(self) -> bool:
        """Whether a row is one list."""
        return len(self.properties) == 1 and self.properties[0].size_type is not None

    def is_constant(self) -> bool:
        """Whether no value is a list."""
        return all(p.size_type is None for p in self.properties)


@dataclass
class Header:
    """What a file says about itself.

    Attributes:
        ascii: whether its numbers are text.
        order: of bytes, "<" or ">".
        elements: in their order.
        comments: lines of text.
    """

    ascii: bool
    order: str
    elements: list[Element]
    comments: list[str]


def load_ply_raw(stream: Any) -> tuple[Header, dict[str, Any]]:
    """The header and the rows of every element.

    Returns:
        Rows by elements' names: of lists of one length an array [count, length]; of other lists a list of [array] for
        each row; of single values a list of arrays [count, n], one for each run of one type; of a mixture a list of
        the values of each row.

    Raises:
        ValueError: a file that cannot be read.
    """
    content = stream.read()
    data = content.encode("utf-8") if isinstance(content, str) else content
    header, start = _header(data)
    if header.ascii:
        return header, _text_rows(header, data[start:].decode("utf-8"))
    return header, _binary_rows(header, memoryview(data)[start:])


def _header(data: bytes) -> tuple[Header, int]:
    """The header, and where the rows begin."""
    lines: list[str] = []
    start = 0
    while True:
        end = data.find(b"\n", start)
        line = data[start : len(data) if end < 0 else end].decode("utf-8", "replace").rstrip("\r").strip()
        start = len(data) if end < 0 else end + 1
        if not lines and line != "ply":
            raise ValueError("Invalid file header.")
        if line == "end_header":
            break
        lines.append(line)
        if end < 0:
            raise ValueError("Invalid file header: it has no end.")
    forms = {"format ascii 1.0": "", "format binary_little_endian 1.0": "<", "format binary_big_endian 1.0": ">"}
    if len(lines) < 2 or lines[1] not in forms:
        raise ValueError("Invalid file header: the second line gives no known format.")
    order = forms[lines[1]]
    header = Header(order == "", order, [], [])
    for line in lines[2:]:
        _header_line(header, line)
    for element in header.elements:
        if not element.properties:
            raise ValueError(f"Found an element with no properties. ({element.name})")
    return header, start


def _header_line(header: Header, line: str) -> None:
    words = line.split()
    key = words[0] if words else ""
    if key in ("comment", "obj_info"):
        header.comments.append(line[len(key) :].strip())
    elif key == "element" and len(words) == 3:
        if not words[2].isdigit():
            raise ValueError(f"Number of items for {words[1]} was not a number.")
        header.elements.append(Element(words[1], int(words[2])))
    elif key == "property" and (len(words) == 3 or (len(words) == 5 and words[1] == "list")):
        if not header.elements:
            raise ValueError("Encountered property before any element.")
        types = words[1:-1] if len(words) == 3 else words[2:-1]
        for name in types:
            if name not in _TYPES:
                raise ValueError(f"Invalid datatype: {name}")
        element = header.elements[-1]
        if any(p.name == words[-1] for p in element.properties):
            raise ValueError(f"Cannot have two properties called {words[-1]} in {element.name}.")
        element.properties.append(Property(words[-1], types[-1], types[0] if len(types) == 2 else None))
    else:
        raise ValueError(f"Invalid line: {line}.")


def _runs(element: Element) -> list[tuple[str, int]]:
    """Types of consecutive values, and how many there are."""
    return [
        (kind, len(list(group))) for kind, group in itertools.groupby(_TYPES[p.data_type] for p in element.properties)
    ]


# ---- Text


def _text_rows(header: Header, text: str) -> dict[str, Any]:
    lines = [line for line in text.splitlines() if line.strip()]
    result: dict[str, Any] = {}
    start = 0
    for element in header.elements:
        rows = lines[start : start + element.count]
        if len(rows) < element.count:
            raise ValueError(f"Not enough data for {element.name}.")
        start += element.count
        result[element.name] = _text_element(element, [row.split() for row in rows])
    if start < len(lines):
        raise ValueError("Extra data at end of file.")
    return result


def _text_element(element: Element, rows: list[list[str]]) -> Any:
    if element.is_list():
        return _text_lists(element, rows)
    if element.is_constant():
        width = len(element.properties)
        if any(len(row) != width for row in rows):
            raise ValueError(f"Inconsistent data for {element.name}.")
        table = np.array(rows, dtype=np.float64).reshape(-1, width)
        ends = list(itertools.accumulate(n for _, n in _runs(element)))
        parts = np.split(table, ends[:-1], axis=1)
        return [part.astype(kind) for part, (kind, _) in zip(parts, _runs(element))]
    return [_text_mixture(element, row) for row in rows]


def _text_lists(element: Element, rows: list[list[str]]) -> Any:
    kind = _TYPES[element.properties[0].data_type]
    lists = []
    for row in rows:
        if int(row[0]) != len(row) - 1:
            raise ValueError(f"A line of {element.name} data did not have the specified length.")
        lists.append(row[1:])
    if len({len(values) for values in lists}) == 1:
        return np.array(lists, dtype=np.float64).astype(kind)
    return [[np.array(values, dtype=np.float64).astype(kind)] for values in lists]


def _text_mixture(element: Element, row: list[str]) -> list[Any]:
    values: list[Any] = []
    place = 0
    for p in element.properties:
        count = 1
        if p.size_type is not None:
            count, place = int(row[place]), place + 1
        part = np.array(row[place : place + count], dtype=np.float64).astype(_TYPES[p.data_type])
        values.append(part if p.size_type is not None else part[0])
        place += count
    if place != len(row):
        raise ValueError(f"A line of {element.name} data did not have the specified length.")
    return values


# ---- Bytes


def _binary_rows(header: Header, data: memoryview) -> dict[str, Any]:
    result: dict[str, Any] = {}
    place = 0
    for element in header.elements:
        read = _binary_constant if element.is_constant() else _binary_lists
        result[element.name], place = read(element, header.order, data, place)
    if place < len(data):
        raise ValueError("Extra data at end of file.")
    return result


def _take(element: Element, data: memoryview, place: int, kind: np.dtype[Any], count: int) -> np.ndarray[Any, Any]:
    if place + kind.itemsize * count > len(data):
        raise ValueError(f"Not enough data for {element.name}.")
    return np.frombuffer(data, kind, count, place)


def _binary_constant(element: Element, order: str, data: memoryview, place: int) -> tuple[Any, int]:
    runs = _runs(element)
    kind = np.dtype([(str(n), order + name, (count,)) for n, (name, count) in enumerate(runs)])
    table = _take(element, data, place, kind, element.count)
    parts = [table[str(n)].astype(name) for n, (name, _) in enumerate(runs)]
    return parts, place + kind.itemsize * element.count


def _binary_lists(element: Element, order: str, data: memoryview, place: int) -> tuple[Any, int]:
    if element.is_list() and element.count:
        p = element.properties[0]
        size = np.dtype(order + _TYPES[p.size_type or "uchar"])
        length = int(_take(element, data, place, size, 1)[0])
        kind = np.dtype([("size", size), ("values", order + _TYPES[p.data_type], (length,))])
        if place + kind.itemsize * element.count <= len(data):
            table = np.frombuffer(data, kind, element.count, place)
            if bool((table["size"] == length).all()):
                return table["values"].astype(_TYPES[p.data_type]), place + kind.itemsize * element.count
    rows = []
    for _ in range(element.count):
        row: list[Any] = []
        for p in element.properties:
            kind, count = np.dtype(order + _TYPES[p.data_type]), 1
            if p.size_type is not None:
                size = np.dtype(order + _TYPES[p.size_type])
                count, place = int(_take(element, data, place, size, 1)[0]), place + size.itemsize
            part = _take(element, data, place, kind, count).astype(_TYPES[p.data_type])
            row.append(part if p.size_type is not None else part[0])
            place += kind.itemsize * count
        rows.append(row)
    return rows, place
