"""Ops on packed fragments have the same bits as on separate images, forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import call
from meshes import random_triangles
from ops_common import random, sphere_views
from torch import Tensor

import lumigrad as lg
from lumigrad.ops.surface import _packed

DTYPES = [torch.float32, torch.float64]
# Rows of whole chunks and tiles, and rows with a rest.
SIZES = [(16, 64), (70, 83), (3, 7)]
OPTIONS = (4, True, None, None, False)


def scene(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    pos, tri = sphere_views(2, 2, dtype)
    loose, faces = random_triangles(6, seed=3, behind=0.1)
    return torch.cat((pos, loose.to(dtype).expand(2, -1, -1)), 1), torch.cat((tri, faces + pos.shape[1])).int()


def rasterized(dtype: torch.dtype, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """pos, tri, then frag_tri, bary, depth, bary_d and rast."""
    pos, tri = scene(dtype)
    apart = call("rasterize", pos, tri, None, *size, True, False, *OPTIONS, False)
    packed = call("rasterize", pos, tri, None, *size, True, False, *OPTIONS, True)
    assert torch.equal(packed[0], apart[0])
    assert torch.equal(packed[3], apart[3])
    assert packed[1].numel() == packed[2].numel() == apart[5].numel() == 0
    return pos, tri, *apart[:4], packed[5]


def gradients(op: str, inputs: tuple[Any, ...], wanted: list[int], grads: dict[int, Tensor]) -> tuple[Tensor, ...]:
    """Of the inputs at the `wanted` places, from gradients of the outputs at these places."""
    values = list(inputs)
    for i in wanted:
        values[i] = values[i].clone().requires_grad_()
    outputs = getattr(torch.ops.lumigrad, op).default(*values)
    return torch.autograd.grad([outputs[i] for i in grads], [values[i] for i in wanted], list(grads.values()))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rasterize(dtype: torch.dtype, size: tuple[int, int]) -> None:
    pos, tri, frag_tri, bary, depth, bary_d, rast = rasterized(dtype, size)
    assert (frag_tri >= 0).any()
    expected = torch.cat((bary, depth[..., None], frag_tri[..., None].to(dtype) + 1), -1)
    assert torch.equal(rast, expected)
    grad_bary, grad_d = random(*bary.shape, dtype=dtype), random(*bary_d.shape, seed=1, dtype=dtype)
    others = random(*bary.shape, seed=2, dtype=dtype)  # of depth and triangle, which have no gradient
    given = {0: grad_bary, 1: torch.cat((grad_bary, others), -1)}
    for apart, packed in (({1: given[0]}, {5: given[1]}), ({1: given[0], 3: grad_d}, {5: given[1], 3: grad_d})):
        inputs = (pos, tri, None, *size, True, False, *OPTIONS)
        (theirs,) = gradients("rasterize", (*inputs, False), [0], apart)
        (ours,) = gradients("rasterize", (*inputs, True), [0], packed)
        assert theirs.abs().max() > 0
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("layers", [4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_peel(dtype: torch.dtype, layers: int) -> None:
    pos, tri = scene(dtype)
    before: tuple[Tensor | None, Tensor | None] = (None, None)
    for rast, rast_db in _packed.peel_packed(pos, tri, None, (40, 37), layers, 4):
        out = call("rasterize", pos, tri, None, 40, 37, True, True, 4, True, *before, True, False)
        before = out[0], out[4]
        assert torch.equal(rast[..., 3], out[0].to(dtype) + 1)
        assert torch.equal(rast[..., :2], out[1])
        assert torch.equal(rast[..., 2], out[2])
        assert torch.equal(rast_db, out[3].flatten(-2))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("listed", [None, [0]])
@pytest.mark.parametrize("dtype", DTYPES)
def test_interpolate(dtype: torch.dtype, listed: list[int] | None, channels: int, size: tuple[int, int]) -> None:
    pos, tri, frag_tri, bary, _, bary_d, rast = rasterized(dtype, size)
    attr = random(2, pos.shape[1], channels, dtype=dtype)
    db = bary_d if listed else None
    apart, packed = (attr, tri, frag_tri, bary, db, None, listed), (attr, tri, None, None, db, rast, listed)
    for ours, theirs in zip(call("interpolate", *packed), call("interpolate", *apart)):
        assert torch.equal(ours, theirs)
    grads = {0: random(*rast.shape[:3], channels, seed=1, dtype=dtype)}
    if listed:
        grads[1] = random(*rast.shape[:3], len(listed), 2, seed=2, dtype=dtype)
    derivatives = [4] if listed else []
    theirs = gradients("interpolate", apart, [0, 3, *derivatives], grads)
    ours = gradients("interpolate", packed, [0, 5, *derivatives], grads)
    assert theirs[1].abs().max() > 0
    assert torch.equal(ours[1][..., :2], theirs[1])
    assert not ours[1][..., 2:].any()
    assert torch.equal(ours[0], theirs[0])
    assert all(map(torch.equal, ours[2:], theirs[2:]))
    # With the gradient of derivatives alone, that of u and v is zero.
    if listed:
        (grad,) = gradients("interpolate", packed, [5], {1: grads[1]})
        assert not grad.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_antialias(dtype: torch.dtype) -> None:
    pos, tri, frag_tri, _, depth, _, rast = rasterized(dtype, (70, 83))
    color, topology = random(2, 70, 83, 3, dtype=dtype), lg.edge_topology(tri)
    apart = (color, frag_tri, depth, None, pos, tri, topology, True)
    packed = (color, None, None, rast, pos, tri, topology, True)
    theirs, ours = call("antialias", *apart), call("antialias", *packed)
    assert not torch.equal(theirs[0], color)
    assert torch.equal(ours[0], theirs[0])
    grads = {0: random(2, 70, 83, 3, seed=1, dtype=dtype)}
    places = [0, 4]
    assert all(map(torch.equal, gradients("antialias", packed, places, grads),
                   gradients("antialias", apart, places, grads)))  # fmt: skip


@pytest.mark.parametrize("width", [16, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_below_one_are_background(dtype: torch.dtype, width: int) -> None:
    tri, attr = torch.tensor([[0, 1, 2]], dtype=torch.int32), torch.ones(3, 1, dtype=dtype)
    rast = torch.zeros(1, 1, width, 4, dtype=dtype)
    rast[..., 3] = torch.tensor([1, 0, -0.0, -1, 0.5, -2.5, -1e6, 1.9]).to(dtype).repeat(2)[:width]
    out, _ = call("interpolate", attr, tri, None, None, None, rast, None)
    assert torch.equal(out[0, 0, :, 0], (rast[0, 0, :, 3] >= 1).to(dtype))


@pytest.mark.cpu_only
@pytest.mark.parametrize("value", [2.0, 1e7, 2.0**24 + 2, 4e9, 1e30, torch.inf, torch.nan, -torch.nan])
@pytest.mark.parametrize("width", [16, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_of_no_triangle_are_an_error(dtype: torch.dtype, width: int, value: float) -> None:
    """Where a device reports no error, such a pixel is background."""
    pos = torch.tensor([[-1.0, -1, 0, 1], [3, -1, 0, 1], [-1, 3, 0, 1]], dtype=dtype)
    tri, color = torch.tensor([[0, 1, 2]], dtype=torch.int32), torch.ones(1, 1, width, 1, dtype=dtype)
    rast = torch.zeros(1, 1, width, 4, dtype=dtype)
    rast[0, 0, 3, 3] = value
    with pytest.raises(ValueError, match="but tri has 1 triangles"):
        call("interpolate", pos, tri, None, None, None, rast, None)
    with pytest.raises(ValueError, match="but tri has 1 triangles"):
        call("interpolate_backward", pos, tri, None, None, None, rast, None, color.expand(-1, -1, -1, 4), None,
             True, False, False, True)  # fmt: skip
