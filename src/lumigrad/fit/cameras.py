"""Cameras that are refined together with the scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.rotations import axis_angle_to_matrix

_BETAS = (0.9, 0.99)
# The logarithm of the focal length changes more slowly than angles, because all cameras contribute to it.
_FOCAL_RATE = 0.3


class CameraRefinement:
    """Corrections of cameras' poses, and of the focal length that they share, by gradient descent.

    A correction turns a camera about its centre, by an axis and angle in the camera's own axes, and moves its centre.
    What moves all cameras alike moves the world and changes no image: after each step, the part of the corrections that
    is a rotation, a translation and a scaling of all cameras together, to first order, is taken out of them. So the
    cameras stay where they were as a whole, and the mean of the corrections is no drift.

    Steps are Adam's, with moments and numbers of steps of each camera: those that are not in a batch stay where they
    are.

    Args:
        camera: [N], at least one; the poses to begin from.
        focal: whether the focal length is fitted, too.
        gauge: whether what moves all cameras alike is taken out. Not where what they see stays as it is.
        unit: distance of what is seen: a camera's step sideways is this times its step in radians.

    >>> import torch
    >>> from lumigrad.fit import CameraRefinement
    >>> from lumigrad.scene import PerspectiveCamera
    >>> camera = PerspectiveCamera.orbit(torch.arange(4) * 90.0, 0.0, 3.0, fov_y=45.0, size=(16, 16))
    >>> target = camera[:2].pixels(torch.eye(3)) + torch.tensor([0.5, 0.0])  # two of four look half a pixel aside
    >>> refinement = CameraRefinement(camera)
    >>> for _ in range(100):
    ...     loss = (refinement.camera([0, 1]).pixels(torch.eye(3)) - target).square().mean()
    ...     loss.backward()
    ...     refinement.step([0, 1], rate=1e-3)
    >>> bool(loss < 0.02)
    True
    """

    def __init__(self, camera: PerspectiveCamera, focal: bool = False, unit: float = 1.0, gauge: bool = True) -> None:
        if len(camera.shape) != 1 or not camera.shape[0]:
            raise ValueError(f"camera: expected a batch [N] of at least one, got {list(camera.shape)}")
        self.start, self.unit = camera, unit
        count, like = camera.shape[0], camera.world_to_camera
        self.values = like.new_zeros(count, 6)
        self.focal = like.new_zeros(1) if focal else None
        self._first, self._second = like.new_zeros(count, 7), like.new_zeros(count, 7)
        self._steps = torch.zeros(count, dtype=torch.int64, device=like.device)
        self._leaves: tuple[Tensor, Tensor | None] | None = None
        self._gauge = _gauge_of(camera, unit) if gauge else None

    def camera(self, picks: Any = slice(None)) -> PerspectiveCamera:
        """The current cameras, or those with some numbers. The next `step` is for the last ones requested."""
        values = self.values[picks].detach().requires_grad_(torch.is_grad_enabled())
        focal = None if self.focal is None else self.focal.detach().requires_grad_(torch.is_grad_enabled())
        self._leaves = (values, focal)
        return corrected(self.start[picks], values, self.unit, focal)

    @property
    def leaves(self) -> list[Tensor]:
        """The tensors that hold the gradients of the cameras that were last requested."""
        return [] if self._leaves is None else [leaf for leaf in self._leaves if leaf is not None]

    @torch.no_grad()
    def step(self, picks: Any, rate: float) -> None:
        """Take a step along the gradients of the cameras that were last requested.

        Args:
            picks: their numbers.
            rate: of angles, in radians; see `unit` for distances.

        Raises:
            ValueError: no cameras were requested.
        """
        if self._leaves is None:
            raise ValueError("picks: expected cameras that `camera` has returned")
        values, focal = self._leaves
        self._leaves = None
        if values.grad is None:
            return
        grad = values.grad.new_zeros(len(values), 7)
        grad[:, :6] = values.grad
        if focal is not None and focal.grad is not None:
            grad[:, 6] = focal.grad
        # A camera without a finite gradient does not move.
        grad = grad.nan_to_num(0, 0, 0)
        self._steps[picks] += 1
        age = self._steps[picks][:, None].to(grad)
        first = torch.lerp(grad, self._first[picks], _BETAS[0])
        second = torch.lerp(grad.square(), self._second[picks], _BETAS[1])
        self._first[picks], self._second[picks] = first, second
        scale = (second / (1 - _BETAS[1] ** age)).sqrt()
        # One scale for a camera's rotation and one for its motion, so that the direction is that of the gradient.
        scale = torch.cat([part.amax(1, keepdim=True).expand_as(part) for part in scale.split((3, 3, 1), 1)], 1)
        step = rate * first / (1 - _BETAS[0] ** age) / scale.clamp_min(1e-30)
        self.values[picks] -= step[:, :6]
        if self.focal is not None:
            self.focal -= _FOCAL_RATE * step[:, 6].mean()
        self._fix_gauge()

    def _fix_gauge(self) -> None:
        """Remove the part of the corrections that moves all cameras alike."""
        if self._gauge is None:
            return
        flat = self.values.reshape(-1).double()
        self.values = (flat - self._gauge @ (self._gauge.T @ flat)).view(-1, 6).to(self.values)

    def to_dict(self) -> dict[str, Tensor]:
        """The fitted values, to be saved in a file."""
        found = {"values": self.values, "first": self._first, "second": self._second, "steps": self._steps}
        return found if self.focal is None else {**found, "focal": self.focal}

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Restore the values that `to_dict` returned.

        Raises:
            ValueError: it belongs to other cameras.
        """
        mine = self.to_dict()
        if set(values) != set(mine) or any(values[name].shape != mine[name].shape for name in mine):
            raise ValueError(f"cameras: expected corrections of {len(self.values)} cameras")
        moved = {name: values[name].detach().clone().to(mine[name]) for name in mine}
        self.values, self._steps, self.focal = moved["values"], moved["steps"], moved.get("focal")
        self._first, self._second = moved["first"], moved["second"]


