"""Participating media: closed forms, furnaces, the reference with all gradients, nested and overlapping media."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from light_common import box_inside, foggy_scene, layered_scene, pixel_rays, row
from ops_common import scaled_error, threads
from torch import Tensor

import lumigrad as lg
from lumigrad import LitScene, TracedPaths, reference
from lumigrad.reference.light._media import MOST_BORDERS, Medium, Space, media_places, phase, sample_cosine
from lumigrad.types import Media
from lumigrad.types.light import ALPHA_MODE, NORMAL_TEXTURE, OPAQUE

ORACLES = Path(__file__).resolve().parents[4] / "shared" / "oracles"
needs_oracles = pytest.mark.skipif(not ORACLES.is_dir(), reason="the other renderer's tables are not here")
DOUBLE = torch.float64
LEAVES = ("materials", "lamp_intensities", "environment")


def cube(half: float = 1.0) -> tuple[Tensor, Tensor]:
    """A cube whose faces look outwards."""
    corners, tri = box_inside()
    return half * corners, tri[:, [0, 2, 1]]


def numbers(extinction: float, albedo: float = 0.0, g: float = 0.0) -> Tensor:
    """A grey medium of `Media.parameters`."""
    return torch.tensor([extinction] * 3 + [albedo] * 3 + [g], dtype=DOUBLE)


def filled(parameters: Tensor, grid: Tensor | None = None, half: float = 1.0, **lights: Tensor) -> LitScene:
    """A cube that holds a medium, and nothing else."""
    positions, tri = cube(half)
    kinds = torch.tensor([[0, 0, -1, -1, -1]])
    of_cube = torch.tensor([[0, 1]]).repeat(12, 1)
    grids, boxes = () if grid is None else (grid,), torch.tensor([[[-1.0] * 3, [1.0] * 3]], dtype=DOUBLE)
    media = Media(parameters[None], of_cube, torch.tensor([0 if grids else -1]), grids, boxes if grids else None)
    return LitScene(positions, tri, row(0.0)[None], kinds, torch.zeros(12, dtype=torch.long), media=media, **lights)


def white(value: float = 1.0) -> dict[str, Tensor]:
    return {"environment": torch.full((6, 2, 2, 3), value, dtype=DOUBLE)}


def means(scene: LitScene, rays: tuple[Tensor, Tensor], samples: int, depth: int | None, runs: int = 16) -> Tensor:
    """Radiance of runs that are independent, averaged over pixels: [runs, 3]."""
    return torch.stack(
        [lg.trace_paths(scene, *rays, samples, depth, seed=i).radiance.mean((0, 1)) for i in range(runs)]
    )


def holds(found: Tensor, expected: Tensor | float, extra: float = 1e-6) -> bool:
    """Whether the mean of runs [runs, ...] is what is expected, within five standard errors."""
    return bool(((found.mean(0) - expected).abs() < 5 * found.std(0) / math.sqrt(len(found)) + extra).all())


# ---- Closed forms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["homogeneous", "grid"])
def test_transmittance_of_a_background(kind: str) -> None:
    """exp(-tau) of what is behind, and its derivative; tau of a grid by quadrature of its interpolation."""
    generator = torch.Generator().manual_seed(4)
    grid = torch.rand(3, 4, 5, 1, dtype=DOUBLE, generator=generator) if kind == "grid" else None
    parameters = torch.tensor([0.2, 0.5, 1.1, 0, 0, 0, 0], dtype=DOUBLE, requires_grad=True)
    scene = filled(parameters, grid)
    origins = torch.tensor([0.3, -0.2, 4.0], dtype=DOUBLE).expand(2, 2, 3)
    directions = torch.tensor([-0.1, 0.05, -1.0], dtype=DOUBLE).expand(2, 2, 3)
    out = lg.trace_paths(scene, origins, directions, 60_000, 1)
    count = 20_000
    s = 3.0 + 2 * (torch.arange(count, dtype=DOUBLE) + 0.5) / count
    points = origins[0, 0] + s[:, None] * directions[0, 0]
    density = torch.ones(count, dtype=DOUBLE)
    if grid is not None:
        lookup = torch.nn.functional.grid_sample(
            grid[None, ..., 0][None], points[None, None, None], padding_mode="border", align_corners=False
        )
        density = lookup.reshape(-1)
    tau = density.mean() * 2 * directions[0, 0].norm() * parameters.detach()[:3]
    through = out.through[0, 0]
    assert ((through - torch.exp(-tau)).abs() < 0.012).all()
    assert torch.allclose(1 - out.alpha, out.through.mean(-1))
    (slope,) = torch.autograd.grad(through.sum(), parameters)
    assert torch.allclose(slope[:3], -tau / parameters.detach()[:3] * torch.exp(-tau), atol=0.015)


def chandrasekhar(albedo: float, mu: float) -> float:
    """H, by iteration of its integral equation."""
    x, weight = np.polynomial.legendre.leggauss(48)
    x, weight = (x + 1) / 2, weight / 2
    h, root = np.ones_like(x), math.sqrt(1 - albedo)
    for _ in range(300):
        h = 1 / (root + albedo / 2 * (weight * x * h / (x[:, None] + x)).sum(1))
    return float(1 / (root + albedo / 2 * (weight * x * h / (mu + x)).sum()))


@pytest.mark.parametrize(("mu", "albedo", "known"), [(1.0, 0.8, 0.285255), (0.5, 0.5, 0.160144)])
def test_half_space(mu: float, albedo: float, known: float) -> None:
    """1 - sqrt(1 - w) H(mu) of uniform light (Chandrasekhar), and its derivative by w, of paths of any length."""
    parameters = numbers(40.0, albedo).requires_grad_()
    scene = filled(parameters, half=30.0, **white())
    direction = torch.tensor([math.sqrt(1 - mu**2), 0.0, -mu], dtype=DOUBLE)
    origin = torch.tensor([0.0, 0.0, 30.0], dtype=DOUBLE) - direction
    rays = origin.expand(3, 3, 3), direction.expand(3, 3, 3)
    assert holds(means(scene, rays, 200, None).detach(), known, 1e-3)
    slopes = torch.stack([
        torch.autograd.grad(lg.trace_paths(scene, *rays, 100, None, seed=i).radiance.mean(), parameters)[0][3:6].sum()
        for i in range(16)
    ])  # fmt: skip
    step = 1e-4
    by_albedo = [1 - math.sqrt(1 - w) * chandrasekhar(w, mu) for w in (albedo - step, albedo + step)]
    assert holds(slopes, (by_albedo[1] - by_albedo[0]) / (2 * step), 1e-3)


@pytest.mark.parametrize("extinction", [0.0, 0.7])
def test_single_scattering_in_a_slab(extinction: float) -> None:
    """L = w E / 4 pi (1 - exp(-2 tau)) / 2 of light along the normal, seen from there, and dL/dtau: also at tau = 0,
    where nothing scatters."""
    albedo, light = 0.9, 5.0
    parameters = numbers(extinction, albedo).requires_grad_()
    lamps = torch.tensor([[0.0, 0, 1, 0, 0, 0, -1, -2, math.inf, 1, 0, 0]], dtype=DOUBLE)
    scene = filled(
        parameters, lamps=lamps, lamp_intensities=torch.full((1, 3), light, dtype=DOUBLE), lamp_kinds=torch.tensor([0])
    )
    rays = torch.tensor([0.2, 0.1, 3], dtype=DOUBLE).expand(3, 3, 3), -lamps[0, :3].expand(3, 3, 3)
    found, slopes = [], []
    for i in range(16):
        radiance = lg.trace_paths(scene, *rays, 1000, 2, seed=i).radiance.mean((0, 1))
        found.append(radiance.detach())
        slopes.append(torch.autograd.grad(radiance.sum(), parameters)[0][:3])
    factor, tau = albedo * light / (4 * math.pi), 2 * extinction
    assert holds(torch.stack(found), factor * (1 - math.exp(-2 * tau)) / 2)
    assert holds(torch.stack(slopes), 2 * factor * math.exp(-2 * tau))


@pytest.mark.parametrize("kind", ["homogeneous", "grid"])
def test_furnace(kind: str) -> None:
    """In uniform light, media that absorb nothing cannot be seen."""
    grid = torch.rand(2, 3, 3, 1, dtype=DOUBLE, generator=torch.Generator().manual_seed(1)) if kind == "grid" else None
    parameters = torch.tensor([0.6, 1.3, 2.5, 1.0, 1.0, 1.0, 0.6], dtype=DOUBLE)
    scene = filled(parameters, grid, **white(0.7))
    rays = pixel_rays(4, 4, distance=4.0)
    found = torch.stack([
        (out.radiance + 0.7 * out.through).mean((0, 1))
        for out in (lg.trace_paths(scene, *rays, 60, None, seed=i) for i in range(16))
    ])  # fmt: skip
    assert holds(found, 0.7)


# ---- Borders ---------------------------------------------------------------------------------------------------------


def depth_of(scene: LitScene, z: float, towards: float = -1.0) -> float:
    """The optical depth from (0.1, 0.2, z) along the z axis, which a medium that is dark lets through."""
    origins = torch.tensor([0.1, 0.2, z], dtype=DOUBLE).expand(2, 2, 3)
    directions = torch.tensor([0.0, 0.0, towards], dtype=DOUBLE).expand(2, 2, 3)
    return -math.log(lg.trace_paths(scene, origins, directions, 100_000, 1).through[0, 0, 0].item())


def two_cubes(shift: float, half: float, surrounding: int = -1) -> LitScene:
    """Of extinctions 0.1 (from -1 to 1) and 0.3; `surrounding` may be a third one of 0.05."""
    (first, tri), (second, _) = cube(), cube(half)
    second = second + torch.tensor([0.0, 0.0, shift], dtype=DOUBLE)
    media = Media(
        torch.stack((numbers(0.1), numbers(0.3), numbers(0.05))), torch.tensor([[0, 1]] * 12 + [[1, 1]] * 12),
        torch.full((3,), -1), surrounding=surrounding,
    )  # fmt: skip
    return LitScene(
        torch.cat((first, second)), torch.cat((tri, tri + 8)), row(0.0)[None], torch.tensor([[0, 0, -1, -1, -1]]),
        torch.zeros(24, dtype=torch.long), media=media,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shift", "half", "z", "depth"),
    [
        (0.0, 0.5, 3.0, 0.1 * 1 + 0.3 * 1),  # one in the other, from outside
        (0.0, 0.5, 0.75, 0.1 * 0.75 + 0.3 * 1),  # from within the outer one
        (0.0, 0.5, 0.25, 0.1 * 0.5 + 0.3 * 0.75),  # from within both
        (1.0, 0.75, 3.0, 0.3 * 1.5 - 0.2 * 0.75 + 0.1 * 1.25),  # overlapping: what is entered last counts
        (-1.0, 0.75, 3.0, 0.1 * 1.25 + 0.3 * 1.5),
    ],
)
def test_the_medium_that_was_entered_last_counts(shift: float, half: float, z: float, depth: float) -> None:
    assert abs(depth_of(two_cubes(shift, half), z) - depth) < 0.012


def test_a_medium_around_everything_hides_what_is_infinitely_far() -> None:
    scene = two_cubes(0.0, 0.5, surrounding=2)
    origins = torch.tensor([0.1, 0.2, 3.0], dtype=DOUBLE).expand(2, 2, 3)
    out = lg.trace_paths(scene, origins, torch.tensor([0.0, 0.0, -1.0], dtype=DOUBLE).expand(2, 2, 3), 500, 1)
    assert out.alpha.min() == 1
    seen = reference.trace_paths(scene, origins, torch.tensor([0.0, 0.0, -1.0], dtype=DOUBLE).expand(2, 2, 3), 5, 1)
    assert seen.alpha.min() == 1


# ---- Phase function --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("g", [-0.9, -0.3, 0.5, 0.95])
def test_sampled_angles_are_those_of_the_phase_function(g: float) -> None:
    """Chi-squared, of 64 angles that are equally likely by the function's integral; and the integral by quadrature."""
    mean, count = torch.tensor(g, dtype=DOUBLE), 64
    u = torch.rand(count * 100, dtype=DOUBLE, generator=torch.Generator().manual_seed(2))
    drawn = sample_cosine(mean, u)
    share = (1 - g**2) / (2 * g) * ((1 + g**2 - 2 * g * drawn) ** -0.5 - 1 / (1 + g))
    found = torch.histogram(share, count, range=(0.0, 1.0)).hist
    assert ((found - 100) ** 2 / 100).sum() < 63 + 5 * math.sqrt(2 * 63)
    x, weight = np.polynomial.legendre.leggauss(400)
    assert abs(2 * math.pi * (phase(mean, torch.from_numpy(x)) * torch.from_numpy(weight)).sum() - 1) < 1e-6
    assert abs(2 * math.pi * (phase(mean, torch.from_numpy(x)) * torch.from_numpy(weight * x)).sum() - g) < 1e-6
    assert torch.allclose(sample_cosine(0 * mean, u), 2 * u - 1)


