"""Antialiasing of silhouettes, defined in plain PyTorch (Laine et al. 2020, section 3.5).

The colours on both sides of a visible edge are blended by how much of the pixels the edge covers, which is a
smooth function of the edge's two vertices: through it gradients of visibility reach the positions.

All geometry is float64, in whatever dtype the arguments are: it makes decisions, and those must not depend on
rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..fragments import Fragments
from .edge_topology import edge_topology
from .rasterize import check_mesh

TOLERANCE = 1 / 16  # pixels by which a crossing may miss the segment between two pixel centres


class _Pairs(NamedTuple):
    """M pairs of neighbouring pixels that see different triangles, all horizontal or all vertical."""

    first: Tensor  # int64 [M], flat index of p0, the left or upper pixel
    second: Tensor  # int64 [M], flat index of p1, the right or lower one
    over: Tensor  # int64 [M], flat index of that one of the two which sees the nearer triangle
    tri: Tensor  # int64 [M], the nearer triangle
    direction: Tensor  # float64 [M], +1 if ``over`` is p0, -1 if it is p1


def antialias(
    color: Tensor,
    frags: Fragments,
    pos: Tensor,
    tri: Tensor,
    topology: Tensor | None = None,
    *,
    unbounded: bool = False,
) -> Tensor:
    """Blend colours across visible silhouette edges.

    A pixel p0 and its right or lower neighbour p1 that see different triangles are a pair. T is the nearer
    triangle by ``frags.depth`` (on equal depth that of p0; never background). Of T's silhouette edges
    consider those that cross the line of the two centres, leave T in the direction of the other pixel, and
    are at least as steep as they are flat (for horizontal pairs; the reverse for vertical ones). dc is the
    distance in pixels from the centre of T's pixel to the crossing. dc outside [-1/16, 17/16] blends nothing,
    else it is clamped to [0, 1], where its gradient is zero; of several edges the one of smallest clamped dc
    counts, the first of equals. With dc < 1/2 T's pixel receives the weight 1/2 - dc of the other colour,
    otherwise the other pixel receives dc - 1/2 of T's. A pixel's up to four weights are divided by
    max(1, their sum), so it stays within the range of the colours blended. All blends read the original
    colours.

    An edge is a silhouette if no other triangle of its edge lies on its far side, as T's orientation on the
    screen and theirs tell (homogeneous determinants, valid behind the eye too). A triangle seen exactly
    edge-on lies on no side, and has no silhouette of its own.

    Args:
        color: [N, H, W, C], float32 or float64.
        frags: what `rasterize` gave for these positions.
        pos, tri: as given to `rasterize`.
        topology: what `edge_topology` gave for ``tri``; computed from the indices alone if None.
        unbounded: no division of weights and no test of dc against the tolerance, it is only clamped (as
            nvdiffrast does).

    Returns:
        [N, H, W, C]. Gradients reach ``color``, and x, y, w of ``pos``.

    Raises:
        TypeError, ValueError: an argument has the wrong type, dtype, shape or range.
    """
    _check(color, frags, pos, tri)
    topology = edge_topology(tri) if topology is None else _check_topology(topology, tri)
    images, height, width, channels = color.shape
    corners = pos[..., [0, 1, 3]].double()
    corners = corners.expand(images, -1, -1) if pos.ndim == 2 else corners
    facing = _facing(corners.detach(), tri)

    blends = []
    for vertical in (False, True):
        pairs = _candidates(frags, vertical)
        image = pairs.over // (height * width)
        silhouette = _silhouettes(topology.long(), facing, image, pairs.tri)
        dc, chosen = _crossings(corners, facing, tri, pairs, silhouette, vertical, (height, width), unbounded)
        first, second = pairs.first[chosen], pairs.second[chosen]
        alpha = pairs.direction[chosen] * (0.5 - dc)
        into_first = alpha > 0
        target = torch.where(into_first, first, second)
        blends.append((target, first + second - target, torch.where(into_first, alpha, -alpha)))
    target, source, weight = (torch.cat(parts) for parts in zip(*blends))

    if not unbounded:
        total = weight.new_zeros(images * height * width).index_add(0, target, weight)[target]
        weight = weight / torch.where(total > 1, total, 1.0)
    flat = color.reshape(-1, channels)
    change = weight.to(color.dtype)[:, None] * (flat[source] - flat[target])
    return flat.index_add(0, target, change).view(color.shape)


def _facing(corners: Tensor, tri: Tensor) -> Tensor:
    """Sign [N, T] of det[x y w] of the triangles: +1 counter-clockwise with y up, 0 edge-on or not finite."""
    p0, p1, p2 = corners[:, tri.long()].unbind(2)  # each [N, T, 3] = x, y, w
    (x0, y0, w0), (x1, y1, w1), (x2, y2, w2) = p0.unbind(-1), p1.unbind(-1), p2.unbind(-1)
    det = w0 * (x1 * y2 - y1 * x2) + w1 * (x2 * y0 - y2 * x0) + w2 * (x0 * y1 - y0 * x1)
    return (det > 0).long() - (det < 0).long()


def _candidates(frags: Fragments, vertical: bool) -> _Pairs:
    images, height, width = frags.tri.shape
    pixel = torch.arange(images * height * width, device=frags.tri.device).view(images, height, width)
    if vertical:
        first, second = pixel[:, :-1].flatten(), pixel[:, 1:].flatten()
    else:
        first, second = pixel[:, :, :-1].flatten(), pixel[:, :, 1:].flatten()
    seen, depth = frags.tri.flatten().long(), frags.depth.detach().flatten()
    differs = seen[first] != seen[second]
    first, second = first[differs], second[differs]
    nearer = (seen[first] >= 0) & ((seen[second] < 0) | (depth[first] <= depth[second]))
    over = torch.where(nearer, first, second)
    return _Pairs(first, second, over, seen[over], torch.where(nearer, 1.0, -1.0).double())


def _silhouettes(topology: Tensor, facing: Tensor, image: Tensor, tri: Tensor) -> Tensor:
    """Which edges [M, 3] of the triangles ``tri`` have no other triangle on their far side.

    Goes around the cycle of every edge. A triangle lies on the far side if it faces as T does and runs along
    the edge in the opposite direction, or if neither.
    """
    start = (3 * tri[:, None] + torch.arange(3, device=tri.device)).flatten()
    image, own = image.repeat_interleave(3), facing[image, tri].repeat_interleave(3)
    silhouette = torch.ones_like(start, dtype=torch.bool)
    links = topology.flatten()
    walk = torch.arange(len(start), device=start.device)
    at, direction = start, torch.ones_like(start)  # +1: runs as the starting half-edge does
    while len(walk):
        direction = direction * (2 * (links[at] & 1) - 1)
        at = links[at] >> 1
        far = -facing[image[walk], at // 3] * direction == own[walk]
        closed = at == start[walk]
        silhouette[walk] &= closed | ~far
        on = ~closed & silhouette[walk]
        walk, at, direction = walk[on], at[on], direction[on]
    return silhouette.view(-1, 3)


def _crossings(
    corners: Tensor,
    facing: Tensor,
    tri: Tensor,
    pairs: _Pairs,
    silhouette: Tensor,
    vertical: bool,
    resolution: tuple[int, int],
    unbounded: bool,
) -> tuple[Tensor, Tensor]:
    """Clamped distance dc [B] from T's pixel centre to the edge, and the indices [B] of the pairs that have
    one.

    In NDC relative to that centre, a = (xa - fx wa, ya - fy wa, wa) and b likewise are the ends of an edge,
    and a x b = (lx, ly, lc) is its line lx x + ly y + lc = 0, with T on the side where that has the sign of
    its facing.
    """
    height, width = resolution
    image, row, col = pairs.over // (height * width), pairs.over // width % height, pairs.over % width
    ends = tri.long()[pairs.tri][:, [[1, 2], [2, 0], [0, 1]]]  # [M, edge, end]
    x, y, w = corners[image[:, None, None], ends].unbind(-1)
    x = x - ((2 * col + 1).double() / width - 1)[:, None, None] * w
    y = y - (1 - (2 * row + 1).double() / height)[:, None, None] * w
    # t runs along the line of centres, rightwards or downwards, and s across it, both in pixels per unit w.
    # (t, s) is (x, y) scaled and, for vertical pairs, rotated by a quarter turn: orientations stay what they
    # are.
    t, s = (-y * (height / 2), x * (width / 2)) if vertical else (x * (width / 2), y * (height / 2))
    ta, tb = t.unbind(-1)
    sa, sb = s.unbind(-1)
    wa, wb = w.unbind(-1)
    line_t, line_s = sa * wb - sb * wa, tb * wa - ta * wb
    outward = -line_t * facing[image, pairs.tri][:, None]
    with torch.no_grad():
        crosses = (sa < 0) != (sb < 0)
        crosses &= line_t / (sa - sb) > 0
        crosses &= line_t.abs() >= line_s.abs()
        crosses &= outward * pairs.direction[:, None] > 0
        crosses &= silhouette
        safe = torch.where(crosses, line_t, 1.0)
        distance = pairs.direction[:, None] * (sa * tb - sb * ta) / safe
        if not unbounded:
            crosses &= (distance >= -TOLERANCE) & (distance <= 1 + TOLERANCE)
        chosen = crosses.any(1).nonzero().flatten()
        edge = torch.where(crosses, distance.clamp(0, 1), torch.inf)[chosen].argmin(1)  # the first of equals
    ta, tb, sa, sb, line_t = (v[chosen, edge] for v in (ta, tb, sa, sb, line_t))
    dc = pairs.direction[chosen] * (sa * tb - sb * ta) / line_t
    return torch.where((dc >= 0) & (dc <= 1), dc, dc.detach().clamp(0, 1)), chosen


def _check(color: Tensor, frags: Fragments, pos: Tensor, tri: Tensor) -> None:
    check_mesh(pos, tri)
    if not isinstance(color, Tensor) or color.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"color: expected a float32 or float64 tensor, got {getattr(color, 'dtype', type(color))}"
        )
    images, height, width = frags.tri.shape
    if color.ndim != 4 or color.shape[:3] != frags.tri.shape:
        raise ValueError(f"color: expected shape [{images}, {height}, {width}, C], got {list(color.shape)}")
    if pos.ndim == 3 and len(pos) != images:
        raise ValueError(f"pos: expected shape [{images}, V, 4] or [V, 4], got {list(pos.shape)}")
    if frags.tri.numel() and int(frags.tri.max()) >= len(tri):
        raise ValueError(
            f"frags: expected triangles below {len(tri)}, those of tri, got {int(frags.tri.max())}"
        )


def _check_topology(topology: Tensor, tri: Tensor) -> Tensor:
    if not isinstance(topology, Tensor) or topology.dtype != torch.int32:
        raise TypeError(
            f"topology: expected an int32 tensor, got {getattr(topology, 'dtype', type(topology))}"
        )
    if topology.shape != tri.shape:
        raise ValueError(
            f"topology: expected shape {list(tri.shape)}, that of tri, got {list(topology.shape)}"
        )
    half_edge = torch.arange(topology.numel(), device=topology.device)
    if not torch.equal((topology.flatten().long() >> 1).sort()[0], half_edge):
        raise ValueError("topology: expected the result of edge_topology, got links that do not form cycles")
    return topology
