"""Photographs of the same object in another, known light, which show whether materials and light were separated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.fit.materials.drawing import LitDrawer
from lumigrad.fit.metrics import psnr
from lumigrad.fit.photos import Photo, load_photos
from lumigrad.fit.reconstruct.conventions import reread
from lumigrad.fit.reconstruct.known_mesh import Reading
from lumigrad.io.dataset import load_dataset
from lumigrad.io.image import load_image
from lumigrad.render.mesh import render_mesh
from lumigrad.scene.color import srgb_decode, srgb_encode
from lumigrad.scene.light.cubemap import equirect_to_cube
from lumigrad.scene.shapes.mesh import Mesh

ENVIRONMENTS = ("environment.exr", "environment.hdr", "environment.pfm", "environment.npy")
# Rows of the environment beyond which the cube map does not become finer.
_FINEST = 64


@dataclass(frozen=True)
class RelitPhotos:
    """Photographs in the world, and the light around them, a cube map of linear radiance [6, S, S, 3]."""

    photos: list[Photo]
    light: Tensor


def load_relit(folder: Path, options: Reading, downscale: int = 1) -> RelitPhotos:
    """The photographs of a data set, and the light in the file `environment.exr`, `.hdr`, `.pfm` or `.npy` beside it.

    Args:
        downscale: as for `load_dataset`.

    Raises:
        FileNotFoundError, ValueError: there is no such data set or no such file.
    """
    data = reread(load_dataset(folder, downscale=downscale), options.axes, options.poses)
    path = next((folder / name for name in ENVIRONMENTS if (folder / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{folder}: expected the light of the photographs, as one of {', '.join(ENVIRONMENTS)}")
    image = load_image(path)[..., :3]
    if image.shape[1] != 2 * image.shape[0]:
        raise ValueError(f"{path}: expected an equirectangular image, twice as wide as high, got {list(image.shape)}")
    light = equirect_to_cube(image, max(2, min(_FINEST, image.shape[0] // 2)))
    return RelitPhotos(load_photos(data, list(range(len(data))), reduce=options.reduce), light)


@torch.no_grad()
def check_shown(mesh: Mesh, photos: Iterable[Photo]) -> None:
    """Raise ValueError if no photograph in another light shows a mesh in the space of its camera."""
    if not any(bool(_inside(photo, render_mesh(mesh, photo.camera).mask).any()) for photo in photos):
        raise ValueError("relit: no photograph shows the mesh; expected them to have its cameras' coordinates")


@torch.no_grad()
def relit_metrics(draw: LitDrawer, photos: list[Photo]) -> tuple[dict[str, float], Tensor]:
    """The similarity of renders in the light of photographs to these.

    Args:
        draw: in the light of the photographs.
        photos: in the space of the mesh.

    Returns:
        relit_psnr_db, the mean over photographs of pixels that show nothing but the surface, after one gain of each
        channel for all photographs; and `relit_gain`, the mean of these gains. And the gains [3].
    """
    shots = [draw(photo.camera) for photo in photos]
    inside = [_inside(photo, shot.mask) for photo, shot in zip(photos, shots, strict=True)]
    ours = torch.cat([shot.color[pixels] for shot, pixels in zip(shots, inside, strict=True)])
    theirs = srgb_decode(torch.cat([photo.image[pixels] for photo, pixels in zip(photos, inside, strict=True)]))
    # Clipped highlights say nothing about the gain.
    ours, theirs = (values * (theirs < 0.99) for values in (ours, theirs))
    gains = (ours * theirs).sum(0) / ours.square().sum(0).clamp_min(1e-12)
    ratios = [
        float(psnr(srgb_encode((shot.color * gains).clamp(0, 1)), photo.image, pixels))
        for shot, photo, pixels in zip(shots, photos, inside, strict=True)
        if bool(pixels.any())
    ]
    return {"relit_psnr_db": sum(ratios) / max(1, len(ratios)), "relit_gain": float(gains.mean())}, gains


def _inside(photo: Photo, mask: Tensor) -> Tensor:
    """Pixels [1, H, W] that are entirely covered by the surface."""
    inside = (photo.covered > 0) & (mask > 0.99)
    if photo.alpha is not None:
        inside = inside & (photo.alpha > 0.99)
    return inside[..., 0]
