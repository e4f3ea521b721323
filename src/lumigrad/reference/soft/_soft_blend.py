"""Soft images of all faces in reach, defined over soft fragments without a limit on their number."""

from __future__ import annotations

from torch import Tensor

from lumigrad.reference.soft import blending
from lumigrad.reference.soft._soft_rasterize import max_faces_per_pixel, soft_interpolate, soft_rasterize


def soft_silhouette(
    pos: Tensor,
    tri: Tensor,
    size: tuple[int, int],
    sigma: float,
    blur_radius: float | None = None,
    falloff: str = "sigmoid",
    ranges: Tensor | None = None,
    cull_backfaces: bool = False,
) -> Tensor:
    """The soft mask of all faces: `blending.silhouette` of fragments without a limit on their number."""
    blur = blending.default_blur_radius(sigma, falloff) if blur_radius is None else blur_radius
    faces = max_faces_per_pixel(pos, tri, size, blur, ranges, cull_backfaces)
    frags = soft_rasterize(pos, tri, size, max(1, faces), blur, ranges, cull_backfaces=cull_backfaces)
    return blending.silhouette(frags, sigma, falloff)


def soft_colors(
    pos: Tensor,
    tri: Tensor,
    attr: Tensor,
    size: tuple[int, int],
    sigma: float,
    gamma: float,
    background: Tensor | float = 0.0,
    mode: str = "softras",
    blur_radius: float | None = None,
    depth_range: tuple[float, float] | None = None,
    attr_tri: Tensor | None = None,
    ranges: Tensor | None = None,
    cull_backfaces: bool = False,
) -> Tensor:
    """The soft image of all faces: `blending.soft_blend` of fragments without a limit on their number."""
    blur = blending.default_blur_radius(sigma) if blur_radius is None else blur_radius
    faces = max_faces_per_pixel(pos, tri, size, blur, ranges, cull_backfaces)
    frags = soft_rasterize(pos, tri, size, max(1, faces), blur, ranges, cull_backfaces=cull_backfaces)
    colors = soft_interpolate(attr, frags, tri if attr_tri is None else attr_tri)
    near = blending.nearness(frags, pos, tri, depth_range)
    return blending.soft_blend(colors, frags, near, sigma, gamma, background, mode)
