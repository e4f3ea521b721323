"""Gradients at the edges between pixels, defined in plain PyTorch (Pidhorskyi et al. 2024).

The image is unchanged. Its gradient treats every border between two pixels at which a surface ends as an edge that
moves with that surface.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.reference.surface._surface import (
    Neighbours,
    check_image,
    edge_lines,
    image_positions,
    neighbours,
    screen_motion,
    surface_points,
)
from lumigrad.types.fragments import Fragments

FASTEST = 1e4  # pixels by which an intersection may move per pixel that its surfaces move


def edge_gradient(color: Tensor, frags: Fragments, pos: Tensor, tri: Tensor) -> Tensor:
    """`color`, with the gradient of visibility at the borders between pixels.

    Of two neighbouring pixels p and q (to the right of p or below it) that see different triangles, one may
    end between them; `_surface.neighbours` returns which. The border between the two then moves with the point
    of that surface at its pixel: by dt towards q it changes both colours, I_p and I_q, by dt (I_p - I_q) / 2.
    In a horizontal pair dt is the motion to the right, in a vertical one that down, in pixels.

    If both end, two surfaces intersect. Depth over the screen is a plane for either, Z_A seen at p and Z_B at
    q; the border is where Z_A = Z_B and moves by

        dt = (dZ_B - dZ_A) / (dZ_A/dt - dZ_B/dt),   dZ = dz - dZ/dX dx - dZ/dY dy

    with (dx, dy, dz) the motion of the point seen. The denominator is at least 1e-4 of the sum of both
    planes' steepness |dZ/dX| + |dZ/dY|: nearly parallel planes do not send the border to infinity.

    Args:
        color: [N, H, W, C], float32 or float64.
        frags: what `rasterize` gave for these positions.
        pos, tri: as given to `rasterize`.

    Returns:
        [N, H, W, C], the values of `color`. Gradients reach `color` unchanged; and x, y, w of `pos`, at
        intersections also z, through the weights ``frags.bary`` of the points that move. Where a colour is
        not finite there is none.

    Raises:
        TypeError, ValueError: an argument has the wrong type, dtype, shape or range.
    """
    check_image(color, frags, pos, tri)
    motion = screen_motion(surface_points(frags, pos, tri)).flatten(0, 2)
    flat = color.flatten(0, 2)
    fixed = flat.detach()
    for vertical in (False, True):
        pairs = neighbours(frags, pos, tri, vertical)
        shift = _shift(pairs, motion, frags, pos, tri, vertical)
        jump = 0.5 * (fixed[pairs.first] - fixed[pairs.second])
        change = torch.where(jump.isfinite(), jump, 0) * shift[:, None]
        flat = flat.index_add(0, pairs.first, change).index_add(0, pairs.second, change)
    return flat.view(color.shape)


def _shift(pairs: Neighbours, motion: Tensor, frags: Fragments, pos: Tensor, tri: Tensor, vertical: bool) -> Tensor:
    """The motion [M] of each pair's border, in pixels towards its second pixel. Zero in value."""
    axis = int(vertical)
    a, b = motion[pairs.first], motion[pairs.second]
    both = pairs.first_ends & pairs.second_ends
    along = torch.where(pairs.first_ends, a[:, axis], torch.where(pairs.second_ends, b[:, axis], 0.0))
    if not both.any():
        return along
    slope_a, slope_b = (_depth_slope(frags, pos, tri, pixel) for pixel in (pairs.first, pairs.second))
    closing = slope_a[:, axis] - slope_b[:, axis]
    closing = closing.clamp(min=(slope_a.abs().sum(1) + slope_b.abs().sum(1)) / FASTEST)
    rise_a, rise_b = (m[:, 2] - (s * m[:, :2]).sum(1) for m, s in ((a, slope_a), (b, slope_b)))
    valid = both & (closing > 0) & closing.isfinite()
    crossing = (rise_b - rise_a) / torch.where(valid, closing, 1.0)
    return torch.where(both, torch.where(valid, crossing, 0.0), along)


def _depth_slope(frags: Fragments, pos: Tensor, tri: Tensor, pixel: Tensor) -> Tensor:
    """dZ/dX and dZ/dY [M, 2], depth per pixel to the right and down, of the planes visible at pixels [M]."""
    images, height, width = frags.tri.shape
    triangle = frags.tri.flatten().long()[pixel].clamp(min=0)
    corners = image_positions(pos, images).detach().double()
    lines, det, z = edge_lines(corners, tri, pixel // (height * width), triangle)
    by_ndc = (z[..., None] * lines[..., :2]).sum(1) / det[:, None]
    slope = by_ndc * by_ndc.new_tensor([2 / width, -2 / height])
    return slope.nan_to_num(0.0, 0.0, 0.0).to(pos.dtype)
