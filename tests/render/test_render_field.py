"""Images of fields: against the ops called by hand, grids, closed forms and finite differences; wrong calls."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import lumigrad as lg
from lumigrad.fit import OccupancyGrid
from lumigrad.render import render_field, render_implicit, render_volume
from lumigrad.scene import EnvironmentLight, Lighting, OrthographicCamera, PBRMaterial, PerspectiveCamera, VoxelGrid

BOX = torch.tensor([[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]])
CAMERA = PerspectiveCamera.orbit(azimuth=20.0, elevation=10.0, distance=2.0, fov_y=40.0, size=(25, 31))


def ball(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Dense within 0.4, its colours those of the place."""
    return 400 * torch.sigmoid(400 * (0.4 - points.norm(dim=-1))), points + 0.5


def test_is_the_ops_along_the_cameras_rays() -> None:
    """With features of any number, that depend on the direction, and jitter."""

    def field(points, directions):
        assert torch.allclose(directions.norm(dim=-1), torch.ones(()), atol=1e-5)
        return (0.5 - points.abs().amax(-1, keepdim=True)) * 5, torch.cat((points, directions[:, :2]), -1)

    shot = render_field(field, CAMERA, BOX, 0.03, background=0.7, jitter=3)
    origins, directions = CAMERA.rays()
    samples = lg.sample_rays(origins, directions, BOX, 0.03, jitter=3)
    origins, directions = origins.expand_as(directions).reshape(-1, 3), directions.reshape(-1, 3)
    middle = 0.5 * (samples.t_start + samples.t_end)
    density, features = field(origins[samples.ray] + middle[:, None] * directions[samples.ray], directions[samples.ray])
    out = lg.composite(samples, density[:, 0], features, background=torch.full((5,), 0.7))
    assert torch.allclose(shot.image[0].reshape(-1, 5), out.features, atol=1e-6)
    assert torch.allclose(shot.mask[0].reshape(-1), out.alpha, atol=1e-6)
    assert shot.depth is None
    assert shot.normals is None


@pytest.mark.parametrize(
    "camera", [CAMERA, OrthographicCamera.orbit(azimuth=0.0, elevation=30.0, distance=2.0, height=1.2, size=(20, 24))]
)
def test_a_grid_as_a_field(camera) -> None:
    """The image, depth and normals of a grid of a linear density, for which differences of voxels are derivatives."""

    def fog(points):
        return torch.cat((3 + 2 * points[..., :1] - points[..., 1:2], points + 0.5), -1)

    inner = VoxelGrid.from_function(fog, (30, 30, 30), BOX, activation="none")
    # Half a voxel at the border is constant: it is left out of both.
    low, high = -0.5 + 0.5 / 30, 0.5 - 0.5 / 30
    cut = torch.tensor([[low] * 3, [high] * 3])
    grid = VoxelGrid.from_function(fog, (30, 30, 30), cut, activation="none")
    assert inner.values.shape == grid.values.shape
    shot = render_field(lambda x, d: fog(x).split((1, 3), -1), camera, cut, 0.02, buffers=True)
    expected = render_volume(grid, camera, 0.02, buffers=True)
    assert (shot.image - expected.image).abs().max() < 0.02
    assert (shot.mask - expected.mask).abs().max() < 0.01
    seen = expected.mask > 0.5
    assert (seen * (shot.depth - expected.depth)).abs().max() < 0.01
    assert (seen * (shot.normals - expected.normals)).abs().max() < 0.02
    slope = torch.tensor([-2.0, 1.0, 0.0]) / math.sqrt(5)
    assert torch.allclose(shot.normals[0][seen[0, ..., 0]], slope, atol=1e-4)


def test_shaded_like_the_surface_that_it_stands_for() -> None:
    """A dense ball and its surface, under lights, in a material."""
    red = PBRMaterial(base_color=torch.tensor([1.0, 0.2, 0.2]))
    for shading in ("phong", "pbr", "normals"):
        lights = Lighting() if shading == "phong" else None
        shot = render_field(
            lambda x, d: (ball(x, d)[0], torch.ones_like(x)), CAMERA, BOX, 0.004, shading, lights, 1.0, material=red,
            buffers=True,
        )  # fmt: skip
        expected = render_implicit(lambda x: x.norm(dim=-1) - 0.4, CAMERA, shading, lights, 1.0, material=red)
        inner = -torch.nn.functional.max_pool2d(-expected.mask[..., 0], 3, 1, 1)[..., None] == 1
        assert inner.sum() > 60
        assert (inner * (shot.image - expected.image)).abs().max() < 0.03
        assert (inner * (shot.depth - expected.depth)).abs().max() < 0.01
        assert (inner * (shot.normals - expected.normals)).abs().max() < 0.02


def test_colours_multiply_the_material() -> None:
    shot = render_field(ball, CAMERA, BOX, 0.004, "unlit")
    plain = render_field(ball, CAMERA, BOX, 0.004)
    assert torch.allclose(shot.image, plain.image, atol=1e-3)
    half = render_field(ball, CAMERA, BOX, 0.01, "pbr", tone_mapping=None)
    assert torch.equal(half.image, half.color)


def test_batches_chunks_and_occupancy() -> None:
    around = PerspectiveCamera.orbit(torch.tensor([0.0, 90.0]), 20.0, 2.0, fov_y=40.0, size=(9, 8))
    shots = render_field(ball, around, BOX, 0.02, buffers=True)
    for i in range(2):
        alone = render_field(ball, around[i], BOX, 0.02, buffers=True, chunk=70)
        for name in ("image", "depth", "normals"):
            assert torch.allclose(getattr(alone, name)[0], getattr(shots, name)[i], atol=1e-6)
    grid = OccupancyGrid(BOX, 16)
    asked = []
    for seed in range(30):
        grid.update(lambda points: ball(points, points)[0], seed)

    def counted(points, directions):
        asked.append(len(points))
        return ball(points, directions)

    found = render_field(counted, around, BOX, 0.02, occupancy=grid.occupancy())
    assert sum(asked) < 0.6 * 2 * 9 * 8 * 40
    assert torch.allclose(found.image, shots.image, atol=0.005)


