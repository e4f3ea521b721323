"""Total variation and masks under gsplat's names."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from lumigrad.io.image import load_image

ENFORCE_CONTRACTS = os.environ.get("GSPLAT_ENFORCE_CONTRACTS") == "1"  # whether to look at values


def compute_tv_loss_targeted(image: Tensor, mask: Tensor | None = None) -> Tensor:
    """The sum of absolute differences of neighbours, by the number of values.

    Args:
        image: [B, C, H, W].
        mask: zeros and ones [B, 1, H, W]. With it, the mean of the differences down to and right to pixels of it,
            along each axis.

    Raises:
        ValueError: `image` has not four axes.
    """
    if image.dim() != 4:
        raise ValueError(f"image: expected 4D, [B, C, H, W], got {image.dim()}D, {tuple(image.shape)}")
    steps = [image.diff(dim=axis).abs() for axis in (2, 3)]
    if mask is None:
        return sum(step.sum() for step in steps) / image.numel()  # type: ignore[return-value]
    if ENFORCE_CONTRACTS and not ((mask == 0) | (mask == 1)).all():
        raise ValueError("mask: expected binary values")
    parts = [mask[:, :, 1:], mask[..., 1:]]
    return sum(  # type: ignore[return-value]
        (step * part).sum() / (part.sum() * image.shape[1] + 1e-8) for step, part in zip(steps, parts)
    )


def dilate_mask(mask: Tensor, kernel_size: int = 3) -> Tensor:
    """The largest value around each pixel of [H, W], [C, H, W] or [B, C, H, W], in a square with an odd side."""
    if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size: expected a positive odd integer, got {kernel_size!r}")
    if mask.dim() not in (2, 3, 4):
        raise ValueError(f"mask: expected 2D / 3D / 4D, got {mask.dim()}D")
    images = mask.float().reshape(-1, 1, *mask.shape[-2:])
    return F.max_pool2d(images, kernel_size, stride=1, padding=kernel_size // 2).view(mask.shape)


def create_invisible_mask(masks: Iterable[Tensor | str]) -> Tensor:
    """Where any of the masks is set, [H, W].

    Args:
        masks: tensors, 1 where something hides the scene; or files of images whose first channel is 0 there.

    Raises:
        TypeError, ValueError: none, others, or of different sizes.
    """
    tensors = []
    for i, mask in enumerate(masks):
        if not isinstance(mask, (Tensor, str)):
            raise TypeError(f"masks: expected Tensor or str, got {type(mask).__name__} at index {i}")
        tensors.append(mask.float() if isinstance(mask, Tensor) else 1 - load_image(mask)[..., 0])
        if tensors[i].shape != tensors[0].shape:
            raise ValueError(f"masks: expected shape {tuple(tensors[0].shape)} of all, got {tuple(tensors[i].shape)}")
    if not tensors:
        raise ValueError("masks: expected at least one mask")
    return torch.stack(tensors).amax(0).clamp(0, 1)
