"""The visible outlines of surfaces and the average of an image over pixels, defined in plain PyTorch.

Every outline is a straight segment on the screen: an edge of the mesh, the curve in which two triangles cross, or
that in which the near or far plane cuts one. Along it, what is seen immediately beside it can change only where the
outline enters or leaves another triangle, or where two of those change places in depth; the segment is cut at all of
these and at the borders of pixels, and the middle of each piece tells what is seen along all of it. Time and
memory grow with the cube of the number of triangles.

The colour of a pixel, averaged over its square, is that at its centre plus the jumps on the way from there: first up or
down the column through the centre, then left or right. A piece adds its jump times the area beyond it on that way. So
the surface seen on a side of it gains that area or loses it; what all pieces on one surface add up to is what it
covers, and the middle of that is where its colour is looked up.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.reference.surface._edge_topology import edge_topology
from lumigrad.reference.surface._rasterize import _clamp, _evaluate
from lumigrad.reference.surface._surface import image_positions
from lumigrad.types.fragments import Fragments
from lumigrad.types.outlines import Outlines

BESIDE = 1e-7  # pixels from an outline at which the surfaces beside it are looked up
SNAPPED_WITHIN = 1 / 128  # pixels from a centre within which the rasterizer may show the other side of an outline
TOUCHING = BESIDE  # pixels from an edge within which crossing surfaces merely touch
JOINT = 1.001 * BESIDE  # pixels within which two outlines coincide
ASIDE = 0.1 * BESIDE, BESIDE  # the place this far to the left of a centre and above it, in pixels, counts as the centre
SAME_DEPTH = 1e-13  # within which depths are equal but for rounding
LONGEST_WAY = 32  # triangles to cross at most between two places of a surface
OF_EDGE, OF_NEAR_PLANE, OF_FAR_PLANE = -1, -2, -3


class _Triangles(NamedTuple):
    """Triangles as lines (a, b, c) over the image, a x + b y + c in pixels, float64. Undrawn ones are never visible."""

    corners: Tensor  # [T, 3, 4]: x, y, z, w in homogeneous pixels
    edges: Tensor  # [T, 3, 3], >= 0 inside; edge k is opposite to corner k
    front: Tensor  # [T, 3], > 0 in front of the eye
    depth: Tensor  # [T, 3], z/w
    facing: Tensor  # [T], the sign of the determinant; 0: not drawn


class _Outline(NamedTuple):
    start: Tensor  # [2]
    end: Tensor  # [2]
    normal: Tensor  # [2], unit length, towards the plus side
    first: int
    second: int
    owners: set[int]


class _Piece(NamedTuple):
    pixel: int
    plus: int
    minus: int
    first: int
    second: int
    place: Tensor  # [2]
    beyond: Tensor  # [3], an area: its size, and the integrals of x and y over it from the pixel's centre
    length: float


class _Sample(NamedTuple):
    """A place to look up a triangle's colour, from the pixel's centre, and the fraction of the pixel with that
    colour."""

    triangle: int
    place: Tensor  # [2]
    weight: float


class _Surface(NamedTuple):
    """The mesh, with the data that determine where its surfaces end."""

    mesh: _Triangles
    links: list[int]
    every_edge: bool


def outlines(
    pos: Tensor,
    tri: Tensor,
    frags: Fragments,
    topology: Tensor | None = None,
    ranges: Tensor | None = None,
    every_edge: bool = False,
    sources: bool = False,
    capacity: int | None = None,
) -> Outlines:
    """The visible outlines of every image; see :func:`lumigrad.outlines`."""
    views, height, width = frags.tri.shape
    links = (edge_topology(tri) if topology is None else topology).flatten().tolist()
    found: list[list[tuple[_Piece, list[_Sample]]]] = []
    for view, positions in enumerate(image_positions(pos, views)):
        first, count = (0, len(tri)) if ranges is None else ranges[view].tolist()
        drawn = torch.zeros(len(tri), dtype=torch.bool)
        drawn[first : first + count] = True
        mesh = _triangles(positions.detach().double().cpu(), tri.long().cpu(), drawn, height, width)
        shown = frags.tri[view].flatten().tolist()
        pieces = _pieces_of_view(mesh, tri.long().cpu(), links, every_edge, shown, height, width)
        found.append(_with_samples(pieces, _Surface(mesh, links, every_edge), shown, width))
    rows = max(map(len, found), default=0) if capacity is None else capacity
    packed = _pack([pieces[:rows] for pieces in found], rows, pos)
    sides = _fragments_at(pos, tri, packed, (height, width), frags.bary_d is not None)
    source = _sources(found, rows, pos, tri, frags) if sources else None
    return Outlines(sides, packed.pixel, packed.place, packed.weight, packed.length, packed.line, source)


def blend_outlines(color: Tensor, side_color: Tensor, outlines: Outlines, pos: Tensor, tri: Tensor) -> Tensor:
    """The image averaged over pixels; see :func:`lumigrad.blend_outlines`."""
    views, height, width, channels = color.shape
    beside, surfaces = side_color.split(2, 1)
    used = (outlines.pixel >= 0)[..., None]
    target = outlines.pixel.long().clamp(min=0)[..., None].expand(-1, -1, channels)
    centre = color.flatten(1, 2)
    shown = centre.gather(1, target)[:, None]
    change = (outlines.weight.detach()[..., None] * (surfaces - shown)).sum(1)
    advance = outlines.length.detach() * _advance(outlines, pos, tri, height, width)
    change = change + advance[..., None] * (beside[:, 0] - beside[:, 1]).detach()
    return centre.scatter_add(1, target, torch.where(used, change, 0)).view(views, height, width, channels)


# ---- geometry --------------------------------------------------------------------------------------------------------


def _homogeneous(pos: Tensor, height: int, width: int) -> Tensor:
    """Clip positions [..., 4] as x, y, z, w with x/w and y/w in pixels."""
    x, y, z, w = pos.unbind(-1)
    return torch.stack(((x + w) * width / 2, (w - y) * height / 2, z, w), -1)


def _lines(corners: Tensor) -> Tensor:
    """The lines [..., 3, 3] through two corners each of triangles [..., 3, 4]; line k is opposite to corner k."""
    xyw = corners[..., [0, 1, 3]]
    return torch.linalg.cross(xyw[..., [1, 2, 0], :], xyw[..., [2, 0, 1], :])


def _depth_planes(corners: Tensor) -> Tensor:
    """z/w as lines [..., 3]."""
    lines = _lines(corners)
    det = (corners[..., 0, [0, 1, 3]] * lines[..., 0, :]).sum(-1)
    return (corners[..., 2, None] * lines).sum(-2) / det[..., None]


def _triangles(pos: Tensor, tri: Tensor, drawn: Tensor, height: int, width: int) -> _Triangles:
    corners = _homogeneous(pos, height, width)[tri]
    lines = _lines(corners)
    det = (corners[:, 0, [0, 1, 3]] * lines[:, 0]).sum(-1)
    good = drawn & corners.flatten(1).isfinite().all(1) & det.isfinite() & (det != 0)
    facing = torch.where(good, det.sign(), 0)
    lines = lines * facing[:, None, None]
    depth = (corners[..., 2, None] * lines).sum(1) / torch.where(good, det.abs(), 1)[:, None]
    return _Triangles(corners, lines, lines.sum(1), depth, facing)


def _at(lines: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return lines[..., 0] * x + lines[..., 1] * y + lines[..., 2]


def _covers(mesh: _Triangles, x: Tensor, y: Tensor) -> Tensor:
    """Which triangles [..., T] cover places [..., 1]."""
    inside = torch.stack([_at(mesh.edges[:, k], x, y) >= 0 for k in range(3)]).all(0)
    depth = _at(mesh.depth, x, y)
    return inside & (mesh.facing != 0) & (_at(mesh.front, x, y) > 0) & (depth >= -1) & (depth <= 1)


def _seen(mesh: _Triangles, x: Tensor, y: Tensor) -> Tensor:
    """The nearest triangles [M] at places [M]; of those equal within rounding, the last one."""
    x, y = x[:, None], y[:, None]
    depth = torch.where(_covers(mesh, x, y), _at(mesh.depth, x, y), torch.inf)
    nearest = depth.amin(1, keepdim=True)
    numbers = torch.arange(len(mesh.facing))
    return torch.where((depth <= nearest + SAME_DEPTH) & nearest.isfinite(), numbers, -1).amax(1)


# ---- outlines --------------------------------------------------------------------------------------------------------


def _pieces_of_view(
    mesh: _Triangles, tri: Tensor, links: list[int], every_edge: bool, shown: list[int], height: int, width: int
) -> list[_Piece]:
    if not len(tri) or not height * width:
        return []
    found = _edges(mesh, tri, links, every_edge) + _plane_cuts(mesh) + _crossings(mesh, tri)
    surface = _Surface(mesh, links, every_edge)
    pieces = [piece for outline in found for piece in _follow(outline, surface, height, width)]
    return pieces + _corrections(pieces, mesh, shown, width)


def _cycle(links: list[int], start: int) -> list[tuple[int, bool]]:
    """All half-edges on an edge, and whether each runs in the direction of the first."""
    cycle, h, same = [(start, True)], start, True
    while links[h] >> 1 != start:
        same = same if links[h] & 1 else not same
        h = links[h] >> 1
        cycle.append((h, same))
    return cycle


def _edges(mesh: _Triangles, tri: Tensor, links: list[int], every_edge: bool) -> list[_Outline]:
    """Silhouettes, at which all triangles lie on one side, and borders; or all edges."""
    facing, found = mesh.facing.tolist(), []
    for h in range(3 * len(tri)):
        cycle = [(other, same) for other, same in _cycle(links, h) if facing[other // 3] != 0]
        if facing[h // 3] == 0 or h != min(other for other, _ in cycle):
            continue
        one_sided = all((facing[other // 3] == facing[h // 3]) == same for other, same in cycle)
        if not one_sided and not every_edge:
            continue
        t, k = divmod(h, 3)
        a, b = mesh.corners[t, (k + 1) % 3], mesh.corners[t, (k + 2) % 3]
        line = torch.linalg.cross(a[[0, 1, 3]], b[[0, 1, 3]])
        ends = _between_planes(a, b)
        if ends is not None:
            found.append(_outline(*ends, line, h, OF_EDGE, {other // 3 for other, _ in _cycle(links, h)}))
    return [outline for outline in found if outline.normal.isfinite().all()]


def _outline(start: Tensor, end: Tensor, line: Tensor, first: int, second: int, owners: set[int]) -> _Outline:
    return _Outline(start, end, line[:2] / line[:2].norm(), first, second, owners)


def _keep(low: float, high: float, v0: float, v1: float) -> tuple[float, float]:
    """The part of [low, high] where a value that runs from v0 at 0 to v1 at 1 is non-negative."""
    if v0 < 0 and v1 < 0:
        return low, low
    if v0 < 0:
        return max(low, v0 / (v0 - v1)), high
    return (low, min(high, v0 / (v0 - v1))) if v1 < 0 else (low, high)


def _between_planes(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor] | None:
    """The ends of an edge on the screen, between the near and far planes."""
    low, high = 0.0, 1.0
    for sign in (1, -1):
        low, high = _keep(low, high, float(a[3] + sign * a[2]), float(b[3] + sign * b[2]))
    ends = [b if f == 1 else a + f * (b - a) for f in (low, high)]
    if low >= high or any(end[3] <= 0 for end in ends):
        return None
    return ends[0][:2] / ends[0][3], ends[1][:2] / ends[1][3]


def _plane_cuts(mesh: _Triangles) -> list[_Outline]:
    """The cuts of triangles by the near and far planes."""
    found = []
    for t in mesh.facing.nonzero().flatten().tolist():
        for sign, second in ((1, OF_NEAR_PLANE), (-1, OF_FAR_PLANE)):
            corners = mesh.corners[t]
            distance = sign * corners[:, 2] + corners[:, 3]
            places = []
            for k in range(3):
                i, j = (k + 1) % 3, (k + 2) % 3
                if (distance[i] < 0) != (distance[j] < 0):
                    f = distance[i] / (distance[i] - distance[j])
                    place = corners[i] + f * (corners[j] - corners[i])
                    places.append(place[:2] / place[3])
            if len(places) == 2:
                found.append(_outline(places[0], places[1], sign * mesh.depth[t], t, second, {t}))
    return [outline for outline in found if outline.normal.isfinite().all()]


def _crossings(mesh: _Triangles, tri: Tensor) -> list[_Outline]:
    """The curves in which two triangles cross."""
    found, drawn = [], mesh.facing.nonzero().flatten().tolist()
    for n, i in enumerate(drawn):
        for j in drawn[n + 1 :]:
            line = mesh.depth[i] - mesh.depth[j]
            norm = float(line[:2].norm())
            if len(set(tri[i].tolist()) & set(tri[j].tolist())) >= 2 or norm <= 16 * SAME_DEPTH:
                continue
            normal = line[:2] / norm
            base = -line[2] / norm * normal
            along = torch.stack((-normal[1], normal[0])) * 1e5
            low, high = 0.0, 1.0
            start, end = base - along, base + along
            for each in [*mesh.edges[i], *mesh.edges[j], mesh.front[i], mesh.front[j]]:
                low, high = _keep(low, high, float(_at(each, *start)), float(_at(each, *end)))
            middle = start + (low + high) / 2 * (end - start)
            edges = torch.cat((mesh.edges[i], mesh.edges[j]))
            if low < high and bool((_at(edges, *middle) > TOUCHING * edges[:, :2].norm(dim=1)).all()):
                first, last = start + low * (end - start), start + high * (end - start)
                found.append(_outline(first, last, line, i, j, {i, j}))
    return found


# ---- pieces ----------------------------------------------------------------------------------------------------------


def _follow(outline: _Outline, surface: _Surface, height: int, width: int) -> list[_Piece]:
    """The visible pieces of an outline within the image."""
    mesh = surface.mesh
    run = outline.end - outline.start
    low, high = 0.0, 1.0
    for axis, size in ((0, width), (1, height)):
        low, high = _keep(low, high, float(outline.start[axis]), float(outline.end[axis]))
        low, high = _keep(low, high, size - float(outline.start[axis]), size - float(outline.end[axis]))
    if low >= high:
        return []
    breaks = torch.cat([_changes(outline, mesh, side) for side in (1, -1)] + [_borders(outline, height, width)])
    breaks = torch.cat((breaks[(breaks > low) & (breaks < high)], breaks.new_tensor([low, high]))).unique()
    middle = outline.start + ((breaks[1:] + breaks[:-1]) / 2)[:, None] * run
    plus, minus = (_seen(mesh, *(middle + side * BESIDE * outline.normal).unbind(1)).tolist() for side in (1, -1))
    pieces = []
    for i, sides in enumerate(zip(plus, minus, strict=True)):
        own = [side in outline.owners for side in sides]
        if sides[0] == sides[1] or not (all(own) if outline.second >= 0 else any(own)):
            continue
        ends = outline.start + breaks[i] * run, outline.start + breaks[i + 1] * run
        share = 1.0
        if outline.second == OF_EDGE and own[0] != own[1] and min(sides) >= 0 and _is_joint(ends, sides, own, surface):
            share = 0.5
        pieces.append(_piece(ends, outline, sides, share, height, width))
    return pieces


def _changes(outline: _Outline, mesh: _Triangles, side: int) -> Tensor:
    """The places on an outline where triangles begin, end, or change their order in depth."""
    offset = side * BESIDE * outline.normal
    (x0, y0), (x1, y1) = (outline.start + offset).tolist(), (outline.end + offset).tolist()
    start, end = (x.new_tensor for x in (outline.start, outline.end))
    x0, y0, x1, y1 = start(x0), start(y0), end(x1), end(y1)
    z0, z1 = _at(mesh.depth, x0, y0), _at(mesh.depth, x1, y1)
    lines = [*mesh.edges.unbind(1), mesh.front]
    values = [(_at(line, x0, y0), _at(line, x1, y1)) for line in lines] + [(z0 + 1, z1 + 1), (1 - z0, 1 - z1)]
    values.append(((z0[:, None] - z0).flatten(), (z1[:, None] - z1).flatten()))
    reach = JOINT * mesh.edges[..., :2].norm(dim=-1)
    for line, near in zip(mesh.edges.unbind(1), reach.unbind(1), strict=True):  # where joints begin and end
        at = _at(line, x0, y0), _at(line, x1, y1)
        values += [(at[0] + near, at[1] + near), (near - at[0], near - at[1])]
    places = torch.cat([v0 / (v0 - v1) for v0, v1 in values])
    return places[places.isfinite()]


def _borders(outline: _Outline, height: int, width: int) -> Tensor:
    """Where an outline passes from pixel to pixel."""
    run, places = outline.end - outline.start, []
    for axis, size in ((0, width), (1, height)):
        places.append((torch.arange(size + 1, dtype=run.dtype) - outline.start[axis]) / run[axis])
    joined = torch.cat(places)
    return joined[joined.isfinite()]


def _is_joint(ends: tuple[Tensor, Tensor], sides: tuple[int, int], own: list[bool], surface: _Surface) -> bool:
    """Whether the surface beyond an edge also ends there in an outline; each of the two then counts half."""
    other, mesh = sides[1] if own[0] else sides[0], surface.mesh
    reach = JOINT * mesh.edges[other, :, :2].norm(dim=1)
    close = _at(mesh.edges[other], *((ends[0] + ends[1]) / 2)).abs() < reach
    return any(_is_outline(surface, 3 * other + k) for k in close.nonzero().flatten().tolist())


def _is_outline(surface: _Surface, half_edge: int) -> bool:
    """Whether an edge is a border or a silhouette, or true if all edges count."""
    facing = surface.mesh.facing
    cycle = [(h, same) for h, same in _cycle(surface.links, half_edge) if facing[h // 3] != 0]
    mine = facing[half_edge // 3]
    return surface.every_edge or all(bool(facing[h // 3] == mine) == same for h, same in cycle)


def _piece(
    ends: tuple[Tensor, Tensor], outline: _Outline, sides: tuple[int, int], share: float, height: int, width: int
) -> _Piece:
    middle = (ends[0] + ends[1]) / 2
    column = min(max(int(middle[0]), 0), width - 1)
    row = min(max(int(middle[1]), 0), height - 1)
    centre = middle.new_tensor([column + 0.5, row + 0.5])
    start, end = (each - centre + centre.new_tensor(ASIDE) for each in ends)
    beyond = share * _area_beyond(start, end, outline.normal.tolist())
    length = share * float((ends[1] - ends[0]).norm())
    return _Piece(row * width + column, *sides, outline.first, outline.second, middle - centre, beyond, length)


def _area_beyond(start: Tensor, end: Tensor, normal: list[float]) -> Tensor:
    """The signed area beyond a piece on the way from the pixel's centre, the origin; as ``_Piece.beyond``."""
    left, right = sorted((start, end), key=lambda place: float(place[0]))
    towards, down = (1 if n > 0 else -1 for n in normal)
    if right[0] < 0:
        return -towards * _polygon([left, right, _at_side(right, -0.5), _at_side(left, -0.5)])
    if left[0] >= 0:
        return towards * _polygon([left, right, _at_side(right, 0.5), _at_side(left, 0.5)])
    column = left - left[0] / (right[0] - left[0]) * (right - left)
    side = 0.5 if column[1] >= 0 else -0.5
    corners = (torch.tensor([x, side], dtype=start.dtype) for x in (0.5, -0.5))
    across = [_at_side(column, -0.5), _at_side(column, 0.5), *corners]
    area = down * (1 if side > 0 else -1) * _polygon(across)
    area = area - towards * _polygon([left, column, _at_side(column, -0.5), _at_side(left, -0.5)])
    return area + towards * _polygon([column, right, _at_side(right, 0.5), _at_side(column, 0.5)])


