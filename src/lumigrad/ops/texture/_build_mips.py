"""Mip levels of a texture.

Defined by :func:`lumigrad.reference.build_mips`; the kernel is ``native/texture/mips_cpu.cpp``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float


def build_mips(
    tex: Float[Tensor, "textures rows columns channels"] | Float[Tensor, "textures 6 side side channels"],
    max_level: int | None = None,
    cube: bool = False,
) -> list[Float[Tensor, "textures ... channels"]]:
    """Build the mip levels of a texture.

    A level has half the sides of the one before, rounded down, but at least 1; each texel is the exact-area
    average of what it covers (two texels along an even side, parts of three along an odd one), so every size
    works and the mean of the texture is kept.

    Args:
        tex: textures [N, H, W, C], or cube maps [N, 6, S, S, C] with ``cube=True``.
        max_level: the coarsest level to build; by default the first with a single texel (per face).
        cube: whether `tex` holds cube maps.

    Returns:
        Levels 1, 2, ... as a list, the base excluded; what the argument `mips` of the texture ops takes. They
        carry gradients to `tex`.

    Raises:
        TypeError, ValueError: for a wrong type, shape or level.

    >>> import torch
    >>> import lumigrad as lg
    >>> tex = torch.arange(8.0).reshape(1, 2, 4, 1)
    >>> mips = lg.build_mips(tex)
    >>> [tuple(level.shape) for level in mips]
    [(1, 1, 2, 1), (1, 1, 1, 1)]
    >>> mips[0].flatten().tolist(), mips[1].item()
    ([2.5, 4.5], 3.5)
    """
    tex = check_texture(tex, cube)
    levels = level_count(tex, max_level)
    if needs_reference("build_mips", tex):
        return reference.build_mips(tex, max_level, cube)
    if levels == 0:
        return []
    return split_levels(_op(tex.contiguous(), levels), tex.shape, levels)


def check_texture(tex: Any, cube: bool) -> Tensor:
    """`tex` if it can be a texture, or a cube map."""
    tex = check.floating("tex", tex)
    check.shape("tex", tex, ("N", 6, "S", "S", "C") if cube else ("N", "H", "W", "C"))
    height, width = tex.shape[-3:-1]
    if cube and height != width:
        raise ValueError(f"tex: expected square faces [N, 6, S, S, C], got {tuple(tex.shape)}")
    if height < 1 or width < 1:
        raise ValueError(f"tex: expected at least one texel, got {tuple(tex.shape)}")
    if height * width * (6 if cube else 1) > 2**31 - 1 or max(height, width) > 2**30:
        raise ValueError(f"tex: expected at most 2**31 - 1 texels per image, got {tuple(tex.shape)}")
    return tex


def level_count(tex: Tensor, max_level: int | None) -> int:
    """The number of levels to build besides the base."""
    full = max(tex.shape[-3:-1]).bit_length() - 1
    if max_level is None:
        return full
    if isinstance(max_level, bool) or not isinstance(max_level, int):
        raise TypeError(f"max_level: expected an integer or None, got {max_level!r}")
    if max_level < 0:
        raise ValueError(f"max_level: expected at least 0, got {max_level}")
    return min(full, max_level)


def level_shapes(shape: Sequence[int], levels: int) -> list[tuple[int, ...]]:
    """Shapes of levels 1 to `levels` of a texture of shape [..., H, W, C]."""
    *images, height, width, channels = shape
    return [(*images, max(height >> n, 1), max(width >> n, 1), channels) for n in range(1, levels + 1)]


def split_levels(packed: Tensor, shape: Sequence[int], levels: int) -> list[Tensor]:
    """The levels stored consecutively in `packed`, as views."""
    shapes = [torch.Size(level) for level in level_shapes(shape, levels)]
    parts = packed.split([level.numel() for level in shapes])
    return [part.view(level) for part, level in zip(parts, shapes)]


def packed_size(shape: Sequence[int], levels: int) -> int:
    """The number of values in levels 1 to `levels`."""
    *images, height, width, channels = shape
    texels = 0
    for _ in range(levels):
        height, width = max(height >> 1, 1), max(width >> 1, 1)
        texels += height * width
    return math.prod(images) * texels * channels


def _sizes(tex: Tensor, levels: int) -> tuple[int, ...]:
    *images, height, width, channels = tex.shape
    return math.prod(images), height, width, channels, packed_size(tex.shape, levels)


_op = declare(
    "build_mips(Tensor tex, int levels)",
    sizes=("images height width channels packed", _sizes),
    outputs={"mips": "packed"},
)
