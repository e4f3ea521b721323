"""Colours of an image made to fit those of another, by least squares."""

from __future__ import annotations

import torch
from torch import Tensor


def color_correct_affine(img: Tensor, ref: Tensor) -> Tensor:
    """Each channel of an image scaled and shifted, such that it is `ref` if it is a scaled and shifted `ref`.

    The scale and shift are those that fit `ref` to `img` best, undone.

    Args:
        img, ref: [..., C], from 0 to 1.

    Returns:
        Of the same shape, held between 0 and 1.
    """
    _check(img, ref)
    x, y = ref.reshape(-1, ref.shape[-1]), img.reshape(-1, img.shape[-1])
    mean_x, mean_y = x.mean(0), y.mean(0)
    slope = ((x - mean_x) * (y - mean_y)).mean(0) / (x - mean_x).square().mean(0).clamp(min=1e-8)
    shift = mean_y - slope * mean_x
    slope = torch.where(slope.abs() < 1e-8, 1, slope)
    return ((img - shift) / slope).clamp(0, 1)


def color_correct_quadratic(img: Tensor, ref: Tensor, num_iters: int = 5, eps: float = 0.5 / 255) -> Tensor:
    """Colours of an image replaced by quadratic functions of them that fit `ref` best, several times over.

    Pixels that are within `eps` of 0 or 1, in either image or in what has become of `img`, are not fitted.

    Args:
        img, ref: [..., C], from 0 to 1.

    Returns:
        Of the same shape, held between 0 and 1.
    """
    _check(img, ref)
    channels = img.shape[-1]
    values, target = img.reshape(-1, channels), ref.reshape(-1, channels)
    first, second = torch.triu_indices(channels, channels)
    inner = _inside(values, eps) & _inside(target, eps)
    for _ in range(num_iters):
        terms = torch.cat((values[:, first] * values[:, second], values, torch.ones_like(values[:, :1])), -1)
        used = (inner & _inside(values, eps)).to(values.dtype)
        # One system per channel, whose rows that do not count are zero.
        rows, right = terms * used.T[..., None], (target * used).T[..., None]
        weights = torch.linalg.lstsq(rows, right).solution[..., 0]
        values = (terms @ weights.T).clamp(0, 1)
    return values.view(img.shape)


def _inside(values: Tensor, eps: float) -> Tensor:
    return (values >= eps) & (values <= 1 - eps)


def _check(img: Tensor, ref: Tensor) -> None:
    if img.shape != ref.shape:
        raise ValueError(f"img, ref: expected the same shape, got {tuple(img.shape)} and {tuple(ref.shape)}")
