"""Ops on fields and distances under torch.compile, torch.func and autocast, and their second derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ops_common import random
from torch import Tensor

import lumigrad as lg
from lumigrad import RaySamples

BOX = [[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]
RAYS = torch.tensor([[0.1, 0.2, -3.0], [0.4, -0.3, -3.0]]), torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.1, 1.0]])


def samples(like: Tensor) -> RaySamples:
    """Two rays', in a type that samples can have."""
    start = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64 if like.dtype == torch.float64 else torch.float32)
    return RaySamples(start, start + 1, torch.tensor([0, 2, 3]))


Case = tuple[Callable[..., Any], tuple[Tensor, ...]]
CASES: dict[str, Case] = {
    "march": (
        lambda grid, origins: lg.march(grid, origins, RAYS[1].to(grid), BOX, 0.1, background=origins).features,
        (random(4, 4, 4, 4), RAYS[0]),
    ),
    "march, cells": (lambda grid: lg.march(grid, *(v.to(grid) for v in RAYS), BOX).alpha, (random(4, 4, 4, 4),)),
    "composite": (
        lambda density, features, background: lg.composite(samples(density), density, features, background).features,
        (0.5 + 0.4 * random(3), random(3, 2), random(2)),
    ),
    "distortion_loss": (lambda weights: lg.distortion_loss(samples(weights), weights), (random(3).abs(),)),
    "contract": (lg.contract, (3 * random(5, 3),)),
    "hash_encode": (lambda x, table: lg.hash_encode(x, table, (4, 9)), (random(5, 3).abs(), random(2, 50, 2))),
    "volsdf_density": (lambda distance: lg.volsdf_density(distance, 0.1), (random(5),)),
    "neus_alpha": (lambda front: lg.neus_alpha(front, torch.zeros_like(front), 3.0), (random(5),)),
}
WITHOUT_SECOND = ("march", "march, cells", "composite", "hash_encode")
EACH = pytest.mark.parametrize("name", list(CASES))


def with_gradients(function: Callable[..., Tensor], arguments: tuple[Tensor, ...]) -> list[Tensor]:
    leaves = [value.clone().requires_grad_() for value in arguments]
    out = function(*leaves)
    return [out, *torch.autograd.grad(out.sum(), leaves)]


@pytest.mark.cpu_only
@EACH
def test_compiled_as_one_graph(name: str) -> None:
    function, arguments = CASES[name]
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for ours, expected in zip(with_gradients(compiled, arguments), with_gradients(function, arguments)):
        assert torch.allclose(ours, expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@EACH
def test_mapped(name: str) -> None:
    function, arguments = CASES[name]
    pairs = [torch.stack((value, 0.9 * value)) for value in arguments]
    found = torch.func.vmap(function)(*pairs)
    for k in range(2):
        assert torch.allclose(found[k], function(*(pair[k] for pair in pairs)), atol=1e-6)


@EACH
def test_autocast(name: str) -> None:
    """Half precision is taken as float32; without autocast it is refused by name."""
    function, arguments = CASES[name]
    if "march" not in name:  # whose rays have the type of the grid
        half = [value.bfloat16() for value in arguments]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(function(*half), function(*(value.float() for value in half)))
    with pytest.raises(TypeError, match=r"^\w+: expected float32 or float64, got float16"):
        function(*(value.half() for value in arguments))
    with pytest.raises(TypeError, match=r"^\w+: expected float32 or float64, got int64"):
        function(*(value.long() for value in arguments))


@pytest.mark.parametrize("name", [name for name in CASES if name not in WITHOUT_SECOND])
def test_second_derivatives(name: str) -> None:
    function, arguments = CASES[name]
    torch.autograd.gradgradcheck(function, [value.double().requires_grad_() for value in arguments])


@pytest.mark.parametrize("name", WITHOUT_SECOND)
def test_no_second_derivatives(name: str) -> None:
    function, arguments = CASES[name]
    leaves = [value.clone().requires_grad_() for value in arguments]
    slopes = torch.autograd.grad(function(*leaves).sin().sum(), leaves, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives are not implemented"):
        sum(slope.square().sum() for slope in slopes).backward()
