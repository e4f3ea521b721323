"""Samples along rays, and the intervals between them."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor


@dataclasses.dataclass
class RaySamples:
    """Places along rays.

    Attributes:
        vals: [R, P], or packed [S].
        packed_info: (first, count) of each ray [R, 2], if they are packed.
        ray_indices: the ray of each packed sample [S].
        is_valid: which packed samples count [S]; None: all.
    """

    vals: Tensor
    packed_info: Tensor | None = None
    ray_indices: Tensor | None = None
    is_valid: Tensor | None = None

    @property
    def device(self) -> torch.device:
        return self.vals.device


@dataclasses.dataclass
class RayIntervals:
    """Edges of intervals along rays.

    Attributes:
        vals: [R, P + 1], each interval between two neighbours; or packed [E].
        packed_info: (first, count) of each ray's edges [R, 2], if they are packed.
        ray_indices: the ray of each packed edge [E].
        is_left, is_right: which packed edges begin and end an interval [E].
    """

    vals: Tensor
    packed_info: Tensor | None = None
    ray_indices: Tensor | None = None
    is_left: Tensor | None = None
    is_right: Tensor | None = None

    @property
    def device(self) -> torch.device:
        return self.vals.device
