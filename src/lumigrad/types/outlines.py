"""The visible outlines of images, in pieces."""

from typing import NamedTuple

from torch import Tensor

from lumigrad.types.fragments import Fragments
from lumigrad.types.shapes import Float, Int32


class Outlines(NamedTuple):
    """The visible outlines of N images, cut into straight pieces within pixels, sorted by pixel. Unused rows have
    pixel -1.

    Attributes:
        sides: fragments [N, 4, S] to shade. Rows 0 and 1: what is seen immediately beside the middle of each piece,
            on its plus and on its minus side. Rows 2 and 3: what is seen in the middle of a surface's part of the
            pixel, where the plus or the minus side stands for that surface; triangle -1 also where it does not.
            ``bary``, ``depth`` and ``bary_d`` carry gradients to positions, as those of :func:`lumigrad.rasterize`
            do; places are fixed.
        pixel: int32 [N, S], the pixel of its image that a piece lies in, row by row.
        place: [N, 4, S, 2], the places of `sides`, in pixels to the right and down from the pixel's centre.
        weight: [N, 2, S], the part of its pixel that has the colour of row 2 or 3. What is left of the pixel has the
            colour at its centre.
        length: [N, S], of the piece, in pixels.
        line: int32 [N, S, 2], what a piece belongs to: (half-edge 3 t + k, -1) for an edge of the mesh, (t, s) for the
            curve in which two triangles cross, (t, -2) and (t, -3) where the near or far plane cuts a triangle, and
            (-1, -1) where only a pixel's centre is set right.
        source: int32 [N, 4, S] or None: pixels whose colours can stand for those of `sides`.
    """

    sides: Fragments
    pixel: Int32[Tensor, "views pieces"]
    place: Float[Tensor, "views 4 pieces 2"]
    weight: Float[Tensor, "views 2 pieces"]
    length: Float[Tensor, "views pieces"]
    line: Int32[Tensor, "views pieces 2"]
    source: Int32[Tensor, "views 4 pieces"] | None = None
