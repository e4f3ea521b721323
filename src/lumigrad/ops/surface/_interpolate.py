"""Interpolation of vertex attributes over what rasterization found.

Defined by :mod:`lumigrad.reference.interpolate`; the kernel is ``native/interpolate``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lumigrad import reference
from lumigrad._engine import validation as check
from lumigrad._engine.registration import needs_reference, register
from lumigrad.types.fragments import Fragments


def interpolate(
    attr: torch.Tensor,
    frags: Fragments,
    tri: torch.Tensor,
    derivatives: bool | Sequence[int] = False,
) -> Any:
    """Interpolate vertex attributes, perspective-correctly.

    Args:
        attr: attributes [V, A], shared by all images, or [N, V, A]. Any number of channels A.
        frags: fragments of N images, from :func:`~lumigrad.ops.rasterize.rasterize`.
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
    """
    frags = check_fragments(frags)
    attr = check.floating("attr", attr, frags.bary, "frags.bary")
    tri = check.triangles(tri, attr.device)
    if attr.dim() not in (2, 3):
        raise ValueError(f"attr: expected shape [V, A] or [N, V, A], got {tuple(attr.shape)}")
    views = frags.tri.shape[0]
    if attr.dim() == 3 and attr.shape[0] not in (1, views):
        raise ValueError(f"attr: expected 1 or {views} images like frags, got shape {tuple(attr.shape)}")
    channels = _channel_list(derivatives, attr.shape[-1])
    if channels is not None and frags.bary_d is None:
        raise ValueError("derivatives: frags.bary_d is missing; call rasterize with derivatives=True")
    if needs_reference("interpolate", attr):
        return reference.interpolate(attr, frags, tri, derivatives)
    bary_d = frags.bary_d.contiguous() if channels is not None and frags.bary_d is not None else None
    out, out_d = _op(attr.contiguous(), tri, frags.tri.contiguous(), frags.bary.contiguous(), bary_d, channels)
    return out if channels is None else (out, out_d)


def check_fragments(frags: Any) -> Fragments:
    """`frags` if it is consistent in itself."""
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


def _sizes(attr: torch.Tensor) -> tuple[int, int, int]:
    """(views of attr, vertices, channels)."""
    return (1 if attr.dim() == 2 else attr.shape[0]), attr.shape[-2], attr.shape[-1]


def _kernel(
    core: Any,
    attr: torch.Tensor,
    tri: torch.Tensor,
    frag_tri: torch.Tensor,
    bary: torch.Tensor,
    bary_d: torch.Tensor | None,
    channel_list: Sequence[int] | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    attr_views, vertices, channels = _sizes(attr)
    views, height, width = frag_tri.shape
    listed = None if channel_list is None else torch.tensor(channel_list, dtype=torch.int32, device="cpu")
    count = 0 if listed is None else len(listed)
    out = core.empty((views, height, width, channels), attr.dtype)
    out_d = core.empty((0,) if listed is None else (views, height, width, count, 2), attr.dtype)
    point = core.pointer
    core.calls["interpolate_forward"](
        core.float_code(attr), point(attr), point(tri), point(frag_tri), point(bary),
        point(bary_d), point(listed), attr_views, views, vertices, channels, tri.shape[0], height * width,
        count, point(out), None if listed is None else point(out_d),
    )  # fmt: skip
    return out, out_d


def _fake(
    attr: torch.Tensor,
    tri: torch.Tensor,
    frag_tri: torch.Tensor,
    bary: torch.Tensor,
    bary_d: torch.Tensor | None,
    channel_list: Sequence[int] | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    image = tuple(frag_tri.shape)
    out_d = attr.new_empty((0,) if channel_list is None else (*image, len(channel_list), 2))
    return attr.new_empty((*image, attr.shape[-1])), out_d


def _setup(ctx: Any, inputs: tuple, output: tuple) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.channel_list = inputs[5]


def _grad(ctx: Any, grad_out: Any, grad_out_d: Any) -> tuple:
    attr, tri, frag_tri, bary, bary_d = ctx.saved_tensors
    if ctx.channel_list is None:
        grad_out_d = None
    # needs_input_grad counts the layout argument of the function as well.
    want_attr, want_bary, want_bary_d = (ctx.needs_input_grad[i] for i in (1, 4, 5))
    grad_attr, grad_bary, grad_bary_d = _backward_op(
        attr, tri, frag_tri, bary, bary_d, ctx.channel_list, grad_out, grad_out_d, want_attr, want_bary, want_bary_d
    )
    return (
        grad_attr if want_attr else None,
        None,
        None,
        grad_bary if want_bary else None,
        grad_bary_d if want_bary_d else None,
        None,
    )


def _backward_kernel(
    core: Any,
    attr: torch.Tensor,
    tri: torch.Tensor,
    frag_tri: torch.Tensor,
    bary: torch.Tensor,
    bary_d: torch.Tensor | None,
    channel_list: Sequence[int] | None,
    grad_out: torch.Tensor | None,
    grad_out_d: torch.Tensor | None,
    want_attr: bool,
    want_bary: bool,
    want_bary_d: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    attr_views, vertices, channels = _sizes(attr)
    views, height, width = frag_tri.shape
    listed = None if channel_list is None else torch.tensor(channel_list, dtype=torch.int32, device="cpu")
    grads = [g if g is None else g.contiguous() for g in (grad_out, grad_out_d)]
    outputs = [
        core.empty(like.shape if wanted and like is not None else (0,), attr.dtype)
        for wanted, like in ((want_attr, attr), (want_bary, bary), (want_bary_d, bary_d))
    ]
    point = core.pointer
    core.calls["interpolate_backward"](
        core.float_code(attr), point(attr), point(tri), point(frag_tri), point(bary),
        point(bary_d), point(listed), attr_views, views, vertices, channels, tri.shape[0], height, width,
        0 if listed is None else len(listed), *map(point, grads),
        *(point(out) if wanted else None for out, wanted in zip(outputs, (want_attr, want_bary, want_bary_d))),
    )  # fmt: skip
    return outputs[0], outputs[1], outputs[2]


def _backward_fake(
    attr: torch.Tensor,
    tri: torch.Tensor,
    frag_tri: torch.Tensor,
    bary: torch.Tensor,
    bary_d: torch.Tensor | None,
    channel_list: Sequence[int] | None,
    grad_out: torch.Tensor | None,
    grad_out_d: torch.Tensor | None,
    want_attr: bool,
    want_bary: bool,
    want_bary_d: bool,
) -> tuple[torch.Tensor, ...]:
    return tuple(
        attr.new_empty(like.shape if wanted and like is not None else (0,))
        for wanted, like in ((want_attr, attr), (want_bary, bary), (want_bary_d, bary_d))
    )


_backward_op = register(
    "interpolate_backward(Tensor attr, Tensor tri, Tensor frag_tri, Tensor bary, Tensor? bary_d, "
    "int[]? channel_list, Tensor? grad_out, Tensor? grad_out_d, bool want_attr, bool want_bary, "
    "bool want_bary_d) -> (Tensor, Tensor, Tensor)",
    kernel=_backward_kernel,
    fake=_backward_fake,
    any_core=True,
)
_op = register(
    "interpolate(Tensor attr, Tensor tri, Tensor frag_tri, Tensor bary, Tensor? bary_d, int[]? channel_list) "
    "-> (Tensor, Tensor)",
    kernel=_kernel,
    fake=_fake,
    setup=_setup,
    backward=_grad,
    any_core=True,
)
