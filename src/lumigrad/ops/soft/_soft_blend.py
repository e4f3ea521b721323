"""Soft silhouettes and colours of all faces in reach, without storing fragments.

Defined by :mod:`lumigrad.blending` over :func:`lumigrad.reference.soft_rasterize`; the kernel is ``native/soft``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.soft._soft_rasterize import CLIP, CULL, PERSPECTIVE
from lumigrad.ops.surface._rasterize import check_geometry, geometry_sizes, view_count
from lumigrad.reference.soft import blending
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float, Int


def soft_silhouette(
    pos: Float[Tensor, "views vertices 4"] | Float[Tensor, "vertices 4"],
    tri: Int[Tensor, "triangles 3"],
    size: tuple[int, int],
    sigma: float,
    blur_radius: float | None = None,
    falloff: str = "sigmoid",
    ranges: Int[Tensor, "views 2"] | None = None,
    cull_backfaces: bool = False,
) -> Float[Tensor, "views height width 1"]:
    """The soft mask of all faces: one minus the product of what each of them lets through.

    Args:
        pos, tri, size, ranges, cull_backfaces: as for :func:`~lumigrad.soft_rasterize`.
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

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]])
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> mask = lg.soft_silhouette(pos, tri, (8, 8), sigma=1e-2)
    >>> mask.shape
    torch.Size([1, 8, 8, 1])
    >>> [round(value, 2) for value in mask[0, 4, :, 0].tolist()]
    [0.0, 0.0, 0.42, 0.94, 0.94, 0.42, 0.0, 0.0]
    """
    pos, tri, ranges, height, width = check_geometry(pos, tri, ranges, size)
    sigma, blur = _softness(sigma, blur_radius, falloff)
    if needs_reference("soft_silhouette", pos, "soft_blend"):
        return reference.soft_silhouette(pos, tri, (height, width), sigma, blur, falloff, ranges, cull_backfaces)
    flags = PERSPECTIVE | CLIP | CULL * bool(cull_backfaces)
    code = blending.FALLOFFS.index(falloff)
    transmittance = _op(pos, tri, ranges, None, None, height, width, blur, flags, code, sigma, 1.0, 0.0, 0.0, 0.0, 0.0)[
        0
    ]
    return (1 - transmittance)[..., None]


def soft_colors(
    pos: Float[Tensor, "views vertices 4"] | Float[Tensor, "vertices 4"],
    tri: Int[Tensor, "triangles 3"],
    attr: Float[Tensor, "#views attr_vertices channels"] | Float[Tensor, "attr_vertices channels"],
    size: tuple[int, int],
    sigma: float,
    gamma: float,
    background: Float[Tensor, " ..."] | Sequence[float] | float = 0.0,
    mode: str = "softras",
    blur_radius: float | None = None,
    depth_range: tuple[float, float] | None = None,
    attr_tri: Int[Tensor, "triangles 3"] | None = None,
    ranges: Int[Tensor, "views 2"] | None = None,
    cull_backfaces: bool = False,
) -> Float[Tensor, "views height width channels+1"]:
    """Vertex attributes of all faces, mixed by their distance to the pixel and by their depth.

    Args:
        pos, tri, size, ranges, cull_backfaces: as for :func:`~lumigrad.soft_rasterize`.
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

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]])
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> red = torch.tensor([[1.0, 0.0, 0.0]]).expand(3, 3)
    >>> image = lg.soft_colors(pos, tri, red, (8, 8), sigma=1e-3, gamma=1e-2, background=(0.0, 0.0, 1.0))
    >>> image.shape  # colours, then the silhouette
    torch.Size([1, 8, 8, 4])
    >>> [round(value, 2) for value in image[0, 4, 4].tolist()]
    [1.0, 0.0, 0.0, 1.0]
    >>> [round(value, 2) for value in image[0, 0, 0].tolist()]
    [0.0, 0.0, 1.0, 0.0]
    """
    pos, tri, ranges, height, width = check_geometry(pos, tri, ranges, size)
    attr = check.floating("attr", attr, pos, "pos")
    attr_tri = tri if attr_tri is None else check.triangles(attr_tri, pos.device, "attr_tri")
    check.shape("attr_tri", attr_tri, (tri.shape[0], 3))
    views = view_count(pos, ranges)
    if attr.dim() not in (2, 3) or (attr.dim() == 3 and attr.shape[0] not in (1, views)):
        raise ValueError(f"attr: expected shape [V, C] or [{views}, V, C], got {tuple(attr.shape)}")
    sigma, blur = _softness(sigma, blur_radius, "sigmoid")
    gamma = check.number("gamma", gamma, positive=True)
    blending.check_mode(mode)
    near, far = (0.0, 0.0) if depth_range is None else check_depth_range(depth_range)
    background = check.like_image("background", _background(background, attr), (views, height, width, attr.shape[-1]))
    if needs_reference("soft_colors", pos, "soft_blend"):
        return reference.soft_colors(
            pos, tri, attr, (height, width), sigma, gamma, background, mode, blur,
            depth_range, attr_tri, ranges, cull_backfaces,
        )  # fmt: skip
    flags = PERSPECTIVE | CLIP | CULL * bool(cull_backfaces)
    transmittance, color, behind = _op(
        pos, tri, ranges, attr.contiguous(), attr_tri, height, width, blur, flags, 0, sigma, gamma,
        *blending.MODES[mode], near, far,
    )[:3]  # fmt: skip
    return torch.cat((color + behind[..., None] * background, (1 - transmittance)[..., None]), -1)


def _softness(sigma: Any, blur_radius: Any, falloff: Any) -> tuple[float, float]:
    sigma = check.number("sigma", sigma, positive=True)
    if blur_radius is None:
        return sigma, blending.default_blur_radius(sigma, falloff)
    blending.check_falloff(falloff)
    return sigma, check.number("blur_radius", blur_radius)


def check_depth_range(value: Any) -> tuple[float, float]:
    try:
        near, far = value
    except (TypeError, ValueError):
        raise TypeError(f"depth_range: expected (near, far), got {value!r}") from None
    near, far = check.number("depth_range[0]", near), check.number("depth_range[1]", far)
    if not near < far:
        raise ValueError(f"depth_range: expected near < far, got ({near}, {far})")
    return near, far


def _background(value: Any, attr: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return check.floating("background", value, attr, "attr")
    try:
        return check.constant(value, attr)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"background: expected a number, numbers or a tensor, got {value!r}") from None


def _sizes(pos: Tensor, tri: Tensor, ranges: Tensor | None, attr: Tensor | None) -> tuple[int, ...]:
    of_attr = (0, 0, 0) if attr is None else (1 if attr.dim() == 2 else attr.shape[0], *attr.shape[-2:])
    return *geometry_sizes(pos, tri, ranges), *of_attr


_op = declare(
    "soft_blend(Tensor pos, Tensor tri, Tensor? ranges, Tensor? attr, Tensor? attr_tri, SymInt height, SymInt width, "
    "float blur_radius, int flags, int falloff, float sigma, float gamma, float eps, float min_behind, float near, "
    "float far)",
    sizes=("views vertices triangles shared_positions attr_views attr_vertices channels", _sizes),
    outputs={
        "transmittance": "views height width",
        "color": "views height width channels if attr",
        "behind": "views height width if attr",
        "nearest": "views height width if attr",
        "total": "views height width if attr",
    },
)
