"""Elliptical surface splats: oriented discs whose images are averaged where they lie on the same surface.

Defined by :func:`lumigrad.reference.surface_splats`; a composition of the projection of surfels and of compositing.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.splat import _compositing as engine
from lumigrad.ops.splat._surfel_projection import project_surfels
from lumigrad.ops.splat._view import check_view
from lumigrad.ops.splat._visibility import pull_by_visibility
from lumigrad.reference.splat._surface_splats import MIN_WEIGHT
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float
from lumigrad.types.splats import Splats
from lumigrad.types.view import View


def surface_splats(
    positions: Float[Tensor, "primitives 3"],
    normals: Float[Tensor, "primitives 3"],
    radii: Float[Tensor, " primitives"],
    features: Float[Tensor, "views primitives channels"] | Float[Tensor, "primitives channels"],
    view: View,
    background: Float[Tensor, "views channels"] | Float[Tensor, " channels"] | None = None,
    *,
    blur: float = 1.0,
    cutoff: float = 2.0,
    merge: float | None = 0.05,
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
        features: colours or any others [V, C] or [N, V, C].
        view: from :meth:`lumigrad.scene.Camera.view`; perspective or orthographic.
        background: [C] or [N, C]; 0 by default.
        blur: variance of the low-pass on the image, square pixels.
        cutoff: where a disc ends, in standard deviations of V; at most 4.
        merge: in world units, along the viewing direction; None for any distance, so that nothing is hidden.
        visibility_gradient: `alpha` is a step, and its gradient zero. With this it moves centres on the image as if the
            gradient of a pixel's alpha by each centre c within `reach` (times the larger standard deviation of V) were
            (p - c) / |p - c|^2, p the pixel. Made for losses on silhouettes: not a derivative.

    Returns:
        :class:`~lumigrad.Splats` with image, alpha (1 where there is a disc) and depth. Gradients from image and
        depth reach positions, normals, radii, features, background, and the matrix and intrinsics of the view. Discs
        with anything that is not finite, of no radius or no normal are left out.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or ranges.

    Source: Yifan et al. 2019, "Differentiable Surface Splatting", section 3; Zwicker et al. 2001, "Surface splatting".

    >>> import torch
    >>> import lumigrad as lg
    >>> from lumigrad.scene import PerspectiveCamera
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=2.0, fov_y=90.0, size=(32, 32))
    >>> positions = torch.tensor([[0.0, 0.0, 0.0], [0.2, 0.0, 0.0], [0.0, 0.0, -1.0]])  # the last one lies behind
    >>> normals = torch.tensor([[0.0, 0.0, 1.0]]).expand(3, 3)
    >>> features = torch.tensor([[1.0], [1.0], [0.0]])
    >>> out = lg.surface_splats(positions, normals, torch.full((3,), 0.2), features, camera.view())
    >>> out.image[0, 16, 16].item(), out.depth[0, 16, 16].item()
    (1.0, 2.0)
    """
    positions = check.floating("positions", positions)
    check.shape("positions", positions, ("V", 3))
    count = positions.shape[0]
    normals = check.floating("normals", normals, positions, "positions")
    check.shape("normals", normals, (count, 3))
    radii = check.floating("radii", radii, positions, "positions")
    check.shape("radii", radii, (count,))
    view, intrinsics = check_view(view, positions, "positions")
    features, _, background = engine.check_appearance(
        features, None, background, positions, "positions", len(view.matrix), count
    )
    blur, cutoff, merge, reach = _check_options(blur, cutoff, merge, reach)
    if needs_reference("surface_splats", positions, "project_surfels"):
        return reference.surface_splats(
            positions, normals, radii, features, view, background, blur=blur, cutoff=cutoff, merge=merge,
            visibility_gradient=visibility_gradient, reach=reach,
        )  # fmt: skip
    valid = (radii > 0) & radii.square().isfinite() & (normals != 0).any(-1) & normals.isfinite().all(-1)
    normals = torch.where(valid[:, None], normals, 1)
    normals = normals / normals.detach().abs().amax(-1, keepdim=True)  # squares must neither overflow nor underflow
    extent = torch.where(valid, 1, torch.nan).to(radii)[:, None].expand(-1, 2)
    xy, shapes, depths, _ = project_surfels(positions, _facing(normals), extent, view, intrinsics)
    conics, weights, deviations = ellipses(shapes, torch.where(valid, radii, 1), blur)
    # Discs with smaller weights are seen edge-on or are 1e14 pixels large.
    drawn = depths.isfinite() & (weights > MIN_WEIGHT)
    weights, depths = torch.where(drawn, weights, 0), torch.where(drawn, depths, torch.nan)
    beside = torch.stack((torch.where(drawn, depths, 0), torch.ones_like(weights)), -1)
    values = torch.cat((features.expand(len(xy), -1, -1), beside), -1) * weights[..., None]
    out = engine.composite(
        xy, conics, depths, positions.new_ones(count), values, values.new_zeros(values.shape[-1]),
        engine.FOOTPRINTS["gaussian"][0], engine.BLENDS["normalised"], view.size,
        min_alpha=math.exp(-0.5 * cutoff * cutoff), merge=merge or 0.0,
    )  # fmt: skip
    total = out.image[..., -1:]
    covered = total > 0
    mean = out.image[..., :-1] / torch.where(covered, total, 1)
    alpha = covered[..., 0].to(mean.dtype)
    if visibility_gradient:
        alpha = pull_by_visibility(alpha, xy, torch.where(drawn, reach * deviations, 0))
    return Splats(torch.where(covered, mean[..., :-1], background[..., None, None, :]), alpha, mean[..., -1])


