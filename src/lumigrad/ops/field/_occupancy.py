"""Bits of occupied cells, which let rays skip empty space.

Defined by :func:`lumigrad.reference.occupancy`, which also serves as the implementation: it is called once for many
marches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad.types import Occupancy
from lumigrad.types import validation as check
from lumigrad.types.shapes import Shaped


def occupancy(density: Shaped[Tensor, "depth height width"], threshold: float = 0.0) -> Occupancy:
    """Note which cells of a box have anything in them.

    Args:
        density: [D, H, W], values of voxels as in the first channel of :func:`~lumigrad.march`'s grid, or bool: whether
            a cell is occupied.
        threshold: a voxel is occupied if it or one of its 26 neighbours is above it. What is interpolated in the others
            is nowhere above the threshold: with `activation` "relu" and 0, leaving them out changes nothing.

    Returns:
        Occupancy for :func:`~lumigrad.march`. No gradients.

    Raises:
        TypeError, ValueError: for a wrong type or shape.

    >>> import torch
    >>> import lumigrad as lg
    >>> density = torch.zeros(8, 8, 8)
    >>> density[1, 1, 1] = 5.0
    >>> lg.occupancy(density).words.flatten().tolist()[1:]  # the other seven bricks
    [0, 0, 0, 0, 0, 0, 0]
    """
    density = check.tensor("density", density)
    if density.dtype != torch.bool:
        density = check.floating("density", density)
    check.shape("density", density, ("D", "H", "W"))
    if not density.numel():
        raise ValueError(f"density: expected at least one voxel, got {tuple(density.shape)}")
    return reference.occupancy(density, check.real("threshold", threshold))