@needs_oracles
def test_tables_of_another_renderer() -> None:
    """Of phase functions, whose first direction points back there, and of densities between voxels."""
    table = np.load(ORACLES / "mi_emitter_tables.npz")
    cosine = -torch.from_numpy(table["phase.hg.wo"] @ table["phase.hg.wi"]).double()
    value = phase(torch.tensor(float(table["phase.hg.g"]), dtype=DOUBLE), cosine)
    assert np.allclose(value, table["phase.hg.value"], rtol=1e-4)
    grid = torch.from_numpy(table["grid.zyx"]).double()[..., None]
    unit = torch.tensor([[[0.0] * 3, [1.0] * 3]], dtype=DOUBLE)
    media = Media(numbers(1.0)[None], torch.zeros(0, 2).int(), torch.tensor([0]), (grid,), unit)
    places = media_places(media, torch.zeros(0, 3, dtype=DOUBLE), torch.zeros(0, 3).long())
    found = Medium(media, places, 0, 0.0).voxels(torch.from_numpy(table["grid.point"]).double())[..., 0]
    assert np.allclose(found, table["grid.value"], atol=1e-5)


# ---- Definition and gradients --------------------------------------------------------------------------------------


@torch.no_grad()
def test_against_the_reference() -> None:
    scene, rays = foggy_scene(), pixel_rays(16, 16, distance=6.0)
    got, expected = (t(scene, *rays, 1, 7, seed=3) for t in (lg.trace_paths, reference.trace_paths))
    for name in TracedPaths._fields:
        assert scaled_error(getattr(got, name), getattr(expected, name)) < 1e-10, name
    single = lg.trace_paths(foggy_scene(torch.float32), *(v.float() for v in rays), 1, 7, seed=3)
    for name in TracedPaths._fields:
        close = (getattr(single, name).double() - getattr(expected, name)).abs() <= 1e-4 * getattr(expected, name).max()
        assert close.double().mean() > 0.95, name  # now and then, a rounding makes another path


