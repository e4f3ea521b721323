"""Welding, against a table of Python's."""

from __future__ import annotations

import numpy as np
import pytest

from lumigrad.io.geometry.weld import first_equal, weld


def firsts(rows: np.ndarray) -> list[int]:
    seen: dict[tuple[object, ...], int] = {}
    found = []
    for number, row in enumerate(rows.tolist()):
        found.append(seen.setdefault(tuple("nan" if x != x else x for x in row), number))
    return found


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_equal_rows(columns: int, dtype: type) -> None:
    generator = np.random.default_rng(columns)
    rows = generator.integers(-3, 3, (5000, columns)).astype(dtype)
    if dtype is np.float32:
        rows[::7] *= -1  # negative zeros equal zeros
        rows[5::11, -1] = np.nan
    found = first_equal(rows)
    assert found is not None
    assert found.tolist() == firsts(rows)
    grid = np.stack(np.meshgrid(*[np.arange(17)] * 3), -1).reshape(-1, 3).astype(dtype)
    assert first_equal(grid) is None
    assert first_equal(grid[:0]) is None


def test_faces_find_their_rows_again() -> None:
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 5, (400, 3)).astype(np.float32)
    faces = generator.integers(0, 300, (200, 3))
    for said in (faces, None):
        kept, index = weld(rows[:399], said)
        corners = rows[faces] if said is not None else rows[:399].reshape(-1, 3, 3)
        assert np.array_equal(rows[kept][index], corners)
        assert sorted(set(index.reshape(-1).tolist())) == list(range(len(kept)))
        assert len(np.unique(rows[kept], axis=0)) == len(kept)
        assert (np.diff(kept) > 0).all()
