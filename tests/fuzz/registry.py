"""The generators of all ops, by name."""

from __future__ import annotations

from collections.abc import Callable

from . import field, implicit, light, ray, soft, splat, surface, texture
from .call import Call
from .draw import Draw

GENERATORS: dict[str, Callable[[Draw], Call]] = {
    **surface.GENERATORS,
    **texture.GENERATORS,
    **soft.GENERATORS,
    **splat.GENERATORS,
    **field.GENERATORS,
    **implicit.GENERATORS,
    **light.GENERATORS,
    **ray.GENERATORS,
}
OPS = tuple(GENERATORS)
# Public ops without a generator, and what they register. Kernel and definition cut outlines into other pieces, so that
# only images can be compared, with clipped polygons: tests/ops/surface/test_outlines.py does, on random triangles.
# Trees have many forms; what rays hit with their help is compared.
ELSEWHERE = {
    "outlines",
    "blend_outlines",
    "exact",
    "build_bvh",
    "offset_origins",
    "refit_bvh",
}
REGISTERED_ELSEWHERE = {
    "outlines",
    "outline_fragments",
    "outline_fragments_backward",
    "blend_outlines",
    "blend_outlines_backward",
}
# What makes the calls of gradient methods whose functions have other names.
METHODS = {"edge": "edge_gradient", "nmr": "nmr_gradient", "splat": "splat_gradient"}
