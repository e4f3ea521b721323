"""Exchange of light between surfaces, with derivatives: balls that light a point, endless plates, form factors."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from light_common import plate, rays_down, row
from torch import Tensor

import lumigrad as lg
from lumigrad import LitScene
from lumigrad.scene import icosphere

DOUBLE = torch.float64


def lit(positions: Tensor, tri: Tensor, rows: list[Tensor], of: list[int]) -> LitScene:
    kinds = torch.tensor([[0, 1, -1, -1, -1]]).expand(len(rows), 5)
    return LitScene(positions, tri, torch.stack(rows), kinds, torch.tensor(of))


def holds(found: list[Tensor], expected: Tensor, least: float = 1e-4, most: float = 0.1) -> bool:
    """Whether the mean of runs is what is expected, within five standard errors, which are small."""
    runs = torch.stack(found)
    error = runs.std(0) / math.sqrt(len(runs))
    assert (error < most * expected.abs().max()).all()
    return bool(((runs.mean(0) - expected).abs() < 5 * error + least).all())


def test_a_ball_that_grows() -> None:
    """E = pi L (R / d)^2 cos: its derivative by R is that of its outline alone."""
    ball = icosphere(2)
    (ground, tri), place = plate(9.0), torch.tensor([0.9, 1.6, 0.0], dtype=DOUBLE)
    directions = ball.positions.double()
    faces = torch.cat((tri, ball.faces.long() + 4))
    distance, found = place.norm().item(), []
    for seed in range(10):
        radius = torch.tensor(0.5, dtype=DOUBLE, requires_grad=True)
        scene = lit(
            torch.cat((ground, radius * directions + place)), faces, [row(1.0), row(0.0, 2.0)],
            [0, 0] + [1] * len(ball.faces),
        )  # fmt: skip
        radiance = lg.trace_paths(scene, *rays_down(0.0), 1000, 2, seed=seed).radiance.mean()
        (slope,) = torch.autograd.grad(math.pi * radiance, radius)
        found.append(torch.stack((math.pi * radiance.detach(), slope)))
    value = 2 * math.pi * 0.5**2 / distance**2 * (1.6 / distance)
    assert holds(found, torch.tensor([value, 2 * value / 0.5], dtype=DOUBLE), 0.03 * 2 * value / 0.5)  # it has faces


def test_endless_parallel_plates() -> None:
    """The first emits E: it shows E / (1 - r1 r2), with the derivatives of this by E, r1 and r2."""
    values = torch.tensor([0.7, 0.6, 0.5], dtype=DOUBLE)
    emitted, r1, r2 = (value.clone().requires_grad_() for value in values)
    known = emitted / (1 - r1 * r2)
    expected = torch.stack((known.detach(), *torch.autograd.grad(known, (emitted, r1, r2))))
    (low, tri), found = plate(300.0), []
    positions = torch.cat((low, low + torch.tensor([0.0, 1.0, 0.0], dtype=DOUBLE)))
    faces = torch.cat((tri, tri[:, [0, 2, 1]] + 4))
    for seed in range(10):
        e, a, b = leaves = [value.clone().requires_grad_() for value in values]
        rest, none = torch.tensor([1.0, 0, 1.5, 0, 0, 0], dtype=DOUBLE), torch.zeros(3, dtype=DOUBLE)
        rows = [torch.cat((a.expand(3), rest, e.expand(3))), torch.cat((b.expand(3), rest, none))]
        scene = lit(positions, faces, rows, [0, 0, 1, 1])
        radiance = lg.trace_paths(scene, *rays_down(0.0, height=0.5), 500, None, seed=seed).radiance.mean()
        found.append(torch.stack((radiance.detach(), *torch.autograd.grad(radiance, leaves))))
    assert holds(found, expected, 0.01)


def parallel(h: Tensor) -> Tensor:
    """From a unit square to one that lies opposite, at the distance h."""
    x = 1 / h
    root = (1 + x * x).sqrt()
    total = (
        torch.log((1 + x * x) / (1 + 2 * x * x).sqrt()) + 2 * x * root * torch.atan(x / root) - 2 * x * torch.atan(x)
    )
    return 2 / (math.pi * x * x) * total


def opposite(h: Tensor) -> Tensor:
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]], dtype=DOUBLE)
    return corners + h * torch.tensor([0.0, 1.0, 0.0], dtype=DOUBLE)


def upright(h: Tensor) -> Tensor:
    """On an edge of the first square, as high as h."""
    y, z = torch.tensor([[0.0, 1, 1, 0], [0.0, 0, 1, 1]], dtype=DOUBLE)
    return torch.stack((0 * y, h * y, z), -1)


@pytest.mark.parametrize(("second", "known"), [(opposite, 0.1998249), (upright, 0.2000438)])
def test_form_factors(second: Callable[[Tensor], Tensor], known: float) -> None:
    """Of all light that a unit square sends, the part that another one gets; by its pixels, seen along its normal."""
    at = (torch.arange(7, dtype=DOUBLE) / 6).expand(7, 7)
    origins = torch.stack((at, torch.full_like(at, 0.01), at.T), -1)
    rays = origins.contiguous(), torch.tensor([0.0, -1.0, 0.0], dtype=DOUBLE).expand(7, 7, 3).contiguous()
    square, tri = opposite(torch.zeros((), dtype=DOUBLE)), torch.tensor([[0, 2, 1], [0, 3, 2]])
    found = []
    for seed in range(10):
        h = torch.tensor(1.0, dtype=DOUBLE, requires_grad=True)
        faces = torch.cat((tri, tri + 4))
        scene = lit(torch.cat((square, second(h))), faces, [row(1.0), row(0.0, 1.0)], [0, 0, 1, 1])
        factor = lg.trace_paths(scene, *rays, 60, 2, seed=seed).radiance.mean()
        found.append(torch.stack((factor.detach(), *torch.autograd.grad(factor, h))))
    if second is opposite:
        h = torch.tensor(1.0, dtype=DOUBLE, requires_grad=True)
        assert parallel(h).item() == pytest.approx(known, abs=1e-6)
        slope = torch.autograd.grad(parallel(h), h)[0].item()
        assert holds(found, torch.tensor([known, slope], dtype=DOUBLE), 1e-3)
    else:
        assert holds([value[:1] for value in found], torch.tensor([known], dtype=DOUBLE), 1e-3)
        assert torch.stack(found)[:, 1].mean() > 0  # a higher one sends more
