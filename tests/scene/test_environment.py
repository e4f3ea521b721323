"""Environment maps: conversions as round trips, prefiltering against sums over the whole sphere in float64."""

from __future__ import annotations

import math

import pytest
import torch
from ops_common import threads

from lumigrad.scene import EnvironmentLight, cube_to_equirect, equirect_to_cube, sky, studio
from lumigrad.scene.light import environment
from lumigrad.scene.light.cubemap import cube_directions, cube_solid_angles, equirect_directions, sample_equirect
from lumigrad.scene.light.environment import prefilter_diffuse, prefilter_specular

F64 = torch.float64


def smooth(directions: torch.Tensor) -> torch.Tensor:
    """A smooth radiance that no symmetry of the cube leaves as it is."""
    x, y, z = torch.nn.functional.normalize(directions, dim=-1).unbind(-1)
    return torch.stack([1 + 0.5 * x + 0.2 * y * z, 1 - 0.4 * y + 0.3 * x * z, 1 + 0.6 * z * z - 0.2 * x], -1)


def unit_directions(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=F64), dim=-1)


@pytest.mark.parametrize("size", [1, 2, 7, 32])
def test_solid_angles_add_up_to_the_sphere(size: int) -> None:
    angles = cube_solid_angles(size, F64)
    assert float(6 * angles.sum()) == pytest.approx(4 * math.pi, rel=1e-12)
    # A texel's angle is about its area times the cosine to it over the squared distance.
    distance = cube_directions(size, F64)[0].norm(dim=-1)
    if size == 32:
        torch.testing.assert_close(angles, (2 / size) ** 2 / distance**3, rtol=1e-3, atol=0)


def test_equirectangular_convention() -> None:
    # The middle looks along -z, +x lies to its right, the first row is up.
    image = torch.arange(32.0, dtype=F64).reshape(4, 8, 1)
    up, right = torch.tensor([[0.0, 1, 0], [0, -1, 0]], dtype=F64), torch.tensor([[1.0, 0, 0], [-1, 0, 0]], dtype=F64)
    ahead = torch.tensor([[0.0, 0, -1], [0.0, 0, 1]], dtype=F64)
    found = sample_equirect(image, torch.stack([up, right, ahead]))[..., 0]
    assert found[0, 0] < 8 < 24 < found[0, 1]
    assert found[1].tolist() == pytest.approx([17.5, 13.5])  # between columns 5 and 6, and 1 and 2
    assert found[2].tolist() == pytest.approx([15.5, 15.5])  # columns 3 and 4; and 7 and 0 across the seam
    directions = equirect_directions(4, 8, F64)
    torch.testing.assert_close(sample_equirect(image, directions), image)


def test_round_trip_of_equirectangular_images_and_cubes() -> None:
    image = smooth(equirect_directions(64, 128, F64))
    cube = equirect_to_cube(image, 48)
    torch.testing.assert_close(cube, smooth(cube_directions(48, F64)), atol=3e-3, rtol=0)
    torch.testing.assert_close(cube_to_equirect(cube, 64), image, atol=3e-3, rtol=0)


def test_minifying_conversions_keep_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(64, 128, 1, generator=generator, dtype=F64)
    cube = equirect_to_cube(image, 4)
    mean = (cube[..., 0] * cube_solid_angles(4, F64)).sum() / (4 * math.pi)
    rows = equirect_directions(64, 1, F64)[:, 0]
    weight = (1 - rows[:, 1] ** 2).sqrt()[:, None, None]
    assert float(mean) == pytest.approx(float((image * weight).sum() / (weight.sum() * 128)), rel=0.01)
    assert cube.std() < 0.1  # means of many, not samples


