"""Gradients of hard shadows in traced paths: closed forms, finite differences, invariance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lumigrad.render import render_path
from lumigrad.scene import DiffuseMaterial, DirectionalLight, Mesh, OrthographicCamera, PointLight, Scene

SQUARE = torch.tensor([[-0.5, 0.0, 0.5], [0.5, 0.0, 0.5], [0.5, 0.0, -0.5], [-0.5, 0.0, -0.5]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
UP, RIGHT = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])
WHITE = DiffuseMaterial(base_color=(1.0, 1.0, 1.0))
BLACK = DiffuseMaterial(base_color=(0.0, 0.0, 0.0))


def looking_down(pixels_per_unit: float = 4.0) -> OrthographicCamera:
    """From below the occluder, 16 x 16 pixels of ground; x to the right."""
    view = torch.tensor([[1.0, 0, 0, 0], [0, 0, -1.0, 0], [0, 1.0, 0, -0.5], [0, 0, 0, 1.0]])
    return OrthographicCamera(view, pixels_per_unit, pixels_per_unit, 8.0, 8.0, (16, 16))


def shaded(occluder: Tensor, light: Any, ground: Tensor | None = None, samples: int = 16) -> Tensor:
    ground = 20 * SQUARE if ground is None else ground
    shapes = [Mesh(ground, FACES, materials=(WHITE,)), Mesh(occluder, FACES, materials=(BLACK,))]
    scene = Scene(shapes, lights=[light])
    return render_path(scene, looking_down(), samples, 2, tone_mapping=None).color[0]


def test_size_of_a_shadow_of_a_distant_light() -> None:
    """Straight from above, a shadow is as large as what casts it: 4 x 4 pixels for an edge of 1."""
    size = torch.tensor(1.0, requires_grad=True)
    image = shaded(size * SQUARE + UP, DirectionalLight((0.0, 1.0, 0.0), intensity=3.0))
    (slope,) = torch.autograd.grad(image[..., 0].sum(), size)
    bright = image[0, 0, 0].detach()
    assert abs(slope + 2 * 16 * bright) < 0.02 * 32 * bright


def test_motion_of_a_shadow() -> None:
    """Of an occluder of 1/2 a quarter of the way to a light at a point: its shadow is 2/3 wide, and moves 4/3 as far.

    Edges are at 4/3 pixels from the middle of the image, in pixels whose weight is that of their centre, 3/2.
    """
    weight = torch.arange(16.0) + 0.5 - 8
    shift = torch.tensor(0.0, requires_grad=True)
    lamp = PointLight((0.0, 4.0, 0.0), intensity=20.0)
    image = shaded(0.5 * SQUARE + UP + shift * RIGHT, lamp)[..., 0]
    lit = shaded(0.5 * SQUARE + UP + 50 * RIGHT, lamp, samples=64)[..., 0].detach()
    (slope,) = torch.autograd.grad((weight * image / lit).sum(), shift)
    height, speed = 4 * 2 / 3, 4 * 4 / 3  # of the edges, in pixels
    assert abs(slope + 2 * 1.5 * height * speed) < 0.02 * 2 * 1.5 * height * speed


@pytest.mark.parametrize("distant", [True, False])
def test_area_of_a_shadow_on_a_slope(distant: bool) -> None:
    """By a vertex of what casts it: the area of the shadow's polygon, where light is as good as even."""
    place = torch.tensor([0.3, 1.0, 0.2]) * (1 if distant else 2000)
    light = DirectionalLight(place, intensity=3.0) if distant else PointLight(place, intensity=1e7)
    slope = 20 * SQUARE + 20 * 0.2 * SQUARE[:, :1] * UP
    shift = torch.zeros((), requires_grad=True)
    vertex = torch.zeros(4, 3)
    vertex[1] = torch.tensor([1.0, 0.4, 0.5])
    corners = SQUARE + 1.5 * UP + shift * vertex
    rays = place.expand(4, 3) if distant else place - corners
    t = (corners[:, 1] - 0.2 * corners[:, 0]) / (rays[:, 1] - 0.2 * rays[:, 0])
    x, _, z = (corners - t[:, None] * rays).unbind(-1)
    area = 16 * 0.5 * (x * z.roll(-1) - x.roll(-1) * z).sum().abs()
    (by_area,) = torch.autograd.grad(area, shift, retain_graph=True)
    image = shaded(corners, light, slope)[..., 0]
    (by_image,) = torch.autograd.grad(image.sum() / image.detach().max(), shift)
    assert abs(by_image + by_area) < 0.02 * abs(by_area)


def test_moving_everything_changes_nothing() -> None:
    """Weighted sums of the image stay where ground, occluder, light and camera move sideways as one."""
    shift = torch.zeros(3, requires_grad=True)
    weight = torch.rand(16, 16, 3, generator=torch.Generator().manual_seed(1))
    camera = looking_down()
    view = camera.world_to_camera @ torch.cat(
        (torch.cat((torch.eye(3), -shift[:, None]), 1), torch.tensor([[0.0, 0.0, 0.0, 1.0]]))
    )
    shapes = [
        Mesh(20 * SQUARE + shift, FACES, materials=(WHITE,)),
        Mesh(0.7 * SQUARE + UP + shift, FACES, materials=(BLACK,)),
    ]
    lamp = PointLight(torch.tensor([0.5, 3.0, 0.2]) + shift, intensity=20.0)
    seen = replace(camera, world_to_camera=view)
    image = render_path(Scene(shapes, lights=[lamp]), seen, 16, 2, tone_mapping=None).color[0]
    (slope,) = torch.autograd.grad((weight * image).sum(), shift, retain_graph=True)
    (alone,) = torch.autograd.grad((weight * image).sum(), shapes[1].positions)
    assert slope.abs().max() < 0.02 * alone.abs().sum()
