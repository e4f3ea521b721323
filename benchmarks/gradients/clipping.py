"""The exact image and its derivative: every surface's visible polygons within every pixel, by clipping in float64.

Which polygons there are is decided with numbers; their corners are intersections of lines, which PyTorch then computes
from the positions, so that autograd gives the derivative of areas. Nothing here is shared with lumigrad's own code.

A polygon is the cycle of the lines that bound it: edges of triangles, sides of the pixel, the near and far planes, and
lines in which two triangles cross. A triangle's visible part within a pixel is what is left of it after all parts of
other triangles that hide it have been cut away. Many polygons are cut at once, as rows of arrays. Nothing is cut in
pixels of one colour through which no outline runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

ON_LINE = 1e-10  # distance in pixels within which a corner counts as on a line
SMALLEST = 1e-14  # area in pixels below which a polygon is dropped
SAME_DEPTH = 1e-12
CANDIDATES_AT_ONCE = 30_000
PAIRS_AT_ONCE = 2_000_000

# Symmetric quadrature over a triangle, exact to degree 5 (Radon 1948): barycentric points and weights.
_A, _B = (6 - 15**0.5) / 21, (6 + 15**0.5) / 21
_POINTS = [[1 / 3] * 3] + [[g, g, g] for g in (_A, _B) for _ in range(3)]
for _n in range(6):
    _POINTS[1 + _n][_n % 3] = 1 - 2 * (_A, _B)[_n // 3]
_WEIGHTS = [9 / 40] + [(155 - 15**0.5) / 1200] * 3 + [(155 + 15**0.5) / 1200] * 3


def exact_image(pos: Tensor, tri: Tensor, color: Tensor, background: Tensor, size: tuple[int, int]) -> Tensor:
    """The image [H, W, C] averaged over the squares of pixels, differentiable in positions and colours.

    pos [V, 4]; color [T, C], constant on each triangle, or [T, 3, C] at its corners, interpolated in perspective;
    background [C]. Integrals are in closed form, except those of interpolated colours under perspective: a formula of
    degree 5 integrates these over parts of a pixel.
    """
    height, width = size
    color, background = color.double(), background.double()
    planes, fixed = Planes(pos.double(), tri.long(), size), Planes(pos.detach().double(), tri.long(), size)
    pixel, triangle = _candidates(fixed)
    image = background.expand(height * width, -1)
    if color.dim() == 2:
        whole, shown, cut = _whole_pixels(fixed, tri.long().numpy(), color.detach().numpy(), pixel, triangle)
        image = image.index_put((torch.from_numpy(whole),), color[torch.from_numpy(shown)])
        pixel, triangle = pixel[cut], triangle[cut]
    visible = visible_regions(fixed, pixel, triangle)
    table = planes.lines(visible.crossings)
    for count in np.unique(visible.shapes.count):
        rows = np.flatnonzero(visible.shapes.count == count)
        corners = _intersections(table[torch.from_numpy(visible.shapes.lines[rows, :count])])
        triangle = torch.from_numpy(visible.triangle[rows])
        areas, shown = _integrals(planes, triangle, corners, color)
        image = image.index_add(0, torch.from_numpy(visible.pixel[rows]), shown - areas[:, None] * background)
    return image.view(height, width, -1)


class Planes:
    """Triangles of one view as lines in the image, in pixels to the right of and below its corner, as tensors.

    corners [T, 3, 4] homogeneous; edges [T, 3, 3], edge k opposite to corner k; depth [T, 3]: z / w; det [T].
    """

    def __init__(self, pos: Tensor, tri: Tensor, size: tuple[int, int]) -> None:
        self.size = height, width = size
        x, y, z, w = pos.unbind(-1)
        homogeneous = torch.stack(((x + w) * width / 2, (w - y) * height / 2, z, w), -1)
        self.corners = homogeneous[tri]
        xyw = self.corners[..., [0, 1, 3]]
        self.edges = torch.linalg.cross(xyw[:, [1, 2, 0]], xyw[:, [2, 0, 1]])
        self.det = (xyw[:, 0] * self.edges[:, 0]).sum(-1)
        safe = torch.where(self.det == 0, 1, self.det)
        self.depth = (self.corners[..., 2, None] * self.edges).sum(1) / safe[:, None]
        one = self.depth.new_tensor([0.0, 0.0, 1.0])
        sides = [[[1.0, 0.0, -i] for i in range(width + 1)], [[0.0, 1.0, -i] for i in range(height + 1)]]
        inside = (self.edges * self.det.detach().sign()[:, None, None]).flatten(0, 1)
        table = [inside, self.depth + one, one - self.depth, *map(self.depth.new_tensor, sides)]
        self.own_lines = _scaled(torch.cat(table))

    def lines(self, crossings: Ints) -> Tensor:
        """All lines [L, 3], not negative inside, scaled so that values are distances in pixels.

        In this order: the edges 3 t + k; near planes; far planes; the sides x = 0, 1, ...; y = 0, 1, ...; then, for
        each pair (t, s) of crossings [M, 2], the line beyond which s is nearer than t.
        """
        first, second = torch.from_numpy(crossings).T
        return torch.cat((self.own_lines, _scaled(self.depth[first] - self.depth[second])))


def _scaled(lines: Tensor) -> Tensor:
    length = lines[:, :2].detach().norm(dim=1, keepdim=True)
    return lines / torch.where(length == 0, 1, length)


class Polygons(NamedTuple):
    """P convex polygons of up to K corners. Side k runs from corner k to the next one on line k.

    corners [P, K, 2], beyond the last one copies of the first; lines [P, K], their numbers; count [P], 0: empty.
    """

    corners: Floats
    lines: Ints
    count: Ints

    def __getitem__(self, rows: NDArray) -> Polygons:  # type: ignore[override]
        return Polygons(*(each[rows] for each in tuple.__iter__(self)))

    def areas(self) -> Floats:
        following = np.roll(self.corners, -1, 1)
        wedge = self.corners[..., 0] * following[..., 1] - self.corners[..., 1] * following[..., 0]
        return abs(wedge.sum(1)) / 2 * (self.count > 2)


class Regions(NamedTuple):
    """The visible polygons: their pixels, their triangles, and the lines that bound them."""

    pixel: Ints
    triangle: Ints
    shapes: Polygons
    crossings: Ints


def visible_regions(planes: Planes, candidate_pixel: Ints, candidate_triangle: Ints) -> Regions:
    """The visible polygons of triangles in pixels, given candidate pairs sorted by pixel."""
    found: list[tuple[Ints, Ints, Polygons]] = []
    crossings = np.zeros((0, 2), np.int64)
    depth = planes.depth.numpy()
    for some in _some_at_a_time(candidate_pixel):
        pixel, triangle = candidate_pixel[some], candidate_triangle[some]
        prints, kept = _footprints(planes, pixel, triangle)
        pixel, triangle = pixel[kept], triangle[kept]
        hidden, hiding, crossed = _hiding_pairs(prints, pixel, triangle, depth)
        pairs, which = np.unique(
            np.stack((triangle[hidden[crossed]], triangle[hiding[crossed]]), 1), axis=0, return_inverse=True
        )
        crossing = np.full(len(hidden), -1)
        first = 5 * len(depth) + sum(planes.size) + 2
        crossing[crossed] = first + len(crossings) + which.reshape(-1)
        crossings = np.concatenate((crossings, pairs))
        table = planes.lines(crossings).numpy()
        bounds = np.where(prints.lines < 5 * len(depth), prints.lines, -1)
        bounds[np.arange(bounds.shape[1]) >= prints.count[:, None]] = -1
        parts, owner = _visible_parts(prints, bounds, hidden, hiding, crossing, table)
        found.append((pixel[owner], triangle[owner], parts))
    if not found:
        return Regions(*(np.zeros(0, np.int64),) * 2, _no_polygons(), crossings)
    shapes = _together([parts for *_, parts in found])
    return Regions(*(np.concatenate([each[k] for each in found]) for k in range(2)), shapes, crossings)


def _candidates(planes: Planes) -> tuple[Ints, Ints]:
    """The pixels that the boxes of triangles overlap, as pairs sorted by pixel."""
    corners = planes.corners.numpy()
    drawn = np.isfinite(corners).all((1, 2)) & (planes.det.numpy() != 0)
    pixel, triangle = _pixels_of_boxes(corners, planes.size)
    kept = drawn[triangle]
    pixel, triangle = pixel[kept], triangle[kept]
    order = np.argsort(pixel, kind="stable")
    return pixel[order], triangle[order]


def _pixels_of_boxes(corners: Floats, size: tuple[int, int]) -> tuple[Ints, Ints]:
    """The pixels that the boxes of polygons [M, K, 4] overlap, and each pixel's polygon; all pixels if a polygon
    reaches behind the eye.
    """
    height, width = size
    with np.errstate(all="ignore"):
        places = corners[..., :2] / corners[..., 3:]
    before_eye = (corners[..., 3] > 0).all(1)[:, None] & np.isfinite(places).all((1, 2))[:, None]
    low = np.where(before_eye, np.floor(places.min(1)), 0).clip(0, [width, height]).astype(np.int64)
    high = np.where(before_eye, np.floor(places.max(1)), [width, height]).clip(-1, [width - 1, height - 1])
    extent = (high.astype(np.int64) - low + 1).clip(0)
    count = extent.prod(1)
    owner = np.repeat(np.arange(len(corners)), count)
    within = np.arange(len(owner)) - np.repeat(count.cumsum() - count, count)
    row, column = np.divmod(within, extent[owner, 0])
    return (low[owner, 1] + row) * width + low[owner, 0] + column, owner


def _some_at_a_time(pixel: Ints) -> Iterator[slice]:
    """Runs of about `CANDIDATES_AT_ONCE` candidates, each of which ends at the end of a pixel."""
    start = 0
    while start < len(pixel):
        last = pixel[min(start + CANDIDATES_AT_ONCE, len(pixel)) - 1]
        end = int(np.searchsorted(pixel, last, side="right"))
        yield slice(start, end)
        start = end


def _whole_pixels(planes: Planes, tri: Ints, color: Floats, pixel: Ints, triangle: Ints) -> tuple[Ints, Ints, Flags]:
    """Pixels of a single colour, a triangle with that colour, and the candidates in pixels that must be clipped.

    If no outline passes through a pixel, each surface covers all of it or none.
    """
    height, width = planes.size
    if not len(pixel):
        return pixel, triangle, pixel > 0
    starts = np.flatnonzero(np.diff(pixel, prepend=-1))
    number = np.unique(color, axis=0, return_inverse=True)[1].reshape(-1)[triangle]
    whole = np.minimum.reduceat(number, starts) == np.maximum.reduceat(number, starts)
    clip_space = planes.corners.numpy()
    reaches_plane = (abs(clip_space[..., 2]) > clip_space[..., 3]).any(1)[triangle]
    whole &= ~np.logical_or.reduceat(reaches_plane, starts)
    outlined = np.zeros(height * width, bool)
    outlined[_outlined_pixels(planes, tri)] = True
    whole &= ~outlined[pixel[starts]]
    center = np.stack((pixel % width + 0.5, pixel // width + 0.5, np.ones(len(pixel))), 1)
    inside = planes.own_lines.numpy()[: 3 * len(tri)].reshape(-1, 3, 3)
    covers = (np.einsum("mkc,mc->mk", inside[triangle], center) >= -ON_LINE).all(1)
    seen = np.where(covers, triangle, -1)
    shown = np.maximum.reduceat(seen, starts)
    filled = whole & (shown >= 0)
    cut = ~np.repeat(whole, np.diff(starts, append=len(pixel)))
    return pixel[starts[filled]], shown[filled], cut


def _outlined_pixels(planes: Planes, tri: Ints) -> Ints:
    """Pixels that contain an edge at which a surface ends or turns away: any edge without a triangle on each side."""
    edges = np.stack((tri[:, [1, 2, 0]], tri[:, [2, 0, 1]]), -1).reshape(-1, 2)
    along = np.where(edges[:, 0] < edges[:, 1], 1, -1) * np.repeat(planes.det.sign().numpy(), 3)
    _, first, which, count = np.unique(
        np.sort(edges, 1), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    both = (count == 2) & (np.bincount(which.reshape(-1), along) == 0) & (along[first] != 0)
    chosen = first[~both]
    triangle, k = np.divmod(chosen, 3)
    corners = planes.corners.numpy()
    ends = np.stack((corners[triangle, (k + 1) % 3], corners[triangle, (k + 2) % 3]), 1)
    pixel, owner = _pixels_of_boxes(ends, planes.size)
    line = planes.own_lines.numpy()[chosen][owner]
    y, x = np.divmod(pixel, planes.size[1])
    distance = line[:, 0] * (x + 0.5) + line[:, 1] * (y + 0.5) + line[:, 2]
    return pixel[abs(distance) <= abs(line[:, :2]).sum(1) / 2 + 1e-6]


def _footprints(planes: Planes, pixel: Ints, triangle: Ints) -> tuple[Polygons, Ints]:
    """The parts of triangles within pixels, between the near and far planes, and the indices of the non-empty ones."""
    width = planes.size[1]
    y, x = np.divmod(pixel, width)
    corners = np.stack([np.stack(c, -1) for c in ((x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1))], 1).astype(float)
    count = len(planes.depth)
    vertical, horizontal = 5 * count, 5 * count + width + 1
    lines = np.stack((horizontal + y, vertical + x + 1, horizontal + y + 1, vertical + x), 1)
    prints, kept = Polygons(corners, lines, np.full(len(pixel), 4)), np.arange(len(pixel))
    table = planes.own_lines.numpy()
    clip_space = planes.corners.numpy()
    cut = (abs(clip_space[..., 2]) > clip_space[..., 3]).any(1)
    for number in (*(3 * triangle + k for k in range(3)), 3 * count + triangle, 4 * count + triangle):
        line = table[number[kept]]
        if number[0] >= 3 * count:  # planes that a triangle does not cross
            line = np.where(cut[triangle[kept]][:, None], line, [0, 0, 1])
        prints = clip(prints, line, number[kept])
        rows = np.flatnonzero(prints.areas() > SMALLEST)
        prints, kept = prints[rows], kept[rows]
    return prints, kept


def clip(polygons: Polygons, line: Floats, number: Ints) -> Polygons:
    """The part of each polygon on which line number [P] of its lines [P, 3] is positive."""
    value = (polygons.corners * line[:, None, :2]).sum(-1) + line[:, None, 2]
    side = np.where(value > ON_LINE, 1, np.where(value < -ON_LINE, -1, 0))
    inside, outside = (side > 0).any(1), (side < 0).any(1)
    count = np.where(inside, polygons.count, 0)
    rows = np.flatnonzero(inside & outside)
    if not len(rows):
        return polygons._replace(count=count)
    cut = _cut(polygons[rows], value[rows], side[rows], number[rows])
    whole = polygons._replace(count=count)
    widest = max(cut.lines.shape[1], whole.lines.shape[1])
    whole, cut = _padded(whole, widest), _padded(cut, widest)
    corners, lines = whole.corners.copy(), whole.lines.copy()
    corners[rows], lines[rows], count[rows] = cut.corners, cut.lines, cut.count
    return Polygons(corners, lines, count)


def _cut(polygons: Polygons, value: Floats, side: Ints, number: Ints) -> Polygons:
    """`clip` for polygons with corners on both sides. Corners on the line are kept; no new one is computed next to
    them."""
    corners, lines, count = polygons
    there = np.arange(lines.shape[1]) < count[:, None]
    following, value_next, side_next = (np.roll(each, -1, 1) for each in (corners, value, side))
    crosses = there & (side * side_next < 0)
    with np.errstate(all="ignore"):
        share = np.where(crosses, value / (value - value_next), 0)
    both = np.stack((corners, corners + share[..., None] * (following - corners)), 2).reshape(len(lines), -1, 2)
    own_line = np.where((side == 0) & (side_next < 0), number[:, None], lines)
    both_lines = np.stack((own_line, np.where(side > 0, number[:, None], lines)), 2).reshape(len(lines), -1)
    emitted = np.stack((there & (side >= 0), crosses), 2).reshape(len(lines), -1)
    count = emitted.sum(1)
    row, column = np.nonzero(emitted)
    slot = (emitted.cumsum(1) - 1)[row, column]
    result = Polygons(np.zeros((len(lines), count.max(), 2)), np.zeros((len(lines), count.max()), np.int64), count)
    result.corners[row, slot], result.lines[row, slot] = both[row, column], both_lines[row, column]
    beyond = np.arange(count.max()) >= count[:, None]
    padded = np.where(beyond[..., None], result.corners[:, :1], result.corners)
    return Polygons(padded, result.lines, np.where(count > 2, count, 0))


def _hiding_pairs(prints: Polygons, pixel: Ints, triangle: Ints, depth: Floats) -> tuple[Ints, Ints, Flags]:
    """Pairs of footprints in a pixel where the second hides part of the first, and whether their triangles intersect.

    Of triangles in the same plane the one with the higher number is in front.
    """
    low, high = prints.corners.min(1), prints.corners.max(1)
    at = (prints.corners * depth[triangle][:, None, :2]).sum(-1) + depth[triangle][:, None, 2]
    nearest, farthest = at.min(1), at.max(1)
    start = np.searchsorted(pixel, pixel, side="left")
    others = np.searchsorted(pixel, pixel, side="right") - start
    found: list[tuple[Ints, Ints, Flags]] = []
    total = np.concatenate(([0], others.cumsum()))
    first = 0
    while first < len(pixel):
        last = max(first + 1, int(np.searchsorted(total, total[first] + PAIRS_AT_ONCE)) - 1)
        a = np.repeat(np.arange(first, last), others[first:last])
        b = start[a] + np.arange(len(a)) - (total[a] - total[first])
        close = (a != b) & (nearest[b] <= farthest[a] + SAME_DEPTH)
        close &= (low[a] < high[b] - ON_LINE).all(1) & (low[b] < high[a] - ON_LINE).all(1)
        a, b = a[close], b[close]
        nearer = depth[triangle[a]] - depth[triangle[b]]
        gap = (prints.corners[b] * nearer[:, None, :2]).sum(-1) + nearer[:, None, 2]
        in_front, behind = (gap > SAME_DEPTH).any(1), (gap < -SAME_DEPTH).any(1)
        hides = in_front | (~behind & (triangle[b] > triangle[a]))
        found.append((a[hides], b[hides], (in_front & behind)[hides]))
        first = last
    empty = np.zeros(0, np.int64)
    found.append((empty, empty, empty.astype(bool)))
    a, b, crossed = (np.concatenate(each) for each in zip(*found))
    return a, b, crossed


def _visible_parts(
    prints: Polygons, bounds: Ints, hidden: Ints, hiding: Ints, crossing: Ints, table: Floats
) -> tuple[Polygons, Ints]:
    """The polygons that remain of each footprint after all those in front are cut out, and each polygon's footprint."""
    count = np.bincount(hidden, minlength=len(prints.count))
    start = count.cumsum() - count
    parts, owner = prints, np.arange(len(prints.count))
    done: list[tuple[Polygons, Ints]] = []
    turn = 0
    while len(owner):
        finished = count[owner] <= turn
        done.append((parts[finished], owner[finished]))
        parts, owner = parts[~finished], owner[~finished]
        if len(owner):
            pair = start[owner] + turn
            parts, owner = _without(parts, owner, np.column_stack((crossing[pair], bounds[hiding[pair]])), table)
        turn += 1
    if not done:
        return prints, owner
    parts, owner = _together([parts for parts, _ in done]), np.concatenate([owner for _, owner in done])
    rows = np.flatnonzero(parts.areas() > SMALLEST)
    return parts[rows], owner[rows]


