"""Tori."""

from __future__ import annotations

import math
from typing import Any

import torch

from lumigrad.compat.pytorch3d.structures.meshes import Meshes


def torus(r: float, R: float, sides: int, rings: int, device: Any = None) -> Meshes:
    """A torus about the z axis.

    Args:
        r: radius of the tube.
        R: distance of its middle from the axis.
        sides: segments around the tube.
        rings: segments around the axis.
        device: of the mesh.

    Raises:
        ValueError: radii that are not positive.
    """
    if not (r > 0 and R > 0):
        raise ValueError(f"r and R must be > 0, got {r} and {R}.")
    around = 2 * math.pi * torch.arange(rings, device=device) / rings
    tube = 2 * math.pi * torch.arange(sides, device=device) / sides
    around, tube = (angle.reshape(-1) for angle in torch.meshgrid(around, tube, indexing="ij"))
    distance = R + r * tube.cos()
    verts = torch.stack((distance * around.cos(), distance * around.sin(), r * tube.sin()), 1)
    i, j = (n.reshape(-1) for n in torch.meshgrid(torch.arange(rings), torch.arange(sides), indexing="ij"))
    corner = {(a, b): (i + a) % rings * sides + (j + b) % sides for a in (0, 1) for b in (0, 1)}
    first = torch.stack((corner[0, 0], corner[1, 0], corner[0, 1]), 1)
    second = torch.stack((corner[1, 0], corner[1, 1], corner[0, 1]), 1)
    faces = torch.stack((first, second), 1).reshape(-1, 3)
    return Meshes([verts], [faces.to(verts.device)])
