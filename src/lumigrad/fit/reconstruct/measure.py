"""How like photographs a textured mesh is."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.fit.metrics import psnr, ssim
from lumigrad.fit.photos import Photo
from lumigrad.fit.reconstruct.drawing import Drawer
from lumigrad.scene.shapes.mesh import Mesh


@torch.no_grad()
def evaluate(mesh: Mesh, photos: list[Photo]) -> dict[str, float]:
    """Means over photographs that a mesh was not fitted to; those without a pixel to compare are left out.

    Returns:
        psnr_db: of the pixels that count; with an alpha channel, of those that the object or the mesh covers.
        ssim: of the same pixels; all others are black in both.
        psnr_covered_db: of those that the mesh covers.
        covered: which part of the pixels that count (with an alpha channel, of those of the object) the mesh covers.

    Raises:
        ValueError: no photograph has a pixel to compare.
    """
    draw = Drawer(mesh)
    rows: list[dict[str, float]] = []
    for photo in photos:
        shot = draw(photo.camera)
        image, ours = shot.color.clamp(0, 1), shot.mask > 0
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