def _without(parts: Polygons, owner: Ints, bounds: Ints, table: Floats) -> tuple[Polygons, Ints]:
    """Polygons without holes, each the intersection of what lies inside its bounds [P, B] (-1: no bound)."""
    beside = np.zeros(len(owner), bool)
    for number in bounds.T:
        line = table[number]
        value = (parts.corners * line[:, None, :2]).sum(-1) + line[:, None, 2]
        beside |= (number >= 0) & (value <= ON_LINE).all(1)
    left, owners = [parts[beside]], [owner[beside]]
    rest, owner, bounds = parts[~beside], owner[~beside], bounds[~beside]
    for k in range(bounds.shape[1]):
        number = bounds[:, k]
        rows = np.flatnonzero(number >= 0)
        if not len(rows):
            continue
        line = table[number[rows]]
        outside = clip(rest[rows], -line, number[rows])
        kept = outside.areas() > SMALLEST
        left.append(outside[kept])
        owners.append(owner[rows][kept])
        line = np.where((number >= 0)[:, None], table[number], [0, 0, 1])
        rest = clip(rest, line, number)
        kept = rest.areas() > SMALLEST
        rest, owner, bounds = rest[kept], owner[kept], bounds[kept]
    return _together(left), np.concatenate(owners)


def _together(polygons: list[Polygons]) -> Polygons:
    widest = max((each.lines.shape[1] for each in polygons), default=3)
    padded = [_padded(each, widest) for each in polygons]
    return Polygons(*(np.concatenate([each[k] for each in map(tuple, padded)]) for k in range(3)))


