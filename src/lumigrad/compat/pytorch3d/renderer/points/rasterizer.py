"""Point clouds of the world as a camera's fragments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from lumigrad.compat.pytorch3d.renderer._project import cameras_of, project
from lumigrad.compat.pytorch3d.renderer.points.rasterize_points import rasterize_points
from lumigrad.compat.pytorch3d.renderer.utils import parse_image_size
from lumigrad.compat.pytorch3d.structures.pointclouds import Pointclouds


class PointFragments(NamedTuple):
    """The nearest K points of every pixel, -1 where there are no more.

    Attributes:
        idx: int32 [N, H, W, K], packed points.
        zbuf: [N, H, W, K], view space z.
        dists: [N, H, W, K], squared NDC distances.
    """

    idx: Tensor
    zbuf: Tensor
    dists: Tensor


@dataclass
class PointsRasterizationSettings:
    """See `rasterize_points`."""

    image_size: int | tuple[int, int] = 256
    radius: float | Tensor = 0.01
    points_per_pixel: int = 8
    bin_size: int | None = None
    max_points_per_bin: int | None = None


class PointsRasterizer(nn.Module):
    """Point clouds of the world as a camera's fragments.

    Args:
        cameras: one, or one for each cloud; may come with the call instead.
        raster_settings: may come with the call, too.
    """

    def __init__(self, cameras: Any = None, raster_settings: PointsRasterizationSettings | None = None) -> None:
        super().__init__()
        self.cameras = cameras
        self.raster_settings = PointsRasterizationSettings() if raster_settings is None else raster_settings

    def to(self, device: Any) -> PointsRasterizer:  # type: ignore[override]
        if self.cameras is not None:
            self.cameras = self.cameras.to(device)
        return self

    def transform(self, point_clouds: Pointclouds, **kwargs: Any) -> Pointclouds:
        """The clouds with x and y in NDC and z in view space.

        Args:
            point_clouds: in the world.
            kwargs: `cameras`, `eps`, and parameters in place of the cameras' own.

        Raises:
            ValueError: no cameras.
        """
        cameras = cameras_of(self, kwargs)
        size = parse_image_size(kwargs.get("raster_settings", self.raster_settings).image_size)
        points = project(cameras, point_clouds.points_padded(), size, kwargs, kwargs.get("eps"))
        return point_clouds.update_padded(points)

    def forward(self, point_clouds: Pointclouds, **kwargs: Any) -> PointFragments:
        settings = kwargs.get("raster_settings", self.raster_settings)
        projected = self.transform(point_clouds, **kwargs)
        return PointFragments(
            *rasterize_points(projected, settings.image_size, settings.radius, settings.points_per_pixel)
        )
