"""Equal rows of an array are found by hashing, in time proportional to their number."""

from __future__ import annotations

import numpy as np

_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9))
_BLOCK = 1 << 15  # rows that are hashed at a time, to stay in the cache


def weld(rows: np.ndarray, faces: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Merge equal rows, and drop those that no face uses.

    Args:
        rows: [N, C] of 32-bit floats or integers.
        faces: [..., 3] integers into rows; None where every three rows are a face.

    Returns:
        kept: [M] indices of the rows that remain: the first of each kind, in their order.
        faces: int64, into the remaining rows.
    """
    first = first_equal(rows)
    if faces is None:
        keep = np.ones(len(rows), bool) if first is None else first == np.arange(len(rows), dtype=first.dtype)
    else:
        used = np.zeros(len(rows), bool)
        used[faces.reshape(-1)] = True
        keep = used
        if first is not None:
            keep = np.zeros(len(rows), bool)
            keep[first[used]] = True
    kept = np.flatnonzero(keep)
    if first is None and len(kept) == len(rows):
        index = np.arange(len(rows)).reshape(-1, 3) if faces is None else faces
        return kept, index.astype(np.int64, copy=False)
    rank = np.cumsum(keep)
    rank -= 1
    place = rank if first is None else rank.take(first)
    return kept, place.reshape(-1, 3) if faces is None else place[faces]


def first_equal(rows: np.ndarray) -> np.ndarray | None:
    """For each row the index of the first row that equals it; None where all rows differ.

    Negative zero equals zero, and NaN itself.
    """
    words = _words(rows)
    kind = np.int32 if len(rows) < 2**31 else np.int64  # half the memory for lookups
    left, hashes = np.arange(len(rows), dtype=kind), _hashes(words)
    result: np.ndarray | None = None
    while len(left):
        bits = max(4, (len(left) - 1).bit_length())
        slots = (hashes >> np.uint64(64 - bits)).view(np.int64)
        table = np.empty(1 << bits, kind)
        table[slots[::-1]] = left[::-1]  # of several rows in a slot, the first one is written last
        found = table.take(slots)
        others = np.flatnonzero(found != left)
        mine, theirs = left.take(others), found.take(others)
        same = np.ones(len(others), bool)
        for word in words:
            same &= word.take(theirs) == word.take(mine)
        if same.any():
            result = np.arange(len(rows), dtype=kind) if result is None else result
            result[mine[same]] = theirs[same]
        # Rows that share a slot with a different row try again, with another hash.
        different = np.flatnonzero(~same)
        left, hashes = mine.take(different), hashes.take(others.take(different))
        hashes *= _ODD[2]
        hashes ^= hashes >> np.uint64(29)
        hashes *= _ODD[0]
    return result


def _words(rows: np.ndarray) -> list[np.ndarray]:
    """The bits of the rows as few arrays [N], two columns in each."""
    if rows.dtype.kind == "f":
        bits = (rows.astype(np.float32, copy=False) + np.float32(0)).view(np.uint32)  # -0 + 0 is 0
    else:
        bits = rows.astype(np.uint32)
    columns = bits.shape[1]
    words = [np.ascontiguousarray(bits[:, i : i + 2]).view(np.uint64)[:, 0] for i in range(0, columns - 1, 2)]
    return [*words, np.ascontiguousarray(bits[:, -1])] if columns % 2 else words


def _hashes(words: list[np.ndarray]) -> np.ndarray:
    """A hash of each row, uint64, whose high bits depend on all of it."""
    result = np.empty(len(words[0]), np.uint64)
    for begin in range(0, len(result), _BLOCK):
        block = result[begin : begin + _BLOCK]
        np.multiply(words[0][begin : begin + _BLOCK], _ODD[0], out=block)
        for word in words[1:]:
            block ^= block >> np.uint64(32)
            block ^= word[begin : begin + _BLOCK]
            block *= _ODD[0]
        block ^= block >> np.uint64(29)
        block *= _ODD[1]
    return result
