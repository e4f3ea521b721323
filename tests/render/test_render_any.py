"""`render` of other shapes than meshes."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from render_common import camera, same, uniform

from lumigrad.render import Rendering, render, render_gaussians, render_points, render_surfels
from lumigrad.scene import (
    AmbientLight,
    EnvironmentLight,
    GaussianCloud,
    PointCloud,
    PointClouds,
    Scene,
    SurfelCloud,
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
    with pytest.raises(ValueError, match=f"{next(iter(options))}: only meshes have this option"):
        render(shape, camera(), **options)


def test_mixtures() -> None:
    mixed = [icosphere(0), splats(GaussianCloud), cloud()]
    message = "scene: rendering meshes, point clouds and Gaussians in one image is not implemented yet"
    for scene in (Scene(mixed), mixed):
        with pytest.raises(NotImplementedError, match=message):
            render(scene, camera(count=0))
    with pytest.raises(NotImplementedError, match="point clouds and surfels"):
        render(Scene([cloud(), splats(SurfelCloud)]), camera())
