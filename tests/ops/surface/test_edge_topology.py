"""The topology kernel against the reference: the same links, to the bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from meshes import cube, grid, icosphere, load_obj, split_vertices, uv_sphere

import lumigrad as lg

FAN = torch.tensor([[0, 1, 2], [0, 1, 3], [1, 0, 4], [0, 1, 1], [5, 5, 5], [0, 2, 1], [0, 1, 2]])


@pytest.mark.parametrize(
    "tri", [cube()[1], grid(5, 6)[1], icosphere(2)[1], uv_sphere(5, 7)[1], FAN, FAN[:0], FAN[:1], FAN[3:4]]
)
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_reference(tri: torch.Tensor, dtype: torch.dtype) -> None:
    ours = lg.edge_topology(tri.to(dtype))
    assert ours.dtype == torch.int32
    assert torch.equal(ours, lg.reference.edge_topology(tri))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_welding(dtype: torch.dtype) -> None:
    points, tri = icosphere(1)
    split, split_tri = split_vertices(points.to(dtype), tri)
    assert torch.equal(lg.edge_topology(split_tri, split), lg.edge_topology(tri))
    split[::2] += 0.0 * split[::2]
    assert torch.equal(lg.edge_topology(split_tri, split), lg.reference.edge_topology(split_tri, split))
    alone = lg.edge_topology(split_tri)
    assert torch.equal(alone.flatten() >> 1, torch.arange(len(alone) * 3).int())


def test_zero_and_minus_zero_are_one_place() -> None:
    points, tri = split_vertices(*grid(2, 2))
    points[points == 0] *= torch.tensor([1.0, -1.0]).repeat(100)[: (points == 0).sum()]
    assert torch.equal(lg.edge_topology(tri, points), lg.edge_topology(grid(2, 2)[1]))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(*[st.integers(0, 6)] * 3), max_size=40))
def test_any_triangles(faces: list[tuple[int, int, int]]) -> None:
    """Duplicates, degenerate triangles, edges of any number of triangles, either winding."""
    tri = torch.tensor(faces, dtype=torch.int32).reshape(-1, 3)
    assert torch.equal(lg.edge_topology(tri), lg.reference.edge_topology(tri))
    points = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1], [2, 0, 0], [-0.0, 0, 0]])
    assert torch.equal(lg.edge_topology(tri, points), lg.reference.edge_topology(tri, points))


def test_sparse_indices() -> None:
    """Memory goes with the triangles, not with the largest index."""
    tri = torch.tensor([[0, 1, 2**31 - 2], [2**31 - 2, 1, 7]])
    assert torch.equal(lg.edge_topology(tri), lg.reference.edge_topology(tri))


def test_real_mesh(shared) -> None:
    _, tri = load_obj(shared / "data" / "meshes" / "spot.obj")
    assert torch.equal(lg.edge_topology(tri), lg.reference.edge_topology(tri))
