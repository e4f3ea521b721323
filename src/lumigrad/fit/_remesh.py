"""Isotropic remeshing of closed surfaces: splits, collapses, flips and tangential smoothing.

The sequence of operations follows Botsch and Kobbelt, "A Remeshing Approach to Multiresolution Modeling",
Symposium on Geometry Processing 2004, section 4. Each pass works on sets of edges far enough apart not to
disturb one another, so that whole passes are array operations.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lumigrad.fit._arguments import check_rows, check_surface
from lumigrad.types.validation import number

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class _Edges:
    """Undirected edges (a, b) of a closed manifold, with the opposite vertices c (left) and d (right)."""

    def __init__(self, faces: Ints, count: int) -> None:
        start, end = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1)
        opposite = np.roll(faces, -2, axis=1).reshape(-1)
        key = np.minimum(start, end) * count + np.maximum(start, end)
        # Sorted by edge, with the half-edge in ascending direction first.
        order = np.lexsort((start > end, key))
        paired = order.reshape(-1, 2) if len(order) % 2 == 0 else np.zeros((0, 2), dtype=np.int64)
        up, down = paired[:, 0], paired[:, 1]
        distinct = len(np.unique(key)) == len(paired)
        if len(order) == 0 or not distinct or not (key[up] == key[down]).all() or not (start[up] == end[down]).all():
            raise ValueError("faces: expected a closed, consistently oriented manifold")
        self.a, self.b, self.key = start[up], end[up], key[up]
        self.c, self.d = opposite[up], opposite[down]
        self.face_c, self.face_d = up // 3, down // 3
        # Edge number of every half-edge, in the order of faces.reshape(-1).
        self.of_half = np.empty(len(order), dtype=np.int64)
        self.of_half[paired.reshape(-1)] = np.repeat(np.arange(len(paired)), 2)

    def lengths(self, points: Floats) -> Floats:
        return np.linalg.norm(points[self.a, :3] - points[self.b, :3], axis=1)


def _split(points: Floats, faces: Ints, longest: float) -> tuple[Floats, Ints]:
    """Halve all edges longer than `longest`, with 1 to 3 new vertices per face."""
    edges = _Edges(faces, len(points))
    marked = edges.lengths(points) > longest
    if not marked.any():
        return points, faces
    number = np.full(len(marked), -1)
    number[marked] = len(points) + np.arange(marked.sum())
    points = np.concatenate([points, 0.5 * (points[edges.a[marked]] + points[edges.b[marked]])])
    middle = number[edges.of_half].reshape(-1, 3)
    count = (middle >= 0).sum(1)
    # Rotate so that a single split edge is edge 0, and of two the unsplit one is edge 2.
    first = np.where(count == 1, (middle >= 0).argmax(1), np.where(count == 2, (middle < 0).argmax(1) + 1, 0))
    turn = (first[:, None] + np.arange(3)) % 3
    faces, middle = np.take_along_axis(faces, turn, 1), np.take_along_axis(middle, turn, 1)

    def corners(select: NDArray[np.bool_]) -> tuple[Ints, ...]:
        return (*faces[select].T, *middle[select].T)

    parts = [faces[count == 0]]
    a, b, c, ab, _, _ = corners(count == 1)
    parts += [np.stack([a, ab, c], 1), np.stack([ab, b, c], 1)]
    a, b, c, ab, bc, _ = corners(count == 2)
    parts.append(np.stack([ab, b, bc], 1))
    # The remaining quadrilateral a, ab, bc, c is cut along its shorter diagonal.
    left = np.linalg.norm(points[a, :3] - points[bc, :3], axis=1)
    short = (left < np.linalg.norm(points[ab, :3] - points[c, :3], axis=1))[:, None]
    parts.append(np.where(short, np.stack([a, ab, bc], 1), np.stack([a, ab, c], 1)))
    parts.append(np.where(short, np.stack([a, bc, c], 1), np.stack([ab, bc, c], 1)))
    a, b, c, ab, bc, ca = corners(count == 3)
    parts += [np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    return points, np.concatenate(parts)


def _face_normals(points: Floats, faces: Ints) -> Floats:
    p = points[:, :3][faces]
    normals = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)


def _collapse(points: Floats, faces: Ints, shortest: float, longest: float) -> tuple[Floats, Ints]:
    """Merge the ends of edges shorter than `shortest` where that keeps a manifold without folds."""
    for _ in range(8):
        count = len(points)
        edges = _Edges(faces, count)
        length = edges.lengths(points)
        candidate = (length < shortest) & _link_condition(edges, count)
        if not candidate.any() or len(faces) <= 8:
            break
        # Ties are broken by the number of the edge.
        rank = np.empty(len(length), dtype=np.int64)
        rank[np.lexsort((np.arange(len(length)), -length))] = np.arange(len(length))
        priority = np.where(candidate, rank, -1)
        reach = np.full(count, -1)
        for end in (edges.a, edges.b):
            np.maximum.at(reach, end, priority)
        for _ in range(2):
            wider = reach.copy()
            np.maximum.at(wider, edges.a, reach[edges.b])
            np.maximum.at(wider, edges.b, reach[edges.a])
            reach = wider
        chosen = candidate & (reach[edges.a] == priority) & (reach[edges.b] == priority)
        merged = np.arange(count)
        merged[edges.b[chosen]] = edges.a[chosen]
        moved = points.copy()
        moved[edges.a[chosen]] = 0.5 * (points[edges.a[chosen]] + points[edges.b[chosen]])
        bad = _spoiled(points, moved, faces, merged, longest)
        bad_edge = bad[edges.a] | bad[edges.b]
        if not (chosen & ~bad_edge).any():
            break
        undone = chosen & bad_edge
        merged[edges.b[undone]] = edges.b[undone]
        moved[edges.a[undone]] = points[edges.a[undone]]
        points, faces = _compact(moved, merged[faces])
    return points, faces


def _link_condition(edges: _Edges, count: int) -> NDArray[np.bool_]:
    """Whether an edge's ends share just the two opposite vertices as neighbours, of valence above 3."""
    a, b = np.concatenate([edges.a, edges.b]), np.concatenate([edges.b, edges.a])
    valence = np.bincount(a, minlength=count)
    order = np.argsort(a, kind="stable")
    neighbours, offset = b[order], np.concatenate([[0], np.cumsum(valence)])
    # Pairs (edge, neighbour of a); common if (neighbour, b) is an edge as well.
    repeats = valence[edges.a]
    edge = np.repeat(np.arange(len(edges.a)), repeats)
    within = np.arange(len(edge)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    other = neighbours[offset[edges.a[edge]] + within]
    far = edges.b[edge]
    key = np.minimum(other, far) * count + np.maximum(other, far)
    common = np.bincount(edge[np.isin(key, edges.key)], minlength=len(edges.a))
    return (common == 2) & (valence[edges.c] > 3) & (valence[edges.d] > 3)


def _spoiled(points: Floats, moved: Floats, faces: Ints, merged: Ints, longest: float) -> NDArray[np.bool_]:
    """Vertices around which a merge would turn a face by more than 60 degrees or make an edge too long."""
    after = merged[faces]
    alive = (after[:, 0] != after[:, 1]) & (after[:, 1] != after[:, 2]) & (after[:, 2] != after[:, 0])
    touched = alive & ((after != faces).any(1) | (moved[faces, :3] != points[faces, :3]).any((1, 2)))
    old, new = faces[touched], after[touched]
    turned = (_face_normals(points, old) * _face_normals(moved, new)).sum(1) < 0.5
    corners = moved[:, :3][new]
    stretched = (np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2) > longest).any(1)
    spoiled = np.zeros(len(points), dtype=bool)
    spoiled[old[turned | stretched].reshape(-1)] = True
    spoiled[new[turned | stretched].reshape(-1)] = True
    return spoiled


