"""Marching through grids: closed forms, the kernel against the reference, gradients, odd rays, wrong calls."""

from __future__ import annotations

import math

import pytest
import torch
from ops_common import random, scaled_error, threads
from torch import Tensor

import lumigrad as lg
from lumigrad import reference

MARCHES = pytest.mark.parametrize("march", [lg.march, reference.march])
STEPS = pytest.mark.parametrize("step", [None, 0.013])
DOUBLE = torch.float64
BOX = torch.tensor([[-1.0, -0.8, -1.1], [1.2, 0.9, 1.0]], dtype=DOUBLE)


def fog(extinction: float, color: float = 1.0, size: tuple[int, int, int] = (3, 4, 5)) -> Tensor:
    grid = torch.full((*size, 2), extinction, dtype=DOUBLE)
    grid[..., 1] = color
    return grid


def column(density: Tensor, color: Tensor | None = None) -> Tensor:
    """A grid [D, 1, 1, 2] that changes along z alone."""
    color = torch.ones_like(density) if color is None else color
    return torch.stack((density, color), -1)[:, None, None]


def long_box(length: float) -> Tensor:
    return torch.tensor([[-1.0, -1.0, 0.0], [1.0, 1.0, length]], dtype=DOUBLE)


def up(count: int = 1, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Rays along z, from below the box."""
    origins = torch.tensor([0.1, -0.2, -1.0], dtype=DOUBLE).expand(count, 3)
    return origins, torch.tensor([0.0, 0.0, scale], dtype=DOUBLE).expand(count, 3)


def some_rays(count: int, dtype: torch.dtype = DOUBLE, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Most of them hit the box; some begin in it, some go along an axis."""
    origins = 2.5 * random(count, 3, seed=seed, dtype=dtype)
    origins[::4] *= 0.2
    directions = 0.6 * random(count, 3, seed=seed + 1, dtype=dtype) - origins
    directions[1::5, 0] = 0
    directions[2::7, :2] = 0
    return origins, directions


def some_grid(*size: int, channels: int = 3, dtype: torch.dtype = DOUBLE, seed: int = 3) -> Tensor:
    grid = random(*size, 1 + channels, seed=seed, dtype=dtype)
    grid[..., 0] = 1 + 1.5 * grid[..., 0]
    return grid


# ---- Closed forms ----------------------------------------------------------------------------------------


@MARCHES
@STEPS
def test_a_slab(march, step) -> None:
    """c (1 - e^(-s L)), with the derivatives c L e^(-s L) by s and c s e^(-s L) by L, whatever the segments."""
    s, c, length = 1.7, 0.6, 2.3
    grid, box = fog(s, c).requires_grad_(), long_box(length).requires_grad_()
    out = march(grid, *up(), box, step)
    assert torch.allclose(out.features, torch.tensor(c * (1 - math.exp(-s * length)), dtype=DOUBLE))
    assert torch.allclose(out.alpha, torch.tensor(1 - math.exp(-s * length), dtype=DOUBLE))
    by_grid, by_box = torch.autograd.grad(out.features.sum(), (grid, box))
    assert math.isclose(by_grid[..., 0].sum(), c * length * math.exp(-s * length), rel_tol=1e-9)
    assert math.isclose(by_grid[..., 1].sum(), 1 - math.exp(-s * length), rel_tol=1e-9)
    assert math.isclose(by_box[1, 2], c * s * math.exp(-s * length), rel_tol=1e-9)
    assert math.isclose(out.median.item() - 1, math.log(2) / s, rel_tol=1e-9)


@MARCHES
def test_two_slabs_and_a_background(march) -> None:
    """Two voxels of very different extinction, where the change between their centres is a step of their own."""
    s, c, b = (0.4, 1.3), (0.9, 0.2), 0.7
    count = 40  # 20 voxels of either, and a cell between that belongs to both
    density = torch.tensor(s, dtype=DOUBLE).repeat_interleave(count // 2).requires_grad_()
    grid = column(density, torch.tensor(c, dtype=DOUBLE).repeat_interleave(count // 2))
    box = long_box(2.0)
    # Rays that end before the cell in the middle, and begin behind it, see uniform fog only.
    first, second = 19.5 / count * 2, 20.5 / count * 2
    background = torch.tensor([b], dtype=DOUBLE)
    behind = march(grid, *up(), box, None, None, background, t_min=1 + second)
    front = march(grid, *up(), box, None, None, behind.features, t_max=1 + first)
    lengths = (first, 2 - second)
    e = [math.exp(-s[i] * lengths[i]) for i in range(2)]
    expected = c[0] * (1 - e[0]) + e[0] * (c[1] * (1 - e[1]) + e[1] * b)
    assert math.isclose(front.features.item(), expected, rel_tol=1e-12)
    grad = torch.autograd.grad(front.features.sum(), density)[0]
    by_first = lengths[0] * e[0] * (c[0] - c[1] * (1 - e[1]) - e[1] * b)
    assert math.isclose(grad[: count // 2].sum(), by_first, rel_tol=1e-9)


@MARCHES
def test_mean_distance_and_median(march) -> None:
    s, length = 1.7, 2.3
    grid = fog(s).requires_grad_()
    out = march(grid, *up(), long_box(length), 1e-3)
    mean = out.depth / out.alpha
    assert math.isclose(mean.item() - 1, 0.541199521, rel_tol=1e-6)
    e = math.exp(-s * length)
    by_density = -1 / s**2 + length**2 * e / (1 - e) ** 2
    assert math.isclose(torch.autograd.grad(mean.sum(), grid)[0][..., 0].sum(), by_density, rel_tol=1e-5)
    assert math.isclose(out.median.item() - 1, math.log(2) / s, rel_tol=1e-9)
    assert march(fog(0.2), *up(), long_box(length)).median == 0  # less than half of it


@MARCHES
def test_linear_extinction(march) -> None:
    """sigma = a z. A grid holds it exactly between the outer centres, where rays begin and end."""
    a, length = 0.9, 2.3
    places = torch.linspace(-0.1, length + 0.1, 26, dtype=DOUBLE)
    half = 0.5 * (places[1] - places[0]).item()
    box = torch.tensor([[-1.0, -1.0, -0.1 - half], [1.0, 1.0, length + 0.1 + half]], dtype=DOUBLE)
    rate = torch.tensor(a, dtype=DOUBLE, requires_grad=True)
    e = math.exp(-a * length**2 / 2)
    for step in (None, 0.1, 0.37):  # middles are exact for optical depth
        out = march(column(rate * places), *up(), box, step, t_min=1.0, t_max=1 + length, activation="none")
        assert math.isclose(out.alpha.item(), 0.907495686, rel_tol=1e-8)
        slope = torch.autograd.grad(out.alpha.sum(), rate)[0]
        assert math.isclose(slope, length**2 / 2 * e, rel_tol=1e-8)
    out = march(column(rate * places), *up(), box, 1e-3, t_min=1.0, t_max=1 + length)
    depth = out.depth - out.alpha
    assert math.isclose(depth.item(), 1.06988954, rel_tol=1e-6)
    # of sqrt(pi / 2a) erf(L sqrt(a / 2)) - L e^(-a L^2 / 2)
    root, bell = math.sqrt(math.pi / (2 * a)), math.erf(length * math.sqrt(a / 2))
    expected = -root / (2 * a) * bell + length * e / (2 * a) + length**3 / 2 * e
    assert math.isclose(torch.autograd.grad(depth.sum(), rate)[0], expected, rel_tol=1e-5)


@MARCHES
def test_a_ball_of_gaussian_density(march) -> None:
    """tau = A s sqrt(2 pi) e^(-b^2 / 2 s^2) at the distance b; d/db = -b tau / s^2, d/ds = tau (1 / s + b^2 / s^3)."""
    strength, s, b = 2.1, 0.4, 0.3
    width = torch.tensor(s, dtype=DOUBLE, requires_grad=True)
    size = 97
    place = (torch.arange(size, dtype=DOUBLE) + 0.5) / size * 4 - 2
    square = place[:, None, None] ** 2 + place[None, :, None] ** 2 + place[None, None] ** 2
    grid = (strength * torch.exp(-square / (2 * width**2)))[..., None]
    box = torch.tensor([[-2.0] * 3, [2.0] * 3], dtype=DOUBLE)
    origin = torch.tensor([[b, 0.0, -4.0]], dtype=DOUBLE, requires_grad=True)
    out = march(grid, origin, torch.tensor([[0.0, 0.0, 1.0]], dtype=DOUBLE), box)
    tau = -torch.log1p(-out.alpha)
    assert math.isclose(tau.item(), 1.58936592, rel_tol=2e-3)  # interpolation's error, of the second order
    by_place, by_width = torch.autograd.grad(tau.sum(), (origin, width))
    assert math.isclose(by_place[0, 0].item(), -b * 1.58936592 / s**2, rel_tol=0.02)
    assert math.isclose(by_width, 1.58936592 * (1 / s + b**2 / s**3), rel_tol=2e-3)


def test_a_ball_of_fog_in_a_parallel_beam() -> None:
    """It takes away pi R^2 - pi / 2s^2 [1 - (1 + 2sR) e^(-2sR)] of the beam; d/dR = 2 pi R (1 - e^(-2sR))."""
    s, radius, size, count = 1.3, 0.8, 64, 96
    grown = torch.tensor(radius, dtype=DOUBLE, requires_grad=True)
    place = (torch.arange(size, dtype=DOUBLE) + 0.5) / size * 2 - 1
    distance = (place[:, None, None] ** 2 + place[None, :, None] ** 2 + place[None, None] ** 2).sqrt()
    grid = s * (0.5 + (grown - distance) * size / 2).clamp(0, 1)[..., None]  # fades out over a voxel
    at = (torch.arange(count, dtype=DOUBLE) + 0.5) / count * 2 - 1
    origins = torch.stack((*torch.meshgrid(at, at, indexing="ij"), torch.full((count, count), -2.0, dtype=DOUBLE)), -1)
    box = torch.tensor([[-1.0] * 3, [1.0] * 3], dtype=DOUBLE)
    taken = lg.march(grid, origins, up()[1], box).alpha.sum() * (2 / count) ** 2
    assert math.isclose(taken.item(), math.pi * radius**2 - 0.571820934, rel_tol=5e-3)  # of the order h^(3/2)
    slope = torch.autograd.grad(taken, grown)[0]
    assert math.isclose(slope, 2 * math.pi * radius * (1 - math.exp(-2 * s * radius)), rel_tol=2e-2)


@MARCHES
def test_an_atmosphere(march) -> None:
    """tau = s0 H (1 - e^(-L mu / H)) / mu, d/ds0 = tau / s0, by which activation "exp" of a linear height is tested."""
    s0, height, mu, thick = 0.8, 0.5, 0.6, 2.0
    places = torch.linspace(-0.05, thick + 0.05, 22, dtype=DOUBLE)
    half = 0.5 * (places[1] - places[0]).item()
    box = torch.tensor([[-50.0, -50.0, -0.05 - half], [50.0, 50.0, thick + 0.05 + half]], dtype=DOUBLE)
    slope = math.sqrt(1 - mu * mu)
    origins, directions = (torch.tensor([v], dtype=DOUBLE) for v in ((0.0, 0.0, 0.0), (slope, 0.0, mu)))
    length = thick / mu
    strength = torch.tensor(s0, dtype=DOUBLE, requires_grad=True)
    grid = column(strength.log() - places / height)
    out = march(grid, origins, directions, box, 2e-3, t_max=length, activation="exp")
    expected = s0 * height * (1 - math.exp(-length * mu / height)) / mu
    tau = -torch.log1p(-out.alpha)
    assert math.isclose(tau.item(), expected, rel_tol=1e-5)
    assert math.isclose(torch.autograd.grad(tau.sum(), strength)[0], expected / s0, rel_tol=1e-5)


@MARCHES
@STEPS
def test_a_surface_in_fog(march, step) -> None:
    """An opaque surface at t_s: its colour is the background, and d/dt_s = s e^(-s t_s) (c - c_s)."""
    s, c, surface, c_s = 0.7, 0.3, 1.1, 0.9
    t_max = torch.tensor([1 + surface], dtype=DOUBLE, requires_grad=True)
    background = torch.tensor([c_s], dtype=DOUBLE)
    out = march(fog(s, c), *up(), long_box(2.3), step, background=background, t_max=t_max)
    e = math.exp(-s * surface)
    assert math.isclose(out.features.item(), c * (1 - e) + e * c_s, rel_tol=1e-12)
    assert math.isclose(torch.autograd.grad(out.features.sum(), t_max)[0].item(), s * e * (c - c_s), rel_tol=1e-9)


@MARCHES
@STEPS
def test_invariances(march, step) -> None:
    """Directions of another length; the world in other units; rays in another order; a ray in two parts."""
    grid, (origins, directions) = some_grid(4, 5, 6), some_rays(12)
    out = march(grid, origins, directions, BOX, step)
    longer = march(grid, origins, 3 * directions, BOX, None if step is None else step / 3)
    assert torch.allclose(out.features, longer.features)
    assert torch.allclose(out.depth, 3 * longer.depth)
    thinner = torch.cat((grid[..., :1] / 2, grid[..., 1:]), -1)
    larger = march(thinner, 2 * origins, 2 * directions, 2 * BOX, step)
    assert torch.allclose(out.features, larger.features)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    assert torch.equal(march(grid, origins[order], directions[order], BOX, step).features, out.features[order])
    if step is None:
        planes = march(grid, origins, directions, BOX, None, t_max=1.0)
        rest = march(grid, origins, directions, BOX, None, t_min=1.0)
        # Features are taken at the middles, which differ; what is absorbed is not.
        assert torch.allclose(out.alpha, 1 - (1 - planes.alpha) * (1 - rest.alpha))


@STEPS
def test_invariances_of_gradients(step) -> None:
    """A world in other units and turned by 90 degrees about z; rays in another order."""
    grid, (origins, directions) = some_grid(4, 5, 6), some_rays(12)
    weight = random(12, 3, seed=9, dtype=DOUBLE)

    def gradients(grid: Tensor, origins: Tensor, directions: Tensor, box: Tensor, weight: Tensor) -> list[Tensor]:
        leaves = [v.clone().requires_grad_() for v in (grid, origins, directions)]
        out = lg.march(*leaves, box, step)
        return list(torch.autograd.grad((out.features * weight).sum(), leaves))

    of_grid, of_origins, of_directions = gradients(grid, origins, directions, BOX, weight)
    thinner = torch.cat((grid[..., :1] / 2, grid[..., 1:]), -1)
    larger = gradients(thinner, 2 * origins, 2 * directions, 2 * BOX, weight)
    assert torch.allclose(larger[0], of_grid * torch.tensor([2.0, 1, 1, 1], dtype=DOUBLE))
    assert torch.allclose(larger[1], of_origins / 2)
    assert torch.allclose(larger[2], of_directions / 2)

    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=DOUBLE)  # x to y, y to -x
    turned_box = torch.stack((BOX @ turn.T).aminmax(dim=0))
    turned = gradients(
        grid.transpose(1, 2).flip(2).contiguous(), origins @ turn.T, directions @ turn.T, turned_box, weight
    )
    assert torch.allclose(turned[0], of_grid.transpose(1, 2).flip(2))
    assert torch.allclose(turned[1], of_origins @ turn.T)
    assert torch.allclose(turned[2], of_directions @ turn.T)

    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    shuffled = gradients(grid, origins[order], directions[order], BOX, weight[order])
    assert torch.allclose(shuffled[0], of_grid)
    assert torch.equal(shuffled[1], of_origins[order])


@MARCHES
def test_absorption_in_cells_is_exact(march) -> None:
    """Absorption in cells agrees with a thousand short steps per cell."""
    grid, rays = some_grid(3, 4, 2).abs(), some_rays(8)
    exact, fine = (march(grid, *rays, BOX, step, activation="none") for step in (None, 2e-4))
    assert torch.allclose(exact.alpha, fine.alpha, atol=1e-7)


# ---- The kernel and the reference ------------------------------------------------------------------------

SIZES = [(1, 1, 1), (1, 4, 1), (2, 3, 5), (7, 6, 9)]
OPTIONS = [
    {"step": None},
    {"step": 0.07},
    {"step": 0.07, "activation": "softplus", "min_transmittance": 0.3},
    {"step": None, "activation": "exp", "t_min": 0.4, "t_max": 1.3},
    {"step": 0.11, "activation": "none", "degree": 1},
    {"step": 0.05, "occupied": True},
    {"step": None, "occupied": True},
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matches_reference(size, options, dtype) -> None:
    options = dict(options)
    grid = some_grid(*size, channels=8 if "degree" in options else 3, dtype=dtype)
    if options.pop("occupied", False):
        if dtype == torch.float32:
            return  # a middle on a cell's face is on either side of it, by rounding
        filled = random(5, 9, 6, seed=4) > 0.2
        options["occupancy"] = lg.occupancy(filled)
    origins, directions = some_rays(30, dtype)
    background = random(30, 2 if "degree" in options else 3, dtype=dtype)
    results = []
    for march, to in ((lg.march, dtype), (reference.march, torch.float64)):
        leaves = [v.to(to).requires_grad_() for v in (grid, origins, directions, BOX.to(dtype), background)]
        out = march(*leaves[:4], background=leaves[4], **options)
        loss = sum((v * random(*v.shape, seed=i, dtype=to)).sum() for i, v in enumerate(out[:3]))
        results.append([*out, *torch.autograd.grad(loss, leaves)])
    for name, actual, expected in zip([*out._fields, "grid", "origins", "directions", "box", "background"], *results):
        assert actual.isfinite().all()
        tolerance = 1e-10 if dtype == torch.float64 else 3e-3 if name == "box" else 5e-4
        if dtype == torch.float32 and name == "median":
            continue  # where half is passed can be anywhere, if what passes is about half
        assert scaled_error(actual, expected) < tolerance, name


@pytest.mark.parametrize("payload", [0, 1, 2, 3, 4, 7, 8, 12])
@pytest.mark.parametrize("size", [(2, 1, 1), (3, 4, 1), (6, 7, 9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_grid_alone(payload, size, dtype) -> None:
    """Blocks of segments read other numbers of values in other ways."""
    grid = some_grid(*size, channels=payload, dtype=dtype)
    origins, directions = some_rays(45, dtype, seed=5)
    for options in ({}, {"activation": "exp", "min_transmittance": 0.2}, {"activation": "softplus", "t_min": 0.7}):
        results = []
        for march, to in ((lg.march, dtype), (reference.march, torch.float64)):
            leaf = grid.to(to).requires_grad_()
            rays = origins.to(to), directions.to(to)
            out = march(leaf, *rays, BOX.to(dtype).to(to), 0.03, **options)
            loss = sum((v * random(*v.shape, seed=i, dtype=to)).sum() for i, v in enumerate(out[:3]))
            results.append([*out[:3], *torch.autograd.grad(loss, leaf)])
        for name, actual, expected in zip(("features", "alpha", "depth", "grid"), *results):
            assert scaled_error(actual, expected) < (1e-10 if dtype == torch.float64 else 5e-4), (name, options)


@pytest.mark.parametrize("wanted", ["limits", "rays", "rays box", "grid limits", "grid rays box limits"])
@pytest.mark.parametrize("payload", [0, 1, 2, 3, 4, 8])
@STEPS
def test_some_gradients(wanted, payload, step) -> None:
    """What is found of the motion of rays does not depend on what else is wanted, or on who else is in the block."""
    grid = some_grid(5, 1 if payload == 2 else 4, 6, channels=payload)
    origins, directions = some_rays(37, seed=6)
    directions[3:6] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 0, 0]])
    t_min = (0.5 * torch.rand(37, dtype=DOUBLE)).index_fill(0, torch.arange(0, 37, 3), 0)
    t_max = (t_min + 2 * torch.rand(37, dtype=DOUBLE)).index_fill(0, torch.arange(0, 37, 4), torch.inf)
    inputs = {"grid": [grid], "rays": [origins, directions], "box": [BOX], "limits": [t_min, t_max]}
    leaves = [v.detach().requires_grad_(name in wanted.split()) for name, values in inputs.items() for v in values]
    results = []
    for march in (lg.march, reference.march):
        out = march(*leaves[:4], step, t_min=leaves[4], t_max=leaves[5])
        loss = sum((v * random(*v.shape, seed=i, dtype=DOUBLE)).sum() for i, v in enumerate(out[:3]))
        results.append(torch.autograd.grad(loss, [leaf for leaf in leaves if leaf.requires_grad]))
    assert all(scaled_error(a, b) < 1e-10 for a, b in zip(*results))


@pytest.mark.parametrize("options", OPTIONS)
def test_gradients(options) -> None:
    options = dict(options)
    if options.pop("occupied", False):
        options["occupancy"] = lg.occupancy(random(3, 3, 3, seed=4) > -0.5)
    stop = options.pop("min_transmittance", 0.0)
    grid = some_grid(3, 2, 4, channels=4 if "degree" in options else 1)
    origins, directions = some_rays(7, seed=8)
    limits = [options.pop("t_min", 0.0), options.pop("t_max", 4.0)]
    limits = [torch.full((7,), t, dtype=DOUBLE) for t in limits]

    def function(grid, origins, directions, box, background, t_min, t_max):
        out = lg.march(grid, origins, directions, box, background=background, t_min=t_min, t_max=t_max,
                       min_transmittance=stop, **options)  # fmt: skip
        return out[:3]

    leaves = [grid, origins, directions, BOX.clone(), random(1, dtype=DOUBLE), *limits]
    assert torch.autograd.gradcheck(function, [leaf.requires_grad_() for leaf in leaves])


# ---- Odd rays, odd grids ---------------------------------------------------------------------------------


@MARCHES
@STEPS
def test_rays_that_see_nothing(march, step) -> None:
    """They miss, have no direction, are not finite, or end before they begin: the background, and no gradient."""
    rays = torch.tensor(
        [[0, 5, 0, 1, 0, 0], [0, 0, 3, 0, 0, 1], [0, 0, 0, 0, 0, 0], [math.nan, 0, 0, 1, 0, 0],
         [0, 0, 0, math.inf, 0, 0],
         [0, 0, 0, 0, math.nan, 1], [5, 5, 5, 0, 0, 1]], dtype=DOUBLE,
    )  # fmt: skip
    grid = some_grid(3, 3, 3).requires_grad_()
    rays.requires_grad_()
    background = random(3, dtype=DOUBLE)
    out = march(grid, rays[:, :3], rays[:, 3:], BOX, step, background=background)
    assert torch.equal(out.features, background.expand(7, 3))
    assert not out.alpha.any()
    assert not out.depth.any()
    out.features.sum().backward()
    assert not grid.grad.any()
    assert not rays.grad.any()


@MARCHES
@STEPS
def test_rays_along_faces(march, step) -> None:
    """In a face of the box, in a plane of centres, and between: what is seen is what lies in them."""
    grid, box = some_grid(2, 2, 2, channels=1), torch.tensor([[0.0] * 3, [2.0] * 3], dtype=DOUBLE)
    for place, value in ((0.0, 0.5), (2.0, 1.5), (0.5, 0.5), (1.0, 1.0)):
        origins = [torch.tensor([[at, 0.7, -1.0]], dtype=DOUBLE) for at in (place, value)]
        moved = [march(grid, origin, up()[1], box, step).features for origin in origins]
        assert moved[0].item() != 0
        assert torch.allclose(*moved)


@MARCHES
def test_rays_that_begin_inside(march) -> None:
    out = march(fog(1.3), torch.tensor([[0.0, 0.0, 0.5]], dtype=DOUBLE), up()[1], long_box(2.0))
    assert math.isclose(out.alpha.item(), 1 - math.exp(-1.3 * 1.5))


@MARCHES
def test_values_that_are_not_finite(march) -> None:
    """Non-finite densities count as empty, and their gradients are zero."""
    grid = some_grid(3, 3, 3)
    grid[1, 1, 1, 0] = math.nan
    grid[0, 0, 0, 2] = math.inf
    leaf = grid.requires_grad_()
    origins, directions = (v.requires_grad_() for v in some_rays(20))
    out = march(leaf, origins, directions, BOX, 0.05)
    assert out.alpha.isfinite().all()
    if march is lg.march:
        out.features.sum().backward()
        assert all(v.grad.isfinite().all() for v in (leaf, origins, directions))


@MARCHES
def test_no_rays_and_no_features(march) -> None:
    out = march(fog(1.0), torch.zeros(0, 3, dtype=DOUBLE), torch.zeros(0, 3, dtype=DOUBLE), BOX)
    assert [v.shape for v in out] == [(0, 1), (0,), (0,), (0,)]
    out = march(fog(1.0)[..., :1], torch.zeros(4, 1, 3, dtype=DOUBLE), up(5)[1], BOX)
    assert [v.shape for v in out] == [(4, 5, 0), (4, 5), (4, 5), (4, 5)]


def test_endless_rays_take_longer_steps() -> None:
    out = lg.march(fog(0.4), *up(), long_box(2.0), 1e-30)
    assert math.isclose(out.alpha.item(), 1 - math.exp(-0.8), rel_tol=1e-9)


@STEPS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_empty_space_is_left_out_without_a_trace(step, dtype) -> None:
    grid = some_grid(11, 13, 9, channels=2, dtype=dtype)
    grid[..., 0] = torch.where(random(11, 13, 9, seed=6) > 0.97, 40.0, -1.0)
    grid[:4] -= 100  # whole bricks
    rays = some_rays(60, dtype)
    plain, skipping = (
        lg.march(grid, *rays, BOX.to(dtype), step, occupancy=o) for o in (None, lg.occupancy(grid[..., 0]))
    )
    assert plain.alpha.any()
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(plain, skipping))


@pytest.mark.parametrize("spans", [((3, 4),) * 3, ((0, 5), (11, 21), (2, 9)), ((20, 21), (0, 21), (8, 8))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rays_go_no_further_than_the_last_occupied_cell(spans, dtype) -> None:
    """Fog in a part of the box, or none: an occupancy changes nothing but the order of sums."""
    grid, part = torch.zeros(21, 21, 21, 4, dtype=dtype), tuple(slice(*span) for span in spans)
    grid[part] = some_grid(21, 21, 21, dtype=dtype)[part].abs()
    occupied = torch.nn.functional.max_pool3d((grid[None, ..., 0] > 0).float(), 3, 1, 1)[0] > 0
    rays = some_rays(300, dtype)
    whole, found = (lg.march(grid, *rays, BOX.to(dtype), 0.02, occupancy=o) for o in (None, lg.occupancy(occupied)))
    tolerance = 1e-6 if dtype == torch.float32 else 1e-13
    assert all(torch.allclose(a, b, rtol=0, atol=tolerance) for a, b in zip(whole[:3], found[:3]))
    assert whole.alpha.any() == (spans[2] != (8, 8))


def test_occupancy_bits() -> None:
    filled = random(5, 9, 6, seed=4) > 0.2
    words, size = lg.occupancy(filled)
    assert size == (5, 9, 6)
    assert words.shape == (2, 3, 2)
    for z, y, x in torch.cartesian_prod(*map(torch.arange, size)).tolist():
        bit = int(words[z // 4, y // 4, x // 4]) >> (16 * (z % 4) + 4 * (y % 4) + x % 4) & 1
        assert bool(bit) == bool(filled[z, y, x])


def test_threads_do_not_matter() -> None:
    grid, (origins, directions) = some_grid(17, 18, 19, dtype=torch.float32), some_rays(700, torch.float32)
    results = []
    for count in (1, 2, 5):
        with threads(count):
            leaves = [v.clone().requires_grad_() for v in (grid, origins, directions, BOX.float())]
            out = lg.march(*leaves, 0.02)
            results.append([*out, *torch.autograd.grad(out.features.square().sum() + out.depth.sum(), leaves)])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


@pytest.mark.parametrize("payload", [0, 1, 3, 8])
@STEPS
def test_threads_do_not_matter_to_the_grid_alone(payload, step) -> None:
    """The number of threads does not matter for samples on both sides of borders between the threads' parts."""
    grid = some_grid(21, 18, 11, channels=payload, dtype=torch.float32)
    rays = some_rays(900, torch.float32)
    gradients = []
    for count in (1, 2, 5):
        with threads(count):
            leaf = grid.clone().requires_grad_()
            out = lg.march(leaf, *rays, BOX.float(), step)
            gradients += torch.autograd.grad(out.features.square().sum() + out.depth.sum(), leaf)
    assert gradients[0].abs().sum() > 0
    assert all(torch.equal(gradients[0], other) for other in gradients[1:])


def test_features_that_are_not_finite() -> None:
    """The gradient of one ray's features is infinite; the others' are what they are without it."""
    grid, (origins, directions) = some_grid(5, 6, 7, dtype=torch.float32), some_rays(40, torch.float32)
    weight = random(40, 3)
    gradients = []
    for infinite in (False, True):
        weight[7] = math.inf if infinite else 0.0
        leaf = grid.clone().requires_grad_()
        out = lg.march(leaf, origins, directions, BOX.float(), 0.05)
        gradients += torch.autograd.grad(out.features, leaf, weight)
    alone = grid.clone().requires_grad_()
    lg.march(alone, origins[7:8], directions[7:8], BOX.float(), 0.05).features.sum().backward()
    met = alone.grad[..., 1:].abs().sum(-1) > 1e-3
    assert met.any()
    assert not gradients[1][..., 1:][met].isfinite().any()
    kept = gradients[1].isfinite().all(-1)
    assert kept.float().mean() > 0.5
    assert scaled_error(gradients[1][kept], gradients[0][kept]) < 1e-5


# ---- Wrong calls -----------------------------------------------------------------------------------------

RAY = torch.zeros(2, 3)
WRONG = [
    ({"grid": [1.0]}, TypeError, r"^grid: expected a torch.Tensor, got list"),
    ({"grid": torch.ones(2, 2, 2, 2).int()}, TypeError, r"^grid: expected float32 or float64, got int32"),
    ({"grid": torch.ones(2, 2, 2)}, ValueError, r"^grid: expected shape \[D, H, W, 1 \+ C\], got \(2, 2, 2\)"),
    ({"grid": torch.ones(2, 0, 2, 2)}, ValueError, r"^grid: expected 1 to 32768 voxels per side"),
    ({"origins": RAY[:, :2]}, ValueError, r"^origins: expected shape \[..., 3\], got \(2, 2\)"),
    ({"origins": RAY.double()}, TypeError, r"^origins: expected torch.float32 like grid, got torch.float64"),
    ({"directions": torch.zeros(5, 3)}, ValueError, r"^directions: expected a shape that broadcasts with origins'"),
    ({"box": torch.zeros(6)}, ValueError, r"^box: expected shape \[2, 3\], got \(6,\)"),
    ({"box": "unit"}, TypeError, r"^box: expected two corners of three numbers, got 'unit'"),
    ({"box": ((0, 0, 0), (1, 0, 1))}, ValueError, r"^box: expected a lower and an upper corner"),
    ({"step": 0.0}, ValueError, r"^step: expected a positive number, got 0.0"),
    ({"step": "fine"}, TypeError, r"^step: expected a number, got 'fine'"),
    ({"occupancy": torch.ones(2, 2, 2)}, TypeError, r"^occupancy: expected what lumigrad.occupancy returns, or None"),
    ({"occupancy": lg.Occupancy(torch.zeros(1, 1, 1).long(), (4, 4, 9))},
     ValueError, r"^occupancy.words: expected shape \[1, 1, 3\]"),
    ({"background": torch.zeros(4)},
     ValueError, r"^background: expected a shape that broadcasts with \(2, 3\), got \(4,\)"),
    ({"t_max": torch.zeros(3)}, ValueError, r"^t_max: expected a shape that broadcasts with \(2,\), got \(3,\)"),
    ({"t_min": "near"}, TypeError, r"^t_min: expected a number, got 'near'"),
    ({"activation": "tanh"}, ValueError, r"^activation: expected one of none, relu, softplus, exp, got 'tanh'"),
    ({"degree": 4}, ValueError, r"^degree: expected an integer from 0 to 3, got 4"),
    ({"degree": 1}, ValueError, r"^grid: expected 1 \+ C times 4 values for degree 1"),
    ({"min_transmittance": -1}, ValueError, r"^min_transmittance: expected a non-negative number, got -1"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG)
def test_wrong_calls(wrong, error, message) -> None:
    right = {"grid": torch.ones(2, 2, 2, 4), "origins": RAY, "directions": RAY, "box": ((0, 0, 0), (1, 1, 1))}
    with pytest.raises(error, match=message):
        lg.march(**{**right, **wrong})


def test_wrong_occupancy() -> None:
    with pytest.raises(ValueError, match=r"^density: expected shape \[D, H, W\], got \(2, 2\)"):
        lg.occupancy(torch.zeros(2, 2))
    with pytest.raises(TypeError, match=r"^density: expected float32 or float64, got int64"):
        lg.occupancy(torch.zeros(2, 2, 2).long())
    with pytest.raises(TypeError, match=r"^threshold: expected a number"):
        lg.occupancy(torch.zeros(2, 2, 2), "none")


@MARCHES
@pytest.mark.parametrize("step", [None, 0.05])
def test_transmittance_that_rises(march, step) -> None:
    """Densities may be negative without an activation: rays end where little passes, though more would later."""
    density = torch.tensor([9.0, 9.0, -20.0, -20.0], dtype=DOUBLE)
    grid = torch.stack((density, *[torch.ones_like(density)] * 3), -1)[:, None, None]
    options = {"activation": "none", "min_transmittance": 0.5}
    out = march(grid, *up(), long_box(4.0), step, **options)
    assert 0.5 < out.alpha.item() < (0.7 if step else 1.0)
    every = march(grid, *up(), long_box(4.0), step, activation="none")
    assert every.alpha.item() < 0
    assert abs(every.median.item() - 1 - math.log(2) / 9) < 0.01


@MARCHES
def test_harmonics_without_features(march) -> None:
    out = march(fog(1.0)[..., :1], *up(3), long_box(2.0), degree=2)
    assert out.features.shape == (3, 0)
