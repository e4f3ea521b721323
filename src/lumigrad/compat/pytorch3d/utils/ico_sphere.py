"""Spheres."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from lumigrad.compat.pytorch3d.ops.subdivide_meshes import SubdivideMeshes
from lumigrad.compat.pytorch3d.structures.meshes import Meshes
from lumigrad.scene.shapes.procedural import icosphere

FINEST = 8  # level of lumigrad's own


def ico_sphere(level: int = 0, device: Any = None) -> Meshes:
    """A unit sphere of 20 * 4**level faces."""
    mesh = icosphere(min(level, FINEST))
    sphere = Meshes([mesh.positions.float()], [mesh.faces.long()]).to("cpu" if device is None else device)
    for _ in range(FINEST, level):
        finer = SubdivideMeshes()(sphere)
        sphere = finer.update_padded(F.normalize(finer.verts_padded(), dim=-1))
    return sphere
