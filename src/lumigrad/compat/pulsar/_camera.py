"""Pulsar's camera vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.types.view import View

# Without and with offsets of the principal point; the rotation an axis with an angle, or in six numbers.
LENGTHS = (8, 10, 11, 13)


def unpack_camera(vector: Tensor, size: tuple[int, int], orthographic: bool, right_handed: bool) -> View:
    """Camera vectors [B, 8, 10, 11 or 13] as lumigrad has cameras. Gradients reach all of it.

    Position (3), rotation (3 or 6), focal length and sensor width in world units, then, optionally, by how many pixels
    the principal point is left of and above the image's centre.
    """
    turns = 6 if vector.shape[-1] in (11, 13) else 3
    position, turn, optics, offset = vector.split((3, turns, 2, vector.shape[-1] - 5 - turns), -1)
    rotation = rotation_6d(turn) if turns == 6 else axis_angle(turn)
    height, width = size
    focal, sensor = optics.unbind(-1)
    pixels = width / sensor if orthographic else focal * width / sensor
    centre = vector.new_tensor([width / 2, height / 2]) + (0.5 if orthographic else 0.0)
    centre = centre - offset if offset.shape[-1] else centre.expand(len(vector), 2)
    matrix = _world_to_camera(position, rotation, right_handed)
    cx, cy = centre.unbind(-1)
    return View(matrix, pixels, pixels, cx, cy, size, "orthographic" if orthographic else "perspective")


def _world_to_camera(position: Tensor, rotation: Tensor, right_handed: bool) -> Tensor:
    """World to camera, looking along -z; the rotation's columns are the camera's axes in the world."""
    mirror = rotation.new_tensor([1.0, 1.0, 1.0 if right_handed else -1.0])
    turn = mirror[:, None] * rotation.transpose(-1, -2)
    upper = torch.cat((turn, -turn @ position[..., None]), -1)
    last = upper.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(upper), 1, 4)
    return torch.cat((upper, last), 1)


def axis_angle(vector: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] about an axis [..., 3] by its length in radians (Rodrigues' formula)."""
    square = vector.square().sum(-1)[..., None, None]
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).view(*vector.shape[:-1], 3, 3)
    small = square < 1e-4  # where quotients lose digits, and at 0 have no gradient, their series do
    angle = torch.where(small, 1, square).sqrt()
    sine = torch.where(small, 1 - square / 6 + square.square() / 120, angle.sin() / angle)
    cosine = torch.where(small, 0.5 - square / 24 + square.square() / 720, 2 * ((angle / 2).sin() / angle).square())
    return torch.eye(3, dtype=vector.dtype, device=vector.device) + sine * cross + cosine * (cross @ cross)


def rotation_6d(vector: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] whose first two rows are [..., :3] and [..., 3:], made orthonormal.

    Source: Zhou et al. 2019, "On the Continuity of Rotation Representations in Neural Networks".
    """
    first = torch.nn.functional.normalize(vector[..., :3], dim=-1)
    second = vector[..., 3:]
    second = torch.nn.functional.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack((first, second, torch.linalg.cross(first, second)), -2)
