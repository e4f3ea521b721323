"""Normals of depth images, and how well rendered normals agree with them."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.scene.cameras.camera import Camera
from lumigrad.types.splats import Surfels


def normals_from_depth(depth: Tensor, camera: Camera) -> Tensor:
    """Unit normals of the surface that a depth image shows, from differences between neighbouring pixels.

    Args:
        depth: along the viewing direction, [..., H, W] with the camera's batch shape.
        camera: of size (H, W).

    Returns:
        [..., H, W, 3] in world space, facing the camera; 0 on the border, and where the pixel or one of its four
        neighbours has no positive depth. Differentiable in depth and camera.

    Raises:
        ValueError: depth is not of the camera's size.

    >>> import torch
    >>> from lumigrad.fit import normals_from_depth
    >>> from lumigrad.scene import PerspectiveCamera
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=3.0, fov_y=60.0, size=(8, 8))
    >>> normals = normals_from_depth(torch.full((8, 8), 3.0), camera)  # a wall that faces the camera
    >>> normals[4, 4, 2].round(decimals=4).item(), normals[0, 0].tolist()  # none on the border
    (1.0, [0.0, 0.0, 0.0])
    """
    if depth.shape[-2:] != camera.size:
        raise ValueError(f"depth: expected shape [..., {camera.size[0]}, {camera.size[1]}], got {tuple(depth.shape)}")
    height, width = camera.size
    rows, columns = (torch.arange(side, dtype=depth.dtype, device=depth.device) + 0.5 for side in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    seen = depth > 0
    points = camera.unproject(torch.stack((x, y), -1).flatten(0, 1), torch.where(seen, depth, 1).flatten(-2))
    points = points.unflatten(-2, (height, width))
    right = points[..., 1:-1, 2:, :] - points[..., 1:-1, :-2, :]
    down = points[..., 2:, 1:-1, :] - points[..., :-2, 1:-1, :]
    normal = torch.linalg.cross(down, right)
    beside = seen[..., 1:-1, 2:] & seen[..., 1:-1, :-2] & seen[..., 2:, 1:-1] & seen[..., :-2, 1:-1]
    square = normal.square().sum(-1, keepdim=True)
    whole = (beside & seen[..., 1:-1, 1:-1])[..., None] & (square > 0)
    unit = torch.where(whole, normal / torch.where(whole, square, 1).sqrt(), 0)
    return torch.nn.functional.pad(unit, (0, 0, 1, 1, 1, 1))


def normal_consistency(surfels: Surfels, camera: Camera, median: bool = False) -> Tensor:
    """How much the surfels' normals n_i differ from the normals N of the rendered depth: the sum of w_i (1 - n_i.N).

    Args:
        surfels: the result of `lumigrad.surfels` for this camera.
        camera: with the images' batch shape.
        median: take the median depth instead of the expected one.

    Returns:
        The mean over all pixels; pixels without a normal count as 0. Differentiable in the surfels and the camera.

    Raises:
        ValueError: the images are not of the camera's size.

    Source: Huang et al. 2024, "2D Gaussian Splatting", section 5.

    >>> import torch
    >>> import lumigrad as lg
    >>> from lumigrad.fit import normal_consistency
    >>> from lumigrad.scene import PerspectiveCamera
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=3.0, fov_y=60.0, size=(16, 16))
    >>> quats = torch.tensor([[1.0, 0.0, 0.0, 0.0]])  # one surfel in the plane z = 0
    >>> means, scales, opacities, colors = torch.zeros(1, 3), torch.full((1, 2), 5.0), torch.ones(1), torch.ones(1, 3)
    >>> wall = lg.surfels(means, quats, scales, opacities, colors, camera.view())
    >>> normal_consistency(wall, camera).item() < 1e-4
    True
    """
    covered = surfels.alpha > 0
    expected = torch.where(covered, surfels.depth / torch.where(covered, surfels.alpha, 1), 0)
    normals = normals_from_depth(surfels.median_depth if median else expected, camera)
    error = surfels.alpha - (surfels.normals * normals).sum(-1)
    return torch.where((normals != 0).any(-1), error, 0).mean()
