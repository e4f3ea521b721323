"""Direct light on rasterized surfaces: paths of two segments, hard shadows, another renderer, silhouettes, refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from oracle_common import Oracle, linear, needs_oracles
from torch import Tensor

from lumigrad.render import render, render_direct, render_path
from lumigrad.scene import (
    AmbientLight,
    DiffuseMaterial,
    DirectionalLight,
    EnvironmentLight,
    HomogeneousMedium,
    MediumBoundary,
    Mesh,
    OrthographicCamera,
    PBRMaterial,
    PerspectiveCamera,
    PointLight,
    Scene,
    SpotLight,
    icosphere,
)

WHITE = DiffuseMaterial(base_color=(1.0, 1.0, 1.0))


def plate(half: float, y: float, material: Any = WHITE) -> Mesh:
    """A square that faces up."""
    corners = torch.tensor([[-1.0, 0, 1], [1, 0, 1], [1, 0, -1], [-1, 0, -1]])
    mesh = Mesh(half * corners + torch.tensor([0, y, 0]), torch.tensor([[0, 1, 2], [0, 2, 3]]), materials=(material,))
    return mesh.creased(0.0)


def camera(size: tuple[int, int] = (24, 32)) -> PerspectiveCamera:
    return PerspectiveCamera.orbit(azimuth=30.0, elevation=25.0, distance=4.0, fov_y=45.0, size=size)


def looking_down(pixels: int) -> OrthographicCamera:
    """From 5 above, on a square of 3."""
    return OrthographicCamera.orbit(azimuth=0.0, elevation=90.0, distance=5.0, height=3.0, size=(pixels, pixels))


def stage(*others: Mesh) -> Scene:
    """A ball over the ground."""
    clay = PBRMaterial(base_color=torch.tensor([0.8, 0.5, 0.3]), metallic=0.3, roughness=0.6)
    ball = replace(icosphere(3), positions=0.7 * icosphere(3).positions, materials=(clay,))
    return Scene([plate(3.0, -0.8, PBRMaterial(roughness=0.9)), ball, *others])


LAMP = plate(0.8, 2.5, DiffuseMaterial(base_color=(0.0, 0.0, 0.0), emissive=(6.0, 5.0, 4.0)))
LIGHTS = {
    "point": [PointLight((2.0, 3.0, 1.0), intensity=20.0)],
    "spot": [SpotLight((2.0, 3.0, 1.0), direction=(-2.0, -3.0, -1.0), intensity=30.0, inner=10.0, outer=25.0)],
    "distant": [DirectionalLight((1.0, 2.0, 0.5), intensity=2.0)],
    "three": [PointLight((2.0, 3.0, 1.0), intensity=9.0), DirectionalLight((-1.0, 2.0, 0.5)), AmbientLight()],
}


# ---- The other renderers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["point", "spot", "distant"])
def test_lamps_as_by_render(name: str) -> None:
    """The same hits and shadows; without noise, whatever the number of samples."""
    options: dict[str, Any] = {"lights": LIGHTS[name], "tone_mapping": None}
    expected = render(stage(), camera(), shadows=True, **options)
    shot = render_direct(stage(), camera(), samples=1, **options)
    assert torch.equal(shot.color, render_direct(stage(), camera(), samples=3, seed=5, **options).color)
    assert torch.equal(shot.mask, expected.mask)
    for buffer in ("depth", "primitive_ids", "shape_ids"):
        assert torch.equal(getattr(shot, buffer), getattr(expected, buffer)), buffer
    apart = (shot.color - expected.color).abs().amax(-1) / expected.color.max()
    assert apart.quantile(0.98) < 1e-3  # but for grazing views, where normals are turned to the viewer
    assert apart.mean() < 1e-3
    assert (shot.normals - expected.normals).abs().mean() < 1e-3


@pytest.mark.parametrize("light", ["lamp", "three", "environment"])
def test_as_paths_of_two_segments(light: str) -> None:
    scene = stage(LAMP) if light == "lamp" else stage()
    environment = EnvironmentLight(2 * torch.rand(6, 4, 4, 3, generator=torch.Generator().manual_seed(0)))
    lights = {"lamp": [], "three": LIGHTS["three"], "environment": [environment]}[light]
    options: dict[str, Any] = {"lights": lights, "tone_mapping": None}
    direct = [render_direct(scene, camera(), 64, seed, supersampling=4, **options) for seed in range(2)]
    paths = render_path(scene, camera(), 512, 2, **options)
    assert (direct[0].mask - paths.mask).abs().mean() < 5e-3
    inside = paths.mask[0, ..., 0] == 1
    scale = paths.color[0][inside].mean()
    apart = (direct[0].color - paths.color)[0][inside] / scale
    assert apart.abs().mean() < 0.03
    assert apart.mean().abs() < 3e-3
    noise = (direct[0].color - direct[1].color)[0][inside] / scale
    assert noise.abs().mean() < 0.015


@needs_oracles
def test_area_light_of_another_renderer() -> None:
    """Its noise, and what pixels at edges see: there, ours are antialiased by samples."""
    oracle = Oracle("mi_light_area")
    expected = torch.from_numpy(oracle.data["depth2.image"])
    error = torch.from_numpy(oracle.data["depth2.stderr"])
    shot = render_direct(oracle.scene, oracle.camera, 64, supersampling=4, tone_mapping=linear)
    apart = (shot.image[0] - expected).abs()
    assert apart.mean() < 0.01 * expected.mean() + error.mean()
    assert (apart < 0.03 * expected + 5 * error + 2e-3).float().mean() > 0.97
    assert shot.image.mean().item() == pytest.approx(expected.mean().item(), rel=4e-3)


def test_ambient_occlusion() -> None:
    """A ball on the ground: 1 - R^3 / (R^2 + x^2)^1.5 of the light arrives at the distance x, as far as it is seen."""
    radius = 0.5
    ball = icosphere(4)
    ball = replace(ball, positions=radius * ball.positions + torch.tensor([0.0, radius, 0.0]), materials=(WHITE,))
    scene = Scene([plate(20.0, 0.0), ball])
    above = looking_down(9)
    options: dict[str, Any] = {"lights": [AmbientLight()], "tone_mapping": None, "antialias": False}
    shot = render_direct(scene, above, 1024, **options)
    ground = shot.shape_ids == 0
    points = above.rays().origins
    squared = (points[..., 0] ** 2 + points[..., 2] ** 2)[None]
    expected = 1 - radius**3 / (radius**2 + squared) ** 1.5
    white = render_direct(plate(20.0, 0.0), above, 1024, **options).color[ground].mean()
    assert white.item() == pytest.approx(AmbientLight().color.mean().item(), rel=2e-3)
    apart = (shot.color[..., 0] / white - expected)[ground]
    assert apart.abs().max() < 1e-2
    near = render_direct(scene, above, 256, ambient_occlusion=0.2, **options).color[..., 0] / white
    assert (near[ground] >= expected[ground] - 0.02).all()
    assert near[ground & (squared > 0.8)].min() > 0.97  # the ball is farther away than that


# ---- Gradients -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("antialias", "error"), [("fast", 0.04), ("exact", 1e-3)])
def test_gradients_of_silhouettes(antialias: str, error: float) -> None:
    """The light of a bright square before black grows with its size."""
    square = plate(0.5, 0.0, DiffuseMaterial(base_color=(0.0, 0.0, 0.0), emissive=(1.0, 1.0, 1.0)))
    above = looking_down(30)
    factor = torch.tensor(1.03, requires_grad=True)
    mesh = replace(square, positions=square.positions * factor)
    total = render_direct(mesh, above, 1, antialias=antialias, tone_mapping=None).color[..., 0].sum()
    total.backward()
    assert total.item() == pytest.approx(1.03**2 * 100, rel=error)
    assert factor.grad is not None
    assert factor.grad.item() == pytest.approx(2 * 1.03 * 100, rel=error)


def test_surfaces_that_move_have_gradients_of_their_depth_alone() -> None:
    """Away from silhouettes: neither the light nor normals and colours change, as docs/light.md says."""
    wall = torch.tensor([[-9.0, -9.0, 0.0], [9.0, -9.0, 0.0], [0.0, 9.0, 0.0]], requires_grad=True)
    place = torch.tensor([0.5, 0.5, 2.0], requires_grad=True)
    mesh = Mesh(wall, torch.tensor([[0, 1, 2]]), materials=(DiffuseMaterial(base_color=(0.5, 0.5, 0.5)),))
    camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=3.0, fov_y=45.0, size=(4, 4))
    shot = render_direct(mesh, camera, lights=[PointLight(place, intensity=3.0)])
    assert shot.color.min() > 0
    for buffer in (shot.color, shot.mask, shot.normals, shot.albedo):
        if buffer is not None and buffer.requires_grad:
            slopes = torch.autograd.grad(buffer.sum(), [wall, place], retain_graph=True, allow_unused=True)
            assert not any(slope is not None and slope.any() for slope in slopes)
    assert shot.depth is not None
    (slope,) = torch.autograd.grad(shot.depth.sum(), wall)
    assert slope[:, 2].sum() == pytest.approx(-16.0, rel=1e-4)


def test_gradients_of_appearance() -> None:
    """Gradients with respect to single numbers agree with finite differences for the same directions."""
    color = torch.tensor([0.8, 0.5, 0.3], dtype=torch.float64)
    glow, strength = torch.tensor(3.0, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)
    base = stage(LAMP).to(torch.float64)

    def total(color: Tensor, glow: Tensor, strength: Tensor) -> Tensor:
        materials = [
            DiffuseMaterial(base_color=color), PBRMaterial(base_color=color, roughness=0.5),
            DiffuseMaterial(base_color=(0.0, 0.0, 0.0), emissive=glow * torch.ones(3, dtype=torch.float64)),
        ]  # fmt: skip
        meshes = [replace(mesh, materials=(made,)) for mesh, made in zip(base.meshes, materials)]
        lights = [PointLight((2.0, 3.0, 1.0), intensity=strength), AmbientLight(intensity=0.3)]
        shot = render_direct(
            Scene(meshes), camera((6, 8)), 4, seed=3, gradient_seed=3, lights=lights, tone_mapping=None
        )  # fmt: skip
        return shot.color.double().sum()

    leaves = [value.requires_grad_() for value in (color, glow, strength)]
    torch.autograd.gradcheck(total, leaves, eps=1e-3, atol=1e-4, rtol=2e-3)  # lights are of float32


# ---- Calls ---------------------------------------------------------------------------------------------------------


def test_batches() -> None:
    """Images of a batch are those of single calls, each with its seed and its lights."""
    both = [icosphere(2), plate(1.0, 0.0)]
    cameras = PerspectiveCamera.orbit(
        azimuth=torch.tensor([0.0, 90.0]), elevation=20.0, distance=4.0, fov_y=45.0, size=(6, 8)
    )
    lights = [PointLight(torch.tensor([[2.0, 3.0, 1.0], [0.0, 3.0, 0.0]]), intensity=9.0)]
    shots = render_direct(both, cameras, lights=lights)
    assert shots.image.shape == (2, 6, 8, 3)
    assert shots.shape_ids is not None
    assert set(shots.shape_ids.unique().tolist()) == {-1, 0, 1}
    for n in range(2):
        alone = render_direct(both[n], cameras[n], lights=[light.at(n) for light in lights])
        assert torch.equal(shots.image[n], alone.image[0])
    together = render_direct(Scene(both), cameras, lights=lights)
    assert not torch.equal(together.image, shots.image)


def test_backgrounds_and_nothing_to_see() -> None:
    empty = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))
    shot = render_direct(empty, camera((4, 5)), background=(0.2, 0.4, 0.6))
    assert not shot.mask.any()
    assert torch.allclose(shot.image, torch.tensor([0.2, 0.4, 0.6]), atol=1e-6)
    wild = replace(icosphere(1), positions=icosphere(1).positions.index_fill(0, torch.tensor([3]), torch.nan))
    for antialias in (True, "exact"):
        assert render_direct(wild, camera((6, 8)), antialias=antialias).color.isfinite().all()


def test_what_is_refused() -> None:
    ball = icosphere(1)
    for error, match, options in (
        (ValueError, r"^samples: expected an integer from 1", {"samples": 0}),
        (ValueError, r"^seed: expected an integer", {"seed": -1}),
        (ValueError, r"^gradient_seed: expected an integer", {"gradient_seed": -1}),
        (ValueError, r"^antialias: expected True, False, 'fast' or 'exact', got 'best'", {"antialias": "best"}),
        (ValueError, r"^antialias: expected True, False, 'fast' or 'exact', got \[1\]", {"antialias": [1]}),
        (ValueError, r"^supersampling: expected an integer from 1", {"supersampling": 0}),
        (ValueError, r"^ambient_occlusion: expected a positive number, got 0", {"ambient_occlusion": 0.0}),
        (ValueError, r"^ambient_occlusion: expected a positive number, got nan", {"ambient_occlusion": math.nan}),
        (TypeError, r"^lights: expected lights of lumigrad.scene, got int", {"lights": [3]}),
        (ValueError, r"^tone_mapping", {"tone_mapping": "bright"}),
        (TypeError, r"^camera: expected a Camera", {"camera": 3}),
    ):
        with pytest.raises(error, match=match):
            render_direct(ball, **({"camera": camera((4, 5))} | options))
    with pytest.raises(NotImplementedError, match=r"alpha mode"):
        render_direct(replace(ball, materials=(PBRMaterial(alpha_mode="blend"),)), camera((4, 5)))


def test_media_are_refused() -> None:
    ball = replace(icosphere(1), materials=(MediumBoundary(interior=HomogeneousMedium()),))
    camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=4.0, fov_y=40.0, size=(4, 4))
    with pytest.raises(NotImplementedError, match="media"):
        render_direct(Scene([ball]), camera, samples=1)
