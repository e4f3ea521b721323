"""The similarity of a textured mesh to photographs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.metrics import psnr, ssim
from lumigrad.fit.photos import Photo
from lumigrad.fit.reconstruct.drawing import Drawer
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes.mesh import Mesh

_MEASURES = ("psnr_db", "ssim", "psnr_covered_db", "covered")
# Colours as displayed, over black [1, H, W, 3], and coverage [1, H, W, 1].
Draw = Callable[[PerspectiveCamera], tuple[Tensor, Tensor]]


def evaluate(
    mesh: Mesh, photos: list[Photo], background: Tensor | None = None, group: Group = ALONE
) -> dict[str, float]:
    """Means over photographs that a textured mesh was not fitted to, see `evaluate_drawn`.

    Args:
        background: [3], what is seen where there is no mesh; black by default.
        group: processes among which the photographs are divided.
    """
    draw = Drawer(mesh, background)
    return evaluate_drawn(lambda camera: draw(camera)[:2], photos, group)


@torch.no_grad()
def evaluate_drawn(draw: Draw, photos: list[Photo], group: Group = ALONE) -> dict[str, float]:
    """Means over photographs that a mesh was not fitted to; those without a pixel to compare are left out.

    Args:
        draw: what a camera sees of the mesh.
        group: processes among which the photographs are divided.

    Returns:
        psnr_db: of the pixels that count; with an alpha channel, of those that the object or the mesh covers.
        ssim: of the same pixels; all others are black in both.
        psnr_covered_db: of those that the mesh covers; without an alpha channel, that it covers wholly, as the
            background is unknown.
        covered: which part of the pixels that count (with an alpha channel, of those of the object) the mesh covers.

    Raises:
        ValueError: no photograph has a pixel to compare.
    """
    found = torch.zeros(len(photos), 1 + len(_MEASURES), dtype=torch.float64, device="cpu")
    for number in range(group.rank, len(photos), group.size):
        photo = photos[number]
        color, mask = draw(photo.camera)
        image, ours = color.clamp(0, 1), mask > 0
        inner = mask > 0.99 if photo.alpha is None else ours
        counts = photo.covered > 0
        theirs = counts if photo.alpha is None else counts & (photo.alpha > 0)
        compared = counts if photo.alpha is None else counts & (ours | theirs)
        if not bool(compared.any()):
            continue
        measured = (
            float(psnr(image, photo.image, compared[..., 0])),
            float(ssim(image * compared, photo.image * compared)),
            _psnr(image, photo.image, compared & inner),
            float((ours & theirs).sum() / theirs.sum().clamp_min(1)),
        )
        for column, value in enumerate((1.0, *measured)):
            found[number, column] = value
    count, *sums = (sum(values) for values in group.sum([found])[0].T.tolist())
    if not count:
        raise ValueError(f"photos: none of {len(photos)} has a pixel that counts and that mesh or object covers")
    return {name: total / count for name, total in zip(_MEASURES, sums, strict=True)}


def _psnr(image: Tensor, target: Tensor, mask: Tensor) -> float:
    return float(psnr(image, target, mask[..., 0])) if bool(mask.any()) else 0.0
