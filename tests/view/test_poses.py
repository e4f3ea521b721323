"""Cameras of viser and of lumigrad are the same cameras."""

from __future__ import annotations

import math
from types import SimpleNamespace

import torch

from lumigrad.scene import PerspectiveCamera
from lumigrad.view.poses import camera_of, pose_of


def test_there_and_back() -> None:
    camera = PerspectiveCamera.orbit(
        torch.tensor(130.0, dtype=torch.float64), -25.0, 4.0, 50.0, (60, 90), target=(0.3, -0.2, 0.5)
    )
    pose = pose_of(camera)
    assert math.isclose(pose["fov"], math.radians(50.0))
    assert pose["aspect"] == 1.5
    again = camera_of(SimpleNamespace(**pose), camera.size, (0.0, 0.0, 0.0), 1.0)
    torch.testing.assert_close(again.world_to_camera, camera.world_to_camera)
    points = torch.tensor([[0.1, 0.2, 0.3], [-0.5, 0.4, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(again.pixels(points), camera.pixels(points))


def test_by_hand() -> None:
    """OpenCV's axes: without rotation, the camera looks along +z, and +y is down."""
    seen = SimpleNamespace(wxyz=(1.0, 0.0, 0.0, 0.0), position=(0.0, 0.0, -3.0), fov=math.pi / 2)
    camera = camera_of(seen, (100, 200), (0.0, 0.0, 0.0), 1.0)
    pixels = camera.pixels(torch.tensor([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [0.0, 1.5, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(pixels, torch.tensor([[100.0, 50.0], [125.0, 50.0], [100.0, 75.0]], dtype=torch.float64))
    assert camera.near < 2.0
    assert camera.far > 4.0