def _compact(points: Floats, faces: Ints) -> tuple[Floats, Ints]:
    """Drop collapsed faces and unused vertices."""
    alive = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    used, index = np.unique(faces[alive], return_inverse=True)
    return points[used], index.reshape(-1, 3)


def _angles(points: Floats, apex: Ints, a: Ints, b: Ints) -> Floats:
    u, v = points[a, :3] - points[apex, :3], points[b, :3] - points[apex, :3]
    scale = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    return np.arccos(np.clip((u * v).sum(1) / np.maximum(scale, 1e-30), -1, 1))


def _flip(points: Floats, faces: Ints) -> Ints:
    """Flip edges that are not locally Delaunay where the surface is nearly flat around them."""
    faces = faces.copy()
    for _ in range(10):
        edges = _Edges(faces, len(points))
        a, b, c, d = edges.a, edges.b, edges.c, edges.d
        opposite = _angles(points, c, a, b) + _angles(points, d, a, b)
        key = np.minimum(c, d) * len(points) + np.maximum(c, d)
        candidate = (opposite > np.pi + 1e-3) & ~np.isin(key, edges.key) & (c != d)
        normals = _face_normals(points, faces)
        one, two = np.stack([a, d, c], 1), np.stack([d, b, c], 1)
        mean = normals[edges.face_c] + normals[edges.face_d]
        for new in (one, two):
            candidate &= (_face_normals(points, new) * mean).sum(1) > 1.0
        # A vertex whose edges are flipped away must keep at least three.
        valence = np.bincount(np.concatenate([a, b]), minlength=len(points))
        candidate &= (valence[a] > 3) & (valence[b] > 3)
        if not candidate.any():
            break
        rank = np.empty(len(a), dtype=np.int64)
        rank[np.lexsort((np.arange(len(a)), opposite))] = np.arange(len(a))
        priority = np.where(candidate, rank, -1)
        best = np.full(len(points), -1)
        for vertex in (a, b, c, d):
            np.maximum.at(best, vertex, priority)
        chosen = candidate
        for vertex in (a, b, c, d):
            chosen = chosen & (best[vertex] == priority)
        faces[edges.face_c[chosen]] = one[chosen]
        faces[edges.face_d[chosen]] = two[chosen]
    return faces


