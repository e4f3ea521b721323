"""Texture coordinates for scanned surfaces."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad._optional import installed, require
from lumigrad.fit.atlas import make_atlas

# Texels kept free around charts, so that filtering at the first mip levels does not mix them.
_GUTTER = 4
# Number of faces from which xatlas takes minutes.
_LARGE = 50_000


class Atlas(NamedTuple):
    """Texture coordinates.

    Attributes:
        uvs: [U, 2].
        uv_faces: [F, 3].
        size: (height, width) that the texture is to have.
        made_by: "xatlas" or "lumigrad".
    """

    uvs: Tensor
    uv_faces: Tensor
    size: tuple[int, int]
    made_by: str


def unwrap(positions: Tensor, faces: Tensor, size: int, xatlas: bool | None = None) -> Atlas:
    """Texture coordinates by the library xatlas, or where it is not installed by `lumigrad.fit.make_atlas`.

    xatlas makes fewer charts with less distortion and packs them more tightly. For meshes of more than 50 000 faces it
    takes minutes, and is used only where lumigrad's own charts do not fit.

    Args:
        positions: [V, 3].
        faces: [F, 3], at least one.
        size: rows and columns of the texture, approximately.
        xatlas: whether to use it; None for whether it is installed and the mesh no larger than that.

    Raises:
        ValueError: no faces; or more charts than fit a texture of this size.
        MissingPackageError: xatlas is asked for and not installed.

    >>> from lumigrad.fit.reconstruct import unwrap
    >>> from lumigrad.scene import icosphere
    >>> ball = icosphere(2)
    >>> atlas = unwrap(ball.positions, ball.faces, size=64, xatlas=False)
    >>> atlas.uv_faces.shape, atlas.size
    (torch.Size([320, 3]), (64, 64))
    """
    if not len(faces):
        raise ValueError("faces: expected at least one, got none")
    if xatlas is None and len(faces) > _LARGE and installed("xatlas"):
        try:
            return unwrap(positions, faces, size, xatlas=False)
        except ValueError:  # too many charts; xatlas makes fewer
            xatlas = True
    if xatlas is None:
        xatlas = installed("xatlas")
    if xatlas:
        return _by_xatlas(positions, faces, size)
    return Atlas(*make_atlas(positions, faces, size), (size, size), "lumigrad")


def _by_xatlas(positions: Tensor, faces: Tensor, size: int) -> Atlas:
    library = require("xatlas", "lumigrad.fit.reconstruct.unwrap")
    atlas = library.Atlas()
    # Lengths near 1, because xatlas drops faces whose area is tiny in absolute terms.
    extent = (positions.amax(0) - positions.amin(0)).amax().clamp_min(1e-30)
    points = ((positions - positions.amin(0)) / extent).detach().float().cpu().contiguous().numpy()
    atlas.add_mesh(points, faces.int().cpu().contiguous().numpy().astype("uint32"))
    packing = library.PackOptions()
    packing.resolution, packing.padding, packing.bilinear = size, _GUTTER, True
    atlas.generate(pack_options=packing)
    if atlas.atlas_count > 1:
        raise ValueError(f"size: the charts of {len(faces)} faces do not fit a texture of {size} texels squared")
    _, indices, uvs = atlas[0]
    uvs, indices = torch.from_numpy(uvs).to(positions), torch.from_numpy(indices.astype("int64")).to(faces.device)
    return Atlas(uvs, indices, (atlas.height, atlas.width), "xatlas")
