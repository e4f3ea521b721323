"""The gradient of OpenDR, defined in plain PyTorch (Loper and Black 2014).

The image is unchanged. A surface point that moves on the screen carries its surroundings in the image along: the change
of a pixel is minus the image's slope times the motion of the point seen there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.reference.surface._surface import (
    check_image,
    edge_lines,
    edge_values,
    image_positions,
    neighbours,
    screen_motion,
    surface_points,
)
from lumigrad.types.fragments import Fragments


def opendr_gradient(color: Tensor, frags: Fragments, pos: Tensor, tri: Tensor) -> Tensor:
    """`color`, with the position gradient of OpenDR: dI = -(dI/dX dx + dI/dY dy).

    (dx, dy) is the motion of the surface point seen at the pixel: its three vertices' with their
    screen-space barycentric weights. The slopes of the image are differences of neighbouring pixels.

    Where the surface seen at one of two neighbouring pixels ends between them (`_surface.neighbours`), its outline
    lies in the one of the two whose centre is nearer to where its triangle ends. That one is a boundary pixel of
    the axis. What moves there is the surface that ends, as it is seen at its own pixel. See `image_slope`.

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
    return carry_along(color, frags, pos, tri, surface_points(frags, pos, tri))


def carry_along(color: Tensor, frags: Fragments, pos: Tensor, tri: Tensor, points: Tensor) -> Tensor:
    """`opendr_gradient`, given the surface points' clip positions [N, H, W, 4]."""
    motion = screen_motion(points).flatten(0, 2)
    out = color
    for vertical in (False, True):
        boundary, moves = outlines(frags, pos, tri, vertical)
        slope = image_slope(color.detach(), boundary, vertical)
        along = motion[:, int(vertical)].index_select(0, moves.flatten()).view(frags.tri.shape)
        out = out - slope * along[..., None]
    return out


def outlines(frags: Fragments, pos: Tensor, tri: Tensor, vertical: bool) -> tuple[Tensor, Tensor]:
    """Boundary pixels bool [N, H, W], and the pixel int64 [N, H, W] whose surface moves at each pixel.

    The latter is a flat index: the pixel itself, or at a boundary pixel that of the surface that ends (the smallest
    of several). Intersecting surfaces have no outline there.
    """
    pairs = neighbours(frags, pos, tri, vertical)
    one = pairs.first_ends != pairs.second_ends
    own = torch.where(pairs.first_ends, pairs.first, pairs.second)[one]
    other = torch.where(pairs.first_ends, pairs.second, pairs.first)[one]
    edge = torch.where(_way_to_end(frags, pos, tri, own, other) < 0.5, own, other)
    count = frags.tri.numel()
    owner = torch.full((count,), count, device=own.device).scatter_reduce(0, edge, own, "amin")
    boundary = owner < count
    moves = torch.where(boundary, owner, torch.arange(count, device=own.device))
    return boundary.view(frags.tri.shape), moves.view(frags.tri.shape)


def _way_to_end(frags: Fragments, pos: Tensor, tri: Tensor, own: Tensor, other: Tensor) -> Tensor:
    """The fraction [M] of the way from its own pixel's centre to the other's at which the visible triangle ends."""
    images, height, width = frags.tri.shape
    corners = image_positions(pos, images).detach().double()
    lines, det, _ = edge_lines(corners, tri, own // (height * width), frags.tri.flatten().long()[own])
    inside = [(edge_values(lines, pixel, height, width) * det.sign()[:, None]) for pixel in (own, other)]
    way = inside[0] / (inside[0] - inside[1])
    return torch.where(inside[1] < 0, way, 1.0).amin(-1).clamp(0, 1)


def image_slope(color: Tensor, boundary: Tensor, vertical: bool) -> Tensor:
    """dI/dX, or dI/dY of vertical, [N, H, W, C], per pixel to the right or down.

    At a boundary pixel: I_next - I_previous, twice the central difference, because the jump must happen within that one
    pixel; beyond the image, the pixel itself stands in. Elsewhere: the mean of the one-sided differences to the
    previous and the next pixel, without those to boundary pixels and beyond the image; zero if none is left.
    """
    axis = 1 if vertical else 2
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
