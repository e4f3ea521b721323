"""Soft silhouettes and colours of all faces in reach, without storing a fragment.

Defined by :mod:`lumigrad.blending` over :func:`lumigrad.reference.soft_rasterize`; the kernel is ``native/soft``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from lumigrad import reference
from lumigrad._engine import validation as check
from lumigrad._engine.registration import needs_reference, register
from lumigrad.ops.soft._soft_rasterize import CLIP, CULL, PERSPECTIVE, number, ranges_of, view_count
from lumigrad.ops.surface._rasterize import check_geometry
from lumigrad.reference.soft import blending


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
    if needs_reference("soft_silhouette", pos, "soft_blend"):
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
    if needs_reference("soft_colors", pos, "soft_blend"):
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
        return check.constant(value, attr)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"background: expected a number, numbers or a tensor, got {value!r}") from None


class _Inputs(NamedTuple):
    """What both ops begin with, in the order of their schemas."""

    pos: torch.Tensor
    tri: torch.Tensor
    ranges: torch.Tensor | None
    attr: torch.Tensor | None
    attr_tri: torch.Tensor | None
    height: int
    width: int
    numbers: Sequence[float]  # blur_radius, sigma, gamma, eps, least, near, far
    flags: int
    falloff: int

    @classmethod
    def with_ranges(cls, *args: Any) -> _Inputs:
        """With the ranges that the kernel is to be given: they live as long as this."""
        inputs = cls(*args)
        return inputs._replace(ranges=ranges_of(inputs.pos, inputs.tri, inputs.ranges))

    def of_kernel(self, core: Any) -> tuple:
        """The arguments that both passes hand to the kernel."""
        point = core.pointer
        pos, tri, attr = self.pos, self.tri, self.attr
        attr_views, attr_vertices, channels = 0, 0, 0
        if attr is not None:
            attr_views, attr_vertices, channels = (1 if attr.dim() == 2 else attr.shape[0]), *attr.shape[-2:]
        return (
            core.float_code(pos), point(pos), point(tri), point(self.ranges),
            view_count(pos, self.ranges), pos.shape[-2], tri.shape[0], self.height, self.width,
            self.numbers[0], self.flags, self.falloff, *self.numbers[1:],
            point(attr), point(self.attr_tri), attr_views, attr_vertices, channels,
        )  # fmt: skip

    def output_shapes(self) -> list:
        """Of transmittance, colour, the background's share, and what the backward pass needs besides."""
        image = (view_count(self.pos, self.ranges), self.height, self.width)
        return [image, *([(0,)] * 4 if self.attr is None else [(*image, self.attr.shape[-1]), image, image, image])]


_SCHEMA = (
    "Tensor pos, Tensor tri, Tensor? ranges, Tensor? attr, Tensor? attr_tri, SymInt height, SymInt width, "
    "float[] numbers, int flags, int falloff"
)
_COUNT = len(_Inputs._fields)


def _kernel(core: Any, *args: Any) -> tuple[torch.Tensor, ...]:
    inputs = _Inputs.with_ranges(*args)
    images = [core.empty(shape, inputs.pos.dtype) for shape in inputs.output_shapes()]
    core.calls["soft_blend_forward"](*inputs.of_kernel(core), *map(core.pointer, images))
    return tuple(images)


def _fake(*args: Any) -> tuple[torch.Tensor, ...]:
    inputs = _Inputs(*args)
    return tuple(inputs.pos.new_empty(shape) for shape in inputs.output_shapes())


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


def _backward_kernel(core: Any, *args: Any) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, (*tensors, want_attr) = _Inputs.with_ranges(*args[:_COUNT]), args[_COUNT:]
    pos, attr = inputs.pos, inputs.attr
    tensors = [value if value is None else value.contiguous() for value in tensors]  # images, then their gradients
    grad_pos = core.empty(pos.shape, pos.dtype)
    grad_attr = core.empty(attr.shape if want_attr and attr is not None else (0,), pos.dtype)
    core.calls["soft_blend_backward"](
        *inputs.of_kernel(core), *map(core.pointer, tensors),
        core.pointer(grad_pos), core.pointer(grad_attr) if want_attr else None,
    )  # fmt: skip
    return grad_pos, grad_attr


def _backward_fake(*args: Any) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, want_attr = _Inputs(*args[:_COUNT]), args[-1]
    attr = inputs.attr if want_attr and inputs.attr is not None else inputs.pos.new_empty((0,))
    return torch.empty_like(inputs.pos), torch.empty_like(attr)


_backward_op = register(
    f"soft_blend_backward({_SCHEMA}, Tensor transmittance, Tensor color, Tensor behind, Tensor nearest, Tensor total, "
    "Tensor? grad_transmittance, Tensor? grad_color, Tensor? grad_behind, bool want_attr) -> (Tensor, Tensor)",
    kernel=_backward_kernel,
    fake=_backward_fake,
    any_core=True,
)
_op = register(
    f"soft_blend({_SCHEMA}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    kernel=_kernel,
    fake=_fake,
    setup=_setup,
    backward=_grad,
    any_core=True,
)
