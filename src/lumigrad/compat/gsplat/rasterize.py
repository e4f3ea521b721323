"""Compositing as gsplat 0.1 has it, for one camera."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.gsplat._visible import MIN_ALPHA, STOP
from lumigrad.ops import splat
from lumigrad.types import validation as check

MAX_ALPHA = 0.999  # as in all versions before 1.6


def rasterize_gaussians(
    xys: Tensor,
    depths: Tensor,
    radii: Tensor,
    conics: Tensor,
    num_tiles_hit: Tensor,
    colors: Tensor,
    opacity: Tensor,
    img_height: int,
    img_width: int,
    block_width: int | Tensor | None = None,
    background: Tensor | bool | None = None,
    return_alpha: bool = False,
) -> Any:
    """Composite projected Gaussians, in the order of their depths.

    Args:
        xys, depths, radii, conics, num_tiles_hit: from `project_gaussians`. What has a radius of 0 is not drawn.
        colors: [N, C], or uint8, which is divided by 255.
        opacity: [N, 1] or [N].
        img_height, img_width: of the image.
        block_width: not looked at. Calls of 0.1.0 to 0.1.7 have the background in its place.
        background: [C], 1 by default.
        return_alpha: return the opacity [H, W], too.

    Returns:
        The image [H, W, C]. Gradients reach xys, conics, colors, opacity, and background.

    Raises:
        TypeError, ValueError: wrong types or shapes.
    """
    if isinstance(block_width, Tensor) or isinstance(background, bool):  # the call without block_width
        block_width, background, return_alpha = None, block_width, bool(background) or return_alpha
    xys = check.floating("xys", xys)
    check.shape("xys", xys, ("N", 2))
    check.shape("colors", colors, (len(xys), "C"))
    if colors.dtype == torch.uint8:
        colors = colors.to(xys) / 255
    if background is None:
        background = colors.new_ones(colors.shape[1])
    assert isinstance(background, Tensor)
    check.shape("background", background, (colors.shape[1],))
    drawn = radii.reshape(-1) > 0
    out = splat.splat(
        xys[None], conics[None], torch.where(drawn, depths.reshape(-1), torch.nan)[None], colors,
        check.size((img_height, img_width)), opacity.reshape(-1), background.to(xys),
        max_alpha=MAX_ALPHA, min_alpha=MIN_ALPHA, stop=STOP,
    )  # fmt: skip
    return (out.image[0], out.alpha[0]) if return_alpha else out.image[0]


class RasterizeGaussians:
    """`rasterize_gaussians` as older programs call it."""

    apply = staticmethod(rasterize_gaussians)


NDRasterizeGaussians = RasterizeGaussians


_RasterizeGaussians = RasterizeGaussians
