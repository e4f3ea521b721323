"""Hash encoding: closed forms, the reference, gradients, wrong calls."""

from __future__ import annotations

import pytest
import torch
from ops_common import gradcheck, random, scaled_error, threads

import lumigrad as lg
from lumigrad import reference

DOUBLE = torch.float64
ENCODERS = pytest.mark.parametrize("encode", [lg.hash_encode, reference.hash_encode])
AXES = pytest.mark.parametrize("axes", [2, 3])


def points(count: int, axes: int, seed: int = 0, dtype: torch.dtype = DOUBLE) -> torch.Tensor:
    return 0.5 + 0.5 * random(count, axes, seed=seed, dtype=dtype)


def corners(resolution: int, axes: int) -> torch.Tensor:
    """The corners of a dense level in the order of its rows: the first axis fastest."""
    side = torch.arange(resolution + 1, dtype=DOUBLE) / resolution
    grid = torch.meshgrid(*[side] * axes, indexing="ij")
    return torch.stack([axis.flatten() for axis in reversed(grid)], -1)


@ENCODERS
@AXES
def test_a_linear_function_is_reproduced_by_dense_levels(encode, axes) -> None:
    slope = torch.tensor([[0.3, -1.2], [2.0, 0.4], [-0.7, 0.9]], dtype=DOUBLE)[:axes]
    resolutions = [1, 4, 7]
    tables = [corners(n, axes) @ slope + 0.5 for n in resolutions]
    x = torch.cat((points(50, axes), torch.zeros(1, axes, dtype=DOUBLE), torch.ones(1, axes, dtype=DOUBLE)))
    x.requires_grad_()
    out = encode(x, tables, resolutions)
    expected = (x @ slope + 0.5).repeat(1, 3)
    assert torch.allclose(out, expected, rtol=0, atol=1e-14)
    (grad,) = torch.autograd.grad(out[:, 2].sum(), x)
    assert torch.allclose(grad, slope[:, 0].expand_as(grad), rtol=0, atol=1e-13)


@ENCODERS
@pytest.mark.parametrize("entries", [64, 100])
def test_the_hash_of_a_corner(encode, entries) -> None:
    """At a corner of a cell, the features are those of the row selected by the formula."""
    corner = (37, 512, 901)
    number = corner[0] ^ (corner[1] * 2654435761 % 2**32) ^ (corner[2] * 805459861 % 2**32)
    x = torch.tensor([corner], dtype=DOUBLE) / 1024
    table = torch.arange(entries, dtype=DOUBLE)[:, None]
    assert encode(x, [table], [1024]).item() == number % entries
    x2, number = x[:, :2], corner[0] ^ (corner[1] * 2654435761 % 2**32)
    assert encode(x2, [table], [1024]).item() == number % entries


@ENCODERS
def test_a_level_is_dense_where_its_corners_just_fit(encode) -> None:
    x = torch.tensor([[1.0, 2.0, 3.0]], dtype=DOUBLE) / 3
    row = 1 + 4 * (2 + 4 * 3)
    assert encode(x, [torch.arange(64, dtype=DOUBLE)[:, None]], [3]).item() == row
    hashed = (1 ^ (2 * 2654435761 % 2**32) ^ (3 * 805459861 % 2**32)) % 63
    assert encode(x, [torch.arange(63, dtype=DOUBLE)[:, None]], [3]).item() == hashed


@AXES
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matches_reference(axes, channels, dtype) -> None:
    resolutions = [1, 5, 16, 301]
    tables = [random(n, channels, seed=i, dtype=dtype) for i, n in enumerate((8, 300, 97, 128))]
    x = 1.2 * points(75, axes, 3, dtype) - 0.1
    weights = random(75, 4 * channels, seed=9, dtype=dtype)
    results = []
    for encode, to in ((lg.hash_encode, dtype), (reference.hash_encode, DOUBLE)):
        leaves = [v.to(to).requires_grad_() for v in (x, *tables)]
        out = encode(leaves[0], leaves[1:], resolutions)
        results.append([out, *torch.autograd.grad((out * weights.to(to)).sum(), leaves)])
    tolerance = 1e-12 if dtype == DOUBLE else 1e-4
    for actual, expected in zip(*results):
        assert scaled_error(actual, expected) < tolerance


@AXES
@pytest.mark.parametrize("channels", [2, 3])
def test_gradients(axes, channels) -> None:
    inputs = (points(5, axes, 1).requires_grad_(), random(2, 30, channels, seed=2, dtype=DOUBLE).requires_grad_())
    assert gradcheck(lambda x, tables: lg.hash_encode(x, tables, (2, 9)), inputs, eps=1e-6, atol=1e-7, rtol=1e-6)


