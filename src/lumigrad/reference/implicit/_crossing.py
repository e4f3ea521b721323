"""Where a surface cuts an edge."""

from __future__ import annotations

import torch
from torch import Tensor


def crossing(a: Tensor, b: Tensor) -> Tensor:
    """Where between values of two signs the function is zero, as a part of the edge.

    In the middle, without a gradient, if a value is not finite; without one too where it would not be finite.
    """
    part = -a / (b - a)
    slopes = (b / (b - a) / (b - a), a / (b - a) / (b - a))
    good = (part >= 0) & (part <= 1) & a.isfinite() & b.isfinite()
    smooth = good & slopes[0].isfinite() & slopes[1].isfinite()
    safe_a, safe_b = torch.where(smooth, a, 0.0), torch.where(smooth, b, 1.0)
    value = torch.where(good, part, 0.5).detach()
    return torch.where(smooth, -safe_a / (safe_b - safe_a), value)
