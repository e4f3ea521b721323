"""Paths of light: closed forms, furnaces, the reference with all gradients, independence of threads, wrong calls."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from light_common import box_inside, bumpy_scene, layered_scene, mixed_scene, pixel_rays, plate, rays_down, row
from ops_common import scaled_error, threads
from torch import Tensor

import lumigrad as lg
from lumigrad import LitScene, TracedPaths, reference
from lumigrad.reference.light._sampling import emitters, mean_emission

DOUBLE = torch.float64
TRACERS = pytest.mark.parametrize("trace", [lg.trace_paths, reference.trace_paths])


def matt(positions: Tensor, tri: Tensor, *rows: Tensor, of: list[int] | None = None, **lights: Tensor) -> LitScene:
    """Flat diffuse triangles of the materials `rows`."""
    kinds = torch.tensor([[0, 0, -1, -1, -1]]).repeat(len(rows), 1)
    numbers = torch.zeros(len(tri), dtype=torch.long) if of is None else torch.tensor(of)
    return LitScene(positions, tri, torch.stack(rows), kinds, numbers, **lights)


def lamp(position: tuple[float, ...], intensity: float = 1.0, **changes: float) -> dict[str, Tensor]:
    values = {"inner": -1.0, "outer": -2.0, "reach": math.inf} | changes
    place = [*position, 0.0, -1.0, 0.0, values["inner"], values["outer"], values["reach"], 0.0, 0.0, 1.0]
    return {
        "lamps": torch.tensor([place], dtype=DOUBLE),
        "lamp_intensities": torch.full((1, 3), intensity, dtype=DOUBLE),
        "lamp_kinds": torch.tensor([1]),
    }


def irradiance(scene: LitScene, x: float = 0.0, samples: int = 1, seed: int = 0) -> tuple[float, float]:
    """Of a white ground at (x, 0, 0), seen from above, and its standard error from 16 parts of the samples."""
    found = torch.stack([
        lg.trace_paths(scene, *rays_down(x), samples=samples, max_depth=2, seed=seed + i).radiance.mean()
        for i in range(16)
    ])  # fmt: skip
    return math.pi * found.mean().item(), math.pi * found.std().item() / 4


# ---- Closed forms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "x"), [(1.3, 0.0), (0.7, 1.1)])
def test_light_at_a_point(height: float, x: float) -> None:
    scene = matt(*plate(9.0), row(1.0), **lamp((0.0, height, 0.0), 5.0))
    expected = 5 * height / (height**2 + x**2) ** 1.5
    assert abs(irradiance(scene, x)[0] - expected) < 1e-4 * expected  # the pixel has a size


def test_cones_that_fade_with_the_angle() -> None:
    """Half the light half way between the cones, none outside, all inside; on the axis without a bright cone, too."""
    lights = lamp((0.0, 2.0, 0.0), inner=0.2, outer=0.6) | {"lamp_kinds": torch.tensor([2])}
    for angle, part in ((0.0, 1.0), (0.1, 1.0), (0.3, 0.75), (0.4, 0.5), (0.5, 0.25), (0.7, 0.0)):
        expected = part * math.cos(angle) ** 3 / 4
        found = irradiance(matt(*plate(9.0), row(1.0), **lights), 2 * math.tan(angle))[0]
        assert abs(found - expected) < 2e-3 * expected + 1e-12, angle
    lights["lamps"][0, 6] = 0.0
    assert abs(irradiance(matt(*plate(9.0), row(1.0), **lights))[0] - 0.25) < 0.25 * 2e-2


def test_cones_reach_and_falloff_of_lamps() -> None:
    lights = lamp((0.0, 2.0, 0.0), inner=math.cos(0.2), outer=math.cos(0.6), reach=4.0)
    scene = matt(*plate(9.0), row(1.0), **lights)
    for angle in (0.1, 0.4, 0.5, 0.7):
        x, d = 2 * math.tan(angle), 2 / math.cos(angle)
        cone = min(max((math.cos(angle) - math.cos(0.6)) / (math.cos(0.2) - math.cos(0.6)), 0), 1) ** 2
        expected = cone * (1 - (d / 4) ** 4) * math.cos(angle) / d**2
        assert abs(irradiance(scene, x)[0] - expected) < 2e-3
    lights["lamps"][0, 9:] = torch.tensor([0.5, 0.25, 0.0])
    assert abs(irradiance(matt(*plate(9.0), row(1.0), **lights))[0] - (1 - 0.5**4) / (0.5 + 0.5)) < 1e-3


def test_distant_light_and_its_shadow() -> None:
    lights = lamp((0.0, 3.0, 4.0), 2.0) | {"lamp_kinds": torch.tensor([0])}
    ground, tri = plate(9.0)
    assert abs(irradiance(matt(ground, tri, row(1.0), **lights))[0] - 2 * 0.6) < 1e-9
    roof = torch.tensor([[-1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [0.0, 1.0, 2.0]], dtype=DOUBLE)  # on the way to the light
    tri = torch.cat((tri, torch.tensor([[4, 5, 6]])))
    shaded = matt(torch.cat((ground, roof)), tri, row(1.0), **lights)
    assert irradiance(shaded)[0] == 0


@pytest.mark.parametrize(("a", "b", "h", "factor"), [(0.7, 1.1, 1.3, 0.0884080756), (2.0, 0.5, 0.4, None)])
def test_rectangle_over_its_corner(a: float, b: float, h: float, factor: float | None) -> None:
    """Irradiance over pi below the corner of a parallel rectangle that emits."""
    A, B = a / h, b / h
    first = A / math.hypot(1, A) * math.atan(B / math.hypot(1, A))
    known = (first + B / math.hypot(1, B) * math.atan(A / math.hypot(1, B))) / (2 * math.pi)
    assert factor is None or abs(known - factor) < 1e-9
    ground, tri = plate(9.0)
    top = torch.tensor([[0.0, h, 0.0], [a, h, 0.0], [a, h, b], [0.0, h, b]], dtype=DOUBLE)
    faces = torch.cat((tri, torch.tensor([[4, 5, 6], [4, 6, 7]])))
    scene = matt(torch.cat((ground, top)), faces, row(1.0), row(0.0, 3.0), of=[0, 0, 1, 1])
    # Seen from below the light, which hides the ground from above.
    corners = rays_down(0.0, height=h / 2)
    found = torch.stack([lg.trace_paths(scene, *corners, 400, 2, seed=i).radiance.mean() for i in range(16)])
    assert abs(found.mean().item() / 3 - known) < 5 * found.std().item() / 4 / 3 + 1e-5


def test_sphere_light() -> None:
    """E = pi L (R / d)^2 cos, of a ball with many faces."""
    from lumigrad.scene import icosphere

    ball = icosphere(3)
    ground, tri = plate(9.0)
    radius, place = 0.5, torch.tensor([0.9, 1.6, 0.0], dtype=DOUBLE)
    positions = radius * ball.positions.double() + place
    faces = torch.cat((tri, ball.faces.long() + 4))
    scene = matt(torch.cat((ground, positions)), faces, row(1.0), row(0.0, 2.0), of=[0, 0] + [1] * len(ball.faces))
    d = place.norm().item()
    expected = math.pi * 2 * (radius / d) ** 2 * (1.6 / d)
    got, error = irradiance(scene, samples=200)
    assert abs(got - expected) < 5 * error + 0.01 * expected  # the ball with faces is smaller


@pytest.mark.parametrize("depth", [1, 2, 3, 7])
def test_closed_enclosure_counts_segments(depth: int) -> None:
    """Walls of reflectance r that emit Le: the sum of depth terms of a geometric series, in every pixel."""
    r, emitted = torch.tensor([0.8, 0.5, 0.0], dtype=DOUBLE), 0.7
    material = torch.cat(
        (r, torch.tensor([1.0, 0.0, 1.5, 0, 0, 0], dtype=DOUBLE), torch.full((3,), emitted, dtype=DOUBLE))
    )
    scene = matt(*box_inside(), material)
    means = torch.stack([
        lg.trace_paths(scene, *pixel_rays(6, 6), 40, depth, seed=i).radiance.mean((0, 1)) for i in range(16)
    ])  # fmt: skip
    expected = emitted * (1 - r**depth) / (1 - r)
    assert ((means.mean(0) - expected).abs() <= 5 * means.std(0) / 4 + 1e-9).all()


def test_derivative_of_the_enclosure_by_its_reflectance() -> None:
    """dL/dr of Le (1 - r^D) / (1 - r), also at r = 0, where light behind the first surface is black."""
    depth, emitted = 5, 0.7
    r = torch.tensor([0.8, 0.5, 0.0], dtype=DOUBLE)
    material = torch.cat((r, torch.tensor([1.0, 0.0, 1.5, 0, 0, 0, emitted, emitted, emitted], dtype=DOUBLE)))
    material.requires_grad_()
    scene = matt(*box_inside(), material)
    slopes = []
    for i in range(16):
        out = lg.trace_paths(scene, *pixel_rays(4, 4), 60, depth, seed=i)
        slopes.append(torch.autograd.grad(out.radiance.mean((0, 1)).sum(), material, retain_graph=True)[0])
    found = torch.stack(slopes)
    powers = torch.arange(1, depth, dtype=DOUBLE)
    expected = emitted * (powers * r[:, None] ** (powers - 1)).sum(-1)
    assert ((found.mean(0)[:3] - expected).abs() < 5 * found.std(0)[:3] / 4 + 1e-5).all()
    by_emission = (1 - r**depth) / (1 - r)
    assert ((found.mean(0)[9:] - by_emission).abs() < 5 * found.std(0)[9:] / 4 + 1e-5).all()


@pytest.mark.parametrize("kind", ["diffuse", "smooth glass"])
def test_furnace(kind: str) -> None:
    """In uniform light, surfaces that reflect everything cannot be seen."""
    from lumigrad.scene import icosphere

    ball = icosphere(1)
    glass, material = kind == "smooth glass", row(1.0)
    material[3] = 0.0 if glass else 1.0
    kinds = torch.tensor([[3 if glass else 0, 1, -1, -1, -1]])
    scene = LitScene(
        ball.positions.double(), ball.faces, material[None], kinds,
        torch.zeros(len(ball.faces), dtype=torch.long), environment=torch.full((6, 4, 4, 3), 0.6, dtype=DOUBLE),
    )  # fmt: skip
    found = torch.stack([
        lg.trace_paths(scene, *pixel_rays(8, 8, distance=3.0), 20, None, seed=i).radiance.sum() for i in range(16)
    ])  # fmt: skip
    seen = 0.6 * 3 * lg.trace_paths(scene, *pixel_rays(8, 8, distance=3.0), 20 * 16, 1).alpha.sum()
    assert abs(found.mean() - seen) < 5 * found.std() / 4 + 0.01 * seen


def test_environment_is_drawn_as_it_shines() -> None:
    """The irradiance of a plane by quadrature over the map, which has one bright texel; the map is turned."""
    cube = torch.rand(6, 4, 4, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    cube[2, 1, 2] = 200.0
    turn = torch.linalg.qr(torch.tensor([[1.0, 0.3, 0.2], [-0.1, 1.0, 0.4], [0.3, 0.2, 1.0]], dtype=DOUBLE))[0]
    turn = turn * torch.linalg.det(turn).sign()
    scene = matt(*plate(9.0), row(1.0), environment=cube, rotation=turn)
    count = 400
    z = (torch.arange(count, dtype=DOUBLE) + 0.5) / count
    phi = (torch.arange(2 * count, dtype=DOUBLE) + 0.5) / count * math.pi
    z, phi = torch.meshgrid(z, phi, indexing="ij")
    r = (1 - z**2).sqrt()
    d = torch.stack((r * phi.cos(), z, r * phi.sin()), -1)
    light = lg.texture_cube(cube[None], (d @ turn)[None], filter="linear")[0]
    expected = 2 * math.pi * (light * z[..., None]).mean()
    got, error = irradiance(scene, samples=500)
    assert error < 0.02 * expected
    assert abs(got - expected) < 5 * error


# ---- Materials and textures ----------------------------------------------------------------------------------------


def test_buffers_tell_of_what_is_seen_first() -> None:
    scene = matt(*plate(1.0), row(0.3))
    out = lg.trace_paths(scene, *rays_down(0.0, height=2.0), 3, 1)
    assert torch.allclose(out.depth, torch.full_like(out.depth, 2.0))
    assert torch.allclose(out.normals, torch.tensor([0.0, 1.0, 0.0], dtype=DOUBLE).expand_as(out.normals))
    assert torch.allclose(out.albedo, torch.full_like(out.albedo, 0.3))
    beside = lg.trace_paths(scene, *rays_down(5.0), 3, 1)
    assert all((value == 0).all() for value in beside._replace(through=beside.through - 1))


def test_textures_are_looked_up_as_by_the_op() -> None:
    ground, tri = plate(1.0)
    image = torch.rand(3, 5, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(2))
    uv = torch.tensor([[-0.7, 0.2], [1.3, 0.1], [1.9, 1.4], [-0.3, 2.2]], dtype=DOUBLE)
    scene = matt(ground, tri, row(0.8))._replace(
        kinds=torch.tensor([[0, 0, 0, -1, -1]]), textures=[image], corner_uvs=uv[tri]
    )
    x = 0.31
    out = lg.trace_paths(scene, *rays_down(x, size=1e-7), 1, 1)
    # The second triangle holds (x, 0): corners 0, 2, 3 of the square.
    face = next(f for f in range(2) if inside(ground[tri[f]][:, [0, 2]], x, 0.0) is not None)
    weights = inside(ground[tri[face]][:, [0, 2]], x, 0.0)
    assert weights is not None
    at = (weights[:, None] * uv[tri[face]]).sum(0)
    expected = 0.8 * lg.texture(image[None], at[None, None, None], filter="linear")[0, 0, 0]
    assert torch.allclose(out.albedo[0, 0], expected, atol=1e-6)


def inside(corners: Tensor, x: float, y: float) -> Tensor | None:
    """Weights of a triangle's corners at a point of the plane, None outside of it."""
    matrix = torch.cat((corners.T, torch.ones(1, 3, dtype=DOUBLE)))
    weights = torch.linalg.solve(matrix, torch.tensor([x, y, 1.0], dtype=DOUBLE))
    return weights if bool((weights >= 0).all()) else None


