"""Filtered lookups in 2D textures, and the parts shared with cube maps.

Defined by :func:`lumigrad.reference.texture`; the kernel is ``native/texture``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.texture._build_mips import check_texture, level_count, level_shapes, packed_size
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float

# The core's codes.
FILTERS = {"nearest": 0, "linear": 1, "linear-mipmap-nearest": 2, "linear-mipmap-linear": 3}
WRAPS = {"repeat": 0, "clamp": 1, "mirror": 2, "zero": 3}
CUBE = 4
MAX_ANISOTROPY = 16


def texture(
    tex: Float[Tensor, "#views rows columns channels"],
    uv: Float[Tensor, "views height width 2"],
    uv_d: Float[Tensor, "views height width 2 2"] | None = None,
    mip_bias: Float[Tensor, "views height width"] | None = None,
    mips: Sequence[Float[Tensor, "#views _ _ channels"]] | None = None,
    filter: str = "auto",
    wrap: str = "repeat",
    max_level: int | None = None,
    anisotropy: int = 1,
) -> Float[Tensor, "views height width channels"]:
    """Look up a 2D texture.

    Texture coordinate (0, 0) is the outer corner of texel [0, 0]; v grows with the row. Coordinates that are
    not finite give 0.

    Args:
        tex: textures [N, H, W, C], or [1, H, W, C] for all images. Any sizes, any number of channels.
        uv: texture coordinates [N, h, w, 2].
        uv_d: their screen derivatives [N, h, w, 2, 2], ``uv_d[..., i, j]``: of u (i = 0) and v by X, one pixel
            to the right (j = 0), and Y, one pixel down; as :func:`~lumigrad.interpolate`
            gives them. They select the mip level.
        mip_bias: added to the mip level [N, h, w]; without `uv_d` it is the mip level.
        mips: levels 1, 2, ... as made by :func:`~lumigrad.build_mips`; built from `tex` when
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

    >>> import torch
    >>> import lumigrad as lg
    >>> tex = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).reshape(1, 2, 2, 1)
    >>> uv = torch.tensor([[0.25, 0.25], [0.5, 0.5], [0.75, 0.25]]).reshape(1, 1, 3, 2)
    >>> lg.texture(tex, uv).flatten().tolist()
    [0.0, 1.5, 1.0]
    >>> lg.texture(tex, uv, filter="nearest", wrap="clamp").flatten().tolist()
    [0.0, 3.0, 1.0]
    >>> level = torch.ones(1, 1, 3)  # of the mip pyramid: the mean of all four texels
    >>> lg.texture(tex, uv, mip_bias=level).flatten().tolist()
    [1.5, 1.5, 1.5]
    """
    tex = check_texture(tex, cube=False)
    uv, uv_d, mip_bias = check_lookup(tex, "uv", uv, "uv_d", uv_d, mip_bias)
    code = check_filter(filter, "uv_d", uv_d, mip_bias)
    if not isinstance(wrap, str) or wrap not in WRAPS:
        raise ValueError(f"wrap: expected one of {', '.join(WRAPS)}, got {wrap!r}")
    check_anisotropy(anisotropy, "uv_d", uv_d, code)
    levels = check_levels(tex, mips, max_level)
    if needs_reference("texture", tex):
        return reference.texture(tex, uv, uv_d, mip_bias, mips, filter, wrap, max_level, anisotropy)
    return look_up(tex, uv, uv_d, mip_bias, levels, code, WRAPS[wrap], anisotropy)


def look_up(
    tex: Tensor,
    coord: Tensor,
    coord_d: Tensor | None,
    mip_bias: Tensor | None,
    levels: int | list[Tensor],
    filter_code: int,
    wrap_code: int,
    anisotropy: int,
) -> Tensor:
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
    tex: Tensor, name: str, coord: Any, name_d: str, coord_d: Any, mip_bias: Any
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Coordinates, derivatives and bias, checked against each other and the texture."""
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


def check_filter(filter: str, name_d: str, coord_d: Tensor | None, mip_bias: Tensor | None) -> int:
    """The core's code of a filter."""
    has_level = coord_d is not None or mip_bias is not None
    if filter == "auto":
        filter = "linear-mipmap-linear" if has_level else "linear"
    if not isinstance(filter, str) or filter not in FILTERS:
        raise ValueError(f"filter: expected auto, {', '.join(FILTERS)}, got {filter!r}")
    code = FILTERS[filter]
    if has_mips(code) and not has_level:
        raise ValueError(f"filter: {filter} needs {name_d} or mip_bias to choose mip levels, got neither")
    return code


def check_anisotropy(anisotropy: int, name_d: str, coord_d: Tensor | None, filter_code: int) -> None:
    """Raise if a lookup cannot have this anisotropy."""
    if isinstance(anisotropy, bool) or not isinstance(anisotropy, int):
        raise TypeError(f"anisotropy: expected an integer, got {anisotropy!r}")
    if not 1 <= anisotropy <= MAX_ANISOTROPY:
        raise ValueError(f"anisotropy: expected 1 to {MAX_ANISOTROPY}, got {anisotropy}")
    if anisotropy > 1 and (coord_d is None or not has_mips(filter_code)):
        raise ValueError(f"anisotropy: {anisotropy} lookups need {name_d} and a filter with mip levels")


def check_levels(tex: Tensor, mips: Sequence[Tensor] | None, max_level: int | None) -> int | list[Tensor]:
    """The given mips that may be used, or the number of levels to build if none are given."""
    levels = level_count(tex, max_level)
    if mips is None:
        return levels
    if isinstance(mips, Tensor) or not isinstance(mips, Sequence):
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


def _sizes(tex: Tensor, coord: Tensor, mips: Sequence[Tensor], built: int) -> tuple[int, ...]:
    return tex.shape[0], *tex.shape[-3:], *coord.shape[:3], len(mips), packed_size(tex.shape, built)


_op = declare(
    "texture(Tensor tex, Tensor coord, Tensor? coord_d, Tensor? bias, Tensor[] mips, int built, int filter, int wrap, "
    "int anisotropy)",
    sizes=("texture_views height width channels views rows columns mip_count packed", _sizes),
    outputs={"out": "views rows columns channels", "pyramid": "packed"},
)
