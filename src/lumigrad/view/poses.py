"""Conversion between viser's cameras, which are OpenCV's (x right, y down, z forward), and lumigrad's."""

from __future__ import annotations

import math
from typing import Any

import torch

from lumigrad.scene.cameras import conventions
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.rotations import matrix_to_quaternion, quaternion_to_matrix


def camera_of(seen: Any, size: tuple[int, int], centre: Any, radius: float) -> PerspectiveCamera:
    """The camera of a client.

    Args:
        seen: with `wxyz` (camera to world), `position` and `fov` (vertical, in radians).
        size: (height, width) of the frame.
        centre, radius: of the ball that must lie between the clip planes.
    """
    turn = quaternion_to_matrix(torch.as_tensor(seen.wxyz, dtype=torch.float64)).T
    place = torch.as_tensor(seen.position, dtype=torch.float64)
    focal = size[0] / (2 * math.tan(float(seen.fov) / 2))
    intrinsics = torch.tensor([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]], dtype=torch.float64)
    apart = float((place - torch.as_tensor(centre, dtype=torch.float64)).norm())
    near, far = max(apart - 1.1 * radius, 1e-3 * radius), apart + 1.1 * radius
    return conventions.from_opencv(turn, -turn @ place, intrinsics, size, near=near, far=far)


def pose_of(camera: PerspectiveCamera) -> dict[str, Any]:
    """The pose, field of view and aspect ratio of one camera, as viser takes them."""
    turn = camera.camera_to_world[:3, :3].double() @ torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    return {
        "wxyz": tuple(matrix_to_quaternion(turn).tolist()),
        "position": tuple(camera.position.double().tolist()),
        "fov": 2 * math.atan(camera.size[0] / (2 * float(camera.fy))),
        "aspect": camera.size[1] / camera.size[0],
    }
