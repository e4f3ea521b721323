"""The occupied cells of a field that is being fitted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lumigrad.reference.field._occupancy import occupancy
from lumigrad.types import Occupancy
from lumigrad.types import validation as check
from lumigrad.types.counters import mixed
from lumigrad.types.grids import Box, check_corners, check_resolution
from lumigrad.types.shapes import Float

MAX_LEVELS = 16


class OccupancyGrid(nn.Module):
    """Nested grids of what a field was seen to have in their cells, for :func:`lumigrad.sample_rays`.

    Level k covers the box scaled by 2^k about its centre, with as many cells as the others.

    Args:
        box: [2, 3], the corners of level 0 with the smallest and the largest x, y, z.
        size: (D, H, W), cells of each level along z, y, x, or one number for all three.
        levels: how many grids there are, 1 to 16.
        threshold: cells above it are occupied. It is lowered to the mean of all cells where that is less, so that a
            field that has only begun to form is not lost.
        decay: what is left of a cell's value from one update to the next.

    Attributes:
        box: [2, 3].
        values: [L, D, H, W]; infinite at first, so that all cells count as occupied until the first update.

    Raises:
        TypeError, ValueError: for wrong types, shapes or numbers.

    Source: Müller et al. 2022, "Instant neural graphics primitives", appendix E.

    >>> import torch
    >>> import lumigrad as lg
    >>> from lumigrad.fit import OccupancyGrid
    >>> grid = OccupancyGrid([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]], 16)
    >>> for step in range(3):
    ...     grid.update(lambda points: 50.0 * (points.norm(dim=-1) < 0.5), seed=step)
    >>> rays = torch.tensor([[0.0, 0.0, 3.0]]), torch.tensor([[0.0, 0.0, -1.0]])
    >>> samples = lg.sample_rays(*rays, grid.box, 0.01, grid.occupancy())
    >>> 100 <= len(samples.t_start) <= 126  # a diameter of 1, and a cell of 1/8 at both ends
    True
    """

    box: Tensor
    values: Tensor

    def __init__(
        self, box: Box, size: int | tuple[int, int, int] = 128, levels: int = 1, threshold: float = 0.01,
        decay: float = 0.95,
    ) -> None:  # fmt: skip
        super().__init__()
        depth, height, width = check_resolution(size, "size")
        levels = check.integer("levels", levels, 1, MAX_LEVELS)
        self.threshold, self.decay = check.number("threshold", threshold), check.number("decay", decay)
        if self.decay > 1:
            raise ValueError(f"decay: expected at most 1, got {self.decay}")
        like = box if isinstance(box, Tensor) else torch.zeros(())
        self.register_buffer("box", check_corners(box, like, "box").detach().clone())
        self.register_buffer("values", torch.full((levels, depth, height, width), torch.inf, dtype=self.box.dtype))

    @torch.no_grad()
    def update(self, density: Callable[[Tensor], Tensor], seed: int = 0, part: float = 1.0, chunk: int = 2**20) -> None:
        """Evaluate the field once in each cell, at a random point; keep the larger of this and the decayed value.

        Args:
            density: points [M, 3] to densities [M] or [M, 1]. With a step's length as a factor, `threshold` is one of
                opacity. Non-finite values count as 0.
            seed: another one for each update. A cell's point depends on the seed and the cell's number alone.
            part: fraction of the cells, chosen at random, that are evaluated and decay; 1 for all of them.
            chunk: cells that are evaluated at a time.

        Raises:
            TypeError, ValueError: a wrong option, or densities of another shape.
        """
        seed, chunk = check.integer("seed", seed, 0, 2**62), check.integer("chunk", chunk, 1)
        share = check.number("part", part, positive=True)
        flat = self.values.view(-1)
        for first in range(0, flat.numel(), chunk):
            cells = torch.arange(first, min(first + chunk, flat.numel()), device=flat.device)
            word = mixed(mixed(cells) + seed)
            if share < 1:
                cells, word = (v[(word >> 43 & 0xFFFFF) < share * 2**20] for v in (cells, word))
            points = self._points(cells, mixed(word))
            found = density(points)
            if found.shape not in ((len(cells),), (len(cells), 1)):
                raise ValueError(f"density: expected it to return shape [{len(cells)}], got {tuple(found.shape)}")
            found = found.reshape(-1).to(flat)
            found = torch.where(found.isfinite(), found, 0)
            known = flat[cells]
            flat[cells] = torch.maximum(torch.where(known.isfinite(), known * self.decay, 0), found)

    @torch.no_grad()
    def occupancy(self) -> Occupancy:
        """The occupied cells of all levels. Cells that were never evaluated count as occupied."""
        known = self.values[self.values.isfinite()]
        limit = min(self.threshold, known.mean().item()) if len(known) else self.threshold
        filled = self.values > limit
        words = torch.stack([occupancy(level).words for level in filled])
        _, depth, height, width = self.values.shape
        return Occupancy(words, (depth, height, width))

    def _points(self, cells: Tensor, word: Tensor) -> Float[Tensor, "cells 3"]:
        """A point in each of these cells, which are numbered over all levels."""
        _, depth, height, width = self.values.shape
        numbers = torch.stack((cells % width, cells // width % height, cells // (width * height) % depth), -1)
        level = cells // (width * height * depth)
        random = torch.stack([word >> 21 * axis & 0xFFFFF for axis in range(3)], -1).to(self.box) / 2**20
        sides = torch.tensor([width, height, depth], device=cells.device)
        place = (numbers + random) / sides - 0.5
        low, high = self.box
        return 0.5 * (low + high) + place * (high - low) * (2.0**level).to(self.box)[:, None]
