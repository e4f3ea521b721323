"""Packed samples of rays: closed forms, marching, the reference, nested grids, resampling, wrong calls."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ops_common import random, threads

import lumigrad as lg
from lumigrad import Occupancy, RaySamples, reference

DOUBLE = torch.float64
SAMPLERS = pytest.mark.parametrize("sample", [lg.sample_rays, reference.sample_rays])
RESAMPLERS = pytest.mark.parametrize("resample", [lg.resample_rays, reference.resample_rays])
BOX = torch.tensor([[-1.0, -0.9, -0.8], [0.9, 1.0, 1.1]], dtype=DOUBLE)
CUBE = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]], dtype=DOUBLE)
ORACLE = Path(__file__).resolve().parents[4] / "shared" / "oracles" / "vol_nerfacc_grid.npz"


def rays(count: int, dtype: torch.dtype = DOUBLE, size: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """From around the box towards places in it, or past it."""
    outside = torch.tensor([0.0, 0.0, 3 * size], dtype=dtype)
    origins = 2 * size * random(count, 3, seed=1, dtype=dtype) + outside
    return origins, 1.2 * size * random(count, 3, seed=2, dtype=dtype) - origins


def along_x(*starts: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Rays from x = -3 along x, at y = z = start."""
    origins = torch.tensor([[-3.0, start, start] for start in starts], dtype=DOUBLE)
    return origins, torch.tensor([1.0, 0.0, 0.0], dtype=DOUBLE).expand_as(origins)


def nested(*levels: torch.Tensor) -> Occupancy:
    grids = [lg.occupancy(level) for level in levels]
    return Occupancy(torch.stack([grid.words for grid in grids]), grids[0].size)


@SAMPLERS
def test_steps(sample) -> None:
    """Two rays pass through the cube and are cut into steps; one misses it."""
    samples = sample(*along_x(0.1, 5.0, -0.3), CUBE, 0.75)
    assert samples.offsets.tolist() == [0, 3, 3, 6]
    assert samples.t_start.tolist() == [2.0, 2.75, 3.5] * 2
    assert samples.t_end.tolist() == [2.75, 3.5, 4.0] * 2
    assert samples.norms.tolist() == [1.0] * 3


@SAMPLERS
def test_limits_and_directions(sample) -> None:
    """Distances are in units of the direction; the cube lies between 2 and 4 of a unit one."""
    origins, directions = along_x(0.0, 0.0, 0.0)
    t_min, t_max = torch.tensor([0.0, 1.25, 0.0], dtype=DOUBLE), torch.tensor([torch.inf, 1.5, 0.9], dtype=DOUBLE)
    samples = sample(origins, 2 * directions, CUBE, 0.5, None, t_min, t_max)
    assert samples.offsets.tolist() == [0, 2, 3, 3]
    assert samples.t_start.tolist() == [1.0, 1.5, 1.25]
    assert samples.t_end.tolist() == [1.5, 2.0, 1.5]
    assert samples.norms.tolist() == [2.0] * 3


@SAMPLERS
def test_empty_cells_are_left_out(sample) -> None:
    """Of the eight cells along x the third and the seventh are occupied, of a length of 1/4 each."""
    full = torch.zeros(8, 8, 8, dtype=torch.bool)
    full[:, :, [2, 6]] = True
    samples = sample(*along_x(0.1), CUBE, 0.125, lg.occupancy(full))
    assert samples.t_start.tolist() == [2.5, 2.625, 3.5, 3.625]
    assert sample(*along_x(0.1), CUBE, 0.125, lg.occupancy(~full)).offsets.tolist() == [0, 12]


@SAMPLERS
@pytest.mark.parametrize("cells", [4, 6, 8, 16])
def test_the_finest_level_decides(sample, cells) -> None:
    """Level 0 has its last slab of cells along x, level 1 has all cells, level 2 its first slab."""
    fine, middle, coarse = torch.zeros(3, cells, cells, cells, dtype=torch.bool)
    fine[..., -1] = True
    middle[...] = True
    coarse[..., 0] = True
    origins, directions = along_x(0.1)
    step = 2 / cells / 4
    samples = sample(origins - 7 * directions, directions, CUBE, step, nested(fine, middle, coarse))
    x = 0.5 * (samples.t_start + samples.t_end) - 10
    lattice = -4 + (torch.arange(16 * cells, dtype=DOUBLE) + 0.5) * step
    slab = 2 / cells
    in_fine, in_middle = lattice.abs() < 1, (lattice.abs() > 1) & (lattice.abs() < 2)
    inside = in_fine & (lattice > 1 - slab) | in_middle | (lattice < -4 + 4 * slab)
    assert torch.allclose(x, lattice[inside], rtol=0, atol=1e-12)


