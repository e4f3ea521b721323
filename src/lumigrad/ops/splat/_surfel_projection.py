"""Projection of surfels to the image, registered with torch. The kernel is ``native/splat/project_surfel.h``."""

from __future__ import annotations

import torch

from lumigrad.ops.splat._projection import register_projection


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
    settings = [0.0, 0.0, 0.0, near, far, float(projection == "orthographic")]
    xy, shape, depth, normals = _op(*(t.contiguous() for t in (means, quats, scales, view, lens)), settings)
    return xy, shape, depth, normals


_op = register_projection(
    "project_surfels",
    {"xy": (2,), "shape": (8,), "depth": (), "normal": (3,)},
    lambda core, outputs: (core.pointers(outputs),),
)
