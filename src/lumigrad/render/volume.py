"""Images of voxel grids."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.ops.field import march
from lumigrad.render.color import ToneMapping, resolve_tone_mapping
from lumigrad.render.geometry import cameras_of
from lumigrad.render.rendering import Rendering, finished
from lumigrad.render.stage import check_camera
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.shapes.voxel_grid import VoxelGrid
from lumigrad.types import Occupancy
from lumigrad.types.grids import voxel_size

# Where less than this of a pixel is covered, nothing counts as seen: a mean would divide by almost nothing.
FAINT = 1e-6


def render_volume(
    grid: VoxelGrid,
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
        grid: what is seen; its features are colours.
        camera: batch shape [N] or []. Any camera, with or without the distortion of a lens. Rays begin at the near
            plane and end at the far one.
        step: length of the segments that rays are cut into, in world units; None: one for each cell.
        background: None for black; a display-encoded number, colour ([C], [N, C]) or image ([H, W, C], [N, H, W, C]);
            an `EnvironmentLight`.
        occupancy: from ``grid.occupancy()``: empty space is passed over.
        tone_mapping: None where colours are display-encoded. Given one ("srgb", "reinhard", "filmic", a function),
            colours are taken for linear light.
        min_transmittance: rays end where no more than this passes.
        buffers: whether to return depth and normals.

    Returns:
        Rendering of N images. Depths and normals are means of what contributes to the pixel, weighted like its colour;
        normals point to where the density falls. Gradients reach the grid, the camera and the background.

    Raises:
        TypeError, ValueError: for arguments of other types, shapes or ranges.

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
    if not isinstance(grid, VoxelGrid):
        raise TypeError(f"grid: expected a VoxelGrid, got {type(grid).__name__}")
    check_camera(camera)
    tone = resolve_tone_mapping(tone_mapping)
    cameras = cameras_of(camera, camera.shape.numel())
    values = grid.values
    payload = values.shape[-1] - 1
    if buffers and grid.degree is None:
        values = torch.cat((values, _falling(values[..., 0], grid)), -1)
    shots = []
    for one in cameras:
        origins, directions = one.rays()
        origins, directions = origins.to(values), directions.to(values)
        begin, end, cosine = _clip(one, directions)
        out = march(values, origins, directions, grid.box, step, occupancy, None, begin, end, grid.activation,
                    grid.degree, min_transmittance)  # fmt: skip
        shots.append((out, cosine))
    color = torch.stack([out.features for out, _ in shots])
    mask = torch.stack([out.alpha for out, _ in shots])[..., None]
    found: dict[str, Tensor] = {}
    if buffers:
        seen = mask > FAINT
        total = torch.where(seen, mask, 1)
        depth = torch.stack([out.depth * cosine for out, cosine in shots])[..., None]
        found["depth"] = torch.where(seen, depth / total, 0)
        if grid.degree is None:
            color, normals = color[..., :payload], color[..., payload:]
            length = normals.norm(dim=-1, keepdim=True)
            found["normals"] = torch.where(length > FAINT, normals / torch.where(length > FAINT, length, 1), 0)
    return finished(color, mask, background, cameras, tone, found)


def _clip(camera: Camera, directions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where rays [H, W, 3] meet the clip planes, and the cosines of their angles to the viewing direction."""
    axis = -camera.camera_to_world[:3, 2].to(directions)
    cosine = (directions * (axis / axis.norm())).sum(-1)
    ahead = cosine > 0
    safe = torch.where(ahead, cosine, 1)
    begin = torch.where(ahead, camera.near / safe, 0)
    end = torch.where(ahead, camera.far / safe, camera.far)
    return begin, end, cosine


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
