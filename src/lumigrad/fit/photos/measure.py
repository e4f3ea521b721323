"""How like photographs renders are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lumigrad.fit.metrics import psnr, ssim
from lumigrad.fit.photos.photo import Photo
from lumigrad.scene.cameras.camera import PerspectiveCamera


@torch.no_grad()
def measure(draw: Callable[[PerspectiveCamera], Tensor], photos: list[Photo]) -> dict[str, float]:
    """Mean PSNR (decibels, of covered pixels) and SSIM over photographs; those without such pixels are left out.

    Args:
        draw: the image [1, H, W, 3] that a camera [1] sees.

    Raises:
        ValueError: no photograph has a covered pixel.

    >>> import torch
    >>> from lumigrad.fit.photos import Photo
    >>> from lumigrad.fit.photos.measure import measure
    >>> from lumigrad.scene import PerspectiveCamera
    >>> camera = PerspectiveCamera.orbit(torch.zeros(1), 0.0, 3.0, fov_y=45.0, size=(24, 32))
    >>> photo = Photo(torch.full((1, 24, 32, 3), 0.5), torch.ones(1, 24, 32, 1), camera)
    >>> round(measure(lambda camera: torch.full((1, *camera.size, 3), 0.6), [photo])["psnr_db"], 3)
    20.0
    """
    ratios, likenesses = [], []
    for photo in photos:
        if not bool(photo.covered.any()):
            continue
        image = draw(photo.camera).clamp(0, 1)
        ratios.append(float(psnr(image, photo.image, photo.covered[..., 0])))
        likenesses.append(float(ssim(image * photo.covered, photo.image * photo.covered)))
    if not ratios:
        raise ValueError(f"photos: none of {len(photos)} has a pixel that counts")
    return {"psnr_db": sum(ratios) / len(ratios), "ssim": sum(likenesses) / len(likenesses)}
