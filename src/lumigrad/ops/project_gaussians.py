"""Projection of 3D Gaussians to the image.

Defined by :mod:`lumigrad.reference.project_gaussians`; the kernel is ``native/splat/project.h``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch

from lumigrad import reference
from lumigrad.ops import _validation as check
from lumigrad.ops._camera import check_camera
from lumigrad.ops._registration import needs_reference, register
from lumigrad.splats import ProjectedGaussians

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
    settings = [*map(float, size), blur, near, far, float(projection == "orthographic")]
    return ProjectedGaussians(*_op(*(t.contiguous() for t in (means, quats, scales, view, lens)), settings))


def _kernel(
    core: Any,
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    view: torch.Tensor,
    lens: torch.Tensor,
    settings: Sequence[float],
) -> tuple[torch.Tensor, ...]:
    outputs = [core.empty(size, means.dtype) for size in _output_shapes(means, view)]
    core.calls["project_gaussians_forward"](
        *_arguments(core, (means, quats, scales, view, lens), settings), *map(core.pointer, outputs)
    )
    return tuple(outputs)


def _arguments(core: Any, inputs: Sequence[torch.Tensor], settings: Sequence[float]) -> tuple:
    """What both C functions begin with."""
    means, view = inputs[0], inputs[3]
    return (
        core.float_code(means), core.pointers(inputs), (ctypes.c_double * 6)(*settings), view.shape[0], means.shape[0]
    )


def _output_shapes(means: torch.Tensor, view: torch.Tensor) -> list[tuple]:
    sizes = (view.shape[0], means.shape[0])
    return [(*sizes, 2), (*sizes, 3), sizes, sizes]


def _fake(means: torch.Tensor, quats: Any, scales: Any, view: torch.Tensor, *_: Any) -> tuple[torch.Tensor, ...]:
    return tuple(means.new_empty(size) for size in _output_shapes(means, view))


def _setup(ctx: Any, inputs: tuple, output: tuple) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.settings = inputs[5]


def _grad(ctx: Any, *grads: Any) -> tuple:
    if all(grad is None for grad in grads):
        return (None,) * 6
    return (*_backward_op(*ctx.saved_tensors, ctx.settings, *grads), None)


def _backward_kernel(
    core: Any,
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    view: torch.Tensor,
    lens: torch.Tensor,
    settings: Sequence[float],
    *grads: torch.Tensor | None,
) -> tuple[torch.Tensor, ...]:
    inputs = (means, quats, scales, view, lens)
    outputs = [core.empty(tensor.shape, means.dtype) for tensor in inputs]
    given = [None if grad is None else grad.contiguous() for grad in grads]
    core.calls["project_gaussians_backward"](
        *_arguments(core, inputs, settings), core.pointers(given), core.pointers(outputs)
    )
    return tuple(outputs)


_TENSORS = "Tensor means, Tensor quats, Tensor scales, Tensor view, Tensor lens, float[] settings"
_backward_op = register(
    f"project_gaussians_backward({_TENSORS}, Tensor? grad_xy, Tensor? grad_conic, Tensor? grad_depth, "
    "Tensor? grad_compensation) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    kernel=_backward_kernel,
    fake=lambda *args: tuple(torch.empty_like(tensor) for tensor in args[:5]),
    any_core=True,
)
_op = register(
    f"project_gaussians({_TENSORS}) -> (Tensor, Tensor, Tensor, Tensor)",
    kernel=_kernel,
    fake=_fake,
    setup=_setup,
    backward=_grad,
    any_core=True,
)
