"""The location of the subject, and the first surface: the visual hull of the masks."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.fit.mesh.views import Views
from lumigrad.fit.photos import focus
from lumigrad.fit.photos.photo import Photo
from lumigrad.fit.reconstruct.components import without_cavities, without_crumbs
from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.fit.reconstruct.placement import Placement
from lumigrad.fit.sdf.hull import hull_values
from lumigrad.ops.implicit import marching_cubes
from lumigrad.ops.surface import rasterize
from lumigrad.scene.shapes.mesh import Mesh

# Voxels per side of the search for the subject, rows of the images that it uses, and how often the box is doubled.
_SEARCH, _SEARCH_ROWS, _DOUBLINGS = 48, 128, 3
# Fractions of the photographs in which the subject may lie, and the agreement with masks that ends the search.
_SHARES, _FILLED = (1.0, 0.75, 0.5), 0.95


@torch.no_grad()
def hull_of(photos: PhotoSet, resolution: int, box: Tensor, share: float = 0.5) -> Mesh | None:
    """The visual hull in a box of two corners [2, 3], as a closed mesh without cavities; None if it is empty.

    Args:
        resolution: voxels along the longest side of the box.
        share: of the photographs in which places must lie. Where only few look, their masks' cones meet nothing that
            could cut them.
    """
    assert photos.alpha is not None
    sides = box[1] - box[0]
    width, height, depth = (max(2, round(resolution * float(side / sides.max()))) for side in sides)
    # Pixels that do not count exclude nothing.
    alpha = torch.where(photos.counts, photos.alpha.float(), 1.0)
    views = Views(photos.camera, torch.cat([photos.images.float(), alpha], dim=-1))
    values = hull_values(views, (depth, height, width), box, min_views=math.ceil(share * len(photos)))
    values = torch.nn.functional.pad(values[1:-1, 1:-1, 1:-1], (1,) * 6, value=0.5)  # closed at the border
    positions, faces = marching_cubes(values, box=box)
    mesh = without_crumbs(without_cavities(Mesh(positions, faces)))
    return mesh if len(mesh.faces) else None


def search_box(photos: PhotoSet) -> Tensor | None:
    """A cube [2, 3] around what the cameras look at, as large as they see there; None if that is where they are."""
    ones = [
        Photo(photos.images[n : n + 1], photos.counts[n : n + 1], photos.camera[n : n + 1]) for n in range(len(photos))
    ]
    centre, distance = focus(ones)
    half = distance * float((max(photos.size) / 2 / photos.camera.fx).median())
    if not half > 1e-6 * float(centre.norm()):
        return None
    return torch.stack([centre - half, centre + half])


@torch.no_grad()
def bounds_of(photos: PhotoSet, share: float) -> Tensor | None:
    """The corners [2, 3] of a box around the visual hull, found coarsely; None if no place is covered in all masks.

    Args:
        share: as for `hull_of`.
    """
    small = photos.reduced(max(1, min(photos.size) // _SEARCH_ROWS))
    box, found = search_box(small), None
    if box is None:
        return None
    for _ in range(_DOUBLINGS + 1):
        mesh = hull_of(small, _SEARCH, box, share)
        voxel = (box[1] - box[0]) / _SEARCH
        if mesh is not None:
            low, high = mesh.positions.amin(0), mesh.positions.amax(0)
            found = torch.stack([low - 2 * voxel, high + 2 * voxel])
            if bool((low > box[0] + voxel).all() and (high < box[1] - voxel).all()):
                return found
        centre, half = box.mean(0), 0.5 * (box[1] - box[0])
        box = torch.stack([centre - 2 * half, centre + 2 * half])
    return found


@torch.no_grad()
def agreement(mesh: Mesh, photos: PhotoSet) -> float:
    """Mean over photographs of how well a mesh fills the mask: intersection over union, from 0 to 1."""
    assert photos.alpha is not None
    total = 0.0
    for n in range(len(photos)):
        camera = photos.camera[n : n + 1]
        ours = rasterize(camera.project(mesh.positions), mesh.faces, camera.size, derivatives=False).tri[0] >= 0
        counts, theirs = photos.counts[n, ..., 0], photos.alpha[n, ..., 0] > 0.5
        union = int(((ours | theirs) & counts).sum())
        total += float((ours & theirs & counts).sum()) / union if union else 1.0
    return total / len(photos)


class Hull(NamedTuple):
    """The first surface.

    Attributes:
        place: the placement of the subject.
        photos: the photographs in its space.
        mesh: the visual hull there.
        agreement: how well it fills the masks, from 0 to 1.
    """

    place: Placement
    photos: PhotoSet
    mesh: Mesh
    agreement: float


@torch.no_grad()
def place_and_hull(photos: PhotoSet, resolution: int = 96) -> Hull | None:
    """Where the subject of masks is, and their visual hull there; None if it is empty.

    At first the subject is expected whole in all photographs; if what this gives does not fill the masks, in fewer.
    """
    best = None
    for share in _SHARES:
        bounds = bounds_of(photos, share)
        if bounds is None:
            continue
        place = Placement.around(*bounds)
        moved = photos.with_camera(place.camera(photos.camera))
        mesh = hull_of(moved, resolution, place.inward(bounds), share)
        if mesh is None:
            continue
        found = Hull(place, moved, mesh, agreement(mesh, moved))
        if best is None or found.agreement > best.agreement + 0.01:
            best = found
        if best.agreement > _FILLED:
            break
    return best
