"""Areas and normals of triangles."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mesh_face_areas_normals(verts: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Areas [F] and unit normals [F, 3] of faces [F, 3] of vertices [V, 3].

    Raises:
        ValueError: another shape.
    """
    for name, value in (("verts", verts), ("faces", faces)):
        if value.ndim != 2 or value.shape[1] != 3:
            raise ValueError(f"{name} must be of shape Rx3, got {tuple(value.shape)}")
    a, b, c = verts[faces].unbind(1)
    crosses = torch.linalg.cross(b - a, c - a)
    return crosses.norm(dim=1) / 2, F.normalize(crosses, eps=1e-6, dim=1)
