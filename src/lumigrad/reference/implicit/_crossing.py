"""Where a surface cuts an edge."""

from __future__ import annotations

import torch
from torch import Tensor


def crossing(a: Tensor, b: Tensor) -> Tensor:
    """The zero between two values of opposite sign, as a fraction of the edge.

    If a value is not finite, the middle, without a gradient; a non-finite gradient is also dropped.
    """
    part = -a / (b - a)
    slopes = (b / (b - a) / (b - a), a / (b - a) / (b - a))
    good = (part >= 0) & (part <= 1) & a.isfinite() & b.isfinite()
    smooth = good & slopes[0].isfinite() & slopes[1].isfinite()
    safe_a, safe_b = torch.where(smooth, a, 0.0), torch.where(smooth, b, 1.0)
    value = torch.where(good, part, 0.5).detach()
    return torch.where(smooth, -safe_a / (safe_b - safe_a), value)
