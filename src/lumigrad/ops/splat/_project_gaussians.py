"""Projection of 3D Gaussians to the image.

Defined by :func:`lumigrad.reference.project_gaussians`; the kernel is ``native/splat/project.h``.
"""

from __future__ import annotations

from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.splat._view import PINHOLE, check_view
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float
from lumigrad.types.splats import ProjectedGaussians
from lumigrad.types.view import View

PROJECTIONS = (*PINHOLE, "fisheye")


def project_gaussians(
    means: Float[Tensor, "primitives 3"],
    quats: Float[Tensor, "primitives 4"],
    scales: Float[Tensor, "primitives 3"],
    view: View,
    *,
    blur: float = 0.3,
) -> ProjectedGaussians:
    """Project 3D Gaussians: their centres, and their shapes by the projection's derivative there.

    Args:
        means: centres in the world [V, 3].
        quats: rotations as quaternions (w, x, y, z) of any length [V, 4].
        scales: standard deviations along the rotated axes [V, 3].
        view: from :meth:`lumigrad.scene.Camera.view`; perspective, orthographic or fisheye (that one in plain PyTorch
            so far).
        blur: added to the variances on the image, square pixels.

    Returns:
        :class:`~lumigrad.ProjectedGaussians`, ready for :func:`~lumigrad.splat`. What is not drawn
        has depth NaN, otherwise zeros, and no gradient. Gradients reach means, quats, scales, and the matrix and
        intrinsics of the view.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or ranges.

    Source: Zwicker et al. 2001, "EWA volume splatting", section 6; Kerbl et al. 2023, section 4.

    >>> import torch
    >>> import lumigrad as lg
    >>> from lumigrad.scene import PerspectiveCamera
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=2.0, fov_y=90.0, size=(32, 32))
    >>> quats = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    >>> means, scales = torch.zeros(1, 3), torch.tensor([[0.5, 0.25, 0.25]])
    >>> projected = lg.project_gaussians(means, quats, scales, camera.view(), blur=0.0)
    >>> projected.xy[0, 0].tolist(), projected.depths[0, 0].item()
    ([16.0, 16.0], 2.0)
    >>> (1 / projected.conics[0, 0, ::2]).tolist()  # variances in pixels: (16 / 2 * scale)^2
    [16.0, 4.0]
    """
    means = check.floating("means", means)
    check.shape("means", means, ("V", 3))
    count = means.shape[0]
    quats = check.floating("quats", quats, means, "means")
    check.shape("quats", quats, (count, 4))
    scales = check.floating("scales", scales, means, "means")
    check.shape("scales", scales, (count, 3))
    view, intrinsics = check_view(view, means, "means", PROJECTIONS)
    blur = check.number("blur", blur)
    if view.projection == "fisheye" or needs_reference("project_gaussians", means):
        return reference.project_gaussians(means, quats, scales, view, blur=blur)
    tensors = (t.contiguous() for t in (means, quats, scales, view.matrix, intrinsics))
    orthographic = view.projection == "orthographic"
    return ProjectedGaussians(*_op(*tensors, *view.size, blur, view.near, view.far, orthographic))


def projection_sizes(means: Tensor, matrix: Tensor) -> tuple[int, ...]:
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
