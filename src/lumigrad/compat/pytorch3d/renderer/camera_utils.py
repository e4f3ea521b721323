"""Poses of cameras taken apart, turned and joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.renderer.cameras import CamerasBase
from lumigrad.compat.pytorch3d.transforms.transform3d import Transform3d


def camera_to_eye_at_up(world_to_view_transform: Transform3d) -> tuple[Tensor, Tensor, Tensor]:
    """Places, points straight ahead and directions up, [N, 3] each; `look_at_view_transform` makes the pose of them."""
    to_world = world_to_view_transform.inverse()
    view = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, 1, 0]], dtype=to_world.dtype, device=to_world.device)
    eye, at, above = to_world.transform_points(view).reshape(-1, 3, 3).unbind(1)
    return eye, at, above - eye


def rotate_on_spot(R: Tensor, T: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor]:
    """R [N, 3, 3] and T [N, 3] of cameras in the same places, turned.

    Args:
        R, T: poses, [3, 3] or [N, 3, 3], and [3] or [N, 3].
        rotation: of the camera in its own space, [3, 3] or [N, 3, 3], on column vectors.

    Raises:
        ValueError: other shapes.
    """
    R, T = R[None] if R.ndim == 2 else R, T[None] if T.ndim == 1 else T
    rotation = rotation[None] if rotation.ndim == 2 else rotation
    for name, value, shape in (("R", R, (3, 3)), ("T", T, (3,)), ("rotation", rotation, (3, 3))):
        if value.ndim != len(shape) + 1 or value.shape[1:] != shape:
            raise ValueError(f"Invalid {name}: expected shape [N, {', '.join(map(str, shape))}], got {value.shape}")
    turned = R @ rotation.transpose(1, 2)
    world = R @ T[:, :, None]  # minus the eye
    return turned, (turned.transpose(1, 2) @ world)[:, :, 0]


def join_cameras_as_batch(cameras_list: Sequence[CamerasBase]) -> Any:
    """One batch of several cameras of a kind.

    Raises:
        ValueError: different kinds, devices, or parameters that only some have.
    """
    first = cameras_list[0]
    if not all(isinstance(c, CamerasBase) for c in cameras_list):
        raise ValueError("cameras in cameras_list must inherit from CamerasBase")
    if len({type(c) for c in cameras_list}) > 1:
        raise ValueError("All cameras must be of the same type")
    if len({c.device for c in cameras_list}) > 1:
        raise ValueError("All cameras in the batch must be on the same device")
    joined: dict[str, Any] = {}
    for name in first._FIELDS:
        values = [getattr(c, name) for c in cameras_list]
        if all(value is None for value in values):
            continue
        if any(value is None for value in values):
            raise ValueError(f"Attribute {name} is inconsistently present")
        if isinstance(values[0], Tensor):
            joined[name] = torch.cat(values)
        elif any(value != values[0] for value in values):
            raise ValueError(f"Attribute {name} is not constant across inputs")
        else:
            joined[name.removeprefix("_")] = values[0]
    return type(first)(**joined, device=first.device)
