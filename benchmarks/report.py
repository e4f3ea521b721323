"""Tables: rows of numbers, printed as aligned text and stored as plain data for JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

Format = Callable[[Any], str]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}"


def microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.1f}"


def ratio(value: float) -> str:
    return f"{value:.2f}"


def megabytes(count: float) -> str:
    return f"{count / 1e6:.1f}"


@dataclass(frozen=True)
class Column:
    """One printed column: the key of its value in a row, its heading, and how a value is formatted."""

    key: str
    heading: str
    write: Format = str


@dataclass
class Table:
    """The measurements of one section. A row may hold more than its columns show; the JSON file has all of it."""

    title: str
    columns: list[Column]
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Aligned lines: words to the left, numbers to the right, and a dash for a missing value."""
        shown, cells = self._cells()
        widths = [max(len(line[k]) for line in cells) for k in range(len(shown))]
        words = [any(isinstance(row.get(column.key), str) for row in self.rows) for column in shown]
        aligned = [str.ljust if word else str.rjust for word in words]
        lines = [
            "  ".join(align(cell, width) for align, cell, width in zip(aligned, line, widths)).rstrip()
            for line in cells
        ]
        return "\n".join([f"\n{self.title}", *lines, *(f"  {note}" for note in self.notes)])

    def markdown(self) -> str:
        """The same as a Markdown table."""
        _, cells = self._cells()
        lines = [f"| {' | '.join(line)} |" for line in cells]
        rule = f"|{'---|' * len(cells[0])}"
        return "\n".join([f"\n{self.title}:\n", lines[0], rule, *lines[1:], *(f"\n{note}" for note in self.notes)])

    def _cells(self) -> tuple[list[Column], list[list[str]]]:
        """The non-empty columns and their texts: a line of headings, then the rows."""
        shown = [column for column in self.columns if any(column.key in row for row in self.rows)]
        headings = [column.heading for column in shown]
        return shown, [headings, *([_cell(column, row) for column in shown] for row in self.rows)]

    def data(self) -> dict[str, Any]:
        return {"title": self.title, "rows": [_plain(row) for row in self.rows], "notes": self.notes}


def _cell(column: Column, row: dict[str, Any]) -> str:
    value = row.get(column.key)
    if value is None:
        return "-"
    return column.write(value.median if hasattr(value, "median") else value)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: asdict(value) if hasattr(value, "median") else value for key, value in row.items()}
