"""Mip levels of a texture.

Defined by :mod:`lumigrad.reference.build_mips`; the kernel is ``native/texture/mips_cpu.cpp``.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch

from lumigrad import reference
from lumigrad._engine import validation as check
from lumigrad._engine.registration import needs_reference, register


def build_mips(tex: torch.Tensor, max_level: int | None = None, cube: bool = False) -> list[torch.Tensor]:
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
    """
    tex = check_texture(tex, cube)
    levels = level_count(tex, max_level)
    if needs_reference("build_mips", tex):
        return reference.build_mips(tex, max_level, cube)
    if levels == 0:
        return []
    return split_levels(_op(tex.contiguous(), levels), tex.shape, levels)


def check_texture(tex: Any, cube: bool) -> torch.Tensor:
    """`tex` if it can be a texture, or a cube map."""
    tex = check.floating("tex", tex)
    check.shape("tex", tex, ("N", 6, "S", "S", "C") if cube else ("N", "H", "W", "C"))
    height, width = tex.shape[-3:-1]
    if cube and height != width:
        raise ValueError(f"tex: expected square faces [N, 6, S, S, C], got {tuple(tex.shape)}")
    if height < 1 or width < 1:
        raise ValueError(f"tex: expected at least one texel, got {tuple(tex.shape)}")
    if height * width * (6 if cube else 1) > 2**31 - 1 or max(height, width) > 2**30:
        raise ValueError(f"tex: expected at most 2**31 - 1 texels an image, got {tuple(tex.shape)}")
    return tex


def level_count(tex: torch.Tensor, max_level: int | None) -> int:
    """How many levels besides the base to build."""
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


def split_levels(packed: torch.Tensor, shape: Sequence[int], levels: int) -> list[torch.Tensor]:
    """The levels that lie one after another in `packed`, as views."""
    shapes = [torch.Size(level) for level in level_shapes(shape, levels)]
    parts = packed.split([level.numel() for level in shapes])
    return [part.view(level) for part, level in zip(parts, shapes)]


def packed_size(shape: Sequence[int], levels: int) -> int:
    """The number of values in levels 1 to `levels`."""
    return sum(torch.Size(level).numel() for level in level_shapes(shape, levels))


@functools.lru_cache(maxsize=256)
def level_offsets(shape: torch.Size, levels: int) -> tuple[int, ...]:
    """Where levels 1 to `levels` begin among packed values, and where they end."""
    return (0, *itertools.accumulate(torch.Size(level).numel() for level in level_shapes(shape, levels)))


def level_addresses(packed: torch.Tensor, shape: torch.Size, levels: int) -> list[int]:
    """Where the levels of `packed` lie in memory. As quick as can be: a view for each level would cost more than small
    levels themselves."""
    first, size = packed.data_ptr(), packed.element_size()
    return [first + size * offset for offset in level_offsets(shape, levels)[:-1]]


def build_packed(core: Any, tex: torch.Tensor, levels: int) -> torch.Tensor:
    """Levels 1 to `levels` one after another."""
    packed = core.empty((level_offsets(tex.shape, levels)[-1],), tex.dtype)
    if levels:
        core.calls["build_mips"](*_sizes(core, tex, packed, levels))
    return packed


def fold_levels(core: Any, grad_tex: torch.Tensor, packed: torch.Tensor, levels: int, add: bool) -> None:
    """Add the packed gradients of all levels to that of the base, or replace it. Changes `packed`."""
    core.calls["fold_mips"](*_sizes(core, grad_tex, packed, levels), int(add))


def _sizes(core: Any, tex: torch.Tensor, packed: torch.Tensor, levels: int) -> tuple:
    *images, height, width, channels = tex.shape
    return (
        core.float_code(tex), core.addresses([tex.data_ptr(), *level_addresses(packed, tex.shape, levels)]), levels + 1,
        math.prod(images), height, width, channels,
    )  # fmt: skip


def _fake(tex: torch.Tensor, levels: int) -> torch.Tensor:
    return tex.new_empty((packed_size(tex.shape, levels),))


def _setup(ctx: Any, inputs: tuple, output: Any) -> None:
    ctx.shape, ctx.levels = inputs[0].shape, inputs[1]


def _grad(ctx: Any, grad: Any) -> tuple:
    return (None if grad is None else _backward_op(grad, ctx.shape, ctx.levels)), None


def _backward_kernel(core: Any, grad: torch.Tensor, shape: Sequence[int], levels: int) -> torch.Tensor:
    grad_tex = core.empty(shape, grad.dtype)
    work = core.empty(grad.shape, grad.dtype).copy_(grad)
    fold_levels(core, grad_tex, work, levels, add=False)
    return grad_tex


def _backward_fake(grad: torch.Tensor, shape: Sequence[int], levels: int) -> torch.Tensor:
    return grad.new_empty(shape)


_backward_op = register(
    "build_mips_backward(Tensor grad, SymInt[] shape, int levels) -> Tensor",
    kernel=_backward_kernel,
    fake=_backward_fake,
    any_core=True,
)
_op = register(
    "build_mips(Tensor tex, int levels) -> Tensor",
    kernel=build_packed,
    fake=_fake,
    setup=_setup,
    backward=_grad,
    any_core=True,
)