# ---- Definition and gradients --------------------------------------------------------------------------------------


SCENES = pytest.mark.parametrize("make_scene", [mixed_scene, layered_scene])


@pytest.mark.parametrize("make_scene", [mixed_scene, layered_scene, bumpy_scene])
def test_against_the_reference(make_scene: Callable[[], LitScene]) -> None:
    scene, rays = make_scene(), pixel_rays(5, 6, distance=6.0)
    got = lg.trace_paths(scene, *rays, 3, 7, seed=3)
    expected = reference.trace_paths(scene, *rays, 3, 7, seed=3)
    for name in TracedPaths._fields:
        assert scaled_error(getattr(got, name), getattr(expected, name)) < 1e-10, name
    single = lg.trace_paths(*_in_float(scene, rays), 3, 7, seed=3)
    for name in TracedPaths._fields:
        close = (getattr(single, name).double() - getattr(expected, name)).abs() < 1e-4 * getattr(expected, name).max()
        assert close.double().mean() > 0.9, name  # now and then, a rounding makes another path


def _in_float(scene: LitScene, rays: tuple[Tensor, Tensor]) -> tuple[LitScene, Tensor, Tensor]:
    def single(value: object) -> object:
        if isinstance(value, Tensor) and value.is_floating_point():
            return value.float()
        return tuple(single(v) for v in value) if isinstance(value, tuple) else value

    return LitScene(*(single(value) for value in scene)), rays[0].float(), rays[1].float()