@ENCODERS
def test_outside_and_not_finite(encode) -> None:
    inside = torch.tensor([[0.0, 0.3, 1.0], [1.0, 0.3, 0.6]], dtype=DOUBLE)
    outside = torch.tensor([[-5.0, 0.3, 1e30], [1.5, 0.3, 0.6]], dtype=DOUBLE)
    nan, inf = torch.nan, torch.inf
    wrong = torch.tensor([[nan, 0.3, 0.2], [0.1, inf, 0.2], [0.1, 0.2, -inf]], dtype=DOUBLE)
    tables = random(2, 40, 2, dtype=DOUBLE).requires_grad_()
    x = torch.cat((inside, outside, wrong)).requires_grad_()
    out = encode(x, tables, (3, 8))
    assert torch.equal(out[:2], out[2:4])
    assert not out[4:].any()
    grad_x, grad_tables = torch.autograd.grad(out.sum(), (x, tables))
    assert (grad_x[2:4] != 0).tolist() == [[False, True, False], [False, True, True]]
    assert not grad_x[4:].any()
    assert grad_tables.sum().item() == pytest.approx(16)  # the weights of a point are 1 in each level and channel
    assert grad_tables.isfinite().all()


@ENCODERS
def test_nothing(encode) -> None:
    tables = random(2, 40, 2).requires_grad_()
    x = torch.zeros(0, 3, requires_grad=True)
    out = encode(x, tables, (3, 8))
    assert out.shape == (0, 4)
    grad_x, grad_tables = torch.autograd.grad(out.sum(), (x, tables))
    assert grad_x.shape == (0, 3)
    assert not grad_tables.any()


def test_one_tensor_or_several() -> None:
    tables, x = random(3, 50, 2, dtype=DOUBLE), points(20, 3)
    resolutions = torch.tensor([2, 5, 90])
    assert torch.equal(lg.hash_encode(x, tables, resolutions), lg.hash_encode(x, list(tables), (2, 5, 90)))


@pytest.mark.parametrize("levels", [1, 3])
def test_threads_do_not_matter(levels) -> None:
    """The number of threads does not matter, also with fewer levels than threads, when ranges of rows are
    distributed."""
    tables, x = random(levels, 1000, 2), points(5001, 3, dtype=torch.float32)
    results = []
    for count in (1, 2, 5):
        with threads(count):
            leaves = [x.clone().requires_grad_(), tables.clone().requires_grad_()]
            out = lg.hash_encode(*leaves, [7, 20, 64][-levels:])
            results.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


WRONG = [
    ({"x": [0.5]}, TypeError, r"^x: expected a torch.Tensor, got list"),
    ({"x": torch.zeros(2, 4)}, ValueError, r"^x: expected shape \[M, 3\] or \[M, 2\], got \(2, 4\)"),
    ({"x": torch.zeros(2, 3).long()}, TypeError, r"^x: expected float32 or float64, got int64"),
    ({"tables": torch.zeros(2, 5)}, ValueError, r"^tables: expected shape \[L, T, F\], got \(2, 5\)"),
    ({"tables": torch.zeros(2, 5, 1).double()}, TypeError, r"^tables: expected torch.float32 like x"),
    ({"tables": 3}, TypeError, r"^tables: expected a torch.Tensor or a list of them, got int"),
    ({"tables": []}, ValueError, r"^tables: expected 1 to 32 levels, got 0"),
    ({"tables": torch.zeros(33, 5, 1)}, ValueError, r"^tables: expected 1 to 32 levels, got 33"),
    ({"tables": torch.zeros(2, 0, 1)}, ValueError, r"^tables: expected 1 to 2\^31 - 1 rows and at least one feature"),
    ({"tables": [torch.zeros(5, 2), torch.zeros(5, 1)]},
     ValueError, r"^tables\[1\]: expected shape \[T, 2\], got \(5, 1\)"),
    ({"tables": [torch.zeros(5, 2), 1.0]}, TypeError, r"^tables\[1\]: expected a torch.Tensor, got float"),
    ({"resolutions": (1, 2, 3)}, ValueError, r"^resolutions: expected 2 numbers, one for each table, got 3"),
    ({"resolutions": (1, 0)}, ValueError, r"^resolutions\[1\]: expected an integer from 1 to 1048576, got 0"),
    ({"resolutions": (1.5, 2)}, TypeError, r"^resolutions\[0\]: expected an integer, got 1.5"),
    ({"resolutions": torch.ones(2)}, TypeError, r"^resolutions: expected integers \[L\], got shape \(2,\)"),
    ({"resolutions": 4}, TypeError, r"^resolutions: expected integers, got int"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG)
def test_wrong_calls(wrong, error, message) -> None:
    right = {"x": torch.zeros(2, 3), "tables": torch.zeros(2, 5, 2), "resolutions": (1, 2)}
    with pytest.raises(error, match=message):
        lg.hash_encode(**{**right, **wrong})
