"""Exact outlines: an image averaged over the squares of its pixels, and its derivative.

Defined by :func:`lumigrad.reference.outlines` and :func:`lumigrad.reference.blend_outlines`; the kernels are
``native/surface/outlines.h``, ``outline_fragments.h`` and ``blend_outlines.h``.
"""

from __future__ import annotations

from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.surface._edge_topology import topology_of
from lumigrad.ops.surface._interpolate import check_fragments
from lumigrad.ops.surface._rasterize import check_geometry, geometry_sizes
from lumigrad.ops.surface._surface_image import check_image
from lumigrad.types import validation as check
from lumigrad.types.fragments import Fragments
from lumigrad.types.outlines import Outlines
from lumigrad.types.shapes import Float, Int, Int32


def outlines(
    pos: Float[Tensor, "views vertices 4"] | Float[Tensor, "vertices 4"],
    tri: Int[Tensor, "triangles 3"],
    frags: Fragments,
    topology: Int32[Tensor, "triangles 3"] | None = None,
    ranges: Int[Tensor, "views 2"] | None = None,
    every_edge: bool = False,
    sources: bool = False,
    capacity: int | None = None,
) -> Outlines:
    """Find the visible outlines of surfaces, and what is seen on their two sides.

    Outlines are the silhouettes and borders of the mesh, the curves in which surfaces cross, and where the near and far
    planes cut them; triangles too thin or too small to own the centre of a pixel have theirs, too. They are found in
    float64, without the rounding of :func:`~lumigrad.rasterize`, and split exactly where what is seen beside them
    changes. Shade ``outlines.sides`` as the image was shaded, and hand the colours to :func:`~lumigrad.blend_outlines`.

    Args:
        pos, tri, ranges: the geometry that was rasterized.
        frags: the fragments that :func:`~lumigrad.rasterize` made of it, not those of a deeper layer.
        topology: from :func:`~lumigrad.edge_topology`, as for :func:`~lumigrad.antialias`. An edge that is a border
            there is an outline, also where another surface continues: a seam at which vertices are
            duplicated counts if the topology was made without positions.
        every_edge: all edges, for colours that jump at edges both of whose faces are seen: creases of flat shading,
            colours by face. Costs as much as there are edges in view.
        sources: whether to look for ``source``.
        capacity: rows to make room for. By default what is needed, for which the host waits on a GPU. Given, as many
            pieces are left out as there is no room for, and a CUDA graph can record the call.

    Returns:
        :class:`~lumigrad.Outlines`, in which only ``sides`` carries gradients, with derivatives where `frags` has them.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices, or indices out of range.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.25, -0.5, 0.0, 1.0], [-0.5, 0.25, 0.0, 1.0]])
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> outlines = lg.outlines(pos, tri, lg.rasterize(pos, tri, (8, 8)))
    >>> outlines.length.sum()  # the perimeter, in pixels of 1/4
    tensor(10.2426)
    >>> sorted(set(outlines.sides.tri.flatten().tolist()))  # the triangle, and the background
    [-1, 0]
    """
    frags = check_fragments(frags)
    views, height, width = frags.tri.shape
    pos, tri, ranges, height, width = check_geometry(pos, tri, ranges, (height, width))
    check.shape("frags.tri", frags.tri, (geometry_sizes(pos, tri, ranges)[0], height, width))
    topology = topology_of(tri, topology)
    if capacity is not None and capacity < 0:
        raise ValueError(f"capacity: expected a number of rows, got {capacity}")
    derivatives = frags.bary_d is not None
    if needs_reference("outlines", pos):
        return reference.outlines(pos, tri, frags, topology, ranges, every_edge, sources, capacity)
    inputs = (pos.detach(), tri, ranges, topology, frags.tri.contiguous(), every_edge, sources)
    rows = 16 * (height + width) if capacity is None else capacity
    count, *found = _outlines(*inputs, rows)
    if capacity is None:
        needed = int(count.max()) if views else 0
        if needed > rows:
            count, *found = _outlines(*inputs, needed)
        found = [_first(needed, each, axis) for each, axis in zip(found, (1, 2, 1, 2, 2, 2, 1), strict=True)]
    pixel, sides, line, source, place, weight, length = found
    fragments = _fragments(pos, tri, sides, pixel, place, (height, width), derivatives)
    return Outlines(fragments, pixel, place, weight, length, line, source if sources else None)


