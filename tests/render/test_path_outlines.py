"""Gradients of what the camera sees past edges, for traced paths: areas, invariances, seams."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lumigrad.render import render_path
from lumigrad.scene import (
    AmbientLight,
    DiffuseMaterial,
    Mesh,
    OrthographicCamera,
    PerspectiveCamera,
    Scene,
    icosphere,
)

SQUARE = torch.tensor([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.5, 0.5, 0.0], [-0.5, 0.5, 0.0]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def lamp(*color: float) -> DiffuseMaterial:
    return DiffuseMaterial(base_color=(0.0, 0.0, 0.0), emissive=color)


def looking_along_z(kind: Any, focal: float, distance: float = 2.0) -> Any:
    view = torch.eye(4)
    view[2, 3] = -distance
    return kind(view, focal, focal, 8.0, 8.0, (16, 16))


def traced(scene: Any, camera: Any, depth: int = 1, samples: int = 4, seed: int = 0) -> Tensor:
    return render_path(scene, camera, samples, depth, seed, tone_mapping=None).color[0]


@pytest.mark.parametrize("kind", [PerspectiveCamera, OrthographicCamera])
def test_area_of_a_square(kind: Any) -> None:
    """A bright square of 8 x 8 pixels: by its size, the image's sum grows by twice its area, without noise."""
    size = torch.tensor(1.0, requires_grad=True)
    focal = 16.0 if kind is PerspectiveCamera else 8.0
    color = (3.0, 2.0, 1.0)
    image = traced(Mesh(size * SQUARE, FACES, materials=(lamp(*color),)), looking_along_z(kind, focal))
    for channel in range(3):
        (slope,) = torch.autograd.grad(image[..., channel].sum(), size, retain_graph=True)
        assert abs(slope - 2 * 64 * color[channel]) < 1e-2


def test_motion_of_a_square_and_of_the_camera() -> None:
    """Sideways, its sum stays; towards the camera, its width of 16 / z pixels grows. The camera moves the other way."""
    mesh = Mesh(SQUARE, FACES, materials=(lamp(1.0, 1.0, 1.0),))
    camera = looking_along_z(PerspectiveCamera, 16.0)
    moves = torch.zeros(2, 3, requires_grad=True)
    view = camera.world_to_camera + torch.nn.functional.pad(-moves[1][:, None], (3, 0, 0, 1))
    image = traced(replace(mesh, positions=SQUARE + moves[0]), replace(camera, world_to_camera=view))
    (by_mesh, by_camera), expected = torch.autograd.grad(image[..., 0].sum(), moves)[0], torch.tensor([0.0, 0.0, 64.0])
    assert torch.allclose(by_mesh, expected, atol=1e-2)
    assert torch.allclose(by_camera, -expected, atol=1e-2)
    image = traced(replace(mesh, positions=SQUARE + torch.zeros(3, requires_grad=True)), camera)
    assert image.requires_grad


def test_the_mask_moves_as_the_image_does() -> None:
    size = torch.tensor(1.0, requires_grad=True)
    mesh = Mesh(size * SQUARE, FACES, materials=(lamp(1.0, 1.0, 1.0),))
    shot = render_path(mesh, looking_along_z(PerspectiveCamera, 16.0), 4, 1, background=(1.0, 1.0, 1.0))
    (by_mask,) = torch.autograd.grad(shot.mask.sum(), size, retain_graph=True)
    assert abs(by_mask - 128) < 1e-2
    (by_image,) = torch.autograd.grad(shot.image.sum(), size)  # white before white
    assert abs(by_image) < 1e-2


def test_one_surface_before_another() -> None:
    """A dark square hides a bright wall that reaches beyond the image."""
    size = torch.tensor(1.0, requires_grad=True)
    wall = Mesh(9 * SQUARE - torch.tensor([0.0, 0.0, 1.0]), FACES, materials=(lamp(2.0, 2.0, 2.0),))
    square = Mesh(size * SQUARE, FACES, materials=(lamp(0.5, 0.5, 0.5),))
    image = traced(Scene([wall, square]), looking_along_z(PerspectiveCamera, 16.0))
    (slope,) = torch.autograd.grad(image.sum(), size)
    assert abs(slope - 3 * 128 * (0.5 - 2.0)) < 3e-2


