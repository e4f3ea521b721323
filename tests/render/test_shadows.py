"""Shadows of punctual lights in `render`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lumigrad.render import render, render_path
from lumigrad.render.surface import Surface
from lumigrad.scene import (
    AmbientLight,
    DirectionalLight,
    Mesh,
    PBRMaterial,
    PerspectiveCamera,
    PointCloud,
    PointLight,
    Scene,
    SpotLight,
    icosphere,
)
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.lights import Light, PunctualLight

ABOVE = PerspectiveCamera.orbit(azimuth=20.0, elevation=55.0, distance=5.0, fov_y=45.0, size=(48, 64))


def plate(half: float, height: float) -> Mesh:
    """A square that looks up."""
    corners = torch.tensor([[-1.0, 0, 1], [1, 0, 1], [1, 0, -1], [-1, 0, -1]])
    up = torch.tensor([0.0, height, 0.0])
    return Mesh(half * corners + up, torch.tensor([[0, 1, 2], [0, 2, 3]])).creased(0.0)


def arriving(surface: Surface, lights: Sequence[Light], camera: Camera) -> Tensor:
    """The fraction of the first light that arrives, and the points."""
    assert isinstance(lights[0], PunctualLight)
    return torch.cat((lights[0].falloff(surface.position)[1], surface.position), -1)


def on_ground(scene: Scene, light: Light, camera: Camera = ABOVE) -> tuple[Tensor, Tensor]:
    """What arrives at points [P] of the ground y = 0, and x and z of them."""
    shot = render(scene, camera, lights=[light], shading=arriving, antialias=False, tone_mapping=None, shadows=True)
    part, x, y, z = shot.color[shot.mask[..., 0] > 0].unbind(-1)
    ground = y.abs() < 1e-4
    return part[ground], torch.stack((x, z), -1)[ground]


@pytest.mark.parametrize("height", [0.5, 1.5])
def test_a_square_shadow(height: float) -> None:
    """Of a light at height 3 over (0.2, -0.1); none where the occluder is above the light."""
    center, half = torch.tensor([0.2, -0.1]), 0.4
    scene = Scene([plate(3.0, 0.0), plate(half, height), plate(1.0, 4.0)])
    light = PointLight((0.2, 3.0, -0.1), attenuation=(1.0, 0.0, 0.0))
    part, place = on_ground(scene, light)
    grow = 3.0 / (3.0 - height)
    beside = ((place - center) / grow + center).abs().amax(-1) - half  # from the occluder's edge, in its plane
    clear = beside.abs() > 1e-4
    assert (part[clear] == (beside > 0)[clear].float()).all()
    assert 20 < (part == 0).sum() < len(part) - 20


def test_parallel_light_and_cones() -> None:
    scene = Scene([plate(3.0, 0.0), plate(0.4, 1.0)])
    part, place = on_ground(scene, DirectionalLight((1.0, 1.0, 0.0)))
    beside = (place - torch.tensor([-1.0, 0.0])).abs().amax(-1) - 0.4
    clear = beside.abs() > 1e-4
    assert (part[clear] == (beside > 0)[clear].float()).all()
    lamp = SpotLight((0.0, 3.0, 0.0), direction=(0.0, -1.0, 0.0), inner=29.0, outer=30.0, attenuation=(1.0, 0.0, 0.0))
    part, place = on_ground(scene, lamp)
    radius = place.norm(dim=-1)
    assert not part[place.abs().amax(-1) < 0.59].any()
    assert (part[(place.abs().amax(-1) > 0.61) & (radius < 1.6)] > 0.9).all()
    assert not part[radius > 1.8].any()


@pytest.mark.parametrize("creased", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_convex_shape_does_not_shadow_itself(creased: bool, dtype: torch.dtype) -> None:
    """Wherever a facet faces the light, smooth or not: no spots, no bands where light grazes the surface."""
    ball = icosphere(2).to(dtype)
    mesh = replace(ball.creased(0.0) if creased else ball, positions=100 + 3 * ball.positions)
    camera = PerspectiveCamera.orbit(
        azimuth=0.0, elevation=25.0, distance=10.0, fov_y=45.0, size=(60, 60), target=(100.0, 100.0, 100.0)
    )
    light = DirectionalLight((1.0, 0.3, 0.2))

    def lit(surface: Surface, lights: Sequence[Light], camera: Camera) -> Tensor:
        assert isinstance(lights[0], PunctualLight)
        direction, part = lights[0].falloff(surface.position)
        facing = (surface.geometric_normal * direction).sum(-1, keepdim=True)
        return torch.cat((part, facing), -1)

    shot = render(mesh, camera, lights=[light], shading=lit, antialias=False, tone_mapping=None, shadows=True)
    part, facing = shot.color[shot.mask[..., 0] > 0].unbind(-1)
    assert (facing > 1e-3).sum() > 300 < (facing < -1e-3).sum()
    assert part[facing > 1e-3].all()
    assert not part[facing < -1e-3].any()


def test_as_a_path_tracer() -> None:
    """Direct light of a point light on the same materials: the same images, but for pixels that edges cut."""
    material = PBRMaterial(base_color=torch.tensor([0.8, 0.5, 0.3]), metallic=0.3, roughness=0.6)
    shapes = [
        plate(3.0, 0.0),
        replace(icosphere(3), positions=0.5 * icosphere(3).positions + torch.tensor([0, 0.8, 0])),
    ]
    scene = Scene([replace(mesh, materials=(material,)) for mesh in shapes])
    lights = [PointLight((2.0, 3.0, 1.0), intensity=20.0)]
    options = {"lights": lights, "tone_mapping": None}
    plain = render(scene, ABOVE, supersampling=4, shadows=True, **options)
    paths = render_path(scene, ABOVE, samples=64, max_depth=2, **options)
    apart = (plain.color - paths.color).abs().amax(-1) / paths.color.max()
    assert apart.quantile(0.95) < 0.01
    assert apart.mean() < 0.004
    bright = render(scene, ABOVE, supersampling=4, **options)
    assert (bright.color - paths.color).abs().mean() > 5 * (plain.color - paths.color).abs().mean()


def test_gradients_of_lights_and_materials() -> None:
    color = torch.tensor([0.8, 0.5, 0.3], requires_grad=True)
    place = torch.tensor([0.1, 3.0, 0.0], dtype=torch.float64, requires_grad=True)
    scene = Scene([replace(mesh, materials=(PBRMaterial(base_color=color),)) for mesh in (plate(3, 0), plate(0.4, 1))])

    def total(place: Tensor) -> Tensor:
        shot = render(scene, ABOVE, lights=[PointLight(place, intensity=9.0)], tone_mapping=None, shadows=True)
        return shot.color[shot.depth[..., 0] > 4.9].double().sum()  # the ground before the shadow: no edge in it

    gradient, tint = torch.autograd.grad(total(place), (place, color))
    assert (tint > 0).all()
    step = torch.tensor([0.0, 1e-2, 0.0], dtype=torch.float64)
    by_steps = (total(place + step) - total(place - step)) / 2e-2
    assert gradient[1].item() == pytest.approx(by_steps.item(), rel=1e-2)


def test_each_image_has_the_shadows_of_its_mesh() -> None:
    """In a batch, each image has the shadows of its own mesh; surrounding light casts none."""
    ground, both = plate(3.0, 0.0), [plate(3.0, 0.0), plate(0.4, 1.0)]
    offset = len(both[0].positions)
    joined = Mesh(
        torch.cat([mesh.positions for mesh in both]), torch.cat([both[0].faces, both[1].faces + offset])
    ).creased(0.0)
    light = DirectionalLight((1.0, 1.0, 0.0), intensity=2.0)
    shots = render([joined, ground], ABOVE, lights=[light], shadows=True)
    alone = render(joined, ABOVE, lights=[light], shadows=True), render(ground, ABOVE, lights=[light])
    for n, shot in enumerate(alone):
        assert torch.equal(shots.color[n], shot.color[0])
    assert not torch.equal(alone[0].color, render(joined, ABOVE, lights=[light]).color)
    around = [AmbientLight()]
    assert torch.equal(
        render(joined, ABOVE, lights=around, shadows=True).color, render(joined, ABOVE, lights=around).color
    )


@pytest.mark.parametrize("shading", ["phong", "flat", "unlit", "normals", "depth"])
def test_shaders(shading: str) -> None:
    """All but Gouraud's: darker in the shadow where there is light, and else the same."""
    scene, light = Scene([plate(3.0, 0.0), plate(0.4, 1.0)]), [DirectionalLight((1.0, 1.0, 0.0))]
    dark, bright = (render(scene, ABOVE, shading=shading, lights=light, shadows=on).color for on in (True, False))
    if shading in ("phong", "flat"):
        assert (dark <= bright).all()
        assert (dark < bright).any()
    else:
        assert torch.equal(dark, bright)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^shadows: .*gouraud"):
        render(icosphere(1), ABOVE, shading="gouraud", shadows=True)
    with pytest.raises(ValueError, match=r"^shadows: only meshes"):
        render(PointCloud(torch.zeros(1, 3)), ABOVE, shadows=True)
    with pytest.raises(TypeError, match=r"^shadows: expected a bool"):
        render(icosphere(1), ABOVE, shadows=1)  # type: ignore[arg-type]

    def elsewhere(surface: Surface, lights: Sequence[Light], camera: Camera) -> Tensor:
        assert isinstance(lights[0], PunctualLight)
        return lights[0].radiance(surface.position[:1])[1]

    with pytest.raises(ValueError, match=r"^points: shadows are known at"):
        render(icosphere(1), ABOVE, shading=elsewhere, lights=[PointLight()], shadows=True)


def test_nothing_to_see() -> None:
    light = [DirectionalLight()]
    empty = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))
    assert not render(empty, ABOVE, lights=light, shadows=True).mask.any()
    wild = replace(icosphere(1), positions=icosphere(1).positions.index_fill(0, torch.tensor([3]), torch.nan))
    assert render(wild, ABOVE, lights=light, shadows=True).color.isfinite().all()
