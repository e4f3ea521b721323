"""Each light against its closed form, and its gradients."""

from __future__ import annotations

import math

import pytest
import torch

from lumigrad.scene import AmbientLight, DirectionalLight, Light, Lighting, PointLight, PunctualLight, SpotLight

F64 = torch.float64


def points(count: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_directional_light_is_the_same_everywhere() -> None:
    light = DirectionalLight((0.0, 3.0, 4.0), (1.0, 0.5, 0.25), 2.0)
    direction, incoming = light.radiance(points())
    torch.testing.assert_close(direction, torch.tensor([0.0, 0.6, 0.8], dtype=F64).expand(5, 3))
    torch.testing.assert_close(incoming, torch.tensor([2.0, 1.0, 0.5], dtype=F64).expand(5, 3))


def test_point_light_above_a_plane() -> None:
    # Irradiance of a plane at distance x from the foot of a light at height h is I cos^3(a) / h^2, tan(a) = x / h.
    height, strength = 1.5, 3.0
    x = torch.linspace(0, 4, 9, dtype=F64)
    plane = torch.stack([x, torch.zeros_like(x), torch.zeros_like(x)], -1)
    direction, incoming = PointLight((0.0, height, 0.0), intensity=strength).radiance(plane)
    cosine = (1 + (x / height) ** 2) ** -0.5
    torch.testing.assert_close(incoming[:, 0] * direction[:, 1], strength * cosine**3 / height**2)


def test_attenuation_and_range() -> None:
    at = torch.tensor([[2.0, 0, 0], [3.0, 0, 0], [5.0, 0, 0]], dtype=F64)
    _, incoming = PointLight(attenuation=(1.0, 0.5, 0.25)).radiance(at)
    torch.testing.assert_close(incoming[:, 0], 1 / torch.tensor([1 + 1 + 1, 1 + 1.5 + 2.25, 1 + 2.5 + 6.25], dtype=F64))
    _, incoming = PointLight(range=4.0).radiance(at)
    expected = torch.tensor([(1 - 0.5**4) / 4, (1 - 0.75**4) / 9, 0.0], dtype=F64)
    torch.testing.assert_close(incoming[:, 0], expected)


def test_spot_light_cones() -> None:
    spot = SpotLight((0.0, 0.0, 2.0), direction=(0.0, 0.0, -2.0), inner=20.0, outer=40.0)
    angle = torch.tensor([0.0, 19.9, 30.0, 40.1, 80.0, 180.0], dtype=F64).deg2rad()
    at = torch.stack([angle.sin(), torch.zeros_like(angle), 2 - angle.cos()], -1)  # at distance 1 of the light
    _, incoming = spot.radiance(at)
    between = (math.cos(math.radians(30)) - math.cos(math.radians(40))) / (
        math.cos(math.radians(20)) - math.cos(math.radians(40))
    )
    torch.testing.assert_close(incoming[:, 1], torch.tensor([1, 1, between**2, 0, 0, 0], dtype=F64))


def test_spot_light_that_fades_with_the_angle() -> None:
    """A spot light that fades with the angle has half its light half-way, as in Mitsuba."""
    angle = torch.tensor([0.0, 19.9, 25.0, 30.0, 40.1, 180.0], dtype=F64).deg2rad()
    at = torch.stack([angle.sin(), torch.zeros_like(angle), 2 - angle.cos()], -1)
    spot = SpotLight((0.0, 0.0, 2.0), direction=(0.0, 0.0, -2.0), inner=20.0, outer=40.0, fade="angle").to(F64)
    torch.testing.assert_close(spot.radiance(at)[1][:, 1], torch.tensor([1, 1, 0.75, 0.5, 0, 0], dtype=F64))
    inner, outer = (torch.tensor(v, dtype=F64, requires_grad=True) for v in (20.0, 40.0))

    def light(inner: torch.Tensor, outer: torch.Tensor) -> torch.Tensor:
        cone = SpotLight((0.0, 0.0, 2.0), direction=(0.0, 0.1, -2.0), inner=inner, outer=outer, fade="angle")
        return cone.to(F64).radiance(at)[1]

    assert torch.autograd.gradcheck(light, (inner, outer))


def test_gradients_on_the_axis_of_a_spot_light_are_finite() -> None:
    """The arc cosine has no derivative there."""
    at = torch.zeros(1, 3, dtype=F64, requires_grad=True)
    spot = SpotLight((0.0, 0.0, 2.0), inner=0.0, outer=40.0, fade="angle").to(F64)
    spot.radiance(at)[1].sum().backward()
    assert bool(at.grad is not None and at.grad.isfinite().all())
    with pytest.raises(ValueError, match="fade: expected 'cosine' or 'angle', got 'linear'"):
        SpotLight(fade="linear")


def test_ambient_light() -> None:
    light = AmbientLight((0.2, 0.4, 0.6), 0.5)
    expected = torch.tensor([0.1, 0.2, 0.3], dtype=F64).expand(5, 3)
    torch.testing.assert_close(light.diffuse(points()), expected)
    torch.testing.assert_close(light.specular(points(), torch.ones(5, 1, dtype=F64)), expected)


def test_light_at_the_point_itself_is_dark_with_finite_gradients() -> None:
    for attenuation in (None, (0.0, 1.0, 0.0)):
        position = torch.zeros(3, dtype=F64, requires_grad=True)
        direction, incoming = PointLight(position, attenuation=attenuation).radiance(torch.zeros(1, 3, dtype=F64))
        (direction.sum() + incoming.sum()).backward()
        assert incoming.abs().max() == 0
        assert position.grad is not None
        assert position.grad.isfinite().all()


def test_batched_parameters_are_one_set_an_image() -> None:
    colors = torch.rand(2, 3, dtype=F64)
    light = PointLight(torch.tensor([[0.0, 1, 0], [0, 3, 0]], dtype=F64), colors, torch.tensor([1.0, 2.0], dtype=F64))
    at = points(8).reshape(2, 2, 2, 3)
    direction, incoming = light.radiance(at)
    for n in range(2):
        single = light.at(n)
        assert single.color.shape == (3,)
        for both, one in zip((direction, incoming), single.radiance(at[n]), strict=True):
            torch.testing.assert_close(both[n], one)


LIGHTS: dict[str, tuple[type[PunctualLight], dict[str, object]]] = {
    "directional": (DirectionalLight, {"direction": [0.3, 1.0, 0.2], "color": [0.5, 0.4, 0.3], "intensity": 2.0}),
    "inverse square": (PointLight, {"position": [0.3, 2.0, 0.2], "color": [0.5, 0.4, 0.3], "intensity": 2.0}),
    "range": (PointLight, {"position": [0.3, 2.0, 0.2], "range": 9.0}),
    "attenuation": (PointLight, {"position": [0.3, 2.0, 0.2], "attenuation": [0.5, 0.1, 0.2]}),
    "spot": (
        SpotLight,
        {"position": [0.3, 2.0, 0.2], "direction": [0.1, -1.0, 0.0], "inner": 5.0, "outer": 70.0, "intensity": 2.0},
    ),
}


@pytest.mark.parametrize("name", LIGHTS)
def test_gradients(name: str) -> None:
    kind, values = LIGHTS[name]
    at = (0.3 * points(3)).requires_grad_()
    leaves = [torch.tensor(value, dtype=F64, requires_grad=True) for value in values.values()]

    def radiance(at: torch.Tensor, *parameters: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return kind(**dict(zip(values, parameters, strict=True))).radiance(at)

    assert torch.autograd.gradcheck(radiance, (at, *leaves))


def test_lighting_as_lights_is_the_same_light() -> None:
    lighting, eye = Lighting(), torch.tensor([2.0, 1.0, 3.0], dtype=F64)
    at, normal = points(), torch.nn.functional.normalize(points(seed=1), dim=-1)
    total = torch.zeros(5, 3, dtype=F64)
    for light in lighting.lights(eye):
        if isinstance(light, PunctualLight):
            direction, incoming = light.radiance(at)
            total += incoming * (direction * normal).sum(-1, keepdim=True).clamp_min(0)
        else:
            assert isinstance(light, AmbientLight)
            total += light.diffuse(normal)
    # Numbers such as 0.45 come through float32 here and not there.
    torch.testing.assert_close(total[:, :1], lighting.shade(at, normal, eye[None])[0], atol=1e-6, rtol=0)


def test_to_moves_every_tensor() -> None:
    moved = SpotLight(range=3.0).to(F64)
    assert isinstance(moved, SpotLight)
    assert all(v.dtype == F64 for v in vars(moved).values() if isinstance(v, torch.Tensor))


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "message"),
    [
        (DirectionalLight, {"direction": (1.0, 2.0)}, ValueError, "direction"),
        (DirectionalLight, {"color": "white"}, TypeError, "color"),
        (PointLight, {"position": torch.zeros(1, 2, 3)}, ValueError, "position"),
        (PointLight, {"intensity": torch.ones(1, 1)}, ValueError, "intensity"),
        (PointLight, {"attenuation": (1.0, 0.0)}, ValueError, "attenuation"),
        (SpotLight, {"inner": 50.0}, ValueError, "inner"),
        (AmbientLight, {"color": None}, TypeError, "color"),
    ],
)
def test_wrong_arguments(kind: type[Light], arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        kind(**arguments)