def _check_options(blur: Any, cutoff: Any, merge: Any, reach: Any) -> tuple[float, float, float | None, float]:
    cutoff = check.real("cutoff", cutoff)
    if not 0 < cutoff <= 4:
        raise ValueError(f"cutoff: expected a number above 0 and up to 4, got {cutoff}")
    merge = None if merge is None else check.number("merge", merge, positive=True)
    return check.number("blur", blur, positive=True), cutoff, merge, check.number("reach", reach, positive=True)


def _facing(normals: Tensor) -> Tensor:
    """Quaternions that turn the z axis into the normals or their opposites, [V, 4]."""
    x, y, z = torch.where(normals[:, 2:] < 0, -normals, normals).unbind(-1)
    return torch.stack((z + normals.norm(dim=-1), -y, x, torch.zeros_like(x)), -1)


def ellipses(discs: Tensor, radii: Tensor, blur: float) -> tuple[Tensor, Tensor, Tensor]:
    """Conics [N, V, 3], weights at the centre [N, V] and the larger standard deviations [N, V].

    discs: shapes of the same discs with a radius of one [N, V, 8]. Ellipses so large that the area or determinant has
    no digits left have no weight and no gradient.
    """
    discs = discs[..., :4]
    fixed = discs.detach()
    det = _covariance(fixed * radii.detach()[:, None], blur)[-1]
    usable = (4 * fixed.square()).isfinite().all(-1) & (det > torch.finfo(det.dtype).tiny ** 0.45)
    discs = torch.where(usable[..., None], discs, 0)
    extent, xx, xy, yy, det = _covariance(discs * radii[:, None], blur)
    conics = torch.stack((yy, -xy, xx), -1) / det[..., None] / extent[..., None] / extent[..., None]
    a, b, c, d = discs.unbind(-1)
    weights = (a * d - b * c).abs() / (2 * math.pi * det.sqrt()) / extent / extent
    half = 0.5 * (xx - yy).detach()
    deviations = extent.detach() * (0.5 * (xx + yy).detach() + (half * half + xy.detach().square()).sqrt()).sqrt()
    return conics, weights, deviations


def _covariance(shapes: Tensor, blur: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The size [N, V] of ellipses, and their covariances xx, xy, yy and determinants relative to it."""
    # Prevents overflow of squares for large discs.
    unit = shapes.detach().abs().amax(-1).clamp(min=math.sqrt(blur))
    extent = unit * ((shapes / unit[..., None]).square().sum(-1) + (math.sqrt(blur) / unit).square()).sqrt()
    a, b, c, d = (shapes / extent[..., None]).unbind(-1)
    low_pass = (math.sqrt(blur) / extent).square()
    xx, xy, yy = a * a + b * b + low_pass, a * c + b * d, c * c + d * d + low_pass
    # Not as xx yy - xy^2, which loses the digits of long ellipses.
    return extent, xx, xy, yy, (a * d - b * c).square() + low_pass * (xx + yy - low_pass)
