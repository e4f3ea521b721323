"""Functions whose derivatives are zero where they do not exist."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def arc_cosine(x: Tensor) -> Tensor:
    """Between 0 and pi; the derivative is zero at and past the ends, -1 and 1."""
    inside = x.abs() < 1
    ends = torch.where(x < 0, math.pi, 0.0).to(x)
    return torch.where(inside, torch.where(inside, x, 0).acos(), ends)
