"""Previews of a fit while it runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from lumigrad.scene.cameras.camera import PerspectiveCamera

T = TypeVar("T")


class Preview(NamedTuple):
    """Pictures of a state of a fit. They do not change when the fit continues.

    Attributes:
        draw: from a camera [1] in the space of the fit to its image [1, H, W, 3], as it is displayed.
        centre, radius: of the ball [3] that holds what there is to see.
        up: the direction that points up, [3].
        photos: cameras that are no batch, in the space of the fit, and their images [H, W, 3].
    """

    draw: Callable[[PerspectiveCamera], Tensor]
    centre: Tensor
    radius: float
    up: Tensor
    photos: Sequence[tuple[PerspectiveCamera, Tensor]] = ()

    @classmethod
    def of_ball(cls, draw: Callable[[PerspectiveCamera], Tensor], camera: PerspectiveCamera, images: Tensor) -> Preview:
        """A preview of the unit ball at the origin, seen by cameras [N], with their images [N, H, W, 3]."""
        pose, photos = camera.world_to_camera, [(camera[n], image) for n, image in enumerate(images)]
        return cls(draw, pose.new_zeros(3), 1.0, upright(pose), photos)

    @torch.no_grad()
    def picture(self, camera: PerspectiveCamera) -> Tensor:
        """The image [H, W, 3] of a camera that is no batch, in single precision."""
        return self.draw(one_of(camera, self.centre.device))[0]


def one_of(camera: PerspectiveCamera, device: torch.device | None = None) -> PerspectiveCamera:
    """A camera that is no batch as a batch [1], in single precision."""
    single = camera.to(device or camera.world_to_camera.device, torch.float32)
    return replace(single, world_to_camera=single.world_to_camera[None])


def frozen(value: T) -> T:
    """A copy of a state, or of a part of one, that shares no tensor with it.

    >>> import torch
    >>> from lumigrad.fit.preview import frozen
    >>> moving = {"positions": torch.zeros(2)}
    >>> still = frozen(moving)
    >>> moving["positions"] += 1
    >>> still["positions"]
    tensor([0., 0.])
    """
    with torch.no_grad():
        return copy.deepcopy(value)


def upright(world_to_camera: Tensor) -> Tensor:
    """The direction [3] that is up in the images of cameras [N, 4, 4], on average; y where there is none."""
    up = world_to_camera[:, 1, :3].mean(0)
    return torch.nn.functional.normalize(up if float(up.norm()) > 0.1 else up.new_tensor([0.0, 1.0, 0.0]), dim=0)
