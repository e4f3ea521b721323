"""Pulsar's camera vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.scene.cameras.pose import homogeneous
from lumigrad.scene.rotations import axis_angle_to_matrix, rotation_6d_to_matrix
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
    rotation = rotation_6d_to_matrix(turn) if turns == 6 else axis_angle_to_matrix(turn)
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
    return homogeneous(torch.cat((turn, -turn @ position[..., None]), -1))
