"""Four regularisers of Gaussians in one call."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.compat.gsplat.losses import (
    gaussian_density_reg,
    gaussian_scale_reg,
    gaussian_z_scale_reg,
    out_of_bound_loss,
)


class FusedGaussianLosses(torch.nn.Module):
    """`gaussian_scale_reg`, `gaussian_density_reg`, `gaussian_z_scale_reg` and `out_of_bound_loss`, not reduced."""

    def __init__(self, z_scale_threshold: float = 0.0) -> None:
        super().__init__()
        self.z_scale_threshold = z_scale_threshold

    def forward(
        self, scales: Tensor, densities: Tensor, z_scales: Tensor, positions: Tensor, cuboid_dims: Tensor,
        visibility: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        return (
            gaussian_scale_reg(scales, visibility), gaussian_density_reg(densities, visibility),
            gaussian_z_scale_reg(z_scales, self.z_scale_threshold), out_of_bound_loss(positions, cuboid_dims),
        )  # fmt: skip
