"""Compositing of packed samples: closed forms, the reference, gradients, another library's numbers, wrong calls."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ops_common import random, scaled_error, threads

import lumigrad as lg
from lumigrad import RaySamples, reference

COMPOSITES = pytest.mark.parametrize("composite", [lg.composite, reference.composite])
MODES = pytest.mark.parametrize("mode", ["density", "alpha"])
DOUBLE = torch.float64
ORACLE = Path(__file__).resolve().parents[4] / "shared" / "oracles" / "vol_nerfacc_rendering.npz"


def one_ray(*edges: float) -> RaySamples:
    t = torch.tensor(edges, dtype=DOUBLE)
    return RaySamples(t[:-1], t[1:], torch.tensor([0, len(edges) - 1]))


def some_samples(counts: list[int], dtype: torch.dtype = DOUBLE) -> tuple[RaySamples, torch.Tensor, torch.Tensor]:
    offsets = torch.tensor([0, *counts]).cumsum(0)
    total = int(offsets[-1])
    start = random(total, seed=1, dtype=dtype) + torch.arange(total).to(dtype)
    end = start + 0.3 + 0.2 * random(total, seed=2, dtype=dtype)
    norms = 1 + 0.5 * random(len(counts), seed=3, dtype=dtype)
    return (
        RaySamples(start, end, offsets, norms),
        0.5 + 0.4 * random(total, seed=4, dtype=dtype),
        random(total, 3, seed=5, dtype=dtype),
    )


@COMPOSITES
def test_two_slabs_and_a_background(composite) -> None:
    s, c, lengths, b = (0.4, 1.3), (0.9, 0.2), (0.8, 1.7), 0.7
    density = torch.tensor(s, dtype=DOUBLE, requires_grad=True)
    features = torch.tensor(c, dtype=DOUBLE)[:, None]
    out = composite(one_ray(1.0, 1.8, 3.5), density, features, torch.tensor([b], dtype=DOUBLE))
    e = [math.exp(-s[i] * lengths[i]) for i in range(2)]
    expected = c[0] * (1 - e[0]) + e[0] * (c[1] * (1 - e[1]) + e[1] * b)
    assert math.isclose(out.features.item(), expected, rel_tol=1e-12)
    grad = torch.autograd.grad(out.features.sum(), density)[0]
    assert math.isclose(grad[0].item(), lengths[0] * e[0] * (c[0] - c[1] * (1 - e[1]) - e[1] * b), rel_tol=1e-12)


@COMPOSITES
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_samples_of_equal_alpha(composite, alpha) -> None:
    """1 - (1 - a)^K, its derivative K (1 - a)^(K - 1); where a = 1, dC/da_0 = c_0 - c_1."""
    count = 5
    density = torch.full((count,), alpha, dtype=DOUBLE, requires_grad=True)
    features = random(count, 1, dtype=DOUBLE)
    out = composite(one_ray(*range(count + 1)), density, features, mode="alpha")
    assert math.isclose(out.alpha.item(), 1 - (1 - alpha) ** count)
    grad = torch.autograd.grad(out.alpha.sum(), density, retain_graph=True)[0]
    assert math.isclose(grad.sum().item(), count * (1 - alpha) ** (count - 1), abs_tol=1e-12)
    if alpha == 1:
        assert out.weights.tolist() == [1, 0, 0, 0, 0]
        grad = torch.autograd.grad(out.features.sum(), density)[0]
        assert math.isclose(grad[0].item(), (features[0] - features[1]).item())
        assert not grad[1:].any()


@COMPOSITES
def test_a_ball_in_a_parallel_beam(composite) -> None:
    """What passes of the beam as wide as it: pi / 2s^2 [1 - (1 + 2sR) e^(-2sR)]; d/dR = 2 pi R e^(-2sR)."""
    s, count = 1.3, 2000
    radius = torch.tensor(0.8, dtype=DOUBLE, requires_grad=True)
    height = (torch.arange(count, dtype=DOUBLE) + 0.5) / count  # of the chord in the middle of a ring, of R
    half, offsets = radius * height, torch.arange(count + 1)
    rings = 2 * math.pi * radius**2 * height / count
    fog = torch.full((count,), s, dtype=DOUBLE)
    out = composite(RaySamples(-half, half, offsets), fog, fog[:, None])
    passed = ((1 - out.alpha) * rings).sum()
    assert math.isclose(passed.item(), 0.571820934, rel_tol=1e-6)
    slope = torch.autograd.grad(passed, radius)[0]
    assert math.isclose(slope, 2 * math.pi * 0.8 * math.exp(-2 * s * 0.8), rel_tol=1e-5)


@MODES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matches_reference(mode, dtype) -> None:
    samples, density, features = some_samples([3, 0, 17, 1, 0, 40], dtype)
    background = random(6, 3, dtype=dtype)
    results = []
    for composite, to in ((lg.composite, dtype), (reference.composite, DOUBLE)):
        leaves = [
            v.to(to).requires_grad_()
            for v in (samples.t_start, samples.t_end, samples.norms, density, features, background)
        ]
        packed = RaySamples(leaves[0], leaves[1], samples.offsets, leaves[2])
        out = composite(packed, *leaves[3:], mode=mode)
        loss = sum((v * random(*v.shape, seed=i, dtype=to)).sum() for i, v in enumerate(out))
        results.append(
            [*out, *(g for g in torch.autograd.grad(loss, leaves, allow_unused=True) if g is not None and g.any())]
        )
    assert len(results[0]) == len(results[1])
    for actual, expected in zip(*results):
        assert scaled_error(actual, expected) < (1e-12 if dtype == DOUBLE else 1e-5)


@MODES
def test_gradients(mode) -> None:
    samples, density, features = some_samples([2, 0, 4])
    density[3] = 1.0 if mode == "alpha" else density[3]

    def function(t_start, t_end, norms, density, features, background):
        return tuple(
            lg.composite(RaySamples(t_start, t_end, samples.offsets, norms), density, features, background, mode)
        )

    leaves = [samples.t_start, samples.t_end, samples.norms, density, features, random(3, dtype=DOUBLE)]
    assert torch.autograd.gradcheck(function, [leaf.requires_grad_() for leaf in leaves])


def test_invariances() -> None:
    """A segment in two; empty segments; lengths times k and densities by k."""
    density, features = torch.tensor([0.4, 1.1], dtype=DOUBLE), random(2, 3, dtype=DOUBLE)
    whole = lg.composite(one_ray(0.0, 1.0, 2.5), density, features)
    halves = lg.composite(one_ray(0.0, 1.0, 1.7, 2.5), density[[0, 1, 1]], features[[0, 1, 1]])
    assert torch.allclose(whole.features, halves.features)
    empty = lg.composite(
        one_ray(0.0, 1.0, 1.0, 2.5), torch.cat((density[:1], density)), torch.cat((features[:1], features))
    )
    assert torch.allclose(whole.features, empty.features)
    longer = one_ray(0.0, 2.0, 5.0)._replace(norms=torch.tensor([3.0], dtype=DOUBLE))
    assert torch.allclose(whole.features, lg.composite(longer, density / 6, features).features)


@MODES
def test_invariances_of_gradients(mode) -> None:
    """An empty segment in each ray, and another order of rays."""
    samples, density, features = some_samples([2, 0, 4])
    weight = random(3, 3, seed=9, dtype=DOUBLE)

    def gradients(samples, density, features, weight):
        leaves = [v.clone().requires_grad_() for v in (density, features)]
        out = lg.composite(samples, *leaves, torch.ones(3, dtype=DOUBLE), mode)
        return torch.autograd.grad((out.features * weight).sum() + out.depth.sum(), leaves)

    plain = gradients(samples, density, features, weight)
    at = [0, 1, 1, 2, 3, 4, 4, 5]  # with the second sample of each ray again, empty
    again = torch.tensor([2, 6])
    kept = torch.tensor([0, 1, 3, 4, 5, 7])
    twice, end = density[at], samples.t_end[at]
    twice[again] = 0
    wider = RaySamples(samples.t_start[at], end, torch.tensor([0, 3, 3, 8]), samples.norms)
    found = gradients(wider, twice, features[at], weight)
    assert all(torch.allclose(a[kept], b) for a, b in zip(found, plain))

    order = torch.tensor([2, 3, 4, 5, 0, 1])
    moved = RaySamples(samples.t_start[order], samples.t_end[order], torch.tensor([0, 4, 4, 6]), samples.norms.flip(0))
    found = gradients(moved, density[order], features[order], weight.flip(0))
    assert all(torch.equal(a, b[order]) for a, b in zip(found, plain))


def test_splitting_a_segment_keeps_its_gradient() -> None:
    """Its two parts have the whole's density in common."""
    density, features = torch.tensor([0.4, 1.1], dtype=DOUBLE), random(2, 3, dtype=DOUBLE)
    slopes = []
    for edges, at in (((0.0, 1.0, 2.5), [0, 1]), ((0.0, 1.0, 1.7, 2.5), [0, 1, 1])):
        leaves = [v.clone().requires_grad_() for v in (density, features)]
        out = lg.composite(one_ray(*edges), leaves[0][at], leaves[1][at], torch.ones(3, dtype=DOUBLE))
        weighted = (out.features * random(1, 3, seed=9, dtype=DOUBLE)).sum()
        slopes.append(torch.autograd.grad(weighted, leaves))
    assert all(torch.allclose(a, b) for a, b in zip(*slopes))


