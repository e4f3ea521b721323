"""PyTorch3D's regularisers of meshes: each mesh's mean, averaged over the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d._meshes import EPSILON, Meshes


def _mean_per_mesh(values: Tensor, owner: Tensor, count: int) -> Tensor:
    """The mean over meshes of the means of their values; 0 for meshes without any."""
    if count == 0:
        return values.sum()
    total = values.new_zeros(count).index_add(0, owner, values)
    return (total / torch.bincount(owner, minlength=count).clamp(min=1)).sum() / count


def mesh_edge_loss(meshes: Meshes, target_length: float = 0.0) -> Tensor:
    """Squared differences of the lengths of edges to a target."""
    edges = meshes.edges_packed()
    a, b = meshes.verts_packed()[edges].unbind(1)
    # With a zero length no gradient but zero; the norm's own would be NaN.
    length = (a - b).square().sum(1)
    length = torch.where(length > 0, length.clamp(min=torch.finfo(length.dtype).tiny).sqrt(), 0.0)
    return _mean_per_mesh((length - target_length) ** 2, meshes.edges_packed_to_mesh_idx(), len(meshes))


def mesh_laplacian_smoothing(meshes: Meshes, method: str = "uniform") -> Tensor:
    """Distances of vertices to the means of their neighbours.

    Args:
        meshes: the batch.
        method: "uniform": neighbours weigh the same; "cot": by the cotangents of the angles across, which are taken
            as constants.

    Raises:
        ValueError: another method.

    Source: Desbrun et al. 1999, "Implicit Fairing of Irregular Meshes using Diffusion and Curvature Flow".
    """
    if method not in ("uniform", "cot"):
        raise ValueError(f"method: expected one of uniform, cot, got {method!r}")
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
        scale = torch.where(total > 0, 1 / total, 0.0)
    mean = torch.zeros_like(verts).index_add(0, pairs[:, 0], weights[:, None] * verts[pairs[:, 1]]) * scale[:, None]
    return _mean_per_mesh((mean - verts).norm(dim=1), meshes.verts_packed_to_mesh_idx(), len(meshes))


def _cotangents(verts: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """The edge across each corner of faces [3 F, 2], and the cotangent of the angle there."""
    edges, weights = [], []
    for k in range(3):
        at, b, c = (faces[:, (k + i) % 3] for i in range(3))
        u, v = verts[b] - verts[at], verts[c] - verts[at]
        edges.append(torch.stack((b, c), 1))
        weights.append((u * v).sum(1) / torch.linalg.cross(u, v).norm(dim=1).clamp(min=EPSILON))
    return torch.cat(edges), torch.cat(weights)


def mesh_normal_consistency(meshes: Meshes) -> Tensor:
    """1 - cos of the angle between the normals of faces on either side of an edge, whatever their winding.

    Where more than two faces share an edge, all their pairs count.
    """
    faces, verts = meshes.faces_packed(), meshes.verts_packed()
    sides = torch.stack([faces[:, [k, (k + 1) % 3]] for k in range(3)], 1).reshape(-1, 2).sort(1).values
    apexes = torch.stack([faces[:, (k + 2) % 3] for k in range(3)], 1).reshape(-1)
    key = sides[:, 0] * max(1, len(verts)) + sides[:, 1]
    key, order = key.sort(stable=True)
    sides, apexes = sides[order], apexes[order]
    edge, first, second = [], [], []
    max_count = int(torch.unique_consecutive(key, return_counts=True)[1].max()) if len(key) else 0
    # Faces of an edge are neighbours now: pair each with those 1, 2, ... places after it.
    for step in range(1, max_count):
        same = (key[step:] == key[:-step]).nonzero()[:, 0]
        edge.append(sides[same])
        first.append(apexes[same])
        second.append(apexes[same + step])
    if not edge:
        return verts.sum() * 0
    start, end = verts[torch.cat(edge)].unbind(1)
    along = end - start
    one = torch.linalg.cross(along, verts[torch.cat(first)] - start)
    other = -torch.linalg.cross(along, verts[torch.cat(second)] - start)
    loss = 1 - torch.cosine_similarity(one, other, dim=1)
    return _mean_per_mesh(loss, meshes.verts_packed_to_mesh_idx()[torch.cat(edge)[:, 0]], len(meshes))
