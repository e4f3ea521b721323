"""Cameras that look at something, in PyTorch3D's convention: X_view = X R + T, +X left, +Y up, +Z into the scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lumigrad.compat.pytorch3d.transforms.transform3d import Transform3d


def camera_position_from_spherical_angles(
    distance: Any, elevation: Any, azimuth: Any, degrees: bool = True, device: torch.device | str = "cpu"
) -> Tensor:
    """Places [N, 3] = d (cos e sin a, sin e, cos e cos a)."""
    vectors = [_vector(v, device) for v in (distance, elevation, azimuth)]
    dtype = torch.float64 if any(v.dtype == torch.float64 for v in vectors) else torch.float32
    count = max(len(v) for v in vectors)
    if any(len(v) not in (1, count) for v in vectors):
        raise ValueError(f"distance, elevation, azimuth: non-broadcastable sizes {[len(v) for v in vectors]}")
    d, e, a = torch.broadcast_tensors(*(v.to(dtype) for v in vectors))
    if degrees:
        e, a = e * (math.pi / 180), a * (math.pi / 180)
    return torch.stack((d * e.cos() * a.sin(), d * e.sin(), d * e.cos() * a.cos()), -1)


def look_at_rotation(
    camera_position: Any, at: Any = ((0, 0, 0),), up: Any = ((0, 1, 0),), device: torch.device | str = "cpu"
) -> Tensor:
    """Rotations [N, 3, 3] for row vectors: columns are the camera's axes in the world, the third one its direction."""
    place = _points(camera_position, device)
    place, target, upwards = torch.broadcast_tensors(place, *(_points(v, device).to(place) for v in (at, up)))
    forward = F.normalize(target - place, eps=1e-5)
    left = F.normalize(torch.linalg.cross(upwards, forward), eps=1e-5)
    above = F.normalize(torch.linalg.cross(forward, left), eps=1e-5)
    # Looking along `up` there is no left: take what is at right angles to the other two.
    other = F.normalize(torch.linalg.cross(above, forward), eps=1e-5)
    left = torch.where(left.abs().amax(1, keepdim=True) < 5e-3, other, left)
    return torch.stack((left, above, forward), 2)


def look_at_view_transform(
    dist: Any = 1.0, elev: Any = 0.0, azim: Any = 0.0, degrees: bool = True, eye: Any = None,
    at: Any = ((0, 0, 0),), up: Any = ((0, 1, 0),), device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """R [N, 3, 3] and T [N, 3] of cameras at `eye`, or at a distance, elevation and azimuth from `at`."""
    target = _points(at, device)
    if eye is not None:
        place = _points(eye, device)
    else:
        offset = camera_position_from_spherical_angles(dist, elev, azim, degrees, device)
        place = offset + target.to(offset)
    R = look_at_rotation(place, target, up, device)
    return R, -(place[:, None] @ R)[:, 0]


def _vector(value: Any, device: torch.device | str) -> Tensor:
    return torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.float32, device=device).reshape(-1)


def _points(value: Tensor | Sequence[Any], device: torch.device | str) -> Tensor:
    points = torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.float32, device=device)
    if points.shape[-1:] != (3,) or points.ndim > 2:
        raise ValueError(f"camera position, at, up: expected shape [N, 3] or [3], got {tuple(points.shape)}")
    return points.reshape(-1, 3)


def get_world_to_view_transform(R: Tensor | None = None, T: Tensor | None = None) -> Transform3d:
    """From world to view: X R + T.

    Args:
        R: [N, 3, 3]; the identity by default.
        T: [N, 3]; 0 by default.

    Raises:
        ValueError: other shapes.
    """
    R = torch.eye(3)[None] if R is None else R
    T = R.new_zeros(1, 3) if T is None else T
    if R.ndim != 3 or R.shape[1:] != (3, 3):
        raise ValueError(f"Expected R to have shape (N, 3, 3); got {tuple(R.shape)}")
    if T.ndim != 2 or T.shape[1:] != (3,):
        raise ValueError(f"Expected T to have shape (N, 3); got {tuple(T.shape)}")
    return Transform3d(dtype=R.dtype, device=R.device).rotate(R).translate(T)
