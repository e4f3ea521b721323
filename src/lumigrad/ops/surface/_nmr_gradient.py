"""The position gradient of the Neural 3D Mesh Renderer; the image stays as it is.

Defined by :func:`lumigrad.reference.nmr_gradient`; the kernel is ``native/surface/nmr_gradient.h``.
"""

from __future__ import annotations

from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.surface._surface_image import IMAGE_SIZES, check_image, image_sizes
from lumigrad.types import validation as check
from lumigrad.types.fragments import Fragments
from lumigrad.types.shapes import Float, Int

EPSILON = 1e-4  # NDC, as in the authors' renderer


def nmr_gradient(
    color: Float[Tensor, "views height width channels"],
    frags: Fragments,
    pos: Float[Tensor, "views vertices 4"] | Float[Tensor, "vertices 4"],
    tri: Int[Tensor, "triangles 3"],
    reach: int | None = None,
    eps: float = EPSILON,
) -> Float[Tensor, "views height width channels"]:
    """The same image, with the position gradient of the Neural 3D Mesh Renderer.

    Every pixel on a row or column of the image pulls at the edges of the triangles seen there: the change of
    colour that the edge would bring if it came to pass over the pixel, times the incoming gradient, divided
    by the distance. Only changes that lower the loss count. Pixels far away pull too, which helps where shapes
    do not overlap yet, and makes this a direction of descent rather than a derivative.

    Args:
        color: [N, H, W, C], any number of channels.
        frags: the fragments the colours were made from.
        pos, tri: the geometry that was rasterized: [N, V, 4] or [V, 4], and [T, 3].
        reach: how many pixels on either side of an edge count; None, as published: all of the line.
        eps: added to the distance, in NDC.

    Returns:
        [N, H, W, C], the values of `color`. Gradients reach `color` unchanged, and x, y and w of `pos`.
        Triangles with a corner at w <= 0 get none.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices, indices or numbers out of range.

    Source: Kato, Ushiku, Harada 2018, "Neural 3D Mesh Renderer", section 3.

    >>> import torch
    >>> import lumigrad as lg
    >>> from lumigrad.ops.surface import nmr_gradient
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]], requires_grad=True)
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.rasterize(pos, tri, (32, 32))
    >>> mask = (frags.tri >= 0).float()[..., None]
    >>> image = nmr_gradient(mask, frags, pos, tri)
    >>> torch.equal(image, mask)
    True
    >>> (-image.sum()).backward()  # the loss falls where more is covered
    >>> (pos.grad[1, 0] < 0).item(), (pos.grad[2, 1] < 0).item()
    (True, True)
    """
    color, frags, pos, tri = check_image(color, frags, pos, tri)
    if reach is not None:
        reach = check.integer("reach", reach, 1)
    eps = check.number("eps", eps, positive=True)
    if needs_reference("nmr_gradient", color):
        return reference.nmr_gradient(color, frags, pos, tri, reach, eps)
    return _op(color.contiguous(), frags.tri.contiguous(), pos.contiguous(), tri, reach or 0, eps)


_op = declare(
    "nmr_gradient(Tensor color, Tensor frag_tri, Tensor pos, Tensor tri, int reach, float eps)",
    sizes=(IMAGE_SIZES, image_sizes),
    unchanged="color",
)
