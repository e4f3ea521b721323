"""Gaussian surfels: flat Gaussians in space, cut by each pixel's ray.

Defined by :func:`lumigrad.reference.surfels`; the kernels are ``native/splat/surfel.h`` and
``native/splat/project_surfel.h``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.splat import _compositing as engine
from lumigrad.ops.splat._spherical_harmonics import colors_seen
from lumigrad.ops.splat._surfel_projection import ProjectedSurfels, project_surfels
from lumigrad.ops.splat._view import check_view
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float
from lumigrad.types.splats import Surfels
from lumigrad.types.view import View


def surfels(
    means: Float[Tensor, "primitives 3"],
    quats: Float[Tensor, "primitives 4"],
    scales: Float[Tensor, "primitives 2"],
    opacities: Float[Tensor, " primitives"],
    features: Float[Tensor, "primitives coefficients channels"]
    | Float[Tensor, "views primitives channels"]
    | Float[Tensor, "primitives channels"],
    view: View,
    background: Float[Tensor, "views channels"] | Float[Tensor, " channels"] | None = None,
    *,
    harmonics: bool = False,
    distortion_range: tuple[float, float] | None = None,
    contributors: int = 0,
) -> Surfels:
    """Render Gaussian surfels front to back, with depth, normals and distortion.

    A surfel's strength at a pixel is its opacity times max(exp(-(u^2 + v^2) / 2), exp(-d^2)): (u, v) in standard
    deviations is where the pixel's ray cuts its plane in front of the camera, d the distance in pixels from where its
    centre is seen. Where the second is the larger one, and for surfels seen from the side, the depth is that of the
    centre. Both sides are visible. The order is that of the centres' depths. As for
    :func:`~lumigrad.gaussians`, strengths are capped at 0.99, those below 1/255 are left out, and a
    pixel is done where the transmittance would fall to 1e-4.

    Args:
        means: centres in the world [V, 3].
        quats: rotations as quaternions (w, x, y, z) of any length [V, 4]; the surfel lies in the rotated xy plane.
        scales: standard deviations along the rotated x and y axes [V, 2]. Without extent a dot of the filter is left.
        opacities: [V], in [0, 1].
        features: colours or any others [V, C] or [N, V, C]; with `harmonics` coefficients [V, K, C], as for
            `gaussians`.
        view: from :meth:`lumigrad.scene.Camera.view`; perspective or orthographic.
        background: [C] or [N, C]; 0 by default.
        distortion_range: (n, f) measures the distortion in m = f (z - n) / (z (f - n)), which goes from 0 at depth n
            (and before it) to 1 at depth f; None in the depth z itself.
        contributors: how many of the first contributors of each pixel to list.

    Returns:
        :class:`~lumigrad.Surfels`. Gradients from all its float images reach all tensors, those of the view
        too. Surfels with anything that is not finite are left out.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or ranges.

    Source: Huang et al. 2024, "2D Gaussian Splatting for Geometrically Accurate Radiance Fields", section 4; the
    distortion with squared differences, as in its appendix.

    >>> import torch
    >>> import lumigrad as lg
    >>> from lumigrad.scene import PerspectiveCamera
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=2.0, fov_y=90.0, size=(32, 32))
    >>> quats = torch.tensor([[1.0, 0.0, 0.0, 0.0]])  # in the plane z = 0
    >>> means, scales, opacities = torch.zeros(1, 3), torch.full((1, 2), 0.5), torch.tensor([0.5])
    >>> out = lg.surfels(means, quats, scales, opacities, torch.tensor([[0.0, 0.0, 1.0]]), camera.view())
    >>> round(out.depth[0, 8, 16].item() / out.alpha[0, 8, 16].item(), 3)
    2.0
    >>> torch.nn.functional.normalize(out.normals[0, 16, 16], dim=0).tolist()
    [0.0, 0.0, 1.0]
    """
    means = check.floating("means", means)
    check.shape("means", means, ("V", 3))
    count = means.shape[0]
    quats = check.floating("quats", quats, means, "means")
    check.shape("quats", quats, (count, 4))
    scales = check.floating("scales", scales, means, "means")
    check.shape("scales", scales, (count, 2))
    opacities = check.floating("opacities", opacities, means, "means")
    check.shape("opacities", opacities, (count,))
    view, intrinsics = check_view(view, means, "means")
    _measure(distortion_range)
    if harmonics:
        features = colors_seen(features, means, view.matrix)
    features, opacities, background = engine.check_appearance(
        features, opacities, background, means, "means", len(view.matrix), count
    )
    engine.check_contributors(contributors)
    if needs_reference("surfels", means, "project_surfels"):
        return reference.surfels(
            means, quats, scales, opacities, features, view, background, distortion_range=distortion_range,
            contributors=contributors,
        )  # fmt: skip
    projected = project_surfels(means, quats, scales, view, intrinsics)
    return composite_surfels(projected, opacities, features, background, view.size, distortion_range, contributors)


def composite_surfels(
    projected: ProjectedSurfels,
    opacities: Tensor,
    features: Tensor,
    background: Tensor,
    size: tuple[int, int],
    distortion_range: tuple[float, float] | None = None,
    contributors: int = 0,
) -> Surfels:
    """Composite the results of `project_surfels`. The other arguments are those of `surfels`, checked."""
    xy, shapes, depths, normals = projected
    min_depth, max_depth = _measure(distortion_range)
    out = engine.composite(
        xy, shapes, depths, opacities, torch.cat((features.expand(len(xy), -1, -1), normals), -1),
        torch.cat((background, background.new_zeros(*background.shape[:-1], 3)), -1),
        engine.SURFEL, engine.BLENDS["alpha"], size, max_alpha=0.99, min_alpha=1 / 255, stop=1e-4,
        min_depth=min_depth, max_depth=max_depth, contributors=contributors,
    )  # fmt: skip
    image, facing, distortion, middle = out.image.split((features.shape[-1], 3, 1, 1), -1)
    assert out.depth is not None
    assert out.median is not None
    return Surfels(
        image, out.alpha, out.depth, facing, distortion[..., 0], middle[..., 0], out.median, out.ids, out.weights
    )


def _measure(distortion_range: tuple[float, float] | None) -> tuple[float, float]:
    """The kernel's argument for `distortion_range`, checked: (0, 1) stands for the depth itself."""
    if distortion_range is None:
        return 0.0, 1.0
    try:
        near, far = map(float, distortion_range)
    except (TypeError, ValueError):
        raise TypeError(f"distortion_range: expected (near, far) or None, got {distortion_range!r}") from None
    if not (0 < near < far and math.isfinite(far)):
        raise ValueError(f"distortion_range: expected 0 < near < far, got {near}, {far}")
    return near, far
