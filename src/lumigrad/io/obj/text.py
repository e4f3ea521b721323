"""Lines and numbers of large texts, parsed by array operations instead of line by line in Python."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

import numpy as np

from lumigrad.io._problems import UnreadableError

_NOT_FINITE = re.compile(rb"\d\.#(\w+)")
_SPACE, _TAB, _NEWLINE = 32, 9, 10


@dataclass
class Lines:
    """A text by its lines.

    Attributes:
        data: the text, without line continuations, every line ended by a newline.
        array: its bytes.
        starts, ends: of each line, after leading blanks and before the newline.
    """

    data: bytes
    array: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, data: bytes) -> Lines:
        """Split a text."""
        data = data.removeprefix(b"\xef\xbb\xbf")  # the mark of UTF-8
        if b"\r" in data:
            data = data.replace(b"\r", b" " if b"\n" in data else b"\n")
        for continuation in (b"\\\n", b"\\ \n"):
            data = data.replace(continuation, b" " * len(continuation))
        if not data.endswith(b"\n"):
            data += b"\n"
        array = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(array == _NEWLINE)
        starts = np.r_[0, ends[:-1] + 1]
        while True:
            blank = (array[starts] == _SPACE) | (array[starts] == _TAB)
            if not blank.any():
                return cls(data, array, starts, ends)
            starts = starts + blank

    def beginning(self, word: bytes) -> np.ndarray:
        """Numbers of the lines whose first word this is."""
        lines = np.arange(len(self.starts))
        limit = len(self.array) - 1
        for offset, letter in enumerate(word):
            lines = lines[self.array[np.minimum(self.starts[lines] + offset, limit)] == letter]
        return lines[self.array[np.minimum(self.starts[lines] + len(word), limit)] <= _SPACE]

    def rest(self, line: int, skip: int) -> bytes:
        """One line without its first `skip` bytes."""
        return self.data[self.starts[line] + skip : self.ends[line]]

    def joined(self, lines: np.ndarray, skip: int) -> bytes:
        """Some of the lines, in order, without their first `skip` bytes and without comments."""
        if not len(lines):
            return b""
        starts, ends = self.starts[lines], self.ends[lines] + 1
        begin = int(starts[0])
        span = self.array[begin : int(ends[-1])]
        if int(lines[-1] - lines[0]) == len(lines) - 1:  # consecutive, as in most files: blank out the first words
            span = span.copy()
            for i in range(skip):
                span[starts - begin + i] = _SPACE
            text = span.tobytes()
        else:
            inside = np.zeros(len(span) + 1, np.int8)
            inside[starts - begin + skip] = 1
            inside[ends - begin] = -1
            text = span[np.cumsum(inside[:-1], dtype=np.int8).view(bool)].tobytes()
        if b".#" in text:  # how old Microsoft libraries write NaN and infinity
            text = _NOT_FINITE.sub(lambda found: b"nan" if found[1] != b"INF" else b"inf", text)
        if b"#" in text:
            text = b"\n".join(line.partition(b"#")[0] for line in text.split(b"\n"))
        return text


def word_starts(text: np.ndarray) -> np.ndarray:
    """Where the words of a text begin."""
    blank = text <= _SPACE
    after = np.empty(len(text), bool)
    after[:1] = True
    after[1:] = blank[:-1]
    return np.flatnonzero(after & ~blank)


def line_ends(text: np.ndarray) -> np.ndarray:
    """Where the newlines of a text are."""
    return np.flatnonzero(text == _NEWLINE)


def numbers(text: bytes, starts: np.ndarray, dtype: type) -> np.ndarray:
    """All words of a text as numbers; `starts` is where they begin.

    Raises:
        UnreadableError: a word that is not a number; the message says where.
    """
    values: np.ndarray
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's for a word that is no number; the count shows it
        try:
            values = np.fromstring(text, dtype, sep=" ") if len(starts) else np.zeros(0, dtype)
        except ValueError:
            values = np.zeros(0, dtype)
    if len(values) != len(starts):
        raise UnreadableError(f"'{_odd_word(text, dtype)}' stands where a number is expected")
    return values


def table(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of a text, float64, and how many of them are in each line."""
    array = np.frombuffer(text, np.uint8)
    starts = word_starts(array)
    counts = np.diff(np.searchsorted(starts, line_ends(array)), prepend=0)
    return numbers(text, starts, np.float64), counts


def _odd_word(text: bytes, dtype: type) -> str:
    for word in text.split():
        try:
            dtype(word)
        except ValueError:
            return word[:40].decode("latin-1")
    return ""
