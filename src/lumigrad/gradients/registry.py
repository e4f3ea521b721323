"""The table of methods, and the calls that pick from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lumigrad.types.fragments import Fragments


@dataclass(frozen=True)
class Method:
    """One answer to what the gradient of visibility is.

    Attributes:
        name: what `apply` knows it by.
        function: takes color, frags, pos, tri and options, and returns the image [N, H, W, C].
        forward_is_hard: the image has the very values of `color`; only its gradient differs. Otherwise the
            method blurs outlines, be it by a fraction of a pixel, and its gradient is that of the blurred image.
        includes_shading: the position gradient is that of everything in the image. `color` must then be made
            from fragments without gradients (see `shading_fragments`), or shading counts twice.
        is_derivative: the gradient is the derivative of the image that is returned.
        source: who proposed it.
    """

    name: str
    function: Callable[..., Tensor]
    forward_is_hard: bool
    includes_shading: bool
    is_derivative: bool
    source: str


METHODS: dict[str, Method] = {}


def register(method: Method) -> Method:
    """Make a method known to `apply` under its name.

    Raises:
        ValueError: the name is taken.

    >>> import lumigrad as lg
    >>> from lumigrad.gradients import METHODS, Method
    >>> plain = Method("none", lambda color, frags, pos, tri: color, True, False, False, "no gradient of visibility")
    >>> lg.gradients.register(plain) is lg.gradients.find("none")
    True
    >>> del METHODS["none"]
    """
    if method.name in METHODS:
        raise ValueError(f"method: {method.name!r} is registered already")
    METHODS[method.name] = method
    return method


def find(method: str | Method) -> Method:
    """The method of that name.

    Raises:
        ValueError: there is none; the message lists those there are.

    >>> import lumigrad as lg
    >>> lg.gradients.find("edge").source, lg.gradients.find("edge").forward_is_hard
    ('Pidhorskyi et al. 2024', True)
    >>> sorted(lg.gradients.METHODS)
    ['antialias', 'dibr', 'edge', 'exact', 'nmr', 'opendr', 'softras', 'splat']
    """
    if isinstance(method, Method):
        return method
    try:
        return METHODS[method]
    except (KeyError, TypeError):
        raise ValueError(f"method: expected one of {', '.join(sorted(METHODS))}, got {method!r}") from None


def apply(
    color: Tensor, frags: Fragments, pos: Tensor, tri: Tensor, method: str | Method = "antialias", **options: Any
) -> Tensor:
    """The image of `color` whose gradient of visibility reaches `pos` by the method named.

    Args:
        color: colours of a hard rendering [N, H, W, C], background included, any number of channels.
        frags: the fragments they were made from; pass these, not the ones `shading_fragments` made of them.
        pos, tri: the geometry that was rasterized: [N, V, 4] or [V, 4], and [T, 3].
        method: a key of `METHODS`, or a `Method`.
        options: the method's own, as its function documents them.

    Returns:
        [N, H, W, C]. The values of `color` where ``find(method).forward_is_hard``. Gradients reach `color`,
        and through visibility `pos`.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices, indices out of range, or an unknown method.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]], requires_grad=True)
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.rasterize(pos, tri, (16, 16))
    >>> mask = (frags.tri >= 0).float()[..., None]
    >>> image = lg.gradients.apply(mask, frags, pos, tri, method="edge")
    >>> image[:, :, 8:].sum().backward()  # of the right half
    >>> (pos.grad[1, 0] > 0).item()  # grows with the corner on the right
    True
    """
    return find(method).function(color, frags, pos, tri, **options)


def shading_fragments(frags: Fragments, method: str | Method = "antialias") -> Fragments:
    """The fragments to make colours from: without gradients where the method's own cover shading.

    These have no ``attributes`` either, whose gradients are those of positions and of attributes at once: interpolate
    from what is returned.

    Args:
        frags: what `rasterize` gave.
        method: as in `apply`.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]], requires_grad=True)
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.rasterize(pos, tri, (16, 16))
    >>> mask = (frags.tri >= 0).float()[..., None]
    >>> lg.gradients.shading_fragments(frags, "edge") is frags
    True
    >>> lg.gradients.shading_fragments(frags, "opendr").bary.requires_grad  # its own gradient covers shading
    False
    """
    if not find(method).includes_shading:
        return frags
    bary_d = None if frags.bary_d is None else frags.bary_d.detach()
    return Fragments(frags.tri, frags.bary.detach(), frags.depth.detach(), bary_d)
