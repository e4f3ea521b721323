"""Distances of vertices to their neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.loss._reduction import loss_of_nothing, mean_per_mesh
from lumigrad.compat.pytorch3d.structures.meshes import EPSILON, Meshes


def mesh_laplacian_smoothing(meshes: Meshes, method: str = "uniform") -> Tensor:
    """Distances of vertices to the means of their neighbours.

    Args:
        meshes: the batch.
        method: "uniform": neighbours weigh the same; "cot": by the cotangents of the angles across; "cotcurv": by
            these, over four times the areas of the faces around, which is the mean curvature. Weights count as
            constants.

    Raises:
        ValueError: another method.

    Source: Desbrun et al. 1999, "Implicit Fairing of Irregular Meshes using Diffusion and Curvature Flow".
    """
    if method not in ("uniform", "cot", "cotcurv"):
        raise ValueError(f"method: Method should be one of uniform, cot, cotcurv, got {method!r}")
    if meshes.isempty():
        return loss_of_nothing(meshes)
    verts = meshes.verts_packed()
    with torch.no_grad():
        if method == "uniform":
            edges = meshes.edges_packed()
            weights = torch.ones(len(edges), dtype=verts.dtype, device=verts.device)
        else:
            edges, weights = _cotangents(verts, meshes.faces_packed())
        pairs = torch.cat((edges, edges.flip(1)))
        weights = torch.cat((weights, weights))
        total = verts.new_zeros(len(verts)).index_add(0, pairs[:, 0], weights)
        scale = torch.where(total > 0, 1 / total, total)
        if method == "cotcurv":
            areas = meshes.faces_areas_packed().repeat_interleave(3)
            around = torch.zeros_like(total).index_add(0, meshes.faces_packed().reshape(-1), areas)
            scale = torch.where(around > 0, 0.25 / around, around)
    neighbours = torch.zeros_like(verts).index_add(0, pairs[:, 0], weights[:, None] * verts[pairs[:, 1]])
    own = verts * total[:, None] * scale[:, None] if method == "cotcurv" else verts
    offset = neighbours * scale[:, None] - own
    return mean_per_mesh(offset.norm(dim=1), meshes.verts_packed_to_mesh_idx(), len(meshes))


def _cotangents(verts: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """The edge across each corner of faces [3 F, 2], and the cotangent of the angle there."""
    edges, weights = [], []
    for k in range(3):
        at, b, c = (faces[:, (k + i) % 3] for i in range(3))
        u, v = verts[b] - verts[at], verts[c] - verts[at]
        edges.append(torch.stack((b, c), 1))
        weights.append((u * v).sum(1) / torch.linalg.cross(u, v).norm(dim=1).clamp(min=EPSILON))
    return torch.cat(edges), torch.cat(weights)
