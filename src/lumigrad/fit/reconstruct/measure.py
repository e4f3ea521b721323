"""How like photographs a textured mesh is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lumigrad.fit.metrics import psnr, ssim
from lumigrad.fit.photos import Photo
from lumigrad.fit.reconstruct.drawing import Drawer
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes.mesh import Mesh

# Colours as displayed, over black [1, H, W, 3], and coverage [1, H, W, 1].
Draw = Callable[[PerspectiveCamera], tuple[Tensor, Tensor]]


def evaluate(mesh: Mesh, photos: list[Photo], background: Tensor | None = None) -> dict[str, float]:
    """Means over photographs that a textured mesh was not fitted to, see `evaluate_drawn`.

    Args:
        background: [3], what is seen where there is no mesh; black by default.
    """
    draw = Drawer(mesh, background)
    return evaluate_drawn(lambda camera: draw(camera)[:2], photos)


@torch.no_grad()
def evaluate_drawn(draw: Draw, photos: list[Photo]) -> dict[str, float]:
    """Means over photographs that a mesh was not fitted to; those without a pixel to compare are left out.

    Args:
        draw: what a camera sees of the mesh.

    Returns:
        psnr_db: of the pixels that count; with an alpha channel, of those that the object or the mesh covers.
        ssim: of the same pixels; all others are black in both.
        psnr_covered_db: of those that the mesh covers.
        covered: which part of the pixels that count (with an alpha channel, of those of the object) the mesh covers.

    Raises:
        ValueError: no photograph has a pixel to compare.
    """
    rows: list[dict[str, float]] = []
    for photo in photos:
        color, mask = draw(photo.camera)
        image, ours = color.clamp(0, 1), mask > 0
        counts = photo.covered > 0
        theirs = counts if photo.alpha is None else counts & (photo.alpha > 0)
        compared = counts if photo.alpha is None else counts & (ours | theirs)
        if not bool(compared.any()):
            continue
        rows.append(
            {
                "psnr_db": float(psnr(image, photo.image, compared[..., 0])),
                "ssim": float(ssim(image * compared, photo.image * compared)),
                "psnr_covered_db": _psnr(image, photo.image, compared & ours),
                "covered": float((ours & theirs).sum() / theirs.sum().clamp_min(1)),
            }
        )
    if not rows:
        raise ValueError(f"photos: none of {len(photos)} has a pixel that counts and that mesh or object covers")
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def _psnr(image: Tensor, target: Tensor, mask: Tensor) -> float:
    return float(psnr(image, target, mask[..., 0])) if bool(mask.any()) else 0.0
