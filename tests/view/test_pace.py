"""Sizes of frames: as many pixels as the time allows, and whole ones at rest."""

from __future__ import annotations

import pytest

from lumigrad.view import Pace


@pytest.mark.parametrize("per_pixel", [1e-8, 1e-6, 5e-6])
def test_frames_of_a_moving_camera_take_the_time_that_there_is(per_pixel: float) -> None:
    pace, full = Pace(frames_per_second=20.0), (600, 900)
    for _ in range(30):
        size = pace.size(full, moving=True)
        pace.measured(size, per_pixel * size[0] * size[1])
    seconds = per_pixel * size[0] * size[1]
    if per_pixel * full[0] * full[1] < 0.05:
        assert size == full  # fast enough: no second frame at rest is needed
    else:
        assert 0.04 < seconds < 0.06
        assert abs(size[0] / size[1] - 2 / 3) < 0.02


def test_slow_scenes_keep_a_picture_that_can_be_recognised() -> None:
    pace = Pace()
    pace.measured((10, 10), 100.0)
    assert pace.size((600, 900), moving=True) == (64, 96)
    assert pace.size((600, 900), moving=False) == (600, 900)
    assert pace.size((20, 30), moving=True) == (20, 30)  # smaller than the smallest frame


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_wrong_rates(wrong: float) -> None:
    with pytest.raises(ValueError, match="frames_per_second"):
        Pace(wrong)
