"""Measures the shapes recovered by `single_view.py`: occupancies on a grid, overlaps, and the mean shape."""

from __future__ import annotations

import torch
from torch import Tensor

import lumigrad as lg
from lumigrad.scene import Mesh

VOXELS = 32  # voxels along a side of the box [-1, 1]^3
_LAYERS = 12  # most surfaces along a line that are counted


def centres() -> Tensor:
    """The centres of the voxels [z, y, x, 3]."""
    place = (2 * torch.arange(VOXELS) + 1) / VOXELS - 1
    z, y, x = torch.meshgrid(place, place, place, indexing="ij")
    return torch.stack([x, y, z], -1)


@torch.no_grad()
def occupancy(positions: Tensor, faces: Tensor) -> Tensor:
    """Which voxels lie inside closed surfaces [N, V, 3] that share their faces, bool [N, z, y, x].

    A column of voxels is a pixel of an orthographic picture, seen along -z and peeled into layers: a point is inside
    if, of the surfaces between it and the viewer, more face the viewer than face away. Surfaces may intersect
    themselves.
    """
    flip = positions.new_tensor([1.0, 1.0, -1.0])  # the viewer's depth grows along -z
    pos = torch.nn.functional.pad(positions * flip, (0, 1), value=1.0)
    a, b, c = positions[:, faces.long()].unbind(2)
    facing = torch.linalg.cross(b - a, c - a)[..., 2].sign()  # [N, F]
    depths = -centres()[:, 0, 0, 2]
    winding = torch.zeros(len(pos), VOXELS, VOXELS, VOXELS)
    for frags in lg.peel(pos, faces, (VOXELS, VOXELS), _LAYERS, derivatives=False):
        covered = frags.tri >= 0
        sign = facing.gather(1, frags.tri.clamp_min(0).flatten(1).long()).view_as(frags.depth) * covered
        winding += sign[:, None] * (frags.depth[:, None] < depths[:, None, None])
    return (winding > 0).flip(2)  # rows go down, y goes up


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """The intersection over union of pairs from two batches [N, ...] with values in [0, 1]."""
    one, other = one.flatten(1).float(), other.flatten(1).float()
    both = (one * other).sum(1)
    return both / ((one + other).sum(1) - both).clamp_min(1e-6)


class MeanShape:
    """The one shape with the largest overlap with known ones: the best prediction without the picture. It contains the
    voxels inside more than a share of the shapes, for the best such share.

    Args:
        occupancies: bool [N, z, y, x].
    """

    def __init__(self, occupancies: Tensor) -> None:
        mean = occupancies.float().mean(0)
        shares = torch.linspace(0.1, 0.7, 25)
        scores = torch.stack([overlap(occupancies, (mean > share).expand_as(occupancies)).mean() for share in shares])
        share = float(shares[scores.argmax()])
        self.occupancy = mean > share
        self.mesh = Mesh(*lg.marching_cubes(-mean, -share, ((-1,) * 3, (1,) * 3)))
