"""Keeps non-finite values out of gradients.

A primitive with a non-finite value is not drawn. That alone is not enough: its gradient would be zero times NaN, which
is NaN, and would reach the camera that all primitives share.
"""

from __future__ import annotations

import torch
from torch import Tensor


def finite_or_zero(values: Tensor) -> Tensor:
    """The values, with zero in place of non-finite ones."""
    return torch.where(values.isfinite(), values, 0)


def finite_rows(values: Tensor) -> Tensor:
    """The rows [..., C] of values, with zeros in place of rows that have a non-finite value."""
    return torch.where(values.isfinite().all(-1, keepdim=True), values, 0)
