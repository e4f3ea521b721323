"""Ambient occlusion of a surface by its own parts, as a texture."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lumigrad.fit.atlas import fill_gaps
from lumigrad.fit.reconstruct.projection import texels
from lumigrad.ops.ray import build_bvh, occluded
from lumigrad.scene._vectors import frames
from lumigrad.scene.shapes.mesh import Mesh

_ROWS = 128  # occlusion changes slowly
_OFFSET = 2e-3  # offset of rays' origins, relative to the radius of the mesh


@torch.no_grad()
def bake_occlusion(mesh: Mesh, size: tuple[int, int], rays: int = 64) -> Tensor:
    """The part of uniform light that arrives at each texel [H, W, 1], weighted with the cosine to the normal.

    Args:
        mesh: in the ball of radius one, with texture coordinates of which none overlap.
        size: (H, W).
        rays: for each texel of a version of at most 128 rows.

    >>> from dataclasses import replace
    >>> from lumigrad.fit.materials import bake_occlusion
    >>> from lumigrad.fit.reconstruct import unwrap
    >>> from lumigrad.scene import icosphere
    >>> ball = icosphere(3)
    >>> uvs, uv_faces, size, _ = unwrap(ball.positions, ball.faces, size=64)
    >>> open_air = bake_occlusion(replace(ball, uvs=uvs, uv_faces=uv_faces), size)
    >>> bool(open_air.min() > 0.97)  # nothing hides a ball from the sky
    True
    """
    step = max(1, math.ceil(size[0] / _ROWS))
    coarse = (max(1, size[0] // step), max(1, size[1] // step))
    found = texels(mesh, coarse)
    lobe = _cosine_lobe(rays, found.points)
    tree = build_bvh(mesh.positions, mesh.faces)
    directions = lobe @ frames(found.normals).transpose(-1, -2)
    origins = (found.points + _OFFSET * found.normals)[:, None]
    open_ = (~occluded(origins, directions, mesh.positions, mesh.faces, tree)).float().mean(-1)
    image = mesh.positions.new_zeros(*coarse, 1)
    image[found.inside] = open_[:, None]
    image = fill_gaps(image, found.inside).permute(2, 0, 1)[None]
    fine = torch.nn.functional.interpolate(image, size=size, mode="bilinear", align_corners=False)
    return fine[0].permute(1, 2, 0).contiguous()


def _cosine_lobe(count: int, like: Tensor) -> Tensor:
    """Directions [count, 3] around +z, their density as the cosine, at the points of a Fibonacci lattice."""
    index = torch.arange(count, dtype=like.dtype, device=like.device)
    radius, turn = ((index + 0.5) / count).sqrt(), index * (math.pi * (3 - math.sqrt(5)))
    return torch.stack((radius * turn.cos(), radius * turn.sin(), (1 - radius**2).sqrt()), -1)
