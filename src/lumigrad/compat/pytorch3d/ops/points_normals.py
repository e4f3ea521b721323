"""Normals and principal directions of clouds from the points around each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.ops.utils import convert_pointclouds_to_tensor, get_point_covariances


def estimate_pointcloud_normals(
    pointclouds: Any,
    neighborhood_size: int = 50,
    disambiguate_directions: bool = True,
    *,
    use_symeig_workaround: bool = True,
) -> Tensor:
    """Normals [N, P, 3]; see `estimate_pointcloud_local_coord_frames`."""
    _, frames = estimate_pointcloud_local_coord_frames(
        pointclouds, neighborhood_size, disambiguate_directions, use_symeig_workaround=use_symeig_workaround
    )
    return frames[..., 0]


def estimate_pointcloud_local_coord_frames(
    pointclouds: Any,
    neighborhood_size: int = 50,
    disambiguate_directions: bool = True,
    *,
    use_symeig_workaround: bool = True,
) -> tuple[Tensor, Tensor]:
    """Variances [N, P, 3] and directions [N, P, 3, 3] (columns) of the points around each, the normal first.

    Args:
        pointclouds: `Pointclouds`, or points [N, P, 3].
        neighborhood_size: how many points around count.
        disambiguate_directions: whether the first and the last direction point to where most neighbours are.
        use_symeig_workaround: not looked at.

    Raises:
        ValueError: points of another shape, or a cloud with no more points than count.

    Source: Tombari, Salti, Di Stefano 2010, "Unique Signatures of Histograms for Local Surface Description".
    """
    points, counts = convert_pointclouds_to_tensor(pointclouds)
    if points.ndim != 3 or points.shape[2] != 3:
        raise ValueError(f"The pointclouds argument has to be of shape (minibatch, N, 3), got {tuple(points.shape)}")
    if bool((counts <= neighborhood_size).any()):
        raise ValueError(
            f"The neighborhood_size argument has to be smaller than each of the point clouds, got {neighborhood_size} "
            f"and {counts.tolist()}"
        )
    points = points - (points.sum(1) / counts[:, None])[:, None]
    covariances, near = get_point_covariances(points, counts, neighborhood_size)
    variances, frames = torch.linalg.eigh(covariances)
    if disambiguate_directions:
        offset = near - points[:, :, None]
        normal, main = _towards_most(offset, frames[..., 0]), _towards_most(offset, frames[..., 2])
        frames = torch.stack((normal, torch.linalg.cross(normal, main), main), -1)
    return variances, frames


def _towards_most(offset: Tensor, direction: Tensor) -> Tensor:
    """Directions [N, P, 3], turned round where most of the neighbours [N, P, K, 3] lie behind."""
    ahead = ((offset * direction[:, :, None]).sum(-1) > 0).sum(-1, keepdim=True)
    return torch.where(ahead < offset.shape[2] / 2, -direction, direction)
