"""Soft silhouettes and colours of all faces in reach, without storing a fragment.

Defined by :mod:`lumigrad.blending` over :func:`lumigrad.reference.soft_rasterize`; the kernel is ``native/soft``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lumigrad import _core, blending, reference
from lumigrad.ops import _validation as check
from lumigrad.ops._registration import needs_reference, register
from lumigrad.ops.rasterize import check_geometry
from lumigrad.ops.soft import CLIP, CULL, PERSPECTIVE, number, ranges_of, view_count

_forward = _core.function("lg_soft_blend_forward")
_backward = _core.function("lg_soft_blend_backward")


def soft_silhouette(
    pos: torch.Tensor,
    tri: torch.Tensor,
    resolution: tuple[int, int],
    sigma: float,
    blur_radius: float | None = None,
    falloff: str = "sigmoid",
    ranges: torch.Tensor | None = None,
    cull_backfaces: bool = False,
) -> torch.Tensor:
    """The soft mask of all faces: one minus the product of what each of them lets through.

    Args:
        pos, tri, resolution, ranges, cull_backfaces: as for :func:`~lumigrad.ops.soft.soft_rasterize`.
        sigma: width of the falloff, a squared distance in units of half the image's shorter side.
        blur_radius: the squared distance from which on faces are left out. None: where they have fallen to
            1/10000, ``sigma * log(9999)`` or ``sigma * log(10000)``.
        falloff: "sigmoid" (SoftRas, PyTorch3D) or "exponential" (DIB-R: 1 where a face covers the pixel).

    Returns:
        [N, H, W, 1], with gradients to `pos`. The same as :func:`lumigrad.blending.silhouette` of fragments without
        a limit on faces per pixel, at the memory of one number a pixel.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices, numbers, or an index in `tri` without a vertex.

    Source: Liu et al. 2019, "Soft Rasterizer", equations 1 and 4; Chen et al. 2019, "Learning to Predict 3D Objects
    with an Interpolation-based Differentiable Renderer", section 3.2.
    """
    pos, tri, ranges, height, width = check_geometry(pos, tri, ranges, resolution)
    sigma, blur = _softness(sigma, blur_radius, falloff)
    if needs_reference("soft_silhouette", pos):
        return reference.soft_silhouette(pos, tri, (height, width), sigma, blur, falloff, ranges, cull_backfaces)
    numbers = [blur, sigma, 1.0, 0.0, 0.0, 0.0, 0.0]
    flags = PERSPECTIVE | CLIP | CULL * bool(cull_backfaces)
    code = blending.FALLOFFS.index(falloff)
    transmittance = _op(pos, tri, ranges, None, None, height, width, numbers, flags, code)[0]
    return (1 - transmittance)[..., None]


def soft_colors(
    pos: torch.Tensor,
    tri: torch.Tensor,
    attr: torch.Tensor,
    resolution: tuple[int, int],
    sigma: float,
    gamma: float,
    background: torch.Tensor | Sequence[float] | float = 0.0,
    mode: str = "softras",
    blur_radius: float | None = None,
    depth_range: tuple[float, float] | None = None,
    attr_tri: torch.Tensor | None = None,
    ranges: torch.Tensor | None = None,
    cull_backfaces: bool = False,
) -> torch.Tensor:
    """Vertex attributes of all faces, mixed by their distance to the pixel and by their depth.

    Args:
        pos, tri, resolution, ranges, cull_backfaces: as for :func:`~lumigrad.ops.soft.soft_rasterize`.
        attr: colours or any other attributes [V, C] or [N, V, C], interpolated over the faces.
        sigma, blur_radius: as for :func:`soft_silhouette`, with the sigmoid.
        gamma: how soft the order in depth is.
        background: a number, C numbers, or a tensor that broadcasts with [N, H, W, C]; carries gradients.
        mode: "softras" or "pytorch3d", see :func:`lumigrad.blending.soft_blend`.
        depth_range: (near, far) of the faces' nearness, see :func:`lumigrad.blending.nearness`.
        attr_tri: vertex indices [T, 3] into `attr` where they are not those of `tri`. For one colour a face use
            ``torch.arange(T)[:, None].expand(T, 3)``.

    Returns:
        [N, H, W, C + 1]: the attributes, then the silhouette, with gradients to `pos`, `attr` and `background`. The
        same as :func:`lumigrad.blending.soft_blend` of fragments without a limit on faces per pixel.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices, numbers, or indices out of range.

    Source: Liu et al. 2019, "Soft Rasterizer", equations 2 to 4.
    """
    pos, tri, ranges, height, width = check_geometry(pos, tri, ranges, resolution)
    attr = check.floating("attr", attr, pos, "pos")
    attr_tri = tri if attr_tri is None else check.triangles(attr_tri, pos.device, "attr_tri")
    check.shape("attr_tri", attr_tri, (tri.shape[0], 3))
    views = view_count(pos, ranges)
    if attr.dim() not in (2, 3) or (attr.dim() == 3 and attr.shape[0] not in (1, views)):
        raise ValueError(f"attr: expected shape [V, C] or [{views}, V, C], got {tuple(attr.shape)}")
    sigma, blur = _softness(sigma, blur_radius, "sigmoid")
    gamma = number("gamma", gamma, positive=True)
    blending.check_mode(mode)
    near, far = (0.0, 0.0) if depth_range is None else _depth_range(depth_range)
    background = _background(background, attr)
    if needs_reference("soft_colors", pos):
        return reference.soft_colors(
            pos, tri, attr, (height, width), sigma, gamma, background, mode, blur,
            depth_range, attr_tri, ranges, cull_backfaces,
        )  # fmt: skip
    numbers = [blur, sigma, gamma, *blending.MODES[mode], near, far]
    flags = PERSPECTIVE | CLIP | CULL * bool(cull_backfaces)
    out = _op(pos, tri, ranges, attr.contiguous(), attr_tri, height, width, numbers, flags, 0)
    transmittance, color, behind = out[:3]
    return torch.cat((color + behind[..., None] * background, (1 - transmittance)[..., None]), -1)


def _softness(sigma: Any, blur_radius: Any, falloff: Any) -> tuple[float, float]:
    sigma = number("sigma", sigma, positive=True)
    if blur_radius is None:
        return sigma, blending.default_blur_radius(sigma, falloff)
    blending.check_falloff(falloff)
    return sigma, number("blur_radius", blur_radius)


def _depth_range(value: Any) -> tuple[float, float]:
    try:
        near, far = value
    except (TypeError, ValueError):
        raise TypeError(f"depth_range: expected (near, far), got {value!r}") from None
    near, far = number("depth_range[0]", near), number("depth_range[1]", far)
    if not near < far:
        raise ValueError(f"depth_range: expected near < far, got ({near}, {far})")
    return near, far


def _background(value: Any, attr: torch.Tensor) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return check.floating("background", value, attr, "attr")
    try:
        return torch.as_tensor(value, dtype=attr.dtype, device=attr.device)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"background: expected a number, numbers or a tensor, got {value!r}") from None


def _scene(
    pos: torch.Tensor,
    tri: torch.Tensor,
    ranges: torch.Tensor | None,
    attr: torch.Tensor | None,
    attr_tri: torch.Tensor | None,
    height: int,
    width: int,
    numbers: Sequence[float],
    flags: int,
    falloff: int,
) -> tuple:
    """The arguments that both passes hand to the kernel."""
    point = _core.pointer
    views = view_count(pos, ranges)
    attr_views, attr_vertices, channels = 0, 0, 0
    if attr is not None:
        attr_views, attr_vertices, channels = (1 if attr.dim() == 2 else attr.shape[0]), attr.shape[-2], attr.shape[-1]
    return (
        _core.threads(), _core.float_code(pos), point(pos), point(tri), point(ranges),
        views, pos.shape[-2], tri.shape[0], height, width, numbers[0], flags, falloff, *numbers[1:],
        point(attr), point(attr_tri), attr_views, attr_vertices, channels,
    )  # fmt: skip


def _outputs(
    pos: torch.Tensor, ranges: torch.Tensor | None, attr: torch.Tensor | None, height: int, width: int
) -> list:
    """Shapes of transmittance, colour, the background's share, and what the backward pass needs besides."""
    image = (view_count(pos, ranges), height, width)
    return [image, *([(0,)] * 4 if attr is None else [(*image, attr.shape[-1]), image, image, image])]