@SCENES
@pytest.mark.parametrize("gradient_seed", [3, 11])
def test_gradients_against_autograd(make_scene: Callable[[], LitScene], gradient_seed: int) -> None:
    """Gradients equal autograd's through the definition with the same paths."""
    scene, rays = make_scene(), pixel_rays(4, 5, distance=6.0)
    weight = torch.rand(4, 5, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(5))
    results = []
    for trace in (lg.trace_paths, reference.trace_paths):
        names = ("materials", "corner_colors", "lamp_intensities", "environment")
        leaves = {
            name: getattr(scene, name).clone().requires_grad_() for name in names if getattr(scene, name) is not None
        }
        textures = [image.clone().requires_grad_() for image in scene.textures]
        out = trace(scene._replace(**leaves, textures=textures), *rays, 4, 7, 3, gradient_seed)
        asked = [*leaves.values(), *textures]
        results.append(torch.autograd.grad((out.radiance * weight).sum(), asked, allow_unused=True))
    without = 0
    for have, want in zip(*results):
        if want is None or bool((want == 0).all()):
            assert (have == 0).all()
            without += 1
        else:
            assert scaled_error(have, want) < 1e-9
    assert without == (1 if make_scene is layered_scene else 0)  # the alpha of a mask


def test_gradients_of_long_paths() -> None:
    """Of more surfaces than the CPU keeps (native/light/path_stream_cpu.h), beside shorter ones."""
    bright = torch.tensor([0.98, 0.97, 0.96, 1.0, 0.0, 1.5, 0, 0, 0, 0.7, 0.7, 0.7], dtype=DOUBLE)
    rays, slopes = pixel_rays(3, 4), []
    for trace in (lg.trace_paths, reference.trace_paths):
        material = bright.clone().requires_grad_()
        scene = matt(*box_inside(), material)
        slopes.append(torch.autograd.grad(trace(scene, *rays, 4, 20, 3, 11).radiance.sum(), material)[0])
    assert scaled_error(*slopes) < 1e-9
    shorter = lg.trace_paths(scene, *rays, 4, 12, 3).radiance
    assert (lg.trace_paths(scene, *rays, 4, 20, 3).radiance > shorter).all()


