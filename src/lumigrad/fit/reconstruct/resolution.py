"""The number of texels that a texture needs for the detail of photographs."""

from __future__ import annotations

import math

import torch

from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.scene.shapes.mesh import Mesh

# The fraction of a texture that an atlas typically fills; texels per pixel of the sharpest photographs; limits.
_FILLED, _PER_PIXEL, _SIZES = 0.6, 1.0, (128, 4096)
_POINTS = 2000


@torch.no_grad()
def texture_size(mesh: Mesh, photos: PhotoSet) -> int:
    """Rows and columns, a power of two, with a texel for each pixel of the photographs that are nearest.

    There are no more texels than all photographs have pixels.

    >>> import torch
    >>> from lumigrad.fit.photos import Photo
    >>> from lumigrad.fit.reconstruct import PhotoSet, texture_size
    >>> from lumigrad.scene import PerspectiveCamera, icosphere
    >>> camera = PerspectiveCamera.orbit(torch.zeros(1), 0.0, 4.0, fov_y=40.0, size=(256, 256))
    >>> photo = Photo(torch.rand(1, 256, 256, 3), torch.ones(1, 256, 256, 1), camera)
    >>> texture_size(icosphere(3), PhotoSet.of([photo]))
    256
    """
    step = max(1, len(mesh.faces) // _POINTS)
    points = mesh.positions[mesh.faces[::step].long()].mean(1)
    camera = photos.camera
    depth, pixels = camera.depth(points), camera.pixels(points)
    height, width = camera.size
    inside = (pixels >= 0).all(-1) & (pixels[..., 0] < width) & (pixels[..., 1] < height) & (depth > 1e-3)
    density = torch.where(inside, camera.fx[:, None] / depth.clamp_min(1e-3), 0).amax(0)
    areas = mesh.face_normals().norm(dim=-1) / 2
    mean = (areas[::step] * density.square()).sum() / areas[::step].sum().clamp_min(1e-30)
    texels = _PER_PIXEL * math.sqrt(float(mean * areas.sum()) / _FILLED)
    texels = min(texels, math.sqrt(float(photos.counts.sum())))
    low, high = _SIZES
    return int(min(high, max(low, 2 ** math.ceil(math.log2(max(texels, 1.0)) - 0.25))))
