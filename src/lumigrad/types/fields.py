"""Arguments and results of ops on fields: rays, samples, and the light they receive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
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
        """The rays in order, at most `count` at a time: Rays of [count, 3].

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
            bit 16 z + 4 y + x. Or [L, D / 4, H / 4, W / 4], of L nested grids for `lumigrad.sample_rays`: that of level
            k covers the box scaled by 2^k about its centre, and the finest grid that has a point decides.
        size: (D, H, W), of the cells of each grid.
    """

    words: Int[Tensor, "*levels bricks_z bricks_y bricks_x"]
    size: tuple[int, int, int]


def ray_numbers(offsets: Tensor, samples: int) -> Tensor:
    """The ray number of each sample. A function, because torch.compile does not trace properties of named tuples."""
    counts = offsets[1:] - offsets[:-1]
    rays = torch.arange(len(counts), device=counts.device)
    return torch.repeat_interleave(rays, counts, output_size=samples)


class RaySamples(NamedTuple):
    """Samples of R rays, one ray's behind another's, front to back.

    Attributes:
        t_start, t_end: [S], where each sample's segment begins and ends, in units of the ray's direction.
        offsets: int64 [R + 1]: ray r has the samples from offsets[r] to offsets[r + 1].
        norms: [R], the lengths of the rays' directions, which make true lengths of t; None for unit directions.
    """

    t_start: Float[Tensor, " samples"]
    t_end: Float[Tensor, " samples"]
    offsets: Int[Tensor, " bounds"]
    norms: Float[Tensor, " rays"] | None = None

    @property
    def ray(self) -> Int[Tensor, " samples"]:
        """The ray number of each sample, int64 [S].

        >>> import torch
        >>> from lumigrad.types import RaySamples
        >>> RaySamples(torch.zeros(3), torch.ones(3), torch.tensor([0, 2, 2, 3])).ray.tolist()
        [0, 0, 2]
        """
        return ray_numbers(self.offsets, len(self.t_start))


class Composited(NamedTuple):
    """What rays see of their samples.

    Attributes:
        features: [R, C], blended with the background, where there is one.
        alpha: [R], how much of it is not background.
        depth: [R], distances of the segments' middles weighted like the features. Divided by alpha it is the expected
            depth.
        weights: [S], how much of each sample is seen.
    """

    features: Float[Tensor, "rays channels"]
    alpha: Float[Tensor, " rays"]
    depth: Float[Tensor, " rays"]
    weights: Float[Tensor, " samples"]
