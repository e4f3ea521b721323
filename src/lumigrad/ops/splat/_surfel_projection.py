"""Projection of surfels to the image, registered with torch. The kernel is ``native/splat/project_surfel.h``."""

from __future__ import annotations

import torch

from lumigrad._engine.declare import declare
from lumigrad.ops.splat._project_gaussians import projection_sizes


def project_surfels(
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    view: torch.Tensor,
    lens: torch.Tensor,
    projection: str,
    near: float,
    far: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of checked arguments: centres in pixels [N, V, 2], shapes as the compositing kernel takes them [N, V, 8], depths
    [N, V] (NaN for what is not to be drawn), and unit normals in the world, turned to the camera [N, V, 3]."""
    tensors = (t.contiguous() for t in (means, quats, scales, view, lens))
    return _op(*tensors, near, far, projection == "orthographic")


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
