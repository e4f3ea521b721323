"""Rays and a box."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.compat.nerfacc import grid

MISS = 1e10


@torch.no_grad()
def ray_aabb_intersect(rays_o: Tensor, rays_d: Tensor, aabb: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays [R, 3] enter a box [6], at least 0, and where they leave it [R]; 1e10 for those that miss it."""
    enter, leave, hit = grid.ray_aabb_intersect(rays_o, rays_d, aabb[None])
    near, far = enter[:, 0].clamp(min=0), leave[:, 0]
    return torch.where(hit[:, 0], near, MISS), torch.where(hit[:, 0], far, MISS)