def integral(cube: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Weighted means [P, 3] over all texels of a cube map; kernel [P, 6 S S]."""
    weight = kernel * cube_solid_angles(cube.shape[1], cube.dtype).reshape(-1).repeat(6)
    return weight @ cube.reshape(-1, 3) / weight.sum(1, keepdim=True)


def ggx_kernel(normals: torch.Tensor, size: int, roughness: float) -> torch.Tensor:
    """D(h) (n.l) for n = v, from the definition of h."""
    light = torch.nn.functional.normalize(cube_directions(size, F64), dim=-1).reshape(-1, 3)
    half = torch.nn.functional.normalize(normals[:, None] + light, dim=-1)
    nh, alpha = (normals[:, None] * half).sum(-1), roughness**2
    density = alpha**2 / (math.pi * (nh**2 * (alpha**2 - 1) + 1) ** 2)
    return density * (normals @ light.T).clamp_min(0)


def test_diffuse_prefilter_against_the_whole_sphere() -> None:
    cube, normals = studio(64).double(), unit_directions(100)
    light = torch.nn.functional.normalize(cube_directions(64, F64), dim=-1).reshape(-1, 3)
    expected = integral(cube, (normals @ light.T).clamp_min(0))
    error = (EnvironmentLight(cube).diffuse(normals) - expected) / expected
    assert error.square().mean().sqrt() < 0.005
    assert error.abs().max() < 0.02


@pytest.mark.parametrize("build", [studio, sky])
def test_specular_prefilter_against_the_whole_sphere(build) -> None:
    size = 64
    cube, mirror = build(size).double(), unit_directions(60)
    light = EnvironmentLight(cube)
    for k in range(1, len(light.levels) + 1):
        roughness = k / len(light.levels)
        expected = integral(cube, ggx_kernel(mirror, size, roughness))
        found = light.specular(mirror, torch.full((60, 1), roughness, dtype=F64))
        error = (found - expected) / expected
        assert error.square().mean().sqrt() < 0.05, roughness
    # Without roughness it is the map itself.
    torch.testing.assert_close(light.specular(mirror, torch.zeros(60, 1, dtype=F64)), light.sample(mirror))


def test_uniform_environments_stay_uniform() -> None:
    for size in (2, 5, 64):
        light = EnvironmentLight(torch.full((6, size, size, 3), 0.7, dtype=F64))
        at = unit_directions(20)
        torch.testing.assert_close(light.diffuse(at), torch.full((20, 3), 0.7, dtype=F64), rtol=1e-12, atol=0)
        found = light.specular(at, torch.linspace(0, 1, 20, dtype=F64)[:, None])
        torch.testing.assert_close(found, torch.full((20, 3), 0.7, dtype=F64), rtol=1e-12, atol=0)


def test_prefilters_are_linear_with_the_right_gradients() -> None:
    cube = torch.rand(6, 4, 4, 1, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: prefilter_diffuse(c, 2), cube)
    assert torch.autograd.gradcheck(lambda c: prefilter_specular(c)[0], cube)
    # A size whose first level is sampled rather than summed: its gradients all together must be its weights.
    large = torch.rand(6, 64, 64, 1, dtype=F64, requires_grad=True)
    fine = prefilter_specular(large, samples=16)[0]
    (slope,) = torch.autograd.grad(fine.sum(), large)
    assert float((slope * large).detach().sum()) == pytest.approx(float(fine.detach().sum()), rel=1e-9)


def test_gradients_of_texels_directions_roughness_and_rotation() -> None:
    cube = torch.rand(6, 2, 2, 3, dtype=F64, requires_grad=True)
    at = unit_directions(3).requires_grad_()
    roughness = torch.tensor([[0.2], [0.5], [0.8]], dtype=F64, requires_grad=True)
    angle, intensity = (torch.tensor(value, dtype=F64, requires_grad=True) for value in (0.3, 2.0))

    def light(cube, at, roughness, angle, intensity):
        c, s, o = angle.cos(), angle.sin(), torch.zeros_like(angle)
        rotation = torch.stack([torch.stack([c, o, s]), torch.stack([o, o + 1, o]), torch.stack([-s, o, c])])
        made = EnvironmentLight(cube, intensity, rotation)
        return made.sample(at), made.diffuse(at), made.specular(at, roughness)

    with threads(1):
        assert torch.autograd.gradcheck(light, (cube, at, roughness, angle, intensity))


def test_rotation_turns_the_map() -> None:
    quarter = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]], dtype=F64)  # +z becomes +x
    cube, at = smooth(cube_directions(16, F64)), unit_directions(10)
    turned = EnvironmentLight(cube, rotation=quarter)
    torch.testing.assert_close(turned.sample(at @ quarter.T), EnvironmentLight(cube).sample(at))


def test_to_and_at() -> None:
    light = EnvironmentLight(studio(16), torch.tensor([1.0, 3.0])).to(F64)
    assert light.levels[0].dtype == light.irradiance.dtype == F64
    at = unit_directions(4)
    torch.testing.assert_close(light.at(1).diffuse(at), 3 * light.at(0).diffuse(at))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EnvironmentLight(torch.ones(6, 4, 5, 3)), "square"),
        (lambda: EnvironmentLight(torch.ones(6, 4, 4, 4)), "cube"),
        (lambda: EnvironmentLight(torch.ones(6, 1, 1, 3)), "cube"),
        (lambda: EnvironmentLight(studio(8), rotation=torch.eye(4)), "rotation"),
        (lambda: equirect_to_cube(torch.ones(4, 4)), "image"),
        (lambda: equirect_to_cube(torch.ones(4, 8, 3), 0), "size"),
        (lambda: cube_to_equirect(torch.ones(6, 2, 2, 3), 0), "height"),
    ],
)
def test_wrong_arguments(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_weights_are_made_once_for_each_size() -> None:
    """Weights are cached per size, also if first made in inference mode, whose tensors autograd could not use later."""
    environment._weights.cache_clear()
    cube = torch.rand(6, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        first = EnvironmentLight(cube)
    made = environment._weights.cache_info().misses
    cube.requires_grad_()
    again = EnvironmentLight(cube)
    assert environment._weights.cache_info().misses == made > 0
    assert torch.equal(again.irradiance, first.irradiance)
    (grad,) = torch.autograd.grad(again.irradiance.sum(), cube)
    # Every direction's weights add up to 1.
    assert grad.sum().item() == pytest.approx(again.irradiance.numel(), rel=1e-4)
