"""Texture lookups and mip levels."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.ops import texture as lookups
from lumigrad.ops.texture._build_mips import check_texture
from lumigrad.types import validation as check

FILTERS = ("auto", "nearest", "linear", "linear-mipmap-nearest", "linear-mipmap-linear")
WRAPS = {"wrap": "repeat", "clamp": "clamp", "zero": "zero"}  # nvdiffrast's name, lumigrad's name


class _Mips(NamedTuple):
    """What `texture_construct_mip` returns; without a gradient, which `texture` gives to its own `tex`."""

    levels: list[Tensor]
    cube: bool


class _LevelsOf(torch.autograd.Function):
    """The levels of a texture as they are, whose gradients go to the texture."""

    @staticmethod
    def forward(ctx: Any, tex: Tensor, cube: bool, *levels: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(tex)
        ctx.cube = cube
        return tuple(level.view_as(level) for level in levels)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        # Levels are linear in the texture: the gradient is that of levels of any texture of its size.
        (tex,) = ctx.saved_tensors
        with torch.enable_grad():
            leaf = torch.zeros_like(tex).requires_grad_()
            levels = lookups.build_mips(leaf, len(grads), ctx.cube)
        (grad,) = torch.autograd.grad(levels, leaf, grads)
        return (grad, None, *([None] * len(grads)))


def texture(
    tex: Tensor,
    uv: Tensor,
    uv_da: Tensor | None = None,
    mip_level_bias: Tensor | None = None,
    mip: Any = None,
    filter_mode: str = "auto",
    boundary_mode: str = "wrap",
    max_mip_level: Any = None,
) -> Tensor:
    """Look up a texture. Coordinate (0, 0) is the outer corner of texel [0, 0]; v grows with the row.

    Args:
        tex: [N, H, W, C] or [1, H, W, C]; with boundary mode "cube" [N or 1, 6, S, S, C], faces as OpenGL's.
        uv: texture coordinates [N, h, w, 2]; for cube maps directions [N, h, w, 3].
        uv_da: their derivatives du/dX, du/dY, dv/dX, dv/dY, [N, h, w, 4]; for cube maps [N, h, w, 6].
        mip_level_bias: added to the mip level, [N, h, w]; without `uv_da` it is the mip level.
        mip: from `texture_construct_mip`, or a list of levels, the base not among them. By default the levels
            are built from `tex`. The gradient of what `texture_construct_mip` gave goes to `tex`, however it was made.
        filter_mode: "nearest", "linear", "linear-mipmap-nearest" (the level below, whole),
            "linear-mipmap-linear"; "auto" is the last one if `uv_da` or `mip_level_bias` is given, else
            "linear".
        boundary_mode: "wrap", "clamp", "zero" or "cube".
        max_mip_level: the coarsest level to build and use: a whole number of any kind.

    Returns:
        [N, h, w, C]. Coordinates that are not finite give 0.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or options, and for levels to be built below
            an odd side.
    """
    cube = boundary_mode == "cube"
    if not cube and boundary_mode not in WRAPS:
        raise ValueError(f"boundary_mode: expected {', '.join(WRAPS)} or cube, got {boundary_mode!r}")
    if filter_mode not in FILTERS:
        raise ValueError(f"filter_mode: expected one of {', '.join(FILTERS)}, got {filter_mode!r}")
    tex = check_texture(tex, cube)
    uv, uv_d, mip_level_bias = _check_lookup(tex, uv, uv_da, mip_level_bias, 3 if cube else 2)
    has_level = uv_d is not None or mip_level_bias is not None
    if filter_mode == "auto":
        filter_mode = "linear-mipmap-linear" if has_level else "linear"
    mips = None
    if "mipmap" in filter_mode:
        if not has_level:
            raise ValueError(f"filter_mode: {filter_mode} needs uv_da or mip_level_bias, got neither")
        max_mip_level = _check_max_level(max_mip_level)
        mips = _given_levels(mip, tex, cube)
        if mips is None:
            _check_halving(tex, max_mip_level)
    if cube:
        return lookups.texture_cube(tex, uv, uv_d, mip_level_bias, mips, filter_mode, max_mip_level)
    return lookups.texture(tex, uv, uv_d, mip_level_bias, mips, filter_mode, WRAPS[boundary_mode], max_mip_level)


def texture_construct_mip(tex: Tensor, max_mip_level: Any = None, cube_mode: bool = False) -> Any:
    """Build the mip levels of a texture once, for several calls of `texture`.

    Args:
        tex: [N, H, W, C], or [N, 6, S, S, C] with `cube_mode`. Each level halves both sides by averaging; a
            side of 1 stays 1.
        max_mip_level: the coarsest level; by default the one with a single texel.
        cube_mode: whether `tex` is a cube map.

    Returns:
        An opaque object for the argument `mip` of `texture`, which takes care of gradients: this function may run
        under `torch.no_grad`.

    Raises:
        TypeError, ValueError: for a wrong type or shape, and for an odd side above 1 that is to be halved.
    """
    tex = check_texture(tex, cube_mode)
    max_mip_level = _check_max_level(max_mip_level)
    _check_halving(tex, max_mip_level)
    return _Mips(lookups.build_mips(tex.detach(), max_mip_level, cube_mode), cube_mode)


def _check_lookup(
    tex: Tensor, uv: Any, uv_da: Any, bias: Any, components: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """uv, uv_da as [N, h, w, components, 2], and the bias."""
    uv = check.floating("uv", uv, tex, "tex")
    check.shape("uv", uv, ("N", "h", "w", components))
    if uv_da is not None:
        uv_da = check.floating("uv_da", uv_da, tex, "tex")
        check.shape("uv_da", uv_da, (*uv.shape[:-1], 2 * components))
        uv_da = uv_da.unflatten(-1, (components, 2))
    if bias is not None:
        bias = check.floating("mip_level_bias", bias, tex, "tex")
        check.shape("mip_level_bias", bias, uv.shape[:-1])
    return uv, uv_da, bias


def _given_levels(mip: Any, tex: Tensor, cube: bool) -> list[Tensor] | None:
    if isinstance(mip, _Mips):
        if mip.cube != cube:
            raise ValueError(f"mip: made with cube_mode={mip.cube}, which boundary_mode contradicts")
        if not mip.levels or not tex.requires_grad:
            return mip.levels
        expected = [tuple(tex.shape[:-3]), tex.shape[-1]]
        if any([tuple(level.shape[:-3]), level.shape[-1]] != expected for level in mip.levels):
            raise ValueError(f"mip: expected levels of a texture {tuple(tex.shape)}, got {tuple(mip.levels[0].shape)}")
        return list(_LevelsOf.apply(tex, cube, *mip.levels))  # type: ignore[no-untyped-call]
    if mip is not None and not isinstance(mip, (list, tuple)):
        raise TypeError(f"mip: expected texture_construct_mip's result or a list, got {type(mip).__name__}")
    return None if mip is None else list(mip)


def _check_max_level(level: Any) -> int | None:
    """A whole number, be it of NumPy, a float or a tensor."""
    if level is None:
        return None
    try:
        whole = int(level)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        whole = -1
    if isinstance(level, bool) or whole < 0 or whole != level:
        raise ValueError(f"max_mip_level: expected an integer of at least 0, or None, got {level!r}")
    return whole


def _check_halving(tex: Tensor, max_level: int | None) -> None:
    """Raise ValueError if a level up to `max_level` would be half of an odd side."""
    height, width = tex.shape[-3:-1]
    level = 0
    while max(height, width) > 1 and level != max_level:
        if any(side > 1 and side % 2 for side in (height, width)):
            raise ValueError(
                f"tex: expected sides that can be halved down to 1, got {tuple(tex.shape)}, whose mip level "
                f"{level} has {height} x {width} texels; max_mip_level={level} would stop there"
            )
        height, width = max(height // 2, 1), max(width // 2, 1)
        level += 1