def _relax(points: Floats, faces: Ints, amount: float) -> Floats:
    """Move vertices towards their neighbours' mean within the tangent plane.

    Attributes follow to first order. Where the surface is folded over, its tangent plane is meaningless, and vertices
    move all the way to smooth it out.
    """
    edges = _Edges(faces, len(points))
    total = np.zeros_like(points)
    np.add.at(total, edges.a, points[edges.b])
    np.add.at(total, edges.b, points[edges.a])
    valence = np.bincount(np.concatenate([edges.a, edges.b]), minlength=len(points))
    step = amount * (total / valence[:, None] - points)
    p = points[:, :3][faces]
    face = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    normal = np.zeros((len(points), 3))
    for corner in range(3):
        np.add.at(normal, faces[:, corner], face)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    unit = face / np.maximum(np.linalg.norm(face, axis=1, keepdims=True), 1e-30)
    folded = (unit[edges.face_c] * unit[edges.face_d]).sum(1) < 0
    free = np.zeros(len(points), dtype=bool)
    free[np.concatenate([edges.a[folded], edges.b[folded], edges.c[folded], edges.d[folded]])] = True
    tangential = step[:, :3] - normal * (step[:, :3] * normal).sum(1, keepdims=True)
    step[:, :3] = np.where(free[:, None], step[:, :3] / amount, tangential)
    return points + step


def remesh(
    positions: Tensor, faces: Tensor, edge_length: float, attributes: Tensor | None = None, passes: int = 4
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Remesh a closed surface to nearly equilateral triangles.

    Args:
        positions: [V, 3].
        faces: [F, 3], closed, manifold, consistently oriented.
        edge_length: that edges should have, in the units of positions; above 0.
        attributes: [V, A] carried along, interpolated.
        passes: of split, collapse, flip, smooth.

    Returns:
        positions, faces and attributes of the new mesh (same dtypes; outside of autograd).

    Raises:
        ValueError: an edge length that is not positive, or a surface that is open or not manifold.

    >>> from lumigrad.fit import remesh
    >>> from lumigrad.scene import icosphere
    >>> ball = icosphere(3)
    >>> positions, faces, _ = remesh(ball.positions, ball.faces, edge_length=0.3)
    >>> len(ball.faces), 350 < len(faces) < 650
    (1280, True)
    """
    check_surface(positions, faces)
    number("edge_length", edge_length, positive=True)
    if attributes is not None and len(check_rows("attributes", attributes, "A")) != len(positions):
        raise ValueError(f"attributes: expected shape [{len(positions)}, A], got {tuple(attributes.shape)}")
    columns = positions if attributes is None else torch.cat([positions, attributes.to(positions)], dim=1)
    points = columns.detach().double().cpu().numpy()
    triangles = faces.long().cpu().numpy()
    for _ in range(passes):
        points, triangles = _split(points, triangles, edge_length * 4 / 3)
        points, triangles = _collapse(points, triangles, edge_length * 4 / 5, edge_length * 4 / 3)
        triangles = _flip(points, triangles)
        points = _relax(points, triangles, 0.5)
    result = torch.from_numpy(points).to(positions)
    rest = None if attributes is None else result[:, 3:].to(attributes)
    return result[:, :3].contiguous(), torch.from_numpy(triangles).to(faces), rest