def test_gradients_against_finite_differences() -> None:
    """The same random numbers on both sides; of roughness the paths change, so it is looked at on the mean of many."""
    scene, rays = mixed_scene(), pixel_rays(4, 4, distance=6.0)
    materials = scene.materials.clone().requires_grad_()

    def loss(rows: Tensor) -> Tensor:
        return lg.trace_paths(scene._replace(materials=rows), *rays, 16, 4, 9, 9).radiance.sum()

    (slope,) = torch.autograd.grad(loss(materials), materials)
    for column in (9, 10):  # emission: linear, and drawn by its share of the only light that changes
        step = torch.zeros_like(materials)
        step[2, column] = 1e-4
        difference = (loss(materials + step) - loss(materials - step)) / 2e-4
        assert abs(difference - slope[2, column]) < 2e-3 * slope.abs().max()


def test_independent_seeds_leave_no_bias() -> None:
    """The gradient of the sum of squares of a noisy image: with one seed it is too large by the noise's variance."""
    ground, tri = plate(9.0)
    intensity = torch.ones(2, 3, dtype=DOUBLE, requires_grad=True)
    places = torch.tensor([[0.0, 1.0, 0.0], [0.0, 2.0, 0.0]], dtype=DOUBLE)
    rest = torch.tensor([0.0, -1.0, 0.0, -1.0, -2.0, math.inf, 0.0, 0.0, 1.0], dtype=DOUBLE).expand(2, 9)
    scene = matt(
        ground, tri, row(1.0), lamps=torch.cat((places, rest), -1), lamp_intensities=intensity,
        lamp_kinds=torch.tensor([1, 1]),
    )  # fmt: skip
    rays = pixel_rays(24, 24, size=1e-3, down=True)

    def slope(gradient_seed: int | None) -> Tensor:
        out = lg.trace_paths(scene, *rays, 1, 2, 4, gradient_seed)
        return torch.autograd.grad(out.radiance.square().sum(), intensity)[0].sum()

    truth = 2 * 24 * 24 * 3 * ((1 + 0.25) / math.pi) ** 2
    assert abs(slope(None) / truth - 1) < 0.08
    assert slope(4) / truth - 1 > 0.2  # (2^2 + .5^2) / 2 over (1.25)^2, less one: 36 %


