"""Meshes of the world as a camera's fragments."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lumigrad.compat.pytorch3d.renderer._project import cameras_of, project
from lumigrad.compat.pytorch3d.renderer.mesh.rasterize_meshes import NEAREST, rasterize_meshes
from lumigrad.compat.pytorch3d.renderer.utils import parse_image_size
from lumigrad.compat.pytorch3d.structures.meshes import Meshes


@dataclass(frozen=True)
class Fragments:
    """The nearest K faces of every pixel, -1 where there are no more.

    Attributes:
        pix_to_face: int64 [N, H, W, K], packed faces.
        zbuf: [N, H, W, K], view space z.
        bary_coords: [N, H, W, K, 3], weights of the corners.
        dists: [N, H, W, K], squared NDC distance to the nearest edge, negative inside; or None.
    """

    pix_to_face: Tensor
    zbuf: Tensor
    bary_coords: Tensor
    dists: Tensor | None

    def __iter__(self) -> Iterator[Any]:
        """The four tensors, as of a tuple."""
        return (getattr(self, field.name) for field in dataclasses.fields(self))

    def detach(self) -> Fragments:
        return Fragments(*(None if value is None else value.detach() for value in self))  # type: ignore[arg-type]


@dataclass
class RasterizationSettings:
    """See `rasterize_meshes`.

    `perspective_correct` None: as the camera is; `clip_barycentric_coords` None: where there is blur.
    `max_faces_opengl` is not looked at.
    """

    image_size: int | tuple[int, int] = 256
    blur_radius: float = 0.0
    faces_per_pixel: int = 1
    bin_size: int | None = None
    max_faces_opengl: int = 10_000_000
    max_faces_per_bin: int | None = None
    perspective_correct: bool | None = None
    clip_barycentric_coords: bool | None = None
    cull_backfaces: bool = False
    z_clip_value: float | None = None
    cull_to_frustum: bool = False


class MeshRasterizer(nn.Module):
    """Meshes of the world as a camera's fragments.

    Args:
        cameras: one, or one for each mesh; may come with the call instead.
        raster_settings: may come with the call, too.
    """

    def __init__(self, cameras: Any = None, raster_settings: RasterizationSettings | None = None) -> None:
        super().__init__()
        self.cameras = cameras
        self.raster_settings = RasterizationSettings() if raster_settings is None else raster_settings

    def to(self, device: Any) -> MeshRasterizer:  # type: ignore[override]
        if self.cameras is not None:
            self.cameras = self.cameras.to(device)
        return self

    def transform(self, meshes_world: Meshes, **kwargs: Any) -> Meshes:
        """The meshes with x and y in NDC and z in view space.

        Args:
            meshes_world: in the world.
            kwargs: `cameras`, `eps`, and parameters in place of the cameras' own.

        Raises:
            ValueError: no cameras, or neither one nor as many as meshes.
        """
        cameras = cameras_of(self, kwargs)
        if len(cameras) not in (1, len(meshes_world)):
            raise ValueError(
                f"Wrong number ({len(cameras)}) of cameras for {len(meshes_world)} meshes: expected 1 or as many"
            )
        size = parse_image_size(kwargs.get("raster_settings", self.raster_settings).image_size)
        eps = kwargs.get("eps", NEAREST)
        return meshes_world.update_padded(project(cameras, meshes_world.verts_padded(), size, kwargs, eps))

    def forward(self, meshes_world: Meshes, **kwargs: Any) -> Fragments:
        cameras, settings = cameras_of(self, kwargs), kwargs.get("raster_settings", self.raster_settings)
        clip, perspective = settings.clip_barycentric_coords, settings.perspective_correct
        perspective = cameras.is_perspective() if perspective is None else perspective
        near = settings.z_clip_value
        znear = kwargs.get("znear", cameras.get_znear())
        if near is None and perspective and znear is not None:
            # PyTorch3D's choice, so that little is lost.
            near = float(znear.min() if isinstance(znear, Tensor) else znear) / 2
        return Fragments(
            *rasterize_meshes(
                self.transform(meshes_world, **kwargs),
                image_size=settings.image_size,
                blur_radius=settings.blur_radius,
                faces_per_pixel=settings.faces_per_pixel,
                perspective_correct=perspective,
                clip_barycentric_coords=settings.blur_radius > 0 if clip is None else clip,
                cull_backfaces=settings.cull_backfaces,
                z_clip_value=near,
                cull_to_frustum=settings.cull_to_frustum,
            )
        )
