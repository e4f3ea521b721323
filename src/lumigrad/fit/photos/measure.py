"""The similarity of renders to photographs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.metrics import psnr, ssim
from lumigrad.fit.photos.photo import Photo
from lumigrad.scene.cameras.camera import PerspectiveCamera


@torch.no_grad()
def measure(draw: Callable[[PerspectiveCamera], Tensor], photos: list[Photo], group: Group = ALONE) -> dict[str, float]:
    """Mean PSNR (decibels, of covered pixels) and SSIM over photographs; those without such pixels are left out.

    Args:
        draw: the image [1, H, W, 3] that a camera [1] sees.
        group: processes among which the photographs are divided.

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
    return mean_of(likenesses(draw, photos, group), group)


def likenesses(draw: Callable[[PerspectiveCamera], Tensor], photos: list[Photo], group: Group = ALONE) -> Tensor:
    """For each photograph [N, 3]: whether it counts, PSNR and SSIM; zeros for other processes' photographs."""
    found = torch.zeros(len(photos), 3, dtype=torch.float64, device="cpu")
    for number in range(group.rank, len(photos), group.size):
        photo = photos[number]
        if not bool(photo.covered.any()):
            continue
        image = draw(photo.camera).clamp(0, 1)
        ratio = float(psnr(image, photo.image, photo.covered[..., 0]))
        likeness = float(ssim(image * photo.covered, photo.image * photo.covered))
        found[number, 0], found[number, 1], found[number, 2] = 1.0, ratio, likeness
    return found


def mean_of(found: Tensor, group: Group = ALONE) -> dict[str, float]:
    """The means of the results of `likenesses` from all processes."""
    count, ratios, alike = (sum(values) for values in group.sum([found])[0].T.tolist())
    if not count:
        raise ValueError(f"photos: none of {len(found)} has a pixel that counts")
    return {"psnr_db": ratios / count, "ssim": alike / count}
