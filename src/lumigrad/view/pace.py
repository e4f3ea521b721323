"""The size of frames at which a moving camera gets enough of them."""

from __future__ import annotations

import math

_SMALLEST = 64  # rows or columns of the shorter side
_WEIGHT = 0.3  # weight of the newest measurement


class Pace:
    """Chooses the sizes of frames by the times that earlier frames took.

    While the camera moves, frames are as large as `frames_per_second` allows; at rest, they have full size.

    >>> from lumigrad.view import Pace
    >>> pace = Pace(frames_per_second=10.0)
    >>> pace.size((400, 800), moving=True)  # nothing is known yet: begin small
    (100, 200)
    >>> pace.measured((100, 200), seconds=0.05)  # so twice as many pixels are possible
    >>> pace.size((400, 800), moving=True)
    (141, 283)
    >>> pace.size((400, 800), moving=False)
    (400, 800)
    """

    def __init__(self, frames_per_second: float = 12.0) -> None:
        if not (math.isfinite(frames_per_second) and frames_per_second > 0):
            raise ValueError(f"frames_per_second: expected a number above 0, got {frames_per_second!r}")
        self._aim = 1.0 / frames_per_second
        self._per_pixel: float | None = None

    def measured(self, size: tuple[int, int], seconds: float) -> None:
        """Record the time that a frame of this size took."""
        cost = seconds / (size[0] * size[1])
        self._per_pixel = cost if self._per_pixel is None else _WEIGHT * cost + (1 - _WEIGHT) * self._per_pixel

    def size(self, full: tuple[int, int], moving: bool) -> tuple[int, int]:
        """The (height, width) of the next frame, of at most `full`, with its aspect ratio."""
        if not moving:
            return full
        share = 1 / 16
        if self._per_pixel is not None:
            share = self._aim / max(self._per_pixel * full[0] * full[1], 1e-12)
        scale = max(math.sqrt(share), _SMALLEST / min(full))
        if scale >= 0.9:  # nearly full size: use it, which saves another frame at rest
            return full
        return max(1, round(full[0] * scale)), max(1, round(full[1] * scale))
