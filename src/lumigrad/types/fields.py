"""What ops on fields take and return: rays, and what they see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from lumigrad.types.shapes import Float, Int


class Rays(NamedTuple):
    """Rays, as `Camera.rays` makes them.

    Attributes:
        origins: [..., 3].
        directions: [..., 3], of any length but zero. Distances along a ray are in units of its direction.
    """

    origins: Float[Tensor, "*rays 3"]
    directions: Float[Tensor, "*rays 3"]

    def chunks(self, count: int) -> Iterator[Rays]:
        """The rays in their order, at most `count` at a time: Rays of [count, 3].

        >>> import torch
        >>> from lumigrad.types import Rays
        >>> [len(part.origins) for part in Rays(torch.zeros(2, 5, 3), torch.ones(2, 5, 3)).chunks(4)]
        [4, 4, 2]
        """
        if count < 1:
            raise ValueError(f"count: expected at least 1, got {count}")
        origins, directions = self.origins.expand_as(self.directions).reshape(-1, 3), self.directions.reshape(-1, 3)
        for first in range(0, len(origins), count):
            yield Rays(origins[first : first + count], directions[first : first + count])


class Marched(NamedTuple):
    """What rays see of a grid.

    Attributes:
        features: [..., C], blended with the background, where there is one.
        alpha: [...], how much of it is not background.
        depth: [...], distances of the segments' middles weighted like the features, with 0 for the background. Divided
            by alpha it is the expected depth. In units of the ray's direction.
        median: [...], the distance at which transmittance falls below one half, 0 where it does not. No gradients.
    """

    features: Float[Tensor, "*rays channels"]
    alpha: Float[Tensor, "*rays"]
    depth: Float[Tensor, "*rays"]
    median: Float[Tensor, "*rays"]


class Occupancy(NamedTuple):
    """Which cells of a box have anything in them. `lumigrad.occupancy` makes one.

    Attributes:
        words: int64 [D / 4, H / 4, W / 4], rounded up: the bits of 4 x 4 x 4 cells. Cell (z, y, x) of such a brick is
            bit 16 z + 4 y + x.
        size: (D, H, W), of cells.
    """

    words: Int[Tensor, "bricks_z bricks_y bricks_x"]
    size: tuple[int, int, int]
