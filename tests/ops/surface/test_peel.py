"""Depth peeling: every fragment appears exactly once, in order, with gradients."""

from __future__ import annotations

import pytest
import torch
from meshes import random_triangles
from ops_common import gradcheck, near_straddler, random, scaled_error, sphere_views
from torch import Tensor

import lumigrad as lg


def test_gradients_of_all_layers() -> None:
    """The scene is settled at this seed: no pixel of any layer changes its triangle within 2e-6."""
    pos, tri = random_triangles(5, seed=14, size=1.2)
    ground, ground_tri = near_straddler()
    pos = torch.cat((pos.double(), ground))
    tri = torch.cat((tri, ground_tri + 15))

    def layers(p: Tensor) -> tuple[Tensor, ...]:
        return tuple(value for frags in lg.peel(p, tri, (5, 6), 3) for value in frags[1:4])

    expected = [frags.tri for frags in lg.peel(pos, tri, (5, 6), 3)]
    assert all((found >= 0).sum() > 2 for found in expected)
    for seed in range(8):
        moved = pos + 2e-6 * random(*pos.shape, seed=seed, dtype=pos.dtype)
        assert all(torch.equal(a, f.tri) for a, f in zip(expected, lg.peel(moved, tri, (5, 6), 3)))
    assert gradcheck(layers, (pos.requires_grad_(),), eps=1e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ranged", [False, True])
def test_layers_are_those_of_the_reference(dtype: torch.dtype, ranged: bool) -> None:
    pos, tri = random_triangles(60, seed=3, behind=0.1)
    pos = pos.to(dtype)
    tri = torch.cat((tri, tri[:10], tri[5:15, [1, 2, 0]]))  # coincident surfaces
    ranges = torch.tensor([[0, 80], [20, 50], [3, 0]]) if ranged else None
    bound = 1e-5 if dtype == torch.float32 else 1e-10
    ours, theirs = pos.clone().requires_grad_(), pos.double().requires_grad_()
    loss, wanted = torch.zeros((), dtype=dtype), torch.zeros((), dtype=torch.float64)
    layers = zip(lg.peel(ours, tri, (53, 60), 5, ranges), lg.reference.peel(theirs, tri, (53, 60), 5, ranges))
    for frags, expected in layers:
        assert torch.equal(frags.tri, expected.tri)
        for i, (value, other) in enumerate(zip(frags[1:4], expected[1:4])):
            assert scaled_error(value, other) < bound
            # The derivatives of slivers dwarf all other gradients: they are compared in test_rasterize.
            weight = random(*value.shape, seed=i, dtype=torch.float64) * (1 if i < 2 else 1e-3)
            loss, wanted = loss + (value * weight.to(dtype)).sum(), wanted + (other * weight).sum()
    grads = torch.autograd.grad(loss, ours)[0], torch.autograd.grad(wanted, theirs)[0]
    assert scaled_error(*grads) < (1e-4 if dtype == torch.float32 else 1e-9)


def test_nothing_is_lost() -> None:
    """The layers of all triangles together are the triangles drawn one by one."""
    pos, tri = random_triangles(12, seed=9, size=0.8)
    tri = torch.cat((tri, tri[:4]))
    alone = lg.rasterize(pos, tri, (40, 40), torch.tensor([(t, 1) for t in range(len(tri))])).tri
    layers = torch.cat([frags.tri for frags in lg.peel(pos, tri, (40, 40), 17)])
    assert torch.equal(layers.sort(0)[0][1:], alone.sort(0)[0])
    assert (layers[16] == -1).all()
    filled = layers >= 0
    assert not (filled[1:] & ~filled[:-1]).any()  # once a pixel is empty it stays so


def test_closed_surface_has_an_even_number_of_layers() -> None:
    pos, tri = sphere_views(3, 1)
    layers = [frags.tri[0] >= 0 for frags in lg.peel(pos, tri, (80, 80), 3, derivatives=False)]
    assert torch.equal(layers[0], layers[1])
    assert not layers[2].any()


def test_first_layer_is_rasterize() -> None:
    pos, tri = sphere_views(2, 2)
    (first,) = lg.peel(pos, tri, (50, 60), 1)
    assert all(torch.equal(a, b) for a, b in zip(first[:4], lg.rasterize(pos, tri, (50, 60))[:4]))


@pytest.mark.parametrize("coincident", [False, True])
def test_drop_coincident(coincident: bool) -> None:
    """The contract of other peelers: what lies at exactly the same depth is one layer."""
    from lumigrad.ops.surface._peel import peel_layers

    pos, tri = random_triangles(8, seed=2, size=0.9)
    tri = torch.cat((tri, tri)).contiguous()
    ours = list(peel_layers(pos, tri, None, (30, 30), 9, False, drop_coincident=coincident))
    theirs = list(lg.reference.peel(pos, tri, (30, 30), 9, None, False, coincident))
    assert all(torch.equal(a.tri, b.tri) for a, b in zip(ours, theirs))
    once = list(lg.peel(pos, tri[8:], (30, 30), 9, derivatives=False))
    if coincident:
        assert all(torch.equal(a.bary, b.bary) for a, b in zip(ours, once))


def test_no_layers() -> None:
    pos, tri = random_triangles(2)
    assert list(lg.peel(pos, tri, (4, 4), 0)) == []


def test_arguments_are_checked_at_the_call() -> None:
    pos, tri = random_triangles(2)
    with pytest.raises(ValueError, match="layers"):
        lg.peel(pos, tri, (4, 4), -1)
