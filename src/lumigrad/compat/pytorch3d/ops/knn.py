"""Nearest neighbours of points, by comparing all pairs in chunks that fit the cache."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

PAIRS = 1 << 22  # distances that are held at a time


class _KNN(NamedTuple):
    """Squared distances (or sums of magnitudes) and numbers [N, P1, K], and the points [N, P1, K, D] if asked for."""

    dists: Tensor
    idx: Tensor
    knn: Tensor | None


def knn_points(
    p1: Tensor,
    p2: Tensor,
    lengths1: Tensor | None = None,
    lengths2: Tensor | None = None,
    norm: int = 2,
    K: int = 1,
    version: int = -1,
    return_nn: bool = False,
    return_sorted: bool = True,
) -> _KNN:
    """The K points of `p2` nearest to each of `p1`, nearest first.

    Args:
        p1, p2: [N, P1, D] and [N, P2, D].
        lengths1, lengths2: how many points of each cloud count, [N]; all by default.
        norm: 2 for squared distances, 1 for sums of magnitudes.
        K: how many. Where a cloud has fewer, or a point does not count, distance and number are 0.
        version, return_sorted: not looked at; what is returned is sorted.
        return_nn: return the points too.

    Raises:
        ValueError: shapes that do not fit, or another norm.
    """
    if len(p1) != len(p2):
        raise ValueError(f"pts1 and pts2 must have the same batch dimension, got {len(p1)} and {len(p2)}")
    if p1.shape[2] != p2.shape[2]:
        raise ValueError(f"pts1 and pts2 must have the same point dimension, got {p1.shape[2]} and {p2.shape[2]}")
    if norm not in (1, 2):
        raise ValueError(f"Support for 1 or 2 norm, got {norm}")
    idx, found = _nearest(p1.detach(), p2.detach(), lengths1, lengths2, float(norm), K)
    near = knn_gather(p2, idx, lengths2)
    offset = p1[:, :, None] - near
    dists = (offset.square() if norm == 2 else offset.abs()).sum(-1)
    dists = torch.where(found, dists, torch.zeros_like(dists))
    return _KNN(dists, idx, near if return_nn else None)


def _nearest(
    p1: Tensor, p2: Tensor, lengths1: Tensor | None, lengths2: Tensor | None, norm: float, K: int
) -> tuple[Tensor, Tensor]:
    """Numbers of the K nearest points [N, P1, K], 0 where there is none, and where there is one."""
    count, rows, columns = len(p1), p1.shape[1], p2.shape[1]
    idx = torch.zeros((count, rows, K), dtype=torch.int64, device=p1.device)
    found = torch.zeros((count, rows, K), dtype=torch.bool, device=p1.device)
    kept = min(K, columns)
    if kept == 0 or idx.numel() == 0:
        return idx, found
    places = torch.arange(columns, device=p1.device)
    excluded = None if lengths2 is None else (places >= lengths2[:, None])[:, None]
    step = max(1, PAIRS // (count * columns))
    for start in range(0, rows, step):
        part = slice(start, start + step)
        distances = torch.cdist(p1[:, part], p2, p=norm, compute_mode="donot_use_mm_for_euclid_dist")
        if excluded is not None:
            distances = distances.masked_fill(excluded, torch.inf)
        if K == 1:
            idx[:, part, 0] = distances.argmin(-1)
        else:
            idx[:, part, :kept] = distances.topk(kept, largest=False, sorted=True).indices
    there = torch.arange(K, device=p1.device) < kept
    found |= there
    if lengths2 is not None:
        found &= (torch.arange(K, device=p1.device) < lengths2[:, None])[:, None]
    if lengths1 is not None:
        found &= (torch.arange(rows, device=p1.device) < lengths1[:, None])[..., None]
    return torch.where(found, idx, 0), found


def knn_gather(x: Tensor, idx: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Rows [N, L, K, U] of `x` [N, M, U] by their numbers [N, L, K]; 0 from the number `lengths` [N] of a cloud on.

    Raises:
        ValueError: different batches.
    """
    if len(x) != len(idx):
        raise ValueError(f"x and idx must have same batch dimension, got {len(x)} and {len(idx)}")
    count, total, width = x.shape
    if total == 0:
        return x.new_zeros((*idx.shape, width))
    flat = idx + torch.arange(count, device=idx.device)[:, None, None] * total
    rows = x.reshape(-1, width)[flat]
    if lengths is None:
        lengths = torch.full((count,), total, device=x.device)
    there = torch.arange(idx.shape[2], device=x.device) < lengths[:, None]
    return torch.where(there[:, None, :, None], rows, torch.zeros_like(rows[:1, :1, :1]))
