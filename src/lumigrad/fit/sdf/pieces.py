"""One piece of a shape, without cavities."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lumigrad.fit.sdf.border import border_of
from lumigrad.fit.sdf.hull import SWEEPS
from lumigrad.ops.implicit import redistance
from lumigrad.scene.shapes.signed_distance_grid import SignedDistanceGrid


@torch.no_grad()
def largest_piece(grid: SignedDistanceGrid) -> SignedDistanceGrid:
    """The piece of a shape with the deepest voxel, without the cavities in it: one closed surface.

    Neighbouring voxels belong together, inside ones also along diagonals. All others change sides: their values become
    those of half a voxel, and then all values are made distances again. A grid of one piece is returned as it is.

    >>> import torch
    >>> from lumigrad.fit import largest_piece
    >>> from lumigrad.scene import SignedDistanceGrid
    >>> def two_balls(x):
    ...     return torch.minimum(x.norm(dim=-1) - 0.5, (x - 0.8).norm(dim=-1) - 0.1)
    >>> grid = largest_piece(SignedDistanceGrid.from_function(two_balls, 32, [[-1, -1, -1], [1, 1, 1]]))
    >>> round(grid.mesh().positions.amax().item(), 1)
    0.5
    """
    if not isinstance(grid, SignedDistanceGrid):
        raise TypeError(f"grid: expected a SignedDistanceGrid, got {type(grid).__name__}")
    values = grid.values
    inside = values <= 0
    if not bool(inside.any()):
        return grid
    piece = _flooded(torch.zeros_like(inside).view(-1).index_fill(0, values.argmin(), True).view_as(inside), inside, 26)
    without = _flooded(border_of(values) & ~piece, ~piece, 6)
    loose, hollow = inside & without, ~inside & ~without
    if not bool((loose | hollow).any()):
        return grid
    half = 0.5 * float(grid.voxel_size.amin())
    values = torch.where(loose, half, torch.where(hollow, -half, values))
    return replace(grid, values=redistance(values, grid.corners, SWEEPS))


def _flooded(seed: Tensor, within: Tensor, neighbours: int) -> Tensor:
    """The voxels that can be reached from a seed within a mask [D, H, W], over 6 or 26 neighbours."""
    while True:
        reached = seed[None].float()
        if neighbours == 26:
            reached = torch.nn.functional.max_pool3d(reached, 3, 1, 1)
        else:
            pools = ((3, 1, 1), (1, 3, 1), (1, 1, 3))
            reached = torch.stack(
                [torch.nn.functional.max_pool3d(reached, pool, 1, [side // 2 for side in pool]) for pool in pools]
            ).amax(0)
        grown = (reached[0] > 0) & within
        if torch.equal(grown, seed):
            return grown
        seed = grown
