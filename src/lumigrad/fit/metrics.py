"""How far a fit is from its target."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from lumigrad.scene.mesh import Mesh


def psnr(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in decibels of each image, for a peak of 1.

    Args:
        image, target: [N, H, W, C].
        mask: boolean [N, H, W]; only these pixels count. An image without any gives NaN.

    Returns:
        [N]; infinite for identical images.
    """
    error = (image - target).square().mean(-1)
    if mask is None:
        mean = error.mean((1, 2))
    else:
        mean = (error * mask).sum((1, 2)) / mask.sum((1, 2))
    return -10 * torch.log10(mean)


def sample_surface(mesh: Mesh, count: int, seed: int = 0) -> Tensor:
    """Points [count, 3] uniformly distributed over the surface's area."""
    generator = torch.Generator().manual_seed(seed)
    areas = mesh.face_normals().norm(dim=-1).double().cpu()
    if not len(areas) or float(areas.sum()) == 0:
        raise ValueError("mesh: expected a surface of positive area")
    face = torch.multinomial(areas, count, replacement=True, generator=generator)
    a, b = torch.rand(2, count, 1, generator=generator)
    root = a.sqrt()
    p0, p1, p2 = mesh.positions.detach().cpu()[mesh.faces.cpu()[face].long()].unbind(1)
    return (1 - root) * p0 + root * (1 - b) * p1 + root * b * p2


def chamfer_distance(mesh: Mesh, target: Mesh, count: int = 10_000, seed: int = 0) -> float:
    """Symmetric Chamfer distance, relative to the size of the target.

    `count` points are drawn uniformly by area from either surface. The result is the mean of two means, the
    distance from each sample to the nearest sample of the other surface in both directions, divided by the
    diagonal of the target's bounding box. Samples of one and the same surface are not zero apart: about
    0.25 * sqrt(area / count) / diagonal is the floor of this measure.
    """
    ours = sample_surface(mesh, count, seed).double().numpy()
    theirs = sample_surface(target, count, seed + 1).double().numpy()
    forth, _ = cKDTree(theirs).query(ours)
    back, _ = cKDTree(ours).query(theirs)
    low, high = target.bounds()
    return float(0.5 * (np.mean(forth) + np.mean(back)) / float((high - low).norm()))
