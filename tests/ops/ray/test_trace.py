"""Rays through meshes, against closed forms and the definition that tests every ray with every triangle."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import lumigrad as lg

DTYPES = (torch.float32, torch.float64)
SQUARE = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
SQUARE_TRI = torch.tensor([[0, 1, 2], [0, 2, 3]])


def uniform(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Numbers in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def soup(triangles: int, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Triangles between random vertices of the unit cube."""
    count = triangles + 5
    return uniform(count, 3, seed=seed, dtype=dtype), uniform(triangles, count, seed=seed + 1).argsort(1)[:, :3]


def crossing(rays: int, dtype: torch.dtype, seed: int = 10) -> tuple[Tensor, Tensor]:
    """Rays from around the unit cube through it."""
    origins = uniform(rays, 3, seed=seed, dtype=dtype) * 4 - 1.5
    return origins, uniform(rays, 3, seed=seed + 1, dtype=dtype) - origins


def test_a_square() -> None:
    origins = torch.tensor([[0.75, 0.25, 2.0], [0.25, 0.75, -1.0], [1.5, 0.5, 2.0]])
    directions = torch.tensor([[0.0, 0.0, -4.0], [0.0, 0.0, 0.5], [0.0, 0.0, -1.0]])
    hits = lg.trace(origins, directions, SQUARE, SQUARE_TRI)
    assert hits.tri.tolist() == [0, 1, -1]
    assert hits.t.tolist() == [0.5, 2.0, math.inf]
    assert hits.bary.tolist() == [[0.25, 0.5], [0.25, 0.25], [0.0, 0.0]]
    assert lg.occluded(origins, directions, SQUARE, SQUARE_TRI).tolist() == [True, True, False]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("triangles", [1, 3, 4, 5, 33, 700])
def test_definition(triangles: int, dtype: torch.dtype) -> None:
    mesh, rays = soup(triangles, dtype), crossing(333, dtype)
    hits, expected = lg.trace(*rays, *mesh), lg.reference.trace(*rays, *mesh)
    assert torch.equal(hits.tri, expected.tri)
    assert (hits.tri >= 0).any()
    tolerance = 1e-6 if dtype == torch.float32 else 1e-11
    torch.testing.assert_close(hits.t, expected.t, rtol=tolerance, atol=0)
    torch.testing.assert_close(hits.bary, expected.bary, rtol=0, atol=tolerance)
    assert torch.equal(lg.occluded(*rays, *mesh), expected.tri >= 0)
