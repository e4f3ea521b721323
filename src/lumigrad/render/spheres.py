"""Soft spheres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.ops.splat import spheres
from lumigrad.render.clouds import Drawn, Features, drawn, first, one_radius, render_clouds
from lumigrad.render.color import ToneMapping
from lumigrad.render.rendering import Rendering
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.scene import Scene
from lumigrad.scene.shapes.point_cloud import PointCloud, PointClouds
from lumigrad.types.shapes import Float
from lumigrad.types.view import View


def render_spheres(
    cloud: Scene | PointCloud | PointClouds | Sequence[PointCloud],
    camera: Camera,
    background: Any = None,
    *,
    radius: Float[Tensor, " ..."] | float | None = None,
    gamma: Float[Tensor, " ..."] | float = 1e-4,
    depth_range: tuple[float, float] | None = None,
    tone_mapping: ToneMapping = None,
    buffers: bool = True,
) -> Rendering:
    """Render points as spheres that are blended by a softmax over depth, by `lumigrad.spheres` (Pulsar).

    Args:
        cloud: one, or a `Scene` of some, seen from every camera; or `PointClouds`, or a sequence of clouds: a batch,
            of which image n shows cloud n. Radii are in world units. Colours have any number of channels C, and are
            white where there are none; opacities count.
        camera: batch shape [N] or []; one camera serves a whole batch of clouds.
        background: None for the scene's, which is black by default; a display-encoded number, colour ([C], [N, C]) or
            image ([H, W, C], [N, H, W, C]); an `EnvironmentLight`, or "environment" for the scene's, which is encoded
            if the colours are.
        radius: of all spheres, in world units, in place of the cloud's radii.
        gamma: softness of the depth test, as a part of `depth_range`: of two surfaces that lie gamma times its length
            apart, the nearer one weighs e times as much. From 1e-5, hard, to 1.
        depth_range: (near, far) in world units; spheres whose nearest point is not between them are not drawn. By
            default the camera's clip planes.
        tone_mapping: None where colours are display-encoded, as image files hold them: they are blended as they are.
            Given one ("srgb", "reinhard", "filmic", a function), colours are taken for linear light, and backgrounds
            are decoded; the image is encoded at last.
        buffers: whether to return depth, ids, and normals where the cloud has them (one a sphere).

    Returns:
        Rendering of N images. Depth and normals are means over the spheres that a pixel shows, depth that of their
        surfaces. `primitive_ids` are the nearest spheres. Gradients reach positions, radii, colours, normals,
        opacities, gamma, the camera and the background.

    Raises:
        TypeError, ValueError: for arguments of other types, shapes or ranges; a cloud without radii; a lens distortion.

    Source: Lassner and Zollhoefer 2021, "Pulsar", section 3.

    >>> import torch
    >>> from lumigrad.render import render_spheres
    >>> from lumigrad.scene import PerspectiveCamera, PointCloud
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=3.0, fov_y=45.0, size=(33, 33))
    >>> ball = PointCloud(torch.zeros(1, 3), colors=torch.tensor([[1.0, 0.5, 0.0]]), radii=torch.tensor([1.0]))
    >>> shot = render_spheres(ball, camera)
    >>> [round(value, 3) for value in shot.image[0, 16, 16].tolist()]
    [1.0, 0.5, 0.0]
    >>> round(shot.depth[0, 16, 16].item(), 3)  # its front
    2.0
    """
    if isinstance(radius, (int, float)) and not (radius > 0 and math.isfinite(radius)):
        raise ValueError(f"radius: expected a positive number, got {radius}")

    planes = None if depth_range is None else _planes(depth_range)

    def draw(one: PointCloud, view: View) -> Drawn:
        near, far = (view.near, view.far) if planes is None else planes
        features = Features.of(one, buffers)
        out = spheres(
            one.positions, _radii(one, radius), features.values, view, one.opacities, gamma=gamma,
            min_depth=near, max_depth=far, contributors=int(buffers),
        )  # fmt: skip
        color, normals = features.split(out.image)
        return drawn(out, color, buffers, first(out), normals, _along_axis(view, one.positions) if buffers else None)

    return render_clouds(draw, cloud, PointCloud, camera, background, tone_mapping)


def _planes(depth_range: Any) -> tuple[float, float]:
    try:
        near, far = map(float, depth_range)
    except (TypeError, ValueError):
        raise TypeError(f"depth_range: expected (near, far) or None, got {depth_range!r}") from None
    if not (0 <= near < far and math.isfinite(far)):
        raise ValueError(f"depth_range: expected 0 <= near < far, got {near}, {far}")
    return near, far


def _radii(cloud: PointCloud, radius: Tensor | float | None) -> Tensor:
    if radius is not None:
        return one_radius(radius, cloud)
    if cloud.radii is None:
        raise ValueError("cloud.radii: expected the spheres' radii, or one for all as `radius`, got None")
    return cloud.radii


def _along_axis(view: View, like: Tensor) -> Tensor | None:
    """Cosines [N, H, W, 1] between the pixels' rays and the viewing direction; None for parallel rays."""
    if view.projection != "perspective":
        return None
    fx, fy, cx, cy = (torch.as_tensor(value).reshape(-1, 1, 1, 1) for value in view[1:5])
    height, width = view.size
    rows = torch.arange(height, dtype=like.dtype, device=like.device)[:, None, None] + 0.5
    columns = torch.arange(width, dtype=like.dtype, device=like.device)[:, None] + 0.5
    return (1 + ((columns - cx) / fx) ** 2 + ((rows - cy) / fy) ** 2).rsqrt()
