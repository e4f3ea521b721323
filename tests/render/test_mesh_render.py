"""The mesh renderer against closed forms, and its gradients against finite differences."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from lumigrad.render import render, render_mesh
from lumigrad.scene import Lighting, Mesh, Meshes, PerspectiveCamera, Scene
from lumigrad.scene.shapes.procedural import creature, icosphere

UNLIT = Lighting.unlit()


def quad(texture: torch.Tensor) -> Mesh:
    """A square from -1 to 1 in the plane z = 0 that shows the whole texture, first row on top."""
    positions = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    uvs = torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]])
    return Mesh(positions, torch.tensor([[0, 1, 2], [0, 2, 3]]), uvs, texture=texture)


def facing_camera(size: int) -> PerspectiveCamera:
    """Frames the square exactly."""
    return PerspectiveCamera.orbit(0.0, 0.0, 2.0, 2 * math.degrees(math.atan(0.5)), (size, size))


def test_texture_appears_upright_and_unmirrored() -> None:
    texture = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(1))
    shot = render_mesh(quad(texture), facing_camera(8), UNLIT, mips=False)
    torch.testing.assert_close(shot.color[0], texture, atol=1e-4, rtol=0)
    torch.testing.assert_close(shot.mask, torch.ones(1, 8, 8, 1))


def test_minified_texture_is_averaged() -> None:
    texture = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(1))
    shot = render_mesh(quad(texture), facing_camera(8), UNLIT)
    coarse = torch.nn.functional.avg_pool2d(texture.permute(2, 0, 1), 8).permute(1, 2, 0)
    torch.testing.assert_close(shot.color[0, 1:-1, 1:-1], coarse[1:-1, 1:-1], atol=1e-3, rtol=0)


def test_projected_sphere_has_the_right_area_and_place() -> None:
    distance, size = 4.0, 96
    camera = PerspectiveCamera.orbit(30.0, 20.0, distance, 40.0, (size, size))
    shot = render_mesh(icosphere(5), camera, UNLIT)
    # The outline of a unit sphere is a circle of radius f / sqrt(d^2 - 1).
    radius = float(camera.fx) / math.sqrt(distance**2 - 1)
    assert float(shot.mask.sum()) == pytest.approx(math.pi * radius**2, rel=0.005)
    centre = torch.arange(size) + 0.5
    assert float((shot.mask[0, ..., 0].sum(0) * centre).sum() / shot.mask.sum()) == pytest.approx(size / 2, abs=0.1)


def test_colours_vertex_by_vertex_and_background() -> None:
    mesh = replace(quad(torch.ones(2, 2, 3)), colors=torch.tensor([[0.2, 0.4, 0.6]]).expand(4, 3))
    camera = facing_camera(8).resized((8, 8))
    wide = replace(camera, fx=camera.fx / 2, fy=camera.fy / 2)
    image = render_mesh(mesh, wide, UNLIT).over((1.0, 0.0, 0.5))[0]
    torch.testing.assert_close(image[4, 4], torch.tensor([0.2, 0.4, 0.6]))
    torch.testing.assert_close(image[0, 0], torch.tensor([1.0, 0.0, 0.5]))


def test_headlight_is_brightest_where_the_surface_faces_the_camera() -> None:
    camera = PerspectiveCamera.orbit(70.0, -20.0, 4.0, 32.0, (33, 33))
    lighting = Lighting(0.2, 0.8, (), ())
    image = render_mesh(icosphere(4), camera, lighting).color[0, ..., 0]
    assert image[16, 16] == image.max()
    assert float(image[16, 16]) == pytest.approx(1.0, abs=0.01)


def test_batches_equal_single_images() -> None:
    mesh = icosphere(2)
    camera = PerspectiveCamera.orbit(torch.tensor([0.0, 50.0]), 10.0, 4.0, 40.0, (16, 16))
    both = render_mesh(mesh, camera)
    for k in range(2):
        torch.testing.assert_close(render_mesh(mesh, camera[k]).color[0], both.color[k])


def moved_sphere_loss(shift: torch.Tensor, distance: float, lighting: Lighting) -> torch.Tensor:
    """A sphere moved by shift[:3] and scaled by 1 + shift[3], seen through smooth weights; float64."""
    sphere = icosphere(3)
    positions = sphere.positions.double() * (1 + shift[3]) + shift[:3]
    camera = PerspectiveCamera.orbit(torch.tensor(20.0, dtype=torch.float64), 10.0, distance, 40.0, (64, 64))
    shot = render_mesh(Mesh(positions, sphere.faces), camera, lighting)
    ramp = torch.linspace(0, 1, 64, dtype=torch.float64)
    weights = torch.stack([ramp.expand(64, 64), ramp.square().expand(64, 64).T, 1 - ramp.expand(64, 64)], -1)
    return (shot.color * weights).sum()


@pytest.mark.parametrize(
    ("distance", "lighting", "tolerance"),
    [(4.0, UNLIT, 0.05), (1.6, Lighting(0.2, 0.4, ((0.6, 0.2, 0.4),), (0.4,)), 0.02)],
    ids=["silhouette", "shading"],
)
def test_gradients_against_finite_differences(distance: float, lighting: Lighting, tolerance: float) -> None:
    shift = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    moved_sphere_loss(shift, distance, lighting).backward()
    assert shift.grad is not None
    # Images are only piecewise smooth: steps of about a pixel average over their small jumps.
    step = 0.02
    slopes = []
    for k in range(4):
        offset = torch.zeros(4, dtype=torch.float64)
        offset[k] = step
        slopes.append(moved_sphere_loss(offset, distance, lighting) - moved_sphere_loss(-offset, distance, lighting))
    slope = torch.stack(slopes) / (2 * step)
    assert (shift.grad - slope).norm() < tolerance * slope.norm()


def test_gradients_reach_texture_colours_and_camera() -> None:
    texture = torch.rand(16, 16, 3).requires_grad_()
    azimuth = torch.tensor(20.0, requires_grad=True)
    camera = PerspectiveCamera.orbit(azimuth, 10.0, 4.0, 40.0, (16, 16))
    render_mesh(quad(texture), camera).color.square().sum().backward()
    for leaf in (texture, azimuth):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert leaf.grad.abs().max() > 0


def test_wrong_arguments() -> None:
    sphere = icosphere(0)
    view = torch.eye(4).expand(2, 2, 4, 4)
    with pytest.raises(ValueError, match="camera"):
        render_mesh(sphere, PerspectiveCamera.from_fov(40.0, (4, 4), view))
    with pytest.raises(ValueError, match=r"mesh\.colors"):
        render_mesh(replace(sphere, colors=torch.ones(12, 5)), PerspectiveCamera.from_fov(40.0, (4, 4)))


def _batch() -> Mesh:
    ball = creature(1)
    moved = ball.positions * torch.tensor([[[1.0, 1, 1]], [[0.5, 1, 1]], [[1, 1.2, 0.7]]])
    return replace(ball, positions=moved.requires_grad_())


@pytest.mark.parametrize("cameras", [1, 3])
def test_a_batch_of_one_template(cameras: int) -> None:
    """Positions [N, V, 3]: image n and the gradients are those of mesh n alone."""
    mesh = _batch()
    azimuths = torch.arange(cameras) * 40.0 if cameras > 1 else 20.0
    camera = PerspectiveCamera.orbit(azimuths, 10.0, 4.0, 40.0, (24, 20))
    shot = render_mesh(mesh, camera)
    weights = torch.rand(shot.color.shape, generator=torch.Generator().manual_seed(0))
    (whole,) = torch.autograd.grad((shot.color * weights).sum(), mesh.positions)
    for n, single in enumerate(mesh.unbind()):
        one = render_mesh(single, camera[n] if cameras > 1 else camera)
        assert torch.equal(one.color[0], shot.color[n])
        assert torch.equal(one.mask[0], shot.mask[n])
        (alone,) = torch.autograd.grad((one.color[0] * weights[n]).sum(), mesh.positions)
        torch.testing.assert_close(alone[n], whole[n], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shading", ["pbr", "flat"])
def test_a_batch_of_one_template_in_render(shading: str) -> None:
    mesh = _batch()
    camera = PerspectiveCamera.orbit(20.0, 10.0, 4.0, 40.0, (24, 20))
    shot = render(mesh, camera, shading=shading)
    expected = render(Meshes.join(mesh.unbind()), camera, shading=shading)
    assert shot.image.shape == (3, 24, 20, 3)
    assert torch.equal(shot.image, expected.image)


def test_batches_that_do_not_fit() -> None:
    mesh = _batch()
    cameras = PerspectiveCamera.orbit(torch.arange(2) * 9.0, 10.0, 4.0, 40.0, (24, 20))
    with pytest.raises(ValueError, match="camera: expected one, or 3 like the meshes, got 2"):
        render_mesh(mesh, cameras)
    with pytest.raises(ValueError, match="camera: expected one, or 3 like the shapes, got 2"):
        render(mesh, cameras)
    with pytest.raises(TypeError, match=r"mesh: expected a Mesh, got Meshes; lumigrad\.render\.render draws batches"):
        render_mesh(Meshes.join(mesh.unbind()), cameras)
    with pytest.raises(ValueError, match="shapes: expected single meshes"):
        Scene([mesh])


def test_a_default_type_of_float64() -> None:
    """The camera is float64 then, a mesh that brings its own type is not."""
    mesh = creature(1)
    expected = render_mesh(mesh, PerspectiveCamera.orbit(20.0, 10.0, 4.0, 40.0, (24, 20)))
    torch.set_default_dtype(torch.float64)
    try:
        shot = render_mesh(mesh, PerspectiveCamera.orbit(20.0, 10.0, 4.0, 40.0, (24, 20)))
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(shot.color.float(), expected.color, atol=2e-3, rtol=0)
