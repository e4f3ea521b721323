"""Mip levels: closed forms, the kernel against the reference, gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_common import random, scaled_error, threads

import lumigrad as lg
from lumigrad import reference


@pytest.mark.parametrize("build", [lg.build_mips, reference.build_mips])
def test_closed_forms(build) -> None:
    tex = torch.arange(16.0).view(1, 4, 4, 1)
    first, second = build(tex)
    assert first.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert second.flatten().tolist() == [7.5]
    # three texels become one; five become two that share the middle one
    (row,) = build(torch.tensor([[[[1.0], [2.0], [6.0]]]]))
    assert torch.allclose(row.flatten(), torch.tensor([3.0]))
    row = build(torch.tensor([[[[5.0], [0.0], [10.0], [0.0], [20.0]]]]))[0]
    assert torch.allclose(row.flatten(), torch.tensor([5 * 0.4 + 10 * 0.2, 10 * 0.2 + 20 * 0.4]))
    assert [tuple(level.shape) for level in build(torch.zeros(2, 1, 7, 3))] == [(2, 1, 3, 3), (2, 1, 1, 3)]
    assert build(torch.zeros(1, 1, 1, 4)) == []
    assert [level.shape[2] for level in build(torch.zeros(1, 6, 8, 8, 1), 2, cube=True)] == [4, 2]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2), st.integers(1, 21), st.integers(1, 21), st.sampled_from([0, 1, 2, 3, 4, 7]),
    st.one_of(st.none(), st.integers(0, 5)), st.sampled_from([torch.float32, torch.float64]),
)  # fmt: skip
def test_matches_reference(views: int, height: int, width: int, channels: int, max_level, dtype) -> None:
    tex = random(views, height, width, channels, seed=height, dtype=dtype).requires_grad_()
    levels = lg.build_mips(tex, max_level)
    expected = reference.build_mips(tex.double(), max_level)
    assert [level.shape for level in levels] == [level.shape for level in expected]
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    for level, wanted in zip(levels, expected):
        assert torch.allclose(level.double(), wanted, rtol=0, atol=tolerance)
        if level.numel():  # the mean of the texture is kept
            assert torch.allclose(level.mean((1, 2)), tex.mean((1, 2)), atol=1e-5)
    if levels:
        weights = [random(*level.shape, seed=9, dtype=dtype) for level in levels]
        grads = [
            torch.autograd.grad(sum((a * w).sum() for a, w in zip(chain, weights)), tex)[0]
            for chain in (levels, expected)
        ]
        assert scaled_error(*grads) < 10 * tolerance


def test_gradients() -> None:
    for shape, cube in (((2, 7, 6, 2), False), ((1, 6, 5, 5, 1), True)):
        tex = random(*shape, dtype=torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(lambda t, c=cube: tuple(lg.build_mips(t, cube=c)), (tex,))
    # levels that nobody uses
    tex = random(1, 8, 8, 1).requires_grad_()
    grad = torch.autograd.grad(lg.build_mips(tex)[1].sum(), tex)[0]
    assert torch.allclose(grad, torch.full_like(grad, 1 / 16))


def test_op_registration() -> None:
    tex = random(1, 9, 6, 3).requires_grad_()
    torch.library.opcheck(torch.ops.lumigrad.build_mips.default, (tex, 2))
    (grad,) = torch.autograd.grad(lg.build_mips(tex)[0].square().sum(), tex, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives"):
        grad.sum().backward()


def test_threads_do_not_matter() -> None:
    tex = random(2, 301, 299, 3)
    results = []
    for count in (1, 2):
        with threads(count):
            leaf = tex.clone().requires_grad_()
            levels = lg.build_mips(leaf)
            loss = sum((level * random(*level.shape, seed=i)).sum() for i, level in enumerate(levels))
            results.append([*levels, *torch.autograd.grad(loss, leaf)])
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_wrong_calls() -> None:
    with pytest.raises(TypeError, match=r"^tex: expected a torch.Tensor, got list"):
        lg.build_mips([1.0])
    with pytest.raises(TypeError, match=r"^tex: expected float32 or float64, got int64"):
        lg.build_mips(torch.zeros(1, 2, 2, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"^tex: expected shape \[N, H, W, C\], got \(2, 2, 1\)"):
        lg.build_mips(torch.zeros(2, 2, 1))
    with pytest.raises(ValueError, match=r"^tex: expected square faces"):
        lg.build_mips(torch.zeros(1, 6, 2, 3, 1), cube=True)
    with pytest.raises(ValueError, match=r"^tex: expected at least one texel"):
        lg.build_mips(torch.zeros(1, 0, 3, 1))
    with pytest.raises(ValueError, match=r"^max_level: expected at least 0, got -1"):
        lg.build_mips(torch.zeros(1, 2, 2, 1), -1)
    with pytest.raises(TypeError, match=r"^max_level: expected an integer or None"):
        lg.build_mips(torch.zeros(1, 2, 2, 1), 1.5)
