"""Edges of triangles that may occlude light."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.reference.light._sampling import sums_of

FLATTEST = 1e-5  # angle between faces in radians; at smaller angles, their edge is never a silhouette


class Edges(NamedTuple):
    """Edges of triangles that can be silhouettes, whichever vertices are duplicated.

    Attributes:
        ends: int32 [E, 2], vertices.
        shapes: [E, 13]: places of the ends (3 each), in the order of the first face's winding; unit normals of both
            faces (3 each), the second of which is the opposite of the first if there is only one face; a factor.
        sums: [E + 1], cumulative selection probabilities, from 0 to 1: half of the selections are in proportion to
            length times the angle at which the faces meet, the range of directions that see a silhouette; the other
            half is uniform.
    """

    ends: Tensor
    shapes: Tensor
    sums: Tensor


@torch.no_grad()
def find_edges(positions: Tensor, tri: Tensor, topology: Tensor) -> Edges:
    """The edges of triangles [F, 3] with vertices [V, 3]; topology: that of `edge_topology` with positions.

    Where more than two faces meet, each counts as if it were alone, and the edge counts once per face: past such an
    edge, either nothing of the mesh is visible, or another face that moves with the edge.
    """
    corners = positions.double()[tri.long()]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = normals.norm(dim=-1, keepdim=True)
    usable = ((area > 0) & area.isfinite()).expand(-1, 3).reshape(-1)
    normals = (normals / torch.where(area > 0, area, 1)).repeat_interleave(3, 0)
    links = topology.long().reshape(-1)
    own = torch.arange(len(links), device=links.device)
    after, aligned = links // 2, links % 2
    alone, pair = after == own, (after != own) & (after[after] == own)
    count = _cycle_lengths(after)
    first = (usable & (~pair | (own < after) | ~usable[after])).nonzero()[:, 0]
    flip = torch.where(aligned[first] == 1, -1.0, 1.0).to(normals)[:, None]
    other = torch.where((pair & usable[after])[first, None], flip * normals[after[first]], -normals[first])
    ends = torch.stack([tri.long().roll(-k, 1).reshape(-1)[first] for k in (1, 2)], -1)
    a, b = positions.double()[ends].unbind(1)
    share = torch.where(pair | alone, 1.0, 1 / count.double())[first]
    sine = torch.linalg.cross(normals[first], other).norm(dim=-1)
    angle = torch.atan2(sine, (normals[first] * other).sum(-1))
    weight = share * (b - a).norm(dim=-1) * torch.where(angle > FLATTEST, angle, 0)
    rows = weight.nonzero()[:, 0]
    shapes = torch.cat((a, b, normals[first], other, share[:, None]), -1)[rows]
    sums = sums_of(weight[rows] / weight.sum() + 1 / max(len(rows), 1)) if len(rows) else weight.new_zeros(1)
    return Edges(ends[rows].to(torch.int32), shapes.to(positions.dtype), sums.to(positions.dtype))


def _cycle_lengths(after: Tensor) -> Tensor:
    """The number of half-edges on the edge of each half-edge."""
    count, at = torch.ones_like(after), after
    own = torch.arange(len(after), device=after.device)
    open_ = at != own
    while bool(open_.any()):
        count = count + open_
        at = torch.where(open_, after[at], at)
        open_ = open_ & (at != own)
    return count
