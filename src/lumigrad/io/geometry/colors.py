"""Conversion of colours in files: sRGB and linear light, integers and floats."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lumigrad.scene.color import srgb_decode, srgb_encode


def encode(linear: np.ndarray) -> np.ndarray:
    """Display-encoded (sRGB) float64 values of linear light; 0 below 0; above 1 the curve is extrapolated."""
    return encoded(torch.tensor(linear, dtype=torch.float64)).numpy()


def decode(encoded: np.ndarray) -> np.ndarray:
    """Linear light, float64, of display-encoded (sRGB) values."""
    return decoded(torch.tensor(encoded, dtype=torch.float64)).numpy()


def encoded(linear: Tensor) -> Tensor:
    """`encode` of a tensor."""
    return srgb_encode(linear.clamp_min(0))


def decoded(encoded: Tensor) -> Tensor:
    """`decode` of a tensor."""
    return srgb_decode(encoded.clamp_min(0))


def unit_range(values: np.ndarray) -> np.ndarray:
    """Float32 colours in [0, 1] of integers of any width, or of floats.

    Some programs write numbers from 0 to 255 as wider integers, or as floats. NaN becomes black.
    """
    if values.dtype.kind in "iu":
        bytes_in_words = values.dtype.itemsize > 1 and int(values.max(initial=0)) <= 255
        return (values / (255 if bytes_in_words else np.iinfo(values.dtype).max)).astype(np.float32)
    values = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    high = values.max(initial=0.0)
    return values / np.float32(255) if high > 2 else values
