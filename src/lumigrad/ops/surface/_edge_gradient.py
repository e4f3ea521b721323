"""Gradients of visibility at the borders between pixels; the image stays as it is.

Defined by :mod:`lumigrad.reference.edge_gradient`; the kernel is ``native/edge_gradient``.
"""

from __future__ import annotations

from typing import Any

import torch

from lumigrad import reference
from lumigrad._engine.registration import needs_reference, register
from lumigrad.ops.surface._surface_image import check_image, sizes
from lumigrad.types.fragments import Fragments


def edge_gradient(color: torch.Tensor, frags: Fragments, pos: torch.Tensor, tri: torch.Tensor) -> torch.Tensor:
    """The same image, with gradients of visibility by finite overlap of neighbouring pixels.

    Where two neighbouring pixels see different triangles and one of them, in front, ends between the two
    centres, the border between the pixels moves with it. Where both reach the other's centre they intersect,
    and the border moves with the line in which their planes meet, depths included. Where neither does, they
    are taken for neighbours on one surface: nothing moves.

    Args:
        color: [N, H, W, C], any number of channels.
        frags: the fragments the colours were made from.
        pos, tri: the geometry that was rasterized: [N, V, 4] or [V, 4], and [T, 3].

    Returns:
        [N, H, W, C], the values of `color`. Gradients reach `color` unchanged, and `pos`: x, y, w, and z at
        intersections.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices, or indices out of range.

    Source: Pidhorskyi, Simon, Schwartz, Wen, Sheikh, Saragih 2024, "Rasterized Edge Gradients: Handling
    Discontinuities Differentiably"; here with the line of an intersection followed on the screen, where depth
    is a plane, and with the last row and column.
    """
    color, frags, pos, tri = check_image(color, frags, pos, tri)
    if needs_reference("edge_gradient", color):
        return reference.edge_gradient(color, frags, pos, tri)
    return _op(color.contiguous(), frags.tri.contiguous(), frags.bary.detach().contiguous(), pos.contiguous(), tri)


def _setup(ctx: Any, inputs: tuple, output: torch.Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _grad(ctx: Any, grad_out: Any) -> tuple:
    if grad_out is None:
        return (None,) * 5
    want_pos = ctx.needs_input_grad[4]  # which counts the layout argument of the function as well
    grad_pos = _backward_op(*ctx.saved_tensors, grad_out) if want_pos else None
    return (grad_out, None, None, grad_pos, None)


def _backward_kernel(
    core: Any,
    color: torch.Tensor,
    frag_tri: torch.Tensor,
    bary: torch.Tensor,
    pos: torch.Tensor,
    tri: torch.Tensor,
    grad_out: torch.Tensor,
) -> torch.Tensor:
    grad_out = grad_out.contiguous()
    grad_pos = core.empty(pos.shape, pos.dtype)
    point = core.pointer
    core.calls["edge_gradient"](
        core.float_code(color), point(color), point(frag_tri), point(bary), point(pos), point(tri),
        *sizes(color, pos, tri), point(grad_out), point(grad_pos),
    )  # fmt: skip
    return grad_pos


_backward_op = register(
    "edge_gradient_backward(Tensor color, Tensor frag_tri, Tensor bary, Tensor pos, Tensor tri, "
    "Tensor grad_out) -> Tensor",
    kernel=_backward_kernel,
    fake=lambda color, frag_tri, bary, pos, *_: torch.empty_like(pos),
    any_core=True,
)
_op = register(
    "edge_gradient(Tensor color, Tensor frag_tri, Tensor bary, Tensor pos, Tensor tri) -> Tensor",
    kernel=lambda core, color, *_: color.clone(),
    fake=lambda color, *_: torch.empty_like(color),
    setup=_setup,
    backward=_grad,
    any_core=True,
)
