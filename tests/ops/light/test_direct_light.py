"""Direct light at points: closed forms of soft shadows and occlusion, paths of two segments, the reference."""

from __future__ import annotations

import math

import pytest
import torch
from light_common import mixed_scene, plate, row
from ops_common import scaled_error, threads
from torch import Tensor

import lumigrad as lg
from lumigrad import DirectLight, Hits, LitScene, reference
from lumigrad.scene import icosphere

DOUBLE = torch.float64
DOWN = torch.tensor([0.0, -1.0, 0.0], dtype=DOUBLE)


def matt(parts: list[tuple[Tensor, Tensor, Tensor]], **lights: Tensor) -> LitScene:
    """Flat diffuse meshes: vertices, triangles, and a row of `LitScene.materials`, for each."""
    first, tri, numbers = 0, [], []
    for number, (vertices, faces, _) in enumerate(parts):
        tri.append(faces + first)
        numbers.append(torch.full((len(faces),), number))
        first += len(vertices)
    kinds = torch.tensor([[0, 1, -1, -1, -1]]).repeat(len(parts), 1)
    positions, rows = torch.cat([part[0] for part in parts]), torch.stack([part[2] for part in parts])
    return LitScene(positions, torch.cat(tri), rows, kinds, torch.cat(numbers), **lights)


def seen_from(scene: LitScene, origins: Tensor, directions: Tensor) -> Hits:
    return lg.trace(origins, directions, scene.positions, scene.tri)


def on_ground(scene: LitScene, x: float, count: int) -> Hits:
    """Many times the point (x, 0, 0), of the first two triangles."""
    origins = torch.tensor([x, 1e-3, 0.0], dtype=DOUBLE).expand(count, 3)
    hits = seen_from(scene, origins, DOWN)
    assert (hits.tri < 2).all()
    return hits


def irradiance(scene: LitScene, x: float, samples: int, **options: float) -> tuple[float, float]:
    """Of a white ground at (x, 0, 0), and its standard error."""
    found = math.pi * lg.direct_light(scene, on_ground(scene, x, 64), DOWN, samples, **options).radiance[:, 0]
    return found.mean().item(), found.std().item() / 8


# ---- Closed forms --------------------------------------------------------------------------------------------------


def rectangle(low: tuple[float, float], high: tuple[float, float], y: float) -> tuple[Tensor, Tensor]:
    """Parallel to the ground, facing down."""
    (x0, z0), (x1, z1) = low, high
    corners = [[x0, y, z0], [x1, y, z0], [x1, y, z1], [x0, y, z1]]
    return torch.tensor(corners, dtype=DOUBLE), torch.tensor([[0, 1, 2], [0, 2, 3]])


def test_soft_shadow_of_a_half_plane() -> None:
    """A rectangle of light behind an edge that is parallel to its side; the integral in closed form and by numbers."""
    radiance, a, b, h, z, e, x = 2.0, 0.8, 0.5, 2.0, 0.7, 0.1, 0.25
    light = (*rectangle((-a, -b), (a, b), h), row(0.0, radiance))
    roof = (*rectangle((-9.0, -9.0), (e, 9.0), z), row(0.0))
    scene = matt([(*plate(9.0), row(1.0)), light, roof])
    mean, error = irradiance(scene, x, 1024)
    assert error < 2e-3
    assert abs(mean - 0.451798765) < 5 * error
    begin = x + (e - x) * h / z
    u = (torch.arange(2000, dtype=DOUBLE) + 0.5) / 2000 * (a - begin) + begin
    v = (torch.arange(1000, dtype=DOUBLE) + 0.5) / 1000 * 2 * b - b
    cosines = h**2 / ((u[:, None] - x) ** 2 + v**2 + h**2) ** 2
    by_sum = radiance * cosines.sum() * (a - begin) / 2000 * 2 * b / 1000
    assert by_sum.item() == pytest.approx(0.451798765, rel=1e-5)


def test_ambient_occlusion_of_a_sphere_on_a_plane() -> None:
    radius, x = 0.5, 0.9
    ball = icosphere(5).to(DOUBLE)
    ball_at = radius * ball.positions + torch.tensor([0.0, radius, 0.0], dtype=DOUBLE)
    scene = matt(
        [(*plate(9.0), row(1.0)), (ball_at, ball.faces, row(0.0))], environment=torch.ones(6, 2, 2, 3, dtype=DOUBLE)
    )
    mean, error = irradiance(scene, x, 1024)
    assert error < 3e-3
    assert abs(mean / math.pi - (1 - 0.114538427)) < 5 * error + 1e-4  # the sphere is a polyhedron
    assert irradiance(scene, x, 64, reach=0.3)[0] == pytest.approx(math.pi, rel=2e-2)  # it is farther away


