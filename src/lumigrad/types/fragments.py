"""The results of rasterizers: for each pixel, the visible triangle and the point on it."""

from typing import NamedTuple

from torch import Tensor

from lumigrad.types.shapes import Float, Int32


class Fragments(NamedTuple):
    """The visible surface point of every pixel of N images (row 0 is the top).

    Attributes:
        tri: int32 [N, H, W], index of the triangle, -1 where nothing is seen.
        bary: [N, H, W, 2], perspective-correct weights (u, v) of the triangle's vertices 0 and 1; vertex 2
            has 1-u-v. Zero at background.
        depth: [N, H, W], z/w in [-1, 1], zero at background.
        bary_d: [N, H, W, 2, 2] or None. ``bary_d[..., i, j]`` is the derivative of u (i=0) or v (i=1) with
            respect to the pixel column, rightwards (j=0), or the pixel row, downwards (j=1). Zero at
            background.
        attributes: [N, H, W, C] or None: attributes of the vertices, interpolated as `interpolate` does. Zero at
            background.
    """

    tri: Int32[Tensor, "views height width"]
    bary: Float[Tensor, "views height width 2"]
    depth: Float[Tensor, "views height width"]
    bary_d: Float[Tensor, "views height width 2 2"] | None = None
    attributes: Float[Tensor, "views height width interpolated"] | None = None


class SoftFragments(NamedTuple):
    """The nearest K faces in reach of every pixel of N images, front to back (row 0 is the top).

    Attributes:
        tri: int32 [N, H, W, K], index of the triangle, -1 where there are no more.
        z: [N, H, W, K], depth z/w. Zero at pads, like all that follows.
        dist: [N, H, W, K], squared distance from the pixel's centre to the nearest edge of the triangle, in units
            of half the image's shorter side; negative where the triangle covers the centre.
        bary: [N, H, W, K, 3], weights of the triangle's vertices. They sum to 1.
    """

    tri: Int32[Tensor, "views height width faces_per_pixel"]
    z: Float[Tensor, "views height width faces_per_pixel"]
    dist: Float[Tensor, "views height width faces_per_pixel"]
    bary: Float[Tensor, "views height width faces_per_pixel 3"]
