"""Material libraries as text: the statements of each material, with their lines."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from lumigrad.io._named_files import decoded, find, is_lfs_pointer, without_comment
from lumigrad.io._problems import Notes

_IMAGES = ("map_", "bump", "norm", "refl", "disp", "decal")  # keywords that are followed by the name of a file


@dataclass
class Statement:
    """A line of a library: its number, and what follows the keyword."""

    line: int
    text: str

    @property
    def words(self) -> list[str]:
        """The text by its blanks, quoted words whole."""
        try:
            return shlex.split(self.text.replace("\\", "\\\\").replace("'", "\\'"), comments=False)
        except ValueError:  # an unclosed quote
            return self.text.replace('"', " ").split()


@dataclass
class Entry:
    """A material of a library: the statements by keyword, in lower case."""

    name: str
    path: Path
    line: int
    statements: dict[str, Statement] = field(default_factory=dict)

    def get(self, *keys: str) -> Statement | None:
        """The statement of the first of these keywords that exists."""
        return next((self.statements[key] for key in keys if key in self.statements), None)


def read_libraries(names: list[tuple[int, str]], path: Path, notes: Notes) -> dict[str, Entry]:
    """The materials of all libraries that an OBJ file names; where two have one name, the first.

    Args:
        names: line numbers, and what follows `mtllib`: one name, or several.
        path: the OBJ file.
        notes: collects what is missing.
    """
    found: dict[str, Entry] = {}
    for line, text in names:
        whole = find(text, path.parent)
        for name in [text] if whole is not None else text.split():
            library = whole or find(name, path.parent)
            if library is None and Path(name.replace("\\", "/")).suffix.lower() != ".mtl" and len(text.split()) > 1:
                continue  # part of a name with blanks
            if library is None or is_lfs_pointer(library):
                why = "there is no such file" if library is None else "it is a Git LFS pointer, not the file itself"
                notes.add(f"mtllib {name}: {why}", f"line {line}")
                continue
            for entry in parse(library.read_bytes(), library):
                found.setdefault(entry.name, entry)
    return found


def parse(data: bytes, path: Path) -> list[Entry]:
    """The materials of one library, in its order; `path` is where it is."""
    entries: list[Entry] = []
    for number, raw in enumerate(decoded(data).splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        key, _, rest = line.replace("\t", " ", 1).partition(" ")
        rest = rest.strip()
        if key.lower() == "newmtl":
            entries.append(Entry(rest, path, number))
        elif entries:
            text = rest if key.lower().startswith(_IMAGES) else without_comment(rest)
            entries[-1].statements[key.lower()] = Statement(number, text)
    return entries
