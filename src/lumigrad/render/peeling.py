"""The layers of meshes, front to back, and the pixels that their silhouettes cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lumigrad.ops.surface import antialias as blend_edges
from lumigrad.ops.surface import peel, rasterize
from lumigrad.render.geometry import Geometry
from lumigrad.render.shadows import Occluders
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types import validation as check
from lumigrad.types.fragments import Fragments

DEFAULT_LAYERS = 4  # peeled if materials are transparent


def layers_wanted(geometry: Geometry, layers: int | None) -> int:
    """The number of layers to peel: as many as requested, or as the materials need."""
    if layers is None:
        return 1 if opaque(geometry) else DEFAULT_LAYERS
    return layers


def opaque(geometry: Geometry) -> bool:
    """Whether all meshes are opaque."""
    return all(group.material.alpha_mode == "opaque" for group in geometry.groups)


def peeled(geometry: Geometry, size: tuple[int, int], layers: int) -> Iterator[Fragments]:
    """The layers of all images, without empty ones."""
    if layers == 1:
        yield rasterize(geometry.pos, geometry.tri, size, geometry.ranges)
        return
    for number, frags in enumerate(peel(geometry.pos, geometry.tri, size, layers, geometry.ranges)):
        if number and check.values_can_be_checked() and not bool((frags.tri >= 0).any()):
            return
        yield frags


@torch.no_grad()
def cut(frags: Fragments, geometry: Geometry, topology: Tensor | None) -> Tensor:
    """Whether a silhouette is blended into a pixel, bool [N, H, W, 1]: noise shows it."""
    height, width = frags.tri.shape[1:]
    noise = torch.rand(height, width, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = noise.to(geometry.pos).expand(*frags.tri.shape, 1)
    return blend_edges(noise, frags, geometry.pos, geometry.tri, topology) != noise


def occluders_of(meshes: Sequence[Mesh], images: int, together: bool) -> list[Occluders]:
    """The occluders of each image, which cast shadows."""
    if together:
        return [Occluders(dict(enumerate(meshes)))] * images
    return [Occluders({n: mesh}) for n, mesh in enumerate(meshes)]
