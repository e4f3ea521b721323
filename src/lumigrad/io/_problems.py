"""Problems of files, reported to users: one kind of error and one kind of warning."""

from __future__ import annotations

import warnings
from pathlib import Path


class UnreadableError(ValueError):
    """A file cannot be read; the message is written for people and says why."""


class FileWarning(UserWarning):
    """A file names something that was not found, or that is not supported."""


class Notes:
    """Parts of a file that are left out, each reported once.

    Args:
        path: the file, for messages.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._said: dict[str, None] = {}

    def add(self, what: str, where: str = "", path: Path | None = None) -> None:
        """Note something, found at a line or at a place in the file (or in another one, which it names)."""
        self._said[f"{path or self.path}{', ' if where else ''}{where}: {what}"] = None

    def warn(self, stacklevel: int = 2) -> None:
        """Give the warnings, in the order in which they were noted."""
        for text in self._said:
            warnings.warn(text, FileWarning, stacklevel=stacklevel + 1)
        self._said.clear()
