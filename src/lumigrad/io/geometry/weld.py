"""Equal rows of an array are found by hashing, in time proportional to their number."""

from __future__ import annotations

import numpy as np

_ODD = np.uint64(0x9E3779B97F4A7C15)


def weld(rows: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge equal rows, and drop those that no face uses.

    Args:
        rows: [N, C] of 32-bit floats or integers.
        faces: [..., 3] integers into rows.

    Returns:
        kept: [M] indices of the rows that remain: the first of each kind, in their order.
        faces: int64, into the remaining rows.
    """
    first = first_equal(rows)
    used = np.zeros(len(rows), bool)
    used[faces.reshape(-1)] = True
    keep = np.zeros(len(rows), bool)
    keep[first[used]] = True
    kept = np.flatnonzero(keep)
    if len(kept) == len(rows):
        return kept, faces.astype(np.int64, copy=False)
    rank = np.cumsum(keep) - 1
    return kept, rank[first][faces].astype(np.int64, copy=False)


def first_equal(rows: np.ndarray) -> np.ndarray:
    """For each row the index of the first row that equals it; negative zero equals zero, and NaN itself."""
    columns = [_bits(rows[:, i]) for i in range(rows.shape[1])]
    kind = np.int32 if len(rows) < 2**31 else np.int64  # half the memory to look things up in
    result = np.arange(len(rows), dtype=kind)
    hashes = np.zeros(len(rows), np.uint64)
    for column in columns:
        hashes ^= column
        hashes *= _ODD
        hashes ^= hashes >> np.uint64(32)
    left = result.copy()
    while len(left):
        table = np.empty(1 << max(4, len(left).bit_length()), kind)
        slots = (hashes & np.uint64(len(table) - 1)).astype(kind)
        table[slots[::-1]] = left[::-1]  # of several rows in a slot, the first one is written last
        found = table[slots]
        same = np.ones(len(left), bool)
        for column in columns:
            same &= column[found] == column[left]
        result[left[same]] = found[same]
        # What shares a slot with another row tries again, with another hash.
        left, hashes = left[~same], hashes[~same]
        hashes *= _ODD
        hashes ^= hashes >> np.uint64(29)
    return result


def _bits(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind == "f":
        column = column.astype(np.float32) + np.float32(0)  # adding turns negative zeros into positive ones
        return column.view(np.uint32)
    return column.astype(np.uint32)
