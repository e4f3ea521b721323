"""Intersections of rays with an implicit surface."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from lumigrad.types.shapes import Bool, Float


class SurfaceHits(NamedTuple):
    """Points of a surface that rays meet or, with silhouettes, all but meet.

    Attributes:
        t: [...], the distance in units of the ray's direction; infinite where there is no point.
        positions: [..., 3], zero where there is no point.
        normals: [..., 3], of unit length, to the outside; zero where there is no point.
        mask: bool [...], where the ray enters the surface.
        alpha: [...], 1 where it does and 0 where it does not. With silhouettes, rays in the band beside one carry the
            gradient of the visibility here; those that pass the surface on its outside have a point, t, position and
            normal, with alpha 0.
        back: with silhouettes, what such rays meet behind, else None:
            ``alpha * color + (1 - alpha) * (back.alpha * back_color + (1 - back.alpha) * background)``.
    """

    t: Float[Tensor, "*rays"]
    positions: Float[Tensor, "*rays 3"]
    normals: Float[Tensor, "*rays 3"]
    mask: Bool[Tensor, "*rays"]
    alpha: Float[Tensor, "*rays"]
    back: SurfaceHits | None = None
