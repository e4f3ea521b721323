"""Analytic antialiasing of silhouettes: where the gradients of visibility come from.

Defined by :mod:`lumigrad.reference.antialias`; the kernel is ``native/antialias``.
"""

from __future__ import annotations

from typing import Any

import torch

from lumigrad import reference
from lumigrad._engine import validation as check
from lumigrad._engine.registration import needs_reference, register
from lumigrad.ops.surface._edge_topology import edge_topology
from lumigrad.ops.surface._surface_image import check_image
from lumigrad.types.fragments import Fragments


def antialias(
    color: torch.Tensor,
    frags: Fragments,
    pos: torch.Tensor,
    tri: torch.Tensor,
    topology: torch.Tensor | None = None,
) -> torch.Tensor:
    """Blend colours across silhouette edges, so that the image changes smoothly as edges move.

    Where two neighbouring pixels see different triangles and the outline of the nearer one's surface passes
    between their centres, the pixel that it cuts takes as much of its neighbour's colour as the place says.
    The outline need not belong to the visible triangle: from there it is searched along the surface, so that
    fine meshes, whose triangles at the rim are thinner than a pixel, get complete gradients. A pixel cut from
    several sides still gets a convex combination: colours stay in range.

    Args:
        color: [N, H, W, C], any number of channels.
        frags: the fragments the colours were made from.
        pos, tri: the geometry that was rasterized: [N, V, 4] or [V, 4], and [T, 3].
        topology: from :func:`~lumigrad.ops.edge_topology.edge_topology`. Built from `tri` on every call when
            absent; build it once for a mesh that does not change its triangles, with positions if vertices
            are duplicated along seams.

    Returns:
        The antialiased colours [N, H, W, C]. Gradients reach `color` and, through the places of the edges,
        `pos` (x, y and w; z is zero).

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices, or indices out of range.

    Source: Laine et al. 2020, section 3.5; here in homogeneous coordinates, so that edges that reach behind
    the camera are handled, and with the walk to the outline.
    """
    return antialias_with(color, frags, pos, tri, topology, unbounded=False)


def antialias_with(
    color: torch.Tensor,
    frags: Fragments,
    pos: torch.Tensor,
    tri: torch.Tensor,
    topology: torch.Tensor | None,
    unbounded: bool,
) -> torch.Tensor:
    """:func:`antialias`; `unbounded` leaves a pixel's weights as they are even where they add up to over one."""
    color, frags, pos, tri = check_image(color, frags, pos, tri)
    depth = check.floating("frags.depth", frags.depth, frags.bary, "frags.bary")
    check.shape("frags.depth", depth, frags.tri.shape)
    if topology is None:
        topology = edge_topology(tri)
    else:
        topology = check.tensor("topology", topology)
        if topology.dtype != torch.int32:
            raise TypeError(f"topology: expected int32 as made by edge_topology, got {topology.dtype}")
        check.shape("topology", topology, (tri.shape[0], 3))
        if topology.device != tri.device:
            raise ValueError(f"topology: expected device {tri.device} like tri, got {topology.device}")
    if needs_reference("antialias", color):
        return reference.antialias(color, frags, pos, tri, topology, unbounded=unbounded)
    return _op(color.contiguous(), frags.tri.contiguous(), depth.detach().contiguous(), pos.contiguous(), tri,
               topology.contiguous(), unbounded)[0]  # fmt: skip


