"""PyTorch3D's rasterizer of points in NDC, on :func:`lumigrad.splat`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad.compat.pytorch3d.renderer._first import first_kept
from lumigrad.compat.pytorch3d.renderer.utils import parse_image_size
from lumigrad.ops.splat._splat import splat
from lumigrad.types.splats import Splats

MOST = 1024  # points of a pixel

Output = tuple[Tensor, Tensor, Tensor]


def rasterize_points(
    pointclouds: Any,
    image_size: int | list[int] | tuple[int, int] = 256,
    radius: Any = 0.01,
    points_per_pixel: int = 8,
    bin_size: int | None = None,
    max_points_per_bin: int | None = None,
) -> Output:
    """Find the points whose discs cover each pixel's centre, nearest first.

    Args:
        pointclouds: `Pointclouds` with x and y in NDC (left and up; the image's shorter side spans [-1, 1]) and z in
            view space. Points with z < 0 are left out.
        image_size: side, or (height, width), in pixels.
        radius: of the discs in NDC, a number or one for each padded point [N, P].
        points_per_pixel: K, 1 to 1024.
        bin_size, max_points_per_bin: not looked at. There are no bins to choose and none that overflow.

    Returns:
        idx int32 [N, H, W, K] (packed points), zbuf and squared NDC distances [N, H, W, K], -1 where there are no
        more. Gradients of the last two reach the points.

    Raises:
        TypeError, ValueError: for settings out of range.
    """
    return _rasterize(splat, pointclouds, image_size, radius, points_per_pixel)


def rasterize_points_python(
    pointclouds: Any,
    image_size: int | list[int] | tuple[int, int] = 256,
    radius: Any = 0.01,
    points_per_pixel: int = 8,
) -> Output:
    """`rasterize_points` on lumigrad's definition in plain PyTorch, slow; the same arguments."""
    return _rasterize(reference.splat, pointclouds, image_size, radius, points_per_pixel)


def _rasterize(discs: Callable[..., Splats], pointclouds: Any, image_size: Any, radius: Any, count: int) -> Output:
    height, width = parse_image_size(image_size)
    if not 1 <= count <= MOST:
        raise ValueError(f"points_per_pixel: expected 1 to {MOST}, got {count}")
    radii = _format_radius(radius, pointclouds).detach()
    # Discs are wider by what rounding can do; whose centres are too far is seen by their distances.
    wider = radii * (1 + 1e-5) + 1e-6

    def fragments(asked: int) -> Output:
        idx = _nearest(discs, pointclouds, wider, (height, width), asked)
        return _with_distances(idx, pointclouds.points_packed(), height, width)

    def missed(out: tuple[Tensor, ...]) -> Tensor:
        return out[2] >= radii[out[0].long().clamp(min=0)].square() if len(radii) else out[2] > 0

    first = first_kept(fragments, missed, count, min(count + 1, MOST), MOST)
    return first[0], first[1], first[2]


def _with_distances(idx: Tensor, points: Tensor, height: int, width: int) -> Output:
    if len(points) == 0:
        empty = torch.full(idx.shape, -1.0, dtype=points.dtype, device=points.device)
        return idx, empty, empty.clone()
    found, near = idx >= 0, points[idx.long().clamp(min=0)]
    short = min(height, width)
    x, y = (
        (side - 1 - 2 * torch.arange(side, dtype=points.dtype, device=points.device)) / short
        for side in (width, height)
    )
    dists = (near[..., 0] - x[:, None]).square() + (near[..., 1] - y[:, None, None]).square()
    return idx, torch.where(found, near[..., 2], -1), torch.where(found, dists, -1)


@torch.no_grad()
def _nearest(
    discs: Callable[..., Splats], pointclouds: Any, radii: Tensor, size: tuple[int, int], count: int
) -> Tensor:
    """Packed points int32 [N, H, W, K], by depth, then by their number."""
    points = pointclouds.points_padded()
    views, padded = points.shape[:2]
    if views == 0 or padded == 0:
        return torch.full((views, *size, count), -1, dtype=torch.int32, device=points.device)
    height, width = size
    half = min(size) / 2
    xy = torch.stack((width / 2 - points[..., 0] * half, height / 2 - points[..., 1] * half), -1)
    there = torch.arange(padded, device=points.device) < pointclouds.num_points_per_cloud()[:, None]
    there &= points[..., 2] >= 0
    depths = torch.where(there, points[..., 2], torch.nan)
    shapes = torch.zeros_like(depths).reshape(-1).index_copy(0, pointclouds.padded_to_packed_idx(), radii * half)
    features = points.new_zeros(padded, 1)
    ids = discs(
        xy, shapes.reshape(views, padded), depths, features, size, footprint="disc", blend="normalised",
        max_contributors=count, contributors=count,
    ).ids  # fmt: skip
    assert ids is not None
    first = pointclouds.cloud_to_packed_first_idx().to(ids.dtype)[:, None, None, None]
    return torch.where(ids >= 0, ids + first, ids)


def _format_radius(radius: Any, pointclouds: Any) -> Tensor:
    """Radii of packed points [P].

    Raises:
        ValueError: neither a number nor [N, most points].
    """
    points = pointclouds.points_packed()
    if isinstance(radius, (list, tuple)):
        radius = torch.tensor(radius)
    if isinstance(radius, Tensor):
        radius = radius.to(points)
        if len(pointclouds) == 1 and radius.ndim == 1:
            radius = radius[None]
        expected = (len(pointclouds), pointclouds._P)
        if radius.shape != expected:
            raise ValueError(f"radius must be of shape (N, P): expected {expected}, got {tuple(radius.shape)}")
        return radius.reshape(-1)[pointclouds.padded_to_packed_idx()]
    if isinstance(radius, float):
        return torch.full((len(points),), radius, dtype=points.dtype, device=points.device)
    raise ValueError(f"radius must be a float, list, tuple or tensor; got {type(radius)}")
