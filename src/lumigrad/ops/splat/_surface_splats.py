"""Elliptical surface splats: oriented discs whose images are averaged where they lie on the same surface.

Defined by :mod:`lumigrad.reference.surface_splats`; a composition of the projection of surfels and of compositing.
"""

from __future__ import annotations

import math

import torch

from lumigrad import reference
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.splat import _compositing as engine
from lumigrad.ops.splat._camera import check_camera
from lumigrad.ops.splat._surfel_projection import project_surfels
from lumigrad.ops.splat._visibility import pull_by_visibility
from lumigrad.types import validation as check
from lumigrad.types.splats import Splats


def surface_splats(
    positions: torch.Tensor,
    normals: torch.Tensor,
    radii: torch.Tensor,
    payload: torch.Tensor,
    size: tuple[int, int],
    view: torch.Tensor,
    fx: torch.Tensor,
    fy: torch.Tensor,
    cx: torch.Tensor,
    cy: torch.Tensor,
    background: torch.Tensor | None = None,
    *,
    blur: float = 1.0,
    cutoff: float = 2.0,
    merge: float | None = 0.05,
    projection: str = "perspective",
    near: float = 0.01,
    far: float = 1e10,
    visibility_gradient: bool = False,
    reach: float = 10.0,
) -> Splats:
    """Render points of a surface as oriented Gaussian discs, averaged within a band of depth.

    A disc becomes a Gaussian on the image with covariance V, that of its projection's derivative at the centre plus
    `blur`; its weight at a distance x from there is a exp(-x' V^-1 x / 2) / (2 pi sqrt(det V)), a the area on the
    image of a unit of area of its plane. A pixel shows the mean, by these weights, of the discs that it is within
    `cutoff` of and whose centres are at most `merge` behind the nearest of them.

    Args:
        positions: centres in the world [V, 3].
        normals: [V, 3], of any length but zero and either sign.
        radii: standard deviations of the discs in world units [V]; for a surface without holes about the distance to
            the neighbours.
        payload: colours or features [V, C] or [N, V, C].
        size: (height, width).
        view, fx, fy, cx, cy, projection, near, far: as for :func:`~lumigrad.ops.surfels.surfels`.
        background: [C] or [N, C]; 0 by default.
        blur: variance of the low-pass on the image, square pixels.
        cutoff: where a disc ends, in standard deviations of V; at most 4.
        merge: in world units, along the viewing direction; None for any distance, so that nothing is hidden.
        visibility_gradient: `alpha` is a step, and its gradient zero. With this it moves centres on the image as if the
            gradient of a pixel's alpha by each centre c within `reach` (times the larger standard deviation of V) were
            (p - c) / |p - c|^2, p the pixel. Made for losses on silhouettes: not a derivative.

    Returns:
        :class:`~lumigrad.splats.Splats` with image, alpha (1 where there is a disc) and depth. Gradients from image and
        depth reach positions, normals, radii, payload, background, view and fx, fy, cx, cy. Discs with anything that is
        not finite, of no radius or no normal are left out.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or ranges.

    Source: Yifan et al. 2019, "Differentiable Surface Splatting", section 3; Zwicker et al. 2001, "Surface splatting".
    """
    size = check.resolution(size)
    positions = check.floating("positions", positions)
    check.shape("positions", positions, ("V", 3))
    count = positions.shape[0]
    normals = check.floating("normals", normals, positions, "positions")
    check.shape("normals", normals, (count, 3))
    radii = check.floating("radii", radii, positions, "positions")
    check.shape("radii", radii, (count,))
    view, lens = check_camera(view, fx, fy, cx, cy, positions, "positions")
    payload, _, background = engine.check_appearance(
        payload, None, background, positions, "positions", len(view), count
    )
    _check_options(blur, cutoff, merge, projection, near, far, reach)
    if needs_reference("surface_splats", positions, "project_surfels"):
        return reference.surface_splats(
            positions, normals, radii, payload, size, view, lens[:, 0], lens[:, 1], lens[:, 2], lens[:, 3], background,
            blur=blur, cutoff=cutoff, merge=merge, projection=projection, near=near, far=far,
            visibility_gradient=visibility_gradient, reach=reach,
        )  # fmt: skip
    sound = (radii > 0) & radii.isfinite() & (normals != 0).any(-1) & normals.isfinite().all(-1)
    normals = torch.where(sound[:, None], normals, 1)
    extent = torch.where(sound, radii, torch.nan)[:, None].expand(-1, 2)
    xy, shape, depth, _ = project_surfels(positions, _facing(normals), extent, view, lens, projection, near, far)
    drawn = depth.isfinite()
    conic, weight, widest = ellipses(shape, torch.where(sound, radii, 1), blur)
    beside = torch.stack((torch.where(drawn, depth, 0), torch.ones_like(weight)), -1)
    values = torch.cat((payload.expand(len(view), -1, -1), beside), -1) * weight[..., None]
    out = engine.composite(
        xy, conic, depth, positions.new_ones(count), values, values.new_zeros(values.shape[-1]),
        engine.FOOTPRINTS["gaussian"][0], engine.BLENDS["normalised"], size,
        min_alpha=math.exp(-0.5 * cutoff * cutoff), merge=merge or 0.0,
    )  # fmt: skip
    total = out.image[..., -1:]
    covered = total > 0
    mean = out.image[..., :-1] / torch.where(covered, total, 1)
    alpha = covered[..., 0].to(mean.dtype)
    if visibility_gradient:
        alpha = pull_by_visibility(alpha, xy, torch.where(drawn, reach * widest, 0))
    return Splats(torch.where(covered, mean[..., :-1], background[..., None, None, :]), alpha, mean[..., -1])


