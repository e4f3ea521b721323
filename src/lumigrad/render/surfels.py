"""Gaussian surfels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lumigrad.ops.splat import surfels
from lumigrad.render.clouds import Drawn, drawn, render_clouds
from lumigrad.render.color import ToneMapping
from lumigrad.render.rendering import Rendering
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.scene import Scene
from lumigrad.scene.shapes.surfel_cloud import SurfelCloud
from lumigrad.types.view import View


def render_surfels(
    cloud: Scene | SurfelCloud | Sequence[SurfelCloud],
    camera: Camera,
    background: Any = None,
    *,
    tone_mapping: ToneMapping = None,
    buffers: bool = True,
) -> Rendering:
    """Render Gaussian surfels, by `lumigrad.surfels`, which also measures their distortion.

    As those of Gaussians, their colours are display-encoded and blended as such; see `render_gaussians`.

    Args:
        cloud: one, or a `Scene` of some, seen from every camera; or a sequence of clouds: a batch, of which image n
            shows cloud n.
        camera: batch shape [N] or []; one camera serves a whole batch of clouds. Surfels whose centre is not between
            its clip planes are not drawn.
        background: None for the scene's, which is black by default; a display-encoded number, colour ([3], [N, 3]) or
            image ([H, W, 3], [N, H, W, 3]); an `EnvironmentLight`, or "environment" for the scene's, which is encoded
            if the colours are.
        tone_mapping: None for colours that are display-encoded. Given one ("srgb", "reinhard", "filmic", a function),
            colours are taken for linear light, and backgrounds are decoded; the image is encoded at last.
        buffers: whether to return depth, normals and ids.

    Returns:
        Rendering of N images. Depth and normals are means over the surfels that a pixel shows, depth where its ray cuts
        them; normals face the camera. `primitive_ids` are the surfels at which more than half of the pixel
        is covered from the front. Gradients reach everything in the cloud, the camera and the background.

    Raises:
        TypeError, ValueError: for arguments of other types, shapes or ranges; a lens distortion.

    Source: Huang et al. 2024, "2D Gaussian Splatting for Geometrically Accurate Radiance Fields".

    >>> import torch
    >>> from lumigrad.render import render_surfels
    >>> from lumigrad.scene import PerspectiveCamera, SurfelCloud, constant_harmonics
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=3.0, fov_y=45.0, size=(33, 33))
    >>> cloud = SurfelCloud(  # in the plane z = 0
    ...     means=torch.zeros(1, 3), quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]), scales=torch.full((1, 2), 0.3),
    ...     opacities=torch.tensor([0.8]), harmonics=constant_harmonics(torch.tensor([[0.0, 0.25, 1.0]])),
    ... )
    >>> shot = render_surfels(cloud, camera, background=(1.0, 1.0, 1.0))
    >>> [round(value, 3) for value in shot.image[0, 16, 16].tolist()]
    [0.2, 0.4, 1.0]
    >>> [round(value, 3) for value in shot.normals[0, 16, 16].tolist()]
    [0.0, 0.0, 1.0]
    """

    def draw(one: SurfelCloud, view: View) -> Drawn:
        out = surfels(one.means, one.quats, one.scales, one.opacities, one.harmonics, view, harmonics=True)
        return drawn(out, out.image, buffers, out.median, out.normals)

    return render_clouds(draw, cloud, SurfelCloud, camera, background, tone_mapping)
