"""The visual hull: the part of space that masks do not exclude."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.fit.mesh.views import Views
from lumigrad.fit.sdf.border import closed
from lumigrad.ops.implicit import redistance
from lumigrad.scene.shapes.signed_distance_grid import SignedDistanceGrid
from lumigrad.types import validation as check
from lumigrad.types.grids import Box, check_box, check_resolution, voxel_centers

SWEEPS = 4  # enough for distances near the surface


@torch.no_grad()
def visual_hull(views: Views, resolution: int | tuple[int, int, int], box: Box) -> SignedDistanceGrid:
    """The largest shape in a box that no mask excludes, as distances.

    A voxel is inside if its centre is in the picture of one view at least and covered in all views that have it there.

    Args:
        views: images [N, H, W, 4] whose last channel is the coverage, with their cameras.
        resolution: voxels along each side, or (D, H, W).
        box: the two corners [2, 3].

    Raises:
        TypeError, ValueError: for wrong types or shapes.

    Source: Laurentini 1994, "The Visual Hull Concept for Silhouette-Based Image Understanding".

    >>> from lumigrad.fit import fibonacci_cameras, render_views, visual_hull
    >>> from lumigrad.scene import Lighting, icosphere
    >>> views = render_views(icosphere(3, radius=0.5), fibonacci_cameras(12, size=(32, 32)), Lighting())
    >>> hull = visual_hull(views, 24, [[-1, -1, -1], [1, 1, 1]])
    >>> 0.48 < hull.mesh().positions.norm(dim=-1).mean() < 0.6
    tensor(True)
    """
    check_views(views)
    corners = check_box(box, views.images.float())
    values = hull_values(views, check_resolution(resolution), corners)
    return SignedDistanceGrid(closed(redistance(values, corners, SWEEPS), corners), corners)


@torch.no_grad()
def hull_values(views: Views, sides: tuple[int, int, int], corners: Tensor, min_views: int = 1) -> Tensor:
    """Half minus the least coverage that any mask gives each voxel's centre, [D, H, W]; below 0 inside of the hull.

    Voxels in the pictures of fewer than `min_views` are outside.
    """
    masks = views.images[..., 3].float()
    points = voxel_centers(corners, sides).reshape(-1, 3)
    covered = torch.ones_like(points[:, 0])
    seen = torch.zeros_like(covered)
    for n, mask in enumerate(masks):
        camera = views.camera[n]
        at = 2 * camera.pixels(points) / points.new_tensor([*reversed(camera.size)]) - 1
        there = (camera.depth(points) > 0) & (at.abs() <= 1).all(-1)
        found = torch.nn.functional.grid_sample(
            mask[None, None], at[None, None].nan_to_num(0), padding_mode="border", align_corners=False
        )
        covered = torch.where(there, torch.minimum(covered, found[0, 0, 0]), covered)
        seen += there
    return torch.where(seen >= min_views, 0.5 - covered, 0.5).reshape(sides)


def check_views(views: Views) -> None:
    """Raise TypeError or ValueError unless views have an alpha channel."""
    if not isinstance(views, Views):
        raise TypeError(f"views: expected Views, got {type(views).__name__}")
    check.shape("views.images", views.images, ("N", "H", "W", 4))
