"""Cameras of OpenCV and Pulsar."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.renderer.cameras import PerspectiveCameras
from lumigrad.compat.pytorch3d.transforms.rotation_conversions import matrix_to_rotation_6d
from lumigrad.scene.cameras.pytorch3d import ndc_to_screen, screen_to_ndc

_LOGGER = logging.getLogger(__name__)


def _flipped(values: Tensor) -> Tensor:
    """x and y of the last dimension with the other sign."""
    return values * values.new_tensor([-1.0, -1.0, 1.0])


def _cameras_from_opencv_projection(
    R: Tensor, tvec: Tensor, camera_matrix: Tensor, image_size: Tensor
) -> PerspectiveCameras:
    """Cameras in NDC of OpenCV's poses and matrices [N, 3, 3], for images of (height, width) [N, 2]."""
    size = image_size.to(R).flip(1)
    focal = torch.stack((camera_matrix[:, 0, 0], camera_matrix[:, 1, 1]), -1)
    return PerspectiveCameras(
        R=_flipped(R.transpose(1, 2)), T=_flipped(tvec),
        focal_length=focal / (size.amin(1, keepdim=True) / 2),
        principal_point=screen_to_ndc(camera_matrix[:, :2, 2], size), image_size=image_size, device=R.device,
    )  # fmt: skip


def _opencv_from_cameras_projection(cameras: PerspectiveCameras, image_size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """OpenCV's R [N, 3, 3], translations [N, 3] and camera matrices [N, 3, 3] of cameras in NDC."""
    size = image_size.to(cameras.R).flip(1)
    focal = cameras.focal_length * (size.amin(1, keepdim=True) / 2)
    centre = ndc_to_screen(cameras.principal_point, size)
    zero, one = torch.zeros_like(focal[:, 0]), torch.ones_like(focal[:, 0])
    rows = (focal[:, 0], zero, centre[:, 0], zero, focal[:, 1], centre[:, 1], zero, zero, one)
    return _flipped(cameras.R).transpose(1, 2), _flipped(cameras.T), torch.stack(rows, -1).reshape(-1, 3, 3)


def _pulsar_from_opencv_projection(
    R: Tensor, tvec: Tensor, camera_matrix: Tensor, image_size: Tensor, znear: float = 0.1
) -> Tensor:
    """Pulsar's vectors [N, 13] of OpenCV's cameras. Its images are then upside down.

    Args:
        R, tvec, camera_matrix: [N, 3, 3], [N, 3] and [N, 3, 3].
        image_size: (height, width) [N, 2], the same for all.
        znear: what becomes the focal length.

    Raises:
        ValueError: other shapes, or images of different sizes.
    """
    if R.shape[1:] != (3, 3) or camera_matrix.shape != R.shape or tvec.reshape(-1, 3).shape != R.shape[:2]:
        raise ValueError(
            "R, tvec, camera_matrix: expected batches [N, 3, 3], [N, 3] and [N, 3, 3], got "
            f"{tuple(R.shape)}, {tuple(tvec.shape)} and {tuple(camera_matrix.shape)}"
        )
    if bool((image_size <= 0).any()) or bool((image_size != image_size[:1]).any()):
        raise ValueError(f"image_size: expected one positive size for all images, got {image_size.tolist()}")
    height, width = image_size[0].to(R)
    fx, fy = camera_matrix[:, 0, 0], camera_matrix[:, 1, 1]
    if bool(((fx / fy - 1).abs() > 0.01).any()):
        _LOGGER.warning("Pulsar has one focal length; those along x and y differ by more than 1 % and are averaged.")
    focal = torch.full_like(fx, znear - 1e-5)
    sensor = focal * width / ((fx + fy) / 2)
    offset = (width / 2 - camera_matrix[:, 0, 2], camera_matrix[:, 1, 2] - height / 2)
    turn = R.transpose(1, 2)
    place = -(turn @ tvec.reshape(-1, 3, 1))[:, :, 0]
    return torch.cat((place, matrix_to_rotation_6d(turn), torch.stack((focal, sensor, *offset), -1)), 1)


def _pulsar_from_cameras_projection(cameras: PerspectiveCameras, image_size: Tensor) -> Tensor:
    """Pulsar's vectors [N, 13] of cameras in NDC."""
    return _pulsar_from_opencv_projection(*_opencv_from_cameras_projection(cameras, image_size), image_size)
