"""Filtered lookups in cube maps, seamless across faces.

Defined by :func:`lumigrad.reference.texture_cube`; the kernel is ``native/texture``, shared with `texture`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lumigrad import reference
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.texture._build_mips import check_texture
from lumigrad.ops.texture._texture import CUBE, check_anisotropy, check_filter, check_levels, check_lookup, look_up
from lumigrad.types.shapes import Float


def texture_cube(
    tex: Float[Tensor, "#views 6 side side channels"],
    direction: Float[Tensor, "views height width 3"],
    direction_d: Float[Tensor, "views height width 3 2"] | None = None,
    mip_bias: Float[Tensor, "views height width"] | None = None,
    mips: Sequence[Float[Tensor, "#views 6 _ _ channels"]] | None = None,
    filter: str = "auto",
    max_level: int | None = None,
    anisotropy: int = 1,
) -> Float[Tensor, "views height width channels"]:
    """Look up a cube map.

    Linear filtering takes texels beyond a face's edge from the adjacent face; beyond a corner, where three
    faces meet, the mean of the other three texels stands for the fourth. Directions that are zero or not
    finite give 0.

    Args:
        tex: cube maps [N, 6, S, S, C], or [1, 6, S, S, C] for all images; OpenGL's faces and orientations in
            the order +x -x +y -y +z -z.
        direction: directions [N, h, w, 3] of any length.
        direction_d: their screen derivatives [N, h, w, 3, 2], by X (one pixel to the right) and Y (one down).
        mip_bias, mips, filter, max_level, anisotropy: as for :func:`~lumigrad.texture`; mips as made
            by ``build_mips(tex, cube=True)``. Lookups spread by `anisotropy` continue across a face's edges.

    Returns:
        Filtered texels [N, h, w, C]. Gradients reach `tex`, `direction`, `direction_d`, `mip_bias` and `mips`.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or options.

    Source: OpenGL 4.6, sections 8.13 (face selection) and 8.14.

    >>> import torch
    >>> import lumigrad as lg
    >>> tex = torch.arange(6.0).reshape(1, 6, 1, 1, 1)  # a texel a face: +x -x +y -y +z -z
    >>> direction = torch.tensor([[1.0, 0.0, 0.0], [0.0, -2.0, 0.0], [0.0, 0.0, 1.0]]).reshape(1, 1, 3, 3)
    >>> lg.texture_cube(tex, direction, filter="nearest").flatten().tolist()
    [0.0, 3.0, 4.0]
    """
    tex = check_texture(tex, cube=True)
    direction, direction_d, mip_bias = check_lookup(tex, "direction", direction, "direction_d", direction_d, mip_bias)
    code = check_filter(filter, "direction_d", direction_d, mip_bias)
    check_anisotropy(anisotropy, "direction_d", direction_d, code)
    levels = check_levels(tex, mips, max_level)
    if needs_reference("texture_cube", tex, "texture"):
        return reference.texture_cube(tex, direction, direction_d, mip_bias, mips, filter, max_level, anisotropy)
    return look_up(tex, direction, direction_d, mip_bias, levels, code, CUBE, anisotropy)
