"""From the world to what rasterizers take: x and y in NDC, z in view space."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.renderer._camera_base import CamerasBase


def cameras_of(module: Any, kwargs: dict[str, Any]) -> CamerasBase:
    """The cameras of a call, or else of a module.

    Raises:
        ValueError: there are none.
    """
    cameras = kwargs.get("cameras", module.cameras)
    if cameras is None:
        raise ValueError(
            "Cameras must be specified either at initialization or in the forward pass of " + type(module).__name__
        )
    return cameras


def project(cameras: CamerasBase, points: Tensor, size: Any, kwargs: dict[str, Any], eps: float | None) -> Tensor:
    """Points [N, P, 3] with x and y in NDC and z in view space.

    Args:
        cameras: one, or N.
        points: in the world.
        size: (height, width), for cameras that are defined on the screen and have no image size of their own.
        kwargs: of the call, in place of the cameras' parameters.
        eps: keep divisors at least so far from zero.
    """
    if "image_size" not in kwargs and cameras.get_image_size() is None:
        kwargs = {**kwargs, "image_size": size}
    view = cameras.get_world_to_view_transform(**kwargs).transform_points(points)
    ndc = cameras.transform_points_ndc(points, eps, **kwargs).reshape(-1, *points.shape[-2:])
    return torch.cat((ndc[..., :2].expand(*view.shape[:-1], 2), view[..., 2:]), -1)