# ---- Engine ----------------------------------------------------------------------------------------------------------


def test_bits_do_not_depend_on_threads() -> None:
    scene, rays = mixed_scene(), pixel_rays(20, 21, distance=6.0)
    found = []
    for count in (1, 3):
        with threads(count):
            materials = scene.materials.clone().requires_grad_()
            out = lg.trace_paths(scene._replace(materials=materials), *rays, 2, 5)
            found.append([*(v.detach() for v in out), *torch.autograd.grad(out.radiance.sum(), materials)])
    assert all(torch.equal(a, b) for a, b in zip(*found))


@pytest.mark.parametrize("make_scene", [mixed_scene, bumpy_scene])
def test_side_by_side_as_one_by_one(make_scene: Callable[[], LitScene]) -> None:
    """Paths in lanes are those that are shaded alone, as all are where any material lets light pass."""
    scene, *rays = _in_float(make_scene(), pixel_rays(20, 21, distance=6.0))
    scene = scene.completed()
    unused = torch.zeros(1, scene.kinds.shape[1], dtype=torch.long)
    unused[0, 2:10] = -1
    unused[0, 10] = 2  # the alpha mode "blend"
    alone = scene._replace(
        materials=torch.cat((scene.materials, scene.materials[:1])), kinds=torch.cat((scene.kinds, unused))
    )
    for samples, depth in ((1, 1), (3, 2), (5, 7)):
        together = lg.trace_paths(scene, *rays, samples, depth, seed=5)
        expected = lg.trace_paths(alone, *rays, samples, depth, seed=5)
        for name in TracedPaths._fields:  # sums over a pixel's paths have another order
            assert scaled_error(getattr(together, name), getattr(expected, name)) < 1e-6, name


