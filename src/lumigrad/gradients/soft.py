"""Methods whose image is soft: SoftRas and DIB-R.

They look at all faces near a pixel, not at the one that is seen, and so need no fragments; the image that they return
is blurred over as many pixels as `sigma` says.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.gradients.registry import Method, register
from lumigrad.ops import soft
from lumigrad.ops.surface._surface_image import check_image
from lumigrad.types.fragments import Fragments


def softras(
    color: Tensor,
    frags: Fragments,
    pos: Tensor,
    tri: Tensor,
    sigma: float = 1e-4,
    gamma: float = 1e-4,
    attr: Tensor | None = None,
    background: Tensor | float = 0.0,
    ranges: Tensor | None = None,
) -> Tensor:
    """SoftRas: every face is a sigmoid of the distance to it, all are mixed by distance and depth.

    The last channel of `color` holds the mask, and is replaced by the soft silhouette. With `attr`, the others are
    replaced too, by :func:`lumigrad.soft_colors`; without it they stay as they are, and carry no gradient of
    visibility.

    Args:
        color, frags, pos, tri: as in :func:`lumigrad.gradients.apply`; the last channel is the mask.
        sigma: width of the blur, a squared distance in units of half the image's shorter side.
        gamma: how soft the order in depth is; with `attr` only.
        attr: vertex attributes [V, C - 1] or [N, V, C - 1] behind the other channels.
        background: what `attr` fades to, as in :func:`lumigrad.soft_colors`.
        ranges: what was given to :func:`lumigrad.rasterize`.

    Source: Liu, Li, Chen, Li 2019, "Soft Rasterizer", section 3.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]], requires_grad=True)
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.rasterize(pos, tri, (16, 16))
    >>> mask = (frags.tri >= 0).float()[..., None]
    >>> image = lg.gradients.softras(mask, frags, pos, tri, sigma=1e-3)
    >>> image.shape  # the only channel is the mask
    torch.Size([1, 16, 16, 1])
    >>> image[:, :, 8:].sum().backward()  # of the right half
    >>> (pos.grad[1, 0] > 0).item()  # grows with the corner on the right
    True
    """
    color, frags, pos, tri = check_image(color, frags, pos, tri)
    size = _image_size(color, pos, ranges)
    if attr is None:
        return _with_mask(color, soft.soft_silhouette(pos, tri, size, sigma, ranges=ranges))
    mixed = soft.soft_colors(pos, tri, attr, size, sigma, gamma, background, ranges=ranges)
    if mixed.shape != color.shape:
        raise ValueError(
            f"attr: expected {color.shape[-1] - 1} channels, those of color but the mask, got {attr.shape[-1]}"
        )
    return mixed


def dibr(
    color: Tensor,
    frags: Fragments,
    pos: Tensor,
    tri: Tensor,
    sigma: float = 1 / 7000,
    ranges: Tensor | None = None,
) -> Tensor:
    """DIB-R: the hard image where something is seen, with a mask that falls off exponentially around it.

    The last channel of `color` holds the mask, and is replaced by the soft one: 1 where something is seen, elsewhere
    one minus the product of 1 - exp(-d^2 / sigma) over the faces. The other channels stay as they are.

    Args:
        color, frags, pos, tri: as in :func:`lumigrad.gradients.apply`; the last channel is the mask.
        sigma: width of the falloff, a squared distance in units of half the image's shorter side.
        ranges: what was given to :func:`lumigrad.rasterize`.

    Source: Chen, Gao, Ling, Smith, Lehtinen, Jacobson, Fidler 2019, "Learning to Predict 3D Objects with an
    Interpolation-based Differentiable Renderer", section 3.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]], requires_grad=True)
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.rasterize(pos, tri, (16, 16))
    >>> mask = (frags.tri >= 0).float()[..., None]
    >>> image = lg.gradients.dibr(mask, frags, pos, tri, sigma=1e-3)
    >>> torch.equal(image == 1, mask == 1)  # soft only outside
    True
    >>> image[:, :, 8:].sum().backward()
    >>> (pos.grad[1, 0] > 0).item()
    True
    """
    color, frags, pos, tri = check_image(color, frags, pos, tri)
    size = _image_size(color, pos, ranges)
    return _with_mask(color, soft.soft_silhouette(pos, tri, size, sigma, falloff="exponential", ranges=ranges))


def _image_size(color: Tensor, pos: Tensor, ranges: Tensor | None) -> tuple[int, int]:
    if color.shape[-1] < 1:
        raise ValueError(f"color: expected at least one channel, the mask, got shape {tuple(color.shape)}")
    if pos.dim() == 2 and ranges is None and color.shape[0] != 1:
        raise ValueError(
            f"ranges: expected those given to rasterize, as {color.shape[0]} images share positions, got None"
        )
    if isinstance(ranges, Tensor) and ranges.dim() == 2 and ranges.shape[0] != color.shape[0]:
        raise ValueError(f"ranges: expected one for each of {color.shape[0]} images, got shape {tuple(ranges.shape)}")
    return color.shape[1], color.shape[2]


def _with_mask(color: Tensor, mask: Tensor) -> Tensor:
    return torch.cat((color[..., :-1], mask), -1)


register(Method("softras", softras, False, False, True, "Liu et al. 2019"))
register(Method("dibr", dibr, False, False, True, "Chen et al. 2019"))
