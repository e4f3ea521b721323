"""Texture images with the places of the texture coordinates."""

from __future__ import annotations

from typing import Any

import torch

from lumigrad._optional import require
from lumigrad.compat.pytorch3d.renderer.mesh.textures import TexturesUV


def _places(texture: TexturesUV, texture_index: int, subsample: int | None) -> Any:
    centers = texture.centers_for_image(index=texture_index).detach().cpu()
    if subsample is None or len(centers) <= subsample:
        return centers.numpy()
    return centers[torch.randperm(len(centers))[:subsample]].numpy()


def texturesuv_image_matplotlib(
    texture: TexturesUV, *, texture_index: int = 0, radius: float = 1, color: Any = (1.0, 0.0, 0.0),
    subsample: int | None = 10000, origin: str = "upper",
) -> None:  # fmt: skip
    """Draw one mesh's image and its texture coordinates into the current axes of Matplotlib.

    Args:
        texture: of which an image is drawn.
        texture_index: whose.
        radius, color: of the points.
        subsample: how many points at most; None for all.
        origin: "upper" or "lower": where row 0 is drawn.
    """
    pyplot = require("matplotlib.pyplot", "texturesuv_image_matplotlib")
    axes = pyplot.gca()
    axes.imshow(texture.maps_list()[texture_index].detach().cpu().numpy(), origin=origin)
    for place in _places(texture, texture_index, subsample):
        axes.add_patch(pyplot.Circle(tuple(place), radius, color=tuple(color)))


def texturesuv_image_PIL(
    texture: TexturesUV, *, texture_index: int = 0, radius: float = 1, color: Any = "red",
    subsample: int | None = 10000,
) -> Any:  # fmt: skip
    """One mesh's image with its texture coordinates, as an image of Pillow.

    Args:
        texture: of which an image is drawn.
        texture_index: whose.
        radius, color: of the points.
        subsample: how many points at most; None for all.
    """
    image_module, draw_module = (
        require("PIL.Image", "texturesuv_image_PIL"),
        require("PIL.ImageDraw", "texturesuv_image_PIL"),
    )
    values = (texture.maps_list()[texture_index].detach().cpu().clamp(0, 1) * 255).byte().numpy()
    image = image_module.fromarray(values)
    draw = draw_module.Draw(image)
    for x, y in _places(texture, texture_index, subsample):
        draw.ellipse([(x - radius, y - radius), (x + radius, y + radius)], fill=color)
    return image