def _kernel(
    pos: torch.Tensor,
    tri: torch.Tensor,
    ranges: torch.Tensor | None,
    attr: torch.Tensor | None,
    attr_tri: torch.Tensor | None,
    height: int,
    width: int,
    numbers: Sequence[float],
    flags: int,
    falloff: int,
) -> tuple[torch.Tensor, ...]:
    ranges = ranges_of(pos, tri, ranges)
    images = [_core.empty(shape, pos.dtype) for shape in _outputs(pos, ranges, attr, height, width)]
    _forward(
        *_scene(pos, tri, ranges, attr, attr_tri, height, width, numbers, flags, falloff),
        *map(_core.pointer, images),
    )
    return tuple(images)


def _fake(
    pos: torch.Tensor,
    tri: torch.Tensor,
    ranges: torch.Tensor | None,
    attr: torch.Tensor | None,
    attr_tri: torch.Tensor | None,
    height: int,
    width: int,
    *_: Any,
) -> tuple[torch.Tensor, ...]:
    return tuple(pos.new_empty(shape) for shape in _outputs(pos, ranges, attr, height, width))


def _setup(ctx: Any, inputs: tuple, output: tuple) -> None:
    ctx.save_for_backward(*inputs[:5], *output)
    ctx.mark_non_differentiable(output[3], output[4])
    ctx.rest = inputs[5:]


