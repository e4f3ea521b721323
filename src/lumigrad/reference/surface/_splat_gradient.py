"""Rasterize-then-splat, defined in plain PyTorch (Cole et al. 2021).

Rasterization samples the surfaces without gradients; the samples are then drawn again as small smooth discs at the
surface points, whose positions have gradients. The image is therefore slightly blurred, which makes it differentiable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lumigrad.reference.surface._surface import check_image, screen_motion, surface_points
from lumigrad.types.fragments import Fragments

FAR = 2.0  # the depth of the background, behind every surface
EXCESS = 1.05  # the sum of the nine weights of a covered neighbourhood
VARIANCE = 0.25  # pixels squared
OFFSETS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
TOTAL = sum(math.exp(-(dx * dx + dy * dy) / (2 * VARIANCE)) for dy, dx in OFFSETS)

Layer = tuple[Tensor, Fragments]


def splat_gradient(
    color: Tensor,
    frags: Fragments,
    pos: Tensor,
    tri: Tensor,
    behind: Sequence[Layer] = (),
    background: Tensor | None = None,
) -> Tensor:
    """The image of surface samples splatted onto the 3 x 3 pixels around each.

    The sample of pixel p gets at pixel q the weight

        w = 1.05 exp(-2 |q - p - m|^2) / sum_u exp(-2 |u|^2)

    with m the motion of the surface point seen at p in pixels, zero in value, and u going over the nine
    offsets. Of the layers at p, the one whose depth is closest to that of the first layer at q (the nearest
    of equals) goes to the surface of q, those before it to its foreground, those behind it to its background;
    nothing is where a layer's triangle is -1, which counts as depth 2. In each of the three, with W the sum
    of weights, colour is sum w c / max(W, 1) and opacity W / max(W, 1); they are blended over one another, and
    over what lies behind everything. Beyond the image its border pixels are repeated.

    `color` must be made from fragments that carry no gradient to the positions, or what moves inside a
    surface counts twice.

    Args:
        color: [N, H, W, C], float32 or float64.
        frags: what `rasterize` gave for these positions.
        pos, tri: as given to `rasterize`.
        behind: further layers (color, frags) from depth peeling, front to back.
        background: colours behind everything, broadcast to [N, H, W, C]. By default those that `color` has
            where nothing is seen, spread with the same weights; zero where there are none around.

    Returns:
        [N, H, W, C]. Gradients reach the colours through the weights, and x, y and w of `pos` through m.

    Raises:
        TypeError, ValueError: an argument has the wrong type, dtype, shape or range.
    """
    layers = [(color, frags), *behind]
    for layer_color, layer_frags in layers:
        check_image(layer_color, layer_frags, pos, tri)
    points = [surface_points(layer_frags, pos, tri) for _, layer_frags in layers]
    return splat_points(layers, points, background)


def splat_points(layers: Sequence[Layer], points: Sequence[Tensor], background: Tensor | None) -> Tensor:
    """The image of layers of samples at surface points, clip positions [N, H, W, 4] each."""
    color, frags = layers[0]
    motions = [screen_motion(clip)[..., :2] for clip in points]
    depths = [torch.where(f.tri >= 0, f.depth.detach(), FAR) for _, f in layers]
    padded = [
        _Samples(_pad(c), _pad((f.tri >= 0)[..., None].to(c.dtype)), _pad(m), _pad(d[..., None]))
        for (c, f), m, d in zip(layers, motions, depths)
    ]
    sums = [torch.zeros_like(torch.cat((color, color[..., :1]), -1)) for _ in range(4)]
    for offset in OFFSETS:
        near = [sample.shifted(offset, frags.tri.shape) for sample in padded]
        closest = torch.stack([(s.depth - depths[0][..., None]).abs() for s in near]).argmin(0)
        for k, sample in enumerate(near):
            weight = sample.seen * sample.weight(offset)
            part = torch.cat((sample.color, torch.ones_like(weight)), -1) * weight
            for bucket, here in enumerate((closest > k, closest == k, closest < k)):
                sums[bucket] = sums[bucket] + torch.where(here, part, 0)
        nothing = (1 - near[0].seen) * near[0].weight(offset).detach()
        sums[3] = sums[3] + torch.cat((near[0].color, torch.ones_like(nothing)), -1) * nothing
    out = _spread_background(sums[3]) if background is None else background.to(color).expand_as(color)
    for bucket in (2, 1, 0):
        covered = sums[bucket] / sums[bucket][..., -1:].clamp(min=1)
        out = covered[..., :-1] + (1 - covered[..., -1:]) * out
    return out


class _Samples:
    """One layer's samples with a border of one pixel, [N, H+2, W+2, ..]."""

    def __init__(self, color: Tensor, seen: Tensor, motion: Tensor, depth: Tensor) -> None:
        self.color, self.seen, self.motion, self.depth = color, seen, motion, depth

    def shifted(self, offset: tuple[int, int], shape: Sequence[int]) -> _Samples:
        """The samples at q - offset, for an offset (down, right)."""
        (dy, dx), (_, height, width) = offset, shape
        parts = (self.color, self.seen, self.motion, self.depth)
        return _Samples(*(v[:, 1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width] for v in parts))

    def weight(self, offset: tuple[int, int]) -> Tensor:
        """[N, H, W, 1]: the weights of these samples at the pixels q."""
        away = self.motion.new_tensor([offset[1], offset[0]]) - self.motion
        return (EXCESS / TOTAL) * torch.exp(-(away**2).sum(-1, keepdim=True) / (2 * VARIANCE))


def _spread_background(total: Tensor) -> Tensor:
    weight = total[..., -1:]
    return torch.where(weight > 0, total[..., :-1] / torch.where(weight > 0, weight, 1.0), 0.0)


def _pad(image: Tensor) -> Tensor:
    """Repeat the border pixels once."""
    if not image.shape[-1]:  # which torch does not pad
        return image.new_zeros((image.shape[0], image.shape[1] + 2, image.shape[2] + 2, 0))
    return F.pad(image.movedim(-1, 1), (1, 1, 1, 1), mode="replicate").movedim(1, -1)
