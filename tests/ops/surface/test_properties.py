"""Properties of all mesh ops on whatever input comes, found by hypothesis.

Coverage equals that of the reference on every pixel, and everything that comes out, gradients included, is
finite.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ops_common import random, scaled_error, threads
from torch import Tensor

import lumigrad as lg
from lumigrad.ops.surface._antialias import antialias_with

# Numbers that meet exactly: vertices coincide, edges lie on each other and run through pixel centres, w is 0.
LATTICE = st.sampled_from([-2.0, -1.0, -0.5, -0.25, 0.0, 0.125, 0.25, 0.5, 1.0, 2.0])
ANY = st.floats(-4, 4, width=32)
WILD = st.one_of(
    LATTICE,
    st.floats(width=32, allow_nan=True, allow_infinity=True),
    st.sampled_from([1e-38, -1e-38, 1e-45, 1e20, -1e20, 3e38, 1e-20]),
)
SIDES = st.integers(1, 21)


def examples(count: int) -> settings:
    """The same examples on every run."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=slow)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Images this small are not worth sharing out."""
    with threads(1):
        yield


@st.composite
def meshes(draw: st.DrawFn, numbers: st.SearchStrategy[float], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Positions [V, 4] and faces, with repeated indices and repeated triangles."""
    vertices = draw(st.integers(1, 9))
    values = draw(st.lists(numbers, min_size=4 * vertices, max_size=4 * vertices))
    faces = draw(st.lists(st.tuples(*[st.integers(0, vertices - 1)] * 3), max_size=9))
    return torch.tensor(values, dtype=dtype).view(-1, 4), torch.tensor(faces, dtype=torch.int32).reshape(-1, 3)


def check(pos: Tensor, tri: Tensor, size: tuple[int, int]) -> tuple[Tensor, lg.Fragments, Tensor]:
    """Run everything; positions with gradients, fragments, screen derivatives."""
    pos = pos.clone().requires_grad_()
    frags = lg.rasterize(pos, tri, size)
    assert torch.equal(frags.tri, lg.reference.visibility(pos.detach(), tri, size)[0])
    first, second = (layer.tri for layer in lg.peel(pos.detach(), tri, size, 2, derivatives=False))
    behind = lg.reference.peel(pos.detach(), tri, size, 2, derivatives=False)
    assert torch.equal(first, frags.tri)
    assert torch.equal(second, list(behind)[1].tri)

    attr = random(len(pos), 2, seed=1, dtype=pos.dtype).requires_grad_()
    out, out_d = lg.interpolate(attr, frags, tri, derivatives=True)
    smooth = lg.antialias(out, frags, pos, tri)
    assert frags.bary.min() >= 0 if frags.bary.numel() else True
    assert (frags.bary.sum(-1) <= 1 + 1e-6).all()
    assert (frags.depth.abs() <= 1).all()
    for value in (frags.bary, frags.depth, out, smooth):
        assert value.isfinite().all()
    assert (smooth.abs() <= 1 + 1e-6).all()
    weights = [random(*v.shape, seed=i, dtype=v.dtype) for i, v in enumerate((smooth, frags.depth))]
    (smooth * weights[0]).sum().add((frags.depth * weights[1]).sum()).backward()
    assert attr.grad.isfinite().all()
    return pos, frags, out_d


@examples(150)
@given(meshes(LATTICE, torch.float64), SIDES, SIDES)
def test_degenerate_meshes(mesh: tuple[Tensor, Tensor], height: int, width: int) -> None:
    pos, frags, out_d = check(*mesh, (height, width))
    assert pos.grad.isfinite().all()
    assert out_d.isfinite().all()
    expected = lg.reference.rasterize(mesh[0], mesh[1], (height, width))
    assert scaled_error(frags.bary, expected.bary) < 1e-9
    assert scaled_error(frags.depth, expected.depth) < 1e-9


@examples(100)
@given(meshes(ANY, torch.float32), SIDES, SIDES)
def test_ordinary_numbers(mesh: tuple[Tensor, Tensor], height: int, width: int) -> None:
    check(*mesh, (height, width))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@examples(100)
@given(st.data(), SIDES, SIDES)
def test_wild_numbers(dtype: torch.dtype, data: st.DataObject, height: int, width: int) -> None:
    """NaN, infinities, the largest and the smallest: coverage as ever, and nothing but numbers comes out."""
    check(*data.draw(meshes(WILD, dtype)), (height, width))


@examples(60)
@given(meshes(LATTICE, torch.float64), SIDES, SIDES, st.booleans())
def test_antialias_is_the_reference(mesh: tuple[Tensor, Tensor], height: int, width: int, own_edges: bool) -> None:
    pos, tri = mesh
    frags = lg.rasterize(pos, tri, (height, width))
    color, weight = (random(1, height, width, 2, seed=i, dtype=torch.float64) for i in (1, 2))
    topology = lg.edge_topology(tri)
    results = []
    for native in (True, False):
        inputs = color.clone().requires_grad_(), pos.clone().requires_grad_()
        if native:
            out = antialias_with(inputs[0], frags, inputs[1], tri, topology, own_edges)
        else:
            out = lg.reference.antialias(inputs[0], frags, inputs[1], tri, topology, own_edges=own_edges)
        results.append((out, *torch.autograd.grad((out * weight).sum(), inputs, allow_unused=True)))
    for ours, theirs in zip(*results):
        theirs = torch.zeros_like(ours) if theirs is None else theirs
        assert scaled_error(ours, theirs) < 1e-9
