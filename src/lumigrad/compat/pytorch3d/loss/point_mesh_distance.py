"""Squared distances between points and the triangles or edges of meshes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.loss._reduction import mean_per_mesh

_DEFAULT_MIN_TRIANGLE_AREA = 5e-3
PAIRS = 1 << 19  # distances that are held at a time
SHORTEST = 1e-8  # squared lengths up to this are those of points


def point_mesh_face_distance(
    meshes: Any, pcls: Any, min_triangle_area: float = _DEFAULT_MIN_TRIANGLE_AREA
) -> Tensor:  # fmt: skip
    """The mean squared distance of points to the nearest face, plus that of faces to the nearest point.

    Both are means over the points or faces of one pair, and then over the batch.

    Args:
        meshes, pcls: `Meshes` and `Pointclouds`, N of each.
        min_triangle_area: smaller faces count as their edges alone, as in PyTorch3D; 0 for true distances to all.

    Raises:
        ValueError: batches of different sizes.
    """
    points, first_point, most_points = _of_clouds(meshes, pcls)
    tris = meshes.verts_packed()[meshes.faces_packed()]
    first, most = meshes.mesh_to_faces_packed_first_idx(), _most(meshes.num_faces_per_mesh())
    there = point_face_distance(points, first_point, tris, first, most_points, min_triangle_area)
    back = face_point_distance(points, first_point, tris, first, most, min_triangle_area)
    count = len(meshes)
    return mean_per_mesh(there, pcls.packed_to_cloud_idx(), count) + mean_per_mesh(
        back, meshes.faces_packed_to_mesh_idx(), count
    )


def point_mesh_edge_distance(meshes: Any, pcls: Any) -> Tensor:
    """The mean squared distance of points to the nearest edge, plus that of edges to the nearest point.

    Args:
        meshes, pcls: `Meshes` and `Pointclouds`, N of each.

    Raises:
        ValueError: batches of different sizes.
    """
    points, first_point, most_points = _of_clouds(meshes, pcls)
    segms = meshes.verts_packed()[meshes.edges_packed()]
    first, most = meshes.mesh_to_edges_packed_first_idx(), _most(meshes.num_edges_per_mesh())
    there = point_edge_distance(points, first_point, segms, first, most_points)
    back = edge_point_distance(points, first_point, segms, first, most)
    count = len(meshes)
    return mean_per_mesh(there, pcls.packed_to_cloud_idx(), count) + mean_per_mesh(
        back, meshes.edges_packed_to_mesh_idx(), count
    )


def _of_clouds(meshes: Any, pcls: Any) -> tuple[Tensor, Tensor, int]:
    if len(meshes) != len(pcls):
        raise ValueError(f"meshes and pointclouds must be equal sized batches, got {len(meshes)} and {len(pcls)}")
    return pcls.points_packed(), pcls.cloud_to_packed_first_idx(), _most(pcls.num_points_per_cloud())


def _most(counts: Tensor) -> int:
    return int(counts.max()) if len(counts) else 0


def point_face_distance(
    points: Tensor, points_first_idx: Tensor, tris: Tensor, tris_first_idx: Tensor, max_points: int,
    min_triangle_area: float = _DEFAULT_MIN_TRIANGLE_AREA,
) -> Tensor:  # fmt: skip
    """Squared distances [P] of packed points [P, 3] to the nearest of their batch element's triangles [T, 3, 3].

    Args:
        points: packed, with the first one of each element `points_first_idx` [N].
        tris: packed corners, with the first one of each element `tris_first_idx` [N].
        max_points: not looked at.
        min_triangle_area: smaller triangles count as their edges alone.
    """
    nearest = nearest_of(points, points_first_idx, tris, tris_first_idx, min_triangle_area)
    return _where_found(nearest, lambda found: to_simplices(points, tris[found], min_triangle_area), points)


def face_point_distance(
    points: Tensor, points_first_idx: Tensor, tris: Tensor, tris_first_idx: Tensor, max_tris: int,
    min_triangle_area: float = _DEFAULT_MIN_TRIANGLE_AREA,
) -> Tensor:  # fmt: skip
    """Squared distances [T] of packed triangles to the nearest point; arguments of `point_face_distance`."""
    nearest = nearest_of(points, points_first_idx, tris, tris_first_idx, min_triangle_area, reverse=True)
    return _where_found(nearest, lambda found: to_simplices(points[found], tris, min_triangle_area), tris)


def point_edge_distance(
    points: Tensor, points_first_idx: Tensor, segms: Tensor, segms_first_idx: Tensor, max_points: int
) -> Tensor:  # fmt: skip
    """Squared distances [P] of packed points [P, 3] to the nearest of their batch element's segments [S, 2, 3]."""
    nearest = nearest_of(points, points_first_idx, segms, segms_first_idx, 0.0)
    return _where_found(nearest, lambda found: to_simplices(points, segms[found], 0.0), points)


