"""Gaussian surfels: flat Gaussians in space, cut by each pixel's ray.

Defined by :mod:`lumigrad.reference.surfels`; the kernels are ``native/splat/surfel.h`` and
``native/splat/project_surfel.h``.
"""

from __future__ import annotations

import math

import torch

from lumigrad import reference
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.splat import _compositing as engine
from lumigrad.ops.splat._camera import check_camera
from lumigrad.ops.splat._spherical_harmonics import colors_seen
from lumigrad.ops.splat._surfel_projection import project_surfels
from lumigrad.types import validation as check
from lumigrad.types.splats import Surfels

PROJECTIONS = ("perspective", "orthographic")


def surfels(
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    opacities: torch.Tensor,
    payload: torch.Tensor,
    size: tuple[int, int],
    view: torch.Tensor,
    fx: torch.Tensor,
    fy: torch.Tensor,
    cx: torch.Tensor,
    cy: torch.Tensor,
    background: torch.Tensor | None = None,
    *,
    harmonics: bool = False,
    projection: str = "perspective",
    near: float = 0.01,
    far: float = 1e10,
    distortion_range: tuple[float, float] | None = None,
    contributors: int = 0,
) -> Surfels:
    """Render Gaussian surfels front to back, with depth, normals and distortion.

    A surfel's strength at a pixel is its opacity times max(exp(-(u^2 + v^2) / 2), exp(-d^2)): (u, v) in standard
    deviations is where the pixel's ray cuts its plane in front of the camera, d the distance in pixels from where its
    centre is seen. Where the second is the larger one, and for surfels seen from the side, the depth is that of the
    centre. Both sides are visible. The order is that of the centres' depths. As for
    :func:`~lumigrad.ops.gaussians.gaussians`, strengths are capped at 0.99, those below 1/255 are left out, and a
    pixel is done where the transmittance would fall to 1e-4.

    Args:
        means: centres in the world [V, 3].
        quats: rotations as quaternions (w, x, y, z) of any length [V, 4]; the surfel lies in the rotated xy plane.
        scales: standard deviations along the rotated x and y axes [V, 2]. Without extent a dot of the filter is left.
        opacities: [V], in [0, 1].
        payload: colours or features [V, C] or [N, V, C]; with `harmonics` coefficients [V, K, C], as for `gaussians`.
        size: (height, width).
        view: world-to-camera matrices [N, 4, 4] or [4, 4], rigid; the camera looks along -z.
        fx, fy, cx, cy: focal lengths and principal point in pixels, [N] or scalars; for orthographic cameras fx and fy
            are pixels per world unit.
        background: [C] or [N, C]; 0 by default.
        projection: "perspective" or "orthographic".
        near, far: what has its centre not between these distances, along the viewing direction, is not drawn.
        distortion_range: (n, f) measures the distortion in m = f (z - n) / (z (f - n)), which goes from 0 at depth n
            (and before it) to 1 at depth f; None in the depth z itself.
        contributors: how many of the first contributors of each pixel to list.

    Returns:
        :class:`~lumigrad.splats.Surfels`. Gradients from all its float images reach everything but size and the
        options. Surfels with anything that is not finite are left out.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or ranges.

    Source: Huang et al. 2024, "2D Gaussian Splatting for Geometrically Accurate Radiance Fields", section 4; the
    distortion with squared differences, as in its appendix.
    """
    size = check.resolution(size)
    means = check.floating("means", means)
    check.shape("means", means, ("V", 3))
    count = means.shape[0]
    quats = check.floating("quats", quats, means, "means")
    check.shape("quats", quats, (count, 4))
    scales = check.floating("scales", scales, means, "means")
    check.shape("scales", scales, (count, 2))
    opacities = check.floating("opacities", opacities, means, "means")
    check.shape("opacities", opacities, (count,))
    view, lens = check_camera(view, fx, fy, cx, cy, means, "means")
    if projection not in PROJECTIONS:
        raise ValueError(f"projection: expected 'perspective' or 'orthographic', got {projection!r}")
    if not 0 <= near < far:
        raise ValueError(f"near, far: expected 0 <= near < far, got {near}, {far}")
    _measure(distortion_range)
    if harmonics:
        payload = colors_seen(payload, means, view)
    payload, opacities, background = engine.check_appearance(
        payload, opacities, background, means, "means", len(view), count
    )
    engine.check_contributors(contributors)
    if needs_reference("surfels", means, "project_surfels"):
        return reference.surfels(
            means, quats, scales, opacities, payload, size, view, lens[:, 0], lens[:, 1], lens[:, 2], lens[:, 3],
            background, projection=projection, near=near, far=far, distortion_range=distortion_range,
            contributors=contributors,
        )  # fmt: skip
    xy, shape, depth, normals = project_surfels(means, quats, scales, view, lens, projection, near, far)
    return composite_surfels(
        xy, shape, depth, normals, opacities, payload, background, size, distortion_range, contributors
    )


def composite_surfels(
    xy: torch.Tensor,
    shape: torch.Tensor,
    depth: torch.Tensor,
    normals: torch.Tensor,
    opacities: torch.Tensor,
    payload: torch.Tensor,
    background: torch.Tensor,
    size: tuple[int, int],
    distortion_range: tuple[float, float] | None = None,
    contributors: int = 0,
) -> Surfels:
    """Composite what `project_surfels` gave; the other arguments are those of `surfels`, checked."""
    min_depth, max_depth = _measure(distortion_range)
    out = engine.composite(
        xy, shape, depth, opacities, torch.cat((payload.expand(len(xy), -1, -1), normals), -1),
        torch.cat((background, background.new_zeros(*background.shape[:-1], 3)), -1),
        engine.SURFEL, engine.BLENDS["alpha"], size, max_alpha=0.99, min_alpha=1 / 255, stop=1e-4,
        min_depth=min_depth, max_depth=max_depth, contributors=contributors,
    )  # fmt: skip
    image, facing, distortion, middle = out.image.split((payload.shape[-1], 3, 1, 1), -1)
    assert out.depth is not None
    assert out.median is not None
    return Surfels(
        image, out.alpha, out.depth, facing, distortion[..., 0], middle[..., 0], out.median, out.ids, out.weights
    )


def _measure(distortion_range: tuple[float, float] | None) -> tuple[float, float]:
    """What the kernel takes for it, checked: (0, 1) stands for the depth itself."""
    if distortion_range is None:
        return 0.0, 1.0
    try:
        near, far = map(float, distortion_range)
    except (TypeError, ValueError):
        raise TypeError(f"distortion_range: expected (near, far) or None, got {distortion_range!r}") from None
    if not (0 < near < far and math.isfinite(far)):
        raise ValueError(f"distortion_range: expected 0 < near < far, got {near}, {far}")
    return near, far
