"""A filter that attenuates slow variations over an image: light and exposure more than skin."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.types import validation
from lumigrad.types.shapes import Float

# As published.
AMOUNT, FACTOR = 0.3, 32


def high_pass(
    images: Float[Tensor, "views height width channels"], amount: float = AMOUNT, factor: int = FACTOR
) -> Float[Tensor, "views height width channels"]:
    """Images less a part of their blurred copies: x - amount * blur(x). Linear, so that differences may be filtered.

    The blur averages blocks of `factor` x `factor` pixels (smaller ones at the right and at the bottom, where the size
    is no multiple) and goes back to the size of the image by Gaussian weights of a standard deviation of half a block,
    which sum to 1. A constant image stays constant: it is multiplied by 1 - amount.

    Args:
        amount: of the blur that is taken away; 0 returns the images.
        factor: rows and columns of a block.

    Raises:
        ValueError: other shapes, a factor below 1, or an amount that is negative or not finite.

    Source: Laine et al. 2020, section 5: 0.3 and 32-fold. The standard deviation is ours.

    >>> import torch
    >>> from lumigrad.fit.capture import high_pass
    >>> high_pass(torch.full((1, 40, 50, 1), 2.0)).round(decimals=4).unique()
    tensor([1.4000])
    """
    validation.shape("images", images, ("views", "height", "width", "channels"))
    factor = validation.integer("factor", factor, 1)
    amount = validation.number("amount", amount)
    if amount == 0:
        return images
    down_rows, up_rows = (matrix.to(images) for matrix in _matrices(images.shape[1], factor))
    down_columns, up_columns = (matrix.to(images) for matrix in _matrices(images.shape[2], factor))
    small = torch.einsum("rh,nhwc,qw->nrqc", down_rows, images, down_columns)
    return images - amount * torch.einsum("hr,nrqc,wq->nhwc", up_rows, small, up_columns)


def _matrices(size: int, factor: int) -> tuple[Tensor, Tensor]:
    """Means of blocks [B, size], and the way back [size, B], float64."""
    pixels = torch.arange(size, dtype=torch.float64)
    block = (pixels // factor).long()
    count = int(block[-1]) + 1
    member = torch.nn.functional.one_hot(block, count).double().T
    down = member / member.sum(1, keepdim=True)
    centres = down @ pixels
    up = torch.exp(-0.5 * ((pixels[:, None] - centres) / (0.5 * factor)).square())
    return down, up / up.sum(1, keepdim=True)
