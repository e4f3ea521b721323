"""Smooth meshes."""

from __future__ import annotations

from typing import Any

import torch

from lumigrad.compat.pytorch3d.ops.laplacian_matrices import norm_laplacian


def taubin_smoothing(meshes: Any, lambd: float = 0.53, mu: float = -0.53, num_iter: int = 10) -> Any:
    """Meshes whose vertices move towards their neighbours and back again, which smooths without shrinking.

    Args:
        meshes: `Meshes`.
        lambd: the share of the step towards the neighbours, weighted by 1 / distance.
        mu: that of the step back, negative.
        num_iter: how often both are done.

    Source: Taubin 1995, "Curve and Surface Smoothing without Shrinkage".
    """
    verts, edges = meshes.verts_packed(), meshes.edges_packed()
    for _ in range(num_iter):
        for share in (lambd, mu):
            matrix = norm_laplacian(verts, edges)
            total = torch.sparse.sum(matrix, dim=1).to_dense()[:, None]
            verts = (1 - share) * verts + share * (matrix @ verts) / total
    return type(meshes)(list(verts.split(meshes.num_verts_per_mesh().tolist())), meshes.faces_list())
