"""Angles between neighbouring faces."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.loss._reduction import loss_of_nothing, mean_per_mesh
from lumigrad.compat.pytorch3d.structures.meshes import Meshes


def mesh_normal_consistency(meshes: Meshes) -> Tensor:
    """1 - cos of the angle between the normals of faces on either side of an edge, whatever their winding.

    Where more than two faces share an edge, all their pairs count.
    """
    if meshes.isempty():
        return loss_of_nothing(meshes)
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
    return mean_per_mesh(loss, meshes.verts_packed_to_mesh_idx()[torch.cat(edge)[:, 0]], len(meshes))