def test_clip_planes_and_nothing_to_see() -> None:
    def at(**clip):
        return PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=2.0, fov_y=40.0, size=(9, 9), **clip)

    assert not render_field(ball, at(far=1.0), BOX, 0.02).mask.any()
    assert abs(render_field(ball, at(near=2.0), BOX, 0.02, buffers=True).depth[0, 4, 4].item() - 2.0) < 0.02
    away = render_field(ball, at(), [[5.0, 5.0, 5.0], [6.0, 6.0, 6.0]], 0.1, background=(0.2, 0.3, 0.4), buffers=True)
    assert torch.allclose(away.image[0, 0, 0], torch.tensor([0.2, 0.3, 0.4]))
    assert not away.normals.any()
    flat = render_field(lambda x, d: (torch.ones(len(x)), torch.ones_like(x)), at(), BOX, 0.1, buffers=True)
    assert not flat.normals.any()
    sky = EnvironmentLight(torch.rand(6, 8, 8, 3))
    assert render_field(ball, at(), BOX, 0.1, "phong", [sky], "environment").image[0, 0, 0].any()


def test_no_graph_without_gradients() -> None:
    weight = torch.tensor(2.0, requires_grad=True)
    with torch.no_grad():
        shot = render_field(lambda x, d: (weight * ball(x, d)[0], x), CAMERA, BOX, 0.05, "normals", buffers=True)
    assert not shot.image.requires_grad
    assert (shot.normals.norm(dim=-1) > 0.9).any()


@pytest.mark.parametrize("shading", [None, "phong"])
def test_gradients_of_the_field(shading: str | None) -> None:
    """Gradients reach the field, also through normals."""
    camera = PerspectiveCamera.orbit(20.0, 10.0, 2.0, fov_y=40.0, size=(3, 4))

    def function(weights):
        def field(points, directions):
            wave = (points @ weights[:3] + weights[3]).sin()
            return 2 + wave[:, 0], 0.5 + 0.2 * wave[:, 1:] + 0.1 * directions

        lights = None if shading is None else Lighting()
        shot = render_field(field, camera, BOX.double(), 0.13, shading, lights, background=0.3, buffers=True)
        return shot.image, shot.mask, shot.depth, shot.normals

    weights = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(function, [weights.requires_grad_()])


def test_gradients_of_the_camera() -> None:
    """Of fog that fades away within the box, where it does not matter where rays are cut; by differences."""

    def field(points, directions):
        return 20 * torch.exp(-40 * (points**2).sum(-1)), points

    def loss(move):
        camera = PerspectiveCamera.orbit(20.0, 10.0, 2.0, fov_y=40.0, size=(8, 8))
        matrix = torch.eye(4, dtype=torch.float64)
        matrix[:3, 3] = torch.tensor([0.05, 0.02, 0.01])
        matrix = matrix.index_put((torch.arange(3), torch.full((3,), 3)), move, accumulate=True)
        moved = PerspectiveCamera(camera.world_to_camera.double() @ matrix, 11.0, 11.0, 4.0, 4.0, (8, 8))
        shot = render_field(field, moved, BOX.double(), 0.01, buffers=True)
        weights = torch.linspace(-1, 2, 8, dtype=torch.float64)
        return (shot.image * weights[:, None]).sum() + (shot.depth[..., 0] * shot.mask[..., 0] * weights).sum()

    move = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(move), move)
    with torch.no_grad():
        steps = 1e-4 * torch.eye(3, dtype=torch.float64)
        expected = torch.stack([(loss(step) - loss(-step)) / 2e-4 for step in steps])
    torch.testing.assert_close(slope, expected, rtol=2e-3, atol=2e-3)


def nothing(points: Tensor, directions: Tensor) -> Tensor:
    return points


def transposed(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    return points[:, 0], points.T


def grey(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    return points[:, 0], points[:, :1]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: render_field(3, CAMERA, BOX, 0.1), TypeError, r"field: expected a function of points.*got int"),
        (lambda: render_field(ball, None, BOX, 0.1), TypeError, r"camera: expected a Camera"),
        (lambda: render_field(ball, CAMERA, "no", 0.1), TypeError, r"box: expected two corners"),
        (lambda: render_field(ball, CAMERA, BOX, 0.0), ValueError, r"step: expected a positive number"),
        (lambda: render_field(ball, CAMERA, BOX, 0.1, "no"), ValueError, r"shading: expected a function or one of"),
        (lambda: render_field(ball, CAMERA, BOX, 0.1, "phong", [3]), TypeError, r"lights: expected Light"),
        (lambda: render_field(ball, CAMERA, BOX, 0.1, occupancy=3), TypeError, r"occupancy: expected"),
        (lambda: render_field(ball, CAMERA, BOX, 0.1, chunk=0), ValueError, r"chunk: expected an integer"),
        (lambda: render_field(nothing, CAMERA, BOX, 0.1), TypeError, r"field: expected it to return a density"),
        (lambda: render_field(transposed, CAMERA, BOX, 0.1), ValueError, r"field: expected it to return shapes"),
        (lambda: render_field(grey, CAMERA, BOX, 0.1, "unlit"), ValueError, r"field: expected features \[M, 3\] for"),
    ],
)
def test_wrong_arguments(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
