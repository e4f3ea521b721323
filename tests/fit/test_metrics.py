"""Metrics against closed forms, and views."""

from __future__ import annotations

import math

import pytest
import torch

from lumigrad.fit import Views, chamfer_distance, fibonacci_cameras, psnr
from lumigrad.fit.metrics import sample_surface
from lumigrad.scene import Mesh, PerspectiveCamera
from lumigrad.scene.shapes.procedural import icosphere


def test_psnr_by_hand() -> None:
    target = torch.zeros(2, 4, 4, 3)
    image = target.clone()
    image[0] += 0.1
    image[1, 0] += 0.2
    values = psnr(image, target)
    torch.testing.assert_close(values, torch.tensor([20.0, -10 * math.log10(0.04 / 4)]))
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[:, 0] = True
    torch.testing.assert_close(psnr(image, target, mask), torch.tensor([20.0, -10 * math.log10(0.04)]))
    assert psnr(target, target).isinf().all()


def test_samples_lie_on_the_surface_evenly() -> None:
    # A unit square of two triangles, one of them cut in three: density must not depend on that.
    positions = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.7, 0.4, 0]])
    mesh = Mesh(positions, torch.tensor([[0, 1, 4], [1, 2, 4], [2, 0, 4], [0, 2, 3]]))
    points = sample_surface(mesh, 4000)
    assert (points[:, 2] == 0).all()
    torch.testing.assert_close(points[:, :2].mean(0), torch.tensor([0.5, 0.5]), atol=0.02, rtol=0)
    assert float((points[:, 0] > points[:, 1]).float().mean()) == pytest.approx(0.5, abs=0.03)
    with pytest.raises(ValueError, match="mesh"):
        sample_surface(Mesh(positions, torch.zeros(0, 3, dtype=torch.int64)), 10)


def test_chamfer_of_parallel_squares_and_scale() -> None:
    positions = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    lower, upper = Mesh(positions, faces), Mesh(positions + torch.tensor([0.0, 0, 0.5]), faces)
    expected = 0.5 / math.sqrt(2)
    assert chamfer_distance(upper, lower) == pytest.approx(expected, rel=1e-3)
    assert chamfer_distance(Mesh(9 * upper.positions, faces), Mesh(9 * positions, faces)) == pytest.approx(
        expected, rel=1e-3
    )


def test_chamfer_floor_is_as_documented() -> None:
    sphere = icosphere(4)
    low, high = sphere.bounds()
    floor = 0.5 * math.sqrt(4 * math.pi / 10_000) / float((high - low).norm())
    assert chamfer_distance(sphere, sphere) == pytest.approx(floor, rel=0.1)


def test_cameras_surround_and_frame_the_ball() -> None:
    camera = fibonacci_cameras(40, (32, 32), fov_y=35.0)
    directions = torch.nn.functional.normalize(camera.position, dim=-1)
    assert directions.mean(0).norm() < 0.05
    cosines = (directions @ directions.T).fill_diagonal_(-1)
    nearest = torch.rad2deg(cosines.amax(1).clamp(-1, 1).acos())
    assert nearest.min() > 15
    pixels = camera.pixels(icosphere(3).positions)
    assert pixels.min() > 0
    assert pixels.max() < 32
    clip = camera.project(icosphere(3).positions)
    assert (clip[..., 2].abs() <= clip[..., 3]).all()


def test_held_back_cameras_differ_from_the_fitted_ones() -> None:
    fitted = fibonacci_cameras(40, (32, 32)).position
    held_back = fibonacci_cameras(8, (32, 32), turn=77.0).position
    cosines = torch.nn.functional.cosine_similarity(fitted[:, None], held_back[None], dim=-1)
    assert torch.rad2deg(cosines.amax(0).clamp(-1, 1).acos()).min() > 2


def test_views_are_averaged_down() -> None:
    camera = PerspectiveCamera.from_fov(40.0, (4, 4), torch.eye(4)[None])
    images = torch.arange(64.0).reshape(1, 4, 4, 4) / 64
    small = Views(camera, images).resized(2)
    torch.testing.assert_close(small.images[0, 0, 0], images[0, :2, :2].mean((0, 1)))
    assert small.camera.size == (2, 2)
    with pytest.raises(ValueError, match="size"):
        Views(camera, images).resized(3)
    with pytest.raises(ValueError, match="count"):
        fibonacci_cameras(0, (4, 4))
