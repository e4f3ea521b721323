"""The methods, each a function of (color, frags, pos, tri) and its own options."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from lumigrad.gradients.registry import Method, register
from lumigrad.ops import surface
from lumigrad.ops.surface._surface_image import check_image
from lumigrad.reference.surface._opendr_gradient import carry_along
from lumigrad.reference.surface._splat_gradient import splat_points
from lumigrad.types import validation as check
from lumigrad.types.fragments import Fragments


def antialias(color: Tensor, frags: Fragments, pos: Tensor, tri: Tensor, topology: Tensor | None = None) -> Tensor:
    """:func:`lumigrad.antialias`: outlines blended by where they pass between two pixel centres.

    The one method here that knows the outline's place to a fraction of a pixel. Its gradient is the derivative
    of the image that it returns. Summed over the pixels along an outline, it is that of exact coverage wherever the
    outline is straight from pixel to pixel and at most one passes between two centres; a single pixel's differs, by up
    to .1 of the jump near 45 degrees. There is none at intersections of surfaces.

    Source: Laine, Hellsten, Karras, Seol, Lehtinen, Aila 2020, section 3.5.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]], requires_grad=True)
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.rasterize(pos, tri, (16, 16))
    >>> mask = (frags.tri >= 0).float()[..., None]
    >>> image = lg.gradients.antialias(mask, frags, pos, tri)
    >>> image.unique().numel() > 2  # outlines are blended
    True
    >>> image[:, :, 8:].sum().backward()  # of the right half
    >>> (pos.grad[1, 0] > 0).item()  # grows with the corner on the right
    True
    """
    return surface.antialias(color, frags, pos, tri, topology)


def edge(color: Tensor, frags: Fragments, pos: Tensor, tri: Tensor) -> Tensor:
    """:func:`lumigrad.ops.surface.edge_gradient`: every border between pixels on which a surface ends moves with it.

    The image stays hard. Exact for shapes that are shifted without being deformed, where the incoming gradient
    is the same on both sides; of a shape that is stretched the border moves as the pixel's centre does, up to
    half a pixel from the outline. Intersections of surfaces have gradients, to depth as well. Outlines over
    triangles smaller than a pixel are missed.

    Source: Pidhorskyi, Simon, Schwartz, Wen, Sheikh, Saragih 2024.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]], requires_grad=True)
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.rasterize(pos, tri, (16, 16))
    >>> mask = (frags.tri >= 0).float()[..., None]
    >>> image = lg.gradients.edge(mask, frags, pos, tri)
    >>> torch.equal(image, mask)
    True
    >>> image[:, :, 8:].sum().backward()  # of the right half
    >>> (pos.grad[1, 0] > 0).item()  # grows with the corner on the right
    True
    """
    return surface.edge_gradient(color, frags, pos, tri)


def nmr(
    color: Tensor, frags: Fragments, pos: Tensor, tri: Tensor, reach: int | None = None, eps: float = 1e-4
) -> Tensor:
    """:func:`lumigrad.ops.surface.nmr_gradient`: pixels of the same row or column pull at edges, nearer ones harder.

    The image stays hard. A direction of descent, not a derivative: it is not linear in the incoming gradient,
    grows with the logarithm of the image's size, and does not vanish at all edges inside a shaded surface.
    Shapes that do not overlap the target yet are pulled towards it from afar.

    Source: Kato, Ushiku, Harada 2018.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]], requires_grad=True)
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.rasterize(pos, tri, (16, 16))
    >>> mask = (frags.tri >= 0).float()[..., None]
    >>> image = lg.gradients.nmr(mask, frags, pos, tri, reach=4)
    >>> torch.equal(image, mask)
    True
    >>> (-image[:, :, 8:].sum()).backward()  # the loss falls where more of the right half is covered
    >>> (pos.grad[1, 0] < 0).item()  # as the corner on the right moves outwards
    True
    """
    return surface.nmr_gradient(color, frags, pos, tri, reach, eps)


def opendr(color: Tensor, frags: Fragments, pos: Tensor, tri: Tensor) -> Tensor:
    """Minus the image's own slope times the motion of the surface seen: the gradient of OpenDR.

    The image stays hard, and it alone is looked at: shading, textures and outlines in one, by differences of
    neighbouring pixels. As `edge`, exact for a shape of one colour that is shifted; shading's gradient is
    only as good as a pixel resolves it, and doubled at the pixels along an outline. Intersections of surfaces have
    none in depth.

    `color` must be made of ``shading_fragments(frags, "opendr")``, or shading counts twice.

    Args:
        color, frags, pos, tri: as in :func:`lumigrad.gradients.apply`.

    Source: Loper, Black 2014, section 4; defined by :func:`lumigrad.reference.opendr_gradient`.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]], requires_grad=True)
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.rasterize(pos, tri, (16, 16))
    >>> mask = (frags.tri >= 0).float()[..., None]
    >>> image = lg.gradients.opendr(mask, frags, pos, tri)
    >>> torch.equal(image, mask)
    True
    >>> image[:, :, 8:].sum().backward()  # of the right half
    >>> (pos.grad[1, 0] > 0).item()  # grows with the corner on the right
    True
    """
    color, frags, pos, tri = check_image(color, frags, pos, tri)
    return carry_along(color, frags, pos, tri, _surface_points(frags, pos, tri))


def splat(
    color: Tensor,
    frags: Fragments,
    pos: Tensor,
    tri: Tensor,
    behind: Sequence[tuple[Tensor, Fragments]] = (),
    background: Tensor | None = None,
) -> Tensor:
    """Samples of the surfaces splatted as discs of 3 x 3 pixels: rasterize-then-splat.

    The image is blurred by a Gaussian of half a pixel. Works for anything that can be sampled. Its gradient is that of
    the blurred image while the samples move with their surfaces; the image that is returned jumps instead, where a
    surface gains or loses a sample. The gradient falls short of the hard image's, as the Gaussian is cut off: by a
    tenth at outlines over the background (a shift by a pixel changes the sum of the image by 0.895 of the jump), by
    half at those over another surface (0.49, with the layers `behind` that tell what comes to light), and by 0.15 in
    smooth shading (0.852).

    `color` must be made of ``shading_fragments(frags, "splat")``, or shading counts twice.

    Args:
        color, frags, pos, tri: as in :func:`lumigrad.gradients.apply`.
        behind: further layers (color, frags), from :func:`lumigrad.peel`, front to back.
        background: colours behind everything, broadcast to [N, H, W, C]. By default those of `color` where
            nothing is seen, spread likewise.

    Source: Cole, Genova, Sud, Vlasic, Zhang 2021; defined by :func:`lumigrad.reference.splat_gradient`.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]], requires_grad=True)
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.rasterize(pos, tri, (16, 16))
    >>> mask = (frags.tri >= 0).float()[..., None]
    >>> image = lg.gradients.splat(mask, frags, pos, tri)
    >>> image.unique().numel() > 2  # blurred
    True
    >>> image[:, :, 8:].sum().backward()  # of the right half
    >>> (pos.grad[1, 0] > 0).item()  # grows with the corner on the right
    True
    """
    layers, points = [], []
    for layer_color, layer_frags in [(color, frags), *behind]:
        layer_color, layer_frags, pos, tri = check_image(layer_color, layer_frags, pos, tri)
        depth = check.floating("frags.depth", layer_frags.depth, layer_frags.bary, "frags.bary")
        check.shape("frags.depth", depth, layer_frags.tri.shape)
        layers.append((layer_color, layer_frags))
        points.append(_surface_points(layer_frags, pos, tri))
    if background is not None:
        background = check.floating("background", background, color, "color")
        check.like_image("background", background, color.shape)
    return splat_points(layers, points, background)


def _surface_points(frags: Fragments, pos: Tensor, tri: Tensor) -> Tensor:
    """As `reference._surface.surface_points`, by the kernel."""
    if tri.numel() and tri.device.type == "cpu" and check.values_can_be_checked() and int(tri.min()) < 0:
        # Interpolation takes them for vertices without attributes.
        raise ValueError(f"tri: expected indices of vertices of pos, got {int(tri.min())}")
    return surface.interpolate(pos, frags._replace(bary=frags.bary.detach(), bary_d=None), tri)


def exact(
    color: Tensor,
    frags: Fragments,
    pos: Tensor,
    tri: Tensor,
    topology: Tensor | None = None,
    shade: Callable[[Fragments], Tensor] | None = None,
    ranges: Tensor | None = None,
    every_edge: bool = False,
) -> Tensor:
    """:func:`lumigrad.antialias` with ``method="exact"``: every pixel averaged over its square.

    The derivative of the box-filtered image, for colours that are constant on each surface; for others, the motion of
    outlines counts by the colours immediately beside them, and shading by what it is in the middle of a surface's
    part of a pixel. Surfaces thinner than a pixel and intersections have their gradients, if `shade` is given.

    Source: the boundary integral of Li, Aittala, Durand, Lehtinen 2018, section 3, here in closed form.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]], requires_grad=True)
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.rasterize(pos, tri, (16, 16))
    >>> mask = lambda frags: (frags.tri >= 0).float()[..., None]
    >>> image = lg.gradients.exact(mask(frags), frags, pos, tri, shade=mask)
    >>> round(image.sum().item() / 64, 4)  # a triangle of half a unit's area; a unit has 8 x 8 pixels
    0.5
    """
    return surface.antialias(color, frags, pos, tri, topology, "exact", shade, ranges, every_edge)


register(Method("antialias", antialias, False, False, True, "Laine et al. 2020"))
register(Method("exact", exact, False, False, True, "Li et al. 2018"))
register(Method("edge", edge, True, False, False, "Pidhorskyi et al. 2024"))
register(Method("nmr", nmr, True, False, False, "Kato et al. 2018"))
register(Method("opendr", opendr, True, True, False, "Loper and Black 2014"))
register(Method("splat", splat, False, True, False, "Cole et al. 2021"))