def test_creases_of_flat_faces() -> None:
    """Two faces of one mesh that send different light: the edge between them moves, though both are seen."""
    middle = torch.tensor(0.1, requires_grad=True)
    x = torch.stack((torch.tensor(-0.5), middle, torch.tensor(0.5)))
    corners = torch.stack(
        [torch.stack((x[i], torch.tensor(y), torch.tensor(0.0))) for i in range(3) for y in (-0.5, 0.5)]
    )
    faces = torch.tensor([[0, 2, 3], [0, 3, 1], [2, 4, 5], [2, 5, 3]])
    mesh = Mesh(
        corners, faces, materials=(lamp(1.0, 1.0, 1.0), lamp(3.0, 3.0, 3.0)), face_materials=torch.tensor([0, 0, 1, 1])
    )
    image = traced(mesh, looking_along_z(PerspectiveCamera, 16.0))
    (slope,) = torch.autograd.grad(image[..., 0].sum(), middle)
    assert abs(slope - 8 * 8 * (1.0 - 3.0)) < 1e-2


def room(shift: Tensor, turn: Tensor) -> tuple[Scene, Tensor]:
    """A ball over a ground under a panel, all moved as one, and the motion's matrix."""
    skew = torch.zeros(3, 3)
    skew[0, 1], skew[0, 2], skew[1, 2] = -turn[2], turn[1], -turn[0]
    rotation = torch.matrix_exp(skew - skew.T)

    def moved(positions: Tensor) -> Tensor:
        return positions @ rotation.T + shift

    lying = torch.stack((SQUARE[:, 0], SQUARE[:, 2], -SQUARE[:, 1]), -1)
    ball, up = icosphere(1), torch.tensor([0.0, 1.0, 0.0])
    white = DiffuseMaterial(base_color=(0.7, 0.6, 0.5))
    shapes = [
        Mesh(moved(3 * lying), FACES, materials=(white,)),
        Mesh(moved(lying + 2 * up), FACES, materials=(lamp(5.0, 4.0, 3.0),)),
        Mesh(moved(0.4 * ball.positions + 0.8 * up), ball.faces, materials=(white,)).creased(0.0),
    ]
    matrix = torch.cat((torch.cat((rotation, shift[:, None]), 1), torch.tensor([[0.0, 0.0, 0.0, 1.0]])))
    return Scene(shapes), matrix


def test_moving_everything_changes_nothing() -> None:
    """The derivative of each pixel by a motion of scene and camera: shading, shadows and silhouettes cancel."""
    camera = PerspectiveCamera.orbit(azimuth=20.0, elevation=25.0, distance=4.0, fov_y=40.0, size=(12, 12))
    weight = torch.rand(12, 12, 3, generator=torch.Generator().manual_seed(1))

    def slopes(seed: int, with_camera: bool) -> Tensor:
        motion = torch.zeros(6, requires_grad=True)
        scene, matrix = room(motion[:3], motion[3:])
        view = camera.world_to_camera @ torch.linalg.inv(matrix) if with_camera else camera.world_to_camera
        image = traced(scene, replace(camera, world_to_camera=view), 3, 32, seed)
        return torch.autograd.grad((weight * image).sum(), motion)[0]

    still = torch.stack([slopes(seed, True) for seed in range(12)])
    error = still.std(0) / math.sqrt(len(still))
    moving = torch.stack([slopes(seed, False) for seed in range(4)]).mean(0)
    assert (still.mean(0).abs() < 5 * error + 1e-4).all()
    assert (error < 0.2 * moving.abs().max()).all()


def test_nothing_is_seen_in_a_furnace() -> None:
    """A white body in uniform light before that light: no motion changes the image, by any of the gradients' parts."""
    ball = icosphere(1)
    positions = ball.positions.clone().requires_grad_()
    mesh = Mesh(positions, ball.faces, materials=(DiffuseMaterial(base_color=(1.0, 1.0, 1.0)),)).creased(0.0)
    camera = PerspectiveCamera.orbit(azimuth=20.0, elevation=25.0, distance=4.0, fov_y=40.0, size=(8, 8))
    found = []
    for seed in range(12):
        shot = render_path(Scene(mesh, lights=[AmbientLight()]), camera, 64, None, seed, tone_mapping=None)
        image = shot.color + (1 - shot.mask)
        found.append(torch.autograd.grad(image.sum(), positions)[0])
    runs = torch.stack(found)
    size = traced_by_area(positions, ball.faces, camera)
    assert (runs.mean(0).abs() < 5 * runs.std(0) / math.sqrt(12) + 0.02 * size).all()


def traced_by_area(positions: Tensor, faces: Tensor, camera: Any) -> float:
    """The change of the ball's mask with one vertex."""
    shot = render_path(Mesh(positions, faces, materials=(lamp(1.0, 1.0, 1.0),)), camera, 4, 1)
    return torch.autograd.grad(shot.mask.sum(), positions)[0].abs().max().item()
