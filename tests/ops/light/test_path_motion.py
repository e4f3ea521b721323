"""Gradients of paths to shapes, rays and lamps, in scenes where nothing is covered or uncovered."""

from __future__ import annotations

import math

import pytest
import torch
from light_common import box_inside, layered_scene, mixed_scene, pixel_rays, plate, rays_down, row
from ops_common import scaled_error, threads
from torch import Tensor

import lumigrad as lg
from lumigrad import LitScene, reference
from lumigrad.scene import icosphere
from lumigrad.scene.light.cubemap import cube_directions

DOUBLE = torch.float64
MOVING = ("positions", "corner_normals", "corner_uvs", "lamps", "rotation")


def matt(positions: Tensor, tri: Tensor, *rows: Tensor, of: list[int] | None = None, **more: Tensor) -> LitScene:
    """Flat diffuse triangles of the materials `rows`."""
    kinds = torch.tensor([[0, 0, -1, -1, -1]]).repeat(len(rows), 1)
    numbers = torch.zeros(len(tri), dtype=torch.long) if of is None else torch.tensor(of)
    return LitScene(positions, tri, torch.stack(rows), kinds, numbers, **more)


def lamp(position: Tensor, **changes: object) -> dict[str, Tensor]:
    """A lamp at a point, of intensity 1 and with the falloff of the square of the distance."""
    place = torch.cat((position, torch.tensor([0.0, -1.0, 0.0, -1.0, -2.0, math.inf, 0.0, 0.0, 1.0], dtype=DOUBLE)))
    lights = {
        "lamps": place[None],
        "lamp_intensities": torch.ones(1, 3, dtype=DOUBLE),
        "lamp_kinds": torch.tensor([1]),
    }
    return lights | changes  # type: ignore[return-value]


def leaves_of(scene: LitScene, names: tuple[str, ...]) -> tuple[LitScene, list[Tensor]]:
    leaves = {name: getattr(scene, name).clone().requires_grad_() for name in names}
    return scene._replace(**leaves), list(leaves.values())


def turned_scene() -> LitScene:
    """Every kind of material and light, and an environment that is turned."""
    turn = torch.linalg.qr(torch.tensor([[1.0, 0.3, 0.2], [-0.1, 1.0, 0.4], [0.3, 0.2, 1.0]], dtype=DOUBLE))[0]
    return mixed_scene()._replace(rotation=turn * torch.linalg.det(turn).sign())


@pytest.fixture
def without_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out visibility gradients, which are sampled separately and have their own tests."""
    monkeypatch.setattr("lumigrad.ops.light._trace_paths.add_path_edges", lambda out, *_: out)


# ---- Definition ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [2, 7])
def test_against_autograd(depth: int, without_edges: None) -> None:
    """Gradients equal autograd's through the definition with the same paths."""
    weight = torch.rand(3, 5, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(5))
    results = []
    for trace in (lg.trace_paths, reference.trace_paths):
        scene, leaves = leaves_of(turned_scene(), MOVING)
        rays = [ray.requires_grad_() for ray in pixel_rays(3, 5, distance=6.0)]
        out = trace(scene, *rays, 3, depth, 3, 3)
        results.append(torch.autograd.grad((out.radiance * weight).sum(), [*leaves, *rays]))
    for have, want in zip(*results):
        assert want.abs().max() > 0.1
        assert scaled_error(have, want) < 1e-9


