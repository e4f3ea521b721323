"""Signed distances from the voxels of a grid to a triangle mesh, and their signs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.scene._vectors import dot
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types.grids import voxel_centers
from lumigrad.types.shapes import Float

NEAR = 1.5  # voxels around a triangle for which its distance is computed
PAIRS = 2**20  # pairs of voxels and triangles that are compared at a time
LEAF = 4  # triangles in each leaf of the tree
CHUNK = 2**15  # points whose winding numbers are computed at a time
# A node farther from a point than this many of its radii counts as one dipole, which is accurate to about 1 %.
FAR = 2.0


class _Level(NamedTuple):
    """The nodes of one level, as dipoles for distant points."""

    normal: Tensor
    center: Tensor
    radius: Tensor


class TriangleTree:
    """A balanced binary tree over triangles [F, 3, 3] along a space-filling curve; level k has 2^k nodes."""

    def __init__(self, corners: Tensor) -> None:
        corners = corners[_along_curve(corners.mean(1))]
        depth = max(math.ceil(math.log2(len(corners) / LEAF)), 0)
        missing = LEAF * 2**depth - len(corners)
        # Missing triangles of a full tree are points of the last triangle, which have no area.
        filling = corners[-1:, :1].expand(missing, 3, 3)
        self.leaves = torch.cat((corners, filling)).reshape(-1, LEAF, 3, 3)
        a, b, c = self.leaves.unbind(2)
        normals = 0.5 * torch.linalg.cross(b - a, c - a)
        areas = normals.norm(dim=-1, keepdim=True)
        sums = torch.cat((normals, areas * (a + b + c) / 3, areas), -1).sum(1)
        low, high = self.leaves.amin((1, 2)), self.leaves.amax((1, 2))
        self.levels = [_level(low, high, sums)]
        for _ in range(depth):
            low, high = low.view(-1, 2, 3).amin(1), high.view(-1, 2, 3).amax(1)
            sums = sums.view(-1, 2, 7).sum(1)
            self.levels.append(_level(low, high, sums))
        self.levels.reverse()

    def winding_numbers(self, points: Float[Tensor, "points 3"]) -> Tensor:
        """The winding number of the surface around points [P]: its solid angle, divided by that of a sphere.

        Source: Barill et al. 2018, "Fast Winding Numbers for Soups and Clouds".
        """
        return torch.cat([self._winding_numbers(part) for part in points.split(CHUNK)])

    def _winding_numbers(self, points: Tensor) -> Tensor:
        angle = points.new_zeros(len(points))
        pair = torch.arange(len(points), device=points.device)
        node = torch.zeros_like(pair)
        for number, level in enumerate(self.levels):
            if number:
                pair, node = _children(pair, node)
            towards = level.center[node] - points[pair]
            square = (towards**2).sum(-1)
            far = square > (FAR * level.radius[node]) ** 2
            dipole = (level.normal[node[far]] * towards[far]).sum(-1) / square[far] ** 1.5
            angle = angle.index_add(0, pair[far], dipole)
            pair, node = pair[~far], node[~far]
        near = _solid_angles(points[pair][:, None], self.leaves[node]).sum(-1)
        return angle.index_add(0, pair, near) / (4 * math.pi)


@torch.no_grad()
def signed_distance_grid(corners: Tensor, box: Float[Tensor, "2 3"], size: Sequence[int]) -> Tensor:
    """Distances [D, H, W] of the voxels in a box to triangles [F, 3, 3], negative where these wind more
    than half around them.

    A voxel is inside or outside where six rays along the axes agree on it, which for a closed mesh is everywhere;
    elsewhere the winding number decides.
    """
    points = voxel_centers(box, size)
    least, most = crossings(corners, box, size)
    inside = least != 0
    unsure = least != most
    if bool(unsure.any()):
        inside[unsure] = TriangleTree(corners).winding_numbers(points[unsure]).abs() > 0.5
    distances = nearest_triangles(corners, points, box)
    return torch.where(inside, -distances, distances)


def finite_triangles(mesh: Mesh) -> Tensor:
    """The corners [F, 3, 3] of the triangles that are finite.

    Raises:
        TypeError, ValueError: no mesh, a batch, or a mesh without a finite triangle.
    """
    if not isinstance(mesh, Mesh):
        raise TypeError(f"mesh: expected a Mesh, got {type(mesh).__name__}")
    if mesh.shape:
        raise ValueError(f"mesh: expected a single mesh [V, 3], got a batch {list(mesh.positions.shape)}")
    corners = mesh.positions.detach()[mesh.faces.long()]
    corners = corners[corners.isfinite().flatten(1).all(-1)]
    if not len(corners):
        raise ValueError(f"mesh: expected at least one finite triangle, got none among {len(mesh.faces)}")
    return corners


def nearest_triangles(corners: Tensor, points: Tensor, box: Tensor) -> Tensor:
    """Distances of voxels [D, H, W] to triangles [F, 3, 3].

    They are exact up to NEAR voxels away. From there, the nearest points are handed on from plane to plane, each time
    moved to where their triangle is nearest to the next voxel: distances are then too large by up to about a tenth
    of a voxel.
    """
    size = points.shape[:3]
    flat = points.reshape(-1, 3)
    square = torch.full_like(flat[:, 0], torch.inf)
    triangle = torch.zeros(len(flat), dtype=torch.int64, device=flat.device)
    for voxel, number in _close_pairs(corners, box, size):
        found = _squares(flat[voxel], corners[number])[0]
        best = square.scatter_reduce(0, voxel, found, "amin")
        won = (found == best[voxel]) & (found < square[voxel])
        triangle[voxel[won]] = number[won]
        square = best
    spot = torch.full_like(flat, torch.inf)
    known = square.isfinite()
    spot[known] = _squares(flat[known], corners[triangle[known]])[1]
    state = [v.reshape(*size, -1) for v in (spot, triangle)]
    for axis, backwards in itertools.product(range(3), (False, True)):
        state = _sweep(state, points, corners, axis, backwards)
    distances: Tensor = (points - state[0]).norm(dim=-1)
    return distances


def _close_pairs(corners: Tensor, box: Tensor, size: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of voxels and triangles whose boxes, enlarged by NEAR voxels, contain the voxels; for triangles outside the
    grid, the voxels at its border."""
    counts = torch.tensor([*reversed(size)], device=corners.device)
    scaled = (corners - box[0]) / (box[1] - box[0]) * counts - 0.5
    first, last = (scaled.amin(1) - NEAR).ceil(), (scaled.amax(1) + NEAR).floor()
    first, last = (torch.minimum(v.clamp(min=0), counts - 1).long() for v in (first, last))
    spans = last - first + 1
    ends = spans.prod(-1).cumsum(0)
    for begin in range(0, int(ends[-1]), PAIRS):
        pair = torch.arange(begin, min(begin + PAIRS, int(ends[-1])), device=corners.device)
        triangle = torch.searchsorted(ends, pair, right=True)
        width, height, depth = spans[triangle].unbind(-1)
        place = pair - (ends[triangle] - width * height * depth)
        x, y, z = (torch.stack((place % width, place // width % height, place // (width * height)), -1)
                   + first[triangle]).unbind(-1)  # fmt: skip
        yield (z * size[1] + y) * size[2] + x, triangle


def _sweep(state: list[Tensor], points: Tensor, corners: Tensor, axis: int, backwards: bool) -> list[Tensor]:
    """Each plane along an axis takes over nearer triangles from the nine voxels around each place in the previous
    plane."""
    dim = 2 - axis
    spots, triangles = (list(v.unbind(dim)) for v in state)
    places = points.unbind(dim)
    order = range(len(places))
    for k in list(reversed(order))[1:] if backwards else order[1:]:
        before = k + 1 if backwards else k - 1
        least = ((spots[k] - places[k]) ** 2).sum(-1)
        start = least
        taken = triangles[k]
        for spot, triangle in _around(spots[before], triangles[before]):
            square = ((spot - places[k]) ** 2).sum(-1)
            nearer = square < least
            least = torch.where(nearer, square, least)
            taken = torch.where(nearer[..., None], triangle, taken)
        changed = least < start
        spots[k] = spots[k].clone()
        spots[k][changed] = _squares(places[k][changed], corners[taken[changed][:, 0]])[1]
        triangles[k] = taken
    return [torch.stack(spots, dim), torch.stack(triangles, dim)]


def _around(spots: Tensor, triangles: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """A plane [A, B, ...] shifted by up to one voxel along both sides; values at the border are repeated."""
    rows, columns = (torch.arange(count, device=spots.device) for count in spots.shape[:2])
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            at = (rows + i).clamp(0, len(rows) - 1)[:, None], (columns + j).clamp(0, len(columns) - 1)
            yield spots[at], triangles[at]


def crossings(corners: Tensor, box: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """How many more times rays from voxels [D, H, W] leave the surface than enter it: the minimum and maximum over six
    rays along the axes."""
    counts = [part for axis in range(3) for part in _crossings_along(corners.double(), box.double(), size, axis)]
    every = torch.stack(counts)
    return every.amin(0), every.amax(0)


def _crossings_along(corners: Tensor, box: Tensor, size: Sequence[int], axis: int) -> tuple[Tensor, Tensor]:
    """The counts of rays to smaller and to larger coordinates of one axis."""
    counts = torch.tensor([*reversed(size)], device=corners.device)
    # In voxels, shifted slightly so that hardly any ray meets an edge or a corner.
    shift = torch.tensor([1.37e-5, 2.11e-5, 1.73e-5]).to(corners)
    corners = (corners - box[0]) / (box[1] - box[0]) * counts - 0.5 + shift
    u, v = [other for other in range(3) if other != axis]
    flat = corners[..., [u, v]]
    first = flat.amin(1).ceil().clamp(min=0).long()
    last = torch.minimum(flat.amax(1).floor().long(), counts[[u, v]] - 1)
    spans = (last - first + 1).clamp(min=0)
    covered = spans.prod(-1)
    triangle = torch.repeat_interleave(covered)
    place = torch.arange(len(triangle), device=triangle.device) - (covered.cumsum(0) - covered)[triangle]
    column = first[triangle] + torch.stack((place % spans[triangle, 0], place // spans[triangle, 0]), -1)
    to = flat[triangle] - column[:, None]
    turns = to.roll(-1, 1)  # the triangle that each edge spans with the ray, twice its area
    areas = (to[..., 0] * turns[..., 1] - to[..., 1] * turns[..., 0]).roll(-1, 1)
    met = (areas > 0).all(-1) | (areas < 0).all(-1)
    triangle, column, areas = triangle[met], column[met], areas[met]
    height = (areas * corners[triangle][..., axis]).sum(-1) / areas.sum(-1)
    # Outwards along the axis: counter-clockwise in (x, y), (y, z) and (z, x).
    outwards = areas.sum(-1).sign() * (-1 if axis == 1 else 1)
    above = height.floor().long().clamp(-1, int(counts[axis]) - 1) + 1  # the first voxel that is not below the triangle
    shape = [int(counts[v]), int(counts[u]), int(counts[axis]) + 1]
    steps = corners.new_zeros(shape).index_put_((column[:, 1], column[:, 0], above), outwards, accumulate=True)
    below = steps[..., :-1].cumsum(-1)
    beyond = steps.sum(-1, keepdim=True) - below
    # From [v, u, axis] to [z, y, x].
    order = [[v, u, axis].index(coordinate) for coordinate in (2, 1, 0)]
    return -below.permute(order), beyond.permute(order)


def _level(low: Tensor, high: Tensor, sums: Tensor) -> _Level:
    normal, moment, area = sums.split((3, 3, 1), -1)
    center = torch.where(area > 0, moment / torch.where(area > 0, area, 1), 0.5 * (low + high))
    radius = torch.maximum(high - center, center - low).norm(dim=-1)
    return _Level(normal, center, radius)


def _along_curve(points: Tensor) -> Tensor:
    """The order of points along a Z-curve: the bits of their coordinates, interlaced."""
    low, high = points.amin(0), points.amax(0)
    cell = ((points - low) / (high - low).amax().clamp(min=1e-30) * 1023).long()
    code = torch.zeros_like(cell[:, 0])
    for bit in range(10):
        for axis in range(3):
            code |= (cell[:, axis] >> bit & 1) << (3 * bit + axis)
    return code.argsort(stable=True)


def _children(pair: Tensor, node: Tensor) -> tuple[Tensor, Tensor]:
    return pair.repeat_interleave(2), (2 * node[:, None] + torch.arange(2, device=node.device)).reshape(-1)


def _squares(points: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances [P] of points [P, 3] to triangles [P, 3, 3], which may be points or segments, and the nearest
    points [P, 3]."""
    edges = corners.roll(-1, 1) - corners
    to = points[:, None] - corners
    length = (edges**2).sum(-1)
    along = ((to * edges).sum(-1) / torch.where(length > 0, length, 1)).clamp(0, 1)
    on_edges = corners + along[..., None] * edges
    by_edges, edge = ((points[:, None] - on_edges) ** 2).sum(-1).min(-1)
    spot = on_edges.gather(1, edge[:, None, None].expand(-1, 1, 3))[:, 0]
    normal = torch.linalg.cross(edges[:, 0], edges[:, 1])
    square = (normal**2).sum(-1)
    within = (torch.linalg.cross(normal[:, None].expand_as(edges), edges) * to).sum(-1).amin(-1) >= 0
    height = (normal * to[:, 0]).sum(-1) / torch.where(square > 0, square, 1)
    by_plane = height**2 * square
    over = within & (square > 0) & (by_plane < by_edges)
    return torch.where(over, by_plane, by_edges), torch.where(over[:, None], points - height[:, None] * normal, spot)


def _solid_angles(points: Tensor, corners: Tensor) -> Tensor:
    """Solid angles [..., T] of triangles [..., T, 3, 3], positive seen from inside.

    Source: van Oosterom and Strackee 1983, "The Solid Angle of a Plane Triangle".
    """
    a, b, c = (corners - points[..., None, :]).unbind(-2)
    la, lb, lc = (v.norm(dim=-1) for v in (a, b, c))
    volume = dot(a, torch.linalg.cross(b, c))[..., 0]
    rest = dot(a, b)[..., 0] * lc + dot(b, c)[..., 0] * la + dot(c, a)[..., 0] * lb
    return 2 * torch.atan2(volume, la * lb * lc + rest)
