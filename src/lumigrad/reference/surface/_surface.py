"""Shared by the methods of `lumigrad.gradients`: neighbouring pixels, occlusion, positions of surface points."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.reference.surface._interpolate import interpolate
from lumigrad.reference.surface._rasterize import check_mesh
from lumigrad.types.fragments import Fragments


class Neighbours(NamedTuple):
    """M pairs of neighbouring pixels that see different things, all horizontal or all vertical."""

    first: Tensor  # int64 [M], flat index of the left or upper pixel
    second: Tensor  # int64 [M], flat index of the right or lower one
    first_ends: Tensor  # bool [M], whether the surface of the first pixel is in front and ends between the two
    second_ends: Tensor  # bool [M], the same for the second pixel; both are set where two surfaces intersect


def surface_points(frags: Fragments, pos: Tensor, tri: Tensor) -> Tensor:
    """Clip positions [N, H, W, 4] of the visible points, fixed on their triangles and moving with `pos`."""
    points = interpolate(pos, frags._replace(bary=frags.bary.detach(), bary_d=None), tri)
    assert isinstance(points, Tensor)
    return points


def screen_motion(clip: Tensor) -> Tensor:
    """Motion [N, H, W, 3] of surface points: pixels to the right, pixels down, depth.

    Zero in value: only its gradient matters, d(motion)/d(clip position). Points at w <= 0, which are the
    background's, do not move.
    """
    height, width = clip.shape[1:3]
    x, y, z, w = clip.unbind(-1)
    fixed = clip.detach()
    # The derivative with respect to w is place / w^2. Points where it is not finite are too close to the eye to have a
    # gradient.
    seen = (fixed[..., 3] > 0) & ((fixed.abs() + 1) / fixed[..., 3:] / fixed[..., 3:]).isfinite().all(-1)
    zero, one = torch.zeros_like(w), torch.ones_like(w)
    x, y, z, w = (torch.where(seen, v, other) for v, other in ((x, zero), (y, zero), (z, zero), (w, one)))
    place = torch.stack((0.5 * width * x / w, -0.5 * height * y / w, z / w), -1)
    return place - place.detach()


def neighbours(frags: Fragments, pos: Tensor, tri: Tensor, vertical: bool) -> Neighbours:
    """Pairs that see different triangles, and which of the two surfaces ends between the centres.

    A triangle covers a pixel if the centre lies strictly inside it, in front of the eye and between the clip
    planes. Of a pair's triangles A (first) and B (second), A ends where B covers A's pixel as well, where it
    is hidden, and A does not cover B's; B ends in the reverse case. If both cover both, they intersect: each
    ends. If neither covers the other's pixel they are taken for neighbours on one surface and none ends.
    Background is covered by everything and ends nothing. A triangle that is nearer at the other pixel than what
    is seen there does not cover it: it ends before that centre, but by less than `rasterize` rounds positions.
    """
    images, height, width = frags.tri.shape
    pixel = torch.arange(images * height * width, device=frags.tri.device).view(images, height, width)
    if vertical:
        first, second = pixel[:, :-1].flatten(), pixel[:, 1:].flatten()
    else:
        first, second = pixel[:, :, :-1].flatten(), pixel[:, :, 1:].flatten()
    seen = frags.tri.flatten().long().clamp(min=-1)
    differs = seen[first] != seen[second]
    first, second = first[differs], second[differs]
    a, b = seen[first], seen[second]
    corners = image_positions(pos, images).detach().double()
    a_covers = _goes_on(corners, tri, a, b, second, height, width)
    b_covers = _goes_on(corners, tri, b, a, first, height, width)
    return Neighbours(
        first,
        second,
        (a >= 0) & ((b < 0) | (b_covers & ~a_covers) | (a_covers & b_covers)),
        (b >= 0) & ((a < 0) | (a_covers & ~b_covers) | (a_covers & b_covers)),
    )


def image_positions(pos: Tensor, images: int) -> Tensor:
    """Positions [N, V, 4] of every image."""
    return pos.expand(images, -1, -1) if pos.ndim == 2 else pos


def edge_lines(corners: Tensor, tri: Tensor, image: Tensor, triangle: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For M triangles: lines [M, 3, 3] of the edges, det[x y w] [M], and z [M, 3] of the corners.

    Line k = p_i x p_j, in (x, y, w), is opposite to corner k: at a place f in NDC a_k = line_k . (f_x, f_y, 1)
    is proportional to the corner's perspective-correct weight, and sum_k z_k a_k / det is the depth there.
    """
    p = corners[image[:, None], tri.long()[triangle.clamp(min=0)]]  # [M, 3, 4]
    xyw = p[..., [0, 1, 3]]
    lines = torch.linalg.cross(xyw[:, [1, 2, 0]], xyw[:, [2, 0, 1]])
    return lines, (xyw[..., 2] * lines[..., 2]).sum(-1), p[..., 2]


def edge_values(lines: Tensor, pixel: Tensor, height: int, width: int) -> Tensor:
    """a_k [M, 3] of lines [M, 3, 3] at the centres of pixels [M], by flat index."""
    row, col = pixel // width % height, pixel % width
    x, y = (2 * col + 1).double() / width - 1, 1 - (2 * row + 1).double() / height
    return lines[..., 0] * x[:, None] + lines[..., 1] * y[:, None] + lines[..., 2]


def _goes_on(
    corners: Tensor, tri: Tensor, triangle: Tensor, seen: Tensor, pixel: Tensor, height: int, width: int
) -> Tensor:
    """Whether triangles [M] cover pixels [M] that show the triangles `seen` [M]. Background (-1) covers nothing."""
    if not len(tri):
        return torch.zeros_like(triangle, dtype=torch.bool)
    depth, inside = _depth_and_inside(corners, tri, triangle, pixel, height, width)
    seen_depth, _ = _depth_and_inside(corners, tri, seen, pixel, height, width)
    hides = (seen >= 0) & (depth < seen_depth)
    return (triangle >= 0) & inside & (depth.abs() <= 1) & ~hides


def _depth_and_inside(
    corners: Tensor, tri: Tensor, triangle: Tensor, pixel: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Depth of triangles' planes at pixels' centres, and whether those lie strictly inside, both [M]."""
    lines, det, z = edge_lines(corners, tri, pixel // (height * width), triangle)
    a = edge_values(lines, pixel, height, width)
    return (z * a).sum(-1) / det, (a * det.sign()[:, None] > 0).all(-1)


def check_image(color: Tensor, frags: Fragments, pos: Tensor, tri: Tensor) -> None:
    """Raise TypeError or ValueError unless the image belongs to the fragments and they to the mesh."""
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
