"""PyTorch3D's rasterizer: function, settings and module."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lumigrad.compat.pytorch3d._cameras import CamerasBase
from lumigrad.compat.pytorch3d._meshes import Meshes
from lumigrad.ops.soft._soft_rasterize import soft_interpolate, soft_rasterize

NEAREST = 1e-8  # what is less than this in front of the camera counts as behind it


class Fragments(NamedTuple):
    """The nearest K faces of every pixel, -1 where there are no more.

    Attributes:
        pix_to_face: int64 [N, H, W, K], packed faces.
        zbuf: [N, H, W, K], view space z.
        bary_coords: [N, H, W, K, 3], weights of the corners.
        dists: [N, H, W, K], squared NDC distance to the nearest edge, negative inside.
    """

    pix_to_face: Tensor
    zbuf: Tensor
    bary_coords: Tensor
    dists: Tensor

    def detach(self) -> Fragments:
        return Fragments(*(value.detach() for value in self))


def rasterize_meshes(
    meshes: Meshes,
    image_size: int | tuple[int, int] = 256,
    blur_radius: float = 0.0,
    faces_per_pixel: int = 8,
    bin_size: int | None = None,
    max_faces_per_bin: int | None = None,
    perspective_correct: bool = False,
    clip_barycentric_coords: bool = False,
    cull_backfaces: bool = False,
    z_clip_value: float | None = None,
    cull_to_frustum: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Find the faces that cover each pixel's centre or come close to it, nearest first.

    Args:
        meshes: with x and y in NDC (left and up; the image's shorter side spans [-1, 1]) and z in view space.
        image_size: side, or (height, width), in pixels.
        blur_radius: the squared NDC distance within which faces that miss the pixel's centre count.
        faces_per_pixel: K, 1 to 1024.
        bin_size, max_faces_per_bin: not looked at. There are no bins to choose and none that overflow.
        perspective_correct: weights of the surface; otherwise of the projected triangle.
        clip_barycentric_coords: weights outside of a face are clamped to [0, 1] and scaled to sum to 1.
        cull_backfaces: leave out faces that are clockwise on the screen.
        z_clip_value: leave out what is nearer. With `perspective_correct` faces across that plane are cut at it (its
            default is just before the nearest vertex in front of the camera); otherwise they are left out altogether.
        cull_to_frustum: not looked at; what is outside of the image costs next to nothing.

    Returns:
        pix_to_face int64 [N, H, W, K], zbuf, bary_coords [N, H, W, K, 3] and dists: see `Fragments`. Gradients reach
        x, y and z of the vertices.

    Raises:
        TypeError, ValueError: for settings out of range.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    faces = meshes.faces_packed()
    pos, kept = _clip_positions(meshes.verts_packed(), faces, (height, width), perspective_correct, z_clip_value)
    # A face of one vertex three times is never seen, and keeps the numbers of the others.
    tri = torch.where(kept[:, None], faces, faces[:, :1])
    frags = soft_rasterize(
        pos, tri, (height, width), faces_per_pixel, blur_radius, meshes.face_ranges(),
        perspective_correct, clip_barycentric_coords, cull_backfaces,
    )  # fmt: skip
    zbuf = soft_interpolate(meshes.verts_packed()[:, 2:], frags, tri)[..., 0]
    found = frags.tri >= 0
    return (
        frags.tri.long(),
        torch.where(found, zbuf, -1),
        torch.where(found[..., None], frags.bary, -1),
        torch.where(found, frags.dist, -1),
    )


def _clip_positions(
    verts: Tensor, faces: Tensor, size: tuple[int, int], perspective: bool, near: float | None
) -> tuple[Tensor, Tensor]:
    """Positions [V, 4] in lumigrad's clip space, and which faces [F] are in front of the camera.

    z/w is -near / z, or z by its largest magnitude where weights are affine on the screen: neither loses digits with
    distance, and the order is that of z. Both scales are powers of two, so that no bit of the order depends on what
    else is in the batch.
    """
    x, y, z = verts.unbind(1)
    short = min(size)
    x, y = -x * short / size[1], y * short / size[0]
    depth = z.detach()
    if not perspective:
        kept = (depth >= max(near or 0.0, NEAREST))[faces].all(1)
        furthest = depth.abs().nan_to_num(0, 0, 0).amax() if len(depth) else depth.new_ones(())
        return torch.stack((x, y, z / (2 * _power_of_two(furthest)), torch.ones_like(z)), 1), kept
    if near is None:
        in_front = depth[(depth >= NEAREST) & depth.isfinite()]
        near = float(_power_of_two(in_front.amin())) / 2 if len(in_front) else 1.0
    kept = (depth >= near)[faces].any(1)
    return torch.stack((x * z, y * z, torch.full_like(z, -near), z), 1), kept


def _power_of_two(value: Tensor) -> Tensor:
    """The largest one that is not above the value."""
    return torch.exp2(value.clamp(min=NEAREST).log2().floor())


@dataclass
class RasterizationSettings:
    """See `rasterize_meshes`.

    `perspective_correct` None: as the camera is; `clip_barycentric_coords` None: where there is blur.
    """

    image_size: int | tuple[int, int] = 256
    blur_radius: float = 0.0
    faces_per_pixel: int = 1
    bin_size: int | None = None
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

        Raises:
            ValueError: no cameras, or neither one nor as many as meshes.
        """
        cameras = cameras_of(self, kwargs)
        if len(cameras) not in (1, len(meshes_world)):
            raise ValueError(f"cameras: expected 1 or {len(meshes_world)} as there are meshes, got {len(cameras)}")
        verts = meshes_world.verts_padded()
        eps = kwargs.get("eps", NEAREST)
        view = cameras.get_world_to_view_transform().transform_points(verts)
        size = kwargs.get("image_size", cameras.image_size)
        if size is None:
            settings = kwargs.get("raster_settings", self.raster_settings).image_size
            size = (settings, settings) if isinstance(settings, int) else settings
        ndc = cameras.transform_points_ndc(verts, eps, image_size=size)
        return meshes_world.update_padded(torch.cat((ndc[..., :2], view[..., 2:]), -1))

    def forward(self, meshes_world: Meshes, **kwargs: Any) -> Fragments:
        cameras, settings = cameras_of(self, kwargs), kwargs.get("raster_settings", self.raster_settings)
        clip, perspective = settings.clip_barycentric_coords, settings.perspective_correct
        near = settings.z_clip_value
        if near is None and cameras.is_perspective() and hasattr(cameras, "znear"):
            near = float(cameras.znear.min()) / 2  # PyTorch3D's choice, so that little is lost
        return Fragments(
            *rasterize_meshes(
                self.transform(meshes_world, **kwargs),
                image_size=settings.image_size,
                blur_radius=settings.blur_radius,
                faces_per_pixel=settings.faces_per_pixel,
                perspective_correct=cameras.is_perspective() if perspective is None else perspective,
                clip_barycentric_coords=settings.blur_radius > 0 if clip is None else clip,
                cull_backfaces=settings.cull_backfaces,
                z_clip_value=near,
            )
        )


def cameras_of(module: Any, kwargs: dict[str, Any]) -> CamerasBase:
    """The cameras of a call, or else of a module, standing where `R` and `T` of the call say, if they do."""
    cameras = kwargs.get("cameras", module.cameras)
    if cameras is None:
        raise ValueError(f"cameras: expected them in the call or in the making of {type(module).__name__}, got None")
    if "R" in kwargs or "T" in kwargs:
        cameras = copy.copy(cameras)
        cameras.R, cameras.T = kwargs.get("R", cameras.R), kwargs.get("T", cameras.T)
    return cameras
