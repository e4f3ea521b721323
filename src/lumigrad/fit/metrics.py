"""Metrics of images and surfaces, and the file that they are written to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lumigrad._optional import require
from lumigrad.fit._atomic_file import replacing
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types.validation import fractional, instance, integer, shape

SSIM_REACH = 5


def _check_images(image: Tensor, target: Tensor) -> None:
    for name, value in (("image", image), ("target", target)):
        shape(name, fractional(name, value), ["N", "H", "W", "C"])
    if image.shape != target.shape:
        raise ValueError(f"target: expected shape {tuple(image.shape)} like image, got {tuple(target.shape)}")


def psnr(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in decibels of each image, for a peak of 1.

    Args:
        image, target: [N, H, W, C].
        mask: boolean [N, H, W]; only these pixels count. An image without such pixels gives NaN.

    Returns:
        [N]; infinite for identical images.

    >>> import torch
    >>> from lumigrad.fit import psnr
    >>> target = torch.zeros(1, 8, 8, 3)
    >>> psnr(target + 0.1, target).round(decimals=2).item(), psnr(target, target).item()
    (20.0, inf)
    """
    _check_images(image, target)
    error = (image - target).square().mean(-1)
    if mask is None:
        mean = error.mean((1, 2))
    else:
        mean = (error * mask).sum((1, 2)) / mask.sum((1, 2))
    return -10 * torch.log10(mean)


def sample_surface(mesh: Mesh, count: int, seed: int = 0) -> Tensor:
    """Points [count, 3] uniformly distributed over the surface's area."""
    return sample_points(mesh, count, seed)[0]


def sample_points(mesh: Mesh, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points [count, 3] uniformly distributed over the surface's area, and the unit normals of their faces."""
    integer("count", count, 1)
    generator = torch.Generator().manual_seed(seed)
    normals = mesh.face_normals().detach().double().cpu()
    areas = normals.norm(dim=-1)
    if not len(areas) or float(areas.sum()) == 0:
        raise ValueError("mesh: expected a surface of positive area")
    face = torch.multinomial(areas, count, replacement=True, generator=generator)
    a, b = torch.rand(2, count, 1, generator=generator)
    root = a.sqrt()
    p0, p1, p2 = mesh.positions.detach().cpu()[mesh.faces.cpu()[face].long()].unbind(1)
    points = (1 - root) * p0 + root * (1 - b) * p1 + root * b * p2
    return points, (normals[face] / areas[face, None]).to(points)


def chamfer_distance(mesh: Mesh, target: Mesh, count: int = 10_000, seed: int = 0) -> float:
    """Symmetric Chamfer distance, relative to the size of the target.

    `count` points are sampled uniformly by area on each surface. The result is the distance from a sample to the
    nearest sample of the other surface, averaged over the samples of each surface and then over both directions,
    divided by the diagonal of the target's bounding box. It is not zero for equal surfaces, but about
    0.25 * sqrt(area / count) / diagonal.

    >>> from lumigrad.fit import chamfer_distance
    >>> from lumigrad.scene import icosphere
    >>> ball = icosphere(3)
    >>> same, larger = (chamfer_distance(icosphere(3, radius), ball, count=2000) for radius in (1.0, 1.2))
    >>> same < 0.02 < larger < 0.1  # of the target's diagonal
    True
    """
    for name, surface in (("mesh", mesh), ("target", target)):
        instance(name, surface, Mesh)
    tree = require("scipy.spatial", "lumigrad.fit.chamfer_distance").cKDTree
    ours = sample_surface(mesh, count, seed).double().numpy()
    theirs = sample_surface(target, count, seed + 1).double().numpy()
    forth, _ = tree(theirs).query(ours)
    back, _ = tree(ours).query(theirs)
    low, high = target.bounds()
    return float(0.5 * (np.mean(forth) + np.mean(back)) / float((high - low).norm()))


def ssim(image: Tensor, target: Tensor) -> Tensor:
    """Structural similarity of each image, for a range of 1; differentiable.

    Gaussian windows of 11 x 11 pixels with a standard deviation of 1.5, zero-padded at the borders.

    Args:
        image, target: [N, H, W, C].

    Returns:
        [N]; 1 for identical images.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".

    >>> import torch
    >>> from lumigrad.fit import ssim
    >>> image = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    >>> ssim(image, image).round(decimals=4).item(), (ssim(image, 1 - image) < 0).item()
    (1.0, True)
    """
    _check_images(image, target)
    if target.dtype != image.dtype:
        raise TypeError(f"target: expected {image.dtype} like image, got {target.dtype}")
    return ssim_map(image, target).mean((1, 2, 3))


def ssim_map(image: Tensor, target: Tensor) -> Tensor:
    """The values [N, H, W, C] of which `ssim` is the mean; each depends on the pixels up to `SSIM_REACH` away."""
    count, height, width, channels = image.shape
    offsets = torch.arange(2 * SSIM_REACH + 1, dtype=image.dtype, device=image.device) - SSIM_REACH
    window = torch.exp(-offsets.square() / (2 * 1.5**2))
    window = window / window.sum()
    x, y = image.permute(0, 3, 1, 2), target.permute(0, 3, 1, 2)
    planes = torch.cat([x, y, x * x, y * y, x * y], dim=1)
    groups = 5 * channels
    for kernel, padding in ((window.view(1, 1, -1, 1), (SSIM_REACH, 0)), (window.view(1, 1, 1, -1), (0, SSIM_REACH))):
        weight = kernel.expand(groups, *kernel.shape[1:])
        planes = torch.nn.functional.conv2d(planes, weight, groups=groups, padding=padding)
    mx, my, xx, yy, xy = planes.view(count, 5, channels, height, width).unbind(1)
    c1, c2 = 0.01**2, 0.03**2
    likeness = (2 * mx * my + c1) * (2 * (xy - mx * my) + c2)
    likeness = likeness / ((mx * mx + my * my + c1) * (xx - mx * mx + yy - my * my + c2))
    return likeness.permute(0, 2, 3, 1)


def write_metrics(values: dict[str, Any], path: Path) -> None:
    """Write metrics as indented JSON.

    >>> from pathlib import Path
    >>> from lumigrad.fit import write_metrics
    >>> write_metrics({"psnr_db": 31.5}, Path("metrics.json"))
    >>> print(Path("metrics.json").read_text().strip())
    {
      "psnr_db": 31.5
    }
    """
    with replacing(path) as file:
        file.write((json.dumps(values, indent=2) + "\n").encode())
