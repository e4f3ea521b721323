"""Edges of triangles, and the Laplacian matrix of a graph."""

from __future__ import annotations

import torch
from torch import Tensor


def unique_edges(faces: Tensor, vertices: int) -> tuple[Tensor, Tensor]:
    """Edges of faces [F, 3], once each, and which of them lie across each corner.

    Returns:
        Vertices [E, 2], the smaller first, in ascending order; numbers of edges [F, 3].
    """
    sides = torch.stack((faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]), 1).sort(-1).values
    width = max(1, vertices)
    keys, across = torch.unique(sides[..., 0] * width + sides[..., 1], sorted=True, return_inverse=True)
    return torch.stack((keys.div(width, rounding_mode="floor"), keys % width), -1), across


def uniform_laplacian(verts: Tensor, edges: Tensor) -> Tensor:
    """The sparse matrix [V, V] that takes vertices to the mean of their neighbours minus themselves.

    Args:
        verts: [V, 3], of which the number, type and device count.
        edges: [E, 2].
    """
    count = len(verts)
    pairs = torch.cat((edges, edges.flip(1))).T
    neighbours = torch.bincount(pairs[0], minlength=count).to(verts.dtype)
    weights = torch.where(neighbours > 0, 1 / neighbours, 0.0)[pairs[0]]
    diagonal = torch.arange(count, device=verts.device).expand(2, -1)
    values = torch.cat((weights, -torch.ones_like(neighbours)))
    return torch.sparse_coo_tensor(torch.cat((pairs, diagonal), 1), values, (count, count), check_invariants=False)
