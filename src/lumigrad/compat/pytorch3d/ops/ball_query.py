"""Points within a radius."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.ops.knn import _KNN, PAIRS
from lumigrad.compat.pytorch3d.ops.utils import masked_gather


def ball_query(
    p1: Tensor,
    p2: Tensor,
    lengths1: Tensor | None = None,
    lengths2: Tensor | None = None,
    K: int = 500,
    radius: float = 0.2,
    return_nn: bool = True,
    skip_points_outside_cube: bool = False,
) -> _KNN:
    """The first K points of `p2`, by their numbers, that are within a radius of each of `p1`.

    Args:
        p1, p2: [N, P1, D] and [N, P2, D].
        lengths1, lengths2: how many points of each cloud count, [N]; all by default.
        K: how many at most; number -1 and distance 0 where there are fewer.
        radius: of the ball.
        return_nn: return the points too.
        skip_points_outside_cube: not looked at: it changes the time, not the result.

    Raises:
        ValueError: shapes that do not fit.
    """
    if len(p1) != len(p2) or p1.shape[2] != p2.shape[2]:
        raise ValueError(f"pts1 and pts2 must have the same batch and point dimension: {p1.shape} and {p2.shape}")
    idx = torch.full((*p1.shape[:2], K), -1, dtype=torch.int64, device=p1.device)
    places = torch.arange(p2.shape[1], device=p1.device)
    counts = torch.ones(len(p1), p2.shape[1], dtype=torch.bool, device=p1.device)
    if lengths2 is not None:
        counts = places < lengths2[:, None]
    kept = min(K, p2.shape[1])
    step = max(1, PAIRS // max(1, len(p1) * p2.shape[1]))
    for start in range(0, p1.shape[1] if kept else 0, step):
        part = slice(start, start + step)
        offset = p1[:, part, None].detach() - p2[:, None].detach()
        near = (offset.square().sum(-1) < radius * radius) & counts[:, None]
        first = torch.where(near, places, p2.shape[1]).sort(-1).values[..., :kept]
        idx[:, part, :kept] = torch.where(first < p2.shape[1], first, -1)
    if lengths1 is not None:
        outside = torch.arange(p1.shape[1], device=p1.device) >= lengths1[:, None]
        idx = idx.masked_fill(outside[..., None], -1)
    points = masked_gather(p2, idx)
    dists = torch.where(idx >= 0, (p1[:, :, None] - points).square().sum(-1), 0.0)
    return _KNN(dists, idx, points if return_nn else None)
