"""Rasterization: which triangle each pixel sees, where on it, and how deep.

The coverage and visibility rule, and every formula, are defined by :mod:`lumigrad.reference.rasterize`; the
kernel is ``native/rasterize``.
"""

from __future__ import annotations

from typing import Any

import torch

from lumigrad import reference
from lumigrad._engine import validation as check
from lumigrad._engine.registration import needs_reference, register
from lumigrad.types.fragments import Fragments


def rasterize(
    pos: torch.Tensor,
    tri: torch.Tensor,
    resolution: tuple[int, int],
    ranges: torch.Tensor | None = None,
    derivatives: bool = True,
) -> Fragments:
    """Rasterize triangles given in clip space.

    Args:
        pos: clip-space positions (x, y, z, w), OpenGL convention (visible where -w <= x, y, z <= w). Either
            [N, V, 4], one set of positions per image, or [V, 4] shared by all images. float32 or float64.
        tri: vertex indices [T, 3], int32 or int64. Both windings are drawn.
        resolution: (height, width) in pixels, at most 32768 each.
        ranges: with pos [V, 4], an integer tensor [N, 2]: image n draws ``tri[first : first + count]`` with
            (first, count) = ranges[n]. Triangle numbers in the output still count from the start of `tri`.
            Without ranges, pos [V, 4] makes one image of all triangles. The host needs the values of `ranges`: keep
            them on the CPU. From a device they are waited for, which a CUDA graph cannot record.
        derivatives: whether to compute ``bary_d``.

    Returns:
        :class:`~lumigrad.fragments.Fragments`. ``bary``, ``depth`` and ``bary_d`` carry gradients to `pos`
        (x, y, z and w). The gradient through a clamped value, and of what is hidden, is zero; the gradient
        of visibility itself is what :func:`~lumigrad.ops.antialias.antialias` adds.

    Triangles are clipped at the near and far planes, never dropped; a triangle with a NaN or infinite
    coordinate is left out. Vertices snap to 1/256 pixel, edge functions are exact integers and a top-left
    rule assigns shared edges, so that meshes have neither cracks nor doubly covered pixels.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices, or an index in `tri` without a vertex.

    Source: Laine et al. 2020, "Modular Primitives for High-Performance Differentiable Rendering", section 3.2;
    homogeneous barycentrics from Olano and Greer 1997, "Triangle Scan Conversion using 2D Homogeneous
    Coordinates".
    """
    pos, tri, ranges, height, width = check_geometry(pos, tri, ranges, resolution)
    if needs_reference("rasterize", pos):
        return reference.rasterize(pos, tri, (height, width), ranges, derivatives)
    out = _op(pos, tri, ranges, height, width, derivatives, False, 8, False, None, None, False)
    return Fragments(out[0], out[1], out[2], out[3] if derivatives else None)


def check_geometry(
    pos: Any, tri: Any, ranges: Any, resolution: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, int, int]:
    """The arguments of :func:`rasterize`, checked and made contiguous; ranges as int64 on the CPU."""
    pos = check.floating("pos", pos)
    tri = check.triangles(tri, pos.device)
    height, width = check.resolution(resolution)
    if pos.dim() not in (2, 3) or pos.shape[-1] != 4:
        raise ValueError(f"pos: expected shape [N, V, 4] or [V, 4], got {tuple(pos.shape)}")
    if ranges is not None:
        ranges = check.tensor("ranges", ranges)
        if pos.dim() != 2:
            raise ValueError(f"ranges: only with pos [V, 4] shared by all images, got pos {tuple(pos.shape)}")
        if ranges.dtype not in (torch.int32, torch.int64):
            raise TypeError(f"ranges: expected int32 or int64, got {ranges.dtype}")
        check.shape("ranges", ranges, ("N", 2))
        if ranges.is_meta and not pos.is_meta:
            raise ValueError(f"ranges: expected a tensor with data like pos on {pos.device}, got device meta")
        ranges = ranges.to(device="meta" if ranges.is_meta else "cpu", dtype=torch.int64).contiguous()
    return pos.contiguous(), tri, ranges, height, width


