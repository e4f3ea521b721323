"""The point that the cameras of photographs look at, and a path along the cameras."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.fit.photos.photo import Photo
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.cameras.pose import look_at


def focus(photos: list[Photo]) -> tuple[Tensor, float]:
    """The point [3] nearest to all viewing directions, and the cameras' median distance from it.

    >>> import torch
    >>> from lumigrad.fit.photos import Photo, focus
    >>> from lumigrad.scene import PerspectiveCamera
    >>> around = PerspectiveCamera.orbit(torch.tensor([0.0, 60.0, 120.0]), 0.0, 3.0, fov_y=45.0, size=(16, 16))
    >>> image, covered = torch.full((1, 16, 16, 3), 0.5), torch.ones(1, 16, 16, 1)
    >>> photos = [Photo(image, covered, around[n : n + 1]) for n in range(3)]
    >>> centre, distance = focus(photos)
    >>> centre.norm().item() < 1e-3, round(distance, 3)
    (True, 3.0)
    """
    eyes = torch.cat([photo.camera.position for photo in photos]).double()
    axes = -torch.cat([photo.camera.world_to_camera[:, 2, :3] for photo in photos]).double()
    one = torch.eye(3, dtype=torch.float64, device=eyes.device)
    across = one - axes[:, :, None] * axes[:, None, :]
    # The cameras' mean, with a tiny weight, keeps the system regular if all cameras look in the same direction.
    matrix = across.sum(0) + 1e-6 * len(eyes) * one
    right = (across @ eyes[:, :, None]).sum(0)[:, 0] + 1e-6 * eyes.sum(0)
    centre = torch.linalg.solve(matrix, right)
    return centre.float(), float((eyes - centre).norm(dim=-1).median())


def flight(photos: list[Photo], frames: int) -> PerspectiveCamera:
    """Cameras [frames] on a smooth path along the photographs' cameras and back.

    >>> import torch
    >>> from lumigrad.fit.photos import Photo, flight
    >>> from lumigrad.scene import PerspectiveCamera
    >>> around = PerspectiveCamera.orbit(torch.tensor([0.0, 30.0, 60.0]), 0.0, 3.0, fov_y=45.0, size=(16, 16))
    >>> image, covered = torch.full((1, 16, 16, 3), 0.5), torch.ones(1, 16, 16, 1)
    >>> flight([Photo(image, covered, around[n : n + 1]) for n in range(3)], frames=10).shape
    torch.Size([10])
    """
    first = photos[0].camera
    poses = torch.cat([photo.camera.camera_to_world for photo in photos])
    phase = torch.arange(frames, device=poses.device) / frames
    place = (1 - (2 * phase - 1).abs()) * (len(photos) - 1)
    steps = torch.arange(len(photos), device=poses.device)
    weights = torch.softmax(-0.5 * ((place[:, None] - steps) / 1.5) ** 2, dim=1)
    mean = (weights @ poses.flatten(1)).view(-1, 4, 4)
    eyes = mean[:, :3, 3]
    view = look_at(eyes, eyes - mean[:, :3, 2], mean[:, :3, 1])
    return PerspectiveCamera(view, first.fx[0], first.fy[0], first.cx[0], first.cy[0], first.size)
