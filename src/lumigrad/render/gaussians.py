"""3D Gaussians."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lumigrad.ops.splat import gaussians
from lumigrad.render.clouds import Drawn, drawn, render_clouds
from lumigrad.render.color import ToneMapping
from lumigrad.render.rendering import Rendering
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.scene import Scene
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud
from lumigrad.types.view import View


def render_gaussians(
    cloud: Scene | GaussianCloud | Sequence[GaussianCloud],
    camera: Camera,
    background: Any = None,
    *,
    antialiased: bool = False,
    blur: float = 0.3,
    tone_mapping: ToneMapping = None,
    buffers: bool = True,
) -> Rendering:
    """Render 3D Gaussians, such as `lumigrad.io.load_gaussians` reads, by `lumigrad.gaussians`.

    Gaussians hold colours as they were fitted to photographs: display-encoded. They are blended as such, which is what
    they were trained for, in front of a display-encoded background, and the image is what is displayed.

    Args:
        cloud: one, or a `Scene` of some, seen from every camera; or a sequence of clouds: a batch, of which image n
            shows cloud n.
        camera: batch shape [N] or []; one camera serves a whole batch of clouds. Gaussians whose centre is not between
            its clip planes are not drawn: large scenes need a large `far`.
        background: None for the scene's, which is black by default; a display-encoded number, colour ([3], [N, 3]) or
            image ([H, W, 3], [N, H, W, 3]); an `EnvironmentLight`, or "environment" for the scene's, which is encoded
            if the colours are.
        antialiased, blur: as for `lumigrad.gaussians`; `blur` in square pixels.
        tone_mapping: None for colours that are display-encoded. Given one ("srgb", "reinhard", "filmic", a function),
            colours are taken for linear light, and backgrounds are decoded; the image is encoded at last.
        buffers: whether to return depth and ids.

    Returns:
        Rendering of N images. Depth is the mean of the centres' depths over the Gaussians that a pixel shows;
        `primitive_ids` are the Gaussians at which more than half of the pixel is covered from the front. Gradients
        reach everything in the cloud, the camera and the background.

    Raises:
        TypeError, ValueError: for arguments of other types, shapes or ranges; a lens distortion.

    Source: Kerbl et al. 2023, "3D Gaussian Splatting for Real-Time Radiance Field Rendering".

    >>> import torch
    >>> from lumigrad.render import render_gaussians
    >>> from lumigrad.scene import GaussianCloud, PerspectiveCamera, constant_harmonics
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=3.0, fov_y=45.0, size=(33, 33))
    >>> blue = constant_harmonics(torch.tensor([[0.0, 0.25, 1.0]]))
    >>> cloud = GaussianCloud(
    ...     means=torch.zeros(1, 3), quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]), scales=torch.full((1, 3), 0.3),
    ...     opacities=torch.tensor([0.8]), harmonics=blue,
    ... )
    >>> shot = render_gaussians(cloud, camera, background=(1.0, 1.0, 1.0))
    >>> [round(value, 3) for value in shot.image[0, 16, 16].tolist()]
    [0.2, 0.4, 1.0]
    >>> round(shot.depth[0, 16, 16].item(), 3)
    3.0
    """

    def draw(one: GaussianCloud, view: View) -> Drawn:
        out = gaussians(
            one.means, one.quats, one.scales, one.opacities, one.harmonics, view, harmonics=True,
            antialiased=antialiased, blur=blur,
        )  # fmt: skip
        return drawn(out, out.image, buffers, out.median)

    return render_clouds(draw, cloud, GaussianCloud, camera, background, tone_mapping)
