"""Fusion of the depths of many photographs to one surface, by averaging signed distances in space."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.fit.reconstruct.components import without_crumbs
from lumigrad.fit.reconstruct.space import HORIZON, Contracted
from lumigrad.ops.implicit import marching_cubes
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types.grids import voxel_centers

# Cells of the first grid are this many voxels wide; only those near surfaces are refined.
_COARSER = 4
# Depths of neighbouring pixels that differ by at most this fraction belong to one surface.
_SMOOTH = 0.03
# Points looked up at a time.
_CHUNK = 1 << 19
# Half the side of the box around the ball into which space is contracted.
_HALF = 2.0


class Fused(NamedTuple):
    """Signed distances in a box around contracted space.

    Attributes:
        values: [D, H, W], of voxels; above 0 where photographs see through, in units of `reach`, -1 to 1.
        reach: distance in contracted space that is 1.
        box: the corners [2, 3].
    """

    values: Tensor
    reach: float
    box: Tensor


@torch.no_grad()
def fuse_depths(
    depths: Tensor,
    camera: PerspectiveCamera,
    resolution: int = 192,
    weights: Tensor | None = None,
    reach: float = 4.0,
) -> Fused:
    """Truncated signed distances of all of space, contracted around the origin, from depths that cameras see.

    Along the ray of a pixel, places in front of its depth are free and places closely behind it are not; farther
    behind, the pixel says nothing. The value of a voxel is the mean over the photographs that say something of it.
    Voxels that are hidden in all photographs that they lie in are solid, and so is everything at the `HORIZON`; those
    that lie in none are free. The surface between free and solid is closed, and cameras are inside of it.

    Args:
        depths: along the viewing direction [N, H, W]; infinite where nothing is seen, and 0 where nothing is known.
        camera: [N], of that size, near the origin.
        resolution: voxels along a side, of which half are in the ball of radius 1; a multiple of 4.
        weights: how much depths count in the means, [N, H, W], above 0; all alike by default.
        reach: voxels on either side of a surface in which distances count, at least 1. The less exact depths are, the
            more of them are needed; what is thinner than they are is lost.

    Raises:
        ValueError: depths or weights that do not fit the cameras, another resolution or a smaller reach.

    Source: Curless and Levoy 1996, "A Volumetric Method for Building Complex Models from Range Images".

    >>> import torch
    >>> from lumigrad.fit.reconstruct import fuse_depths, fused_surface, seen_faces
    >>> from lumigrad.scene import PerspectiveCamera
    >>> camera = PerspectiveCamera.orbit(torch.arange(8) * 45.0, 0.0, 0.5, fov_y=90.0, size=(32, 32))
    >>> origins, directions = (part.flatten(1, 2) for part in camera.rays())
    >>> along = (origins * directions).sum(-1)
    >>> distance = (along**2 + 1 - 0.5**2).sqrt() - along  # to a sphere of radius 1, seen from inside
    >>> depths = camera.depth(origins + distance[..., None] * directions).view(8, 32, 32)
    >>> mesh = fused_surface(fuse_depths(depths, camera, resolution=64))
    >>> shown = mesh.submesh(seen_faces(mesh, camera, rings=0))
    >>> (shown.positions.norm(dim=1).median() - 1).abs() < 0.02
    tensor(True)
    """
    shape = (len(camera.world_to_camera), *camera.size)
    for name, given in (("depths", depths), ("weights", weights)):
        if given is not None and given.shape != shape:
            raise ValueError(f"{name}: expected {list(shape)}, got {list(given.shape)}")
    pictures = depths[:, None] if weights is None else torch.stack((depths, weights), 1)
    if resolution < 4 * _COARSER or resolution % _COARSER:
        raise ValueError(f"resolution: expected a multiple of {_COARSER} from {4 * _COARSER} on, got {resolution}")
    if not 1 <= reach < math.inf:
        raise ValueError(f"reach: expected voxels from 1 on, got {reach}")
    box = depths.new_tensor([[-_HALF] * 3, [_HALF] * 3])
    coarse, fine = resolution // _COARSER, resolution
    reach = reach * 2 * _HALF / fine
    points = voxel_centers(box, (coarse,) * 3).reshape(-1, 3)
    # Cells without a surface within twice the reach are entirely free or solid.
    values, near = (found.view((coarse,) * 3) for found in _averages(points, pictures, camera, 2 * reach))
    for axis in range(3):
        values, near = (found.repeat_interleave(_COARSER, axis) for found in (values, near))
    points = voxel_centers(box, (fine,) * 3)[near]
    values[near] = _averages(points, pictures, camera, reach)[0]
    border = torch.ones_like(near)
    border[1:-1, 1:-1, 1:-1] = False
    values[border] = -1
    return Fused(values, reach, box)


def _averages(points: Tensor, pictures: Tensor, camera: PerspectiveCamera, reach: float) -> tuple[Tensor, Tensor]:
    """Values [P] of contracted points [P, 3], from -1 to 1, and whether a photograph sees a surface near them.

    Pictures [N, 1 or 2, H, W] have depths and perhaps weights.
    """
    found = [_average(part, pictures, camera, reach) for part in points.split(_CHUNK)]
    values, near = (torch.cat(parts) for parts in zip(*found, strict=True))
    return values, near


def _average(points: Tensor, pictures: Tensor, camera: PerspectiveCamera, reach: float) -> tuple[Tensor, Tensor]:
    space = Contracted()
    horizon = (HORIZON - points.norm(dim=-1)) / reach
    outside = horizon <= 0
    world = space.outward(points)
    total, count = torch.zeros_like(horizon), torch.zeros_like(horizon)
    near, hidden = torch.zeros_like(outside), torch.zeros_like(outside)
    for n in range(len(pictures)):
        one = camera[n : n + 1]
        own = one.depth(world)[0]
        seen, known, weight = _looked_up(one.pixels(world)[0], pictures[n])
        known = known & (own > 0) & ~outside
        ratio = torch.where(known, seen / own.clamp_min(1e-9), 1).clamp(max=1e6)
        eye = one.position
        surface = space.inward(eye + ratio[:, None] * (world - eye))
        distance = (surface - points).norm(dim=-1) * (ratio - 1).sign() / reach
        hidden |= known
        known = known & (distance > -1)
        total += torch.where(known, weight * distance.clamp(max=1), 0)
        count += weight * known
        near |= known & (distance < 1)
    values = torch.where(count > 0, total / count.clamp_min(1e-12), torch.where(hidden, -1.0, 1.0))
    near |= horizon.abs() < 1
    return torch.minimum(values, horizon).clamp(-1, 1), near


def _looked_up(pixels: Tensor, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Depths at pixels [P, 2] of a picture [1 or 2, H, W], whether they are known, and their weights."""
    height, width = picture.shape[1:]
    grid = (2 * pixels / pixels.new_tensor([width, height]) - 1).nan_to_num(2, 2, 2)
    inside = (grid.abs() < 1).all(-1)
    # Infinite depths cannot be averaged with their neighbours.
    image = picture.clamp(max=1e6)[None]

    def lookup(mode: str, channels: Tensor) -> Tensor:
        return torch.nn.functional.grid_sample(
            channels, grid[None, None], mode=mode, padding_mode="border", align_corners=False
        )[0, :, 0]

    nearest = lookup("nearest", image)
    weights = nearest[1] if len(picture) > 1 else torch.ones_like(nearest[0])
    between = lookup("bilinear", image[:, :1])[0]
    smooth = (between - nearest[0]).abs() < _SMOOTH * nearest[0]
    return torch.where(smooth, between, nearest[0]), inside & (nearest[0] > 0), weights


@torch.no_grad()
def fused_surface(fused: Fused, crumbs: float = 0.01) -> Mesh:
    """The closed surface around what is free, in space; its faces look to where cameras are.

    Args:
        crumbs: parts with less than this fraction of the largest part's area, measured in contracted space, are left
            out.
    """
    positions, faces = marching_cubes(fused.values, box=fused.box)
    kept = without_crumbs(Mesh(positions, faces), crumbs)
    return Mesh(Contracted().outward(kept.positions), kept.faces)
