"""Rendering of implicit surfaces: against meshes, closed forms, and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from implicit_common import box, centres, sphere

from lumigrad.render import render, render_implicit, render_mesh
from lumigrad.scene import (
    AmbientLight,
    Lighting,
    OrthographicCamera,
    PBRMaterial,
    PerspectiveCamera,
    SignedDistanceGrid,
    icosphere,
)

CAMERA = PerspectiveCamera.orbit(azimuth=30.0, elevation=20.0, distance=3.0, fov_y=45.0, size=(48, 40))
CORNERS = torch.tensor(box(1.0))


def ball(size: int = 40, radius: float = 0.8) -> SignedDistanceGrid:
    return SignedDistanceGrid(sphere(size, 1.0, radius, torch.float32), CORNERS)


@pytest.mark.parametrize("shading", ["phong", "pbr", "normals", "depth"])
def test_against_a_mesh(shading: str) -> None:
    """A ball drawn as a grid, as a function and as a mesh, under the same lights."""
    mesh = icosphere(5)
    mesh = type(mesh)(0.8 * mesh.positions, mesh.faces)
    expected = render(mesh, CAMERA, shading=shading, antialias=False)
    inner = torch.nn.functional.avg_pool2d(expected.mask[..., 0], 3, 1, 1)[..., None] == 1
    for shape in (ball(), lambda x: x.norm(dim=-1) - 0.8):
        found = render_implicit(shape, CAMERA, shading=shading)
        assert ((found.mask - expected.mask) != 0).float().mean() < 0.01
        assert (inner * (found.image - expected.image)).abs().max() < 0.03
        assert (inner * (found.depth - expected.depth)).abs().max() < 0.01
        assert (inner * (found.normals - expected.normals)).abs().max() < 0.05


def test_batch_and_supersampling() -> None:
    cameras = PerspectiveCamera.orbit(torch.tensor([0.0, 90.0]), 20.0, 3.0, fov_y=45.0, size=(20, 24))
    both = render_implicit(ball(), cameras, supersampling=2, shading="phong", lights=Lighting())
    assert both.image.shape == (2, 20, 24, 3)
    for n in range(2):
        alone = render_implicit(ball(), cameras[n], supersampling=2, shading="phong", lights=Lighting())
        assert torch.equal(alone.image[0], both.image[n])
    assert set(both.mask.unique().tolist()) == {0.0, 0.25, 0.5, 0.75, 1.0}


def test_colors_and_material() -> None:
    colors = (centres(40, 1.0, torch.float32) + 1) / 2
    grid = SignedDistanceGrid(ball().values, CORNERS, colors)
    shot = render_implicit(grid, CAMERA, shading="unlit", silhouette=0.0)
    hit = shot.mask[0, 24, 20] == 1
    assert hit
    origins, directions = CAMERA.rays()
    t = shot.depth[0, 24, 20] / CAMERA.depth((origins + directions)[24, 20][None])
    expected = ((origins + t * directions)[24, 20] + 1) / 2
    assert torch.allclose(shot.image[0, 24, 20], expected, atol=0.01)
    red = PBRMaterial(base_color=torch.tensor([1.0, 0.0, 0.0, 1.0]))
    shot = render_implicit(ball(), CAMERA, lights=[AmbientLight()], material=red)
    assert shot.image[0, 24, 20, 0] > 0.5
    assert shot.image[0, 24, 20, 1] < 0.3


def test_gradient_of_the_picture() -> None:
    """The derivative of the brightness of an unlit disc: 2 pi R, in front of white minus black."""
    camera = OrthographicCamera.orbit(0.0, 0.0, 3.0, 2.0, size=(120, 120))
    values = sphere(48, 1.0, 0.6, torch.float32).requires_grad_()
    grid = SignedDistanceGrid(values, CORNERS)
    shot = render_implicit(grid, camera, shading="unlit", background=0.0)
    area = shot.image[..., 0].sum() * (2 / 120) ** 2
    assert area.item() == pytest.approx(math.pi * 0.36, rel=0.01)
    (slope,) = torch.autograd.grad(area, values)
    assert -slope.sum().item() == pytest.approx(2 * math.pi * 0.6, rel=0.02)
    without = render_implicit(grid, camera, shading="unlit", silhouette=0.0)
    assert not without.image.requires_grad


def test_shape() -> None:
    grid = SignedDistanceGrid.from_function(lambda x: 3 * (x.norm(dim=-1) - 0.7), (20, 24, 28), box(1.0))
    assert grid.values.shape == (20, 24, 28)
    assert torch.allclose(grid.voxel_size, torch.tensor([2 / 28, 2 / 24, 2 / 20]))
    mesh = grid.mesh()
    assert (mesh.positions.norm(dim=-1) - 0.7).abs().max() < 0.01
    assert (render_mesh(mesh, CAMERA).mask - render_implicit(grid, CAMERA).mask).abs().mean() < 0.03
    again = grid.redistanced()
    points = torch.tensor([[[0.9, 0.0, 0.0], [0.0, 0.3, 0.0]]])
    assert torch.allclose(again.distance(points), torch.tensor([[0.2, -0.4]]), atol=0.05)
    assert grid.to(torch.float64).values.dtype == torch.float64


def test_nothing_to_see() -> None:
    shot = render_implicit(SignedDistanceGrid(torch.ones(2, 2, 2)), CAMERA, background=(1.0, 0.0, 0.0))
    assert (shot.mask == 0).all()
    assert torch.allclose(shot.image[0, 0, 0], torch.tensor([1.0, 0.0, 0.0]), atol=1e-3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: render_implicit(3, CAMERA), TypeError, r"shape: expected a SignedDistanceGrid or a func.*got int"),
        (lambda: render_implicit(ball(), None), TypeError, r"camera: expected a Camera"),
        (lambda: render_implicit(ball(), CAMERA, shading="no"), ValueError, r"shading: expected a function or one of"),
        (lambda: render_implicit(ball(), CAMERA, supersampling=0), ValueError, r"supersampling: expected an integer"),
        (lambda: render_implicit(ball(), CAMERA, silhouette=-1.0), ValueError, r"silhouette: expected a non-negative"),
        (lambda: SignedDistanceGrid(torch.ones(3, 3)), ValueError, r"values: expected shape \[D, H, W\]"),
        (lambda: SignedDistanceGrid(torch.ones(1, 2, 3), colors=torch.ones(3)), ValueError, r"colors: expected shape"),
        (lambda: SignedDistanceGrid(torch.ones(1, 2, 3), material=3), TypeError, r"material: expected a Material"),
    ],
)
def test_wrong_arguments(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
