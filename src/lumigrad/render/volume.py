"""Images of voxel grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.ops.field import march
from lumigrad.render.background import choose_background
from lumigrad.render.color import ToneMapping, resolve_tone_mapping
from lumigrad.render.rendering import Rendering, finished
from lumigrad.render.stage import stage_of
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.scene import Scene
from lumigrad.scene.shapes.voxel_grid import VoxelGrid
from lumigrad.types import Occupancy
from lumigrad.types.grids import voxel_size

# Below this coverage of a pixel, nothing counts as visible: a mean would divide by almost nothing.
FAINT = 1e-6


def render_volume(
    grid: Scene | VoxelGrid | Sequence[VoxelGrid],
    camera: Camera,
    step: float | None = None,
    background: Any = None,
    occupancy: Occupancy | None = None,
    tone_mapping: ToneMapping = None,
    min_transmittance: float = 0.0,
    buffers: bool = False,
) -> Rendering:
    """Images of a voxel grid.

    Args:
        grid: what is seen; its features are colours. One, or a `Scene` of one, seen from every camera; or a sequence of
            grids: a batch, of which image n shows grid n.
        camera: batch shape [N] or []. Any camera, with or without the distortion of a lens. Rays begin at the near
            plane and end at the far one.
        step: length of the segments that rays are cut into, in world units; None: one for each cell.
        background: None for the scene's, which is black by default; a display-encoded number, colour ([C], [N, C]) or
            image ([H, W, C], [N, H, W, C]);
            an `EnvironmentLight`, or "environment" for the scene's.
        occupancy: from ``grid.occupancy()``: empty space is passed over.
        tone_mapping: None where colours are display-encoded. Given one ("srgb", "reinhard", "filmic", a function),
            colours are taken for linear light.
        min_transmittance: rays end where no more than this passes.
        buffers: whether to return depth and normals.

    Returns:
        Rendering of N images. Depths and normals are means of what contributes to the pixel, weighted like its colour;
        normals point to where the density falls. Gradients reach the grid, the camera and the background.

    Raises:
        TypeError, ValueError: for arguments of other types, shapes or ranges, and a scene of several grids, which
            `render` shows.

    >>> import torch
    >>> from lumigrad.render import render_volume
    >>> from lumigrad.scene import PerspectiveCamera, VoxelGrid
    >>> def ball(points):
    ...     inside = (0.4 - points.norm(dim=-1, keepdim=True)) * 100
    ...     return torch.cat((inside, torch.ones_like(points)), -1)
    >>> grid = VoxelGrid.from_function(ball, (32, 32, 32))
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=2.0, fov_y=40.0, size=(33, 33))
    >>> shot = render_volume(grid, camera, buffers=True)
    >>> round(shot.mask[0, 16, 16].item(), 3), shot.mask[0, 0, 0].item()
    (1.0, 0.0)
    >>> round(shot.depth[0, 16, 16].item(), 1), round(shot.normals[0, 16, 16, 2].item(), 2)
    (1.7, 1.0)
    """
    tone = resolve_tone_mapping(tone_mapping)
    stage = stage_of(grid, camera, name="grid", kinds=(VoxelGrid,))
    pictures: list[dict[str, Tensor]] = []
    for shape, one in zip(stage.alone("grid"), stage.cameras, strict=True):
        assert isinstance(shape, VoxelGrid)
        pictures.append(_draw(shape, one, step, occupancy, min_transmittance, buffers))
    names = [name for name in pictures[0] if all(name in picture for picture in pictures)]
    found = {name: torch.stack([picture[name] for picture in pictures]) for name in names}
    around = [] if stage.scene.environment is None else [stage.scene.environment]
    behind = choose_background(background, stage.scene, around)
    return finished(found.pop("color"), found.pop("mask"), behind, stage.cameras, tone, found)


def _draw(
    grid: VoxelGrid, camera: Camera, step: float | None, occupancy: Occupancy | None, min_transmittance: float,
    buffers: bool,
) -> dict[str, Tensor]:  # fmt: skip
    """Colour and mask of an image, and its buffers."""
    values = grid.values
    payload = values.shape[-1] - 1
    normals_too = buffers and grid.degree is None
    if normals_too:
        values = torch.cat((values, _falling(values[..., 0], grid)), -1)
    origins, directions = camera.rays()
    origins, directions = origins.to(values), directions.to(values)
    begin, end, cosine = clip_rays(camera, directions)
    out = march(values, origins, directions, grid.box, step, occupancy, None, begin, end, grid.activation,
                grid.degree, min_transmittance)  # fmt: skip
    color, mask = out.features, out.alpha[..., None]
    if not buffers:
        return {"color": color, "mask": mask}
    depth = mean_depth((out.depth * cosine)[..., None], mask)
    if not normals_too:
        return {"color": color, "mask": mask, "depth": depth}
    color, normals = color[..., :payload], color[..., payload:]
    return {"color": color, "mask": mask, "depth": depth, "normals": mean_normals(normals)}


def clip_rays(camera: Camera, directions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The distances at which rays [H, W, 3] meet the clip planes, and their cosines to the viewing direction."""
    axis = -camera.camera_to_world[:3, 2].to(directions)
    cosine = (directions * (axis / axis.norm())).sum(-1)
    ahead = cosine > 0
    safe = torch.where(ahead, cosine, 1)
    begin = torch.where(ahead, camera.near / safe, 0)
    end = torch.where(ahead, camera.far / safe, camera.far)
    return begin, end, cosine


def mean_depth(depth: Tensor, mask: Tensor) -> Tensor:
    """The mean depth, from sums of depths weighted like the coverage; 0 where next to nothing is covered."""
    seen = mask > FAINT
    return torch.where(seen, depth / torch.where(seen, mask, 1), 0)


def mean_normals(normals: Tensor) -> Tensor:
    """Weighted sums of unit vectors, normalised; 0 where they nearly vanish."""
    length = normals.norm(dim=-1, keepdim=True)
    return torch.where(length > FAINT, normals / torch.where(length > FAINT, length, 1), 0)


def _falling(density: Tensor, grid: VoxelGrid) -> Tensor:
    """Unit vectors [D, H, W, 3] against the density's gradient by central differences, zero where it is flat."""
    spacing = voxel_size(grid.box, density)
    slopes = []
    for axis, dim in enumerate((2, 1, 0)):
        if density.shape[dim] == 1:
            slopes.append(torch.zeros_like(density))
        else:
            slopes.append(torch.gradient(density, dim=dim)[0] / spacing[axis])
    gradient = torch.stack(slopes, -1)
    length = gradient.detach().norm(dim=-1, keepdim=True)
    flat = length == 0
    safe = torch.where(flat, 1, gradient)
    return torch.where(flat, 0, -gradient / safe.norm(dim=-1, keepdim=True))
