"""Antialiasing of silhouettes, defined in plain PyTorch (Laine et al. 2020, section 3.5).

The colours on both sides of a visible outline are blended by how much of the pixels each covers, which is a
smooth function of the two vertices of the outline's edge: through it gradients of visibility reach the
positions.

The paper tests only the edges of the triangle that the nearer pixel sees. At a rim seen edge-on that
triangle often ends before the outline does: those beyond it are thinner than a pixel and own no pixel's
centre, so that a finely cut sphere would have hardly a gradient. Here the search walks from the triangle seen
along the surface to the outline. Still missed are things so thin that they own no pixel's centre at all.

All geometry is float64, in whatever dtype the arguments are: it makes decisions, and those must not depend on
rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.reference.surface._edge_topology import edge_topology
from lumigrad.reference.surface._outlines import blend_outlines, outlines
from lumigrad.reference.surface._rasterize import check_mesh
from lumigrad.types.fragments import Fragments
from lumigrad.types.outlines import Outlines

TOLERANCE = 1 / 16  # pixels by which a crossing may miss the segment between two pixel centres
WALK_LIMIT = 64  # triangles to cross at most beyond the visible one
CONTACT_DEPTH = 1e-6  # surfaces closer than this touch


class _Pairs(NamedTuple):
    """M pairs of neighbouring pixels that see different triangles, all horizontal or all vertical."""

    first: Tensor  # int64 [M], flat index of p0, the left or upper pixel
    second: Tensor  # int64 [M], flat index of p1, the right or lower one
    image: Tensor  # int64 [M]
    owner: Tensor  # int64 [M], flat index of the pixel that shows T, from which distances are measured
    centre: Tensor  # float64 [M, 2], NDC of the owner
    tri: Tensor  # int64 [M], T; at first the nearer triangle
    beyond: Tensor  # int64 [M], the triangle of the other pixel, -1 for background
    direction: Tensor  # float64 [M], +1 if the owner is p0, -1 if it is p1

    def take(self, index: Tensor) -> _Pairs:
        return _Pairs(*(field[index] for field in self))

    def reversed(self, height: int, width: int) -> _Pairs:
        """The same pairs, owned by their other pixels."""
        owner = self.first + self.second - self.owner
        centre = _centres(owner, height, width)
        return self._replace(owner=owner, centre=centre, tri=self.beyond, beyond=self.tri, direction=-self.direction)


class _Mesh(NamedTuple):
    """A mesh on the screen, and the axis of its pairs."""

    corners: Tensor  # float64 [N, V, 3] = x, y, w
    z: Tensor  # float64 [N, V]
    tri: Tensor  # int64 [T, 3]
    links: Tensor  # int64 [3 T], the topology
    facing: Tensor  # int64 [N, T]
    scale: tuple[float, float]  # pixels per unit of NDC: half the width and height
    vertical: bool


class _Lines(NamedTuple):
    """Edges as seen from the centres of pixels, all [M, E]."""

    changes: Tensor  # bool, whether its two ends lie on different sides of the line of centres
    crosses: Tensor  # bool, whether it also meets that line in front of the eye
    steep: Tensor  # bool, whether it is at least as steep as flat (for vertical pairs: at least as flat as steep)
    outward: Tensor  # float64, has the sign of the pair's direction where a front-facing triangle ends
    distance: Tensor  # float64, pixels from the centre to the crossing, towards the other pixel


def antialias(
    color: Tensor,
    frags: Fragments,
    pos: Tensor,
    tri: Tensor,
    topology: Tensor | None = None,
    method: str = "fast",
    shade: Callable[[Fragments], Tensor] | None = None,
    ranges: Tensor | None = None,
    every_edge: bool = False,
    *,
    own_edges: bool = False,
) -> Tensor:
    """Blend colours across visible silhouette edges.

    A pixel p0 and its right or lower neighbour p1 that see different triangles are a pair. T is the nearer
    triangle by ``frags.depth`` (on equal depth that of p0; never background). From T's pixel the search
    follows the line of the two centres towards the other pixel, along the surface: it leaves T over that of
    T's edges which the line crosses last, goes on in the neighbour across it, leaves that over its other
    crossed edge, and so on, until an edge is a silhouette. dc is the distance in pixels from the centre of
    T's pixel to that crossing. There is a blend if -1/16 <= dc <= 17/16 and the silhouette is at least as
    steep as it is flat (for horizontal pairs; the reverse for vertical ones). dc is clamped to [0, 1], where
    its gradient is zero. There is none if the walk comes to the other pixel's triangle (the surface goes on),
    beyond 17/16, to an edge of three or more triangles, or through 64 triangles without an end.

    Where this finds no blend, the search starts again from the other pixel, whose triangle then is T. Its
    crossing counts if it lies in front of the plane of the nearer triangle, or within a depth of 1e-6 of it.
    The foot of a wall needs this: the floor in front of it is nearer by depth, and has no outline there.

    With dc < 1/2 T's pixel receives the weight 1/2 - dc of the other colour, otherwise the other pixel
    receives dc - 1/2 of T's (with dc = 1/2 p1 receives nothing, though the derivative is not zero). A pixel's up
    to four weights are divided by max(1, their sum), so it stays within the range of the colours blended. All
    blends read the original colours.

    An edge is a silhouette of a triangle if no other triangle of the edge lies on its far side, as the
    orientations on the screen tell (homogeneous determinants, valid behind the eye too). A triangle seen
    exactly edge-on lies on no side.

    Args:
        color: [N, H, W, C], float32 or float64.
        frags: what `rasterize` gave for these positions.
        pos, tri: as given to `rasterize`.
        topology: what `edge_topology` gave for ``tri``; computed from the indices alone if None.
        method: "fast", which is described here, or "exact": `blend_outlines` of `outlines`, which take `ranges` and
            `every_edge`, and whose sides `shade` makes colours of, or else pixels nearby.
        own_edges: the contract of nvdiffrast. No walk: of T's own silhouette edges that cross the line within the
            same distances, are steep enough and have T on their near side, the one of smallest clamped dc counts,
            the first of equals. No division of weights.

    Returns:
        [N, H, W, C]. Gradients reach ``color``, and x, y, w of ``pos``.

    Raises:
        TypeError, ValueError: an argument has the wrong type, dtype, shape or range.
    """
    if method == "exact":
        found = outlines(pos, tri, frags, topology, ranges, every_edge, sources=shade is None)
        sides = colors_nearby(color, found) if shade is None else shade(found.sides)
        return blend_outlines(color, sides, found, pos, tri)
    _check(color, frags, pos, tri)
    topology = edge_topology(tri) if topology is None else _check_topology(topology, tri)
    images, height, width, _ = color.shape
    points = pos.double().expand(images, -1, -1) if pos.ndim == 2 else pos.double()
    corners, z = points[..., [0, 1, 3]], points[..., 2].detach()
    facing = _facing(corners.detach(), tri)
    not_drawn = ~pos.detach().isfinite().all(-1).expand(images, -1)[:, tri.long()].all(-1)
    facing = facing.masked_fill(not_drawn, 0)

    blends = []
    for vertical in (False, True):
        mesh = _Mesh(corners, z, tri.long(), topology.flatten().long(), facing, (width / 2, height / 2), vertical)
        pairs = _candidates(frags, vertical)
        with torch.no_grad():
            if own_edges:
                chosen, half_edge = _own_edges(mesh, pairs)
                pairs = pairs.take(chosen)
            else:
                pairs, half_edge = _outlines(mesh, pairs, height, width)
        dc = _lines(mesh, pairs, half_edge[:, None]).distance[:, 0]
        dc = torch.where((dc >= 0) & (dc <= 1), dc, dc.detach().clamp(0, 1))
        alpha = pairs.direction * (0.5 - dc)
        into_first = alpha > 0
        target = torch.where(into_first, pairs.first, pairs.second)
        blends.append((target, pairs.first + pairs.second - target, torch.where(into_first, alpha, -alpha)))
    target, source, weight = (torch.cat(parts) for parts in zip(*blends))

    if not own_edges:
        total = weight.new_zeros(images * height * width).index_add(0, target, weight)[target]
        weight = weight / torch.where(total > 1, total, 1.0)
    flat = color.flatten(0, 2)
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
    seen, depth = frags.tri.flatten().long().clamp(min=-1), frags.depth.detach().flatten()
    differs = seen[first] != seen[second]
    first, second = first[differs], second[differs]
    nearer = (seen[first] >= 0) & ((seen[second] < 0) | (depth[first] <= depth[second]))
    over, other = torch.where(nearer, first, second), torch.where(nearer, second, first)
    direction = torch.where(nearer, 1.0, -1.0).double()
    image, centre = over // (height * width), _centres(over, height, width)
    return _Pairs(first, second, image, over, centre, seen[over], seen[other], direction)


def _centres(pixel: Tensor, height: int, width: int) -> Tensor:
    """NDC [M, 2] of the centres of pixels, given by flat indices [M]."""
    row, col = pixel // width % height, pixel % width
    return torch.stack(((2 * col + 1).double() / width - 1, 1 - (2 * row + 1).double() / height), 1)


def _own_edges(mesh: _Mesh, pairs: _Pairs) -> tuple[Tensor, Tensor]:
    """Indices [B] of the pairs whose triangle T itself has a silhouette there, and those half-edges [B]."""
    half_edges = 3 * pairs.tri[:, None] + torch.arange(3, device=pairs.tri.device)
    lines = _lines(mesh, pairs, half_edges)
    side = mesh.facing[pairs.image, pairs.tri] * pairs.direction
    counts = lines.crosses & lines.steep & (lines.outward * side[:, None] > 0)
    counts &= (lines.distance >= -TOLERANCE) & (lines.distance <= 1 + TOLERANCE)
    counts &= _silhouettes(mesh, pairs.image.repeat_interleave(3), half_edges.flatten()).view(-1, 3)
    chosen = counts.any(1).nonzero().flatten()
    edge = torch.where(counts, lines.distance.clamp(0, 1), torch.inf)[chosen].argmin(1)  # the first of equals
    return chosen, half_edges[chosen, edge]


def _outlines(mesh: _Mesh, pairs: _Pairs, height: int, width: int) -> tuple[_Pairs, Tensor]:
    """The pairs that blend, as seen by their owners, and the silhouette half-edges at which they blend."""
    chosen, half_edge = _walk(mesh, pairs)
    other = pairs.beyond >= 0
    other[chosen] = False
    back = pairs.take(other.nonzero().flatten()).reversed(height, width)
    again, half_edge_back = _walk(mesh, back)
    back = back.take(again)
    distance = _lines(mesh, back, half_edge_back[:, None]).distance[:, 0].clamp(0, 1)
    depth = _depth_on_axis(mesh, back, half_edge_back // 3, distance)
    in_front = depth <= _depth_on_axis(mesh, back, back.beyond, distance) + CONTACT_DEPTH
    found = _Pairs(*(torch.cat(fields) for fields in zip(pairs.take(chosen), back.take(in_front))))
    return found, torch.cat((half_edge, half_edge_back[in_front]))


def _depth_on_axis(mesh: _Mesh, pairs: _Pairs, triangle: Tensor, distance: Tensor) -> Tensor:
    """Depth z / w [M] of the planes of triangles [M], at a distance [M] in pixels from the owners' centres."""
    corner = mesh.tri[triangle]  # [M, 3]
    x, y, w = mesh.corners[pairs.image[:, None], corner].unbind(-1)
    x, y = x - pairs.centre[:, :1] * w, y - pairs.centre[:, 1:] * w
    along, across, scale = (-y, x, mesh.scale[1]) if mesh.vertical else (x, y, mesh.scale[0])
    a, b = [1, 2, 0], [2, 0, 1]
    at = (pairs.direction * distance / scale)[:, None]
    share = (across[:, a] * w[:, b] - across[:, b] * w[:, a]) * at
    share = share + (along[:, a] * across[:, b] - across[:, a] * along[:, b])
    z = mesh.z[pairs.image[:, None], corner]
    return (z * share).sum(1) / (w * share).sum(1)


