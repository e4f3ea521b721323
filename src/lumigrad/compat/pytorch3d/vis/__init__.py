"""Pictures of textures, and interactive figures of scenes."""

from lumigrad.compat.pytorch3d.vis.plotly_vis import (
    AxisArgs,
    Lighting,
    get_camera_wireframe,
    plot_batch_individually,
    plot_scene,
)
from lumigrad.compat.pytorch3d.vis.texture_vis import texturesuv_image_matplotlib, texturesuv_image_PIL

__all__ = [
    "AxisArgs",
    "Lighting",
    "get_camera_wireframe",
    "plot_batch_individually",
    "plot_scene",
    "texturesuv_image_PIL",
    "texturesuv_image_matplotlib",
]