def _at_side(place: Tensor, x: float) -> Tensor:
    return torch.stack((torch.full_like(place[1], x), place[1]))


def _polygon(corners: list[Tensor]) -> Tensor:
    """The (non-negative) area of a polygon, and the integrals of x and y over it."""
    a = torch.stack([corner.double() for corner in corners])
    b = a.roll(-1, 0)
    wedge = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    size, moments = wedge.sum() / 2, ((a + b) * wedge[:, None]).sum(0) / 6
    return torch.cat((size[None], moments)) * (1 if size >= 0 else -1)


def _corrections(pieces: list[_Piece], mesh: _Triangles, shown: list[int], width: int) -> list[_Piece]:
    """Pieces without a line, where the rasterizer's rounding shows another triangle at a centre than exact geometry."""
    near = sorted({piece.pixel for piece in pieces if _distance(piece) < SNAPPED_WITHIN + piece.length / 2})
    if not near:
        return []
    pixel = torch.tensor(near)
    x, y = pixel % width + 0.5 - ASIDE[0], pixel // width + 0.5 - ASIDE[1]
    exact = _seen(mesh, x.double(), y.double()).tolist()
    zero, whole = torch.zeros(2, dtype=torch.float64), torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    return [
        _Piece(p, seen, shown[p], -1, OF_EDGE, zero, whole, 0.0)
        for p, seen in zip(near, exact, strict=True)
        if seen != shown[p]
    ]