def _walk(mesh: _Mesh, pairs: _Pairs) -> tuple[Tensor, Tensor]:
    """Indices [B] of the pairs where the walk over the surface finds a silhouette, and its half-edges [B]."""
    ends = []
    walk = torch.arange(len(pairs.tri), device=pairs.tri.device)
    ways = 3 * pairs.tri[:, None] + torch.arange(3, device=pairs.tri.device)  # half-edges out of the triangle
    for _ in range(WALK_LIMIT + 1):
        here = pairs.take(walk)
        lines = _lines(mesh, here, ways)
        # A line crosses two edges of a triangle or none. If it enters through one, it leaves through one other, unless
        # the positions of welded vertices have come apart.
        ahead = lines.crosses & (lines.changes.sum(1, keepdim=True) == ways.shape[1] - 1)
        way = torch.where(ahead, lines.distance, -torch.inf).argmax(1, keepdim=True)  # the first of equals
        ahead, steep, distance, half_edge = (v.gather(1, way)[:, 0] for v in (ahead, lines.steep, lines.distance, ways))
        ahead &= distance <= 1 + TOLERANCE
        silhouette = _silhouettes(mesh, here.image, half_edge)
        found = ahead & silhouette & steep & (distance >= -TOLERANCE)
        ends.append((walk[found], half_edge[found]))

        across = mesh.links[half_edge] >> 1
        two = (mesh.links[across] >> 1 == half_edge) & (across != half_edge)
        on = ahead & ~silhouette & two & (across // 3 != here.beyond)
        walk, across = walk[on], across[on]
        first_corner = across - across % 3
        ways = torch.stack([first_corner + (across + turn) % 3 for turn in (1, 2)], 1)
        if not len(walk):
            break
    chosen, half_edges = (torch.cat(parts) for parts in zip(*ends))
    return chosen, half_edges


def _silhouettes(mesh: _Mesh, image: Tensor, start: Tensor) -> Tensor:
    """Which of the half-edges ``start`` [M] have no other triangle on their far side.

    Goes around the cycle of every edge. A triangle lies on the far side if it faces like the starting triangle and runs
    along the edge in the opposite direction, or if neither holds.
    """
    own = mesh.facing[image, start // 3]
    silhouette = torch.ones_like(start, dtype=torch.bool)
    turn = torch.arange(len(start), device=start.device)
    at, direction = start, torch.ones_like(start)  # +1: runs like the starting half-edge
    while len(turn):
        direction = direction * (2 * (mesh.links[at] & 1) - 1)
        at = mesh.links[at] >> 1
        far = -mesh.facing[image[turn], at // 3] * direction == own[turn]
        closed = at == start[turn]
        silhouette[turn] &= closed | ~far
        on = ~closed & silhouette[turn]
        turn, at, direction = turn[on], at[on], direction[on]
    return silhouette


def _lines(mesh: _Mesh, pairs: _Pairs, half_edges: Tensor) -> _Lines:
    """The positions of half-edges [M, E] relative to the M pairs.

    In NDC relative to the pixel's centre, a = (xa - fx wa, ya - fy wa, wa) and b likewise are the ends of an
    edge, and a x b = (lx, ly, lc) is its line lx x + ly y + lc = 0, with the triangle on the side where that
    has the sign of its facing.
    """
    first_corner = half_edges - half_edges % 3
    ends = torch.stack([mesh.tri.flatten()[first_corner + (half_edges + turn) % 3] for turn in (1, 2)])
    x, y, w = mesh.corners[pairs.image[:, None], ends].unbind(-1)  # each [2, M, E]
    x = x - pairs.centre[:, :1] * w
    y = y - pairs.centre[:, 1:] * w
    # t runs along the line of centres, rightwards or downwards, and s across it, both in pixels per unit w.
    # (t, s) is (x, y) scaled and, for vertical pairs, rotated by a quarter turn: orientations do not change.
    x, y = x * mesh.scale[0], y * mesh.scale[1]
    (ta, tb), (sa, sb), (wa, wb) = (-y, x, w) if mesh.vertical else (x, y, w)
    line_t, line_s = sa * wb - sb * wa, tb * wa - ta * wb
    changes = (sa < 0) != (sb < 0)
    crosses = changes & torch.where(sb < 0, line_t > 0, line_t < 0)  # equivalent to w > 0 at the crossing
    distance = pairs.direction[:, None] * (sa * tb - sb * ta) / torch.where(crosses, line_t, 1.0)
    return _Lines(changes, crosses, line_t.abs() >= line_s.abs(), -line_t, distance)


def colors_nearby(color: Tensor, found: Outlines) -> Tensor:
    """Colours [N, 4, S, C] of the pixels that stand for the sides of outlines."""
    assert found.source is not None
    views, rows, pieces = found.source.shape
    index = found.source.long().reshape(views, -1, 1).expand(-1, -1, color.shape[3])
    return color.flatten(1, 2).gather(1, index).view(views, rows, pieces, color.shape[3])


def _check(color: Tensor, frags: Fragments, pos: Tensor, tri: Tensor) -> None:
    check_mesh(pos, tri)
    if not isinstance(color, Tensor) or color.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"color: expected a float32 or float64 tensor, got {getattr(color, 'dtype', type(color))}")
    images, height, width = frags.tri.shape
    if color.ndim != 4 or color.shape[:3] != frags.tri.shape:
        raise ValueError(f"color: expected shape [{images}, {height}, {width}, C], got {list(color.shape)}")
    if pos.ndim == 3 and len(pos) != images:
        raise ValueError(f"pos: expected shape [{images}, V, 4] or [V, 4], got {list(pos.shape)}")
    if frags.tri.numel() and int(frags.tri.max()) >= len(tri):
        raise ValueError(f"frags: expected triangles below {len(tri)}, those of tri, got {int(frags.tri.max())}")


def _check_topology(topology: Tensor, tri: Tensor) -> Tensor:
    if not isinstance(topology, Tensor) or topology.dtype != torch.int32:
        raise TypeError(f"topology: expected an int32 tensor, got {getattr(topology, 'dtype', type(topology))}")
    if topology.shape != tri.shape:
        raise ValueError(f"topology: expected shape {list(tri.shape)}, that of tri, got {list(topology.shape)}")
    half_edge = torch.arange(topology.numel(), device=topology.device)
    if not torch.equal((topology.flatten().long() >> 1).sort()[0], half_edge):
        raise ValueError("topology: expected the result of edge_topology, got links that do not form cycles")
    return topology
