"""A small scene for the tests of `lumigrad.compat.gsplat`, and covariances by another formula."""

from __future__ import annotations

import torch
from ops_common import random
from torch import Tensor

SIZE = {"width": 10, "height": 8}


def small_scene(count: int = 5, views: int = 2) -> dict[str, Tensor]:
    """Gaussians before cameras that look along +z, in float64."""
    viewmats = torch.eye(4, dtype=torch.float64).repeat(views, 1, 1)
    viewmats[:, :3, 3] = torch.tensor([0.1, -0.2, 4.0]) + 0.1 * random(views, 3, dtype=torch.float64)
    Ks = torch.tensor([[9.0, 0, 5], [0, 8, 4], [0, 0, 1]], dtype=torch.float64).repeat(views, 1, 1)
    return {
        "means": random(count, 3, seed=1, dtype=torch.float64),
        "quats": random(count, 4, seed=2, dtype=torch.float64),
        "scales": 0.4 + 0.2 * random(count, 3, seed=3, dtype=torch.float64),
        "opacities": 0.5 + 0.3 * random(count, seed=4, dtype=torch.float64),
        "colors": random(count, 3, seed=5, dtype=torch.float64),
        "viewmats": viewmats,
        "Ks": Ks,
    }


def covariances(quats: Tensor, scales: Tensor) -> Tensor:
    """R diag(s^2) R^T from the rotation of vectors by quaternions, q v q*."""
    unit = quats / quats.norm(dim=-1, keepdim=True)
    w, v = unit[..., :1, None], unit[..., None, 1:]
    axes = torch.eye(3, dtype=quats.dtype).expand(*quats.shape[:-1], 3, 3)
    first = torch.linalg.cross(v.expand_as(axes), axes)
    turned = axes + 2 * w * first + 2 * torch.linalg.cross(v.expand_as(axes), first)  # rows: where the axes go
    return torch.einsum("...ki,...k,...kj->...ij", turned, scales.square(), turned)
