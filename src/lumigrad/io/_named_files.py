"""Files referred to by other files, in the ways that exporters write names, and detection of files of the wrong
kind."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lumigrad.io._problems import UnreadableError

_COMMENT = re.compile(r"\s#")
_LFS = b"version https://git-lfs"
_IMAGE_FOLDERS = ("textures", "Textures", "texture", "images", "maps", "tex")


def read_bytes(path: Path) -> bytes:
    """The file's bytes.

    Raises:
        UnreadableError: it is empty, or something that was stored or downloaded in its place.
    """
    data = path.read_bytes()
    check_kind(data[:256])
    return data


def check_kind(start: bytes) -> None:
    """Raise an error for files that are not of any 3D format, by their first bytes."""
    if not start:
        raise UnreadableError("the file is empty")
    if start.startswith(_LFS):
        raise UnreadableError("it is a Git LFS pointer, not the file itself; fetch the file with 'git lfs pull'")
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise UnreadableError("it is a web page, not the file itself; download the raw file")
    if start.startswith(b"\x1f\x8b") or start.startswith(b"PK\x03\x04"):
        raise UnreadableError("it is a compressed archive; unpack it first")


def is_lfs_pointer(path: Path) -> bool:
    """Whether Git LFS stored a pointer in place of the file."""
    with path.open("rb") as file:
        return file.read(len(_LFS)) == _LFS


def decoded(data: bytes) -> str:
    """Text in UTF-8 or UTF-16 where it is valid, else in Latin-1, in which every byte is a character."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def without_comment(text: str) -> str:
    """The text before a comment: a # after a blank. (Names may hold a #.)"""
    return _COMMENT.split(text, maxsplit=1)[0].strip()


def find(name: str, folder: Path) -> Path | None:
    """The file that a name refers to, relative to a folder; None if there is none.

    Exporters write backslashes, quotes, percent signs, absolute paths of other machines, comments behind names, and
    names in another case than the file's. The name as written is tried first. Symbolic links are followed.
    """
    for candidate in _spellings(name):
        found = _existing(candidate, folder)
        if found is not None:
            return found
    last = PurePosixPath(name.replace("\\", "/").strip("\"' ")).name
    for place in ("", *_IMAGE_FOLDERS):
        found = _existing(last, folder / place) if last else None
        if found is not None:
            return found
    return None


def _spellings(name: str) -> Iterator[str]:
    plain = name.strip().strip("\"'").strip()
    yield name
    yield plain
    yield urllib.parse.unquote(plain)
    yield plain.replace("\\", "/")
    yield urllib.parse.unquote(plain.replace("\\", "/"))
    yield without_comment(plain).strip("\"'").replace("\\", "/")


def _existing(name: str, folder: Path) -> Path | None:
    """The file with this name, or otherwise one whose name differs only in case."""
    if not name or "\0" in name:
        return None
    try:
        if (folder / name).is_file():
            return folder / name
        return _in_another_case(PurePosixPath(name), folder)
    except OSError:  # a name that is too long, or a folder that may not be read
        return None


def _in_another_case(name: PurePosixPath, folder: Path) -> Path | None:
    if name.is_absolute():
        return None
    place = folder
    for part in name.parts:
        if part == ".." or (place / part).exists():
            place = place / part
            continue
        alike = (
            sorted(entry for entry in place.iterdir() if entry.name.lower() == part.lower()) if place.is_dir() else []
        )
        if not alike:
            return None
        place = alike[0]
    return place if place.is_file() else None