def _kernel(
    core: Any,
    pos: torch.Tensor,
    tri: torch.Tensor,
    ranges: torch.Tensor | None,
    height: int,
    width: int,
    derivatives: bool,
    zbuffer: bool,
    subpixel_bits: int,
    straight_through: bool,
    after_tri: torch.Tensor | None,
    after_zbuffer: torch.Tensor | None,
    drop_coincident: bool,
) -> tuple[torch.Tensor, ...]:
    shared = pos.dim() == 2
    if shared and ranges is None:
        ranges = torch.tensor([[0, tri.shape[0]]], device="cpu")
    views = ranges.shape[0] if ranges is not None else pos.shape[0]
    image = (views, height, width)
    out_tri = core.empty(image, torch.int32)
    bary = core.empty((*image, 2), pos.dtype)
    depth = core.empty(image, pos.dtype)
    bary_d = core.empty((*image, 2, 2) if derivatives else (0,), pos.dtype)
    out_z = core.empty(image if zbuffer else (0,), torch.float32)
    point = core.pointer
    core.calls["rasterize_forward"](
        core.float_code(pos), point(pos), point(tri), point(ranges),
        views, pos.shape[-2], tri.shape[0], height, width, subpixel_bits,
        point(after_tri), point(after_zbuffer), drop_coincident,
        point(out_tri), point(bary), point(depth),
        point(bary_d) if derivatives else None, point(out_z) if zbuffer else None,
    )  # fmt: skip
    return out_tri, bary, depth, bary_d, out_z


def _fake(
    pos: torch.Tensor,
    tri: torch.Tensor,
    ranges: torch.Tensor | None,
    height: int,
    width: int,
    derivatives: bool,
    zbuffer: bool,
    *_: Any,
) -> tuple[torch.Tensor, ...]:
    views = ranges.shape[0] if ranges is not None else (1 if pos.dim() == 2 else pos.shape[0])
    image = (views, height, width)
    return (
        pos.new_empty(image, dtype=torch.int32),
        pos.new_empty((*image, 2)),
        pos.new_empty(image),
        pos.new_empty((*image, 2, 2) if derivatives else (0,)),
        pos.new_empty(image if zbuffer else (0,), dtype=torch.float32),
    )


def _setup(ctx: Any, inputs: tuple, output: tuple) -> None:
    pos, tri = inputs[:2]
    ctx.save_for_backward(pos, tri, output[0])
    ctx.mark_non_differentiable(output[0], output[4])
    ctx.derivatives, ctx.straight_through = inputs[5], inputs[8]


def _grad(ctx: Any, grad_tri: Any, grad_bary: Any, grad_depth: Any, grad_bary_d: Any, grad_z: Any) -> tuple:
    pos, tri, frag_tri = ctx.saved_tensors
    if not ctx.derivatives:
        grad_bary_d = None
    grad_pos = _backward_op(pos, tri, frag_tri, grad_bary, grad_depth, grad_bary_d, ctx.straight_through)
    return (grad_pos, *[None] * 11)


def _backward_kernel(
    core: Any,
    pos: torch.Tensor,
    tri: torch.Tensor,
    frag_tri: torch.Tensor,
    grad_bary: torch.Tensor | None,
    grad_depth: torch.Tensor | None,
    grad_bary_d: torch.Tensor | None,
    straight_through: bool,
) -> torch.Tensor:
    grads = [g if g is None else g.contiguous() for g in (grad_bary, grad_depth, grad_bary_d)]
    views, height, width = frag_tri.shape
    grad_pos = core.empty(pos.shape, pos.dtype)
    point = core.pointer
    core.calls["rasterize_backward"](
        core.float_code(pos), point(pos), point(tri), pos.dim() == 2,
        views, pos.shape[-2], tri.shape[0], height, width, straight_through,
        point(frag_tri), *map(point, grads), point(grad_pos),
    )  # fmt: skip
    return grad_pos


_backward_op = register(
    "rasterize_backward(Tensor pos, Tensor tri, Tensor frag_tri, Tensor? grad_bary, Tensor? grad_depth, "
    "Tensor? grad_bary_d, bool straight_through) -> Tensor",
    kernel=_backward_kernel,
    fake=lambda pos, *_: torch.empty_like(pos),
    any_core=True,
)
_op = register(
    "rasterize(Tensor pos, Tensor tri, Tensor? ranges, SymInt height, SymInt width, bool derivatives, "
    "bool zbuffer, int subpixel_bits, bool straight_through, Tensor? after_tri, Tensor? after_zbuffer, "
    "bool drop_coincident) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    kernel=_kernel,
    fake=_fake,
    setup=_setup,
    backward=_grad,
    any_core=True,
)
