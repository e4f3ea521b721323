"""Cameras against numbers worked out by hand, and as round trips."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from lumigrad.scene import PerspectiveCamera, look_at


def random_camera(seed: int = 0, size: tuple[int, int] = (48, 64)) -> PerspectiveCamera:
    generator = torch.Generator().manual_seed(seed)
    eye = torch.randn(3, 3, generator=generator, dtype=torch.float64) * 3 + 5
    view = look_at(eye, torch.zeros(3, dtype=torch.float64))
    return PerspectiveCamera(view, *torch.tensor([70.0, 80.0, 30.0, 27.0]), size=size, near=0.5, far=50.0)


def test_look_at_by_hand() -> None:
    # From +x towards the origin: camera x is world -z, camera y is world y, camera z is world x.
    view = look_at((5.0, 0.0, 0.0))
    expected = torch.tensor([[0, 0, -1, 0], [0, 1, 0, 0], [1, 0, 0, -5], [0, 0, 0, 1.0]])
    torch.testing.assert_close(view, expected)


def test_look_at_is_rigid_and_right_handed() -> None:
    view = random_camera().world_to_camera
    rotation = view[:, :3, :3]
    identity = torch.eye(3, dtype=view.dtype).expand(3, 3, 3)
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), identity)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(3, dtype=view.dtype))


def test_look_at_along_up_is_finite() -> None:
    view = look_at((0.0, 2.0, 0.0), up=(0.0, 1.0, 0.0))
    assert view.isfinite().all()
    torch.testing.assert_close(view @ torch.tensor([0.0, 0, 0, 1]), torch.tensor([0.0, 0, -2, 1]))


def test_look_at_refuses_coinciding_points() -> None:
    with pytest.raises(ValueError, match="eye: coincides"):
        look_at((1.0, 2.0, 3.0), (1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match="target"):
        look_at((1.0, 2.0, 3.0), (1.0, 2.0))


def test_position_undoes_look_at() -> None:
    eye = torch.tensor([[1.0, 2.0, 3.0], [-4.0, 0.5, 2.0]])
    camera = PerspectiveCamera.from_fov(40.0, (8, 8), look_at(eye))
    torch.testing.assert_close(camera.position, eye)


def test_projection_by_hand() -> None:
    # 90 degrees over 100 rows: f = 50. A point 2 ahead, 1 right, 0.5 up lands 25 right, 12.5 above.
    camera = PerspectiveCamera.from_fov(90.0, (100, 200), near=1.0, far=3.0)
    assert math.isclose(float(camera.fx), 50.0, rel_tol=1e-6)
    points = torch.tensor([[1.0, 0.5, -2.0], [0.0, 0.0, -1.0], [0.0, 0.0, -3.0]])
    torch.testing.assert_close(camera.pixels(points)[0], torch.tensor([125.0, 37.5]))
    clip = camera.project(points)
    torch.testing.assert_close(clip[:, 3], torch.tensor([2.0, 1.0, 3.0]))
    # The near plane is z = -w, the far plane z = w.
    torch.testing.assert_close(clip[1:, 2] / clip[1:, 3], torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(clip[0, :2] / clip[0, 3], torch.tensor([0.25, 0.25]))


def test_clip_matrix_agrees_with_intrinsics() -> None:
    camera = random_camera()
    points = torch.randn(20, 3, dtype=torch.float64)
    local = points @ camera.world_to_camera[:, :3, :3].transpose(1, 2) + camera.world_to_camera[:, None, :3, 3]
    x = camera.cx[:, None] + camera.fx[:, None] * local[..., 0] / -local[..., 2]
    y = camera.cy[:, None] - camera.fy[:, None] * local[..., 1] / -local[..., 2]
    torch.testing.assert_close(camera.pixels(points), torch.stack([x, y], -1))


def test_pixel_centres_follow_the_ops_convention() -> None:
    camera = PerspectiveCamera.from_fov(60.0, (4, 6))
    row, col = 1, 4
    ndc = torch.tensor([(2 * col + 1) / 6 - 1, 1 - (2 * row + 1) / 4])
    point = torch.cat([ndc / camera.projection_matrix()[[0, 1], [0, 1]], torch.tensor([-1.0])])
    torch.testing.assert_close(camera.pixels(point[None])[0], torch.tensor([col + 0.5, row + 0.5]))


def test_orbit() -> None:
    camera = PerspectiveCamera.orbit(torch.tensor([0.0, 90.0, 0.0]), torch.tensor([0.0, 0.0, 90.0]), 2.0, 40.0, (8, 8))
    expected = torch.tensor([[0.0, 0, 2], [2, 0, 0], [0, 2, 0]])
    torch.testing.assert_close(camera.position, expected, atol=1e-6, rtol=0)
    # Seen from the front, +x is on the right and +y above the centre.
    x, y = camera[0].pixels(torch.tensor([[0.1, 0.2, 0.0]]))[0]
    assert x > 4 > y


def test_fields_of_view_from_one_pose() -> None:
    both = PerspectiveCamera.orbit(20.0, 10.0, 2.0, torch.tensor([30.0, 60.0]), (8, 8))
    points = torch.tensor([[0.1, 0.2, 0.3]])
    for i, fov_y in enumerate((30.0, 60.0)):
        alone = PerspectiveCamera.orbit(20.0, 10.0, 2.0, fov_y, (8, 8))
        torch.testing.assert_close(both.project(points)[i], alone.project(points))
    with pytest.raises(ValueError, match="fx"):
        PerspectiveCamera.orbit(torch.zeros(3), 10.0, 2.0, torch.tensor([30.0, 60.0]), (8, 8))


def test_orbit_is_continuous_at_the_pole() -> None:
    near_pole = PerspectiveCamera.orbit(30.0, 89.99, 2.0, 40.0, (8, 8))
    pole = PerspectiveCamera.orbit(30.0, 90.0, 2.0, 40.0, (8, 8))
    torch.testing.assert_close(near_pole.world_to_camera, pole.world_to_camera, atol=1e-3, rtol=0)


def test_resized_keeps_the_image() -> None:
    camera = random_camera()
    points = torch.randn(10, 3, dtype=torch.float64)
    torch.testing.assert_close(camera.resized((24, 32)).pixels(points), camera.pixels(points) / 2)
    torch.testing.assert_close(camera.resized((24, 32)).project(points), camera.project(points))


def test_gradients_reach_pose_intrinsics_and_points() -> None:
    points = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    eye = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64, requires_grad=True)
    focal = torch.tensor(40.0, dtype=torch.float64, requires_grad=True)

    def project(points: torch.Tensor, eye: torch.Tensor, focal: torch.Tensor) -> torch.Tensor:
        return PerspectiveCamera(look_at(eye), focal, focal, focal * 0 + 8, focal * 0 + 8, (16, 16)).project(points)

    assert torch.autograd.gradcheck(project, (points, eye, focal))


def test_batches_index_like_tensors() -> None:
    camera = random_camera()
    assert camera.shape == (3,)
    assert camera[1].shape == ()
    torch.testing.assert_close(camera[1:].world_to_camera, camera.world_to_camera[1:])
    torch.testing.assert_close(camera[torch.tensor([2, 0])].fx, camera.fx[[2, 0]])
    with pytest.raises(IndexError):
        camera[0][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"near": 2.0, "far": 1.0}, "near, far"),
        ({"size": (0, 4)}, "size"),
        ({"fx": torch.ones(5)}, "fx"),
        ({"world_to_camera": torch.eye(3)}, "world_to_camera"),
        ({"fy": "wide"}, "fy"),
    ],
)
def test_wrong_arguments_name_the_culprit(change: dict, message: str) -> None:
    good = {"world_to_camera": torch.eye(4), "fx": 1.0, "fy": 1.0, "cx": 1.0, "cy": 1.0, "size": (2, 2)}
    with pytest.raises((ValueError, TypeError), match=message):
        PerspectiveCamera(**{**good, **change})


def test_fov_and_points_are_checked() -> None:
    with pytest.raises(ValueError, match="fov_y"):
        PerspectiveCamera.from_fov(180.0, (4, 4))
    with pytest.raises(ValueError, match="points"):
        PerspectiveCamera.from_fov(60.0, (4, 4)).project(torch.zeros(5, 4))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_orbit_agrees_with_pytorch3d(shared: Path, number: int) -> None:
    """Poses (azimuth, elevation, distance) at 55 degrees, projected to 200 x 320 pixels by PyTorch3D."""
    path = shared / "oracles" / "p3d_cameras.npz"
    if not path.is_file():
        pytest.skip("needs the camera numbers of PyTorch3D")
    numbers = np.load(path)
    azimuth, elevation, distance = torch.from_numpy(numbers["poses"][number]).double()
    camera = PerspectiveCamera.orbit(azimuth, elevation, distance, 55.0, tuple(numbers["image_size"]))
    pixels = camera.pixels(torch.from_numpy(numbers["points"]).double()).numpy()
    np.testing.assert_allclose(pixels, numbers[f"fov_persp_{number}_screen"][:, :2], atol=1e-4)


def test_a_size_that_is_one_number() -> None:
    with pytest.raises(TypeError, match=r"size: expected \(height, width\), got 64"):
        PerspectiveCamera.orbit(0.0, 0.0, 3.0, 45.0, size=64)
