"""Soft rasterization: the nearest K faces in reach of every pixel, and how far, where and how deep they are.

Defined by :mod:`lumigrad.reference.soft`; the kernel is ``native/soft``.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import torch

from lumigrad import reference
from lumigrad._engine import validation as check
from lumigrad._engine.registration import needs_reference, register
from lumigrad.ops.surface._interpolate import interpolate
from lumigrad.ops.surface._rasterize import check_geometry
from lumigrad.types.fragments import Fragments, SoftFragments

PERSPECTIVE, CLIP, CULL = 1, 2, 4  # the kernel's flags
MAX_FACES_PER_PIXEL = 1024


def soft_rasterize(
    pos: torch.Tensor,
    tri: torch.Tensor,
    resolution: tuple[int, int],
    faces_per_pixel: int = 8,
    blur_radius: float = 0.0,
    ranges: torch.Tensor | None = None,
    perspective_correct: bool = True,
    clip_barycentrics: bool = True,
    cull_backfaces: bool = False,
) -> SoftFragments:
    """Find the faces that cover each pixel's centre or come close to it, nearest first.

    Args:
        pos: clip-space positions [N, V, 4] or [V, 4], as for :func:`~lumigrad.ops.rasterize.rasterize`.
        tri: vertex indices [T, 3], int32 or int64.
        resolution: (height, width) in pixels, at most 32768 each.
        faces_per_pixel: K, the most faces a pixel keeps, 1 to 1024.
        blur_radius: faces whose squared distance from the pixel's centre is below this take part, in units of
            half the image's shorter side (which spans [-1, 1]; both axes have the same unit).
        ranges: as for `rasterize`.
        perspective_correct: False for weights that are affine on the screen.
        clip_barycentrics: whether weights outside of a face are clamped to be non-negative, and scaled to sum to 1.
        cull_backfaces: leave out faces that are clockwise on the screen.

    Returns:
        :class:`~lumigrad.fragments.SoftFragments`: K faces a pixel, by depth, then by their number. ``z``,
        ``dist`` and ``bary`` carry true gradients to x, y, z and w of `pos`.

    A face that crosses the near plane is cut there and has distances to the edges of what remains; there is no
    far plane. A face with a NaN or infinite coordinate, or seen edge-on, is left out. A pixel on a shared edge
    belongs to both faces.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices, ranges, or an index in `tri` without a vertex.

    Source: Liu et al. 2019, "Soft Rasterizer", section 3; Ravi et al. 2020, "Accelerating 3D Deep Learning with
    PyTorch3D", section 3.
    """
    pos, tri, ranges, height, width = check_geometry(pos, tri, ranges, resolution)
    most = faces_per_pixel_of(faces_per_pixel)
    blur = number("blur_radius", blur_radius)
    options = (bool(perspective_correct), bool(clip_barycentrics), bool(cull_backfaces))
    if needs_reference("soft_rasterize", pos):
        return reference.soft_rasterize(pos, tri, (height, width), most, blur, ranges, *options)
    flags = PERSPECTIVE * options[0] + CLIP * options[1] + CULL * options[2]
    return SoftFragments(*_op(pos, tri, ranges, height, width, most, blur, flags))


def soft_interpolate(attr: torch.Tensor, frags: SoftFragments, tri: torch.Tensor) -> torch.Tensor:
    """Interpolate vertex attributes at soft fragments.

    Args:
        attr: [V, A] or [N, V, A].
        frags: from :func:`soft_rasterize`.
        tri: vertex indices [T, 3] into `attr`; see :func:`~lumigrad.ops.interpolate.interpolate`.

    Returns:
        [N, H, W, K, A], zero at pads. Gradients reach `attr` and ``frags.bary``.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices, or indices out of range.
    """
    if not isinstance(frags, SoftFragments):
        raise TypeError(f"frags: expected lumigrad.SoftFragments as made by soft_rasterize, got {type(frags).__name__}")
    index = check.tensor("frags.tri", frags.tri)
    check.shape("frags.tri", index, ("N", "H", "W", "K"))
    views, height, width, most = index.shape
    check.shape("frags.bary", check.tensor("frags.bary", frags.bary), (*index.shape, 3))
    # Weights sum to 1, so that two of them say all; a pixel's fragments lie side by side like pixels.
    flat = Fragments(
        index.reshape(views, height, width * most),
        frags.bary[..., :2].reshape(views, height, width * most, 2),
        frags.z.reshape(views, height, width * most),
    )
    return interpolate(attr, flat, tri).reshape(views, height, width, most, attr.shape[-1])


def faces_per_pixel_of(value: Any) -> int:
    try:
        most = operator.index(value)
    except TypeError:
        raise TypeError(f"faces_per_pixel: expected an integer, got {value!r}") from None
    if not 1 <= most <= MAX_FACES_PER_PIXEL:
        raise ValueError(f"faces_per_pixel: expected 1 to {MAX_FACES_PER_PIXEL}, got {most}")
    return most


def number(name: str, value: Any, positive: bool = False) -> float:
    """A finite number that is not negative, or positive."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {value!r}") from None
    if not math.isfinite(result) or result < 0 or (positive and result == 0):
        raise ValueError(f"{name}: expected a {'positive' if positive else 'non-negative'} number, got {result}")
    return result