@pytest.mark.skipif(not ORACLE.exists(), reason="needs ../shared/oracles")
def test_nerfacc() -> None:
    """Its rendering of 13 rays of 19 samples, whose depth is the expected one, and the gradients of a weighted sum."""
    known = {name: torch.from_numpy(value) for name, value in np.load(ORACLE).items()}
    offsets = torch.arange(0, 13 * 19 + 1, 19)
    samples = RaySamples(known["t_starts"].flatten(), known["t_ends"].flatten(), offsets)
    background = known["background"].requires_grad_()
    rgbs = known["rgbs"].reshape(-1, 3).requires_grad_()
    sigmas = known["sigmas"].flatten().requires_grad_()
    out = lg.composite(samples, sigmas, rgbs, background)
    depth = out.depth / out.alpha
    assert torch.allclose(out.features, known["colors"], rtol=1e-9)
    assert torch.allclose(out.alpha, known["opacities"][:, 0], rtol=1e-9)
    assert torch.allclose(depth, known["depths"][:, 0], rtol=1e-9)
    assert torch.allclose(out.weights, known["weights"].flatten(), rtol=1e-9, atol=1e-15)
    loss = (out.features * known["grad_colors"]).sum() + (out.alpha * known["grad_opacities"][:, 0]).sum()
    loss = loss + (depth * known["grad_depths"][:, 0]).sum()
    for name, grad in zip(("sigmas", "rgbs", "background"), torch.autograd.grad(loss, (sigmas, rgbs, background))):
        assert scaled_error(grad, known[f"grad_{name}"].reshape(grad.shape)) < 1e-9, name

    alphas = known["alpha_in"].flatten()
    out = lg.composite(samples, alphas, rgbs.detach(), mode="alpha")
    assert torch.allclose(out.features, known["alpha_colors"], rtol=1e-9)
    assert torch.allclose(out.alpha, known["alpha_opacities"][:, 0], rtol=1e-9)
    assert torch.allclose(out.depth, known["alpha_depths_unnormalised"][:, 0], rtol=1e-9)

    counts = torch.bincount(known["packed_ray_indices"], minlength=13)
    offsets = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
    samples = RaySamples(known["packed_t_starts"], known["packed_t_ends"], offsets)
    out = lg.composite(samples, known["packed_sigmas"], known["packed_rgbs"])
    assert torch.equal(samples.ray, known["packed_ray_indices"])
    assert torch.allclose(out.weights, known["packed_weights"], rtol=1e-9, atol=1e-15)
    assert torch.allclose(out.alpha, known["packed_opacities"][:, 0], rtol=1e-9)


