"""The generators of all ops, by name."""

from __future__ import annotations

from collections.abc import Callable

from . import soft, splat, surface, texture
from .call import Call
from .draw import Draw

GENERATORS: dict[str, Callable[[Draw], Call]] = {
    **surface.GENERATORS,
    **texture.GENERATORS,
    **soft.GENERATORS,
    **splat.GENERATORS,
}
OPS = tuple(GENERATORS)
# What makes the calls of gradient methods whose functions have other names.
METHODS = {"edge": "edge_gradient", "nmr": "nmr_gradient", "splat": "splat_gradient"}
