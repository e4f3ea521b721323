"""Points as discs or squares that face the camera."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.ops.splat._splat import splat
from lumigrad.ops.splat._view import check_view
from lumigrad.reference.splat._finite import finite_or_zero, finite_rows
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float
from lumigrad.types.splats import Splats
from lumigrad.types.view import View


def points(
    positions: Float[Tensor, "primitives 3"],
    radii: Float[Tensor, " primitives"],
    features: Float[Tensor, "views primitives channels"] | Float[Tensor, "primitives channels"],
    view: View,
    opacities: Float[Tensor, "views primitives"] | Float[Tensor, " primitives"] | None = None,
    background: Float[Tensor, "views channels"] | Float[Tensor, " channels"] | None = None,
    *,
    footprint: str = "disc",
    blend: str = "alpha",
    units: str = "pixels",
    max_contributors: int | None = None,
    contributors: int = 0,
) -> Splats:
    """Render points as discs or squares, each fading from its centre: 1 - distance^2 / radius^2.

    Args:
        positions: in the world [V, 3].
        radii: [V]; in pixels, or with units="world" in world units, along x.
        features, opacities, background, footprint ("disc", "square"), blend, max_contributors, contributors: as for
            :func:`~lumigrad.splat`.
        view: from :meth:`lumigrad.scene.Camera.view`; perspective or orthographic.

    Returns:
        :class:`~lumigrad.Splats`; its depth is that of the points along the viewing direction. Gradients reach
        positions, radii, features, opacities, background, and the matrix and intrinsics of the view.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or names.

    Source: Wiles et al. 2020, "SynSin", section 3.2; Ravi et al. 2020, section on point clouds.

    >>> import torch
    >>> import lumigrad as lg
    >>> from lumigrad.scene import PerspectiveCamera
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=2.0, fov_y=90.0, size=(32, 32))
    >>> out = lg.points(torch.zeros(1, 3), torch.tensor([3.0]), torch.tensor([[1.0, 0.5, 0.0]]), camera.view())
    >>> out.image.shape
    torch.Size([1, 32, 32, 3])
    >>> out.depth[0, 16, 16].item() / out.alpha[0, 16, 16].item()
    2.0
    >>> (out.alpha[0] > 0).sum(1).max().item()  # pixels from side to side
    6
    """
    positions = check.floating("positions", positions)
    check.shape("positions", positions, ("V", 3))
    view, intrinsics = check_view(view, positions, "positions")
    radii = check.floating("radii", radii, positions, "positions")
    check.shape("radii", radii, (positions.shape[0],))
    for name, value, known in (
        ("footprint", footprint, ("disc", "square")),
        ("units", units, ("pixels", "world")),
    ):
        if value not in known:
            raise ValueError(f"{name}: expected {' or '.join(map(repr, known))}, got {value!r}")
    xy, depths, scale = project_points(positions, view, intrinsics)
    if units == "world":
        radii = finite_or_zero(radii) * scale * intrinsics[:, :1]
    else:
        radii = radii.expand(len(view.matrix), -1)
    return splat(
        xy, radii, depths, features, view.size, opacities, background, footprint=footprint, blend=blend,
        max_contributors=max_contributors, contributors=contributors,
    )  # fmt: skip


def project_points(positions: Tensor, view: View, intrinsics: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pixel coordinates [N, V, 2], depths [N, V] (NaN if there is nothing to draw) and the scale at that distance."""
    camera = finite_rows(positions) @ view.matrix[:, :3, :3].transpose(-1, -2) + view.matrix[:, None, :3, 3]
    x, y, z = camera[..., 0], -camera[..., 1], -camera[..., 2]
    seen = (z > view.near) & (z < view.far) & positions.isfinite().all(-1)
    z = torch.where(seen, z, 1)
    scale = 1 / z if view.projection == "perspective" else torch.ones_like(z)
    fx, fy, cx, cy = (value[:, None] for value in intrinsics.unbind(-1))
    return torch.stack((fx * x * scale + cx, fy * y * scale + cy), -1), torch.where(seen, z, torch.nan), scale