def _kernel(
    core: Any,
    color: torch.Tensor,
    frag_tri: torch.Tensor,
    depth: torch.Tensor,
    pos: torch.Tensor,
    tri: torch.Tensor,
    topology: torch.Tensor,
    unbounded: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    out, notes = core.empty(color.shape, color.dtype), _empty_notes(color, pos, tri)
    core.calls["antialias_forward"](
        *_scene(core, color, frag_tri, depth, pos, tri, (topology,), unbounded, notes),
        core.pointer(out), core.pointer(notes),
    )  # fmt: skip
    return out, notes


def _empty_notes(color: torch.Tensor, pos: torch.Tensor, tri: torch.Tensor) -> torch.Tensor:
    """Room for what the forward pass tells the backward pass: a byte for every triangle, eight for every crossing
    and every sixteen rows.

    Outlines rarely cross more than one or two pairs of pixels for each row and column of an image.
    """
    views, height, width, _ = color.shape
    flags = (pos.shape[0] if pos.dim() == 3 else 1) * tri.shape[0]
    crossings = 0 if color.is_cuda else 4 * views * (height + width)
    return pos.new_empty(((flags + 7) // 8 * 8 + 8 * crossings,), dtype=torch.uint8)


def _scene(
    core: Any,
    color: torch.Tensor,
    frag_tri: torch.Tensor,
    depth: torch.Tensor,
    pos: torch.Tensor,
    tri: torch.Tensor,
    about_edges: tuple[torch.Tensor, ...],
    unbounded: bool,
    notes: torch.Tensor,
) -> tuple:
    """The arguments that both C functions begin with. about_edges: the topology; going back, also the notes."""
    views, height, width, channels = color.shape
    point = core.pointer
    return (
        core.float_code(color), point(color), point(frag_tri), point(depth), point(pos),
        point(tri), *map(point, about_edges), pos.dim() == 2, views, pos.shape[-2], tri.shape[0], height, width,
        channels, unbounded, notes.shape[0],
    )  # fmt: skip


def _setup(ctx: Any, inputs: tuple, output: tuple) -> None:
    color, frag_tri, depth, pos, tri, topology, unbounded = inputs
    ctx.save_for_backward(color, frag_tri, depth, pos, tri, topology, output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.unbounded = unbounded


def _grad(ctx: Any, grad_out: Any, *_: Any) -> tuple:
    if grad_out is None:
        return (None,) * 7
    # needs_input_grad counts the layout argument of the function as well.
    want_color, want_pos = ctx.needs_input_grad[1], ctx.needs_input_grad[4]
    grad_color, grad_pos = _backward_op(*ctx.saved_tensors, ctx.unbounded, grad_out, want_color, want_pos)
    return (grad_color if want_color else None, None, None, grad_pos if want_pos else None, None, None, None)


def _backward_kernel(
    core: Any,
    color: torch.Tensor,
    frag_tri: torch.Tensor,
    depth: torch.Tensor,
    pos: torch.Tensor,
    tri: torch.Tensor,
    topology: torch.Tensor,
    notes: torch.Tensor,
    unbounded: bool,
    grad_out: torch.Tensor,
    want_color: bool,
    want_pos: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    grad_out = grad_out.contiguous()
    grad_color = core.empty(color.shape if want_color else (0,), color.dtype)
    grad_pos = core.empty(pos.shape if want_pos else (0,), pos.dtype)
    point = core.pointer
    core.calls["antialias_backward"](
        *_scene(core, color, frag_tri, depth, pos, tri, (topology, notes), unbounded, notes), point(grad_out),
        point(grad_color) if want_color else None, point(grad_pos) if want_pos else None,
    )  # fmt: skip
    return grad_color, grad_pos


def _backward_fake(
    color: torch.Tensor,
    frag_tri: torch.Tensor,
    depth: torch.Tensor,
    pos: torch.Tensor,
    tri: torch.Tensor,
    topology: torch.Tensor,
    notes: torch.Tensor,
    unbounded: bool,
    grad_out: torch.Tensor,
    want_color: bool,
    want_pos: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    return color.new_empty(color.shape if want_color else (0,)), pos.new_empty(pos.shape if want_pos else (0,))


_backward_op = register(
    "antialias_backward(Tensor color, Tensor frag_tri, Tensor depth, Tensor pos, Tensor tri, Tensor topology, "
    "Tensor notes, bool unbounded, Tensor grad_out, bool want_color, bool want_pos) -> (Tensor, Tensor)",
    kernel=_backward_kernel,
    fake=_backward_fake,
    any_core=True,
)
_op = register(
    "antialias(Tensor color, Tensor frag_tri, Tensor depth, Tensor pos, Tensor tri, Tensor topology, "
    "bool unbounded) -> (Tensor, Tensor)",
    kernel=_kernel,
    fake=lambda color, frag_tri, depth, pos, tri, *_: (
        torch.empty_like(color),
        _empty_notes(color, pos, tri),
    ),
    setup=_setup,
    backward=_grad,
    any_core=True,
)
