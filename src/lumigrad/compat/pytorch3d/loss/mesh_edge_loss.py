"""Lengths of edges."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.loss._reduction import loss_of_nothing, mean_per_mesh
from lumigrad.compat.pytorch3d.structures.meshes import Meshes


def mesh_edge_loss(meshes: Meshes, target_length: float = 0.0) -> Tensor:
    """Squared differences of the lengths of edges to a target."""
    if meshes.isempty():
        return loss_of_nothing(meshes)
    edges = meshes.edges_packed()
    a, b = meshes.verts_packed()[edges].unbind(1)
    # With a zero length no gradient but zero; the norm's own would be NaN.
    length = (a - b).square().sum(1)
    length = torch.where(length > 0, length.clamp(min=torch.finfo(length.dtype).tiny).sqrt(), 0.0)
    return mean_per_mesh((length - target_length) ** 2, meshes.edges_packed_to_mesh_idx(), len(meshes))
