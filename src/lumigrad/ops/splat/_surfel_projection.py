"""Projection of surfels to the image, registered with torch. The kernel is ``native/splat/project_surfel.h``."""

from __future__ import annotations

from typing import NamedTuple

import torch

from lumigrad._engine.declare import declare
from lumigrad.ops.splat._project_gaussians import projection_sizes
from lumigrad.types.view import View


class ProjectedSurfels(NamedTuple):
    """Surfels as seen by N cameras.

    Attributes:
        xy: [N, V, 2], centres in pixels.
        shapes: [N, V, 8], as the compositing kernel takes them.
        depths: [N, V], along the viewing direction; NaN for those that are not to be drawn.
        normals: [N, V, 3], unit normals in the world, facing the camera.
    """

    xy: torch.Tensor
    shapes: torch.Tensor
    depths: torch.Tensor
    normals: torch.Tensor


def project_surfels(
    means: torch.Tensor, quats: torch.Tensor, scales: torch.Tensor, view: View, intrinsics: torch.Tensor
) -> ProjectedSurfels:
    """Project surfels; the arguments are checked, and view and intrinsics come from `check_view`."""
    tensors = (t.contiguous() for t in (means, quats, scales, view.matrix, intrinsics))
    return ProjectedSurfels(*_op(*tensors, view.near, view.far, view.projection == "orthographic"))


_op = declare(
    "project_surfels(Tensor means, Tensor quats, Tensor scales, Tensor matrix, Tensor intrinsics, float near, "
    "float far, bool orthographic)",
    sizes=("views count", projection_sizes),
    outputs={
        "xy": "views count 2",
        "shapes": "views count 8",
        "depths": "views count",
        "normals": "views count 3",
    },
)
