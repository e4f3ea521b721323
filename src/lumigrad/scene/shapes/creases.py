"""Normals that are smooth within parts of a surface and break at sharp edges, as CAD parts need."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def crease_normals(positions: Tensor, faces: Tensor, degrees: float) -> tuple[Tensor, Tensor]:
    """Unit normals [M, 3] and the faces [F, 3] that index them.

    The corners at a vertex share a normal, area weighted over their faces, as far as these are connected by edges at
    which their normals differ by at most `degrees`. Vertices at exactly the same place count as one.

    Args:
        positions: [V, 3].
        faces: [F, 3].
        degrees: 0 for flat faces, each with a normal of its own; 180 for a smooth surface.
    """
    normal = _face_normals(positions, faces)
    if degrees == 0:
        own = torch.arange(len(faces), dtype=faces.dtype, device=faces.device)
        return torch.nn.functional.normalize(normal, dim=-1, eps=1e-30), own[:, None].repeat(1, 3)
    index = _welded(positions)[faces.long()]
    unit = torch.nn.functional.normalize(normal.detach(), dim=-1, eps=1e-30)
    first, second = _smooth_pairs(index, unit, math.cos(math.radians(degrees)))
    group = _components(first, second, index.numel())
    _, group = torch.unique(group, return_inverse=True)
    total = normal.new_zeros(int(group.max()) + 1 if len(group) else 0, 3)
    total = total.index_add(0, group, normal.repeat_interleave(3, dim=0))
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-30), group.reshape(-1, 3).to(faces.dtype)


def _face_normals(positions: Tensor, faces: Tensor) -> Tensor:
    corners = positions[faces.long()]
    across: Tensor = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return across


def _welded(positions: Tensor) -> Tensor:
    """For each vertex, a number that all vertices at the same place share."""
    if not len(positions):
        return torch.zeros(0, dtype=torch.long, device=positions.device)
    values = positions.detach()
    order = torch.arange(len(values), device=values.device)
    for axis in range(3):  # a lexicographic order
        order = order[torch.argsort(values[order, axis], stable=True)]
    new = (values[order][1:] != values[order][:-1]).any(-1)
    number = torch.cat([new.new_zeros(1), new]).cumsum(0)
    found: Tensor = torch.empty_like(order).index_copy_(0, order, number)
    return found


def _smooth_pairs(index: Tensor, unit: Tensor, cosine: float) -> tuple[Tensor, Tensor]:
    """Pairs of corners (3 face + k) at the same vertex, on both sides of an edge that is not sharp."""
    count = len(index)
    corner = torch.arange(3 * count, device=index.device).reshape(count, 3)
    # Every face's three edges, each with its two corners in the order of the vertices.
    start, end = index, index.roll(-1, dims=1)
    begin, finish = corner, corner.roll(-1, dims=1)
    swapped = start > end
    low, high = torch.where(swapped, end, start).reshape(-1), torch.where(swapped, start, end).reshape(-1)
    at_low = torch.where(swapped, finish, begin).reshape(-1)
    at_high = torch.where(swapped, begin, finish).reshape(-1)
    key = low * (int(index.max()) + 1 if index.numel() else 1) + high
    order = torch.argsort(key)
    one, other = order[:-1], order[1:]
    together = (key[one] == key[other]) & (low[one] != high[one])
    one, other = one[together], other[together]
    flat = (unit[at_low[one] // 3] * unit[at_low[other] // 3]).sum(-1) >= cosine - 1e-6
    one, other = one[flat], other[flat]
    return torch.cat([at_low[one], at_high[one]]), torch.cat([at_low[other], at_high[other]])


def _components(first: Tensor, second: Tensor, count: int) -> Tensor:
    """The smallest member of each item's component [count] in the graph with these edges."""
    label = torch.arange(count, device=first.device)
    while True:
        least = torch.minimum(label[first], label[second])
        new = label.scatter_reduce(0, first, least, "amin").scatter_reduce(0, second, least, "amin")
        new = new[new]
        if torch.equal(new, label):
            return label
        label = new
