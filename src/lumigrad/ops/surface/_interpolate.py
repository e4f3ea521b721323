"""Interpolation of vertex attributes at rasterized fragments.

Defined by :func:`lumigrad.reference.interpolate`; the kernel is ``native/surface/interpolate.h``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.types import validation as check
from lumigrad.types.fragments import Fragments
from lumigrad.types.shapes import Float, Int


@overload
def interpolate(
    attr: Float[Tensor, "#views vertices channels"] | Float[Tensor, "vertices channels"],
    frags: Fragments,
    tri: Int[Tensor, "triangles 3"],
    derivatives: Literal[False] = False,
) -> Float[Tensor, "views height width channels"]: ...


@overload
def interpolate(
    attr: Float[Tensor, "#views vertices channels"] | Float[Tensor, "vertices channels"],
    frags: Fragments,
    tri: Int[Tensor, "triangles 3"],
    derivatives: Literal[True] | Sequence[int],
) -> tuple[Float[Tensor, "views height width channels"], Float[Tensor, "views height width listed 2"]]: ...


def interpolate(
    attr: Float[Tensor, "#views vertices channels"] | Float[Tensor, "vertices channels"],
    frags: Fragments,
    tri: Int[Tensor, "triangles 3"],
    derivatives: bool | Sequence[int] = False,
) -> (
    Float[Tensor, "views height width channels"]
    | tuple[Float[Tensor, "views height width channels"], Float[Tensor, "views height width listed 2"]]
):
    """Interpolate vertex attributes, perspective-correctly.

    Args:
        attr: attributes [V, A], shared by all images, or [N, V, A]. Any number of channels A.
        frags: fragments of N images, from :func:`~lumigrad.rasterize`.
        tri: vertex indices [T, 3] into `attr`. They may differ from those that were rasterized (texture
            coordinates often have an index buffer of their own), but triangle for triangle they must match.
            A negative index stands for a vertex whose attributes are zero.
        derivatives: True for the screen-space derivatives of all channels, or a list of channels. They need
            ``frags.bary_d``.

    Returns:
        The attributes [N, H, W, A], zero on the background. With derivatives also a tensor [N, H, W, A', 2]:
        d/dX (pixels to the right) and d/dY (pixels down) of the A' channels asked for. Gradients reach
        `attr`, ``frags.bary`` and ``frags.bary_d``.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices, channels, or indices out of range.

    Source: Laine et al. 2020, section 3.3.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-1.0, -1.0, 0.0, 1.0], [3.0, -1.0, 0.0, 1.0], [-1.0, 3.0, 0.0, 1.0]])
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.rasterize(pos, tri, (2, 4))
    >>> uv = torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.0, -1.0]])
    >>> image, slope = lg.interpolate(uv, frags, tri, derivatives=True)
    >>> image[0, :, :, 0]
    tensor([[0.1250, 0.3750, 0.6250, 0.8750],
            [0.1250, 0.3750, 0.6250, 0.8750]])
    >>> slope[0, 0, 0]  # of u and v, to the right and down
    tensor([[0.2500, 0.0000],
            [0.0000, 0.5000]])
    """
    frags = check_fragments(frags)
    attr = check.floating("attr", attr, frags.bary, "frags.bary")
    tri = check.triangles(tri, attr.device)
    check_attributes(attr, frags.tri.shape[0], "frags")
    channels = _channel_list(derivatives, attr.shape[-1])
    if channels is not None and frags.bary_d is None:
        raise ValueError("derivatives: frags.bary_d is missing; call rasterize with derivatives=True")
    if needs_reference("interpolate", attr):
        return reference.interpolate(attr, frags, tri, derivatives)
    bary_d = frags.bary_d.contiguous() if channels is not None and frags.bary_d is not None else None
    out, out_d = _op(attr.contiguous(), tri, frags.tri.contiguous(), frags.bary.contiguous(), bary_d, None, channels)
    return out if channels is None else (out, out_d)


def check_attributes(attr: Tensor, views: int, like: str) -> None:
    """Raise ValueError unless the shape of `attr` fits `views` images, those of the argument `like`."""
    if attr.dim() not in (2, 3):
        raise ValueError(f"attr: expected shape [V, A] or [N, V, A], got {tuple(attr.shape)}")
    if attr.dim() == 3 and attr.shape[0] not in (1, views):
        raise ValueError(f"attr: expected 1 or {views} images like {like}, got shape {tuple(attr.shape)}")


def check_fragments(frags: Any) -> Fragments:
    """Return `frags` if it is consistent."""
    if not isinstance(frags, Fragments):
        raise TypeError(f"frags: expected lumigrad.Fragments as made by rasterize, got {type(frags).__name__}")
    tri = check.tensor("frags.tri", frags.tri)
    if tri.dtype != torch.int32:
        raise TypeError(f"frags.tri: expected int32, got {tri.dtype}")
    check.shape("frags.tri", tri, ("N", "H", "W"))
    check.shape("frags.bary", check.floating("frags.bary", frags.bary), (*tri.shape, 2))
    if frags.bary_d is not None:
        check.shape("frags.bary_d", check.floating("frags.bary_d", frags.bary_d, frags.bary, "frags.bary"),
                    (*tri.shape, 2, 2))  # fmt: skip
    if tri.device != frags.bary.device:
        raise ValueError(f"frags.bary: expected device {tri.device} like frags.tri, got {frags.bary.device}")
    return frags


def _channel_list(derivatives: bool | Sequence[int], channels: int) -> list[int] | None:
    if derivatives is False or derivatives is None:
        return None
    if derivatives is True:
        return list(range(channels))
    try:
        listed = [int(channel.__index__()) for channel in derivatives]
    except (TypeError, AttributeError):
        raise TypeError(f"derivatives: expected a bool or a list of channels, got {derivatives!r}") from None
    for channel in listed:
        if not 0 <= channel < channels:
            raise ValueError(f"derivatives: channel {channel} is not one of the {channels} channels of attr")
    return listed


def _sizes(
    attr: Tensor, tri: Tensor, frag_tri: Tensor | None, rast: Tensor | None, channel_list: Sequence[int] | None
) -> tuple[int, ...]:
    image = rast if frag_tri is None else frag_tri
    assert image is not None
    attr_views = 1 if attr.dim() == 2 else attr.shape[0]
    listed = 0 if channel_list is None else len(channel_list)
    return attr_views, *attr.shape[-2:], tri.shape[0], *image.shape[:3], listed


_op = declare(
    "interpolate(Tensor attr, Tensor tri, Tensor? frag_tri, Tensor? bary, Tensor? bary_d, Tensor? rast, "
    "int[]? channel_list)",
    sizes=("attr_views vertices channels triangles views height width listed", _sizes),
    outputs={"out": "views height width channels", "out_d": "views height width listed 2 if channel_list"},
)