def view_count(pos: torch.Tensor, ranges: torch.Tensor | None) -> int:
    return ranges.shape[0] if ranges is not None else (1 if pos.dim() == 2 else pos.shape[0])


def ranges_of(pos: torch.Tensor, tri: torch.Tensor, ranges: torch.Tensor | None) -> torch.Tensor | None:
    """The kernel's ranges: one of all triangles for positions [V, 4] without any."""
    return torch.tensor([[0, tri.shape[0]]], device="cpu") if pos.dim() == 2 and ranges is None else ranges


def _kernel(
    core: Any,
    pos: torch.Tensor,
    tri: torch.Tensor,
    ranges: torch.Tensor | None,
    height: int,
    width: int,
    most: int,
    blur: float,
    flags: int,
) -> tuple[torch.Tensor, ...]:
    ranges = ranges_of(pos, tri, ranges)
    views = view_count(pos, ranges)
    shape = (views, height, width, most)
    found = core.empty(shape, torch.int32)
    z, dist = core.empty(shape, pos.dtype), core.empty(shape, pos.dtype)
    bary = core.empty((*shape, 3), pos.dtype)
    point = core.pointer
    core.calls["soft_rasterize_forward"](
        core.float_code(pos), point(pos), point(tri), point(ranges),
        views, pos.shape[-2], tri.shape[0], height, width, most, blur, flags,
        point(found), point(z), point(dist), point(bary),
    )  # fmt: skip
    return found, z, dist, bary


def _fake(
    pos: torch.Tensor, tri: torch.Tensor, ranges: torch.Tensor | None, height: int, width: int, most: int, *_: Any
) -> tuple[torch.Tensor, ...]:
    shape = (view_count(pos, ranges), height, width, most)
    found = pos.new_empty(shape, dtype=torch.int32)
    return found, pos.new_empty(shape), pos.new_empty(shape), pos.new_empty((*shape, 3))


def _setup(ctx: Any, inputs: tuple, output: tuple) -> None:
    ctx.save_for_backward(inputs[0], inputs[1], output[0])
    ctx.mark_non_differentiable(output[0])
    ctx.flags = inputs[7]


def _grad(ctx: Any, grad_tri: Any, grad_z: Any, grad_dist: Any, grad_bary: Any) -> tuple:
    pos, tri, found = ctx.saved_tensors
    return (_backward_op(pos, tri, found, grad_z, grad_dist, grad_bary, ctx.flags), *[None] * 7)


def _backward_kernel(
    core: Any,
    pos: torch.Tensor,
    tri: torch.Tensor,
    found: torch.Tensor,
    grad_z: torch.Tensor | None,
    grad_dist: torch.Tensor | None,
    grad_bary: torch.Tensor | None,
    flags: int,
) -> torch.Tensor:
    grads = [g if g is None else g.contiguous() for g in (grad_z, grad_dist, grad_bary)]
    views, height, width, most = found.shape
    grad_pos = core.empty(pos.shape, pos.dtype)
    point = core.pointer
    core.calls["soft_rasterize_backward"](
        core.float_code(pos), point(pos), point(tri), pos.dim() == 2,
        views, pos.shape[-2], tri.shape[0], height, width, most, flags,
        point(found), *map(point, grads), point(grad_pos),
    )  # fmt: skip
    return grad_pos


_backward_op = register(
    "soft_rasterize_backward(Tensor pos, Tensor tri, Tensor found, Tensor? grad_z, Tensor? grad_dist, "
    "Tensor? grad_bary, int flags) -> Tensor",
    kernel=_backward_kernel,
    fake=lambda pos, *_: torch.empty_like(pos),
    any_core=True,
)
_op = register(
    "soft_rasterize(Tensor pos, Tensor tri, Tensor? ranges, SymInt height, SymInt width, SymInt most, float blur, "
    "int flags) -> (Tensor, Tensor, Tensor, Tensor)",
    kernel=_kernel,
    fake=_fake,
    setup=_setup,
    backward=_grad,
    any_core=True,
)