def _check_options(
    blur: float, cutoff: float, merge: float | None, projection: str, near: float, far: float, reach: float
) -> None:
    for name, value in (("blur", blur), ("reach", reach), ("merge", 1.0 if merge is None else merge)):
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name}: expected a positive number, got {value}")
    if not 0 < cutoff <= 4:
        raise ValueError(f"cutoff: expected a number above 0 and up to 4, got {cutoff}")
    if projection not in ("perspective", "orthographic"):
        raise ValueError(f"projection: expected 'perspective' or 'orthographic', got {projection!r}")
    if not 0 <= near < far:
        raise ValueError(f"near, far: expected 0 <= near < far, got {near}, {far}")


def _facing(normals: torch.Tensor) -> torch.Tensor:
    """Quaternions that turn the z axis into the normals or their opposites, [V, 4]."""
    x, y, z = torch.where(normals[:, 2:] < 0, -normals, normals).unbind(-1)
    return torch.stack((z + normals.norm(dim=-1), -y, x, torch.zeros_like(x)), -1)


def ellipses(shape: torch.Tensor, radii: torch.Tensor, blur: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Conics [N, V, 3], weights at the centre [N, V] and the larger standard deviations [N, V]."""
    # In units of their size, so that large discs do not overflow.
    extent = (shape[..., :4].square().sum(-1) + blur).sqrt()
    a, b, c, d = (shape[..., :4] / extent[..., None]).unbind(-1)
    least = blur / extent.square()
    xx, xy, yy = a * a + b * b + least, a * c + b * d, c * c + d * d + least
    # Not xx yy - xy^2, which loses the digits of long ellipses.
    det = (a * d - b * c).square() + least * (xx + yy - least)
    conic = torch.stack((yy, -xy, xx), -1) / (det * extent.square())[..., None]
    weight = (a * d - b * c).abs() / (2 * math.pi * radii.square() * det.sqrt())
    half = 0.5 * (xx - yy).detach()
    widest = extent.detach() * (0.5 * (xx + yy).detach() + (half * half + xy.detach().square()).sqrt()).sqrt()
    return conic, weight, widest
