"""Filtered lookups in 2D textures, and what they share with cube maps.

Defined by :mod:`lumigrad.reference.texture`; the kernel is ``native/texture``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lumigrad import reference
from lumigrad._engine import validation as check
from lumigrad._engine.registration import needs_reference, register
from lumigrad.ops.texture._build_mips import (
    build_packed,
    check_texture,
    fold_levels,
    level_addresses,
    level_count,
    level_offsets,
    level_shapes,
    packed_size,
    split_levels,
)

# The core's codes.
FILTERS = {"nearest": 0, "linear": 1, "linear-mipmap-nearest": 2, "linear-mipmap-linear": 3}
WRAPS = {"repeat": 0, "clamp": 1, "mirror": 2, "zero": 3}
CUBE = 4
MAX_ANISOTROPY = 16


def texture(
    tex: torch.Tensor,
    uv: torch.Tensor,
    uv_d: torch.Tensor | None = None,
    mip_bias: torch.Tensor | None = None,
    mips: Sequence[torch.Tensor] | None = None,
    filter: str = "auto",
    wrap: str = "repeat",
    max_level: int | None = None,
    anisotropy: int = 1,
) -> torch.Tensor:
    """Look up a 2D texture.

    Texture coordinate (0, 0) is the outer corner of texel [0, 0]; v grows with the row. Coordinates that are
    not finite give 0.

    Args:
        tex: textures [N, H, W, C], or [1, H, W, C] for all images. Any sizes, any number of channels.
        uv: texture coordinates [N, h, w, 2].
        uv_d: their screen derivatives [N, h, w, 2, 2], ``uv_d[..., i, j]``: of u (i = 0) and v by X, one pixel
            to the right (j = 0), and Y, one pixel down; as :func:`~lumigrad.ops.interpolate.interpolate`
            gives them. They select the mip level.
        mip_bias: added to the mip level [N, h, w]; without `uv_d` it is the mip level.
        mips: levels 1, 2, ... as made by :func:`~lumigrad.ops.build_mips.build_mips`; built from `tex` when
            they are needed and not given.
        filter: "nearest", "linear", "linear-mipmap-nearest" (the level below, whole) or
            "linear-mipmap-linear" (between two levels). "auto" is the last one if `uv_d` or `mip_bias` is
            given, else "linear".
        wrap: outside of [0, 1] the texture is repeated ("repeat"), continued by its border ("clamp"),
            mirrored ("mirror") or zero ("zero").
        max_level: the coarsest level to use.
        anisotropy: up to how many lookups, 1 to 16, are spread along the longer axis of a pixel's footprint.

    Returns:
        Filtered texels [N, h, w, C]. Gradients reach `tex`, `uv`, `uv_d`, `mip_bias` and `mips`; "nearest"
        gives none to `uv`, and only "linear-mipmap-linear" gives any to `uv_d` and `mip_bias`, save for the
        spread of lookups by `anisotropy`. Where a level is clamped, its gradient is zero.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or options.

    Source: Laine et al. 2020, section 3.4; level from the longer axis of the footprint, not its bounds.
    """
    tex = check_texture(tex, cube=False)
    uv, uv_d, mip_bias = check_lookup(tex, "uv", uv, "uv_d", uv_d, mip_bias)
    code = check_filter(filter, "uv_d", uv_d, mip_bias)
    if wrap not in WRAPS:
        raise ValueError(f"wrap: expected one of {', '.join(WRAPS)}, got {wrap!r}")
    check_anisotropy(anisotropy, "uv_d", uv_d, code)
    levels = check_levels(tex, mips, max_level)
    if needs_reference("texture", tex):
        return reference.texture(tex, uv, uv_d, mip_bias, mips, filter, wrap, max_level, anisotropy)
    return look_up(tex, uv, uv_d, mip_bias, levels, code, WRAPS[wrap], anisotropy)


def look_up(
    tex: torch.Tensor,
    coord: torch.Tensor,
    coord_d: torch.Tensor | None,
    mip_bias: torch.Tensor | None,
    levels: int | list[torch.Tensor],
    filter_code: int,
    wrap_code: int,
    anisotropy: int,
) -> torch.Tensor:
    """The op behind `texture` and `texture_cube`. levels: the mips, or how many to build."""
    if not has_mips(filter_code):
        levels, coord_d, mip_bias = 0, None, None
    built, mips = (levels, []) if isinstance(levels, int) else (0, [mip.contiguous() for mip in levels])
    coord_d = None if coord_d is None else coord_d.contiguous()
    mip_bias = None if mip_bias is None else mip_bias.contiguous()
    out, _ = _op(
        tex.contiguous(), coord.contiguous(), coord_d, mip_bias, mips, built, filter_code, wrap_code, anisotropy
    )
    return out


# ---- Checks ---------------------------------------------------------------------------------------------


def has_mips(filter_code: int) -> bool:
    """Whether a filter uses mip levels."""
    return filter_code >= FILTERS["linear-mipmap-nearest"]


def check_lookup(
    tex: torch.Tensor, name: str, coord: Any, name_d: str, coord_d: Any, mip_bias: Any
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Coordinates, derivatives and bias that fit one another and the texture."""
    components = 3 if tex.dim() == 5 else 2
    coord = check.floating(name, coord, tex, "tex")
    check.shape(name, coord, ("N", "h", "w", components))
    if tex.shape[0] not in (1, coord.shape[0]):
        raise ValueError(f"tex: expected 1 or {coord.shape[0]} textures like {name}, got shape {tuple(tex.shape)}")
    if coord_d is not None:
        coord_d = check.floating(name_d, coord_d, tex, "tex")
        check.shape(name_d, coord_d, (*coord.shape, 2))
    if mip_bias is not None:
        mip_bias = check.floating("mip_bias", mip_bias, tex, "tex")
        check.shape("mip_bias", mip_bias, coord.shape[:-1])
    return coord, coord_d, mip_bias


