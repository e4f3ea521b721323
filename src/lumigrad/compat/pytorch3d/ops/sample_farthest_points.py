"""Points of clouds far from each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.ops.utils import masked_gather


def sample_farthest_points(
    points: Tensor,
    lengths: Tensor | None = None,
    K: int | Sequence[int] | Tensor = 50,
    random_start_point: bool = False,
) -> tuple[Tensor, Tensor]:
    """Points of each cloud, each the farthest from those chosen before.

    Args:
        points: [N, P, D].
        lengths: how many points of each cloud count, [N]; all by default.
        K: how many points are chosen, a number or one for each cloud.
        random_start_point: start from a random point in place of the first.

    Returns:
        The points [N, K, D] and their numbers [N, K]; 0 and -1 where a cloud has fewer points, or K is smaller.

    Raises:
        ValueError: shapes that do not fit.

    Source: Qi et al. 2017, "PointNet++", section 3.2.
    """
    count, total, _ = points.shape
    if lengths is None:
        lengths = torch.full((count,), total, dtype=torch.int64, device=points.device)
    elif lengths.shape != (count,):
        raise ValueError(
            f"points and lengths must have same batch dimension: expected ({count},), got {tuple(lengths.shape)}"
        )
    elif count and int(lengths.max()) > total:
        raise ValueError(f"A value in lengths was too large: expected at most {total}, got {int(lengths.max())}")
    wanted = torch.full((count,), K, device=points.device) if isinstance(K, int) else torch.as_tensor(K)
    wanted = wanted.to(lengths)
    if wanted.shape != (count,):
        raise ValueError(f"K and points must have the same batch dimension: expected ({count},), got {wanted.shape}")
    most = int(wanted.max()) if count else 0
    start = torch.zeros_like(lengths)
    if random_start_point:
        start = (lengths * torch.rand(count, device=points.device)).long().clamp(min=0)
    idx = _farthest(points.detach(), lengths, most, start)
    place = torch.arange(most, device=points.device)
    idx = torch.where(place < torch.minimum(wanted, lengths)[:, None], idx, -1)
    return masked_gather(points, idx), idx


def _farthest(points: Tensor, lengths: Tensor, most: int, start: Tensor) -> Tensor:
    """Numbers [N, most]; whatever follows the last point of a cloud."""
    rows = torch.arange(len(points), device=points.device)
    outside = torch.arange(points.shape[1], device=points.device) >= lengths[:, None]
    nearest = points.new_full(points.shape[:2], torch.inf).masked_fill(outside, -1)
    idx = torch.zeros((len(points), most), dtype=torch.int64, device=points.device)
    chosen = start
    for k in range(min(most, points.shape[1])):
        idx[:, k] = chosen
        distance = (points - points[rows, chosen][:, None]).square().sum(-1)
        nearest = torch.minimum(nearest, distance)
        nearest[rows, chosen] = -1  # so that no point is chosen twice
        chosen = nearest.argmax(1)
    return idx


sample_farthest_points_naive = sample_farthest_points
