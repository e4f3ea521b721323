"""Points and their features, spread over voxel grids."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lumigrad.compat.pytorch3d.structures.pointclouds import Pointclouds
    from lumigrad.compat.pytorch3d.structures.volumes import Volumes

MODES = ("trilinear", "nearest")


def add_pointclouds_to_volumes(
    pointclouds: Pointclouds, initial_volumes: Volumes, mode: str = "trilinear", min_weight: float = 1e-4,
    rescale_features: bool = True, _python: bool = False,
) -> Volumes:  # fmt: skip
    """Volumes with the points of clouds added: each adds 1 to the densities, and its features.

    Args:
        pointclouds: N clouds in the world, with features.
        initial_volumes: N volumes with features.
        mode: "trilinear" shares a point among the eight voxels around it, "nearest" gives it to one.
        min_weight: the smallest density that features are divided by in the mode "trilinear".
        rescale_features: divide features by densities.
        _python: not looked at.

    Raises:
        ValueError: numbers of elements that do not fit, no features, or another mode.
    """
    if len(initial_volumes) != len(pointclouds):
        raise ValueError(f"initial_volumes: expected {len(pointclouds)}, one a cloud, got {len(initial_volumes)}")
    features = pointclouds.features_padded()
    if features is None:
        raise ValueError("pointclouds: expected clouds with features, got none")
    points = pointclouds.points_padded()
    mask = torch.arange(points.shape[1], device=points.device) < pointclouds.num_points_per_cloud()[:, None]
    new_features, new_densities = add_points_features_to_volume_densities_features(
        initial_volumes.world_to_local_coords(points), features, initial_volumes.densities(),
        initial_volumes.features(), mode, min_weight, mask, initial_volumes.get_grid_sizes(), rescale_features,
        initial_volumes.align_corners,
    )  # fmt: skip
    return initial_volumes.update_padded(new_densities, new_features)


def add_points_features_to_volume_densities_features(
    points_3d: Tensor, points_features: Tensor, volume_densities: Tensor, volume_features: Tensor | None,
    mode: str = "trilinear", min_weight: float = 1e-4, mask: Tensor | None = None, grid_sizes: Tensor | None = None,
    rescale_features: bool = True, align_corners: bool = True, _python: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Features and densities of volumes with points added.

    Args:
        points_3d: positions in local coordinates, as `grid_sample` counts them [N, P, 3]. What lies outside a volume is
            not added.
        points_features: [N, P, F].
        volume_densities: what is added to [N, 1, depth, height, width].
        volume_features: what is added to [N, F, depth, height, width]; zeros if None.
        mode, min_weight, rescale_features, _python: of `add_pointclouds_to_volumes`.
        mask: what each point adds to the densities [N, P]; 1 by default.
        grid_sizes: the part (depth, height, width) of each volume that counts [N, 3]; all by default.
        align_corners: of `VolumeLocator`.

    Raises:
        ValueError: another mode, or shapes that do not fit.
    """
    if mode not in MODES:
        raise ValueError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
    batch, count, channels = points_features.shape
    if volume_features is None:
        volume_features = volume_densities.new_zeros((batch, channels, *volume_densities.shape[2:]))
    if volume_densities.ndim != 5 or volume_densities.shape[1] != 1:
        raise ValueError(f"volume_densities: expected [N, 1, depth, height, width], got {list(volume_densities.shape)}")
    expected = (batch, channels, *volume_densities.shape[2:])
    if tuple(volume_features.shape) != expected:
        raise ValueError(f"volume_features: expected shape {list(expected)}, got {list(volume_features.shape)}")
    if grid_sizes is None:
        grid_sizes = torch.tensor(volume_densities.shape[2:], device=points_3d.device).expand(batch, 3)
    if mask is None:
        mask = points_3d.new_ones((batch, count))
    densities, features = _points_to_volumes(
        points_3d, points_features, volume_densities.clone(), volume_features.clone(), grid_sizes, 1.0, mask,
        align_corners, mode == "trilinear",
    )  # fmt: skip
    if rescale_features:
        # A voxel has at least one whole point, or none, in the mode "nearest".
        features = features / densities.clamp(min=min_weight if mode == "trilinear" else 1.0)
    return features, densities


def _points_to_volumes(
    points_3d: Tensor, points_features: Tensor, volume_densities: Tensor, volume_features: Tensor, grid_sizes: Tensor,
    point_weight: float, mask: Tensor, align_corners: bool, splat: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Add to densities and features in place, and return them."""
    sizes = grid_sizes.flip(1)[:, None].to(points_3d.device)
    spans = (sizes - 1 if align_corners else sizes).to(points_3d.dtype)
    place = ((points_3d + 1) * spans - (0 if align_corners else 1)) / 2
    place = torch.where(torch.isfinite(place), place, -2.0)
    weight = (point_weight * mask).to(points_3d.dtype)
    if not splat:
        _add(_rounded(place), weight, points_features, volume_densities, volume_features, sizes)
        return volume_densities, volume_features
    low = place.detach().floor()
    part = place - low
    for corner in itertools.product((0, 1), repeat=3):
        side = low.new_tensor(corner)
        share = torch.where(side > 0, part, 1 - part).prod(-1)
        _add(low + side, weight * share, points_features, volume_densities, volume_features, sizes)
    return volume_densities, volume_features


def _rounded(place: Tensor) -> Tensor:
    """The nearest integers; halves go up."""
    return (place.detach() + 0.5).floor()


def _add(voxel: Tensor, weight: Tensor, values: Tensor, densities: Tensor, features: Tensor, sizes: Tensor) -> None:
    """Add weights [N, P] and weighted features [N, P, F] to the voxels (x, y, z) [N, P, 3] that exist."""
    inside = ((voxel >= 0) & (voxel < sizes)).all(-1)
    x, y, z = torch.where(inside[..., None], voxel, 0.0).long().unbind(-1)
    weight = torch.where(inside, weight, 0.0)
    height, width = densities.shape[3:]
    index = ((z * height + y) * width + x)[:, None]
    batch, channels = features.shape[:2]
    densities.view(batch, 1, -1).scatter_add_(2, index, weight[:, None].to(densities.dtype))
    weighted = (weight[..., None] * values).transpose(1, 2).to(features.dtype)
    features.view(batch, channels, -1).scatter_add_(2, index.expand(-1, channels, -1), weighted)