def check_filter(filter: str, name_d: str, coord_d: torch.Tensor | None, mip_bias: torch.Tensor | None) -> int:
    """The core's code of a filter."""
    has_level = coord_d is not None or mip_bias is not None
    if filter == "auto":
        filter = "linear-mipmap-linear" if has_level else "linear"
    if filter not in FILTERS:
        raise ValueError(f"filter: expected auto, {', '.join(FILTERS)}, got {filter!r}")
    code = FILTERS[filter]
    if has_mips(code) and not has_level:
        raise ValueError(f"filter: {filter} needs {name_d} or mip_bias to choose mip levels, got neither")
    return code


def check_anisotropy(anisotropy: int, name_d: str, coord_d: torch.Tensor | None, filter_code: int) -> None:
    """Raises if a lookup cannot have this anisotropy."""
    if isinstance(anisotropy, bool) or not isinstance(anisotropy, int):
        raise TypeError(f"anisotropy: expected an integer, got {anisotropy!r}")
    if not 1 <= anisotropy <= MAX_ANISOTROPY:
        raise ValueError(f"anisotropy: expected 1 to {MAX_ANISOTROPY}, got {anisotropy}")
    if anisotropy > 1 and (coord_d is None or not has_mips(filter_code)):
        raise ValueError(f"anisotropy: {anisotropy} lookups need {name_d} and a filter with mip levels")


def check_levels(
    tex: torch.Tensor, mips: Sequence[torch.Tensor] | None, max_level: int | None
) -> int | list[torch.Tensor]:
    """The given mips that may be used, or how many levels to build where none are given."""
    levels = level_count(tex, max_level)
    if mips is None:
        return levels
    if isinstance(mips, torch.Tensor) or not isinstance(mips, Sequence):
        raise TypeError(f"mips: expected a list of tensors, got {type(mips).__name__}")
    full = level_count(tex, None)
    if len(mips) > full:
        raise ValueError(f"mips: expected at most {full} levels below tex {tuple(tex.shape)}, got {len(mips)}")
    checked = []
    for i, (mip, shape) in enumerate(zip(mips, level_shapes(tex.shape, len(mips)))):
        checked.append(check.floating(f"mips[{i}]", mip, tex, "tex"))
        check.shape(f"mips[{i}]", checked[-1], shape)
    return checked[:levels]