def _padded(polygons: Polygons, width: int) -> Polygons:
    more = width - polygons.lines.shape[1]
    if more <= 0:
        return polygons
    corners = np.concatenate((polygons.corners, np.repeat(polygons.corners[:, :1], more, 1)), 1)
    lines = np.concatenate((polygons.lines, np.zeros((len(polygons.lines), more), np.int64)), 1)
    return Polygons(corners, lines, polygons.count)


def _no_polygons() -> Polygons:
    return Polygons(np.zeros((0, 3, 2)), np.zeros((0, 3), np.int64), np.zeros(0, np.int64))


def _intersections(sides: Tensor) -> Tensor:
    """The corners [M, K, 2] of polygons whose sides lie on these lines [M, K, 3]."""
    crossing = torch.linalg.cross(sides.roll(1, 1), sides)
    return crossing[..., :2] / crossing[..., 2:]


def _integrals(planes: Planes, triangle: Tensor, corners: Tensor, color: Tensor) -> tuple[Tensor, Tensor]:
    """The areas [M] of polygons, and the integrals [M, C] of triangles' colours over them."""
    spread = corners[:, 1:] - corners[:, :1]
    here, following = spread[:, :-1], spread[:, 1:]
    fan = (here[..., 0] * following[..., 1] - here[..., 1] * following[..., 0]) / 2  # [M, K - 2]
    fan = fan * fan.detach().sum(1, keepdim=True).sign()
    areas = fan.sum(1)
    if color.dim() == 2:
        return areas, areas[:, None] * color[triangle]
    points, weights = corners.new_tensor(_POINTS), corners.new_tensor(_WEIGHTS)
    triangles = torch.stack((corners[:, :1].expand_as(here), corners[:, 1:-1], corners[:, 2:]), 2)  # [M, K - 2, 3, 2]
    places = torch.einsum("qc,mkcx->mkqx", points, triangles)
    edges = planes.edges[triangle]
    inside = torch.einsum("mkqx,mcx->mkqc", places, edges[..., :2]) + edges[:, None, None, :, 2]
    inside = inside / inside.sum(-1, keepdim=True)
    return areas, torch.einsum("mk,q,mkqc,mcn->mn", fan, weights, inside, color[triangle])
