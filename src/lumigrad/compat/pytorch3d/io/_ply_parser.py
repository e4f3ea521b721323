"""PLY files as PyTorch3D gives them: rows of elements, and errors where a file is not exactly as its header says.

`lumigrad.io` reads them. It also takes what other programs take: rows on several lines, lines with more numbers than
the header says, data after the last row. PyTorch3D refuses these, and so does this module.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from lumigrad.io.obj.text import line_ends, word_starts
from lumigrad.io.ply.elements import TYPES, Element, Header, Lists, parse_ply, read_header

_FORMATS = ("format ascii 1.0", "format binary_little_endian 1.0", "format binary_big_endian 1.0")


def is_list(element: Element) -> bool:
    """Whether a row is one list."""
    return len(element.properties) == 1 and element.properties[0][1] is not None


def is_constant(element: Element) -> bool:
    """Whether no value of a row is a list."""
    return all(count is None for _, count, _ in element.properties)


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
    _check_header(data)
    header = read_header(data)
    for element in header.elements:
        if not element.properties:
            raise ValueError(f"Found an element with no properties. ({element.name})")
    widths = _line_widths(header, data[header.begin :]) if header.ascii else None
    ply = parse_ply(data)
    if ply.end < len(data):
        raise ValueError("Extra data at end of file.")
    found = list(ply.elements.values())
    if widths is not None:
        _check_lists(found, widths)
    return header, {element.name: _rows(element) for element in found}


# ---- What PyTorch3D refuses


def _check_header(data: bytes) -> None:
    lines = [line.strip() for line in data.partition(b"end_header")[0].decode("utf-8", "replace").splitlines()]
    if not lines or lines[0] != "ply":
        raise ValueError("Invalid file header.")
    if len(lines) < 2 or lines[1] not in _FORMATS:
        raise ValueError("Invalid file header: the second line gives no known format.")
    element, names = "", set[str]()
    for line in lines[2:]:
        words = line.split()
        key = words[0] if words else ""
        if key in ("comment", "obj_info"):
            continue
        if key == "element" and len(words) == 3:
            if not words[2].isdigit():
                raise ValueError(f"Number of items for {words[1]} was not a number.")
            element, names = words[1], set()
        elif key == "property" and (len(words) == 3 or (len(words) == 5 and words[1] == "list")):
            _check_property(words, element, names)
            names.add(words[-1])
        else:
            raise ValueError(f"Invalid line: {line}.")


def _check_property(words: list[str], element: str, names: set[str]) -> None:
    if not element:
        raise ValueError("Encountered property before any element.")
    for kind in words[1:-1] if len(words) == 3 else words[2:-1]:
        if kind not in TYPES:
            raise ValueError(f"Invalid datatype: {kind}")
    if words[-1] in names:
        raise ValueError(f"Cannot have two properties called {words[-1]} in {element}.")


def _line_widths(header: Header, text: bytes) -> list[np.ndarray[Any, Any]]:
    """How many words are in the line of each row, element by element."""
    array = np.frombuffer(text, np.uint8)
    ends = np.searchsorted(word_starts(array), np.append(line_ends(array), len(array)))
    widths = np.diff(ends, prepend=0)
    widths = widths[widths > 0]
    start, found = 0, []
    for element in header.elements:
        mine = widths[start : start + element.count]
        start += element.count
        if len(mine) < element.count:
            raise ValueError(f"Not enough data for {element.name}.")
        if is_constant(element) and bool((mine != len(element.properties)).any()):
            raise ValueError(f"Inconsistent data for {element.name}.")
        found.append(mine)
    if start < len(widths):
        raise ValueError("Extra data at end of file.")
    return found


def _check_lists(elements: list[Element], widths: list[np.ndarray[Any, Any]]) -> None:
    for element, mine in zip(elements, widths):
        lists = [column.counts for column in element.columns.values() if isinstance(column, Lists)]
        if lists and bool((np.sum(lists, axis=0) + len(element.properties) != mine).any()):
            raise ValueError(f"A line of {element.name} data did not have the specified length.")


# ---- What PyTorch3D returns


def _rows(element: Element) -> Any:
    if is_constant(element):
        return _runs(element)
    if not element.count:
        return []
    if is_list(element):
        (column,) = element.columns.values()
        assert isinstance(column, Lists)
        if bool((column.counts == column.counts[0]).all()):
            return column.values.reshape(element.count, -1)
    columns = [_split(column) if isinstance(column, Lists) else list(column) for column in element.columns.values()]
    return [list(row) for row in zip(*columns)]


def _runs(element: Element) -> list[np.ndarray[Any, Any]]:
    """Arrays [count, n] of consecutive properties of one type."""
    runs = itertools.groupby(element.properties, key=lambda said: said[2])
    if not element.count:
        return [np.zeros((0, len(list(run))), kind) for kind, run in runs]
    return [np.stack([element.columns[name] for name, _, _ in run], 1) for _, run in runs]  # type: ignore[misc]


def _split(lists: Lists) -> list[np.ndarray[Any, Any]]:
    return np.split(lists.values, np.cumsum(lists.counts)[:-1])