def _grad(ctx: Any, grad_transmittance: Any, grad_color: Any, grad_behind: Any, *_: Any) -> tuple:
    saved = ctx.saved_tensors
    inputs, images = saved[:5], list(saved[5:])
    if inputs[3] is None:
        grad_color = grad_behind = None
    # needs_input_grad counts the layout argument of the function as well.
    want_attr = ctx.needs_input_grad[4]
    grad_pos, grad_attr = _backward_op(
        *inputs, *ctx.rest, *images, grad_transmittance, grad_color, grad_behind, want_attr
    )
    return (grad_pos, None, None, grad_attr if want_attr else None, *[None] * 6)


def _backward_kernel(
    pos: torch.Tensor,
    tri: torch.Tensor,
    ranges: torch.Tensor | None,
    attr: torch.Tensor | None,
    attr_tri: torch.Tensor | None,
    height: int,
    width: int,
    numbers: Sequence[float],
    flags: int,
    falloff: int,
    transmittance: torch.Tensor,
    color: torch.Tensor,
    behind: torch.Tensor,
    nearest: torch.Tensor,
    total: torch.Tensor,
    grad_transmittance: torch.Tensor | None,
    grad_color: torch.Tensor | None,
    grad_behind: torch.Tensor | None,
    want_attr: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    ranges = ranges_of(pos, tri, ranges)
    point = _core.pointer
    grads = [g if g is None else g.contiguous() for g in (grad_transmittance, grad_color, grad_behind)]
    grad_pos = _core.empty(pos.shape, pos.dtype)
    grad_attr = _core.empty(attr.shape if want_attr and attr is not None else (0,), pos.dtype)
    _backward(
        *_scene(pos, tri, ranges, attr, attr_tri, height, width, numbers, flags, falloff),
        *map(point, (transmittance, color, behind, nearest, total)),
        *map(point, grads), point(grad_pos), point(grad_attr) if want_attr else None,
    )  # fmt: skip
    return grad_pos, grad_attr


def _backward_fake(pos: torch.Tensor, tri: Any, ranges: Any, attr: torch.Tensor | None, *rest: Any) -> tuple:
    grad_attr = torch.empty_like(attr) if rest[-1] and attr is not None else pos.new_empty((0,))
    return torch.empty_like(pos), grad_attr


_INPUTS = (
    "Tensor pos, Tensor tri, Tensor? ranges, Tensor? attr, Tensor? attr_tri, SymInt height, SymInt width, "
    "float[] numbers, int flags, int falloff"
)
_backward_op = register(
    f"soft_blend_backward({_INPUTS}, Tensor transmittance, Tensor color, Tensor behind, Tensor nearest, Tensor total, "
    "Tensor? grad_transmittance, Tensor? grad_color, Tensor? grad_behind, bool want_attr) -> (Tensor, Tensor)",
    kernel=_backward_kernel,
    fake=_backward_fake,
)
_op = register(
    f"soft_blend({_INPUTS}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    kernel=_kernel,
    fake=_fake,
    setup=_setup,
    backward=_grad,
)
