"""Laplacian matrices of meshes, sparse."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.structures._edges import uniform_laplacian


def laplacian(verts: Tensor, edges: Tensor) -> Tensor:
    """[V, V]: -1 on the diagonal and 1 / (number of neighbours) at neighbours.

    Args:
        verts: [V, 3], of which the number, type and device count.
        edges: [E, 2].
    """
    return uniform_laplacian(verts, edges)


def cot_laplacian(verts: Tensor, faces: Tensor, eps: float = 1e-12) -> tuple[Tensor, Tensor]:
    """Cotangent weights [V, V], and the inverse areas [V, 1] of the faces around each vertex.

    Args:
        verts: [V, 3].
        faces: [F, 3].
        eps: the smallest squared area that is divided by.
    """
    a, b, c = verts[faces].unbind(1)
    sides = torch.stack(((b - c).norm(dim=1), (a - c).norm(dim=1), (a - b).norm(dim=1)), 1)
    half = sides.sum(1, keepdim=True) / 2
    area = (half[:, 0] * (half - sides).prod(1)).clamp(min=eps).sqrt()
    squares = sides.square()
    # cot of the angle at a corner: (sum of the other squared sides - the one across) / (4 area).
    cotangents = (squares.sum(1, keepdim=True) - 2 * squares) / (4 * area[:, None])
    rows, columns = faces[:, [1, 2, 0]].reshape(-1), faces[:, [2, 0, 1]].reshape(-1)
    places = torch.stack((torch.cat((rows, columns)), torch.cat((columns, rows))))
    values = cotangents.reshape(-1).repeat(2)
    matrix = torch.sparse_coo_tensor(places, values, (len(verts), len(verts)), check_invariants=False).coalesce()
    around = area.new_zeros(len(verts)).index_add(0, faces.reshape(-1), area.repeat_interleave(3))
    return matrix, torch.where(around > 0, 1 / around, around)[:, None]


def norm_laplacian(verts: Tensor, edges: Tensor, eps: float = 1e-12) -> Tensor:
    """[V, V] with 1 / (length + eps) at neighbours.

    Args:
        verts: [V, 3].
        edges: [E, 2].
        eps: added to lengths.
    """
    ends = verts[edges]
    weights = 1 / ((ends[:, 0] - ends[:, 1]).norm(dim=1) + eps)
    places = torch.cat((edges, edges.flip(1))).T
    return torch.sparse_coo_tensor(places, weights.repeat(2), (len(verts), len(verts)), check_invariants=False)
