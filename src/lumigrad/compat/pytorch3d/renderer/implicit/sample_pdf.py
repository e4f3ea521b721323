"""Samples of piecewise constant distributions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def sample_pdf(bins: Tensor, weights: Tensor, n_samples: int, det: bool = False, eps: float = 1e-5) -> Tensor:
    """Places [..., n_samples] drawn from bins in proportion to their weights.

    Args:
        bins: the edges of bins, in ascending order [..., B + 1].
        weights: of the bins [..., B].
        n_samples: how many.
        det: take the quantiles from 0 to 1 at even distances; otherwise at random.
        eps: added to the weights. Bins with a smaller share are not divided by.

    Raises:
        NotImplementedError: gradients are asked for; `sample_pdf_python` has them.
        ValueError: shapes that do not fit.
    """
    if torch.is_grad_enabled() and (bins.requires_grad or weights.requires_grad):
        raise NotImplementedError("sample_pdf has no gradients: use sample_pdf_python, or detach the arguments")
    return sample_pdf_python(bins, weights, n_samples, det, eps)


def sample_pdf_python(bins: Tensor, weights: Tensor, N_samples: int, det: bool = False, eps: float = 1e-5) -> Tensor:
    """The same as `sample_pdf`, with gradients to bins and weights."""
    if bins.shape[:-1] != weights.shape[:-1] or bins.shape[-1] != weights.shape[-1] + 1:
        raise ValueError(
            f"bins: expected shape {[*weights.shape[:-1], weights.shape[-1] + 1]}, one edge more than weights, "
            f"got {list(bins.shape)}"
        )
    weights = weights + eps
    shares = weights / weights.sum(-1, keepdim=True)
    below_edge = torch.nn.functional.pad(shares.cumsum(-1), (1, 0))
    size = (*below_edge.shape[:-1], N_samples)
    options: dict[str, Any] = {"dtype": below_edge.dtype, "device": below_edge.device}
    quantiles = torch.linspace(0, 1, N_samples, **options).expand(size) if det else torch.rand(size, **options)
    quantiles = quantiles.contiguous()
    edge = torch.searchsorted(below_edge.detach().contiguous(), quantiles, right=True)
    left, right = (edge - 1).clamp(min=0), edge.clamp(max=weights.shape[-1])
    start = below_edge.gather(-1, left)
    share = below_edge.gather(-1, right) - start
    part = (quantiles - start) / torch.where(share < eps, torch.ones_like(share), share)
    bins = bins.to(part.dtype)
    here = bins.gather(-1, left)
    return here + part * (bins.gather(-1, right) - here)
