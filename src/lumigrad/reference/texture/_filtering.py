"""Shared by 2D textures and cube maps: the size of a pixel's footprint, mip levels, mixing of texels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

FILTERS = ("nearest", "linear", "linear-mipmap-nearest", "linear-mipmap-linear")
# Footprints are clamped to lengths from 2^-30 to 2^30 texels; beyond, they have no gradient.
SQUARED_LOW, SQUARED_HIGH = 2.0**-60, 2.0**60
# Ratios of axes within this of a whole number of taps do not take another one.
TAP_TOLERANCE = 1 / 1024


def choose_filter(filter: str, derivatives: Tensor | None, mip_bias: Tensor | None) -> str:
    """The filter meant by "auto"; ValueError for one that does not exist or cannot choose a level."""
    has_level = derivatives is not None or mip_bias is not None
    if filter == "auto":
        return "linear-mipmap-linear" if has_level else "linear"
    if filter not in FILTERS:
        raise ValueError(f"filter: expected auto, {', '.join(FILTERS)}, got {filter!r}")
    if "mipmap" in filter and not has_level:
        raise ValueError(f"filter: {filter} needs derivatives or mip_bias, got neither")
    return filter


def all_finite(*values: Tensor | None) -> Tensor:
    """Where every component of every tensor [N, h, w, ...] is finite: [N, h, w]."""
    present = [v.isfinite().flatten(3).all(-1) if v.ndim > 3 else v.isfinite() for v in values if v is not None]
    return torch.stack(present).all(0)


def keep(valid: Tensor, value: Tensor | None) -> Tensor | None:
    """`value` with zeros where invalid, so that neither it nor its gradient spreads NaN."""
    if value is None:
        return None
    return torch.where(valid.view(*valid.shape, *[1] * (value.ndim - valid.ndim)), value, 0)


def safe_sqrt(x: Tensor) -> Tensor:
    """Square root whose gradient at zero is zero."""
    return torch.where(x > 0, torch.where(x > 0, x, 1).sqrt(), 0)


def footprint_extent(j: Tensor) -> Tensor:
    """The squared length [..] of the major axis of the footprint j [.., 2, 2] = d(s, t) / d(X, Y) in texels.

    The larger eigenvalue of J'J: with A, B the squared lengths of its columns and C their product,
    (A+B)/2 + sqrt(((A-B)/2)^2 + C^2).
    """
    a, b = j.square().sum(-2).unbind(-1)
    c = (j[..., 0] * j[..., 1]).sum(-1)
    squared = (a + b) / 2 + safe_sqrt(((a - b) / 2).square() + c.square())
    squared = torch.where(squared > SQUARED_LOW, squared, SQUARED_LOW)
    return torch.where(squared < SQUARED_HIGH, squared, SQUARED_HIGH)


def major_axis(j: Tensor, squared: Tensor, anisotropy: int) -> tuple[Tensor, Tensor]:
    """The major axis [.., 2] of the footprint, in texels, and the number of taps along it.

    The axis is sigma1 e, with e the eigenvector of J J' to its larger eigenvalue sigma1^2. The number of taps
    is the ratio sigma1 / sigma2 = sigma1^2 / |det J| rounded up, between 1 and `anisotropy`.
    """
    a, b = j.square().sum(-1).unbind(-1)
    c = (j[..., 0, :] * j[..., 1, :]).sum(-1)
    h = (a - b) / 2
    radius = safe_sqrt(h.square() + c.square())
    along = torch.where((h >= 0)[..., None], torch.stack((h + radius, c), -1), torch.stack((c, radius - h), -1))
    norm = safe_sqrt(along.square().sum(-1))
    unbounded = (squared == SQUARED_LOW) | (squared == SQUARED_HIGH)
    is_round = (norm == 0) | unbounded
    direction = along / torch.where(is_round, 1, norm)[..., None]
    axis = torch.where(is_round[..., None], 0, direction * safe_sqrt(squared)[..., None])
    with torch.no_grad():
        ratio = squared / torch.linalg.det(j).abs()  # infinite for a flat footprint
        taps = (ratio - TAP_TOLERANCE).ceil().clamp(1, anisotropy)
        taps = torch.where(is_round, 1, taps)
    return axis, taps


def spread(taps: Tensor, axis: Tensor, look_up: Callable[[Tensor], Tensor]) -> Tensor:
    """The mean [M, C] of taps [M] lookups spread evenly along the axes [M, 2]; look_up(offset [M, 2]) makes one."""
    out: Tensor | float = 0.0
    for tap in range(int(taps.max()) if len(taps) else 1):
        share = torch.where(tap < taps, 1 / taps, 0)
        out = out + share[:, None] * look_up(((tap + 0.5) / taps - 0.5)[:, None] * axis)
    return cast(Tensor, out)


def choose_level(squared: Tensor | None, taps: Tensor, mip_bias: Tensor | None, levels: int) -> Tensor:
    """The mip level of every lookup, clamped to [0, levels - 1]; without gradient where it is clamped."""
    level = torch.zeros_like(taps) if squared is None else torch.log2(squared / taps.square()) / 2
    if mip_bias is not None:
        level = level + mip_bias
    level = torch.where(level > 0, level, 0)
    return torch.where(level < levels - 1, level, levels - 1)


def mix_levels(
    levels: Sequence[Tensor], level: Tensor, filter: str, sample: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Lookups at the levels that `filter` needs; sample(texels, where) makes some lookups at one level.

    level [M]; where [P], the indices of lookups; the result is [M, C].
    """
    finer = level.detach().floor()
    between = filter == "linear-mipmap-linear"
    fraction = level - finer if between else torch.zeros_like(level)
    mixes = (level > 0) & (level < len(levels) - 1) & between
    out = levels[0].new_zeros((len(level), levels[0].shape[-1]))
    for number, texels in enumerate(levels):
        for uses, weight in ((finer == number, 1 - fraction), (mixes & (finer + 1 == number), fraction)):
            where = uses.nonzero().squeeze(1)
            if len(where):
                out = out.index_add(0, where, weight[where, None] * sample(texels, where))
    return out


def level_list(
    tex: Tensor, mips: Sequence[Tensor] | None, filter: str, max_level: int | None, build: Callable[..., list[Tensor]]
) -> list[Tensor]:
    """The levels that lookups may use, the base first."""
    if "mipmap" not in filter:
        return [tex]
    chosen = build(tex, max_level) if mips is None else list(mips)
    return [tex, *(chosen if max_level is None else chosen[:max_level])]
