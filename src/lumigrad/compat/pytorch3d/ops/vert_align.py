"""Features of images at vertices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lumigrad.compat.pytorch3d.structures.utils import padded_to_packed


def vert_align(
    feats: Tensor | Sequence[Tensor],
    verts: Any,
    return_packed: bool = False,
    interp_mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = True,
) -> Tensor:
    """Features [N, V, C] of images at the places x and y of vertices.

    Args:
        feats: images [N, C, H, W], or a list of them, whose channels are joined.
        verts: `Meshes`, `Pointclouds`, or positions [N, V, 3]: x and y from -1 (top left) to 1.
        return_packed: return the rows of all elements one after the other, without what is filled up.
        interp_mode, padding_mode, align_corners: of `torch.nn.functional.grid_sample`.

    Raises:
        ValueError: shapes or types that do not fit.
    """
    if isinstance(verts, Tensor):
        if verts.ndim != 3:
            raise ValueError(f"verts tensor should be 3 dimensional, got {tuple(verts.shape)}")
        positions = verts
    elif hasattr(verts, "verts_padded"):
        positions = verts.verts_padded()
    elif hasattr(verts, "points_padded"):
        positions = verts.points_padded()
    else:
        raise ValueError(f"verts: expected a tensor, Meshes or Pointclouds, got {type(verts).__name__}")
    images = [feats] if isinstance(feats, Tensor) else list(feats)
    for image in images:
        if image.ndim != 4 or len(image) != len(positions):
            raise ValueError(f"feats: expected shape [{len(positions)}, C, H, W], got {list(image.shape)}")
    grid = positions[:, None, :, :2]
    sampled = [
        F.grid_sample(image, grid, mode=interp_mode, padding_mode=padding_mode, align_corners=align_corners)
        for image in images
    ]
    rows = torch.cat(sampled, 1)[:, :, 0].transpose(1, 2)
    if not return_packed:
        return rows
    if hasattr(verts, "verts_padded"):
        return padded_to_packed(rows, verts.num_verts_per_mesh().tolist())
    if hasattr(verts, "points_padded"):
        return padded_to_packed(rows, verts.num_points_per_cloud().tolist())
    return rows.reshape(-1, rows.shape[-1])
