"""The interface between the loop and a field of any kind."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.fields.schedule import Schedule
from lumigrad.fit.fields.state import FieldState
from lumigrad.fit.photos import Photo, focus
from lumigrad.scene.cameras.camera import Camera
from lumigrad.types import Rays


class Seen(NamedTuple):
    """The results of rays: color [..., 3], alpha [...], and depth [...], distances weighted like the colour."""

    color: Tensor
    alpha: Tensor
    depth: Tensor


class FieldModel(Protocol):
    """A kind of field. The state holds the fitted numbers; the model interprets them."""

    def begin(self, schedule: Schedule) -> FieldState:
        """The state before the first step."""

    def check(self, state: FieldState) -> None:
        """Raise ValueError if a state, read from a file, is of another model."""

    def prepare(self, state: FieldState, schedule: Schedule, progress: float) -> None:
        """Work to be done before a step."""

    def step(
        self,
        state: FieldState,
        rays: Rays,
        colors: Tensor,
        schedule: Schedule,
        progress: float,
        generator: torch.Generator,
        group: Group = ALONE,
    ) -> float:
        """Take a step that brings the results of rays [R] closer to colours [R, 3]. Returns the loss before it.

        A group's processes divide the rays, and change nothing before they have exchanged gradients.
        """

    def picture(self, state: FieldState, camera: Camera) -> Seen:
        """Images of a camera [1]: color [1, H, W, 3], alpha and expected depth along the viewing direction [1, H, W].

        Where less than half of a pixel is covered, its depth is 0.
        """


class Surroundings(NamedTuple):
    """The point [3] that cameras look at, and the scene's extent, their distance from it."""

    centre: Tensor
    extent: float


def surroundings(photos: list[Photo]) -> Surroundings:
    """The surroundings of the cameras of photographs.

    Raises:
        ValueError: all cameras are in the place that they look at.
    """
    centre, extent = focus(photos)
    # A single camera, or several at one place, define no point of interest.
    if not extent > 1e-6 * float(centre.norm()):
        raise ValueError("photos: expected cameras at different places, which look at the same things")
    return Surroundings(centre, extent)


def as_picture(parts: list[Seen], rays: Rays, camera: Camera) -> Seen:
    """Images of a camera [1] from the results of its rays, in chunks, in the form of `FieldModel.picture`."""
    shape = (1, *camera.size)
    color, alpha, depth = (torch.cat(values).reshape(*shape, *values[0].shape[1:]) for values in zip(*parts))
    cosine = -(rays.directions * camera.world_to_camera[:, None, None, 2, :3]).sum(-1)
    return Seen(color, alpha, torch.where(alpha > 0.5, depth * cosine / alpha.clamp_min(0.5), 0))
