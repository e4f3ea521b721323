"""Gradients of visibility at the borders between pixels; the image stays as it is.

Defined by :func:`lumigrad.reference.edge_gradient`; the kernel is ``native/surface/edge_gradient.h``.
"""

from __future__ import annotations

from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.surface._surface_image import IMAGE_SIZES, check_image, image_sizes
from lumigrad.types.fragments import Fragments
from lumigrad.types.shapes import Float, Int


def edge_gradient(
    color: Float[Tensor, "views height width channels"],
    frags: Fragments,
    pos: Float[Tensor, "views vertices 4"] | Float[Tensor, "vertices 4"],
    tri: Int[Tensor, "triangles 3"],
) -> Float[Tensor, "views height width channels"]:
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

    >>> import torch
    >>> import lumigrad as lg
    >>> from lumigrad.ops.surface import edge_gradient
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]], requires_grad=True)
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.rasterize(pos, tri, (32, 32))
    >>> mask = (frags.tri >= 0).float()[..., None]
    >>> image = edge_gradient(mask, frags, pos, tri)
    >>> torch.equal(image, mask)
    True
    >>> image.sum().backward()  # a larger triangle covers more
    >>> (pos.grad[1, 0] > 0).item(), (pos.grad[2, 1] > 0).item()
    (True, True)
    """
    color, frags, pos, tri = check_image(color, frags, pos, tri)
    if needs_reference("edge_gradient", color):
        return reference.edge_gradient(color, frags, pos, tri)
    return _op(color.contiguous(), frags.tri.contiguous(), frags.bary.detach().contiguous(), pos.contiguous(), tri)


_op = declare(
    "edge_gradient(Tensor color, Tensor frag_tri, Tensor bary, Tensor pos, Tensor tri)",
    sizes=(IMAGE_SIZES, image_sizes),
    unchanged="color",
)
