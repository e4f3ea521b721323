"""PyTorch3D's rasterizer on OpenGL: one face a pixel, no distances, no gradients."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import torch

from lumigrad.compat.pytorch3d.renderer._project import cameras_of
from lumigrad.compat.pytorch3d.renderer.cameras import OrthographicCameras, PerspectiveCameras
from lumigrad.compat.pytorch3d.renderer.mesh.rasterizer import Fragments, MeshRasterizer, RasterizationSettings
from lumigrad.compat.pytorch3d.structures.meshes import Meshes


class MeshRasterizerOpenGL(MeshRasterizer):
    """`MeshRasterizer` with what OpenGL offers: the nearest face between znear and zfar.

    Args:
        cameras: of the FoV kinds; may come with the call instead.
        raster_settings: may come with the call, too.

    Raises:
        ValueError: `perspective_correct=False`.
        NotImplementedError: a `z_clip_value`.
    """

    def __init__(self, cameras: Any = None, raster_settings: RasterizationSettings | None = None) -> None:
        super().__init__(cameras, raster_settings)
        _check_raster_settings(self.raster_settings)

    def forward(self, meshes_world: Meshes, **kwargs: Any) -> Fragments:
        """Fragments without distances, detached; zbuf is view space z.

        Args:
            meshes_world: in the world.
            kwargs: of `MeshRasterizer`.

        Raises:
            ValueError: no cameras, or cameras of other kinds.
        """
        _check_cameras(kwargs.get("cameras", self.cameras))
        cameras, settings = cameras_of(self, kwargs), kwargs.get("raster_settings", self.raster_settings)
        _check_raster_settings(settings)
        near, far = (_bound(kwargs.get(name, getattr(cameras, name))) for name in ("znear", "zfar"))
        settings = dataclasses.replace(
            settings, faces_per_pixel=1, blur_radius=0.0, cull_backfaces=False, cull_to_frustum=False,
            clip_barycentric_coords=False, perspective_correct=True, z_clip_value=near,
        )  # fmt: skip
        with torch.no_grad():
            found = super().forward(meshes_world, **{**kwargs, "raster_settings": settings})
        seen = found.zbuf <= far
        return Fragments(
            torch.where(seen, found.pix_to_face, -1),
            torch.where(seen, found.zbuf, -1),
            torch.where(seen[..., None], found.bary_coords, -1),
            None,
        )


def _bound(value: Any) -> float:
    return float(torch.as_tensor(value).reshape(-1)[0])


def _check_cameras(cameras: Any) -> None:
    if cameras is None:
        raise ValueError("Cameras must be specified either at initialization or in the forward pass")
    if isinstance(cameras, (PerspectiveCameras, OrthographicCameras)):
        raise ValueError("MeshRasterizerOpenGL only works with FoVPerspectiveCameras and FoVOrthographicCameras")


def _check_raster_settings(settings: RasterizationSettings) -> None:
    if settings.faces_per_pixel > 1:
        warnings.warn("MeshRasterizerOpenGL finds one face per pixel", stacklevel=3)
    if settings.cull_backfaces or settings.cull_to_frustum:
        warnings.warn("MeshRasterizerOpenGL does not cull", stacklevel=3)
    if settings.z_clip_value is not None:
        raise NotImplementedError("MeshRasterizerOpenGL does not do z-clipping")
    if settings.perspective_correct is False:
        raise ValueError("MeshRasterizerOpenGL always uses perspective-correct weights")
