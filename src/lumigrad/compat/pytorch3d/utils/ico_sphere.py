"""Spheres."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from lumigrad.compat.pytorch3d.ops.subdivide_meshes import SubdivideMeshes
from lumigrad.compat.pytorch3d.structures.meshes import Meshes
from lumigrad.scene.shapes.procedural import icosphere


def ico_sphere(level: int = 0, device: Any = None) -> Meshes:
    """A unit sphere of 20 * 4**level faces, with PyTorch3D's order of vertices and faces.

    As there, the icosahedron has four digits, which is seen in the sixth digit of what is made from it.

    Raises:
        ValueError: a negative level.
    """
    if level < 0:
        raise ValueError(f"level: expected 0 or more, got {level}")
    base, subdivide = icosphere(0), SubdivideMeshes()
    positions = torch.round(base.positions.float() * 1e4) / 1e4
    sphere = Meshes([positions], [base.faces.long()]).to("cpu" if device is None else device)
    for _ in range(level):
        finer = subdivide(sphere)
        sphere = Meshes([F.normalize(finer.verts_packed(), dim=-1)], [finer.faces_packed()])
    return sphere
