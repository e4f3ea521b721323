"""Colours of files: sRGB and linear light, integers and floats."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def encode(linear: np.ndarray) -> np.ndarray:
    """Display-encoded (sRGB) values of linear light; below 0 they are 0, above 1 they go on as the curve does."""
    linear = np.maximum(np.asarray(linear, dtype=np.float64), 0)
    high = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, high)


def decode(encoded: np.ndarray) -> np.ndarray:
    """Linear light of display-encoded (sRGB) values."""
    encoded = np.maximum(np.asarray(encoded, dtype=np.float64), 0)
    high = ((np.maximum(encoded, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(encoded <= 0.04045, encoded / 12.92, high)


def encoded(linear: Tensor) -> Tensor:
    """`encode` of a tensor."""
    linear = linear.clamp_min(0)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp_min(1e-4) ** (1 / 2.4) - 0.055, 12.92 * linear)


def decoded(encoded: Tensor) -> Tensor:
    """`decode` of a tensor."""
    encoded = encoded.clamp_min(0)
    return torch.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)


def unit_range(values: np.ndarray) -> np.ndarray:
    """Float32 colours in [0, 1] of integers of any width, or of floats, which some programs write from 0 to 255.

    What is no number is black.
    """
    if values.dtype.kind in "iu":
        return (values / np.iinfo(values.dtype).max).astype(np.float32)
    values = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    high = values.max(initial=0.0)
    return values / np.float32(255) if high > 2 else values
