"""Renderers of functions of position, and of volumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lumigrad.compat.pytorch3d.renderer._camera_base import CamerasBase
from lumigrad.compat.pytorch3d.renderer.implicit.utils import (
    HeterogeneousRayBundle,
    RayBundle,
    _validate_ray_bundle_variables,
    ray_bundle_variables_to_ray_points,
)
from lumigrad.compat.pytorch3d.structures.volumes import Volumes

Bundle = RayBundle | HeterogeneousRayBundle


class ImplicitRenderer(nn.Module):
    """Images of what a function says about points along rays.

    Args:
        raysampler: cameras to rays.
        raymarcher: densities and features along rays to images.

    Raises:
        ValueError: something that cannot be called.
    """

    def __init__(self, raysampler: Callable[..., Any], raymarcher: Callable[..., Any]) -> None:
        super().__init__()
        for name, value in (("raysampler", raysampler), ("raymarcher", raymarcher)):
            if not callable(value):
                raise ValueError(f"{name}: expected something that can be called, got {value!r}")
        self.raysampler, self.raymarcher = raysampler, raymarcher

    def forward(
        self, cameras: CamerasBase, volumetric_function: Callable[..., Any], **kwargs: Any
    ) -> tuple[Tensor, Bundle]:
        """Images, and the rays that they are of.

        Args:
            cameras: N of them.
            volumetric_function: takes `ray_bundle` and `cameras`; returns densities [N, ..., P, 1] and features
                [N, ..., P, F].
            kwargs: for the sampler, the function and the marcher.

        Raises:
            ValueError: a function that cannot be called.
        """
        if not callable(volumetric_function):
            raise ValueError(f"volumetric_function: expected something that can be called, got {volumetric_function!r}")
        bundle = self.raysampler(cameras=cameras, volumetric_function=volumetric_function, **kwargs)
        densities, features = volumetric_function(ray_bundle=bundle, cameras=cameras, **kwargs)
        images = self.raymarcher(rays_densities=densities, rays_features=features, ray_bundle=bundle, **kwargs)
        return images, bundle


class VolumeRenderer(nn.Module):
    """Images of voxel grids.

    Args:
        raysampler, raymarcher: of `ImplicitRenderer`.
        sample_mode: "bilinear" or "nearest", of `VolumeSampler`.
    """

    def __init__(
        self, raysampler: Callable[..., Any], raymarcher: Callable[..., Any], sample_mode: str = "bilinear"
    ) -> None:
        super().__init__()
        self.renderer = ImplicitRenderer(raysampler, raymarcher)
        self._sample_mode = sample_mode

    def forward(self, cameras: CamerasBase, volumes: Volumes, **kwargs: Any) -> tuple[Tensor, Bundle]:
        """Images, and the rays that they are of: one volume for each camera."""
        function = VolumeSampler(volumes, sample_mode=self._sample_mode)
        images, bundle = self.renderer(cameras=cameras, volumetric_function=function, **kwargs)
        return images, bundle


class VolumeSampler(nn.Module):
    """Densities and features of volumes at points along rays.

    Args:
        volumes: N of them.
        sample_mode: "bilinear" or "nearest".
        padding_mode: what is outside: "zeros", "border" or "reflection".

    Raises:
        ValueError: something else than volumes.
        NotImplementedError: "reflection" of volumes of different sizes.
    """

    def __init__(self, volumes: Volumes, sample_mode: str = "bilinear", padding_mode: str = "zeros") -> None:
        super().__init__()
        if not isinstance(volumes, Volumes):
            raise ValueError(f"volumes: expected Volumes, got {type(volumes).__name__}")
        if padding_mode == "reflection" and volumes.locator._mixed:
            raise NotImplementedError("padding_mode='reflection' of volumes of different sizes: sample them one by one")
        self._volumes, self._sample_mode, self._padding_mode = volumes, sample_mode, padding_mode

    def forward(self, ray_bundle: Bundle, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Densities [N, ..., P, C] and features [N, ..., P, F] (None of volumes without) along rays.

        Args:
            ray_bundle: rays of N cameras.
            kwargs: not looked at.

        Raises:
            ValueError: shapes that do not fit, or another number of cameras than of volumes.
        """
        origins, directions, lengths = ray_bundle.origins, ray_bundle.directions, ray_bundle.lengths
        _validate_ray_bundle_variables(origins, directions, lengths)
        if len(self._volumes) != len(origins):
            raise ValueError(
                f"ray_bundle: expected rays of {len(self._volumes)} cameras, one a volume, got {len(origins)}"
            )
        points = self._local_points(origins, directions, lengths)
        features = self._volumes.features()
        return self._sampled(self._volumes.densities(), points), (
            None if features is None else self._sampled(features, points)
        )

    def _local_points(self, origins: Tensor, directions: Tensor, lengths: Tensor) -> Tensor:
        """[N, ..., P, 3], by the rays in local coordinates, of which there are fewer than points."""
        linear = self._volumes.get_world_to_local_coords_transform().get_matrix()[:, :3, :3]
        turned = (directions.reshape(len(directions), -1, 3) @ linear.to(directions.dtype)).reshape(directions.shape)
        return ray_bundle_variables_to_ray_points(self._volumes.world_to_local_coords(origins), turned, lengths)

    def _sampled(self, values: Tensor, local: Tensor) -> Tensor:
        """[N, ..., P, C] of [N, C, depth, height, width]."""
        if self._volumes.locator._mixed and self._padding_mode == "border":
            local = self._within(local)
        grid = self._volumes.locator.local_in_padded(local).to(values.dtype)
        found = F.grid_sample(
            values, grid.reshape(len(values), -1, 1, 1, 3), mode=self._sample_mode, padding_mode=self._padding_mode,
            align_corners=self._volumes.align_corners,
        )  # fmt: skip
        return found.flatten(2).transpose(1, 2).reshape(*local.shape[:-1], values.shape[1])

    def _within(self, local: Tensor) -> Tensor:
        """Points moved to the nearest place between centres of voxels of their own volume."""
        if self._volumes.align_corners:
            return local.clamp(-1, 1)
        sizes = self._volumes.get_grid_sizes().flip(1).to(local.dtype)
        limit = (1 - 1 / sizes).reshape(len(sizes), *[1] * (local.ndim - 2), 3)
        return torch.maximum(torch.minimum(local, limit), -limit)