@SAMPLERS
@pytest.mark.parametrize("filled", [False, True])
def test_marching_is_sampling_and_compositing(sample, filled) -> None:
    """Marching equals sampling and compositing: the segments are the same, step by step."""
    grid, ray = random(6, 9, 7, 4, dtype=DOUBLE), rays(60)
    occupancy = lg.occupancy(random(6, 9, 7, seed=4) > 0.3) if filled else None
    expected = lg.march(grid, *ray, BOX, 0.07, occupancy, activation="softplus")
    samples = sample(*ray, BOX, 0.07, occupancy)
    assert len(samples.t_start) > 100
    middle = 0.5 * (samples.t_start + samples.t_end)
    points = ray[0][samples.ray] + middle[:, None] * ray[1][samples.ray]
    place = 2 * (points - BOX[0]) / (BOX[1] - BOX[0]) - 1
    values = torch.nn.functional.grid_sample(
        grid.permute(3, 0, 1, 2)[None], place[None, None, None], padding_mode="border", align_corners=False
    )[0, :, 0, 0].T
    seen = lg.composite(samples, torch.nn.functional.softplus(values[:, 0]), values[:, 1:])
    assert torch.allclose(seen.features, expected.features, rtol=0, atol=1e-12)
    assert torch.allclose(seen.depth, expected.depth, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("levels", [0, 1, 3])
@pytest.mark.parametrize("jitter", [None, 5])
def test_matches_reference(dtype, levels, jitter) -> None:
    occupancy = None
    if levels:
        occupancy = nested(*(random(6, 13, 8, seed=k) > 0.4 for k in range(levels)))
    box = BOX.to(dtype)
    t_max = 1 + 0.5 * random(500, seed=3, dtype=dtype)
    arguments = (*rays(500, dtype, 2.0 if levels > 1 else 1.0), box, 0.01, occupancy, 0.2, t_max, jitter)
    actual, expected = lg.sample_rays(*arguments), reference.sample_rays(*arguments)
    assert len(actual.t_start) > 1000
    assert torch.equal(actual.offsets, expected.offsets)
    assert torch.equal(actual.ray, expected.ray)
    for name in ("t_start", "t_end", "norms"):
        tolerance = 1e-14 if dtype == DOUBLE else 4e-6
        assert torch.allclose(getattr(actual, name), getattr(expected, name), rtol=0, atol=tolerance)


@SAMPLERS
def test_jitter(sample) -> None:
    """The whole ray is covered; ends move by a part of a step that only depends on the seed and the ray's number."""
    ray = along_x(*[0.0] * 200)
    samples = sample(*ray, CUBE, 0.25, jitter=7)
    first = samples.offsets[:-1]
    assert (samples.t_start[first] == 2).all()
    assert torch.allclose(samples.t_end[1:][samples.ray[1:] == samples.ray[:-1]].max(), torch.tensor(4.0, dtype=DOUBLE))
    lengths = samples.t_end - samples.t_start
    total = torch.zeros(200, dtype=DOUBLE).index_add(0, samples.ray, lengths)
    assert torch.allclose(total, torch.full_like(total, 2.0))
    part = 1 - lengths[first] / 0.25
    assert (part >= 0).all()
    assert (part < 1).all()
    assert abs(part.mean() - 0.5) < 4 * math.sqrt(1 / 12 / 200)
    assert abs(part.std() - math.sqrt(1 / 12)) < 0.05
    fewer = sample(*(v[:50] for v in ray), CUBE, 0.25, jitter=7)
    assert torch.equal(fewer.t_end, samples.t_end[: len(fewer.t_end)])
    other = sample(*ray, CUBE, 0.25, jitter=8)
    assert (other.t_end[other.offsets[:-1]] != samples.t_end[first]).all()


@SAMPLERS
def test_rays_that_are_not(sample) -> None:
    nan, inf = torch.nan, torch.inf
    origins = torch.tensor([[nan, 0, 0], [0, inf, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]], dtype=DOUBLE)
    directions = torch.tensor([[1, 0, 0], [1, 0, 0], [0, 0, 0], [nan, 0, 0], [1, 0, 0]], dtype=DOUBLE)
    samples = sample(origins, directions, CUBE, 0.5)
    assert samples.offsets.tolist() == [0, 0, 0, 0, 0, 2]
    limits = torch.tensor([nan, 0.0, 0.5, 1.0], dtype=DOUBLE)
    ray = (torch.zeros(4, 3, dtype=DOUBLE), directions[:1].expand(4, 3))
    assert sample(*ray, CUBE, 0.5, None, limits, 0.5).offsets.tolist() == [0, 0, 1, 1, 1]


@SAMPLERS
def test_nothing(sample) -> None:
    samples = sample(torch.zeros(0, 3), torch.zeros(0, 3), CUBE.float(), 0.1)
    assert samples.t_start.shape == (0,)
    assert samples.offsets.tolist() == [0]
    empty = lg.occupancy(torch.zeros(5, 5, 5, dtype=torch.bool))
    samples = sample(*along_x(0.0, 0.5), CUBE, 0.01, empty)
    assert samples.offsets.tolist() == [0, 0, 0]


@SAMPLERS
def test_steps_are_not_too_many(sample) -> None:
    samples = sample(*along_x(0.0), CUBE, 1e-9, jitter=1)
    assert 65536 <= len(samples.t_start) <= 65537
    assert (samples.t_start[1:] == samples.t_end[:-1]).all()
    assert samples.t_end[-1] == 4


def test_norms_of_rays_that_are_not_finite() -> None:
    directions = torch.tensor([[0.0, 3.0, 4.0], [torch.nan, 0.0, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    samples = lg.sample_rays(torch.zeros(3, 3), directions, CUBE.float(), 0.5)
    assert samples.norms.tolist() == [5, 0, 0]
    (slope,) = torch.autograd.grad(samples.norms.sum(), directions)
    assert torch.allclose(slope, torch.tensor([[0.0, 0.6, 0.8], [0, 0, 0], [0, 0, 0]]))


def test_norms_have_gradients() -> None:
    origins, directions = along_x(0.0)
    directions = (2 * directions).requires_grad_()
    samples = lg.sample_rays(origins, directions, CUBE, 0.5)
    assert not samples.t_start.requires_grad
    (grad,) = torch.autograd.grad(samples.norms.sum(), directions)
    assert grad.tolist() == [[1, 0, 0]]


def test_threads_do_not_matter() -> None:
    occupancy = lg.occupancy(random(20, 20, 20, seed=4) > 0.5)
    ray = rays(2000, torch.float32)
    results = []
    for count in (1, 3):
        with threads(count):
            results.append(lg.sample_rays(*ray, BOX.float(), 0.01, occupancy, jitter=3))
    assert all(torch.equal(a, b) for a, b in zip(*results))


@pytest.mark.skipif(not ORACLE.exists(), reason="needs ../shared/oracles")
def test_nerfacc() -> None:
    """Its crossings of boxes, of rays along axes too: as one long segment."""
    known = {name: torch.from_numpy(value).double() for name, value in np.load(ORACLE).items()}
    for k, box in enumerate(known["boxes"]):
        samples = lg.sample_rays(known["origins"], known["directions"], box.reshape(2, 3), 1e6)
        hits = known["hits"][:, k].bool() & (known["t_max"][:, k] > known["t_min"][:, k].clamp(min=0))
        counts = samples.offsets.diff()
        assert torch.equal(counts > 0, hits)
        assert torch.allclose(samples.t_start, known["t_min"][hits, k].clamp(min=0), rtol=1e-4, atol=1e-5)
        assert torch.allclose(samples.t_end, known["t_max"][hits, k], rtol=1e-4, atol=1e-5)


@SAMPLERS
@pytest.mark.skipif(not ORACLE.exists(), reason="needs ../shared/oracles")
def test_nerfacc_nested_grids(sample) -> None:
    """Its lookup in three levels: a ray that is all but a point has a sample where the value there is not zero."""
    known = {name: torch.from_numpy(value) for name, value in np.load(ORACLE).items()}
    filled = known["levels"].transpose(1, 3) != 0
    points, inside = known["points"].double(), known["inside"]
    assert 0 < inside.sum() < len(points)
    samples = sample(
        points[inside], torch.ones(int(inside.sum()), 3, dtype=DOUBLE), known["base_box"].double().reshape(2, 3),
        1e6, nested(*filled), t_max=1e-9,
    )  # fmt: skip
    assert torch.equal(samples.offsets.diff() > 0, known["values"][inside] != 0)


@RESAMPLERS
def test_equal_weights(resample) -> None:
    """Weights 1, 0, 3 of segments of lengths 1, 2, 1 behind a gap."""
    samples = RaySamples(
        torch.tensor([0.0, 1.0, 5.0], dtype=DOUBLE),
        torch.tensor([1.0, 3.0, 6.0], dtype=DOUBLE),
        torch.tensor([0, 0, 3]),
    )
    weights = torch.tensor([1.0, 0.0, 3.0], dtype=DOUBLE)
    finer = resample(samples, weights, 8)
    edges = [0, 0.5, 1, *[5 + k / 6 for k in range(1, 7)]]
    assert finer.offsets.tolist() == [0, 0, 8]
    assert torch.allclose(finer.t_start, torch.tensor(edges[:-1], dtype=DOUBLE))
    assert torch.allclose(finer.t_end, torch.tensor(edges[1:], dtype=DOUBLE))


@RESAMPLERS
def test_weights_of_zero_and_what_is_no_weight(resample) -> None:
    samples = RaySamples(
        torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.tensor([1.0, 2.0, 1.0, 2.0]), torch.tensor([0, 2, 4])
    )
    finer = resample(samples, torch.tensor([0.0, torch.nan, 2.0, -1.0]), 2)
    assert finer.t_start.tolist() == [0, 1, 0, 0.5]
    assert finer.t_end.tolist() == [1, 2, 0.5, 1]


@RESAMPLERS
def test_ends_do_not_lie_where_nothing_weighs(resample) -> None:
    """Not before, behind or between; nor in segments without a place, which spoil no other ray."""
    start = torch.arange(7, dtype=DOUBLE)
    samples = RaySamples(start, start + 1, torch.tensor([0, 4, 7]))
    weights = torch.tensor([0.0, 0.1, 0.7, 0.0, 1.0, 1.0, 1.0], dtype=DOUBLE)
    finer = resample(samples, weights, 3)
    assert finer.t_start[0] == 1
    assert finer.t_end[2] == 3
    broken = samples._replace(t_end=samples.t_end.index_fill(0, torch.tensor([2, 5]), torch.inf))
    finer = resample(broken, weights, 2)
    assert finer.t_start.tolist() == [1, 1.5, 4, 5]
    assert finer.t_end.tolist() == [1.5, 2, 5, 7]
    nowhere = resample(samples._replace(t_start=torch.full_like(start, torch.nan)), weights, 2)
    assert (nowhere.t_start == 0).all()


@RESAMPLERS
def test_many_rays_are_as_one(resample) -> None:
    counts = torch.tensor([3, 0, 40, 1])
    offsets = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
    start = torch.arange(44, dtype=DOUBLE)
    samples = RaySamples(start, start + 0.6, offsets)
    weights = random(44, dtype=DOUBLE).abs()
    finer = resample(samples, weights, 9)
    assert finer.offsets.tolist() == [0, 9, 9, 18, 27]
    for row, ray in enumerate((0, 2, 3)):
        begin, end = offsets[ray : ray + 2].tolist()
        share = (weights[begin:end] / weights[begin:end].sum()).numpy()
        sums = np.concatenate(([0], share.cumsum()))
        edges = np.stack((start[begin:end], start[begin:end] + 0.6), -1).reshape(-1)
        expected = np.interp(np.arange(1, 9) / 9, np.repeat(sums, 2)[1:-1], edges)
        assert np.allclose(finer.t_end[9 * row : 9 * row + 8], expected)
        assert np.allclose(finer.t_start[9 * row + 1 : 9 * row + 9], expected)


@RESAMPLERS
def test_random_shares(resample) -> None:
    """One segment from 0 to 1: the ends are (i + u) / 5, with one u a ray."""
    offsets = torch.arange(301)
    samples = RaySamples(torch.zeros(300, dtype=DOUBLE), torch.ones(300, dtype=DOUBLE), offsets)
    finer = resample(samples, torch.ones(300, dtype=DOUBLE), 4, jitter=3)
    u = 5 * finer.t_start.reshape(300, 4) - torch.arange(4)
    assert torch.allclose(u, u[:, :1].expand_as(u))
    assert abs(u.mean() - 0.5) < 4 * math.sqrt(1 / 12 / 300)
    assert (u >= 0).all()
    assert (u < 1).all()


@RESAMPLERS
def test_nothing_to_resample(resample) -> None:
    nothing = torch.zeros(0)
    for offsets in (torch.tensor([0]), torch.tensor([0, 0, 0])):
        finer = resample(RaySamples(nothing, nothing, offsets), nothing, 5)
        assert finer.t_start.shape == (0,)
        assert torch.equal(finer.offsets, offsets)


NO_GRID = Occupancy(torch.zeros(2, 2, 2, dtype=torch.int64), (9, 8, 8))
WRONG = [
    ({"origins": [0.0]}, TypeError, r"^origins: expected a torch.Tensor, got list"),
    ({"origins": torch.zeros(2, 2)}, ValueError, r"^origins: expected shape \[..., 3\], got \(2, 2\)"),
    ({"directions": torch.zeros(5, 3)}, ValueError, r"^directions: expected a shape that broadcasts with origins'"),
    ({"directions": torch.zeros(2, 3).double()}, TypeError, r"^directions: expected torch.float32 like origins"),
    ({"box": torch.zeros(6)}, ValueError, r"^box: expected shape \[2, 3\], got \(6,\)"),
    ({"step": 0.0}, ValueError, r"^step: expected a positive number, got 0.0"),
    ({"occupancy": torch.zeros(2)}, TypeError, r"^occupancy: expected what lumigrad.occupancy returns"),
    ({"occupancy": NO_GRID._replace(size=8)}, TypeError, r"^occupancy.size: expected \(D, H, W\), got 8"),
    ({"occupancy": NO_GRID}, ValueError, r"^occupancy.words: expected shape \[3, 2, 2\], got \(2, 2, 2\)"),
    ({"occupancy": Occupancy(torch.zeros(17, 2, 2, 2, dtype=torch.int64), (8, 8, 8))},
     ValueError, r"^occupancy.words: expected 1 to 16 levels, got 17"),
    ({"t_max": torch.zeros(3)}, ValueError, r"^t_max: expected a shape that broadcasts with \(2,\), got \(3,\)"),
    ({"jitter": 0.5}, TypeError, r"^jitter: expected an integer, got 0.5"),
    ({"jitter": -1}, ValueError, r"^jitter: expected an integer from 0"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG)
def test_wrong_calls(wrong, error, message) -> None:
    right = {"origins": torch.zeros(2, 3), "directions": torch.ones(2, 3), "box": CUBE.float(), "step": 0.1}
    with pytest.raises(error, match=message):
        lg.sample_rays(**{**right, **wrong})


WRONG_RESAMPLING = [
    ({"samples": (1, 2, 3)}, TypeError, r"^samples: expected RaySamples, got tuple"),
    ({"weights": torch.zeros(3)}, ValueError, r"^samples.t_start: expected shape \[3\], got \(2,\)"),
    ({"weights": torch.zeros(2, 1)}, ValueError, r"^weights: expected shape \[S\], got \(2, 1\)"),
    ({"count": 0}, ValueError, r"^count: expected an integer from 1 to 65536, got 0"),
    ({"jitter": "a"}, TypeError, r"^jitter: expected an integer, got 'a'"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG_RESAMPLING)
def test_wrong_resampling(wrong, error, message) -> None:
    samples = RaySamples(torch.zeros(2), torch.ones(2), torch.tensor([0, 2]))
    with pytest.raises(error, match=message):
        lg.resample_rays(**{"samples": samples, "weights": torch.ones(2), "count": 4, **wrong})
