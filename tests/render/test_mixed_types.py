"""Shapes, lights, materials and cameras of float32 beside float64: drawn in the widest type, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from render_common import F64
from torch import Tensor

from lumigrad.render import Rendering, render, render_direct, render_field, render_implicit, render_path
from lumigrad.scene import (
    AmbientLight,
    DirectionalLight,
    EnvironmentLight,
    Light,
    PBRMaterial,
    PerspectiveCamera,
    PointCloud,
    PointLight,
    Scene,
    SignedDistanceFunction,
    SignedDistanceGrid,
    SphereCloud,
    SpotLight,
    VolumeField,
    VoxelGrid,
    icosphere,
)

CAMERA = PerspectiveCamera.orbit(azimuth=10.0, elevation=20.0, distance=3.0, fov_y=40.0, size=(6, 6))
MESH = icosphere(1)
BOX = [[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]]


def rand(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def mist(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    return 1 + points[:, 0], torch.ones_like(points)


LIGHTS: dict[str, Light] = {
    "ambient": AmbientLight(),
    "directional": DirectionalLight((0.0, 1.0, 1.0)),
    "point": PointLight((0.0, 3.0, 1.0)),
    "spot": SpotLight((0.0, 3.0, 3.0), (0.0, -1.0, -1.0)),
    "environment": EnvironmentLight(rand(6, 4, 4, 3), rotation=torch.eye(3)),
}
RENDERERS: dict[str, Callable[[Scene, Any], Rendering]] = {
    "phong": lambda scene, camera: render(scene, camera, shading="phong"),
    "pbr": lambda scene, camera: render(scene, camera, shading="pbr"),
    "direct": lambda scene, camera: render_direct(scene, camera),
    "path": lambda scene, camera: render_path(scene, camera, samples=2),
}


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("light", LIGHTS)
def test_lights(light: str, renderer: str) -> None:
    """The image is of the mesh's type, whatever the light's and the camera's; in float64 that of float64 throughout."""
    draw, lamp = RENDERERS[renderer], LIGHTS[light]
    for mesh, other in ((MESH, F64), (MESH.to(F64), torch.float32)):
        shot = draw(Scene([mesh], lights=[lamp.to(other)]), CAMERA.to(other))
        same = draw(Scene([mesh], lights=[lamp.to(mesh.positions.dtype)]), CAMERA.to(mesh.positions.dtype))
        assert shot.image.dtype == same.image.dtype == mesh.positions.dtype
        # A ray of a camera in float32 may meet another triangle at an edge.
        assert ((shot.image - same.image).abs() < 1e-4).float().mean() > 0.97


def test_parts_of_one_thing() -> None:
    """Colours, coordinates, textures and normals of another type than the positions."""
    count = len(MESH.positions)
    uvs, texture = rand(count, 2), rand(4, 4, 3)
    changes: list[dict[str, Any]] = [
        {"colors": rand(count, 3)},
        {"normals": MESH.positions},
        {"uvs": uvs, "texture": texture},
        {"uvs": uvs, "materials": (PBRMaterial(base_color_texture=texture, normal_texture=texture),)},
    ]
    for change in changes:
        wide = {k: v.to(F64) if isinstance(v, Tensor) else tuple(m.to(F64) for m in v) for k, v in change.items()}
        for draw in RENDERERS.values():
            mixed, plain = (draw(Scene([replace(MESH, **c)], lights=[LIGHTS["point"]]), CAMERA) for c in (wide, change))
            assert mixed.image.dtype == torch.float32
            assert torch.allclose(mixed.image, plain.image, atol=1e-5)


def test_shapes_beside_each_other() -> None:
    """The widest type is that of the image; functions are given its points."""
    spheres = SphereCloud(rand(5, 3), 0.2 * torch.ones(5), rand(5, 3))
    shapes: list[Any] = [
        VolumeField(mist), SignedDistanceFunction(lambda x: x.norm(dim=-1) - 0.4), VoxelGrid(rand(4, 4, 4, 4)),
        SignedDistanceGrid(rand(4, 4, 4) - 0.5), PointCloud(rand(5, 3), colors=rand(5, 3)), spheres,
    ]  # fmt: skip
    for shape in shapes:
        mixed = render(Scene([shape, MESH.to(F64)]), CAMERA).image
        plain = render(Scene([shape.to(F64), MESH.to(F64)]), CAMERA.to(F64)).image
        assert mixed.dtype == F64
        assert ((mixed - plain).abs() < 1e-4).double().mean() > 0.97


@pytest.mark.parametrize("renderer", RENDERERS)
def test_meshes_beside_each_other(renderer: str) -> None:
    """Meshes of mixed dtypes are drawn as if all were float64, in either order."""
    draw, small = RENDERERS[renderer], replace(MESH, positions=0.5 * MESH.positions + 0.7)
    for meshes in ([MESH, small.to(F64)], [small.to(F64), MESH]):
        mixed = draw(Scene(meshes, lights=[LIGHTS["point"]]), CAMERA)
        plain = draw(Scene([mesh.to(F64) for mesh in meshes], lights=[LIGHTS["point"]]), CAMERA)
        assert torch.equal(mixed.image, plain.image)


NETWORK = torch.nn.Linear(3, 4)


def field(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    found = NETWORK(points)
    return found[:, 0].abs(), found[:, 1:]


def distance(points: Tensor) -> Tensor:
    return points.norm(dim=-1) - 0.4 + 0 * NETWORK(points)[..., 0]


def broken(points: Tensor) -> Tensor:
    raise RuntimeError("of its own")


WIDE = torch.tensor(BOX, dtype=F64)
REFUSED: dict[str, tuple[str, Callable[[], object]]] = {
    "field beside a mesh": ("function", lambda: render(Scene([VolumeField(field), MESH.to(F64)]), CAMERA)),
    "render_field": ("field", lambda: render_field(field, CAMERA, WIDE, 0.1)),
    "render_field, buffers": ("field", lambda: render_field(field, CAMERA.to(F64), BOX, 0.1, buffers=True)),
    "distance beside a mesh": ("sdf", lambda: render(Scene([SignedDistanceFunction(distance), MESH.to(F64)]), CAMERA)),
    "render_implicit": ("sdf", lambda: render_implicit(distance, CAMERA.to(F64))),
    "voxels": ("function", lambda: SignedDistanceGrid.from_function(distance, 4, WIDE)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_functions_of_another_type(case: str) -> None:
    name, call = REFUSED[case]
    with pytest.raises(
        TypeError, match=rf"^{name}: expected a function of points of torch.float64 .* torch.float32 alone"
    ):
        call()


def test_other_errors_of_functions_stay() -> None:
    with pytest.raises(RuntimeError, match=r"^of its own$"):
        render_implicit(broken, CAMERA)