def test_reach_of_occlusion() -> None:
    """A roof over everything is seen up to the reach: (height / reach)^2 of the light comes past it."""
    height, reach = 0.6, 1.0
    parts = [(*plate(9.0), row(1.0)), (*rectangle((-9.0, -9.0), (9.0, 9.0), height), row(0.0))]
    scene = matt(parts, environment=torch.ones(6, 2, 2, 3, dtype=DOUBLE))
    mean, error = irradiance(scene, 0.0, 512, reach=reach)
    assert error < 2e-3
    assert abs(mean / math.pi - (height / reach) ** 2) < 5 * error
    assert irradiance(scene, 0.0, 16)[0] < 0.3  # but what comes in from the sides


@pytest.mark.parametrize("samples", [1, 5])
def test_lamps_have_no_noise(samples: int) -> None:
    lamps = torch.tensor(
        [[0.3, 2.0, 0, 0, -1, 0, -1, -2, torch.inf, 0, 0, 1], [0.0, 1.0, 0, 0, 0, 0, -1, -2, torch.inf, 0, 0, 1]],
        dtype=DOUBLE,
    )
    scene = matt(
        [(*plate(9.0), row(1.0)), (*rectangle((-9.0, -9.0), (-0.2, 9.0), 0.7), row(0.0))],
        lamps=lamps, lamp_intensities=torch.tensor([[5.0], [2.0]], dtype=DOUBLE).expand(2, 3),
        lamp_kinds=torch.tensor([1, 0]),
    )  # fmt: skip
    for x in (0.5, -0.5):  # beyond the roof; under it, where the lamp is seen and not the distant one
        mean, error = irradiance(scene, x, samples)
        towards = torch.tensor([0.3 - x, 2.0])
        at_roof = x + (0.3 - x) * 0.7 / 2
        lamp = 0.0 if at_roof < -0.2 else 5 * 2.0 / towards.norm().item() ** 3
        distant = 0.0 if x < -0.2 else 2.0
        assert error < 1e-12
        assert mean == pytest.approx(lamp + distant, rel=1e-4)


def test_as_paths_of_two_segments() -> None:
    """Direct light equals paths of two segments, for every kind of material and light at the points that rays hit."""
    scene = mixed_scene()
    hits, directions = seen_points(scene)
    hits, directions = Hits(*(value[1:4].flatten(0, 1) for value in hits)), directions[1:4].flatten(0, 1)
    origin = torch.tensor([0.0, 0.0, 6.0], dtype=DOUBLE).expand(2, 2, 3)
    runs = 16
    direct = torch.stack([lg.direct_light(scene, hits, directions, 64, seed=i).radiance for i in range(runs)])
    corners = directions[:, None, None].expand(-1, 2, 2, 3)  # for pixels without extent
    paths = torch.stack([
        torch.stack([
            lg.trace_paths(scene, origin, corner, 64, 2, 100 * i + k).radiance[0, 0]
            for k, corner in enumerate(corners)
        ])
        for i in range(runs)
    ])  # fmt: skip
    variance = (direct.var(0) + paths.var(0)) / runs
    z = (direct.mean(0) - paths.mean(0)) / (variance + 1e-12).sqrt()
    assert z.abs().max() < 6
    assert (z**2).mean() < 1.3
    assert direct.var(0).mean() < 0.3 * paths.var(0).mean()  # with the same number of samples
    assert not direct[:, hits.tri < 0].any()


# ---- The reference ------------------------------------------------------------------------------------------------


def seen_points(scene: LitScene, dtype: torch.dtype = DOUBLE) -> tuple[Hits, Tensor]:
    """Some points of the scene, one of them nowhere."""
    b, a = torch.meshgrid(torch.linspace(0.25, -0.4, 5), torch.linspace(-0.4, 0.4, 6), indexing="ij")
    directions = torch.stack((a, b, -torch.ones_like(a)), -1).to(DOUBLE)
    hits = seen_from(scene, torch.tensor([0.0, 0.0, 6.0], dtype=DOUBLE), directions)
    hits.tri[0, 0] = -1
    return hits._replace(bary=hits.bary.to(dtype), t=hits.t.to(dtype)), directions.to(dtype)


@pytest.mark.parametrize("reach", [math.inf, 0.8])
def test_against_the_reference(reach: float) -> None:
    scene = mixed_scene()
    points = seen_points(scene)
    got = lg.direct_light(scene, *points, 3, reach, seed=3)
    expected = reference.direct_light(scene, *points, 3, reach, seed=3)
    for name in DirectLight._fields:
        assert scaled_error(getattr(got, name), getattr(expected, name)) < 1e-10, name
        assert not getattr(got, name)[0, 0].any()
    single = lg.direct_light(mixed_scene(torch.float32), *seen_points(scene, torch.float32), 3, reach, seed=3)
    for name in DirectLight._fields:
        close = (getattr(single, name).double() - getattr(expected, name)).abs() < 1e-4 * getattr(expected, name).max()
        assert close.double().mean() > 0.9, name  # now and then, a rounding makes another direction


