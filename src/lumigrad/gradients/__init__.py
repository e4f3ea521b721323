"""How an image follows the outlines of what it shows: several methods, one interface.

Shading moves smoothly with geometry, and its gradients are plain derivatives. Which surface a pixel sees jumps,
and the literature has several answers to what the gradient of that should be. Here they are to be compared and
exchanged::

    image = lg.gradients.apply(color, frags, pos, tri, method="antialias")

takes the colours of an ordinary, hard rendering and returns the image whose gradient reaches the positions by
that method. ``docs/gradients.md`` says when to use which.
"""

from lumigrad.gradients.methods import antialias, edge, exact, nmr, opendr, splat
from lumigrad.gradients.registry import METHODS, Method, apply, find, register, shading_fragments
from lumigrad.gradients.soft import dibr, softras

__all__ = [
    "METHODS",
    "Method",
    "antialias",
    "apply",
    "dibr",
    "edge",
    "exact",
    "find",
    "nmr",
    "opendr",
    "register",
    "shading_fragments",
    "softras",
    "splat",
]
