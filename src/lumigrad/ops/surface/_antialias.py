"""Analytic antialiasing of silhouettes, the source of visibility gradients.

Defined by :func:`lumigrad.reference.antialias`; the kernel is ``native/surface/antialias.h``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.surface._edge_topology import topology_of
from lumigrad.ops.surface._outlines import blend_outlines, outlines
from lumigrad.ops.surface._surface_image import IMAGE_SIZES, check_image, image_sizes
from lumigrad.reference.surface._antialias import colors_nearby
from lumigrad.types import validation as check
from lumigrad.types.fragments import Fragments
from lumigrad.types.shapes import Float, Int, Int32


def antialias(
    color: Float[Tensor, "views height width channels"],
    frags: Fragments,
    pos: Float[Tensor, "views vertices 4"] | Float[Tensor, "vertices 4"],
    tri: Int[Tensor, "triangles 3"],
    topology: Int32[Tensor, "triangles 3"] | None = None,
    method: str = "fast",
    shade: Callable[[Fragments], Any] | None = None,
    ranges: Int[Tensor, "views 2"] | None = None,
    every_edge: bool = False,
) -> Float[Tensor, "views height width channels"]:
    """Blend colours across silhouette edges, so that the image changes smoothly as edges move.

    Where two neighbouring pixels see different triangles and the outline of the nearer one's surface passes
    between their centres, the pixel that it cuts takes as much of its neighbour's colour as the place says.
    The outline need not belong to the visible triangle: from there it is searched along the surface, so that
    fine meshes, whose triangles at the rim are thinner than a pixel, get complete gradients. A pixel cut from
    several sides still gets a convex combination: colours stay in range.

    With ``method="exact"``, pixels that outlines cut get the average over their squares instead: exact for colours that
    are constant on each surface, with the derivative of that. Surfaces thinner than a pixel, the curves in which
    surfaces cross, and cuts by the near and far planes count, too. The frame of a fine mesh takes a little more
    than twice as long at 1024² pixels (:func:`~lumigrad.outlines` finds what is blended).

    Args:
        color: [N, H, W, C], any number of channels.
        frags: the fragments the colours were made from.
        pos, tri: the geometry that was rasterized: [N, V, 4] or [V, 4], and [T, 3].
        topology: from :func:`~lumigrad.edge_topology`. Built from `tri` on every call when
            absent; build it once for a mesh that does not change its triangles, with positions if vertices
            are duplicated along seams.
        method: "fast" or "exact".
        shade: for "exact", the function that makes colours [N, H', W', C] of fragments [N, H', W'] as `color` was
            made of `frags`, background included. Without it, colours of pixels nearby stand for what is seen beside
            outlines, and what owns no pixel's centre is left out.
        ranges: for "exact", as given to :func:`~lumigrad.rasterize`.
        every_edge: for "exact", as for :func:`~lumigrad.outlines`: colours may jump at any edge.

    Returns:
        The antialiased colours [N, H, W, C]. Gradients reach `color` and, through the places of the edges,
        `pos`: x, y and w, and z only by "exact", at crossings and cuts.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices, or indices out of range.

    Source: Laine et al. 2020, section 3.5; here in homogeneous coordinates, so that edges that reach behind
    the camera are handled, and with the walk to the outline. "exact": see :func:`~lumigrad.blend_outlines`.

    >>> import torch
    >>> import lumigrad as lg
    >>> x = torch.tensor(0.125, requires_grad=True)  # the right edge of a rectangle: 4.5 pixels of 8
    >>> left, right = -torch.ones(2), x.expand(2)
    >>> corners = torch.stack([torch.cat([left, right]), torch.tensor([-2.0, 2.0, -2.0, 2.0])], -1)
    >>> pos = torch.cat([corners, torch.zeros(4, 1), torch.ones(4, 1)], -1)
    >>> tri = torch.tensor([[0, 2, 1], [1, 2, 3]])
    >>> frags = lg.rasterize(pos, tri, (1, 8))
    >>> mask = (frags.tri >= 0).float()[..., None]
    >>> smooth = lg.antialias(mask, frags, pos, tri)
    >>> smooth[0, 0, :, 0].tolist()
    [1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0]
    >>> smooth.sum().backward()
    >>> x.grad  # pixels that are covered more when the edge moves by 1, half of the image
    tensor(4.)
    """
    if method == "exact":
        return _exact(color, frags, pos, tri, topology, shade, ranges, every_edge)
    if method != "fast":
        raise ValueError(f"method: expected 'fast' or 'exact', got {method!r}")
    for name, given in (("shade", shade is not None), ("ranges", ranges is not None), ("every_edge", every_edge)):
        if given:
            raise ValueError(f"{name}: only method='exact' takes it")
    return antialias_with(color, frags, pos, tri, topology, own_edges=False)


def _exact(
    color: Tensor,
    frags: Fragments,
    pos: Tensor,
    tri: Tensor,
    topology: Tensor | None,
    shade: Callable[[Fragments], Any] | None,
    ranges: Tensor | None,
    every_edge: bool,
) -> Tensor:
    """The image averaged over pixels, with colours from `shade` or from nearby pixels."""
    color, frags, pos, tri = check_image(color, frags, pos, tri)
    if pos.dim() == 2 and color.shape[0] != 1 and ranges is None:
        raise ValueError(f"ranges: expected those given to rasterize, since pos [V, 4] makes {color.shape[0]} images")
    found = outlines(pos, tri, frags, topology, ranges, every_edge, sources=shade is None)
    if shade is not None:
        sides = shade(found.sides)
        check.shape(
            "shade(fragments)", check.tensor("shade(fragments)", sides), (*found.sides.tri.shape, color.shape[3])
        )
    else:
        sides = colors_nearby(color, found)
    return blend_outlines(color, sides, found, pos, tri)


def antialias_with(
    color: Tensor,
    frags: Fragments,
    pos: Tensor,
    tri: Tensor,
    topology: Tensor | None,
    own_edges: bool,
) -> Tensor:
    """:func:`antialias`; with `own_edges`, by nvdiffrast's rule (see :func:`lumigrad.reference.antialias`)."""
    color, frags, pos, tri = check_image(color, frags, pos, tri)
    depth = check.floating("frags.depth", frags.depth, frags.bary, "frags.bary")
    check.shape("frags.depth", depth, frags.tri.shape)
    topology = topology_of(tri, topology)
    if needs_reference("antialias", color):
        return reference.antialias(color, frags, pos, tri, topology, own_edges=own_edges)
    return _op(color.contiguous(), frags.tri.contiguous(), depth.detach().contiguous(), None, pos.contiguous(), tri,
               topology, own_edges)[0]  # fmt: skip


def _sizes(color: Tensor, pos: Tensor, tri: Tensor) -> tuple[int, ...]:
    """The sizes of the image, and the number of bytes that the forward pass may keep for the backward pass: one per
    triangle, and eight per crossing and per sixteen rows. Outlines rarely cross more than one or two pairs of pixels
    per row and column."""
    views, height, width, _ = color.shape
    flags = (pos.shape[0] if pos.dim() == 3 else 1) * tri.shape[0]
    crossings = 0 if color.is_cuda else 4 * views * (height + width)
    return *image_sizes(color, pos, tri), (flags + 7) // 8 * 8 + 8 * crossings


_op = declare(
    "antialias(Tensor color, Tensor? frag_tri, Tensor? depth, Tensor? rast, Tensor pos, Tensor tri, Tensor topology, "
    "bool own_edges)",
    sizes=(f"{IMAGE_SIZES} note_bytes", _sizes),
    outputs={"out": "views height width channels", "notes": "note_bytes"},
)
