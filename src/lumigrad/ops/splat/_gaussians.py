"""3D Gaussians: projected, coloured and composited in one call."""

from __future__ import annotations

import torch

from lumigrad.ops.splat._camera import check_camera
from lumigrad.ops.splat._project_gaussians import project_gaussians
from lumigrad.ops.splat._spherical_harmonics import colors_seen
from lumigrad.ops.splat._splat import splat
from lumigrad.types import validation as check
from lumigrad.types.splats import Splats


def gaussians(
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
    antialiased: bool = False,
    projection: str = "perspective",
    blur: float = 0.3,
    near: float = 0.01,
    far: float = 1e10,
    contributors: int = 0,
) -> Splats:
    """Render 3D Gaussians front to back.

    The composition of :func:`~lumigrad.ops.project_gaussians.project_gaussians`,
    :func:`~lumigrad.ops.spherical_harmonics.spherical_harmonics` and :func:`~lumigrad.ops.splat.splat` that 3D Gaussian
    splatting has made usual: opacities are capped at 0.99, less than 1/255 is not drawn, and a pixel is done where the
    transmittance would fall to 1e-4.

    Args:
        means, quats, scales, size, view, fx, fy, cx, cy, projection, blur, near, far: as for `project_gaussians`.
        opacities: [V], in [0, 1].
        payload: colours or features [V, C] or [N, V, C]; with `harmonics` coefficients [V, K, C], K = 1, 4, 9, 16 or
            25, whose sum in the direction from the camera, plus 0.5 and not below 0, is the colour.
        background: [C] or [N, C]; 0 by default.
        antialiased: lower the opacity of what `blur` has widened, so that small Gaussians keep their weight.
        contributors: how many of the first contributors of each pixel to list.

    Returns:
        :class:`~lumigrad.splats.Splats`. Gradients reach everything but size and the options.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or ranges.

    Source: Kerbl et al. 2023, "3D Gaussian Splatting"; antialiasing: Yu et al. 2024, "Mip-Splatting", the 2D filter.
    """
    projected = project_gaussians(
        means, quats, scales, size, view, fx, fy, cx, cy, projection=projection, blur=blur, near=near, far=far
    )
    count = projected.depth.shape[1]
    opacities = check.floating("opacities", opacities, means, "means")
    check.shape("opacities", opacities, (count,))
    if antialiased:
        opacities = opacities * projected.compensation
    if harmonics:
        matrices, _ = check_camera(view, fx, fy, cx, cy, means, "means")
        payload = colors_seen(payload, means, matrices)
    return splat(
        projected.xy, projected.conic, projected.depth, payload, size, opacities, background,
        alpha_max=0.99, alpha_min=1 / 255, stop=1e-4, contributors=contributors,
    )  # fmt: skip
