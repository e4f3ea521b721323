"""Scenes of any shapes."""

from __future__ import annotations

import pytest
import torch

from lumigrad.scene import (
    AmbientLight,
    EnvironmentLight,
    GaussianCloud,
    Meshes,
    PointCloud,
    PointClouds,
    Scene,
    SurfelCloud,
    studio,
)
from lumigrad.scene.shapes.procedural import icosphere

MESH = icosphere(0)
POINTS = PointCloud(MESH.positions)


def gaussians(count: int = 2) -> GaussianCloud:
    return GaussianCloud(
        torch.zeros(count, 3), torch.ones(count, 4), torch.ones(count, 3), torch.ones(count), torch.zeros(count, 4, 3)
    )


def surfels(count: int = 2) -> SurfelCloud:
    return SurfelCloud(
        torch.zeros(count, 3), torch.ones(count, 4), torch.ones(count, 2), torch.ones(count), torch.zeros(count, 1, 3)
    )


def test_shapes_of_any_kind() -> None:
    splats, discs = gaussians(), surfels()
    scene = Scene([POINTS, MESH, splats, icosphere(1), discs])
    assert len(scene.shapes) == 5
    assert [len(mesh.faces) for mesh in scene.meshes] == [20, 80]
    assert scene.point_clouds == (POINTS,)
    assert scene.gaussian_clouds == (splats,)
    assert scene.surfel_clouds == (discs,)


@pytest.mark.parametrize("shape", [MESH, POINTS, gaussians(), surfels()])
def test_a_shape_alone(shape: object) -> None:
    assert Scene(shape).shapes == (shape,)  # type: ignore[arg-type]


def test_batches_count_as_what_is_in_them() -> None:
    meshes, clouds = Meshes.join([MESH, icosphere(1)]), PointClouds.join([POINTS] * 3)
    assert len(Scene(meshes).meshes) == 2
    assert len(Scene(clouds).point_clouds) == 3
    mixed = Scene([meshes, clouds, MESH])
    assert (len(mixed.meshes), len(mixed.point_clouds)) == (3, 3)
    assert len(Scene(shape for shape in (MESH, POINTS)).shapes) == 2  # type: ignore[arg-type]


def test_moved() -> None:
    light = EnvironmentLight(studio(8))
    scene = Scene([MESH, POINTS, gaussians(), surfels()], [AmbientLight()], light, torch.zeros(3)).to(torch.float64)
    assert scene.meshes[0].positions.dtype == scene.point_clouds[0].positions.dtype == torch.float64
    assert all(value.dtype == torch.float64 for value in scene.gaussian_clouds[0].tensors().values())
    assert all(value.dtype == torch.float64 for value in scene.surfel_clouds[0].tensors().values())
    assert scene.environment is not None
    assert scene.environment.cube.dtype == scene.background.dtype == torch.float64


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shapes": [3]}, TypeError, "shapes: expected Mesh, .*VolumeField, got int"),
        ({"shapes": None}, TypeError, "shapes"),
        ({"shapes": "mesh"}, TypeError, "shapes"),
        ({"shapes": torch.zeros(3, 3)}, TypeError, "shapes"),
        ({"lights": [3]}, TypeError, "lights"),
        ({"background": "environment"}, ValueError, "background"),
    ],
)
def test_wrong_scenes(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Scene(**({"shapes": MESH} | options))
