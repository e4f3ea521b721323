"""The camera data that the projecting ops need."""

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

    >>> import torch
    >>> import lumigrad as lg
    >>> from lumigrad.scene import PerspectiveCamera
    >>> view = PerspectiveCamera.orbit(torch.tensor([0.0, 90.0]), 0.0, 3.0, fov_y=90.0, size=(64, 64)).view()
    >>> view.matrix.shape, [round(focal, 3) for focal in view.fx.tolist()], view.size
    (torch.Size([2, 4, 4]), [32.0, 32.0], (64, 64))
    >>> by_hand = lg.View(torch.eye(4), fx=32.0, fy=32.0, cx=32.0, cy=32.0, size=(64, 64))
    >>> by_hand.projection, by_hand.near
    ('perspective', 0.01)
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
