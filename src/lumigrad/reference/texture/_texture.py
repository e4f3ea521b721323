"""Filtered lookups in 2D textures, defined in plain PyTorch (Laine et al. 2020, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from lumigrad.reference.texture._build_mips import build_mips

from . import _filtering as filtering

WRAPS = ("repeat", "clamp", "mirror", "zero")


def texture(
    tex: Tensor,
    uv: Tensor,
    uv_d: Tensor | None = None,
    mip_bias: Tensor | None = None,
    mips: Sequence[Tensor] | None = None,
    filter: str = "auto",
    wrap: str = "repeat",
    max_level: int | None = None,
    anisotropy: int = 1,
) -> Tensor:
    """Look up a 2D texture.

    Along a side of n texels, coordinate u is at texel u n - 1/2 for linear filtering; texel i is mixed with
    i + 1. "nearest" takes texel floor(u n). The mip level is log2 of the longer axis of a pixel's footprint in
    texels of the base, plus the bias, clamped to the levels there are.

    Anisotropy: with singular values sigma1 >= sigma2 of the footprint d(s, t)/d(X, Y) in texels,
    n = min(ceil(sigma1/sigma2 - 1/1024), anisotropy) lookups are spread evenly along the longer axis, at
    (i + 1/2)/n - 1/2 of its length, each at level log2(sigma1/n), and averaged. The level and the places have
    gradients; n has none.

    Args:
        tex: textures [N, H, W, C] or [1, H, W, C], float32 or float64.
        uv: coordinates [N, h, w, 2]; (0, 0) is the outer corner of texel [0, 0]. Not finite: the result is 0.
        uv_d: derivatives [N, h, w, 2, 2] of (u, v) by (X, Y), the pixel's column and row.
        mip_bias: added to the mip level [N, h, w]; the level itself without `uv_d`.
        mips: levels 1, 2, ...; built when needed and not given.
        filter: "nearest", "linear", "linear-mipmap-nearest", "linear-mipmap-linear", or "auto": the last if
            `uv_d` or `mip_bias` is given, else "linear".
        wrap: "repeat", "clamp", "mirror" or "zero".
        max_level: the coarsest level to use.
        anisotropy: the greatest number of lookups along the longer axis.

    Returns:
        [N, h, w, C].

    Raises:
        ValueError: an unknown filter or wrap, or no way to choose a level.
    """
    filter = filtering.choose_filter(filter, uv_d, mip_bias)
    if wrap not in WRAPS:
        raise ValueError(f"wrap: expected one of {', '.join(WRAPS)}, got {wrap!r}")
    if "mipmap" not in filter:
        uv_d = mip_bias = None
    levels = filtering.level_list(tex, mips, filter, max_level, build_mips)
    valid = filtering.all_finite(uv, uv_d, mip_bias)
    at = cast(Tensor, filtering.keep(valid, uv)).flatten(0, 2)
    bias = filtering.keep(valid, mip_bias)
    size = uv.new_tensor((tex.shape[2], tex.shape[1]))

    taps = torch.ones_like(at[:, 0])
    squared, axis = None, torch.zeros_like(at)
    if uv_d is not None:
        footprint = cast(Tensor, filtering.keep(valid, uv_d)).flatten(0, 2) * size[:, None]
        squared = filtering.footprint_extent(footprint)
        if anisotropy > 1:
            axis, taps = filtering.major_axis(footprint, squared, anisotropy)
    level = filtering.choose_level(squared, taps, None if bias is None else bias.flatten(), len(levels))
    image = torch.arange(len(uv), device=uv.device).repeat_interleave(uv[0].numel() // 2 if len(uv) else 0)

    def look_up(offset: Tensor) -> Tensor:
        place = at + offset

        def sample(texels: Tensor, where: Tensor) -> Tensor:
            views = image[where] if len(tex) > 1 else torch.zeros_like(where)
            return _sample(texels, views, place[where], filter, wrap)

        return filtering.mix_levels(levels, level, filter, sample)

    out = filtering.spread(taps, axis / size, look_up)
    return cast(Tensor, filtering.keep(valid, out.view(*uv.shape[:-1], tex.shape[-1])))


def _sample(texels: Tensor, image: Tensor, uv: Tensor, filter: str, wrap: str) -> Tensor:
    """Lookups [P, C] at one level."""
    height, width = texels.shape[1:3]
    u, v = (_fold(c, wrap) for c in uv.unbind(-1))
    if filter == "nearest":
        x, y = (_nearest(c, n, wrap) for c, n in ((u, width), (v, height)))
        return _texel(texels, image, x, y, wrap)
    s, t = u * width - 0.5, v * height - 0.5
    x, y = s.detach().floor(), t.detach().floor()
    fx, fy = (s - x)[:, None], (t - y)[:, None]
    x, y = x.long(), y.long()
    upper = (1 - fx) * _texel(texels, image, x, y, wrap) + fx * _texel(texels, image, x + 1, y, wrap)
    lower = (1 - fx) * _texel(texels, image, x, y + 1, wrap) + fx * _texel(texels, image, x + 1, y + 1, wrap)
    return (1 - fy) * upper + fy * lower


def _fold(u: Tensor, wrap: str) -> Tensor:
    """The coordinate within [0, 1], or for "zero" within [-1, 2]."""
    if wrap == "repeat":
        return u - u.detach().floor()
    if wrap == "mirror":
        period = u - 2 * (u.detach() / 2).floor()
        return torch.where(period > 1, 2 - period, period)
    return u.clamp(-1, 2) if wrap == "zero" else u.clamp(0, 1)


def _nearest(u: Tensor, size: int, wrap: str) -> Tensor:
    index = (u * size).floor().long()
    # Folding may round up to the far end, which still belongs to the last texel.
    return index if wrap == "zero" else index.clamp(0, size - 1)


def _texel(texels: Tensor, image: Tensor, x: Tensor, y: Tensor, wrap: str) -> Tensor:
    height, width = texels.shape[1:3]
    if wrap == "repeat":
        return texels[image, y % height, x % width]
    inside = texels[image, y.clamp(0, height - 1), x.clamp(0, width - 1)]
    if wrap != "zero":
        return inside
    exists = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return torch.where(exists[:, None], inside, 0)
