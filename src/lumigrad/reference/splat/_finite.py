"""Keeping values that are not finite away from gradients.

A primitive with anything that is not finite is not drawn. That alone is not enough: the gradient of what it would have
looked like is zero times NaN, which is NaN, and reaches the camera that all primitives share.
"""

from __future__ import annotations

import torch
from torch import Tensor


def finite_or_zero(values: Tensor) -> Tensor:
    """The values, zero in the place of each that is not finite."""
    return torch.where(values.isfinite(), values, 0)


def finite_rows(values: Tensor) -> Tensor:
    """The rows [..., C] of values, zeros in the place of those with anything that is not finite."""
    return torch.where(values.isfinite().all(-1, keepdim=True), values, 0)
