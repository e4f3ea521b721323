"""Pulsar behind the interface of `PointsRenderer`."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pulsar import Renderer
from lumigrad.compat.pytorch3d.renderer.camera_conversions import _pulsar_from_cameras_projection
from lumigrad.compat.pytorch3d.renderer.cameras import (
    FoVOrthographicCameras,
    FoVPerspectiveCameras,
    OrthographicCameras,
    PerspectiveCameras,
)
from lumigrad.compat.pytorch3d.renderer.points.rasterizer import PointsRasterizer
from lumigrad.compat.pytorch3d.renderer.utils import parse_image_size
from lumigrad.compat.pytorch3d.structures.pointclouds import Pointclouds

# Keywords of a call that say something about the camera, or are looked at here.
_OWN = {
    "radius_world", "gamma", "znear", "zfar", "R", "T", "principal_point", "focal_length", "aspect_ratio", "fov",
    "degrees", "min_x", "max_x", "min_y", "max_y", "scale_xyz",
}  # fmt: skip


class PulsarPointsRenderer(torch.nn.Module):
    """Spheres of point clouds with features, images [N, H, W, C].

    Args:
        rasterizer: its cameras, image size and radius count.
        compositor: not looked at.
        n_channels: of the features.
        max_num_spheres: not looked at.
        kwargs: of `lumigrad.compat.pulsar.Renderer`.

    Raises:
        ValueError: cameras of another kind.
    """

    def __init__(
        self, rasterizer: PointsRasterizer, compositor: Any = None, n_channels: int = 3,
        max_num_spheres: int = 1_000_000, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self.rasterizer = rasterizer
        if compositor is not None:
            warnings.warn("PulsarPointsRenderer does not look at its compositor.", stacklevel=2)
        kinds = (FoVPerspectiveCameras, PerspectiveCameras, FoVOrthographicCameras, OrthographicCameras)
        if not isinstance(rasterizer.cameras, kinds):
            raise ValueError(
                "Only FoVPerspectiveCameras, PerspectiveCameras, FoVOrthographicCameras and OrthographicCameras are "
                f"supported by the pulsar backend, got {type(rasterizer.cameras).__name__}."
            )
        height, width = parse_image_size(rasterizer.raster_settings.image_size)
        self.renderer = Renderer(
            int(width), int(height), int(max_num_spheres), not rasterizer.cameras.is_perspective(), False,
            n_channels=int(n_channels), **kwargs,
        )  # fmt: skip

    def forward(self, point_clouds: Pointclouds, **kwargs: Any) -> Tensor:
        """Images of the clouds.

        Args:
            point_clouds: with features.
            kwargs: `gamma` (for each cloud; required), `znear` and `zfar` (for each cloud; required for cameras without
                them), parameters in place of the cameras' own, `radius_world` (the settings' radius is in world units),
                and keywords of `lumigrad.compat.pulsar.Renderer`.

        Raises:
            ValueError: what is required is missing, or a camera that Pulsar has not.
        """
        self._check(point_clouds, kwargs)
        others = {name: value for name, value in kwargs.items() if name not in _OWN}
        images = []
        for n in range(len(point_clouds)):
            points, _, features = point_clouds.get_cloud(n)
            assert features is not None
            optics, near, far = self._optics(n, kwargs)
            place = self._place(n, kwargs)
            radii = self._radii(points, place[:3], optics[0], n, bool(kwargs.get("radius_world", False)))
            background = others.get("bg_col", torch.zeros_like(features[0]))
            image = self.renderer(
                points, features, radii, torch.cat((place, optics)), float(kwargs["gamma"][n]), far, near,
                **{**others, "bg_col": background},
            )  # fmt: skip
            images.append(image.flip(0))
        return torch.stack(images)

    def _check(self, clouds: Pointclouds, kwargs: dict[str, Any]) -> None:
        if "gamma" not in kwargs:
            raise ValueError("gamma is a required keyword argument for the PulsarPointsRenderer!")
        cameras = self.rasterizer.cameras
        if len(cameras) not in (1, len(clouds)):
            raise ValueError(f"cameras: expected 1 or {len(clouds)} as there are clouds, got {len(cameras)}")
        if cameras.is_perspective() == self.renderer.orthogonal_projection:
            raise ValueError("The camera type can not be changed after renderer initialization!")
        size = parse_image_size(self.rasterizer.raster_settings.image_size)
        if tuple(size) != tuple(self.renderer.size):
            raise ValueError(
                "The rasterizer size can not be changed after renderer initialization: "
                f"{self.renderer.size}, got {size}"
            )
        if "first_R_then_T" in kwargs:
            raise ValueError("`first_R_then_T` is not supported in this interface.")

    def _value(self, name: str, n: int, kwargs: dict[str, Any]) -> Tensor:
        """A parameter of one camera."""
        cameras = self.rasterizer.cameras
        if name not in kwargs and not hasattr(cameras, name):
            raise ValueError(f"pulsar needs {name} for {type(cameras).__name__}: give it as a keyword of the call.")
        value: Any = kwargs.get(name, getattr(cameras, name, None))
        row = value[n if len(value) > 1 else 0]
        return torch.as_tensor(row, dtype=cameras.R.dtype, device=cameras.device)

    def _optics(self, n: int, kwargs: dict[str, Any]) -> tuple[Tensor, float, float]:
        """Focal length, sensor width and offset of the principal point [4], and the depths that count."""
        cameras = self.rasterizer.cameras
        near, far = self._value("znear", n, kwargs), self._value("zfar", n, kwargs)
        height, width = self.renderer.size
        zero = torch.zeros_like(near)
        focal, centre = near - 1e-6, torch.stack((zero, zero))
        if isinstance(cameras, FoVPerspectiveCameras):
            angle = self._value("fov", n, kwargs)
            angle = angle * (math.pi / 180) if kwargs.get("degrees", cameras.degrees) else angle
            if float(self._value("aspect_ratio", n, kwargs)) - width / height >= 1e-6:
                raise ValueError("The aspect ratio must agree with the resolution width / height.")
            sensor = torch.tan(angle / 2) * 2 * focal
        elif isinstance(cameras, FoVOrthographicCameras):
            focal, sensor = zero, self._box_width(n, kwargs)
        else:
            scale = self._value("focal_length", n, kwargs).reshape(-1)
            if float(scale[0] * width - scale[-1] * height) > 1e-5:
                raise ValueError(f"Pulsar only supports a single focal length! Provided: {scale.tolist()}.")
            focal = focal if cameras.is_perspective() else zero
            sensor = 2 * (focal if cameras.is_perspective() else 1) / scale[0]
            centre = self._value("principal_point", n, kwargs) * 0.5 * near.new_tensor([width, height])
        return torch.cat((torch.stack((focal, sensor)), centre)), float(near), float(far)

    def _box_width(self, n: int, kwargs: dict[str, Any]) -> Tensor:
        low_x, high_x, low_y, high_y = (self._value(k, n, kwargs) for k in ("min_x", "max_x", "min_y", "max_y"))
        if float(low_x) != -float(high_x) or float(low_y) != -float(high_y):
            raise ValueError("The orthographic camera must be centered around 0.")
        if bool((self._value("scale_xyz", n, kwargs) != 1).any()):
            raise ValueError("The orthographic camera scale must be ((1.0, 1.0, 1.0),).")
        return high_x - low_x

    def _place(self, n: int, kwargs: dict[str, Any]) -> Tensor:
        """Position and rotation [9]."""
        R, T = self._value("R", n, kwargs)[None], self._value("T", n, kwargs)[None]
        size = torch.tensor([self.renderer.size])
        return _pulsar_from_cameras_projection(PerspectiveCameras(R=R, T=T), size)[0, :9]

    def _radii(self, points: Tensor, eye: Tensor, focal: Tensor, n: int, in_world: bool) -> Tensor:
        radius: Any = self.rasterizer.raster_settings.radius
        if isinstance(radius, Tensor) and radius.numel() > 1 and radius.ndim > 1:
            radius = radius[n]
        radius = torch.as_tensor(radius, dtype=points.dtype, device=points.device).expand(len(points))
        cameras = self.rasterizer.cameras
        if in_world or not cameras.is_perspective():
            return radius
        distance = (points - eye).norm(dim=1)
        return radius / focal * distance / (1 if isinstance(cameras, PerspectiveCameras) else 2)
