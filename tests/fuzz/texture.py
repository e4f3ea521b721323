"""Lookups in textures and cube maps, and mip levels."""

from __future__ import annotations

from typing import Any

import lumigrad as lg

from .call import Call
from .draw import Draw

SIDES = (1, 1, 2, 3, 4, 5, 7, 8, 16)
CHANNELS = (0, 1, 2, 3, 4, 5, 8, 9)


def build_mips(draw: Draw) -> Call:
    cube = draw.chance(0.5)
    tex = texels(draw, draw.views(), cube)
    arguments = {"tex": tex, "max_level": draw.choice((None, 0, 1, 2, 9)), "cube": cube}
    return Call(lg.build_mips, lg.reference.build_mips, arguments)


def texels(draw: Draw, count: int, cube: bool) -> Any:
    height = draw.choice(SIDES)
    width = height if cube else draw.choice(SIDES)
    faces = (6,) if cube else ()
    return draw.expanded(draw.uniform(count, *faces, height, width, draw.choice(CHANNELS)))


def texture(draw: Draw) -> Call:
    arguments = lookup(draw, cube=False)
    arguments["wrap"] = draw.choice(("repeat", "clamp", "mirror", "zero"))
    return Call(lg.texture, lg.reference.texture, arguments)


def texture_cube(draw: Draw) -> Call:
    return Call(lg.texture_cube, lg.reference.texture_cube, lookup(draw, cube=True))


def lookup(draw: Draw, cube: bool) -> dict[str, Any]:
    views, size = draw.views(), draw.choice(((0, 3), (1, 1), (2, 3), (5, 4), (9, 7), (1, 33)))
    tex = texels(draw, draw.choice((1, views)), cube)
    components = 3 if cube else 2
    reach = draw.choice((1.0, 1.0, 2.5, 1e4))
    coord = draw.spoiled(draw.uniform(views, *size, components, low=-reach, high=reach))
    scale = draw.choice((0.0, 0.01, 0.1, 0.5, 3.0))
    coord_d = draw.optional(draw.laid_out(draw.spoiled(scale * draw.uniform(views, *size, components, 2))), 0.6)
    bias = draw.optional(draw.laid_out(draw.spoiled(draw.uniform(views, *size, low=-2, high=4))), 0.4)
    filters = ["auto", "nearest", "linear"]
    if coord_d is not None or bias is not None:
        filters += ["linear-mipmap-nearest", "linear-mipmap-linear"] * 2
    filter = draw.choice(filters)
    has_mips = "mipmap" in filter or (filter == "auto" and len(filters) > 3)
    mips = None
    if draw.chance(0.3):
        mips = [draw.laid_out(mip + 0.1) for mip in lg.build_mips(tex, draw.choice((None, 1)), cube)]
    return {
        "tex": tex,
        "direction" if cube else "uv": draw.expanded(coord),
        "direction_d" if cube else "uv_d": coord_d,
        "mip_bias": bias,
        "mips": mips,
        "filter": filter,
        "max_level": draw.choice((None, None, 0, 1, 3)),
        "anisotropy": draw.choice((1, 2, 5, 16)) if has_mips and coord_d is not None else 1,
    }


GENERATORS = {"build_mips": build_mips, "texture": texture, "texture_cube": texture_cube}
