"""Soft rasterization, defined in plain PyTorch: all faces within reach of a pixel, nearest first.

A face takes part in a pixel if it covers the pixel's centre or comes closer to it than the blur radius.
Distances are those of Liu et al. 2019, "Soft Rasterizer", section 3, in PyTorch3D's units and order (Ravi et
al. 2020, "Accelerating 3D Deep Learning with PyTorch3D"). What is new is that weights come from homogeneous
edge functions (Olano & Greer 1997), so that faces that cross the near plane are cut there instead of being
dropped or projected wrongly.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.types.fragments import SoftFragments

PAIRS_PER_CHUNK = 1 << 21  # (face, pixel) pairs examined at once: bounds the memory, not the result


class _Points(NamedTuple):
    """The values of P pairs of a face and a pixel: see `_meet`."""

    valid: Tensor  # bool [P]: the face exists, faces the right way, and its weights are valid
    inside: Tensor  # bool [P]
    z: Tensor  # [P]
    dist: Tensor  # [P], signed
    bary: Tensor  # [P, 3]


def soft_rasterize(
    pos: Tensor,
    tri: Tensor,
    size: tuple[int, int],
    faces_per_pixel: int = 8,
    blur_radius: float = 0.0,
    ranges: Tensor | None = None,
    perspective_correct: bool = True,
    clip_barycentrics: bool = True,
    cull_backfaces: bool = False,
) -> SoftFragments:
    """The nearest faces in reach of every pixel centre; see :func:`lumigrad.soft_rasterize`.

    In units of half the shorter side of the image, from the pixel centre, face vertices are at
    (X_i, Y_i) / w_i. With the planes a0 = p1' x p2' and so on (see `reference.rasterize.attributes`) and
    their determinant D, the numbers c_i = a_i / D are the perspective-correct weights divided by w at the
    pixel. Weights m_i = c_i, or m_i = c_i w_i (which is affine on the screen) without
    ``perspective_correct``, are clamped to be non-negative with ``clip_barycentrics``; then

        bary_i = m_i / sum m      z = max(sum bary_i Z_i / sum bary_i W_i, -1)

    with (Z, W) = (z_i, w_i), or (z_i / w_i, 1). A pair for which one of these sums is not positive (the
    pixel sees the face's plane behind the eye) does not count.

    Edge-on is a face whose determinant is zero as computed from (x, y, w) of its vertices, which is the same at every
    pixel.

    A face with vertices on both sides of the near plane z = -w is a polygon of three or four edges; its
    weights are always perspective-correct. Inside means on the inner side of all edges or on them. `dist` is
    the squared distance to the nearest edge, negative inside.
    """
    options = (perspective_correct, clip_barycentrics, cull_backfaces)
    image, face, row, column = _select(pos, tri, size, faces_per_pixel, blur_radius, ranges, options)
    images = pos.shape[0] if pos.ndim == 3 else (1 if ranges is None else ranges.shape[0])
    found = torch.full((images, *size, faces_per_pixel), -1, dtype=torch.int32, device=pos.device)
    slot = _rank(image, row, column, *size)
    return soft_attributes(pos, tri, found.index_put((image, row, column, slot), face.int()), *options)


def soft_attributes(
    pos: Tensor,
    tri: Tensor,
    found: Tensor,
    perspective_correct: bool = True,
    clip_barycentrics: bool = True,
    cull_backfaces: bool = False,
) -> SoftFragments:
    """z, distances and weights of the faces `found` [N, H, W, K], differentiably."""
    image, row, column, _ = where = (found >= 0).nonzero().unbind(1)
    face, shape = found[where].long(), found.shape
    options = (perspective_correct, clip_barycentrics, cull_backfaces)
    points = _meet(_corners(pos, tri, image, face), row, column, (shape[1], shape[2]), options)
    return SoftFragments(
        found,
        pos.new_zeros(shape).index_put(where, points.z),
        pos.new_zeros(shape).index_put(where, points.dist),
        pos.new_zeros((*shape, 3)).index_put(where, points.bary),
    )


def soft_interpolate(attr: Tensor, frags: SoftFragments, tri: Tensor) -> Tensor:
    """Vertex attributes [V, A] or [N, V, A] at soft fragments: sum of bary_i attr_i, zero at pads.

    Weights sum to 1, so the third is one minus the others and has no gradient of its own.
    """
    present = frags.tri >= 0
    index = tri.long()[frags.tri.clamp(min=0).long()] if len(tri) else frags.tri.new_zeros((*frags.tri.shape, 3)).long()
    if not len(tri) or not attr.shape[-2]:
        return attr.new_zeros((*frags.tri.shape, attr.shape[-1]))
    if attr.ndim == 2:
        corners = attr[index]
    else:
        image = torch.arange(len(index), device=attr.device).view(-1, 1, 1, 1, 1)
        corners = attr.expand(len(index), -1, -1)[image, index]
    u, v, _ = frags.bary.unbind(-1)
    weights = torch.stack((u, v, 1 - u - v), -1)
    return ((weights[..., None] * corners).sum(-2)) * present[..., None]


def max_faces_per_pixel(
    pos: Tensor,
    tri: Tensor,
    size: tuple[int, int],
    blur_radius: float,
    ranges: Tensor | None = None,
    cull_backfaces: bool = False,
) -> int:
    """The largest number of faces that any pixel has, with perspective-correct clipped weights."""
    image, _, row, column = _select(pos, tri, size, None, blur_radius, ranges, (True, True, cull_backfaces))
    pixel = (image * size[0] + row) * size[1] + column
    return int(torch.bincount(pixel).max()) if len(pixel) else 0


@torch.no_grad()
def _select(
    pos: Tensor,
    tri: Tensor,
    size: tuple[int, int],
    max_faces: int | None,
    blur_radius: float,
    ranges: Tensor | None,
    options: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All pairs that count, as image, face, row and column, sorted by pixel, then z, then face."""
    height, width = size
    found = []
    for n in range(pos.shape[0] if pos.ndim == 3 else (1 if ranges is None else len(ranges))):
        first, count = (0, len(tri)) if ranges is None else map(int, ranges[n])
        faces = torch.arange(first, first + count, device=pos.device)
        for part in torch.arange(height * width, device=pos.device).split(max(1, PAIRS_PER_CHUNK // max(1, count))):
            pixel, face = torch.meshgrid(part, faces, indexing="ij")
            pixel, face = pixel.flatten(), face.flatten()
            row, column = pixel // width, pixel % width
            image = torch.full_like(pixel, n)
            points = _meet(_corners(pos, tri, image, face), row, column, size, options)
            keep = points.valid & (points.inside | (points.dist < blur_radius))
            image, face, pixel, z = image[keep], face[keep], pixel[keep], points.z[keep]
            order = torch.argsort(z, stable=True)  # faces are in order already
            order = order[torch.argsort(pixel[order], stable=True)]
            found.append(torch.stack((image, face, pixel // width, pixel % width))[:, order])
    image, face, row, column = torch.cat(found, 1) if found else tri.new_zeros((4, 0), dtype=torch.int64)
    if max_faces is not None:
        keep = _rank(image, row, column, height, width) < max_faces
        image, face, row, column = image[keep], face[keep], row[keep], column[keep]
    return image, face, row, column


def _rank(image: Tensor, row: Tensor, column: Tensor, height: int, width: int) -> Tensor:
    """The rank of every pair within its pixel; pairs are sorted by pixel."""
    pixel = (image * height + row) * width + column
    if not len(pixel):
        return pixel
    _, run, counts = torch.unique_consecutive(pixel, return_inverse=True, return_counts=True)
    return torch.arange(len(pixel), device=pixel.device) - (counts.cumsum(0) - counts)[run]


def _corners(pos: Tensor, tri: Tensor, image: Tensor, face: Tensor) -> Tensor:
    """Clip positions [P, 3, 4] of the faces' vertices."""
    index = tri.long()[face]
    return pos[index] if pos.ndim == 2 else pos[image[:, None], index]


def _meet(
    corners: Tensor, row: Tensor, column: Tensor, size: tuple[int, int], options: tuple[bool, bool, bool]
) -> _Points:
    """The results of `soft_rasterize` for each pair of a face [P, 3, 4] and a pixel [P]."""
    perspective, clip, cull = options
    height, width = size
    short = min(height, width)
    finite = corners.isfinite().all(-1).all(-1)
    corners = torch.where(finite[:, None, None], corners, torch.ones_like(corners))
    x, y, z, w = corners.unbind(-1)  # [P, 3]
    edge_on = _edge_on(x, y, w)
    x = (x - ((2 * column.to(x.dtype) + 1) / width - 1)[:, None] * w) * (width / short)
    y = (y - (1 - (2 * row.to(x.dtype) + 1) / height)[:, None] * w) * (height / short)

    j, k = [1, 2, 0], [2, 0, 1]
    planes = x[:, j] * y[:, k] - y[:, j] * x[:, k]
    det = (w * planes).sum(1)
    near = z + w
    front = near >= 0
    straddles = front.any(1) & ~front.all(1)
    begin, end, exists = _edges(torch.stack((x, y, w), -1), near)
    projects = ((begin[..., 2] > 0) & (end[..., 2] > 0) | ~exists).all(1)
    valid = finite & projects & exists.any(1) & ~edge_on & (det != 0) & det.isfinite()
    valid = valid & (det > 0) if cull else valid
    c = planes / torch.where(valid, det, 1)[:, None]
    height_over_near = (c * near).sum(1)  # positive on the far side of the near plane
    inside = (c >= 0).all(1) & (~straddles | (height_over_near >= 0))

    affine = ~straddles[:, None] & (not perspective)
    safe_w = torch.where(affine, w, 1)
    m = torch.where(affine, c * w, c)
    m = m.clamp(min=0) if clip else m
    total = m.sum(1)
    valid = valid & (total > 0)
    bary = m / torch.where(valid, total, 1)[:, None]
    below = (bary * torch.where(affine, 1, w)).sum(1)
    valid = valid & (below > 0)
    depth = (bary * z / safe_w).sum(1) / torch.where(valid, below, 1)
    dist = _outline_distance(begin, end, exists & valid[:, None])
    return _Points(valid, inside, depth.clamp(min=-1), torch.where(inside, -dist, dist), bary)


def _edge_on(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """Whether the corners [P, 3] are collinear on the screen, by a number that is the same at all pixels."""
    j, k = [1, 2, 0], [2, 0, 1]
    a, b, c = (w * (x[:, j] * y[:, k] - y[:, j] * x[:, k])).unbind(1)
    return (a + b) + c == 0


def _edges(homogeneous: Tensor, near: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The edges of the visible part of faces [P, 3, (x, y, w)]: their two ends [P, 4, 3], and which exist [P, 4].

    The fourth edge runs along the near plane. The ends of missing edges are vertex 0.
    """
    front = near >= 0
    begins, ends, exists = [], [], []
    for j, k in ((1, 2), (2, 0), (0, 1)):
        crosses = front[:, j] != front[:, k]
        # From the vertex in front to the vertex behind, so that both faces of an edge find the same point.
        inner = torch.where(front[:, j, None], homogeneous[:, j], homogeneous[:, k])
        outer = torch.where(front[:, j, None], homogeneous[:, k], homogeneous[:, j])
        d_inner = torch.where(front[:, j], near[:, j], near[:, k])
        d_outer = torch.where(front[:, j], near[:, k], near[:, j])
        t = d_inner / torch.where(crosses, d_inner - d_outer, 1)
        cut = inner + t[:, None] * (outer - inner)
        begins.append(torch.where(front[:, j, None], homogeneous[:, j], cut))
        ends.append(torch.where(front[:, k, None], homogeneous[:, k], cut))
        exists.append(front[:, j] | front[:, k])
    # The near edge joins the two cuts: one of the edges 12, 20 and 01 has none.
    cut_12 = torch.where(front[:, 1, None], ends[0], begins[0])
    cut_20 = torch.where(front[:, 2, None], ends[1], begins[1])
    cut_01 = torch.where(front[:, 0, None], ends[2], begins[2])
    begins.append(torch.where((front[:, 1] != front[:, 2])[:, None], cut_12, cut_20))
    ends.append(torch.where((front[:, 0] != front[:, 1])[:, None], cut_01, cut_20))
    exists.append(front.any(1) & ~front.all(1))
    there = torch.stack(exists, 1)
    some = homogeneous[:, None, 0]
    return *(torch.where(there[..., None], torch.stack(p, 1), some) for p in (begins, ends)), there  # type: ignore[return-value]


def _outline_distance(begin: Tensor, end: Tensor, exists: Tensor) -> Tensor:
    """Squared distance from the origin to the nearest of the edges that exist [P, 4]."""
    a, b = (point[..., :2] / torch.where(exists, point[..., 2], 1)[..., None] for point in (begin, end))
    along = b - a
    length = (along * along).sum(-1)
    t = -(a * along).sum(-1) / torch.where(length > 0, length, 1)
    # To first order, the distance does not depend on t, whose gradient is omitted.
    nearest = a + t.clamp(0, 1).detach()[..., None] * along
    distances = torch.where(exists, (nearest * nearest).sum(-1), torch.inf)
    # min, unlike amin, gives the gradient to only one edge where a corner is nearest.
    return distances.min(1).values
