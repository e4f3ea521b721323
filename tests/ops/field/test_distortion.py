"""The distortion loss and the contraction of space: closed forms, all pairs, derivatives, wrong calls."""

from __future__ import annotations

import math

import pytest
import torch
from ops_common import random

import lumigrad as lg
from lumigrad import RaySamples

DOUBLE = torch.float64


def some_samples() -> tuple[RaySamples, torch.Tensor]:
    offsets = torch.tensor([0, 4, 4, 5, 12])
    start = torch.cat([torch.arange(n).to(DOUBLE) for n in (4, 0, 1, 7)]) + 0.3 * random(12, dtype=DOUBLE)
    return RaySamples(start, start + 0.4, offsets), 0.3 + 0.2 * random(12, seed=1, dtype=DOUBLE)


def test_one_segment() -> None:
    samples = RaySamples(torch.tensor([1.0]), torch.tensor([1.6]), torch.tensor([0, 1, 1]))
    assert torch.allclose(lg.distortion_loss(samples, torch.tensor([0.7])), torch.tensor([0.49 * 0.6 / 3, 0.0]))


def test_two_thin_segments() -> None:
    """2 w1 w2 |m1 - m2|, and the derivatives by either weight and either place."""
    weights = torch.tensor([0.3, 0.6], dtype=DOUBLE, requires_grad=True)
    at = torch.tensor([1.0, 3.5], dtype=DOUBLE, requires_grad=True)
    loss = lg.distortion_loss(RaySamples(at, at, torch.tensor([0, 2])), weights)
    assert math.isclose(loss.item(), 2 * 0.3 * 0.6 * 2.5)
    by_weights, by_places = torch.autograd.grad(loss.sum(), (weights, at))
    assert torch.allclose(by_weights, torch.tensor([2 * 0.6 * 2.5, 2 * 0.3 * 2.5], dtype=DOUBLE))
    assert torch.allclose(by_places, torch.tensor([-1.0, 1.0], dtype=DOUBLE) * 2 * 0.3 * 0.6)


def test_all_pairs() -> None:
    samples, weights = some_samples()
    middle = 0.5 * (samples.t_start + samples.t_end)
    same = samples.ray[:, None] == samples.ray
    pairs = torch.where(same, weights[:, None] * weights * (middle[:, None] - middle).abs(), 0).sum(1)
    each = pairs + weights.square() * 0.4 / 3
    expected = torch.zeros(4, dtype=DOUBLE).index_add(0, samples.ray, each)
    assert torch.allclose(lg.distortion_loss(samples, weights), expected)


def test_gradients() -> None:
    samples, weights = some_samples()

    def function(t_start, t_end, weights):
        return lg.distortion_loss(RaySamples(t_start, t_end, samples.offsets), weights)

    leaves = [samples.t_start, samples.t_end, weights]
    assert torch.autograd.gradcheck(function, [leaf.requires_grad_() for leaf in leaves])


def test_contraction() -> None:
    """Continuous at 1, within 2; its Jacobian is 1 / r^2 along the radius and (2 - 1 / r) / r across."""
    points = 3 * random(50, 3, dtype=DOUBLE)
    radius = points.norm(dim=-1)
    mapped = lg.contract(points)
    assert (mapped.norm(dim=-1) < 2).all()
    assert torch.equal(mapped[radius <= 1], points[radius <= 1])
    r = 3.0
    jacobian = torch.autograd.functional.jacobian(lg.contract, torch.tensor([0.0, 0.0, r], dtype=DOUBLE))
    expected = torch.tensor([(2 - 1 / r) / r, (2 - 1 / r) / r, 1 / r**2], dtype=DOUBLE)
    assert torch.allclose(jacobian, torch.diag(expected))
    origin = torch.zeros(1, 3, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.grad(lg.contract(origin).sum(), origin)[0].tolist() == [[1.0, 1.0, 1.0]]
    assert math.isclose(lg.contract(torch.tensor([1e30, 0.0, 0.0], dtype=DOUBLE))[0].item(), 2.0)


def test_wrong_calls() -> None:
    with pytest.raises(ValueError, match=r"^points: expected shape \[..., 3\], got \(2,\)"):
        lg.contract(torch.zeros(2))
    with pytest.raises(TypeError, match=r"^samples: expected RaySamples, got list"):
        lg.distortion_loss([], torch.zeros(2))
    with pytest.raises(TypeError, match=r"^weights: expected a torch.Tensor, got list"):
        lg.distortion_loss([], [])


def test_numbers_that_are_not_finite_stay_in_their_ray() -> None:
    samples, weights = some_samples()
    expected = lg.distortion_loss(samples, weights)
    broken = weights.clone()
    broken[1] = torch.nan
    broken.requires_grad_()
    loss = lg.distortion_loss(samples, broken)
    assert loss[0].isnan()
    assert torch.equal(loss[1:], expected[1:])
    (slope,) = torch.autograd.grad(loss[1:].sum(), broken)
    assert slope.isfinite().all()
    both = torch.func.vmap(lambda row: lg.distortion_loss(samples, row))(torch.stack((weights, weights)))
    assert torch.equal(both[1], expected)
    points = torch.tensor([[torch.nan, 0.0, 0.0], [torch.inf, 0.0, 0.0], [3e30, 4e30, 0.0]], requires_grad=True)
    found = lg.contract(points)
    assert found[0].isnan().any()
    assert torch.allclose(found[2], torch.tensor([1.2, 1.6, 0.0]))
    assert torch.autograd.grad(found.sum(), points)[0].isfinite().all()