def test_gradients_against_autograd() -> None:
    """Gradients of media and of surfaces seen through them equal autograd's through the definition with the same
    paths."""
    scene, rays = foggy_scene(), pixel_rays(8, 8, distance=6.0)
    generator = torch.Generator().manual_seed(5)
    weights = [torch.rand(8, 8, 3, dtype=DOUBLE, generator=generator) for _ in range(2)]
    assert scene.media is not None
    results = []
    for trace in (lg.trace_paths, reference.trace_paths):
        leaves = {name: getattr(scene, name).clone().requires_grad_() for name in LEAVES}
        parameters = scene.media.parameters.clone().requires_grad_()
        grids = [grid.clone().requires_grad_() for grid in scene.media.grids]
        media = scene.media._replace(parameters=parameters, grids=grids)
        out = trace(scene._replace(media=media, **leaves), *rays, 1, 6, 3, 11)
        loss = (weights[0] * out.radiance + weights[1] * out.through).sum() + out.alpha.square().sum()
        results.append(torch.autograd.grad(loss, [*leaves.values(), parameters, *grids]))
    for have, want in zip(*results, strict=True):
        assert want.abs().max() > 0
        assert scaled_error(have, want) < 1e-8  # colours of at least 1e-6 are in the way of more


@pytest.mark.parametrize("surrounding", [False, True])
@pytest.mark.parametrize("kind", ["homogeneous", "grid"])
def test_gradients_below_and_at_the_ends_of_ranges(kind: str, surrounding: bool) -> None:
    """Extinctions, densities and albedos below zero count as zero, and have the derivative that zero has; also where
    one colour alone collides. By the kernel and by definition."""
    low = torch.tensor([-0.3, 0.0, 0.8, 0.5, -0.2, 0.0, 0.2], dtype=DOUBLE)
    grid = None
    if kind == "grid":
        grid = 2 * torch.rand(2, 3, 2, 1, dtype=DOUBLE, generator=torch.Generator().manual_seed(2)) - 0.7
    lamps = torch.tensor([[0.2, 3.0, 1, 0, 0, 0, -1, -2, math.inf, 1, 0, 0]], dtype=DOUBLE)
    lamp = {"lamps": lamps, "lamp_intensities": torch.ones(1, 3, dtype=DOUBLE), "lamp_kinds": torch.tensor([1])}
    rays = pixel_rays(6, 6, distance=3.0)
    found = []
    for at_zero in (False, True):
        numbers, densities = low, grid
        if at_zero:
            numbers = low.index_fill(0, torch.tensor([0, 4]), 0.0)
            densities = None if grid is None else grid.clamp_min(0)
        for trace in (lg.trace_paths, reference.trace_paths):
            leaf = numbers.clone().requires_grad_()
            voxels = None if densities is None else densities.clone().requires_grad_()
            scene = filled(leaf, voxels, **lamp)
            if surrounding:
                assert scene.media is not None
                scene = scene._replace(
                    media=scene.media._replace(faces=torch.tensor([[-1, 1]]).repeat(12, 1), surrounding=0)
                )
                scene = scene._replace(positions=0.01 * scene.positions)
            out = trace(scene, *rays, 3, 3, 3, 11)
            loss = out.radiance.sum() + 2 * out.through.sum()
            found.append(torch.autograd.grad(loss, [leaf] if voxels is None else [leaf, voxels]))
    for other in found[1:]:
        for have, want in zip(other, found[0], strict=True):
            assert scaled_error(have, want) < 1e-8
    assert found[0][0][2] != 0
    assert surrounding or (found[0][0][:2] < 0).all()


