"""Rasterization: the visible triangle of each pixel, with barycentrics and depth.

The coverage and visibility rule, and every formula, are defined by :func:`lumigrad.reference.rasterize`; the
kernel is in ``native/surface``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.surface._interpolate import interpolate
from lumigrad.types import validation as check
from lumigrad.types.fragments import Fragments
from lumigrad.types.shapes import Float, Int

SUBPIXEL_BITS = 8
MAX_FUSED_CHANNELS = 4  # that the kernels of rasterize can interpolate themselves


def rasterize(
    pos: Float[Tensor, "views vertices 4"] | Float[Tensor, "vertices 4"],
    tri: Int[Tensor, "triangles 3"],
    size: tuple[int, int],
    ranges: Int[Tensor, "views 2"] | None = None,
    derivatives: bool = True,
    attributes: Float[Tensor, "#views vertices channels"] | Float[Tensor, "vertices channels"] | None = None,
) -> Fragments:
    """Rasterize triangles given in clip space.

    Args:
        pos: clip-space positions (x, y, z, w), OpenGL convention (visible where -w <= x, y, z <= w). Either
            [N, V, 4], one set of positions per image, or [V, 4] shared by all images. float32 or float64.
        tri: vertex indices [T, 3], int32 or int64. Both windings are drawn.
        size: (height, width) in pixels, at most 32768 each.
        ranges: with pos [V, 4], an integer tensor [N, 2]: image n draws ``tri[first : first + count]`` with
            (first, count) = ranges[n]. Triangle numbers in the output still count from the start of `tri`.
            Without ranges, pos [V, 4] makes one image of all triangles. The host needs the values of `ranges`: keep
            them on the CPU. From a device they are waited for, which a CUDA graph cannot record.
        derivatives: whether to compute ``bary_d``.
        attributes: attributes of the vertices of `pos`, [V, C] shared by all images or [N, V, C], of the type of
            `pos`. They are interpolated as by :func:`~lumigrad.interpolate`, with the same result. With one to four
            channels this happens in the same pass, and so does the way back, which takes less time than two calls.

    Returns:
        :class:`~lumigrad.Fragments`. ``bary``, ``depth`` and ``bary_d`` carry gradients to `pos` (x, y, z and w),
        ``frags.attributes`` to `pos` and `attributes`. The gradient through a clamped value, and of what is hidden, is
        zero; the gradient of visibility itself is what :func:`~lumigrad.antialias` adds.

    Triangles are clipped at the near and far planes, never dropped; a triangle with a NaN or infinite
    coordinate is left out. Vertices snap to 1/256 pixel, edge functions are exact integers and a top-left
    rule assigns shared edges, so that meshes have neither cracks nor doubly covered pixels.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices, or an index in `tri` without a vertex.

    Source: Laine et al. 2020, "Modular Primitives for High-Performance Differentiable Rendering", section 3.2;
    homogeneous barycentrics from Olano and Greer 1997, "Triangle Scan Conversion using 2D Homogeneous
    Coordinates".

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-1.0, -1.0, 0.0, 1.0], [1.0, -1.0, 0.0, 1.0], [-1.0, 1.0, 0.0, 1.0]])  # lower left half
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.rasterize(pos, tri, (4, 4))
    >>> frags.tri[0]
    tensor([[-1, -1, -1, -1],
            [ 0, -1, -1, -1],
            [ 0,  0, -1, -1],
            [ 0,  0,  0, -1]], dtype=torch.int32)
    >>> frags.bary[0, 3, 0], frags.bary_d.shape
    (tensor([0.7500, 0.1250]), torch.Size([1, 4, 4, 2, 2]))
    >>> heights = torch.tensor([[0.0], [0.0], [1.0]])
    >>> lg.rasterize(pos, tri, (4, 4), attributes=heights).attributes[0, :, 0, 0]
    tensor([0.0000, 0.6250, 0.3750, 0.1250])
    """
    pos, tri, ranges, height, width = check_geometry(pos, tri, ranges, size)
    check.flag("derivatives", derivatives)
    if attributes is not None:
        attributes = check_vertex_attributes(attributes, pos, view_count(pos, ranges))
    if needs_reference("rasterize", pos):
        return reference.rasterize(pos, tri, (height, width), ranges, derivatives, attributes)
    if attributes is not None and 1 <= attributes.shape[-1] <= MAX_FUSED_CHANNELS:
        seen, bary, depth, bary_d, values = _fused_op(
            pos, tri, ranges, attributes.contiguous(), height, width, derivatives, SUBPIXEL_BITS
        )
        return Fragments(seen, bary, depth, bary_d if derivatives else None, values)
    out = _op(pos, tri, ranges, height, width, derivatives, False, SUBPIXEL_BITS, False, None, None, False, False)
    frags = Fragments(out[0], out[1], out[2], out[3] if derivatives else None)
    return frags if attributes is None else frags._replace(attributes=interpolate(attributes, frags, tri))


def check_geometry(pos: Any, tri: Any, ranges: Any, size: Any) -> tuple[Tensor, Tensor, Tensor | None, int, int]:
    """The arguments of :func:`rasterize`, checked and made contiguous; ranges as int64 on the CPU."""
    pos = check.floating("pos", pos)
    tri = check.triangles(tri, pos.device)
    height, width = check.size(size)
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


def check_vertex_attributes(attributes: Any, pos: Tensor, views: int) -> Tensor:
    """The attributes of :func:`rasterize`, checked."""
    attributes = check.floating("attributes", attributes, pos, "pos")
    count, got = pos.shape[-2], tuple(attributes.shape)
    fits = attributes.dim() in (2, 3) and attributes.shape[-2] == count
    if not fits or (attributes.dim() == 3 and attributes.shape[0] not in (1, views)):
        raise ValueError(f"attributes: expected shape [{count}, C] or [{views} or 1, {count}, C] like pos, got {got}")
    return attributes


def view_count(pos: Tensor, ranges: Tensor | None) -> int:
    """The number of images."""
    return ranges.shape[0] if ranges is not None else 1 if pos.dim() == 2 else pos.shape[0]


def geometry_sizes(pos: Tensor, tri: Tensor, ranges: Tensor | None) -> tuple[int, ...]:
    """views, vertices, triangles, shared_positions"""
    return view_count(pos, ranges), pos.shape[-2], tri.shape[0], pos.dim() == 2


_op = declare(
    "rasterize(Tensor pos, Tensor tri, Tensor? ranges, SymInt height, SymInt width, bool derivatives, "
    "bool with_zbuffer, int subpixel_bits, bool straight_through, Tensor? after_tri, Tensor? after_zbuffer, "
    "bool drop_coincident, bool packed)",
    sizes=("views vertices triangles shared_positions", geometry_sizes),
    outputs={
        "frag_tri": "views height width",
        "bary": "views height width 2 unless packed",
        "depth": "views height width unless packed",
        "bary_d": "views height width 2 2 if derivatives",
        "zbuffer": "views height width if with_zbuffer",
        "rast": "views height width 4 if packed",
    },
)


def _fused_sizes(pos: Tensor, tri: Tensor, ranges: Tensor | None, attr: Tensor) -> tuple[int, ...]:
    attr_views = 1 if attr.dim() == 2 else attr.shape[0]
    return *geometry_sizes(pos, tri, ranges), attr_views, attr.shape[-1]


_fused_op = declare(
    "rasterize_attributes(Tensor pos, Tensor tri, Tensor? ranges, Tensor attr, SymInt height, SymInt width, "
    "bool derivatives, int subpixel_bits)",
    sizes=("views vertices triangles shared_positions attr_views channels", _fused_sizes),
    outputs={
        "frag_tri": "views height width",
        "bary": "views height width 2",
        "depth": "views height width",
        "bary_d": "views height width 2 2 if derivatives",
        "attributes": "views height width channels",
    },
)
