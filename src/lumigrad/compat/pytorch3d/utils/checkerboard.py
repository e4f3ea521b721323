"""Checkerboards."""

from __future__ import annotations

from typing import Any

import torch

from lumigrad.compat.pytorch3d.renderer.mesh.textures import TexturesVertex
from lumigrad.compat.pytorch3d.structures.meshes import Meshes


def checkerboard(
    radius: int = 4, color1: Any = (0.0, 0.0, 0.0), color2: Any = (1.0, 1.0, 1.0), device: Any = "cpu"
) -> Meshes:
    """A board of unit squares in the plane z = 0.

    Args:
        radius: squares from the centre to the border.
        color1, color2: of the squares.
        device: of the mesh.
    """
    sides = torch.arange(-radius, radius, device=device)
    x, y = (n.reshape(-1) for n in torch.meshgrid(sides, sides, indexing="xy"))
    corners = torch.stack([torch.stack((x + a, y + b, torch.zeros_like(x)), 1) for b in (0, 1) for a in (0, 1)], 1)
    start = 4 * torch.arange(len(x), device=device)[:, None, None]
    faces = start + torch.tensor([[0, 1, 3], [0, 3, 2]], device=device)
    colors = torch.tensor([tuple(color1), tuple(color2)], dtype=torch.float32, device=device)
    features = colors[(x + y) % 2].repeat_interleave(4, 0)
    return Meshes([corners.reshape(-1, 3).float()], [faces.reshape(-1, 3)], TexturesVertex([features]))
