"""Connected parts of surfaces."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lumigrad._optional import require
from lumigrad.scene.shapes.mesh import Mesh


def labels_of(faces: Tensor, count: int) -> Tensor:
    """Number of the connected part of each face [F], of faces [F, 3] of `count` vertices."""
    sparse = require("scipy.sparse", "lumigrad.fit.reconstruct")
    graphs = require("scipy.sparse.csgraph", "lumigrad.fit.reconstruct")
    index = faces.long().cpu().numpy()
    start, end = index.reshape(-1), np.roll(index, 1, axis=1).reshape(-1)
    graph = sparse.coo_matrix((np.ones(len(start), dtype=np.int8), (start, end)), shape=(count, count))
    _, labels = graphs.connected_components(graph, directed=False)
    return torch.from_numpy(labels[index[:, 0]].astype(np.int64)).to(faces.device)


def without_crumbs(mesh: Mesh, share: float = 0.02) -> Mesh:
    """A mesh without its connected parts whose area is below a share of the largest one's.

    >>> from lumigrad.fit.reconstruct import without_crumbs
    >>> from lumigrad.scene import Mesh, icosphere
    >>> import torch
    >>> large, small = icosphere(2), icosphere(0, radius=0.05)
    >>> faces = torch.cat([large.faces, small.faces + len(large.positions)])
    >>> both = Mesh(torch.cat([large.positions, small.positions + 2]), faces)
    >>> len(without_crumbs(both).faces) == len(large.faces)
    True
    """
    if not len(mesh.faces):
        return mesh
    labels = labels_of(mesh.faces, len(mesh.positions))
    areas = mesh.positions.new_zeros(int(labels.max()) + 1).index_add(0, labels, mesh.face_normals().norm(dim=-1))
    return mesh.submesh(areas[labels] >= share * areas.max())


def without_cavities(mesh: Mesh) -> Mesh:
    """A closed mesh without its inside-out parts, which are the walls of invisible cavities."""
    if not len(mesh.faces):
        return mesh
    labels = labels_of(mesh.faces, len(mesh.positions))
    a, b, c = mesh.positions[mesh.faces.long()].double().unbind(1)
    volumes = (a * torch.linalg.cross(b, c)).sum(-1)
    sums = volumes.new_zeros(int(labels.max()) + 1).index_add(0, labels, volumes)
    return mesh.submesh(sums[labels] > 0)