def test_one_sided_derivative_of_an_extinction_below_zero() -> None:
    """exp(-tau) of a background has the slope -length at tau = 0."""
    parameters = numbers(-0.4).requires_grad_()
    origins = torch.tensor([0.1, 0.2, 3.0], dtype=DOUBLE).expand(2, 2, 3)
    directions = torch.tensor([0.0, 0.0, -1.0], dtype=DOUBLE).expand(2, 2, 3)
    out = lg.trace_paths(filled(parameters), origins, directions, 100_000, 1)
    assert out.through.min() == 1
    (slope,) = torch.autograd.grad(out.through.sum(), parameters)
    assert torch.allclose(slope[:3], torch.full((3,), -2.0, dtype=DOUBLE), atol=0.02)


def test_normal_maps_have_no_gradient_beside_media() -> None:
    """Beside media, normal maps have no gradient (like all geometry), neither from the kernel nor by definition."""
    scene, rays = layered_scene(), pixel_rays(6, 6, distance=5.0)
    kinds = scene.kinds.clone()
    kinds[:, ALPHA_MODE] = OPAQUE
    far = torch.tensor([[-1, 0]]).repeat(len(scene.tri), 1)
    scene = scene._replace(kinds=kinds, media=Media(numbers(0.2, 0.5)[None], far, torch.tensor([-1]), surrounding=0))
    mapped = kinds[:, NORMAL_TEXTURE].max().item()
    assert mapped >= 0
    results = []
    for trace in (lg.trace_paths, reference.trace_paths):
        rows = scene.materials.clone().requires_grad_()
        textures = tuple(image.clone().requires_grad_() for image in scene.textures)
        out = trace(scene._replace(materials=rows, textures=textures), *rays, 2, 3, 3, 11)
        leaves = [rows, *textures]
        results.append(torch.autograd.grad(out.radiance.sum(), leaves, allow_unused=True, materialize_grads=True))
    for have, want in zip(*results, strict=True):
        assert scaled_error(have, want) < 1e-8
    assert not results[1][0][:, 17].any()
    assert not results[1][1 + mapped].any()


