"""Sphere tracing: closed forms and their derivatives, grids against the definition, silhouettes."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from implicit_common import box, centres, noise, sphere
from torch import Tensor

import lumigrad as lg

DTYPES = (torch.float32, torch.float64)


def rays(count: int, seed: int, dtype: torch.dtype = torch.float64, reach: float = 3.0) -> tuple[Tensor, Tensor]:
    """From points around the cube [-1, 1]^3 through points in it."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=-1)
    target = torch.rand(count, 3, generator=generator, dtype=torch.float64) * 2 - 1
    speed = torch.rand(count, 1, generator=generator, dtype=torch.float64) + 0.5
    return (reach * start).to(dtype), ((target - reach * start) * speed).to(dtype)


def beam(count: int, half: float, height: float, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Parallel rays along -z through the centres of count x count pixels."""
    at = (torch.arange(count, dtype=dtype) + 0.5) * (2 * half / count) - half
    y, x = torch.meshgrid(at, at, indexing="ij")
    origins = torch.stack([x, y, torch.full_like(x, height)], -1)
    return origins, torch.tensor([0.0, 0.0, -1.0], dtype=dtype).expand_as(origins)


def sphere_function(radius: Tensor, centre: Tensor):
    return lambda x: (x - centre).norm(dim=-1) - radius


def test_sphere() -> None:
    """Test 9 of the closed forms: dt/dR = 1/(n.d), dt/dc = n/(n.d), dt/do = -n/(n.d), dt/dd = -t n/(n.d)."""
    origins, directions = (value.requires_grad_() for value in rays(200, 0))
    radius = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    centre = torch.tensor([0.1, -0.05, 0.2], dtype=torch.float64, requires_grad=True)
    hits = lg.sphere_trace(sphere_function(radius, centre), origins, directions)
    d, to_centre = directions.detach(), (origins - centre).detach()
    b, c = (to_centre * d).sum(-1), (to_centre**2).sum(-1) - radius.item() ** 2
    square = b**2 - (d**2).sum(-1) * c
    expected = (-b - square.clamp(min=0).sqrt()) / (d**2).sum(-1)
    assert torch.equal(hits.mask, square > 0)
    assert 60 < hits.mask.sum() < 200
    t = hits.t.detach()
    assert torch.allclose(t[hits.mask], expected[hits.mask], rtol=1e-9)
    assert (t[~hits.mask] == torch.inf).all()
    normals = (to_centre + t[:, None] * d) / radius.item()
    assert torch.allclose(hits.normals[hits.mask], normals[hits.mask], atol=1e-8)
    for i in hits.mask.nonzero()[:40, 0].tolist():
        n, cosine = normals[i], (normals[i] * d[i]).sum()
        slopes = torch.autograd.grad(hits.t[i], (radius, centre, origins, directions), retain_graph=True)
        assert slopes[0].item() == pytest.approx(1 / cosine.item(), rel=1e-6)
        assert torch.allclose(slopes[1], n / cosine, rtol=1e-6)
        assert torch.allclose(slopes[2][i], -n / cosine, rtol=1e-6)
        assert torch.allclose(slopes[3][i], -t[i] * n / cosine, rtol=1e-6)


def test_rigid_motion_and_scale() -> None:
    """Everything moved, turned and enlarged: hits, normals and derivatives go with it."""
    origins, directions = rays(60, 3)
    turn = torch.linalg.matrix_exp(torch.tensor([[0, -0.7, 0.2], [0.7, 0, -0.4], [-0.2, 0.4, 0]], dtype=torch.float64))
    shift, scale = torch.tensor([0.3, -1.0, 0.5], dtype=torch.float64), 2.5
    found = []
    for matrix, offset, size in (
        (torch.eye(3, dtype=torch.float64), torch.zeros(3).double(), 1.0),
        (turn, shift, scale),
    ):
        o = (size * origins @ matrix.T + offset).requires_grad_()
        d = (size * directions @ matrix.T).requires_grad_()

        def two_balls(x: Tensor, m: Tensor = matrix, b: Tensor = offset, k: float = size) -> Tensor:
            at = (x - b) @ m / k
            near = torch.minimum(
                at.norm(dim=-1) - 0.6, (at - torch.tensor([0.5, 0.4, 0.0]).double()).norm(dim=-1) - 0.4
            )
            return k * near

        hits = lg.sphere_trace(two_balls, o, d)
        slopes = torch.autograd.grad(hits.t[hits.mask].sum(), (o, d))
        found.append((hits, [slope @ matrix * size for slope in slopes], hits.normals @ matrix))
    (first, slopes, normals), (second, moved_slopes, moved_normals) = found
    assert first.mask.sum() > 15
    assert torch.equal(first.mask, second.mask)
    assert torch.allclose(first.t, second.t)
    assert torch.allclose(normals, moved_normals, atol=1e-7)
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(slopes, moved_slopes))


def test_gradcheck_of_a_function() -> None:
    origins, directions = beam(3, 0.4, 2.0)
    origins = (origins + 0.01).requires_grad_()
    directions = (directions + 0.05).clone().requires_grad_()
    radius = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    centre = torch.tensor([0.1, -0.05, 0.2], dtype=torch.float64, requires_grad=True)

    def traced(o: Tensor, d: Tensor, r: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        return lg.sphere_trace(sphere_function(r, c), o, d)[:3]

    torch.autograd.gradcheck(traced, (origins, directions, radius, centre))


@pytest.mark.parametrize("shape", [(4, 5, 6), (2, 1, 3)])
def test_gradcheck_of_a_grid(shape: tuple[int, int, int]) -> None:
    normal = torch.tensor([0.2, -0.1, 1.0], dtype=torch.float64)
    grid = (centres(shape, 1.0) @ normal + 0.1 * noise(shape, 1)).requires_grad_()
    origins, directions = beam(3, 0.3, 2.0)
    origins = (origins + torch.tensor([0.0312, 0.0217, 0.0])).requires_grad_()
    directions = (directions + torch.tensor([0.05, -0.03, 0.0])).clone().requires_grad_()
    corners = torch.tensor(box(1.0), dtype=torch.float64)
    hits = lg.sphere_trace(grid, origins, directions, box=corners)
    assert hits.mask.sum() >= 6

    def traced(g: Tensor, o: Tensor, d: Tensor) -> tuple[Tensor, ...]:
        found = lg.sphere_trace(g, o, d, box=corners)
        return found.t[hits.mask], found.positions, found.normals

    torch.autograd.gradcheck(traced, (grid, origins, directions))


@pytest.mark.parametrize("dtype", DTYPES)
def test_plane_in_a_grid(dtype: torch.dtype) -> None:
    """Test 11: the hit is exact; raising all values by e moves the plane by -e / (g . d)."""
    normal = torch.tensor([0.3, -0.5, 0.8], dtype=dtype)
    grid = (centres((9, 8, 7), 1.0, dtype) @ normal).requires_grad_()
    origins, directions = beam(5, 0.5, 3.0, dtype)
    directions = directions + torch.tensor([0.1, 0.05, 0.0], dtype=dtype)
    origins = origins - 2.5 * directions * torch.tensor([1.0, 1.0, 0.0], dtype=dtype)
    hits = lg.sphere_trace(grid, origins, directions, box=box(1.0))
    assert hits.mask.all()
    close = 40 * torch.finfo(dtype).eps
    assert torch.allclose(hits.t, -(origins @ normal) / (directions @ normal), atol=close)
    assert torch.allclose(hits.normals, (normal / normal.norm()).expand_as(hits.normals), atol=close)
    (slope,) = torch.autograd.grad(hits.t.sum(), grid)
    assert slope.sum().item() == pytest.approx(float((-1 / (directions @ normal)).sum()), rel=1e-5)
    assert ((slope != 0).sum()) <= 8 * 25
    # dt/ds of each voxel is minus its trilinear weight, over (g . d)
    at = (hits.positions.detach() + 1) / 2 * torch.tensor([7, 8, 9]) - 0.5
    expected = torch.zeros_like(grid)
    for corner in itertools.product((0, 1), repeat=3):
        x, y, z = (at.floor().long() + torch.tensor(corner)).unbind(-1)
        part = at - at.floor()
        weight = torch.where(torch.tensor(corner) > 0, part, 1 - part).prod(-1)
        expected.index_put_((z, y, x), -weight / (directions @ normal), accumulate=True)
    assert torch.allclose(slope, expected, atol=100 * close)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("band", [0.0, 0.3])
@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 1, 1), (1, 4, 3), (9, 2, 1), (3, 0, 2)])
def test_definition_of_the_grid(shape: tuple[int, int, int], band: float, dtype: torch.dtype) -> None:
    """Rays through noise, where a cell may be crossed three times: the kernel and the definition."""
    grid = noise(shape, 2) + 0.3
    if min(shape) > 3:
        grid[2, 2, 2], grid[3, 1, 4] = torch.nan, torch.inf
    origins, directions = rays(300, 3, reach=4.0)
    size = torch.tensor(shape[::-1])
    origins, directions = (origins / 2 + 0.5) * size - 0.5, directions * size
    origins[::5] = torch.rand(60, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64) * size - 0.5
    directions[::7, 0], directions[3::11, 1:] = 0.0, 0.0
    expected = lg.reference.trace_grid(grid, origins, directions, 0.0, torch.inf, band)
    found = torch.ops.lumigrad.trace_grid(grid.to(dtype), origins.to(dtype), directions.to(dtype), 0.0, torch.inf, band)
    for name, ours, theirs in zip(("hit", "near", "behind"), found, expected, strict=True):
        assert ours.dtype == dtype
        ours = ours.double()
        same = (ours == theirs) | ((ours - theirs).abs() < (2e-4 if dtype == torch.float32 else 1e-9))
        # float32: some rays all but touch a surface. near: where a function is constant, rounding makes its minima.
        least = 0.985 if dtype == torch.float32 else 1.0 if name == "hit" else 0.99
        assert same.double().mean() >= least, name
    if min(shape) > 3:
        assert 100 < found[0].isfinite().sum() < 300
        assert (found[1].isfinite().any() and found[2].isfinite().any()) == (band > 0)


def test_hits_are_roots() -> None:
    grid = noise((6, 7, 8), 8)
    origins, directions = rays(400, 9)
    hits = lg.sphere_trace(grid, origins, directions, box=box(1.0))
    from lumigrad.reference.implicit import trilinear

    at = (hits.positions[hits.mask] + 1) / 2 * torch.tensor([8, 7, 6]) - 0.5
    value, _ = trilinear(grid, at)
    assert hits.mask.sum() > 100
    assert value.abs().max() < 1e-11


def test_range() -> None:
    """Only crossings between t_min and t_max count, and only into the inside."""
    grid = sphere(24, 1.2, 0.8)
    origins, directions = torch.tensor([[0.01, 0.02, 3.0]]).double(), torch.tensor([[0.0, 0.0, -2.0]]).double()
    for sdf in (grid, lambda x: x.norm(dim=-1) - 0.8):
        corners = box(1.2)
        assert lg.sphere_trace(sdf, origins, directions, box=corners).t.item() == pytest.approx(1.1, abs=0.01)
        assert not lg.sphere_trace(sdf, origins, directions, t_max=1.0, box=corners).mask.any()
        assert not lg.sphere_trace(sdf, origins, directions, t_min=1.3, box=corners).mask.any()
        assert not lg.sphere_trace(sdf, origins, -directions, box=corners).mask.any()


@pytest.mark.parametrize("radius", [0.5, 0.7])
def test_silhouette_of_a_function(radius: float) -> None:
    """Test 10, orthographic: the area is pi R^2, its derivative 2 pi R; the interior gives nothing."""
    origins, directions = beam(160, 1.0, 3.0)
    size = torch.tensor(radius, dtype=torch.float64, requires_grad=True)
    hits = lg.sphere_trace(
        sphere_function(size, origins.new_zeros(3)), origins, directions, box=box(1.0), silhouette=0.05
    )
    area = hits.alpha.sum() * (2 / 160) ** 2
    assert area.item() == pytest.approx(math.pi * radius**2, rel=0.01)
    (slope,) = torch.autograd.grad(area, size)
    assert slope.item() == pytest.approx(2 * math.pi * radius, rel=0.02)


def test_silhouette_of_a_grid_in_perspective() -> None:
    """Test 10: the area is pi R^2 / (D^2 - R^2). Raising all values by e shrinks the radius by e."""
    radius, distance, count, half = 0.6, 3.0, 200, 0.3
    grid = sphere(48, 1.0, radius).requires_grad_()
    pixels, _ = beam(count, half, 0.0)
    directions = pixels - torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    origins = torch.tensor([0.0, 0.0, distance], dtype=torch.float64).expand_as(directions).clone().requires_grad_()
    hits = lg.sphere_trace(grid, origins, directions, box=box(1.0), silhouette=0.04)
    area = hits.alpha.sum() * (2 * half / count) ** 2
    gap = distance**2 - radius**2
    assert area.item() == pytest.approx(math.pi * radius**2 / gap, rel=0.01)
    to_grid, to_camera = torch.autograd.grad(area, (grid, origins))
    assert -to_grid.sum().item() == pytest.approx(2 * math.pi * radius * distance**2 / gap**2, rel=0.02)
    expected = -2 * math.pi * radius**2 * distance / gap**2
    assert to_camera.sum((0, 1))[2].item() == pytest.approx(expected, rel=0.02)
    assert to_camera.sum((0, 1))[:2].abs().max() < 0.01 * abs(expected)


@pytest.mark.parametrize("grid", [False, True])
def test_silhouette_before_another_surface(grid: bool) -> None:
    """A small ball before a large one of another brightness: the derivative of the image with respect to the small
    radius."""
    size, near_at = 64, torch.tensor([0.0, 0.0, 0.55], dtype=torch.float64)
    small = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def function(x: Tensor) -> Tensor:
        return torch.minimum((x - near_at).norm(dim=-1) - small, (x + near_at).norm(dim=-1) - 0.45)

    sdf = function(centres(size, 1.0)) if grid else function
    origins, directions = beam(200, 1.0, 3.0)
    hits = lg.sphere_trace(sdf, origins, directions, box=box(1.0), silhouette=0.03)

    def brightness(points: Tensor) -> Tensor:
        return torch.where(points[..., 2] > 0.1, 1.0, 0.25).double()

    assert hits.back is not None
    back = hits.back.alpha * brightness(hits.back.positions)
    image = hits.alpha * brightness(hits.positions) + (1 - hits.alpha) * back
    total = image.sum() * (2 / 200) ** 2
    assert total.item() == pytest.approx(math.pi * (0.3**2 * 0.75 + 0.45**2 * 0.25), rel=0.01)
    (slope,) = torch.autograd.grad(total, small)
    assert slope.item() == pytest.approx(2 * math.pi * 0.3 * 0.75, rel=0.02)


def test_function_that_grows_faster_than_a_distance() -> None:
    origins, directions = rays(200, 5)
    fast = lg.sphere_trace(lambda x: 3 * (x.norm(dim=-1) - 0.8), origins, directions, lipschitz=3.0)
    plain = lg.sphere_trace(lambda x: x.norm(dim=-1) - 0.8, origins, directions)
    assert torch.equal(fast.mask, plain.mask)
    assert torch.allclose(fast.t, plain.t)


def test_functions_of_another_type() -> None:
    """Functions may return another dtype, as under autocast or with float64 tables."""
    origins, directions = rays(20, 5, torch.float32)
    expected = lg.sphere_trace(lambda x: x.norm(dim=-1) - 0.8, origins, directions)
    found = lg.sphere_trace(lambda x: x.double().norm(dim=-1) - 0.8, origins, directions)
    assert found.t.dtype == torch.float32
    assert torch.equal(found.mask, expected.mask)
    assert torch.allclose(found.t, expected.t)


def test_nothing_to_trace() -> None:
    for sdf in (torch.zeros(0, 2, 2), torch.ones(1, 1, 1), lambda x: x[..., :1] + 10):
        hits = lg.sphere_trace(sdf, torch.zeros(2, 0, 3), torch.zeros(2, 0, 3), box=box(1.0))
        assert hits.t.shape == (2, 0)
        hits = lg.sphere_trace(sdf, torch.full((4, 3), torch.nan), torch.zeros(4, 3), box=box(1.0), silhouette=0.1)
        assert not hits.mask.any()
        assert hits.t.isinf().all()
        assert (hits.positions == 0).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sdf": 3}, TypeError, r"sdf: expected a grid \[D, H, W\] or a function of points, got int"),
        ({"sdf": torch.ones(3, 3)}, ValueError, r"sdf: expected shape \[D, H, W\], got \(3, 3\)"),
        ({"sdf": torch.ones(3, 3, 3).double()}, TypeError, r"sdf: expected torch.float32 on cpu like origins"),
        ({"sdf": lambda x: x}, ValueError, r"sdf: expected a function that returns shape \[2\], got \(2, 3\)"),
        ({"sdf": lambda x: 0.0}, TypeError, r"sdf\(points\): expected a torch.Tensor, got float"),
        ({"origins": [0.0]}, TypeError, r"origins: expected a torch.Tensor, got list"),
        ({"origins": torch.ones(2, 2)}, ValueError, r"origins: expected shape \[..., 3\], got \(2, 2\)"),
        ({"directions": torch.ones(3)}, ValueError, r"directions: expected shape \[2, 3\], got \(3,\)"),
        ({"t_min": -1.0}, ValueError, r"t_min, t_max: expected 0 <= t_min <= t_max, got -1.0 and inf"),
        ({"t_max": float("nan")}, ValueError, r"t_min, t_max: .*nan"),
        ({"silhouette": -1.0}, ValueError, r"silhouette: expected a non-negative number, got -1.0"),
        ({"steps": 0}, ValueError, r"steps: expected an integer from 1"),
        ({"tolerance": 0.0}, ValueError, r"tolerance: expected a positive number"),
        ({"relaxation": 2.0}, ValueError, r"relaxation: expected a number of at least 1.0 and below 2.0, got 2.0"),
        ({"lipschitz": 0.0}, ValueError, r"lipschitz: expected a positive number"),
        ({"box": [1, 2]}, ValueError, r"box: expected shape \[2, 3\]"),
        ({"box": [[0, 0, 0], [1, 0, 1]]}, ValueError, r"box: expected a lower and an upper corner"),
        ({"box": [[-3e38] * 3, [3e38] * 3]}, ValueError, r"box: expected a lower and an upper corner"),
    ],
)
def test_wrong_arguments(change: dict, error: type[Exception], message: str) -> None:
    values = {"sdf": lambda x: x.norm(dim=-1) - 1, "origins": torch.ones(2, 3), "directions": torch.ones(2, 3)}
    with pytest.raises(error, match=message):
        lg.sphere_trace(**{**values, **change})
