"""Images of point clouds: a rasterizer, then a compositor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lumigrad.compat.pytorch3d.structures.pointclouds import Pointclouds


class PointsRenderer(nn.Module):
    """Images [N, H, W, C] of point clouds with features. Keywords of the call go to both parts.

    A point weighs 1 - distance^2 / radius^2.

    Source: Wiles et al. 2020, "SynSin", section 3.2.
    """

    def __init__(self, rasterizer: nn.Module, compositor: nn.Module) -> None:
        super().__init__()
        self.rasterizer = rasterizer
        self.compositor = compositor

    def to(self, device: Any) -> PointsRenderer:  # type: ignore[override]
        self.rasterizer = self.rasterizer.to(device)
        self.compositor = self.compositor.to(device)
        return self

    def forward(self, point_clouds: Pointclouds, **kwargs: Any) -> Tensor:
        fragments = self.rasterizer(point_clouds, **kwargs)
        settings = kwargs.get("raster_settings", self.rasterizer.raster_settings)
        features = point_clouds.features_packed()
        if features is None:
            raise ValueError("point_clouds: expected features to render, got clouds without")
        idx = fragments.idx.long().permute(0, 3, 1, 2)
        weights = 1 - fragments.dists.permute(0, 3, 1, 2) / _squared_radii(settings.radius, idx, point_clouds)
        return self.compositor(idx, weights, features.T, **kwargs).permute(0, 2, 3, 1)


def _squared_radii(radius: Any, idx: Tensor, clouds: Pointclouds) -> Any:
    """A number, or one for each of [N, K, H, W]."""
    if isinstance(radius, (int, float)):
        return radius * radius
    radii = torch.as_tensor(radius, dtype=clouds.points_packed().dtype, device=idx.device).reshape(-1)
    packed = radii[clouds.padded_to_packed_idx()]
    return packed.square()[idx.clamp(min=0)] if len(packed) else 1.0