# ---- The op ---------------------------------------------------------------------------------------------


def _arguments(
    core: Any,
    tex: torch.Tensor,
    levels: list[int],
    coord: torch.Tensor,
    coord_d: torch.Tensor | None,
    bias: torch.Tensor | None,
    filter_code: int,
    wrap_code: int,
    anisotropy: int,
) -> tuple:
    """What the core's forward and backward are both given. levels: their addresses."""
    views, height, width, _ = coord.shape
    point = core.pointer
    return (
        core.float_code(tex), core.addresses(levels), len(levels), tex.shape[0],
        *tex.shape[-3:], point(coord), point(coord_d), point(bias), views, height, width, filter_code, wrap_code,
        anisotropy,
    )  # fmt: skip


def _all_levels(tex: torch.Tensor, mips: Sequence[torch.Tensor], built: int, pyramid: torch.Tensor) -> list[int]:
    """The addresses of the base and the levels below it, given or built."""
    below = level_addresses(pyramid, tex.shape, built) if built else [mip.data_ptr() for mip in mips]
    return [tex.data_ptr(), *below]


def _kernel(
    core: Any,
    tex: torch.Tensor,
    coord: torch.Tensor,
    coord_d: torch.Tensor | None,
    bias: torch.Tensor | None,
    mips: Sequence[torch.Tensor],
    built: int,
    filter_code: int,
    wrap_code: int,
    anisotropy: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    pyramid = build_packed(core, tex, built)
    out = core.empty((*coord.shape[:-1], tex.shape[-1]), tex.dtype)
    levels = _all_levels(tex, mips, built, pyramid)
    arguments = _arguments(core, tex, levels, coord, coord_d, bias, filter_code, wrap_code, anisotropy)
    core.calls["texture_forward"](*arguments, core.pointer(out))
    return out, pyramid


def _fake(
    tex: torch.Tensor,
    coord: torch.Tensor,
    coord_d: torch.Tensor | None,
    bias: torch.Tensor | None,
    mips: Sequence[torch.Tensor],
    built: int,
    filter_code: int,
    wrap_code: int,
    anisotropy: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    out = tex.new_empty((*coord.shape[:-1], tex.shape[-1]))
    return out, tex.new_empty((packed_size(tex.shape, built),))


def _setup(ctx: Any, inputs: tuple, output: tuple) -> None:
    tex, coord, coord_d, bias, mips, *ctx.options = inputs
    pyramid = output[1]
    ctx.mark_non_differentiable(pyramid)
    ctx.save_for_backward(tex, coord, coord_d, bias, pyramid, *mips)


def _grad(ctx: Any, grad_out: Any, _: Any) -> tuple:
    tex, coord, coord_d, bias, pyramid, *mips = ctx.saved_tensors
    mip_count = max(1, len(mips))  # an empty list is one argument
    if grad_out is None:
        return (None,) * (8 + mip_count)
    # needs_input_grad counts the layout argument of the function as well.
    want_mips = bool(mips) and any(ctx.needs_input_grad[5 : 5 + len(mips)])
    wanted = [*ctx.needs_input_grad[1:5], want_mips]
    *grads, grad_mips = _backward_op(tex, coord, coord_d, bias, mips, pyramid, *ctx.options, grad_out, wanted)
    by_mip = split_levels(grad_mips, tex.shape, len(mips)) if want_mips else [None] * mip_count
    return (*(grad if want else None for grad, want in zip(grads, wanted)), *by_mip, None, None, None, None)


def _gradient_shapes(inputs: Sequence[torch.Tensor | None], mips: int, wanted: Sequence[bool]) -> list:
    """Shapes of the gradients of tex, coord, coord_d and bias, and of the packed one of the mips."""
    shapes = [like.shape if want and like is not None else (0,) for like, want in zip(inputs, wanted)]
    assert inputs[0] is not None
    return [*shapes, (packed_size(inputs[0].shape, mips) if wanted[4] else 0,)]


def _backward_kernel(
    core: Any,
    tex: torch.Tensor,
    coord: torch.Tensor,
    coord_d: torch.Tensor | None,
    bias: torch.Tensor | None,
    mips: Sequence[torch.Tensor],
    pyramid: torch.Tensor,
    built: int,
    filter_code: int,
    wrap_code: int,
    anisotropy: int,
    grad_out: torch.Tensor,
    wanted: Sequence[bool],
) -> tuple[torch.Tensor, ...]:
    shapes = _gradient_shapes((tex, coord, coord_d, bias), len(mips), wanted)
    grads = [core.empty(shape, tex.dtype) for shape in shapes]
    levels = _all_levels(tex, mips, built, pyramid)
    # Gradients of levels that the forward pass has built go on to the base.
    fold = built > 0 and wanted[0]
    of_mips = core.empty((level_offsets(tex.shape, built)[-1],), tex.dtype) if fold else grads[4]
    by_level = _gradient_addresses(grads[0], of_mips, tex.shape, built or len(mips), wanted[0], fold or wanted[4])
    grad_out = grad_out.contiguous()
    core.calls["texture_backward"](
        *_arguments(core, tex, levels, coord, coord_d, bias, filter_code, wrap_code, anisotropy),
        core.pointer(grad_out), None if by_level is None else core.addresses(by_level),
        *(core.pointer(grad) if want else None for grad, want in zip(grads[1:4], wanted[1:4])),
    )  # fmt: skip
    if fold:
        fold_levels(core, grads[0], of_mips, built, add=True)
    return tuple(grads)


def _gradient_addresses(
    grad_tex: torch.Tensor, of_mips: torch.Tensor, shape: torch.Size, levels: int, want_tex: bool, want_mips: bool
) -> list[int | None] | None:
    """Where the core is to put the gradient of each level; None where none is wanted."""
    if not want_tex and not want_mips:
        return None
    below: Sequence[int | None] = level_addresses(of_mips, shape, levels) if want_mips else [None] * levels
    return [grad_tex.data_ptr() if want_tex else None, *below]


def _backward_fake(
    tex: torch.Tensor,
    coord: torch.Tensor,
    coord_d: torch.Tensor | None,
    bias: torch.Tensor | None,
    mips: Sequence[torch.Tensor],
    pyramid: torch.Tensor,
    built: int,
    filter_code: int,
    wrap_code: int,
    anisotropy: int,
    grad_out: torch.Tensor,
    wanted: Sequence[bool],
) -> tuple[torch.Tensor, ...]:
    shapes = _gradient_shapes((tex, coord, coord_d, bias), len(mips), wanted)
    return tuple(tex.new_empty(shape) for shape in shapes)


_backward_op = register(
    "texture_backward(Tensor tex, Tensor coord, Tensor? coord_d, Tensor? bias, Tensor[] mips, Tensor pyramid, "
    "int built, int filter, int wrap, int anisotropy, Tensor grad_out, bool[] wanted) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    kernel=_backward_kernel,
    fake=_backward_fake,
    any_core=True,
)
_op = register(
    "texture(Tensor tex, Tensor coord, Tensor? coord_d, Tensor? bias, Tensor[] mips, int built, int filter, "
    "int wrap, int anisotropy) -> (Tensor, Tensor)",
    kernel=_kernel,
    fake=_fake,
    setup=_setup,
    backward=_grad,
    any_core=True,
)
