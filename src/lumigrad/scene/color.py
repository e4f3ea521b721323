"""Conversion between linear light and sRGB, the encoding of displays and image files."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.types.shapes import Float


def srgb_decode(encoded: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Linear light of display-encoded values; IEC 61966-2-1. Below zero the linear piece continues."""
    steep = encoded > 0.04045
    curve = ((encoded.where(steep, encoded.new_ones(())) + 0.055) / 1.055) ** 2.4
    return torch.where(steep, curve, encoded / 12.92)


def srgb_encode(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Display-encoded values of linear light, the inverse of `srgb_decode`. Nothing is clamped."""
    steep = linear > 0.0031308
    curve = 1.055 * linear.where(steep, linear.new_ones(())) ** (1 / 2.4) - 0.055
    return torch.where(steep, curve, 12.92 * linear)