def test_a_pixel_does_not_depend_on_what_surrounds_it() -> None:
    """A pixel does not depend on its surroundings: its random numbers depend only on its number."""
    scene, (origins, directions) = mixed_scene(), pixel_rays(6, 6, distance=6.0)
    whole = lg.trace_paths(scene, origins, directions, 2, 4)
    top = lg.trace_paths(scene, origins[:4], directions[:4], 2, 4)
    assert all(torch.equal(a[:3], b) for a, b in zip(whole, top))


@TRACERS
def test_nothing_to_see(trace) -> None:
    kinds = torch.tensor([[0, 0, -1, -1, -1]])
    scene = LitScene(
        torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long), row(0.5)[None].float(), kinds,
        torch.zeros(0, dtype=torch.long),
    )  # fmt: skip
    origins, directions = (v.float() for v in pixel_rays(2, 3))
    out = trace(scene, origins, directions, 2)
    assert out.radiance.shape == (2, 3, 3)
    assert all((value == 0).all() for value in out._replace(through=out.through - 1))


@TRACERS
def test_everything_is_on_the_device_of_the_scene(trace) -> None:
    """All tensors are on the scene's device, not on torch's default device."""
    scene, rays = mixed_scene(), pixel_rays(2, 2)
    expected = trace(scene, *rays, samples=1, max_depth=3)
    with torch.device("meta"):
        out = trace(scene, *rays, samples=1, max_depth=3)
    assert all(torch.equal(a, b) for a, b in zip(out, expected))