def corrected(
    camera: PerspectiveCamera, values: Tensor, unit: float = 1.0, focal: Tensor | None = None
) -> PerspectiveCamera:
    """Cameras [N] turned and moved by values [N, 6], differentiably; see `CameraRefinement`.

    Args:
        values: axis and angle in the camera's axes, and how far its centre moves in the world in multiples of `unit`.
        focal: [1], logarithm of the factor of the focal lengths.
    """
    turn = axis_angle_to_matrix(values[:, :3])
    pose = camera.world_to_camera
    rotation = turn @ pose[:, :3, :3]
    shift = (turn @ pose[:, :3, 3:])[..., 0] - (rotation @ (unit * values[:, 3:, None]))[..., 0]
    top = torch.cat([rotation, shift[..., None]], -1)
    matrix = torch.cat([top, pose[:, 3:].expand(len(top), 1, 4)], 1)
    if focal is None:
        return replace(camera, world_to_camera=matrix)
    return replace(camera, world_to_camera=matrix, fx=camera.fx * focal.exp(), fy=camera.fy * focal.exp())


def _gauge_of(camera: PerspectiveCamera, unit: float) -> Tensor:
    """Orthonormal corrections [6 N, G] that move all cameras alike; G is at most 7."""
    pose = camera.world_to_camera.double()
    centre = camera.position.double() / unit
    offset = centre - centre.mean(0)
    columns = []
    for axis in torch.eye(3, dtype=pose.dtype, device=pose.device):
        # The world turned about the cameras' mean: in its own axes, a camera turns the other way.
        turned = -(pose[:, :3, :3] @ axis)
        columns.append(torch.cat([turned, torch.linalg.cross(axis.expand_as(offset), offset)], 1))
        columns.append(torch.cat([torch.zeros_like(offset), axis.expand_as(offset)], 1))
    columns.append(torch.cat([torch.zeros_like(offset), offset], 1))
    basis, sizes, _ = torch.linalg.svd(torch.stack([column.reshape(-1) for column in columns], 1), full_matrices=False)
    return basis[:, sizes > 1e-8 * sizes[0]]
