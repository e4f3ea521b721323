"""Fills and copies of the CUDA library's queue, of any place and size, as if they were done one after another."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import pytest
from cuda_kernels import emulated_core, library, set_order

pytestmark = pytest.mark.skipif(library() is None, reason="needs the emulation (see tests/cuda_kernels.py)")

# to, from, bytes, value; places are those in one array, and `from` is None where the value is filled in.
Moves = Sequence[tuple[int, "int | None", int, int]]


def carry_out(array: np.ndarray, moves: Moves) -> int:
    """Carry out moves with the queue; returns the number of launches."""
    base = array.ctypes.data
    rows = [(base + to, 0 if start is None else base + start, count, value) for to, start, count, value in moves]
    numbers = [number for row in rows for number in row]
    core = emulated_core().library
    core.lg_emulation_launches.restype = ctypes.c_int64
    before = core.lg_emulation_launches()
    core.lg_emulation_move(ctypes.c_int64(len(rows)), (ctypes.c_int64 * len(numbers))(*numbers))
    launches: int = core.lg_emulation_launches() - before
    return launches


def one_by_one(array: np.ndarray, moves: Moves) -> None:
    for to, start, count, value in moves:
        array[to : to + count] = value if start is None else array[start : start + count].copy()


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, count, dtype=np.uint8)


def check(count: int, moves: Moves) -> int:
    ours, expected = noise(count), noise(count)
    launches = carry_out(ours, moves)
    one_by_one(expected, moves)
    assert np.array_equal(ours, expected), moves
    return launches


@pytest.mark.parametrize("count", [0, 1, 3, 15, 16, 17, 31, 33, 100, 16383, 16384, 16400, 50001])
def test_places_and_sizes(count: int) -> None:
    """Nothing outside a range is touched, whatever its alignment to 4 and 16 bytes."""
    for to in (0, 1, 4, 15):
        check(60_000, [(32 + to, None, count, 0xA5)])
    for to, start in ((0, 0), (0, 4), (4, 4), (1, 2), (8, 3), (13, 13)):
        check(120_000, [(32 + to, 60_000 + start, count, 0)])


def test_values() -> None:
    for value in (0, 1, 0x7F, 0x80, 0xFF):
        check(100, [(3, None, 90, value)])


def test_moves_that_do_not_meet_are_one_launch() -> None:
    moves = [(100 * i, None if i % 2 else 1000 + 100 * i, 100, i) for i in range(8)]
    assert check(2000, moves) == 1
    assert check(2000, [*moves, (1900, None, 7, 9)]) == 2  # more than wait at once
    assert check(2000, [(0, None, 0, 1)]) == 0


@pytest.mark.parametrize(
    "second",
    [
        pytest.param((150, None, 100, 2), id="fill over a fill"),
        pytest.param((700, 150, 100, 0), id="copy of what is filled"),
        pytest.param((550, None, 10, 3), id="fill over what is copied"),
        pytest.param((420, 900, 30, 0), id="copy over a copy"),
    ],
)
def test_order_is_kept(second: tuple[int, int | None, int, int]) -> None:
    for backwards in (False, True):
        set_order(backwards)
        try:
            assert check(1000, [(100, None, 100, 1), (400, 500, 100, 0), second]) == 2
        finally:
            set_order(False)


def test_many_that_meet() -> None:
    random = np.random.default_rng(1)
    for _ in range(30):
        moves = []
        while len(moves) < 40:
            to, start, count = (int(number) for number in random.integers(0, [350, 350, 60]))
            copied = random.random() < 0.5 and abs(to - start) >= count  # a copy of a range onto itself has no order
            moves.append((to, start if copied else None, count, int(random.integers(256))))
        check(410, moves)