def test_cones_that_fade_with_the_angle_against_autograd(without_edges: None) -> None:
    """Of all columns of the lamp, and of what it lights."""
    ground, tri = plate(3.0)
    positions = torch.stack((ground[:, 0], -ground[:, 2], ground[:, 1]), -1)  # faces the rays
    results = []
    for trace in (lg.trace_paths, reference.trace_paths):
        lights = lamp(torch.tensor([0.3, 0.1, 2.0], dtype=DOUBLE), lamp_kinds=torch.tensor([2]))
        lights["lamps"][0, 3:9] = torch.tensor([0.1, 0.2, -1.0, 0.1, 0.9, 7.0], dtype=DOUBLE)
        scene, leaves = leaves_of(matt(positions, tri, row(0.8), **lights), ("positions", "lamps"))
        rays = [ray.requires_grad_() for ray in pixel_rays(3, 5, distance=6.0)]
        out = trace(scene, *rays, 2, 2, 3, 3)
        results.append(torch.autograd.grad(out.radiance.square().sum(), [*leaves, *rays]))
    for have, want in zip(*results):
        assert want.abs().max() > 1e-3
        assert scaled_error(have, want) < 1e-9
    assert (results[0][1][0, 6:8] != 0).all()


def test_normal_maps_second_coordinates_and_absorption_against_autograd() -> None:
    names = ("positions", "corner_normals", "corner_uvs", "corner_second_uvs", "lamps")
    weight = torch.rand(3, 5, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(5))
    results = []
    for trace in (lg.trace_paths, reference.trace_paths):
        scene, leaves = leaves_of(layered_scene(), names)
        rays = [ray.requires_grad_() for ray in pixel_rays(3, 5, distance=6.0)]
        out = trace(scene, *rays, 6, 6, 3, 3)
        results.append(torch.autograd.grad((out.radiance * weight).sum(), [*leaves, *rays]))
    for have, want in zip(*results):
        assert want.abs().max() > 1e-3
        assert scaled_error(have, want) < 1e-8


def test_float32() -> None:
    scene, rays = turned_scene(), pixel_rays(4, 5, distance=6.0)
    results = []
    for dtype in (torch.float32, DOUBLE):
        values = (v.to(dtype) if isinstance(v, Tensor) and v.is_floating_point() else v for v in scene)
        one, leaves = leaves_of(LitScene(*values)._replace(textures=[t.to(dtype) for t in scene.textures]), MOVING)
        out = lg.trace_paths(one, *(ray.to(dtype) for ray in rays), 4, 2, 3, 3)
        results.append(torch.autograd.grad(out.radiance.sum(), leaves))
    for have, want in zip(*results):
        assert scaled_error(have, want) < 2e-3


def test_what_is_not_asked_for_changes_no_bits() -> None:
    """Gradients to materials are the same whether those to shapes are computed, too."""
    scene, rays = turned_scene(), pixel_rays(4, 5, distance=6.0)
    found = []
    for names in (("materials",), ("materials", "positions")):
        one, leaves = leaves_of(scene, names)
        found.append(torch.autograd.grad(lg.trace_paths(one, *rays, 4, 5).radiance.sum(), leaves)[0])
    assert torch.equal(*found)


def test_bits_do_not_depend_on_threads() -> None:
    found = []
    for count in (1, 3):
        with threads(count):
            scene, leaves = leaves_of(turned_scene(), MOVING)
            rays = [ray.requires_grad_() for ray in pixel_rays(12, 13, distance=6.0)]
            out = lg.trace_paths(scene, *rays, 2, 5)
            found.append(torch.autograd.grad(out.radiance.sum(), [*leaves, *rays]))
    assert all(torch.equal(a, b) for a, b in zip(*found))


# ---- Invariances, path by path ---------------------------------------------------------------------------------------


def _slopes(scene: LitScene, rays: list[Tensor], depth: int, *by: Tensor) -> tuple[Tensor, ...]:
    """Derivatives with respect to numbers from which scene and rays were made."""
    loss = lg.trace_paths(scene, *rays, 4, depth).radiance.square().sum()
    return torch.autograd.grad(loss, by, retain_graph=True)


def _turning(angles: Tensor) -> Tensor:
    return torch.linalg.matrix_exp(torch.stack([
        torch.stack([0 * angles[0], -angles[2], angles[1]]),
        torch.stack([angles[2], 0 * angles[0], -angles[0]]),
        torch.stack([-angles[1], angles[0], 0 * angles[0]]),
    ]))  # fmt: skip


