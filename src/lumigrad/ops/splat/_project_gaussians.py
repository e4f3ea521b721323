"""Projection of 3D Gaussians to the image.

Defined by :mod:`lumigrad.reference.project_gaussians`; the kernel is ``native/splat/project.h``.
"""

from __future__ import annotations

import torch

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.splat._camera import check_camera
from lumigrad.types import validation as check
from lumigrad.types.splats import ProjectedGaussians

PROJECTIONS = ("perspective", "orthographic", "fisheye")


def project_gaussians(
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    size: tuple[int, int],
    view: torch.Tensor,
    fx: torch.Tensor,
    fy: torch.Tensor,
    cx: torch.Tensor,
    cy: torch.Tensor,
    *,
    projection: str = "perspective",
    blur: float = 0.3,
    near: float = 0.01,
    far: float = 1e10,
) -> ProjectedGaussians:
    """Project 3D Gaussians: their centres, and their shapes by the projection's derivative there.

    Args:
        means: centres in the world [V, 3].
        quats: rotations as quaternions (w, x, y, z) of any length [V, 4].
        scales: standard deviations along the rotated axes [V, 3].
        size: (height, width).
        view: world-to-camera matrices [N, 4, 4] or [4, 4]; the camera looks along -z.
        fx, fy, cx, cy: focal lengths and principal point in pixels, [N] or scalars; for orthographic cameras fx and fy
            are pixels per world unit.
        projection: "perspective"; "orthographic"; "fisheye": the distance from the principal point is the focal length
            times the angle from the axis (in plain PyTorch so far).
        blur: added to the variances on the image, square pixels.
        near, far: what is not between these distances, along the viewing direction, is not drawn.

    Returns:
        :class:`~lumigrad.splats.ProjectedGaussians`, ready for :func:`~lumigrad.ops.splat.splat`. What is not drawn
        has depth NaN, otherwise zeros, and no gradient. Gradients reach means, quats, scales, view and fx, fy, cx, cy.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or ranges.

    Source: Zwicker et al. 2001, "EWA volume splatting", section 6; Kerbl et al. 2023, section 4.
    """
    size = check.resolution(size)
    means = check.floating("means", means)
    check.shape("means", means, ("V", 3))
    count = means.shape[0]
    quats = check.floating("quats", quats, means, "means")
    check.shape("quats", quats, (count, 4))
    scales = check.floating("scales", scales, means, "means")
    check.shape("scales", scales, (count, 3))
    view, lens = check_camera(view, fx, fy, cx, cy, means, "means")
    if projection not in PROJECTIONS:
        raise ValueError(f"projection: expected one of {', '.join(map(repr, PROJECTIONS))}, got {projection!r}")
    if blur < 0:
        raise ValueError(f"blur: expected a non-negative number, got {blur}")
    if not 0 <= near < far:
        raise ValueError(f"near, far: expected 0 <= near < far, got {near}, {far}")
    if projection == "fisheye" or needs_reference("project_gaussians", means):
        return reference.project_gaussians(
            means, quats, scales, size, view, *lens.unbind(-1), projection=projection, blur=blur, near=near, far=far
        )
    tensors = (t.contiguous() for t in (means, quats, scales, view, lens))
    return ProjectedGaussians(*_op(*tensors, *size, blur, near, far, projection == "orthographic"))


def projection_sizes(means: torch.Tensor, matrix: torch.Tensor) -> tuple[int, ...]:
    """views, count"""
    return matrix.shape[0], means.shape[0]


_op = declare(
    "project_gaussians(Tensor means, Tensor quats, Tensor scales, Tensor matrix, Tensor intrinsics, int height, "
    "int width, float blur, float near, float far, bool orthographic)",
    sizes=("views count", projection_sizes),
    outputs={
        "xy": "views count 2",
        "conics": "views count 3",
        "depths": "views count",
        "compensations": "views count",
    },
)
