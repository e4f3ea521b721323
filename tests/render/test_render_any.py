"""`render` of other shapes than meshes."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from render_common import camera, same, uniform

from lumigrad.render import (
    Rendering,
    render,
    render_gaussians,
    render_implicit,
    render_points,
    render_surfels,
    render_volume,
)
from lumigrad.scene import (
    AmbientLight,
    EnvironmentLight,
    GaussianCloud,
    PointCloud,
    PointClouds,
    Scene,
    SignedDistanceGrid,
    SurfelCloud,
    VoxelGrid,
    studio,
)
from lumigrad.scene.shapes.procedural import icosphere


def cloud(count: int = 30, seed: int = 0) -> PointCloud:
    return PointCloud(uniform(count, 3, low=-1, seed=seed), uniform(count, 3, seed=1), radii=uniform(count, high=0.3))


def splats(kind: type, count: int = 30) -> Any:
    axes = 3 if kind is GaussianCloud else 2
    return kind(
        uniform(count, 3, low=-1), uniform(count, 4, low=-1), uniform(count, axes, low=0.05, high=0.3),
        uniform(count, low=0.2), uniform(count, 4, 3, low=-0.5),
    )  # fmt: skip


CASES = [
    pytest.param(cloud(), render_points, id="points"),
    pytest.param(splats(GaussianCloud), render_gaussians, id="gaussians"),
    pytest.param(splats(SurfelCloud), render_surfels, id="surfels"),
]


def test_examples_run() -> None:
    for module in ("lumigrad.render.scene", "lumigrad.scene.scene"):
        found = doctest.testmod(importlib.import_module(module))
        assert found.attempted > 0
        assert not found.failed


@pytest.mark.parametrize(("shape", "renderer"), CASES)
def test_shapes_are_drawn_by_their_renderer(shape: Any, renderer: Callable[..., Rendering]) -> None:
    expected = renderer(shape, camera(), 0.3)
    same(render(shape, camera(), background=0.3), expected)
    same(render(Scene(shape, background=0.3), camera()), expected)
    batch = render([shape, shape], camera(), background=0.3)
    same(batch, renderer([shape, shape], camera(), 0.3))
    assert batch.shape_ids.max() == 1
    assert torch.equal(batch.image, expected.image)
    seen = camera().resized((9, 12))
    light = EnvironmentLight(studio(8)).to(torch.float64)
    shot = render(Scene(shape, environment=light), camera(), (9, 12), background="environment", tone_mapping="srgb")
    same(shot, renderer(shape, seen, light, tone_mapping="srgb"))
    assert render(shape, camera(), buffers=False).depth is None


def distances(radius: float = 0.8) -> SignedDistanceGrid:
    corners = torch.tensor([[-1.0] * 3, [1.0] * 3], dtype=torch.float64)
    return SignedDistanceGrid.from_function(lambda x: x.norm(dim=-1) - radius, 16, corners)


def fog(seed: int = 0) -> VoxelGrid:
    return VoxelGrid(5 * uniform(4, 5, 6, 4, seed=seed), [[-1.0] * 3, [1.0] * 3])


def test_grids_of_signed_distances() -> None:
    """With the shading and the lights of meshes, one in an image."""
    light, small = EnvironmentLight(studio(8)).to(torch.float64), distances(0.4)
    expected = render_implicit(distances(), camera(), "phong", [AmbientLight()], 0.3, supersampling=2)
    options = {"shading": "phong", "supersampling": 2}
    same(render(distances(), camera(), lights=[AmbientLight()], background=0.3, **options), expected)
    same(render(Scene(distances(), [AmbientLight()], background=0.3), camera(), **options), expected)
    assert 0.05 < expected.mask.mean() < 0.9
    assert expected.depth is not None
    shot = render(Scene(small, environment=light), camera(), (9, 12), background="environment")
    same(shot, render_implicit(small, camera().resized((9, 12)), lights=[light], background=light))
    batch = render([distances(), small], camera(), buffers=False)
    assert batch.depth is None
    for n, one in enumerate((distances(), small)):
        assert torch.equal(batch.image[n], render(one, camera()[n]).image[0])
    assert Scene([small]).to(torch.float32).signed_distance_grids[0].values.dtype == torch.float32


def test_voxel_grids() -> None:
    expected = render_volume(fog(), camera(), background=0.3, buffers=True)
    same(render(fog(), camera(), background=0.3), expected)
    same(render(Scene(fog(), background=0.3), camera()), expected)
    assert render(fog(), camera(), buffers=False).depth is None
    batch = render([fog(), fog(1)], camera())
    assert torch.equal(batch.image[1], render(fog(1), camera()[1]).image[0])
    light = EnvironmentLight(studio(8)).to(torch.float64)
    shot = render(Scene(fog(), environment=light), camera(), background="environment", tone_mapping="srgb")
    same(shot, render_volume(fog(), camera(), background=light, tone_mapping="srgb", buffers=True))
    assert Scene(fog()).to(torch.float32).voxel_grids[0].values.dtype == torch.float32


@pytest.mark.parametrize("make", [distances, fog])
def test_options_of_grids(make: Callable[[], Any]) -> None:
    for options in ({"layers": 1}, {"antialias": False}, {"previous": (cloud(), camera())}):
        with pytest.raises(ValueError, match=f"{next(iter(options))}: only meshes have this option"):
            render(make(), camera(), **options)
    with pytest.raises(ValueError, match="fragments: only scenes of several kinds"):
        render(make(), camera(), fragments=4)
    if make is fog:
        with pytest.raises(ValueError, match="shading: only meshes and grids of signed distances"):
            render(make(), camera(), shading="phong")


@pytest.mark.parametrize(("make", "renderer"), [(distances, render_implicit), (fog, render_volume)])
def test_renderers_of_one_grid(make: Callable[[], Any], renderer: Callable[..., Rendering]) -> None:
    with pytest.raises(ValueError, match=r"expected one of the .* in an image, got 2; .*render shows several"):
        renderer(Scene([make(), make()]), camera())


def test_batches_of_point_clouds() -> None:
    clouds = PointClouds.join([cloud(10), cloud(20, 3)])
    same(render(clouds, camera()), render_points(clouds, camera()))


@pytest.mark.parametrize(
    "options",
    [
        {"shading": "phong"},
        {"lights": [AmbientLight()]},
        {"supersampling": 2},
        {"layers": 1},
        {"antialias": False},
        {"previous": (cloud(), camera())},
    ],
)
@pytest.mark.parametrize(("shape", "renderer"), CASES)
def test_options_of_meshes(shape: Any, renderer: Callable[..., Rendering], options: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))}: only meshes .*have this option"):
        render(shape, camera(), **options)


def test_batches_are_of_one_kind() -> None:
    with pytest.raises(ValueError, match="scene: expected shapes of one kind, got meshes, point clouds and Gaussians"):
        render([icosphere(0), splats(GaussianCloud), cloud()], camera(count=0))
    with pytest.raises(TypeError, match="cloud: expected PointCloud"):
        render_points(Scene([cloud(), splats(SurfelCloud)]), camera())