@pytest.mark.parametrize("depth", [2, 6])
def test_moving_everything_changes_nothing(depth: int) -> None:
    """Shapes, lamps and rays together. What comes from the environment would stay where it is."""
    scene, rays = mixed_scene()._replace(environment=None), pixel_rays(4, 5, distance=6.0)
    shift, angles = (torch.zeros(3, dtype=DOUBLE, requires_grad=True) for _ in range(2))
    turn = _turning(angles)
    assert scene.lamps is not None
    assert scene.lamp_kinds is not None
    assert scene.corner_normals is not None
    at_point = (scene.lamp_kinds == 1)[:, None] * shift
    lamps = torch.cat((scene.lamps[:, :3] @ turn.T + at_point, scene.lamps[:, 3:6] @ turn.T, scene.lamps[:, 6:]), -1)
    moved = scene._replace(
        positions=scene.positions @ turn.T + shift, corner_normals=scene.corner_normals @ turn.T, lamps=lamps
    )
    moved_rays = [rays[0] @ turn.T + shift, rays[1] @ turn.T]
    shapes_alone = scene._replace(positions=scene.positions @ turn.T + shift)
    assert all(slope.norm() > 0.1 for slope in _slopes(shapes_alone, list(rays), depth, shift, angles))
    assert all(slope.norm() < 1e-10 for slope in _slopes(moved, moved_rays, depth, shift, angles))


def test_size_does_not_matter_to_lights_with_an_area(without_edges: None) -> None:
    scene = mixed_scene()._replace(environment=None, lamps=None, lamp_intensities=None, lamp_kinds=None)
    rays, size = pixel_rays(4, 5, distance=6.0), torch.ones((), dtype=DOUBLE, requires_grad=True)
    larger = scene._replace(positions=size * scene.positions)
    assert _slopes(larger, list(rays), 6, size)[0].abs() > 1e-3
    assert _slopes(larger, [size * rays[0], rays[1]], 6, size)[0].abs() < 1e-12


# ---- Finite differences ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*MOVING[:4], "origins", "directions"])
def test_light_of_lamps_against_finite_differences(name: str) -> None:
    """Of what lamps send to surfaces of every kind; with the same random numbers, nothing of that is random."""
    scene = mixed_scene()
    dark = scene.materials.clone()
    dark[:, 9:] = 0
    scene, rays = scene._replace(materials=dark, environment=None), dict(zip(("origins", "directions"), pixel_rays(
        4, 5, distance=6.0)))  # fmt: skip

    def radiance(value: Tensor) -> Tensor:
        one = scene if name in rays else scene._replace(**{name: value})
        given = rays | ({name: value} if name in rays else {})
        return lg.trace_paths(one, given["origins"], given["directions"], 4, 2, 9, 9).radiance

    start = (rays[name] if name in rays else getattr(scene, name)).clone().requires_grad_()
    generator = torch.Generator().manual_seed(1)
    towards = torch.randn(start.shape, dtype=DOUBLE, generator=generator)
    if name == "corner_normals":  # those of flat faces stay: there it has a kink where rays leave
        towards *= ((start - start[:, :1]).abs().amax((1, 2), keepdim=True) > 1e-6).detach()
    (slope,) = torch.autograd.grad(radiance(start).sum(), start)
    h = 1e-7
    with torch.no_grad():
        change = (radiance(start + h * towards) - radiance(start - h * towards)).sum() / (2 * h)
    expected = (torch.nan_to_num(slope) * towards).sum()
    assert abs(expected) > 0.05
    assert abs(change - expected) < 1e-5 * slope.abs().max() + 1e-5 * abs(expected)


