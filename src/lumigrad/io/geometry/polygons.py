"""Triangles of polygons, concave ones included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lumigrad._optional import require


@dataclass
class Triangles:
    """Triangles of polygons whose corners stand one after the other.

    Attributes:
        index: [T, 3] integers into the corners; None where every three corners are a triangle.
        owner: [T] the polygon of each.
    """

    index: np.ndarray | None
    owner: np.ndarray

    def of(self, values: np.ndarray) -> np.ndarray:
        """The values [T, 3] at the triangles' corners, from values [C] at the polygons' corners."""
        return values.reshape(-1, 3) if self.index is None else values[self.index]


NO_TRIANGLES = Triangles(np.zeros((0, 3), np.int64), np.zeros(0, np.int64))


def triangulate(points: np.ndarray, counts: np.ndarray, corners: np.ndarray) -> Triangles:
    """Cut polygons into triangles.

    Args:
        points: [V, 3].
        counts: [P] corners of each polygon; those of less than three corners give no triangles.
        corners: [counts.sum()] integers into points, polygon after polygon.

    Returns:
        Triangles in the order of the polygons.

    Convex polygons become fans around their first corner. Concave quadrilaterals are cut along the diagonal that lies
    inside, other concave polygons by ear clipping (mapbox_earcut), in their mean plane.
    """
    if len(counts) and bool((counts == 3).all()):
        return Triangles(None, np.arange(len(counts)))
    starts = np.cumsum(counts) - counts
    pieces, owners = [], []
    for size in np.unique(counts[counts >= 3]).tolist():
        chosen = np.flatnonzero(counts == size)
        index = starts[chosen, None] + np.arange(size)
        triangles, of = _of_one_size(points, corners, index)
        pieces.append(triangles)
        owners.append(chosen[of])
    if not pieces:
        return NO_TRIANGLES
    triangles, owner = np.concatenate(pieces), np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return Triangles(triangles[order], owner[order])


def fans(counts: np.ndarray) -> Triangles:
    """Triangles of polygons around their first corner, whatever their shape; see `triangulate`."""
    sizes = np.maximum(counts - 2, 0)
    owner = np.repeat(np.arange(len(counts)), sizes)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first = (np.cumsum(counts) - counts)[owner]
    return Triangles(np.stack([first, first + step + 1, first + step + 2], -1), owner)


def strips(counts: np.ndarray, corners: np.ndarray) -> Triangles:
    """Triangles of strips, every second one turned around; -1 begins a strip anew."""
    strip = np.repeat(np.arange(len(counts)), counts)
    breaks = np.flatnonzero((corners < 0) | np.r_[True, strip[1:] != strip[:-1]])
    begin = np.zeros(len(corners), np.int64)
    begin[breaks] = np.where(corners[breaks] < 0, breaks + 1, breaks)
    begin = np.maximum.accumulate(begin)
    first = np.arange(max(len(corners) - 2, 0))
    inside = (begin[first] <= first) & (begin[first + 2] == begin[first]) & (corners[first + 2] >= 0)
    first = first[inside & (strip[first] == strip[first + 2])]
    odd = (first - begin[first]) % 2
    return Triangles(np.stack([first, first + 1 + odd, first + 2 - odd], -1), strip[first])


def _of_one_size(points: np.ndarray, corners: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles, and the row of `index` that each is from, of polygons [K, size] of one size."""
    count, size = index.shape
    if size == 3:
        return index, np.arange(count)
    places = points[corners[index]].astype(np.float64)
    normal = _normals(places)
    turn = np.cross(np.roll(places, -1, 1) - places, np.roll(places, -2, 1) - np.roll(places, -1, 1))
    turn = np.roll((turn * normal[:, None]).sum(-1), 1, axis=1)  # at each corner, negative where it points inwards
    lengths = (normal * normal).sum(-1, keepdims=True)
    concave = (turn < -1e-9 * lengths).any(1)
    shift = np.zeros(count, np.int64)
    if size == 4:
        shift[concave] = turn[concave].argmin(1)
        concave = np.zeros(count, bool)
    around = np.take_along_axis(index, (np.arange(size) + shift[:, None]) % size, axis=1)
    fans = [around[:, [0, i, i + 1]] for i in range(1, size - 1)]
    triangles, owner = np.stack(fans, 1).reshape(-1, 3), np.repeat(np.arange(count), size - 2)
    if not concave.any():
        return triangles, owner
    convex = ~concave[owner]
    clipped = [(index[i][ears], i) for i in np.flatnonzero(concave) for ears in [_ears(places[i], normal[i])]]
    pieces = [triangles[convex], *(piece for piece, _ in clipped)]
    owners = [owner[convex], *(np.full(len(piece), i) for piece, i in clipped)]
    return np.concatenate(pieces), np.concatenate(owners)


def _normals(places: np.ndarray) -> np.ndarray:
    """Normals of polygons [K, size, 3], of twice their area (Newell's method)."""
    around = places - places[:, :1]
    return np.cross(around, np.roll(around, -1, 1)).sum(1)


def _ears(places: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Triangles [T, 3] of one polygon [size, 3] by ear clipping, with its orientation."""
    size = len(places)
    drop = int(np.abs(normal).argmax())
    flat = np.ascontiguousarray(np.delete(places - places[0], drop, axis=1))
    library = require("mapbox_earcut", "lumigrad.io.load_mesh, for concave polygons,")
    ears = library.triangulate_float64(flat, np.array([size], np.uint32)).reshape(-1, 3).astype(np.int64)
    if len(ears) != size - 2:  # corners on a straight line would be left out, and neighbours would no longer meet there
        return _all_ears(flat if _turn(flat, np.arange(size)).sum() > 0 else flat * (1, -1))
    edges = places[ears[:, 1:]] - places[ears[:, :1]]
    facing = np.cross(edges[:, 0], edges[:, 1]).sum(0) @ normal
    return ears if facing >= 0 else ears[:, ::-1]


def _all_ears(flat: np.ndarray) -> np.ndarray:
    """Triangles [size - 2, 3] of one counter-clockwise polygon [size, 2], all corners used."""
    left, found = list(range(len(flat))), []
    while len(left) > 3:
        turn = _turn(flat, np.array(left))
        best = max(range(len(left)), key=lambda i: (_is_ear(flat, left, i, turn), turn[i]))
        found.append([left[best - 1], left[best], left[(best + 1) % len(left)]])
        del left[best]
    return np.array([*found, left])


def _turn(flat: np.ndarray, loop: np.ndarray) -> np.ndarray:
    """Twice the signed area of the triangle at each corner of a loop."""
    before, here, after = flat[np.roll(loop, 1)], flat[loop], flat[np.roll(loop, -1)]
    (ax, ay), (bx, by) = (here - before).T, (after - here).T
    return ax * by - ay * bx


def _is_ear(flat: np.ndarray, left: list[int], i: int, turn: np.ndarray) -> bool:
    """Whether the triangle at a corner is not inverted and contains no other corner."""
    if turn[i] < 0:
        return False
    triangle = [left[i - 1], left[i], left[(i + 1) % len(left)]]
    others = flat[[j for j in left if j not in triangle]]
    corners = flat[triangle]
    sides = []
    for k in range(3):
        (dx, dy), (x, y) = corners[(k + 1) % 3] - corners[k], (others - corners[k]).T
        sides.append(dx * y - dy * x > 0)
    return not bool(np.logical_and.reduce(sides).any())