def test_rays_that_never_leave_a_border_end() -> None:
    """By definition, too: after as many borders as in the kernel, nothing is met."""

    class Mirrors:
        """Wherever a ray begins, it is in a border."""

        lit = filled(numbers(0.0))
        media, positions = lit.media, lit.positions
        met = 0

        def meet(self, origins: Tensor, directions: Tensor, t_max: Tensor | float = math.inf) -> tuple[Tensor, ...]:
            self.met += 1
            half = torch.full((len(origins),), 0.25, dtype=DOUBLE)
            return torch.zeros(len(origins), dtype=torch.long), half, half, half * 0 + 1e-9

        def points(self, face: Tensor, weight: Tensor, directions: Tensor) -> SimpleNamespace:
            return SimpleNamespace(face=face, side=torch.ones(len(face), 1, dtype=DOUBLE))

        def origins(self, point: SimpleNamespace, directions: Tensor) -> Tensor:
            return torch.zeros(len(point.face), 3, dtype=DOUBLE)

    scene = Mirrors()
    assert scene.media is not None
    space = Space(scene, scene.media, 0.0)
    origins, directions = torch.zeros(2, 3, dtype=DOUBLE), torch.ones(2, 3, dtype=DOUBLE)
    inside = space.around(origins, directions)
    assert scene.met == MOST_BORDERS
    alive, endless = torch.ones(2, dtype=torch.bool), torch.full_like(origins, math.inf)
    out = space.follow(origins, directions, endless, inside, alive, lambda n, o, length, which: which & False)
    assert scene.met == 2 * MOST_BORDERS
    assert (out[0] == -1).all()