def test_threads_do_not_matter() -> None:
    samples, density, features = some_samples([3, 0, 17, 1, 90] * 300, torch.float32)
    results = []
    for count in (1, 3):
        with threads(count):
            leaves = [density.clone().requires_grad_(), features.clone().requires_grad_()]
            out = lg.composite(samples, *leaves)
            results.append([*out, *torch.autograd.grad(out.features.square().sum(), leaves)])
    assert all(torch.equal(a, b) for a, b in zip(*results))


WRONG = [
    ({"density": [0.5]}, TypeError, r"^density: expected a torch.Tensor, got list"),
    ({"density": torch.zeros(2, 1)}, ValueError, r"^density: expected shape \[S\], got \(2, 1\)"),
    ({"features": torch.zeros(3, 1)}, ValueError, r"^features: expected shape \[2, C\], got \(3, 1\)"),
    ({"samples": (1, 2, 3)}, TypeError, r"^samples: expected RaySamples, got tuple"),
    ({"background": torch.zeros(2)}, ValueError, r"^background: expected a shape that broadcasts with \(1, 3\)"),
    ({"mode": "sigma"}, ValueError, r"^mode: expected one of density, alpha, got 'sigma'"),
    ({"samples": RaySamples(torch.zeros(2), torch.ones(2), torch.tensor([0, 3]))},
     ValueError, r"^samples.offsets: expected numbers that rise from 0 to 2"),
    ({"samples": RaySamples(torch.zeros(2), torch.ones(2), torch.tensor([0, 2]).int())},
     TypeError, r"^samples.offsets: expected int64, got int32"),
    ({"samples": RaySamples(torch.zeros(1), torch.ones(2), torch.tensor([0, 2]))},
     ValueError, r"^samples.t_start: expected shape \[2\], got \(1,\)"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG)
def test_wrong_calls(wrong, error, message) -> None:
    samples = RaySamples(torch.zeros(2), torch.ones(2), torch.tensor([0, 2]))
    right = {"samples": samples, "density": torch.zeros(2), "features": torch.zeros(2, 3)}
    with pytest.raises(error, match=message):
        lg.composite(**{**right, **wrong})


@COMPOSITES
@MODES
def test_samples_that_are_no_numbers(composite, mode) -> None:
    """NaN samples absorb nothing, neither they nor their features affect anything else, and no gradient is NaN."""
    samples, density, features = some_samples([20, 3, 4])
    bad = torch.tensor([2, 21])
    expected = composite(samples, density.index_fill(0, bad, 0.0), features, mode=mode)
    broken, colors = density.index_fill(0, bad, torch.nan), features.index_fill(0, bad, torch.inf)
    t_end = samples.t_end.index_fill(0, bad, torch.nan)
    leaves = [v.clone().requires_grad_() for v in (samples.t_start, t_end, samples.norms, broken, colors)]
    out = composite(RaySamples(leaves[0], leaves[1], samples.offsets, leaves[2]), *leaves[3:], mode=mode)
    assert all(torch.allclose(a, b) for a, b in zip(out, expected))
    slopes = torch.autograd.grad(sum(value.sum() for value in out), leaves, allow_unused=True)
    assert all(slope.isfinite().all() for slope in slopes if slope is not None)
    assert slopes[3] is not None
    assert (slopes[3] != 0).sum() == len(density) - 2
