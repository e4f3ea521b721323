"""Projection of photographs onto a surface, which initialises a texture before it is optimised."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.fit.atlas import fill_gaps
from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.ops.surface import interpolate, rasterize
from lumigrad.scene.shapes.mesh import Mesh

# The fraction of its depth that a point may lie behind the visible surface and still count as visible.
_DEPTH_TOLERANCE = 0.01
# Surfaces seen at a smaller cosine mostly show their neighbours.
_MIN_COSINE = 0.1
# Points looked up at a time.
_CHUNK = 1 << 20


class Projected(NamedTuple):
    """The colours of points in photographs.

    Attributes:
        colors: [P, 3], 0 where nothing is seen.
        weights: sums of the weights of the photographs [P], 0 where nothing is seen.
    """

    colors: Tensor
    weights: Tensor


@torch.no_grad()
def project_colors(mesh: Mesh, photos: PhotoSet, points: Tensor, normals: Tensor, gains: Tensor) -> Projected:
    """Mean colours of points on a surface over the photographs that see them.

    A photograph sees a point that lies in it, on pixels that count and that the object covers wholly, and that is not
    hidden by the mesh. Its weight grows with how squarely and how finely it shows the surface.

    Args:
        mesh: what may hide points.
        points: on the mesh, [P, 3].
        normals: of the mesh there, [P, 3], of unit length.
        gains: by which photographs are brighter than the surface's colours, [N, 3].

    >>> import torch
    >>> from lumigrad.fit.photos import Photo
    >>> from lumigrad.fit.reconstruct import PhotoSet, project_colors
    >>> from lumigrad.scene import PerspectiveCamera, icosphere
    >>> camera = PerspectiveCamera.orbit(torch.zeros(1), 0.0, 3.0, fov_y=60.0, size=(32, 32))
    >>> red = torch.tensor([1.0, 0.0, 0.0]).expand(1, 32, 32, 3)
    >>> photos = PhotoSet.of([Photo(red, torch.ones(1, 32, 32, 1), camera)])
    >>> poles = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])  # the second one is hidden
    >>> found = project_colors(icosphere(4), photos, poles, poles, torch.ones(1, 3))
    >>> found.colors.tolist(), (found.weights > 0).tolist()
    ([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [True, False])
    """
    total, weights = points.new_zeros(len(points), 3), points.new_zeros(len(points))
    for n in range(len(photos)):
        camera = photos.camera[n : n + 1]
        frags = rasterize(camera.project(mesh.positions), mesh.faces, camera.size, derivatives=False)
        front = torch.where(frags.tri >= 0, camera.linear_depth(frags.depth), torch.inf)
        layers = _layers(photos, n, front)
        focal, eye = float(camera.fx[0]), camera.position[0]
        for first in range(0, len(points), _CHUNK):
            part = slice(first, first + _CHUNK)
            color, weight = _seen(points[part], normals[part], camera, layers, eye, focal)
            total[part] += weight[:, None] * color / gains[n]
            weights[part] += weight
    return Projected(total / weights.clamp_min(1e-12)[:, None], weights)


def _layers(photos: PhotoSet, n: int, front: Tensor) -> Tensor:
    """Colour, what counts, and the farthest of the depths around each pixel, [1, 5, H, W]."""
    counts = photos.counts[n].float()
    if photos.alpha is not None:
        counts = counts * (photos.alpha[n] > 0.99)
    # Including neighbours: near silhouettes, a pixel's colour is mixed.
    inner = -torch.nn.functional.max_pool2d(-counts.permute(2, 0, 1)[None], 3, 1, 1)
    deepest = torch.nn.functional.max_pool2d(front[:, None], 3, 1, 1)
    nearest = -torch.nn.functional.max_pool2d(-front[:, None], 3, 1, 1)
    # If depths around a pixel are far apart, there is an edge, and the nearest depth decides.
    edge = deepest > (1 + 3 * _DEPTH_TOLERANCE) * nearest
    depth = torch.where(edge, nearest, deepest)
    return torch.cat([photos.images[n].float().permute(2, 0, 1)[None], inner, depth], dim=1)


def _seen(
    points: Tensor, normals: Tensor, camera: object, layers: Tensor, eye: Tensor, focal: float
) -> tuple[Tensor, Tensor]:
    """Colour [P, 3] and weight [P] of points in one photograph."""
    height, width = layers.shape[-2:]
    depth = camera.depth(points)[0]  # type: ignore[attr-defined]
    pixels = camera.pixels(points)[0]  # type: ignore[attr-defined]
    grid = (2 * pixels / points.new_tensor([width, height]) - 1).nan_to_num(2, 2, 2)
    there = (depth > 0) & (grid.abs() < 1).all(-1)
    color = _lookup(layers[:, :3], grid, "bilinear").T
    counts, front = _lookup(layers[:, 3:], grid, "nearest")
    towards = torch.nn.functional.normalize(eye - points, dim=-1)
    cosine = (towards * normals).sum(-1)
    visible = there & (counts > 0.5) & (depth < (1 + _DEPTH_TOLERANCE) * front) & (cosine > _MIN_COSINE)
    weight = (cosine * focal / depth.clamp_min(1e-6)).square()
    return color, torch.where(visible, weight, 0)


def _lookup(image: Tensor, grid: Tensor, mode: str) -> Tensor:
    return torch.nn.functional.grid_sample(
        image, grid[None, None], mode=mode, padding_mode="border", align_corners=False
    )[0, :, 0]


@torch.no_grad()
def project_texture(mesh: Mesh, photos: PhotoSet, size: tuple[int, int], gains: Tensor) -> tuple[Tensor, Tensor]:
    """A texture [H, W, 3] of what photographs show of a mesh with texture coordinates, and where they do, bool [H, W].

    Texels that no photograph sees get colours of those around them.
    """
    inside, points, normals = texels(mesh, size)
    found = project_colors(mesh, photos, points, normals, gains)
    texture = mesh.positions.new_zeros(*size, 3)
    texture[inside] = found.colors
    seen = torch.zeros_like(inside)
    seen[inside] = found.weights > 0
    return fill_gaps(texture, seen), seen


class Texels(NamedTuple):
    """Which texels of an atlas belong to the surface, bool [H, W]; their points and unit normals [P, 3]."""

    inside: Tensor
    points: Tensor
    normals: Tensor


@torch.no_grad()
def texels(mesh: Mesh, size: tuple[int, int]) -> Texels:
    """The texels of a mesh with texture coordinates, and their positions.

    >>> import torch
    >>> from lumigrad.fit.reconstruct.projection import texels
    >>> from lumigrad.scene import Mesh
    >>> corners = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> found = texels(Mesh(corners, torch.tensor([[0, 1, 2]]), uvs=corners[:, :2]), (4, 4))
    >>> int(found.inside.sum()), found.points[0].tolist(), found.normals[0].tolist()
    (6, [0.125, 0.125, 0.0], [0.0, 0.0, 1.0])
    """
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    u, v = mesh.uvs.unbind(-1)
    flat = torch.stack([2 * u - 1, 1 - 2 * v, torch.zeros_like(u), torch.ones_like(u)], dim=-1)
    frags = rasterize(flat[None], mesh.uv_faces, size, derivatives=False)
    inside = frags.tri[0] >= 0
    points = interpolate(mesh.positions, frags, mesh.faces)[0][inside]
    normals = interpolate(mesh.vertex_normals(), frags, mesh.faces)[0][inside]
    return Texels(inside, points, torch.nn.functional.normalize(normals, dim=-1))