def edge_point_distance(
    points: Tensor, points_first_idx: Tensor, segms: Tensor, segms_first_idx: Tensor, max_segms: int
) -> Tensor:  # fmt: skip
    """Squared distances [S] of packed segments to the nearest point; arguments of `point_edge_distance`."""
    nearest = nearest_of(points, points_first_idx, segms, segms_first_idx, 0.0, reverse=True)
    return _where_found(nearest, lambda found: to_simplices(points[found], segms, 0.0), segms)


def _where_found(nearest: Tensor, distances: Any, of: Tensor) -> Tensor:
    """Zeros where the other side of the pair is empty; `nearest` is -1 there."""
    if not len(nearest) or bool((nearest < 0).all()):
        return of.reshape(len(of), -1).sum(1) * 0
    return torch.where(nearest >= 0, distances(nearest.clamp(min=0)), 0)


@torch.no_grad()
def nearest_of(
    points: Tensor, points_first: Tensor, shapes: Tensor, shapes_first: Tensor, min_area: float, reverse: bool = False
) -> Tensor:
    """Packed numbers: of the nearest shape for each point [P], or in reverse of the nearest point for each shape.

    Shapes are triangles [S, 3, 3] or segments [S, 2, 3]. -1 where there is nothing.
    """
    ends = [torch.cat((first[1:], first.new_tensor([len(rows)]))) for first, rows in
            ((points_first, points), (shapes_first, shapes))]  # fmt: skip
    result = points_first.new_full((len(shapes) if reverse else len(points),), -1)
    for p0, p1, s0, s1 in zip(points_first.tolist(), ends[0].tolist(), shapes_first.tolist(), ends[1].tolist()):
        if p0 == p1 or s0 == s1:
            continue
        # From their own middle and in double precision, since distances are differences of products.
        middle = points[p0:p1].double().mean(0)
        some, others = points[p0:p1].double() - middle, shapes[s0:s1].double() - middle
        if reverse:
            step = max(1, PAIRS // (p1 - p0))
            parts = [_pairs(some, part, min_area).argmin(0) + p0 for part in others.split(step)]
            result[s0:s1] = torch.cat(parts)
        else:
            step = max(1, PAIRS // (s1 - s0))
            parts = [_pairs(part, others, min_area).argmin(1) + s0 for part in some.split(step)]
            result[p0:p1] = torch.cat(parts)
    return result


def _pairs(points: Tensor, shapes: Tensor, min_area: float) -> Tensor:
    """Squared distances [P, S] of all points to all shapes, from products of vectors alone."""
    corners = shapes.unbind(1)
    dots = [points @ corner.T for corner in corners]
    squares = points.square().sum(1, keepdim=True)
    to_corner = [squares - 2 * dot + corner.square().sum(1) for dot, corner in zip(dots, corners)]
    best = None
    for k in range(1 if len(corners) == 2 else 3):
        other = (k + 1) % len(corners)
        edge = corners[other] - corners[k]
        length = edge.square().sum(1)
        along = dots[other] - dots[k] - (corners[k] * edge).sum(1)
        t = torch.where(length > SHORTEST, (along / length.clamp(min=SHORTEST)).clamp_(0, 1), 0)
        distance = to_corner[k] + t * (t * length - 2 * along)
        best = distance if best is None else torch.minimum(best, distance)
    assert best is not None
    if len(corners) == 2:
        return best
    inside, height = _over_triangles(points, dots, corners, min_area)
    return torch.where(inside, height.square_(), best)


def _over_triangles(
    points: Tensor, dots: list[Tensor], corners: tuple[Tensor, ...], min_area: float
) -> tuple[Tensor, Tensor]:
    """Whether points [P] lie over the inner parts of triangles [S], and how far from their planes."""
    a, b, c = corners
    ab, ac = b - a, c - a
    normal = torch.linalg.cross(ab, ac)
    square = normal.square().sum(1)
    v, w = dots[1] - dots[0] - (a * ab).sum(1), dots[2] - dots[0] - (a * ac).sum(1)
    inside, _, _ = _within(v, w, ab, ac, square, min_area)
    unit = normal / _nonzero(square).sqrt()[:, None]
    return inside, points @ unit.T - (a * unit).sum(1)


def _within(
    v: Tensor, w: Tensor, ab: Tensor, ac: Tensor, square: Tensor, min_area: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Whether points lie over triangles that are large enough, and the weights of their corners b and c.

    Args:
        v, w: products of a point, seen from corner a, with the edges `ab` and `ac` [S, 3]: [S] or [P, S].
        square: twice the triangles' areas, squared [S].
    """
    bb, bc, cc = ab.square().sum(1), (ab * ac).sum(1), ac.square().sum(1)
    safe = _nonzero(square)
    beta, gamma = (cc * v - bc * w) / safe, (bb * w - bc * v) / safe
    whole = (square.sqrt() / 2 >= min_area) & (square > 0)
    return whole & (beta >= 0) & (gamma >= 0) & (beta + gamma <= 1), beta, gamma


def _nonzero(square: Tensor) -> Tensor:
    return square.clamp(min=torch.finfo(square.dtype).tiny)


def to_simplices(points: Tensor, shapes: Tensor, min_area: float) -> Tensor:
    """Squared distances [M] of points [M, 3], each to its own triangle [M, 3, 3] or segment [M, 2, 3]."""
    with torch.no_grad():
        weights = _nearest_weights(points, shapes, min_area)
    # The nearest place moves along the shape only, so that its weights need no gradients.
    return (points - (weights[..., None] * shapes).sum(1)).square().sum(1)


def _nearest_weights(points: Tensor, shapes: Tensor, min_area: float) -> Tensor:
    """The nearest place of each shape as weights of its corners [M, 3] or [M, 2]."""
    corners = shapes.shape[1]
    weights = points.new_zeros(len(points), corners)
    best = points.new_full((len(points),), torch.inf)
    for k in range(1 if corners == 2 else 3):
        other = (k + 1) % corners
        edge = shapes[:, other] - shapes[:, k]
        length = edge.square().sum(1)
        t = ((points - shapes[:, k]) * edge).sum(1) / length.clamp(min=SHORTEST)
        t = torch.where(length > SHORTEST, t.clamp(0, 1), 0)
        distance = (points - shapes[:, k] - t[:, None] * edge).square().sum(1)
        row = torch.zeros_like(weights)
        row[:, k], row[:, other] = 1 - t, t
        weights = torch.where((distance < best)[:, None], row, weights)
        best = torch.minimum(best, distance)
    if corners == 2:
        return weights
    a, b, c = shapes.unbind(1)
    ab, ac, ap = b - a, c - a, points - a
    square = torch.linalg.cross(ab, ac).square().sum(1)
    inside, beta, gamma = _within((ap * ab).sum(1), (ap * ac).sum(1), ab, ac, square, min_area)
    return torch.where(inside[:, None], torch.stack((1 - beta - gamma, beta, gamma), 1), weights)


class _PointFaceDistance:
    """`point_face_distance` as programs call it."""

    apply = staticmethod(point_face_distance)


class _FacePointDistance:
    apply = staticmethod(face_point_distance)


class _PointEdgeDistance:
    apply = staticmethod(point_edge_distance)


class _EdgePointDistance:
    apply = staticmethod(edge_point_distance)