def test_emission_seen_by_a_moving_camera() -> None:
    """A texture that glows: what moves is where each ray meets it."""
    ground, tri = plate(2.0)
    uv = torch.tensor([[0.1, 0.2], [0.1, 0.9], [0.8, 0.9], [0.8, 0.2]], dtype=DOUBLE)[tri]
    image = torch.rand(6, 5, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(2))
    scene = matt(ground, tri, row(0.0, 1.0))._replace(
        kinds=torch.tensor([[0, 0, -1, -1, 0]]), textures=[image], corner_uvs=uv
    )
    origins, directions = pixel_rays(3, 4, distance=1.0, size=1.0, down=True)
    shift = torch.zeros(3, dtype=DOUBLE, requires_grad=True)

    def sides(by: Tensor) -> Tensor:
        return lg.trace_paths(scene, origins + by, directions, 2, 1, 5, 5).radiance.square().sum()

    (slope,) = torch.autograd.grad(sides(shift), shift)
    h = 1e-6
    with torch.no_grad():
        steps = h * torch.eye(3, dtype=DOUBLE)
        change = torch.stack([(sides(step) - sides(-step)) / (2 * h) for step in steps])
    assert slope.abs().max() > 0.1
    assert (slope - change).abs().max() < 1e-5


# ---- Closed forms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "x"), [(1.3, 0.0), (0.7, 1.1)])
def test_light_at_a_point(height: float, x: float) -> None:
    """E = h / (h^2 + x^2)^1.5, whatever moves: the lamp, the ground below the ray, or the ray."""
    place = torch.tensor([0.0, height, 0.0], dtype=DOUBLE, requires_grad=True)
    ground, tri = plate(9.0)
    ground.requires_grad_()
    origins, directions = rays_down(x)
    origins.requires_grad_()
    out = lg.trace_paths(matt(ground, tri, row(1.0), **lamp(place)), origins, directions, 1, 2)
    slopes = torch.autograd.grad(math.pi * out.radiance.mean(), (place, ground, origins))
    squared = height**2 + x**2
    by_height, by_x = (x**2 - 2 * height**2) / squared**2.5, -3 * height * x / squared**2.5
    assert abs(slopes[0][1] - by_height) < 1e-4
    assert abs(slopes[0][0] + by_x) < 1e-4
    assert abs(slopes[1][:, 1].sum() + by_height) < 1e-4
    assert abs(slopes[2].sum((0, 1))[0] - by_x) < 1e-4
    assert abs(slopes[2].sum((0, 1))[1]) < 1e-4  # along the ray


def polygon_irradiance(corners: Tensor, point: Tensor, normal: Tensor) -> Tensor:
    """Of light of radiance 1 from a polygon above the horizon (Lambert 1760)."""
    v = torch.nn.functional.normalize(corners - point, dim=-1)
    following = v.roll(-1, 0)
    axes = torch.nn.functional.normalize(torch.linalg.cross(v, following), dim=-1)
    angles = (v * following).sum(-1).acos()
    return 0.5 * (angles * (axes @ normal)).sum().abs()


def test_polygon_light() -> None:
    """All of its corners and the ground below it, by the formula for polygons."""
    top = torch.tensor([[-0.2, 0.9, -0.5], [0.8, 1.2, -0.4], [0.9, 1.4, 0.7], [-0.4, 1.0, 0.6]], dtype=DOUBLE)
    ground, tri = plate(9.0)
    level = torch.zeros((), dtype=DOUBLE, requires_grad=True)
    point = torch.tensor([0.1, 0.0, 0.0], dtype=DOUBLE) + level * torch.tensor([0.0, 1.0, 0.0], dtype=DOUBLE)
    flat = top.clone().requires_grad_()
    # Two triangles, of which both light the point.
    halves = [flat[[0, 1, 2]], flat[[0, 2, 3]]]
    up = torch.tensor([0.0, 1.0, 0.0], dtype=DOUBLE)
    known = sum(polygon_irradiance(half, point, up) for half in halves)
    assert isinstance(known, Tensor)
    expected = torch.autograd.grad(known, (flat, level))
    faces = torch.cat((tri, torch.tensor([[4, 5, 6], [4, 6, 7]])))
    found = []
    for seed in range(12):
        positions = torch.cat((ground, top)).requires_grad_()
        scene = matt(positions, faces, row(1.0), row(0.0, 1.0), of=[0, 0, 1, 1])
        out = lg.trace_paths(scene, *rays_down(0.1), 2000, 2, seed=seed)
        (slope,) = torch.autograd.grad(math.pi * out.radiance.mean(), positions)
        found.append(torch.cat((slope[4:].reshape(-1), slope[:4, 1].sum()[None])))
    mean, error = torch.stack(found).mean(0), torch.stack(found).std(0) / math.sqrt(len(found))
    wanted = torch.cat((expected[0].reshape(-1), expected[1][None]))
    assert (error < 0.05 * wanted.abs().max()).all()
    assert ((mean - wanted).abs() < 5 * error + 1e-4).all()


