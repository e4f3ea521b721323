"""How primitives are seen: what a camera tells the ops that project."""

from typing import NamedTuple

from torch import Tensor

from lumigrad.types.shapes import Float


class View(NamedTuple):
    """N cameras as plain tensors, which share an image size, a projection and clip planes.

    Camera space is OpenGL's: x right, y up, looking along -z. Pixel coordinates have (0, 0) at the outer corner of the
    top left pixel, x to the right and y downwards. Usually made by :meth:`lumigrad.scene.Camera.view`.

    Attributes:
        matrix: world-to-camera matrices [N, 4, 4] or [4, 4], rigid, acting on column vectors.
        fx, fy: focal lengths in pixels, [N] or scalars; for orthographic cameras pixels per world unit.
        cx, cy: the principal point in pixels, [N] or scalars.
        size: (height, width) of the image in pixels.
        projection: "perspective", "orthographic", or "fisheye": the distance from the principal point is the focal
            length times the angle from the axis.
        near, far: the clip planes, as distances along the viewing direction. A primitive whose centre does not lie
            between them is not drawn.
    """

    matrix: Float[Tensor, "views 4 4"] | Float[Tensor, "4 4"]
    fx: Float[Tensor, " #views"] | Float[Tensor, ""] | float
    fy: Float[Tensor, " #views"] | Float[Tensor, ""] | float
    cx: Float[Tensor, " #views"] | Float[Tensor, ""] | float
    cy: Float[Tensor, " #views"] | Float[Tensor, ""] | float
    size: tuple[int, int]
    projection: str = "perspective"
    near: float = 0.01
    far: float = 1e10
