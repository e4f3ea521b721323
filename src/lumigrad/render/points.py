"""Points as discs or squares on the screen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lumigrad.ops.splat import points
from lumigrad.render.clouds import Drawn, Features, drawn, first, one_radius, render_clouds
from lumigrad.render.color import ToneMapping
from lumigrad.render.rendering import Rendering
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.scene import Scene
from lumigrad.scene.shapes.point_cloud import PointCloud, PointClouds
from lumigrad.types.shapes import Float
from lumigrad.types.view import View


def render_points(
    cloud: Scene | PointCloud | PointClouds | Sequence[PointCloud],
    camera: Camera,
    background: Any = None,
    *,
    radius: Float[Tensor, " ..."] | float | None = None,
    footprint: str = "disc",
    blend: str = "alpha",
    max_contributors: int | None = None,
    tone_mapping: ToneMapping = None,
    buffers: bool = True,
) -> Rendering:
    """Render points as discs or squares that face the camera and fade from their centres, by `lumigrad.points`.

    Args:
        cloud: one, or a `Scene` of some, seen from every camera; or `PointClouds`, or a sequence of clouds: a batch,
            of which image n shows cloud n. Colours have any number of channels C, and are white where there are none;
            opacities count.
        camera: batch shape [N] or []; one camera serves a whole batch of clouds. Points whose centre is not between
            its clip planes are not drawn.
        background: None for the scene's, which is black by default; a display-encoded number, colour ([C], [N, C]) or
            image ([H, W, C], [N, H, W, C]); an `EnvironmentLight`, or "environment" for the scene's, which is encoded
            if the colours are.
        radius: of all points, in pixels. By default points have the cloud's radii, which are in world units, or one
            pixel where it has none.
        footprint, blend, max_contributors: as for `lumigrad.points`.
        tone_mapping: None where colours are display-encoded, as image files hold them: they are blended as they are.
            Given one ("srgb", "reinhard", "filmic", a function), colours are taken for linear light, and backgrounds
            are decoded; the image is encoded at last.
        buffers: whether to return depth, ids, and normals where the cloud has them.

    Returns:
        Rendering of N images. Depth and normals are means over the points that a pixel shows. `primitive_ids` are the
        points at which more than half of the pixel is covered from the front; for other blends than "alpha" the first
        points. Gradients reach positions, radii, colours, normals, opacities, the camera and the background.

    Raises:
        TypeError, ValueError: for arguments of other types, shapes or ranges; a lens distortion.

    Source: Wiles et al. 2020, "SynSin", section 3.2.

    >>> import torch
    >>> from lumigrad.render import render_points
    >>> from lumigrad.scene import PerspectiveCamera, PointCloud
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=3.0, fov_y=45.0, size=(33, 33))
    >>> red = PointCloud(torch.zeros(1, 3), colors=torch.tensor([[1.0, 0.0, 0.0]]))
    >>> shot = render_points(red, camera, background=(1.0, 1.0, 1.0), radius=4.0)
    >>> shot.image[0, 16, 16].round().tolist(), shot.image[0, 0, 0].tolist()
    ([1.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    >>> round(shot.depth[0, 16, 16].item(), 3), shot.primitive_ids[0, 16, 16].item()
    (3.0, 0)
    """
    if isinstance(radius, (int, float)) and not (radius > 0 and math.isfinite(radius)):
        raise ValueError(f"radius: expected a positive number, got {radius}")
    listed = int(buffers and blend != "alpha")

    def draw(one: PointCloud, view: View) -> Drawn:
        radii, units = _radii(one, radius)
        features = Features.of(one, buffers)
        out = points(
            one.positions, radii, features.values, view, one.opacities, footprint=footprint, blend=blend,
            units=units, max_contributors=max_contributors, contributors=listed,
        )  # fmt: skip
        color, normals = features.split(out.image)
        return drawn(out, color, buffers, first(out) if listed else out.median, normals)

    return render_clouds(draw, cloud, PointCloud, camera, background, tone_mapping)


def _radii(cloud: PointCloud, radius: Tensor | float | None) -> tuple[Tensor, str]:
    """Radii [P] and their unit."""
    if radius is None and cloud.radii is not None:
        return cloud.radii, "world"
    return one_radius(1.0 if radius is None else radius, cloud), "pixels"
