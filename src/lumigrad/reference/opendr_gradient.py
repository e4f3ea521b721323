"""The gradient of OpenDR, defined in plain PyTorch (Loper and Black 2014).

The image stays as it is. Where a point of a surface moves on the screen it takes its surroundings in the
image with it: the change of a pixel is minus the image's own slope times the motion of the point seen there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..fragments import Fragments
from ._surface import check_image, neighbours, screen_motion, surface_points


def opendr_gradient(color: Tensor, frags: Fragments, pos: Tensor, tri: Tensor) -> Tensor:
    """`color`, with the position gradient of OpenDR: dI = -(dI/dX dx + dI/dY dy).

    (dx, dy) is the motion of the surface point seen at the pixel: its three vertices' with their
    screen-space barycentric weights. The slope of the image comes from differences of neighbouring pixels:
    see `image_slope`. Boundary pixels are those whose surface ends before the next pixel (see
    `_surface.neighbours`).

    The slope is that of everything in the image, shading and textures included. `color` must hence be made
    from fragments that carry no gradient to the positions, or what moves inside a surface counts twice.

    Args:
        color: [N, H, W, C], float32 or float64.
        frags: what `rasterize` gave for these positions.
        pos, tri: as given to `rasterize`.

    Returns:
        [N, H, W, C], the values of `color`. Gradients reach `color` unchanged, and x, y and w of `pos`.
        Where a slope is not finite there is none.

    Raises:
        TypeError, ValueError: an argument has the wrong type, dtype, shape or range.
    """
    check_image(color, frags, pos, tri)
    slope = image_slope(color.detach(), boundary(frags, pos, tri))
    return carry_along(color, slope, surface_points(frags, pos, tri))


def carry_along(color: Tensor, slope: Tensor, clip: Tensor) -> Tensor:
    """`color` with the gradient that each pixel's slope [N, H, W, C, 2] moves with its surface point."""
    motion = screen_motion(clip)[..., None, :2]
    return color - (slope * motion).sum(-1)


def boundary(frags: Fragments, pos: Tensor, tri: Tensor) -> Tensor:
    """Which pixels [N, H, W] have a surface that ends before one of the four pixels around."""
    found = torch.zeros(frags.tri.numel(), dtype=torch.bool, device=frags.tri.device)
    for vertical in (False, True):
        pairs = neighbours(frags, pos, tri, vertical)
        found[pairs.first[pairs.first_ends]] = True
        found[pairs.second[pairs.second_ends]] = True
    return found.view(frags.tri.shape)


def image_slope(color: Tensor, boundary: Tensor) -> Tensor:
    """dI/dX and dI/dY [N, H, W, C, 2], per pixel to the right and down.

    At a boundary pixel: I_next - I_previous, twice the central difference, as the jump there is to be had
    within the one pixel; beyond the image the pixel itself stands in. Elsewhere: the mean of the one-sided
    differences to the previous and the next pixel, without those to boundary pixels and beyond the image;
    zero if none is left.
    """
    return torch.stack([_slope_along(color, boundary, axis) for axis in (2, 1)], -1)


def _slope_along(color: Tensor, boundary: Tensor, axis: int) -> Tensor:
    size = color.shape[axis]
    if size < 2:
        return torch.zeros_like(color)
    nothing = torch.zeros_like(color.narrow(axis, 0, 1))
    step = color.diff(dim=axis)
    forward, backward = torch.cat((step, nothing), axis), torch.cat((nothing, step), axis)
    closed = torch.ones_like(boundary.narrow(axis, 0, 1))
    inner = boundary.narrow(axis, 1, size - 1), boundary.narrow(axis, 0, size - 1)
    use_forward, use_backward = ~torch.cat((inner[0], closed), axis), ~torch.cat((closed, inner[1]), axis)
    count = (use_forward.to(color.dtype) + use_backward.to(color.dtype)).clamp(min=1)[..., None]
    one_sided = torch.where(use_forward[..., None], forward, 0.0) + torch.where(use_backward[..., None], backward, 0.0)
    slope = torch.where(boundary[..., None], forward + backward, one_sided / count)
    return torch.where(slope.isfinite(), slope, 0.0)