def test_an_empty_scene_in_a_medium() -> None:
    """No triangles: an unbounded medium and a box of voxels around nothing, by the kernel and by definition."""
    grid = torch.rand(2, 3, 2, 1, dtype=DOUBLE, generator=torch.Generator().manual_seed(2)).requires_grad_()
    box = torch.tensor([[[-1.0] * 3, [1.0] * 3]], dtype=DOUBLE)
    lamps = torch.tensor([[0.2, 3.0, 1, 0, 0, 0, -1, -2, math.inf, 1, 0, 0]], dtype=DOUBLE)
    parameters = torch.tensor([0.5, 0.9, 1.4, 0.9, 0.8, 0.7, 0.2], dtype=DOUBLE, requires_grad=True)
    rays = pixel_rays(5, 5, distance=3.0)
    for grids in ((), (grid,)):
        media = Media(
            parameters[None], torch.zeros(0, 2).long(), torch.tensor([len(grids) - 1]), grids, box if grids else None, 0
        )
        none = torch.zeros(0, dtype=torch.long)
        scene = LitScene(
            torch.zeros(0, 3, dtype=DOUBLE), none.reshape(0, 3), row(0.0)[None], torch.tensor([[0, 0, -1, -1, -1]]),
            none, media=media, lamps=lamps, lamp_intensities=torch.ones(1, 3, dtype=DOUBLE),
            lamp_kinds=torch.tensor([1]),
        )  # fmt: skip
        found = []
        for trace in (lg.trace_paths, reference.trace_paths):
            out = trace(scene, *rays, 2, 3, 3, 11)
            slopes = torch.autograd.grad(out.radiance.sum() + out.through.sum(), [parameters, *grids])
            found.append([*(value.detach() for value in out), *slopes])
        for have, want in zip(*found, strict=True):
            assert scaled_error(have, want) < 1e-8
        assert found[0][-1].abs().max() > 0
        assert found[0][1].max() > 0


