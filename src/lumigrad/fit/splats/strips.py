"""Strips: the division of a step's pictures among processes, each of which draws some lines of some pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.fit.metrics import SSIM_REACH, ssim_map
from lumigrad.fit.photos import Photo

# Strips begin and end where tiles of the rasteriser do.
_TILE = 16


class Strip(NamedTuple):
    """Lines of a picture.

    Attributes:
        picture: its number.
        first, last: from the first line, counted from the top, up to the last.
    """

    picture: int
    first: int
    last: int

    def drawn(self, height: int) -> slice:
        """The lines to draw: the structure of an image at a pixel depends on what is around it."""
        return slice(max(0, self.first - SSIM_REACH), min(height, self.last + SSIM_REACH))


def strips_of(heights: Sequence[int], parts: int) -> list[list[Strip]]:
    """The lines of pictures in parts of about the same size, each of as few strips as can be.

    Args:
        heights: of the pictures, in lines.

    >>> from lumigrad.fit.splats.strips import strips_of
    >>> strips_of([64, 64], 2)
    [[Strip(picture=0, first=0, last=64)], [Strip(picture=1, first=0, last=64)]]
    >>> strips_of([64], 3)
    [[Strip(picture=0, first=0, last=16)], [Strip(picture=0, first=16, last=48)], [Strip(picture=0, first=48, last=64)]]
    """
    total = sum(heights)
    found: list[list[Strip]] = []
    for part in range(parts):
        begin, end = total * part // parts, total * (part + 1) // parts
        mine, top = [], 0
        for picture, height in enumerate(heights):
            first, last = (_at_tile(place - top, height) for place in (begin, end))
            if first < last:
                mine.append(Strip(picture, first, last))
            top += height
        found.append(mine)
    return found


def _at_tile(line: int, height: int) -> int:
    if not 0 < line < height:
        return min(max(line, 0), height)
    return min(height, (line + _TILE // 2) // _TILE * _TILE)


def loss_of_strip(image: Tensor, photo: Photo, strip: Strip, structure: float) -> Tensor:
    """A strip's part of `loss_of`, whose sum over the strips of a picture is the loss of the whole.

    Args:
        image: the lines `strip.drawn`.
    """
    lines = strip.drawn(photo.camera.size[0])
    own = slice(strip.first - lines.start, strip.last - lines.start)
    covered = photo.covered[:, lines]
    shown, target = image * covered, photo.image[:, lines] * covered
    error = (shown - target)[:, own].abs().sum()
    unlike = (1 - ssim_map(shown, target)[:, own]).sum()
    return ((1 - structure) * error + structure * unlike) / photo.image.numel()


def touching(strip: Strip, height: int, top: Tensor, bottom: Tensor) -> Tensor:
    """Which footprints [M] a strip's drawn lines need, ascending."""
    lines = strip.drawn(height)
    return torch.nonzero((bottom >= lines.start) & (top <= lines.stop))[:, 0]
