"""The triangles that share an edge, defined in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor


def edge_topology(tri: Tensor, positions: Tensor | None = None) -> Tensor:
    """Link the half-edges that lie on the same edge of a mesh into cycles.

    Half-edge h = 3t+k is the edge of triangle t opposite to its vertex k, running from vertex (k+1)%3 to
    vertex (k+2)%3. All half-edges between the same two vertices form one cycle, in ascending order, whatever
    their number: two on an ordinary inner edge, one on a boundary, more where a mesh is not manifold. A triangle
    with two equal vertices takes no part: each of its half-edges is a cycle of its own.

    Args:
        tri: vertex indices [T, 3], int32 or int64, not negative.
        positions: [V, D], optional: vertices at exactly the same place count as one, so that a mesh whose
            vertices were duplicated along texture seams or creases is connected all the same.

    Returns:
        int32 [T, 3]; entry [t, k] is 2 h' + s, where h' follows h = 3t+k in its cycle, and s = 1 if h' runs
        in the same direction as h (two triangles wound inconsistently, or h' = h), 0 if in the opposite one
        (the ordinary case).

    Raises:
        TypeError, ValueError: an argument has the wrong type, dtype, shape or range.
    """
    _check(tri, positions)
    vertices = tri.long()
    if positions is not None:
        # + 0.0: -0 and 0 are the same position
        vertices = torch.unique(positions.detach() + 0.0, dim=0, return_inverse=True)[1][vertices]
    start, end = vertices.roll(-1, 1).flatten(), vertices.roll(-2, 1).flatten()
    half_edge = torch.arange(3 * len(tri), device=tri.device)
    low, high = torch.minimum(start, end), torch.maximum(start, end)
    stride = int(high.max()) + 1 if len(half_edge) else 1
    alone = (vertices == vertices.roll(-1, 1)).any(1).repeat_interleave(3)
    edge = torch.where(alone, stride * stride + half_edge, low * stride + high)

    edge, order = edge.sort(stable=True)
    first = torch.cat((edge.new_ones(1, dtype=torch.bool), edge[1:] != edge[:-1]))[: len(edge)]
    group = first.cumsum(0) - 1
    last = torch.cat((first[1:], first.new_ones(1)))[: len(edge)]
    following = torch.where(last, order[first][group], order.roll(-1))  # the last links to the first
    same = start[following] == start[order]
    same |= following == order
    topology = torch.empty_like(half_edge)
    topology[order] = 2 * following + same.long()
    return topology.view(-1, 3).int()


def _check(tri: Tensor, positions: Tensor | None) -> None:
    if not isinstance(tri, Tensor) or tri.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"tri: expected an int32 or int64 tensor, got {getattr(tri, 'dtype', type(tri))}")
    if tri.ndim != 2 or tri.shape[1] != 3:
        raise ValueError(f"tri: expected shape [T, 3], got {list(tri.shape)}")
    if 6 * len(tri) > torch.iinfo(torch.int32).max:
        raise ValueError(f"tri: expected at most {torch.iinfo(torch.int32).max // 6} triangles, got {len(tri)}")
    if tri.numel() and int(tri.min()) < 0:
        raise ValueError(f"tri: expected indices of at least 0, got {int(tri.min())}")
    if positions is None:
        return
    if not isinstance(positions, Tensor) or not positions.is_floating_point():
        raise TypeError(f"positions: expected a floating-point tensor, got {getattr(positions, 'dtype', positions)}")
    if positions.ndim != 2 or positions.shape[1] < 1:
        raise ValueError(f"positions: expected shape [V, D] with D at least 1, got {list(positions.shape)}")
    if tri.numel() and int(tri.max()) >= len(positions):
        raise ValueError(f"tri: expected indices below {len(positions)}, the rows of positions, got {int(tri.max())}")