def _distance(piece: _Piece) -> float:
    """The distance of a piece's middle from the centre of its pixel."""
    return float(piece.place.norm())


# ---- surfaces in a pixel ---------------------------------------------------------------------------------------------


def _with_samples(
    pieces: list[_Piece], surface: _Surface, shown: list[int], width: int
) -> list[tuple[_Piece, list[_Sample]]]:
    """Pieces sorted by pixel, each with the lookups of its two sides for the surfaces that they stand for."""
    by_pixel: dict[int, list[_Piece]] = {}
    for piece in pieces:
        by_pixel.setdefault(piece.pixel, []).append(piece)
    found = []
    for pixel in sorted(by_pixel):
        samples = _samples_of_pixel(by_pixel[pixel], surface, shown[pixel], width)
        found += list(zip(by_pixel[pixel], zip(samples[::2], samples[1::2]), strict=True))
    return [(piece, list(both)) for piece, both in found]


def _samples_of_pixel(pieces: list[_Piece], surface: _Surface, shown: int, width: int) -> list[_Sample]:
    row, column = divmod(pieces[0].pixel, width)
    centre = torch.tensor([column + 0.5, row + 0.5], dtype=torch.float64)
    sides = [(triangle, centre + piece.place) for piece in pieces for triangle in (piece.plus, piece.minus)]
    areas, leaders, at_centre = [torch.zeros(3, dtype=torch.float64) for _ in sides], list(range(len(sides))), -1
    for s, (triangle, place) in enumerate(sides):
        if _walk(surface, triangle, place, centre, shown)[0] == shown:
            if at_centre < 0:
                at_centre, areas[s][0] = s, 1.0
            leaders[s] = at_centre
        else:
            same = (
                o
                for o in range(s)
                if leaders[o] == o and _walk(surface, triangle, place, *sides[o][::-1])[0] == sides[o][0]
            )
            leaders[s] = next(same, s)
        areas[leaders[s]] += (-1) ** s * pieces[s // 2].beyond
    found = []
    for s, (triangle, place) in enumerate(sides):
        size = float(areas[s][0])
        if leaders[s] != s or size == 0:
            found.append(_Sample(-1, torch.zeros(2, dtype=torch.float64), 0.0))
            continue
        middle = (areas[s][1:] / size).clamp(-0.5, 0.5)
        reached, where = _walk(surface, triangle, place, centre + middle, -1)
        found.append(_Sample(reached, where - centre, size))
    return found


def _walk(surface: _Surface, triangle: int, start: Tensor, end: Tensor, target: int) -> tuple[int, Tensor]:
    """The triangle and place reached along a surface on a straight line on the screen: it ends before the first
    outline, or as soon as `target` is reached."""
    mesh, links = surface.mesh, surface.links
    if triangle in (-1, target) or surface.every_edge:
        return triangle, end
    t, entry, passed = triangle, -1, 0.0
    for step in range(LONGEST_WAY):
        if mesh.facing[t] == 0:
            break
        here, there = (_at(mesh.edges[t], *place).tolist() for place in (start, end))
        exits = [
            (max(here[k], 0.0) / (max(here[k], 0.0) - there[k]), k)
            for k in range(3)
            if k != entry and there[k] < 0 and not (step > 0 and here[k] < 0)
        ]
        if not exits:
            return t, end
        first, exit_ = min(exits)
        link = links[3 * t + exit_]
        other, same = link >> 1, bool(link & 1)
        goes_on = other != 3 * t + exit_ and mesh.facing[other // 3] != 0
        if not goes_on or (mesh.facing[other // 3] == mesh.facing[t]) == same:
            return t, start + (passed + first) / 2 * (end - start)
        passed = first
        t, entry = divmod(other, 3)
        if t == target:
            return t, end
    return triangle, start


# ---- tensors ---------------------------------------------------------------------------------------------------------


class _Packed(NamedTuple):
    pixel: Tensor
    sides: Tensor
    line: Tensor
    place: Tensor
    weight: Tensor
    length: Tensor


def _pack(found: list[list[tuple[_Piece, list[_Sample]]]], rows: int, like: Tensor) -> _Packed:
    views = len(found)
    out = _Packed(
        torch.full((views, rows), -1, dtype=torch.int32),
        torch.full((views, 4, rows), -1, dtype=torch.int32),
        torch.full((views, rows, 2), -1, dtype=torch.int32),
        torch.zeros(views, 4, rows, 2, dtype=like.dtype),
        torch.zeros(views, 2, rows, dtype=like.dtype),
        torch.zeros(views, rows, dtype=like.dtype),
    )
    for view, pieces in enumerate(found):
        for i, (piece, samples) in enumerate(pieces):
            out.pixel[view, i] = piece.pixel
            out.sides[view, :, i] = torch.tensor([piece.plus, piece.minus, *(sample.triangle for sample in samples)])
            out.line[view, i] = torch.tensor([piece.first, piece.second])
            out.place[view, :, i] = torch.stack([piece.place, piece.place, *(sample.place for sample in samples)])
            out.weight[view, :, i] = torch.tensor([sample.weight for sample in samples])
            out.length[view, i] = piece.length
    return _Packed(*(each.to(like.device) for each in out))


def _fragments_at(pos: Tensor, tri: Tensor, packed: _Packed, size: tuple[int, int], derivatives: bool) -> Fragments:
    """The fragments of triangles [N, 2, S] at places of their images."""
    (height, width), views = size, len(packed.pixel)
    seen = packed.sides >= 0
    view, row, sample = seen.nonzero(as_tuple=True)
    corners = image_positions(pos, views)[view[:, None], tri.long()[packed.sides[seen].long()]]
    pixel, place = packed.pixel[view, sample].long(), packed.place[view, row, sample]
    x = (pixel % width + 0.5 + place[:, 0]) * 2 / width - 1
    y = 1 - (pixel // width + 0.5 + place[:, 1]) * 2 / height
    step = (2 / width, -2 / height) if derivatives else None
    u, v, depth, bary_d = _evaluate(corners, x, y, step)
    u = _clamp(u, 0.0, 1.0, False)
    v = _clamp(v, 0.0, 1 - u, False)
    shape, at = tuple(packed.sides.shape), (*seen.nonzero(as_tuple=True),)
    bary = pos.new_zeros(*shape, 2).index_put(at, torch.stack((u, v), -1))
    depths = pos.new_zeros(shape).index_put(at, _clamp(depth, -1.0, 1.0, False))
    slopes = None if bary_d is None else pos.new_zeros(*shape, 2, 2).index_put(at, bary_d)
    return Fragments(packed.sides, bary, depths, slopes)


def _advance(outlines: Outlines, pos: Tensor, tri: Tensor, height: int, width: int) -> Tensor:
    """The motion of outlines against their normals, in pixels [N, S]: zero, with the gradient of positions."""
    views = len(outlines.pixel)
    positions = _homogeneous(image_positions(pos, views), height, width)
    first, second = outlines.line.long().unbind(-1)
    view = torch.arange(views, device=pos.device)[:, None].expand_as(first)
    pixel = outlines.pixel.long()
    x = pixel % width + 0.5 + outlines.place[:, 0, :, 0].detach()
    y = pixel // width + 0.5 + outlines.place[:, 0, :, 1].detach()
    advance = torch.zeros_like(outlines.length).detach()

    def corners(which: Tensor, triangle: Tensor) -> Tensor:
        return positions[view[which][:, None], tri.long()[triangle]]

    def moved(which: Tensor, line: Tensor) -> Tensor:
        value = _at(line, x[which], y[which]) / line[:, :2].detach().norm(dim=1)
        return advance.index_put(which.nonzero(as_tuple=True), value - value.detach())

    of_edge = (first >= 0) & (second == OF_EDGE)
    if bool(of_edge.any()):
        lines = _lines(corners(of_edge, first[of_edge] // 3))
        advance = moved(of_edge, lines[torch.arange(len(lines)), first[of_edge] % 3])
    for plane, which in ((1, second == OF_NEAR_PLANE), (-1, second == OF_FAR_PLANE)):
        if bool(which.any()):
            advance = moved(which, plane * _depth_planes(corners(which, first[which])))
    crossing = second >= 0
    if bool(crossing.any()):
        planes = [_depth_planes(corners(crossing, triangle[crossing])) for triangle in (first, second)]
        advance = moved(crossing, planes[0] - planes[1])
    return advance


def _sources(
    found: list[list[tuple[_Piece, list[_Sample]]]], rows: int, pos: Tensor, tri: Tensor, frags: Fragments
) -> Tensor:
    """Pixels [N, 4, S] whose colours can stand for those of the sides: the nearest of the nine around to show the
    triangle, else one that shows a surface which passes through about the same point; else the pixel itself."""
    views, height, width = frags.tri.shape
    out = torch.zeros(views, 4, rows, dtype=torch.int32)
    for view, positions in enumerate(image_positions(pos, views)):
        planes = _depth_planes(_homogeneous(positions.detach().double().cpu(), height, width)[tri.long().cpu()])
        shown = frags.tri[view].tolist()
        for i, (piece, samples) in enumerate(found[view][:rows]):
            places = [(piece.plus, piece.place), (piece.minus, piece.place), *((s.triangle, s.place) for s in samples)]
            sources = [_source(piece.pixel, side, place, planes, shown) for side, place in places]
            if min(sources[:2]) < 0:
                sources[:2] = -1, -1
            out[view, :, i] = torch.tensor([piece.pixel if source < 0 else source for source in sources])
    return out.to(pos.device)


def _source(pixel: int, triangle: int, place: Tensor, planes: Tensor, shown: list[list[int]]) -> int:
    width = len(shown[0])
    row, column = divmod(pixel, width)
    x, y = column + 0.5 + float(place[0]), row + 0.5 + float(place[1])
    best, least = -1, float("inf")
    for r in range(max(row - 1, 0), min(row + 2, len(shown))):
        for c in range(max(column - 1, 0), min(column + 2, width)):
            cost, other = (c + 0.5 - x) ** 2 + (r + 0.5 - y) ** 2, shown[r][c]
            if other != triangle:
                if min(other, triangle) < 0:
                    continue
                slope = float(planes[[triangle, other], :2].abs().sum())
                apart = abs(float(planes[triangle, :2] @ planes.new_tensor([x, y]) + planes[triangle, 2])
                            - float(planes[other, :2] @ planes.new_tensor([x, y]) + planes[other, 2]))  # fmt: skip
                if not apart <= slope + 1e-9:
                    continue
                cost += 100 + apart / (slope + 1e-12)
            if cost < least:
                best, least = r * width + c, cost
    return best