def test_environment_that_turns() -> None:
    """The light of a rotated environment on a plane agrees with quadrature over the map."""
    cube = 1 + 0.6 * cube_directions(4, DOUBLE)  # red from x on, green from y on, blue from z on
    angles = torch.tensor([0.2, -0.4, 0.3], dtype=DOUBLE, requires_grad=True)
    count = 300
    z = (torch.arange(count, dtype=DOUBLE) + 0.5) / count
    phi = (torch.arange(2 * count, dtype=DOUBLE) + 0.5) / count * math.pi
    z, phi = torch.meshgrid(z, phi, indexing="ij")
    r = (1 - z**2).sqrt()
    d = torch.stack((r * phi.cos(), z, r * phi.sin()), -1)
    light = lg.texture_cube(cube[None], (d @ _turning(angles))[None], filter="linear")[0]
    (expected,) = torch.autograd.grad(2 * math.pi * (light[..., 2] * z).mean(), angles)
    found = []
    for seed in range(12):
        scene = matt(*plate(9.0), row(1.0), environment=cube, rotation=_turning(angles))
        out = lg.trace_paths(scene, *rays_down(0.0), 2000, 2, seed=seed)
        found.append(torch.autograd.grad(math.pi * out.radiance[..., 2].mean(), angles)[0])
    mean, error = torch.stack(found).mean(0), torch.stack(found).std(0) / math.sqrt(len(found))
    assert ((mean - expected).abs() < 5 * error + 1e-3).all()
    assert (error < 0.05 * expected.norm()).all()


def test_corners_of_an_enclosure_do_not_matter() -> None:
    """Light in a closed box of one reflectance and emission is the same everywhere, whatever its shape."""
    positions, tri = box_inside()
    material = row(0.6, 0.5)
    found = []
    for seed in range(12):
        leaf = positions.clone().requires_grad_()
        out = lg.trace_paths(matt(leaf, tri, material), *pixel_rays(2, 2), 500, 4, seed=seed)
        found.append(torch.autograd.grad(out.radiance.mean(), leaf)[0])
    mean, error = torch.stack(found).mean(0), torch.stack(found).std(0) / math.sqrt(len(found))
    assert (mean.abs() < 5 * error).all()
    assert error.max() < 0.05


def test_white_convex_shapes_cannot_be_seen() -> None:
    """In uniform light: no gradient within the outline, by positions, normals or rays."""
    ball = icosphere(1)
    scene = LitScene(
        ball.positions.double(), ball.faces, row(1.0)[None], torch.tensor([[0, 1, -1, -1, -1]]),
        torch.zeros(len(ball.faces), dtype=torch.long), environment=torch.full((6, 2, 2, 3), 0.6, dtype=DOUBLE),
    )  # fmt: skip
    found = []
    for seed in range(12):
        one, leaves = leaves_of(scene, ("positions",))
        rays = [ray.requires_grad_() for ray in pixel_rays(2, 2, distance=3.0, size=0.2)]
        out = lg.trace_paths(one, *rays, 500, None, seed=seed)
        assert out.alpha.min() == 1
        slopes = torch.autograd.grad(out.radiance.mean(), [*leaves, *rays])
        found.append(torch.cat([slope.reshape(-1) for slope in slopes]))
    mean, error = torch.stack(found).mean(0), torch.stack(found).std(0) / math.sqrt(len(found))
    assert (mean.abs() < 5 * error + 1e-12).all()
