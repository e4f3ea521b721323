"""Images of voxel grids: against the op called by hand, closed forms, gradients, wrong calls; random pixels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import lumigrad as lg
from lumigrad.render import render_volume
from lumigrad.scene import FisheyeDistortion, OrthographicCamera, PerspectiveCamera, VoxelGrid, look_at


def ball(points: Tensor) -> Tensor:
    """Dense fog in a ball around the origin, red below and green above."""
    inside = (0.4 - points.norm(dim=-1, keepdim=True)) * 5000
    up = (points[..., 1:2] > 0).to(points)
    return torch.cat((inside, 1 - up, up, torch.zeros_like(up)), -1)


GRID = VoxelGrid.from_function(ball, (40, 40, 40))


def camera(**options) -> PerspectiveCamera:
    return PerspectiveCamera.orbit(azimuth=20.0, elevation=10.0, distance=2.0, fov_y=40.0, size=(25, 31), **options)


def test_is_the_op_along_the_cameras_rays() -> None:
    seen = camera()
    shot = render_volume(GRID, seen, step=0.01, background=(0.2, 0.4, 0.6))
    origins, directions = seen.rays()
    out = lg.march(GRID.values, origins, directions, GRID.box, 0.01, background=torch.tensor([0.2, 0.4, 0.6]))
    assert torch.allclose(shot.image[0], out.features, atol=1e-6)
    assert torch.allclose(shot.mask[0, ..., 0], out.alpha, atol=1e-6)


def test_a_ball() -> None:
    """Its middle is opaque, as deep as its surface, with the surface's normal; green is above."""
    seen = camera()
    shot = render_volume(GRID, seen, buffers=True)
    assert shot.mask[0, 12, 15].item() > 0.999
    assert math.isclose(shot.depth[0, 12, 15].item(), 1.6, abs_tol=0.03)
    towards = seen.position / seen.position.norm()
    assert (shot.normals[0, 12, 15] * towards).sum() > 0.98
    assert shot.image[0, 8, 15, 1] > 0.9 > 0.1 > shot.image[0, 17, 15, 1]
    assert not shot.mask[0, 0, 0].any()
    # its outline, of a disc of R^2 / (D^2 - R^2) seen at distance 1
    seen = seen.resized((200, 248))
    expected = math.pi * 0.4**2 / (2.0**2 - 0.4**2) * seen.fx.item() * seen.fy.item()
    assert math.isclose(render_volume(GRID, seen).mask.sum().item(), expected, rel_tol=0.03)


@pytest.mark.parametrize(
    "seen",
    [
        PerspectiveCamera(
            look_at((0.0, 0.0, 2.0)), 30.0, 30.0, 15.5, 12.5, (25, 31), distortion=FisheyeDistortion(0.1)
        ),
        OrthographicCamera.orbit(azimuth=0.0, elevation=0.0, distance=2.0, height=1.5, size=(25, 31)),
    ],
)
def test_other_cameras(seen) -> None:
    """What is seen in a pixel lies where the camera says that pixel looks."""
    shot = render_volume(GRID, seen, buffers=True)
    rows, columns = (shot.mask[0, ..., 0] > 0.999).nonzero(as_tuple=True)
    assert len(rows) > 20
    pixels = torch.stack((columns, rows), -1) + 0.5
    points = seen.unproject(pixels, shot.depth[0, rows, columns, 0])
    radius = points.norm(dim=-1)
    assert (radius < 0.41).all()
    assert (radius > 0.35).all()


def test_batches_and_clip_planes() -> None:
    around = PerspectiveCamera.orbit(torch.tensor([0.0, 90.0]), 20.0, 2.0, fov_y=40.0, size=(9, 8))
    shots = render_volume(GRID, around, step=0.02)
    assert all(torch.equal(render_volume(GRID, around[i], step=0.02).image[0], shots.image[i]) for i in range(2))
    assert not render_volume(GRID, camera(far=1.0)).mask.any()
    assert render_volume(GRID, camera(near=2.0)).mask.any()


def test_spherical_harmonics() -> None:
    """The function that grows with z looks different from behind."""
    values = torch.zeros(4, 4, 4, 5)
    values[..., 0] = 50
    values[..., 3] = 1  # the third of four
    grid = VoxelGrid(values, degree=1)
    for azimuth, sign in ((0.0, -1.0), (180.0, 1.0)):
        seen = PerspectiveCamera.orbit(azimuth, 0.0, 2.0, fov_y=40.0, size=(5, 5))
        assert math.isclose(render_volume(grid, seen).color[0, 2, 2, 0].item(), sign * 0.4886025, rel_tol=1e-4)


def test_gradients() -> None:
    values = torch.rand(3, 3, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix = look_at((0.3, 0.2, 2.0)).double()

    def function(values, matrix, fx):
        seen = PerspectiveCamera(matrix, fx, fx, 2.0, 1.5, (3, 4))
        shot = render_volume(VoxelGrid(values), seen, step=0.13, background=0.3, buffers=True)
        return shot.image, shot.mask, shot.depth, shot.normals

    leaves = [values, matrix, torch.tensor(5.0, dtype=torch.float64)]
    assert torch.autograd.gradcheck(function, [leaf.requires_grad_() for leaf in leaves])


def test_random_pixels() -> None:
    """Uniform, those of a longer list first, others for other images and seeds."""
    around = PerspectiveCamera.orbit(torch.tensor([0.0, 90.0]), 20.0, 2.0, fov_y=40.0, size=(8, 16))
    pixels = around.random_pixels(20000, seed=5)
    assert pixels.shape == (2, 20000, 2)
    assert torch.equal(pixels[:, :100], around.random_pixels(100, seed=5))
    assert not torch.equal(pixels[0], pixels[1])
    assert not torch.equal(pixels, around.random_pixels(20000, seed=6))
    number = ((pixels[..., 1] - 0.5) * 16 + pixels[..., 0] - 0.5).long()
    for image in number:
        counts = torch.bincount(image, minlength=128)
        assert len(counts) == 128
        chi_squared = ((counts - 156.25).square() / 156.25).sum()
        assert 80 < chi_squared < 190  # 127 degrees of freedom
    assert around.rays(pixels).directions.shape == (2, 20000, 3)


def test_wrong_calls() -> None:
    with pytest.raises(TypeError, match=r"^grid: expected a VoxelGrid, got Tensor"):
        render_volume(GRID.values, camera())
    with pytest.raises(TypeError, match=r"^camera: expected a Camera, got str"):
        render_volume(GRID, "front")
    with pytest.raises(ValueError, match=r"^values: expected shape \[D, H, W, 1 \+ C\], got \(2, 2\)"):
        VoxelGrid(torch.zeros(2, 2))
    with pytest.raises(TypeError, match=r"^box: expected two corners of three numbers, got 'unit'"):
        VoxelGrid(torch.zeros(2, 2, 2, 4), box="unit")
    with pytest.raises(TypeError, match=r"^count: expected an integer"):
        camera().random_pixels(1.5)