def test_trees_of_any_layout() -> None:
    scene, rays = mixed_scene(), pixel_rays(8, 8)
    tree = lg.build_bvh(scene.positions, scene.tri)
    loose = tree._replace(
        boxes=tree.boxes.mT.contiguous().mT,
        children=tree.children.T.contiguous().T,
        corners=tree.corners.mT.contiguous().mT,
        tri=tree.tri.T.contiguous().T,
    )
    out, same = (lg.trace_paths(scene, *rays, samples=2, bvh=each) for each in (tree, loose))
    assert all(torch.equal(a, b) for a, b in zip(out, same))
    assert out.alpha.max() == 1


def test_triangles_with_wrong_indices_do_not_emit() -> None:
    """Triangles with invalid indices, which are not checked on a device, do not emit."""
    positions, tri = plate(1.0)
    emission = torch.tensor([[0.0] * 3, [2.0] * 3], dtype=DOUBLE)
    tri = torch.cat((tri, tri, tri + 2, tri - 1))
    of_faces = torch.tensor([1, 0, 1, 2, 1, 1, 1, 1])
    faces, sums, numbers = emitters(positions, tri, emission, of_faces)
    assert faces.tolist() == [0, 2]
    assert numbers.tolist() == [0, -1, 1, -1, -1, -1, -1, -1]
    assert sums.tolist() == [0.0, 0.5, 1.0]
    kinds = torch.tensor([[0, 1, -1, -1, 0], [0, 1, -1, -1, 7]])
    materials = torch.stack((row(0.5, emission=1.0), row(0.5, emission=1.0)))
    dark = mean_emission(materials, kinds, [torch.full((2, 2, 3), 0.25, dtype=DOUBLE)])
    assert dark.tolist() == [[0.25] * 3, [1.0] * 3]


def test_wrong_calls() -> None:
    scene, rays = mixed_scene(), pixel_rays(2, 2)
    wrong = [
        (scene._replace(tri=scene.tri + 9999), ValueError, r"scene.tri: expected numbers in \[0, \d+\)"),
        (scene._replace(kinds=scene.kinds + 6), ValueError, r"scene.kinds: expected numbers in \[0, 6\)"),
        (scene._replace(face_materials=scene.face_materials - 1), ValueError, "scene.face_materials: expected numbers"),
        (scene._replace(materials=scene.materials[:, :9]), ValueError, r"scene.materials: expected shape \[M, 12\] to"),
        (
            scene._replace(lamp_intensities=None),
            ValueError,
            r"scene.lamp_intensities: expected shape \[3, 3\], got None",
        ),
        (scene._replace(corner_uvs=None), ValueError, "scene.corner_uvs: expected coordinates"),
        (scene._replace(environment=scene.environment.float()), TypeError, "scene.environment: expected torch.float64"),
        (scene._replace(textures=[torch.zeros(0, 3, 3, dtype=DOUBLE)] * 2), ValueError, r"scene.textures\[0\]"),
        (tuple(scene), TypeError, "scene: expected a LitScene, got tuple"),
    ]
    for value, error, message in wrong:
        with pytest.raises(error, match=message):
            lg.trace_paths(value, *rays)
    with pytest.raises(ValueError, match=r"origins: expected shape \[3, 3, 3\]"):
        lg.trace_paths(scene, rays[0][:2], rays[1])
    other = lg.build_bvh(*plate(1.0))
    with pytest.raises(ValueError, match=r"bvh: expected a tree of \d+ triangles on cpu like tri, got one of 2 on cpu"):
        lg.trace_paths(scene, *rays, bvh=other)
    with pytest.raises(ValueError, match="samples: expected an integer from 1"):
        lg.trace_paths(scene, *rays, samples=0)
    with pytest.raises(ValueError, match="max_depth: expected an integer from 1"):
        lg.trace_paths(scene, *rays, max_depth=0)
    with pytest.raises(ValueError, match="seed: expected an integer from 0"):
        lg.trace_paths(scene, *rays, seed=-1)