@pytest.mark.parametrize("gradient_seed", [3, 11])
def test_gradients_against_autograd(gradient_seed: int) -> None:
    """Gradients equal autograd's through the definition with the same directions."""
    scene = mixed_scene()
    points = seen_points(scene)
    weight = torch.rand(5, 6, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(5))
    results = []
    for light in (lg.direct_light, reference.direct_light):
        names = ("materials", "corner_colors", "lamp_intensities", "environment")
        leaves = {name: getattr(scene, name).clone().requires_grad_() for name in names}
        textures = [image.clone().requires_grad_() for image in scene.textures]
        out = light(scene._replace(**leaves, textures=textures), *points, 3, 2.0, 3, gradient_seed)
        asked = [*leaves.values(), *textures]
        results.append(torch.autograd.grad((out.radiance * weight).sum(), asked))
    for have, want in zip(*results):
        assert want.abs().max() > 0
        assert scaled_error(have, want) < 1e-9


def test_gradients_against_finite_differences() -> None:
    scene = mixed_scene()
    points = seen_points(scene)

    def total(intensities: Tensor) -> Tensor:
        changed = scene._replace(lamp_intensities=intensities)
        return lg.direct_light(changed, *points, 4, seed=2, gradient_seed=2).radiance.sum()

    assert scene.lamp_intensities is not None
    leaf = scene.lamp_intensities.clone().requires_grad_()
    torch.autograd.gradcheck(total, (leaf,))


# ---- Robustness ----------------------------------------------------------------------------------------------------


def test_bits_do_not_depend_on_threads() -> None:
    scene = mixed_scene(torch.float32)
    points = seen_points(mixed_scene(), torch.float32)
    results = []
    for count in (1, 3):
        with threads(count):
            leaf = scene.materials.clone().requires_grad_()
            out = lg.direct_light(scene._replace(materials=leaf), *points, 3)
            out.radiance.sum().backward()
            results.append((out.radiance.detach(), leaf.grad))
    assert all(torch.equal(one, two) for one, two in zip(*results))


@pytest.mark.parametrize("light", [lg.direct_light, reference.direct_light])
def test_nothing_to_see(light) -> None:
    scene = mixed_scene()
    hits, directions = seen_points(scene)
    points = Hits(*(value[2:3] for value in hits)), directions[2:3]
    nothing = Hits(torch.full((2, 3), -1, dtype=torch.int32), torch.zeros(2, 3, 2).double(), torch.zeros(2, 3).double())
    assert not torch.cat(light(scene, nothing, DOWN, 1)).any()
    none = Hits(points[0].tri[:0], points[0].bary[:0], points[0].t[:0])
    assert light(scene, none, DOWN, 1).radiance.shape == (0, 6, 3)
    dark = scene._replace(
        lamps=None, lamp_intensities=None, lamp_kinds=None, environment=None, rotation=None,
        materials=torch.cat((scene.materials[:, :9], torch.zeros_like(scene.materials[:, 9:])), 1),
    )  # fmt: skip
    out = light(dark, *points, 2)
    assert not out.radiance.any()
    assert out.albedo.any()
    empty = matt([(torch.zeros(0, 3, dtype=DOUBLE), torch.zeros(0, 3, dtype=torch.int64), row(1.0))])
    assert not light(empty, nothing, DOWN, 2).radiance.any()


def test_wrong_calls() -> None:
    scene = mixed_scene()
    hits, directions = seen_points(scene)
    for error, match, changes in (
        (TypeError, r"^scene: expected a LitScene", {"scene": None}),
        (TypeError, r"^hits: expected what lumigrad.trace returns", {"hits": None}),
        (ValueError, r"^hits.bary: expected shape", {"hits": hits._replace(bary=hits.bary[..., :1])}),
        (ValueError, r"^hits.tri: expected numbers in", {"hits": hits._replace(tri=hits.tri + 100000)}),
        (ValueError, r"^directions: expected a shape that broadcasts", {"directions": directions[:3]}),
        (TypeError, r"^directions: expected torch.float64", {"directions": directions.float()}),
        (ValueError, r"^samples: expected an integer from 1", {"samples": 0}),
        (ValueError, r"^reach: expected a positive number, got 0", {"reach": 0.0}),
        (ValueError, r"^reach: expected a positive number, got nan", {"reach": math.nan}),
        (TypeError, r"^reach: expected a number", {"reach": "far"}),
        (ValueError, r"^seed: expected an integer", {"seed": -1}),
        (ValueError, r"^gradient_seed: expected an integer", {"gradient_seed": -1}),
    ):
        with pytest.raises(error, match=match):
            lg.direct_light(**({"scene": scene, "hits": hits, "directions": directions} | changes))
