"""Points as discs or squares that face the camera."""

from __future__ import annotations

import torch

from lumigrad.ops.splat._camera import check_camera
from lumigrad.ops.splat._splat import splat
from lumigrad.types import validation as check
from lumigrad.types.splats import Splats


def points(
    positions: torch.Tensor,
    radii: torch.Tensor,
    payload: torch.Tensor,
    size: tuple[int, int],
    view: torch.Tensor,
    fx: torch.Tensor,
    fy: torch.Tensor,
    cx: torch.Tensor,
    cy: torch.Tensor,
    opacity: torch.Tensor | None = None,
    background: torch.Tensor | None = None,
    *,
    footprint: str = "disc",
    blend: str = "alpha",
    units: str = "pixels",
    projection: str = "perspective",
    near: float = 0.01,
    limit: int | None = None,
    contributors: int = 0,
) -> Splats:
    """Render points as discs or squares, each fading from its centre: 1 - distance^2 / radius^2.

    Args:
        positions: in the world [V, 3].
        radii: [V]; in pixels, or with units="world" in world units, along x.
        payload, size, opacity, background, footprint ("disc", "square"), blend, limit, contributors: as for
            :func:`~lumigrad.ops.splat.splat`.
        view, fx, fy, cx, cy, projection ("perspective", "orthographic"): as for :func:`~lumigrad.ops.spheres.spheres`.
        near: points nearer to the camera's plane than this are left out.

    Returns:
        :class:`~lumigrad.splats.Splats`; its depth is that of the points along the viewing direction. Gradients reach
        positions, radii, payload, opacity, background, view and fx, fy, cx, cy.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or names.

    Source: Wiles et al. 2020, "SynSin", section 3.2; Ravi et al. 2020, section on point clouds.
    """
    positions = check.floating("positions", positions)
    check.shape("positions", positions, ("V", 3))
    view, lens = check_camera(view, fx, fy, cx, cy, positions, "positions")
    radii = check.floating("radii", radii, positions, "positions")
    check.shape("radii", radii, (positions.shape[0],))
    for name, value, known in (
        ("footprint", footprint, ("disc", "square")),
        ("units", units, ("pixels", "world")),
        ("projection", projection, ("perspective", "orthographic")),
    ):
        if value not in known:
            raise ValueError(f"{name}: expected {' or '.join(map(repr, known))}, got {value!r}")
    xy, depth, scale = _project(positions, view, lens, projection, near)
    radii = radii * scale * lens[:, :1] if units == "world" else radii.expand(len(view), -1)
    return splat(
        xy, radii, depth, payload, size, opacity, background, footprint=footprint, blend=blend, limit=limit,
        contributors=contributors,
    )  # fmt: skip


def _project(
    positions: torch.Tensor, view: torch.Tensor, lens: torch.Tensor, projection: str, near: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pixel coordinates [N, V, 2], depth [N, V] (NaN where there is nothing to draw) and the scale by distance."""
    camera = positions @ view[:, :3, :3].transpose(-1, -2) + view[:, None, :3, 3]
    x, y, z = camera[..., 0], -camera[..., 1], -camera[..., 2]
    seen = z > near
    z = torch.where(seen, z, 1)
    scale = 1 / z if projection == "perspective" else torch.ones_like(z)
    fx, fy, cx, cy = (value[:, None] for value in lens.unbind(-1))
    return torch.stack((fx * x * scale + cx, fy * y * scale + cy), -1), torch.where(seen, z, torch.nan), scale
