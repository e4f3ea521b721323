"""The coordinates in which a surface is meshed and moved: those of an object, or all of space contracted to a ball."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from lumigrad.ops.field import contract

# Radius of the ball in which scenes end: everything at least 50 units away lies there.
HORIZON = 1.98


class Space(Protocol):
    """A map of positions, and back. Lengths of the mesh and steps of its vertices are measured in what it maps to."""

    def inward(self, positions: Tensor) -> Tensor:
        """Positions [..., 3] of the fit where the mesh is made."""

    def outward(self, positions: Tensor) -> Tensor:
        """The inverse of `inward`."""


class Straight:
    """Positions unchanged: for objects."""

    def inward(self, positions: Tensor) -> Tensor:
        """The positions."""
        return positions

    def outward(self, positions: Tensor) -> Tensor:
        """The positions."""
        return positions


class Contracted:
    """All of space in a ball: unchanged up to a distance of 1, and smaller with distance beyond, as in images.

    An edge that is 50 units away may be 1000 times as long as one before the cameras.

    Source: Barron et al. 2022, "Mip-NeRF 360", equation 10.

    >>> import torch
    >>> from lumigrad.fit.reconstruct import Contracted
    >>> space, points = Contracted(), torch.tensor([[0.5, 0.0, 0.0], [0.0, 4.0, 0.0]])
    >>> space.inward(points).tolist()
    [[0.5, 0.0, 0.0], [0.0, 1.75, 0.0]]
    >>> space.outward(space.inward(points)).tolist()
    [[0.5, 0.0, 0.0], [0.0, 4.0, 0.0]]
    """

    def inward(self, positions: Tensor) -> Tensor:
        """Positions [..., 3] in the ball of radius 2."""
        return contract(positions)

    def outward(self, positions: Tensor) -> Tensor:
        """Positions [..., 3] of the ball in space, none farther away than those at `HORIZON` are."""
        radius = positions.norm(dim=-1, keepdim=True)
        far = radius > 1
        safe = torch.where(far, radius, 1)
        stretched = positions / (safe * (2 - safe.clamp(max=HORIZON)))
        return torch.where(far, stretched, positions)