def test_gradients_of_large_grids() -> None:
    """More values than each thread could have sums of: voxel by voxel as by definition; of many paths, by Euler's
    theorem, as the density and the extinction are a product; and the same bits for any number of threads."""
    grid = torch.rand(102, 103, 104, 1, dtype=DOUBLE, generator=torch.Generator().manual_seed(6))
    row = torch.tensor([1.5, 1.0, 0.5, 0.9, 0.8, 0.7, 0.2], dtype=DOUBLE)
    lamps = torch.tensor([[0.2, 3.0, 1, 0, 0, 0, -1, -2, math.inf, 1, 0, 0]], dtype=DOUBLE)
    lamp = {"lamps": lamps, "lamp_intensities": torch.ones(1, 3, dtype=DOUBLE), "lamp_kinds": torch.tensor([1])}
    rays = pixel_rays(1, 2, distance=4.0)

    def slopes(trace: Callable[..., TracedPaths], samples: int) -> list[Tensor]:
        leaves = [row.clone().requires_grad_(), grid.clone().requires_grad_()]
        out = trace(filled(*leaves, **lamp), *rays, samples, 3, 3, 11)
        return list(torch.autograd.grad(out.radiance.sum() + out.through.sum(), leaves))

    for have, want in zip(slopes(lg.trace_paths, 1), slopes(reference.trace_paths, 1), strict=True):
        assert scaled_error(have, want) < 1e-8
    rays = pixel_rays(7, 13, distance=4.0)  # three parts, each with a log, the last of them not whole
    found = []
    for count in (1, 3):
        with threads(count):
            found.append(slopes(lg.trace_paths, 16))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    of_row, of_grid = found[0]
    assert (grid * of_grid).sum().item() == pytest.approx((row * of_row)[:3].sum().item(), rel=1e-6)


def test_bits_do_not_depend_on_threads() -> None:
    scene, rays = foggy_scene(), pixel_rays(12, 12, distance=6.0)
    assert scene.media is not None
    found = []
    for count in (1, 3):
        with threads(count):
            grids = [grid.clone().requires_grad_() for grid in scene.media.grids]
            out = lg.trace_paths(scene._replace(media=scene.media._replace(grids=grids)), *rays, 2, 5)
            found.append([*(v.detach() for v in out), *torch.autograd.grad(out.radiance.sum(), grids)])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_wrong_calls() -> None:
    scene, rays = foggy_scene(), pixel_rays(2, 2)
    media = scene.media
    assert media is not None
    grid = media.grids[1]
    wrong = [
        (tuple(media), TypeError, "scene.media: expected Media or None, got tuple"),
        (media._replace(parameters=media.parameters[:, :6]), ValueError, r"media.parameters: expected shape \[K, 7\]"),
        (media._replace(parameters=media.parameters + 1), ValueError, "expected g between -1 and 1, got"),
        (media._replace(faces=media.faces + 9), ValueError, r"scene.media.faces: expected numbers in \[-1, 5\)"),
        (media._replace(numbers=media.numbers + 2), ValueError, r"scene.media.numbers: expected numbers in \[-1, 2\)"),
        (media._replace(grids=(grid, grid[..., [0, 0]])), ValueError, r"scene.media.grids\[1\]: .* 1 or 4 values"),
        (media._replace(boxes=None), TypeError, "scene.media.boxes: expected a torch.Tensor, got NoneType"),
        (media._replace(surrounding=5), ValueError, "scene.media.surrounding: expected an integer from -1 to 4"),
    ]
    for value, error, message in wrong:
        with pytest.raises(error, match=message):
            lg.trace_paths(scene._replace(media=value), *rays)
