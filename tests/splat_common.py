"""Scenes that the tests of spheres, points and Gaussians share."""

from __future__ import annotations

import torch
from ops_common import random
from torch import Tensor


def cameras(dtype: torch.dtype = torch.float64, views: int = 2, size: tuple[int, int] = (20, 26)) -> dict[str, Tensor]:
    """Cameras at some distance from the origin, turned a little, with unequal focal lengths."""
    matrices = []
    for i in range(views):
        z = 0.2 - 0.3 * i
        turn = torch.linalg.matrix_exp(torch.tensor([[0.0, 0.1, -z], [-0.1, 0, 0.15], [z, -0.15, 0]]))
        matrix = torch.eye(4)
        matrix[:3, :3] = turn
        matrix[:3, 3] = torch.tensor([0.1, -0.05 * i, -4.0])
        matrices.append(matrix)
    number = torch.arange(views, dtype=dtype)
    return {
        "view": torch.stack(matrices).to(dtype),
        "fx": 24.0 + number,
        "fy": 22.0 - number,
        "cx": size[1] / 2 + 0.3 * number,
        "cy": size[0] / 2 - 0.2 - 0.1 * number,
    }


def sphere_scene(
    count: int = 12, dtype: torch.dtype = torch.float64, channels: int = 3, seed: int = 0
) -> dict[str, Tensor]:
    return {
        "positions": random(count, 3, seed=seed, dtype=dtype) * 1.3,
        "radii": 0.25 + 0.2 * random(count, seed=seed + 1, dtype=dtype),
        "payload": random(count, channels, seed=seed + 2, dtype=dtype),
        "opacity": 0.6 + 0.35 * random(count, seed=seed + 3, dtype=dtype),
        "background": random(channels, seed=seed + 4, dtype=dtype),
    }


def gaussian_scene(count: int = 12, dtype: torch.dtype = torch.float64, seed: int = 0) -> dict[str, Tensor]:
    return {
        "means": random(count, 3, seed=seed, dtype=dtype) * 1.3,
        "quats": random(count, 4, seed=seed + 1, dtype=dtype),
        "scales": 0.2 + 0.15 * random(count, 3, seed=seed + 2, dtype=dtype),
    }


def flat_scene(
    footprint: str, count: int = 12, views: int = 2, dtype: torch.dtype = torch.float64, channels: int = 3,
    size: tuple[int, int] = (20, 26), seed: int = 0,
) -> dict[str, Tensor]:  # fmt: skip
    """The tensors that `splat` takes."""
    extent = torch.tensor([size[1], size[0]], dtype=dtype)
    a, c = (0.15 + 0.1 * random(views, count, seed=seed + k, dtype=dtype) for k in (1, 2))
    b = 0.5 * random(views, count, seed=seed + 3, dtype=dtype) * (a * c).sqrt()
    radii = 4 + 2 * random(views, count, seed=seed + 1, dtype=dtype)
    return {
        "xy": (0.55 + 0.6 * random(views, count, 2, seed=seed, dtype=dtype)) * extent,
        "shape": torch.stack((a, b, c), -1) if footprint == "gaussian" else radii,
        "depth": 5 + random(views, count, seed=seed + 4, dtype=dtype),
        "payload": random(count, channels, seed=seed + 5, dtype=dtype),
        "opacity": 0.6 + 0.35 * random(count, seed=seed + 6, dtype=dtype),
        "background": random(channels, seed=seed + 7, dtype=dtype),
    }