def blend_outlines(
    color: Float[Tensor, "views height width channels"],
    side_color: Float[Tensor, "views 4 pieces channels"],
    outlines: Outlines,
    pos: Float[Tensor, "views vertices 4"] | Float[Tensor, "vertices 4"],
    tri: Int[Tensor, "triangles 3"],
) -> Float[Tensor, "views height width channels"]:
    """Average an image over the squares of its pixels, given the colours on both sides of its outlines.

    Args:
        color: [N, H, W, C], the colours at the centres of pixels.
        side_color: [N, 4, S, C], the colours of ``outlines.sides``: what the shading of `color` makes of these
            fragments.
        outlines: from :func:`~lumigrad.outlines`.
        pos, tri: the geometry that was rasterized.

    Returns:
        [N, H, W, C]: exact for colours that are constant on each surface; for others, each surface in a pixel has the
        colour in the middle of its part. Gradients reach `color`, `side_color` and, through the places
        of the outlines, `pos`: the derivative of what is returned, for colours that are constant.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices, or indices out of range.

    Source: the boundary term of Li et al. 2018, "Differentiable Monte Carlo Ray Tracing through Edge Sampling", for
    primary visibility, integrated in closed form; areas by Green's theorem.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.25, -0.5, 0.0, 1.0], [-0.5, 0.25, 0.0, 1.0]])
    >>> pos = pos.requires_grad_()
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.rasterize(pos, tri, (8, 8))
    >>> outlines = lg.outlines(pos, tri, frags)
    >>> mask = lambda frags: (frags.tri >= 0).float()[..., None]
    >>> image = lg.blend_outlines(mask(frags), mask(outlines.sides), outlines, pos, tri)
    >>> float(image.sum() / 16)  # half of 0.75 squared
    0.28125
    >>> image.sum().backward()
    >>> pos.grad[1, 0] / 16  # the derivative of the area: half of the height
    tensor(0.3750)
    """
    frags = Fragments(outlines.sides.tri, outlines.sides.bary, outlines.sides.depth)
    side_color, _, pos, tri = check_image(side_color, frags, pos, tri)
    color = check.floating("color", color, side_color, "side_color")
    check.shape("color", color, (side_color.shape[0], "H", "W", side_color.shape[3]))
    if needs_reference("blend_outlines", color):
        return reference.blend_outlines(color, side_color, outlines, pos, tri)
    return _blend(color.contiguous(), side_color.contiguous(), outlines.pixel, outlines.line, outlines.place.detach(),
                  outlines.weight.detach(), outlines.length.detach(), pos.contiguous(), tri)  # fmt: skip


def _first(count: int, rows: Tensor, axis: int) -> Tensor:
    """The first rows, or an empty tensor that was not wanted."""
    return rows.narrow(axis, 0, count).contiguous() if rows.dim() > axis else rows


def _fragments(
    pos: Tensor, tri: Tensor, sides: Tensor, pixel: Tensor, place: Tensor, size: tuple[int, int], derivatives: bool
) -> Fragments:
    """The fragments of the triangles `sides` at places of an image."""
    bary, depth, bary_d = _outline_fragments(pos, tri, sides, pixel, place, *size, derivatives)
    return Fragments(sides, bary, depth, bary_d if derivatives else None)


def _sample_sizes(pos: Tensor, tri: Tensor, frag_tri: Tensor) -> tuple[int, ...]:
    return pos.dim() == 2, frag_tri.shape[0], pos.shape[-2], tri.shape[0], frag_tri.shape[1], frag_tri.shape[2]


def _blend_sizes(color: Tensor, side_color: Tensor, pos: Tensor, tri: Tensor) -> tuple[int, ...]:
    views, height, width, channels = color.shape
    return pos.dim() == 2, views, pos.shape[-2], tri.shape[0], height, width, channels, side_color.shape[2]


def _outline_sizes(pos: Tensor, tri: Tensor, ranges: Tensor | None, frag_tri: Tensor) -> tuple[int, ...]:
    return *geometry_sizes(pos, tri, ranges), frag_tri.shape[1], frag_tri.shape[2]


_outlines = declare(
    "outlines(Tensor pos, Tensor tri, Tensor? ranges, Tensor topology, Tensor frag_tri, bool every_edge, bool sources, "
    "SymInt capacity)",
    sizes=("views vertices triangles shared_positions height width", _outline_sizes),
    outputs={
        "count": "views",
        "pixel": "views capacity",
        "sides": "views 4 capacity",
        "line": "views capacity 2",
        "source": "views 4 capacity if sources",
        "place": "views 4 capacity 2",
        "weight": "views 2 capacity",
        "length": "views capacity",
    },
)
_outline_fragments = declare(
    "outline_fragments(Tensor pos, Tensor tri, Tensor frag_tri, Tensor pixel, Tensor place, SymInt height, "
    "SymInt width, bool derivatives)",
    sizes=("shared_positions views vertices triangles rows samples", _sample_sizes),
    outputs={
        "bary": "views rows samples 2",
        "depth": "views rows samples",
        "bary_d": "views rows samples 2 2 if derivatives",
    },
)
_blend = declare(
    "blend_outlines(Tensor color, Tensor side_color, Tensor pixel, Tensor line, Tensor place, Tensor weight, "
    "Tensor length, Tensor pos, Tensor tri)",
    sizes=("shared_positions views vertices triangles height width channels samples", _blend_sizes),
    outputs={"out": "views height width channels"},
)
