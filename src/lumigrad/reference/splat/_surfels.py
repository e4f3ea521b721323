"""Gaussian surfels, defined in plain PyTorch (Huang et al. 2024, "2D Gaussian Splatting")."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.reference.splat._compositing import Blending, alpha_weights, blend, depth_order, pixel_centres, tensors_of
from lumigrad.reference.splat._finite import finite_rows
from lumigrad.reference.splat._project_gaussians import rotations
from lumigrad.reference.splat._splat import renumber, stack
from lumigrad.types.splats import Surfels
from lumigrad.types.view import View

RULES = Blending("alpha", max_alpha=0.99, min_alpha=1 / 255, stop=1e-4)


def surfels(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    features: Tensor,
    view: View,
    background: Tensor | None = None,
    *,
    distortion_range: tuple[float, float] | None = None,
    contributors: int = 0,
) -> Surfels:
    """Render surfels by cutting each pixel's ray with each surfel's plane. Arguments and result: `lumigrad.surfels`.

    With the ray o + t r (r of length 1 along the viewing direction), the centre p and the unit axes a, b, n:
        t = n.(p - o) / n.r,   o + t r - p = u scale_a a + v scale_b b
        strength = opacity exp(-rho / 2), rho = u^2 + v^2 if that is at most 2 d^2 and t > 0, else 2 d^2
    d is the distance in pixels from the image of p. The depth is t in the first case, that of p in the second.
    """
    matrix, fx, fy, cx, cy = tensors_of(view)
    size, projection, near, far = view[5:]
    views, count, shared = len(matrix), means.shape[0], opacities.expand(len(matrix), -1)
    background = features.new_zeros(features.shape[-1]) if background is None else background
    background = background.expand(views, -1)
    finite = torch.cat((means, quats, scales), 1).isfinite().all(1)
    images, surveys = [], []
    for i in range(views):
        flip = matrix.new_tensor([1, -1, -1])
        centre = (finite_rows(means) @ matrix[i, :3, :3].T + matrix[i, :3, 3]) * flip
        valid = finite & shared[i].isfinite() & (centre[:, 2] > near) & (centre[:, 2] < far)
        kept = valid.nonzero()[:, 0]
        centre, axes = centre[kept], rotations(quats[kept])
        height, t = _cut(centre, flip[:, None] * matrix[i, :3, :3] @ axes, scales[kept], size,
                         (fx[i], fy[i], cx[i], cy[i]), projection)  # fmt: skip
        normal = axes[..., 2]
        eye_to = means[kept] - torch.linalg.inv(matrix[i])[:3, 3]
        looking = eye_to if projection == "perspective" else -matrix[i, 2, :3]
        normal = torch.where((normal * looking).sum(-1, keepdim=True) > 0, -normal, normal)
        values = torch.cat((features.expand(views, count, -1)[i, kept], normal), -1)
        behind = torch.cat((background[i], background.new_zeros(3)))
        order = depth_order(centre[:, 2])
        strength = shared[i, kept] * height
        images.append(renumber(blend(strength, t, values, behind, order, RULES, contributors, size), kept))
        surveys.append([v.view(size) for v in _survey(strength[:, order], t[:, order], distortion_range)])
    out = stack(images)
    distortion, median_depth = (torch.stack(values) for values in zip(*surveys))
    image, normals = out.image[..., :-3], out.image[..., -3:]
    assert out.depth is not None
    assert out.median is not None
    return Surfels(image, out.alpha, out.depth, normals, distortion, median_depth, out.median, out.ids, out.weights)


def _cut(
    centre: Tensor, axes: Tensor, scales: Tensor, size: tuple[int, int], intrinsics: tuple[Tensor, ...], projection: str
) -> tuple[Tensor, Tensor]:
    """Heights and depths [P, V] at all pixels; camera axes x right, y down, z into the scene."""
    fx, fy, cx, cy = intrinsics
    columns, rows = pixel_centres(size, centre)
    x, y = (columns - cx) / fx, (rows - cy) / fy
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    if projection == "perspective":
        origin, ray = torch.stack((zero, zero, zero), -1), torch.stack((x, y, one), -1)
        place = centre[:, :2] / centre[:, 2:]
    else:
        origin, ray = torch.stack((x, y, zero), -1), torch.stack((zero, zero, one), -1)
        place = centre[:, :2]
    a, b = axes[..., 0], axes[..., 1]
    n = torch.linalg.cross(a, b)
    against = ray @ n.T
    solid = (against != 0) & (scales != 0).all(-1)
    t = ((centre * n).sum(-1) - origin @ n.T) / torch.where(solid, against, 1)
    to_hit = origin[:, None] + t[..., None] * ray[:, None] - centre
    extent = torch.where((scales != 0).all(-1, keepdim=True), scales, 1)
    # By Cramer's rule, which tolerates view matrices that are not quite rigid.
    u = (torch.linalg.cross(b, n) * to_hit).sum(-1) / (n.square().sum(-1) * extent[:, 0])
    v = (torch.linalg.cross(n, a) * to_hit).sum(-1) / (n.square().sum(-1) * extent[:, 1])
    d2 = (columns[:, None] - fx * place[:, 0] - cx).square() + (rows[:, None] - fy * place[:, 1] - cy).square()
    met = solid & (t > 0) & (u * u + v * v <= 2 * d2)
    rho = torch.where(met, u * u + v * v, 2 * d2)
    return torch.exp(-0.5 * rho), torch.where(met, t, centre[:, 2])


def _survey(strength: Tensor, depth: Tensor, measure: tuple[float, float] | None) -> tuple[Tensor, Tensor]:
    """Distortion and median depth [P] of strengths and depths [P, V], front to back.

    The distortion is the sum over i of w_i (m_i^2 A + B - 2 m_i D), where A, B and D are the sums over the j before
    i of w_j, w_j m_j^2 and w_j m_j.
    """
    alpha = strength.clamp(max=RULES.max_alpha)
    used = alpha >= RULES.min_alpha
    weights, _, used = alpha_weights(torch.where(used, alpha, 0), used, RULES.stop)
    m = depth
    if measure is not None:
        near, far = measure
        m = far * (depth.clamp(min=near) - near) / (depth.clamp(min=near) * (far - near))
    m = torch.where(used, m, 0)

    def before(values: Tensor) -> Tensor:
        return values.cumsum(1) - values

    pairs = weights * (m * m * before(weights) + before(weights * m * m) - 2 * m * before(weights * m))
    below = used & (1 - weights.detach().cumsum(1) < 0.5)
    first = below & (below.cumsum(1) == 1)
    return pairs.sum(1), torch.where(first, depth, 0).sum(1)
