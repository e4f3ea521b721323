"""Soft spheres, defined in plain PyTorch (Lassner and Zollhoefer 2021, "Pulsar", section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.reference.splat._compositing import depth_order, first_contributors, pixel_centres, tensors_of
from lumigrad.reference.splat._finite import finite_rows
from lumigrad.reference.splat._splat import renumber, stack
from lumigrad.types.splats import Splats
from lumigrad.types.view import View

BACKGROUND_EXPONENT = 1e-6
MAX_OPACITY = 1e9  # for spheres that are drawn


def spheres(
    positions: Tensor,
    radii: Tensor,
    features: Tensor,
    view: View,
    opacities: Tensor | None = None,
    background: Tensor | None = None,
    *,
    gamma: Tensor | float = 0.1,
    min_depth: float = 0.0,
    max_depth: float = 100.0,
    contributors: int = 0,
) -> Splats:
    """Render spheres that fade towards their rims and blend by a softmax over depth: see `lumigrad.spheres`.

    With c the centre from the eye, t its length, r the pixel's unit ray, R the radius, o the opacity:
        d = max(0, 1 - |c - t r| / R),   s = c.r - sqrt(R^2 - |c|^2 + (c.r)^2)
        w = o d exp(o z / gamma),        z = 1 - (s - min_depth) / (max_depth - min_depth)
        image = (sum w features + w_b background) / (sum w + w_b),  w_b = exp(1e-6 / gamma)
    For orthographic cameras |c - t r| is the distance within the image plane and s is along the axis.
    """
    matrix, fx, fy, cx, cy = tensors_of(view)
    size, projection = view.size, view.projection
    views, count = len(matrix), positions.shape[-2]
    opacities = positions.new_ones(count) if opacities is None else opacities
    background = features.new_zeros(features.shape[-1]) if background is None else background
    gamma = torch.as_tensor(gamma, dtype=positions.dtype, device=positions.device)
    x, y = pixel_centres(size, positions)
    images = []
    for i in range(views):
        one = (positions, radii, features, opacities)
        point, radius, value, strength = (_of_view(v, i, n) for v, n in zip(one, (2, 1, 2, 1)))
        centre = (finite_rows(point) @ matrix[i, :3, :3].T + matrix[i, :3, 3]) * point.new_tensor(
            [1, 1, -1]
        )  # z into the scene
        plane_x, plane_y = (x - cx[i]) / fx[i], (cy[i] - y) / fy[i]
        distance = centre[:, 2] if projection == "orthographic" else centre.norm(dim=-1)
        front = distance - radius
        valid = torch.cat((point, centre, radius[:, None], strength[:, None]), 1).isfinite().all(1)
        valid = (
            valid
            & (radius > 0)
            & (strength > 0)
            & (strength <= MAX_OPACITY)
            & (front >= min_depth)
            & (front <= max_depth)
        )
        if projection != "orthographic":
            valid = valid & (front > 0)
        kept = valid.nonzero()[:, 0]
        geometry = centre[kept], radius[kept], plane_x, plane_y
        d, s = _orthographic(*geometry) if projection == "orthographic" else _perspective(*geometry)
        pixel_size = 1 / fx[i].detach().abs()
        d = _at_least_a_pixel(d, centre[kept].detach(), radius[kept], plane_x, plane_y, pixel_size, fy[i], projection)
        order = depth_order(front[kept])
        depth_range = (min_depth, max_depth)
        image = _blend(d, s, strength[kept], value[kept], background.expand(views, -1)[i], gamma, depth_range,
                       order, contributors, size)  # fmt: skip
        images.append(renumber(image, kept))
    return stack(images)


def _of_view(value: Tensor, i: int, dims: int) -> Tensor:
    """View i of a tensor that all views may share."""
    return value if value.dim() == dims else value.expand(max(i + 1, len(value)), *value.shape[1:])[i]


def _perspective(centre: Tensor, radius: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    ray = torch.stack((x, y, torch.ones_like(x)), -1)
    ray = ray / ray.norm(dim=-1, keepdim=True)
    t = centre.norm(dim=-1)
    cross = torch.linalg.cross(centre[None].expand(len(ray), -1, 3), ray[:, None].expand(-1, len(centre), 3))
    across2 = cross.square().sum(-1)  # squared distance of the centre from the ray's line
    along = ray @ centre.T
    chord = _root(2 * t * across2 / (t + along.clamp(min=0)))
    return torch.where(along > 0, (1 - chord / radius).clamp(min=0), 0), along - _root(radius.square() - across2)


def _orthographic(centre: Tensor, radius: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    across2 = (centre[:, 0] - x[:, None]).square() + (centre[:, 1] - y[:, None]).square()
    return (1 - _root(across2) / radius).clamp(min=0), centre[:, 2] - _root(radius.square() - across2)


def _root(square: Tensor) -> Tensor:
    """Square root; value and gradient are 0 where it does not exist."""
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1).sqrt(), 0)


def _at_least_a_pixel(
    d: Tensor, centre: Tensor, radius: Tensor, x: Tensor, y: Tensor, pixel: Tensor, fy: Tensor, projection: str
) -> Tensor:
    """A sphere with a projected radius below one pixel has d = 1 at the pixel that contains its centre."""
    z = torch.ones_like(centre[:, 2]) if projection == "orthographic" else centre[:, 2]
    small = (radius.detach() < pixel * z) & (z > 0)
    z = torch.where(z > 0, z, 1)
    dx, dy = x.detach()[:, None] - centre[:, 0] / z, y.detach()[:, None] - centre[:, 1] / z
    half_y = 0.5 / fy.detach().abs()
    inside = (dx > -0.5 * pixel) & (dx <= 0.5 * pixel) & (dy > -half_y) & (dy <= half_y)
    return torch.where(small & inside, torch.ones_like(d), d)


def _blend(
    d: Tensor,
    s: Tensor,
    opacities: Tensor,
    features: Tensor,
    background: Tensor,
    gamma: Tensor,
    depth_range: tuple[float, float],
    order: Tensor,
    contributors: int,
    size: tuple[int, int],
) -> Splats:
    z = 1 - (s - depth_range[0]) / (depth_range[1] - depth_range[0])
    used = d > 0
    exponent = torch.where(used, opacities * z / gamma, float("-inf"))
    empty = BACKGROUND_EXPONENT / gamma
    highest = torch.cat((exponent, empty.expand(len(d), 1)), 1).amax(1, keepdim=True).detach()
    weights = torch.where(used, opacities * d * torch.exp(torch.where(used, exponent, 0) - highest), 0)
    rest = torch.exp(empty - highest)[:, 0]
    total = weights.sum(1) + rest
    weights, rest = weights / total[:, None], rest / total
    image = weights @ features + rest[:, None] * background
    ids = kept = None
    if contributors:
        ids, kept = first_contributors(used[:, order], weights[:, order], order, contributors, size)
    return Splats(image.view(*size, -1), weights.sum(1).view(size), (weights * s).sum(1).view(size), None, ids, kept)
