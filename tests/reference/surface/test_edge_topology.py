"""The links between half-edges on meshes whose neighbourhoods are known."""

from __future__ import annotations

import pytest
import torch
from meshes import cube, icosphere, split_vertices, uv_sphere
from torch import Tensor

from lumigrad.reference import edge_topology


def ends(tri: Tensor, half_edge: int) -> tuple[int, int]:
    t, k = divmod(half_edge, 3)
    return int(tri[t, (k + 1) % 3]), int(tri[t, (k + 2) % 3])


def cycle(topology: Tensor, half_edge: int) -> list[int]:
    """The half-edges from ``half_edge`` around, itself first."""
    links = topology.flatten().tolist()
    found = [half_edge]
    while (following := links[found[-1]] >> 1) != half_edge:
        found.append(following)
    return found


@pytest.mark.parametrize("mesh", [cube(), icosphere(1), uv_sphere(5, 7)], ids=["cube", "icosphere", "uv sphere"])
def test_closed_surfaces_pair_all_edges(mesh: tuple[Tensor, Tensor]) -> None:
    _, tri = mesh
    topology = edge_topology(tri)
    assert topology.dtype == torch.int32
    assert not (topology & 1).any()
    for h, link in enumerate(topology.flatten().tolist()):
        assert link >> 1 != h
        assert ends(tri, link >> 1) == ends(tri, h)[::-1]
        assert len(cycle(topology, h)) == 2


def test_boundary_edges_are_alone() -> None:
    topology = edge_topology(torch.tensor([[0, 1, 2], [2, 1, 3]]))
    assert topology.tolist() == [[2 * 5, 2 * 1 + 1, 2 * 2 + 1], [2 * 3 + 1, 2 * 4 + 1, 2 * 0]]


def test_inconsistent_winding_is_marked() -> None:
    topology = edge_topology(torch.tensor([[0, 1, 2], [1, 2, 3]]))
    assert topology[0, 0] == 2 * 5 + 1
    assert topology[1, 2] == 2 * 0 + 1


def test_edges_of_many_triangles_form_one_cycle() -> None:
    tri = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4], [0, 1, 5], [5, 6, 7]])
    topology = edge_topology(tri)
    around = [2, 5, 8, 11]
    assert cycle(topology, 2) == around
    directions = [link & 1 for link in topology[:4, 2].tolist()]
    assert directions == [0, 0, 1, 1]
    for h in set(range(15)) - set(around) - {9 + 1, 12 + 2}:
        assert len(cycle(topology, h)) == 1


def test_degenerate_triangles_take_no_part() -> None:
    tri = torch.tensor([[0, 1, 2], [1, 0, 0], [1, 0, 3], [4, 4, 4]])
    topology = edge_topology(tri)
    assert cycle(topology, 2) == [2, 8]
    for h in (3, 4, 5, 9, 10, 11):
        assert topology.flatten()[h] == 2 * h + 1


def test_welding_restores_the_topology_of_split_meshes() -> None:
    positions, tri = icosphere(2)
    apart, soup = split_vertices(positions, tri)
    half_edge = torch.arange(3 * len(tri), dtype=torch.int32).view(-1, 3)
    assert torch.equal(edge_topology(soup), 2 * half_edge + 1)
    assert torch.equal(edge_topology(soup, apart), edge_topology(tri))
    assert torch.equal(edge_topology(soup, torch.where(apart == 0, -apart, apart)), edge_topology(tri))


def test_empty_and_unsound_arguments() -> None:
    assert edge_topology(torch.zeros(0, 3, dtype=torch.int64)).shape == (0, 3)
    assert edge_topology(torch.zeros(0, 3, dtype=torch.int64), torch.zeros(0, 3)).shape == (0, 3)
    tri = torch.tensor([[0, 1, 2]])
    for arguments, error, name in (
        ((tri.float(),), TypeError, "tri"),
        ((tri[0],), ValueError, "tri"),
        ((tri - 1,), ValueError, "tri"),
        ((tri, torch.zeros(2, 3)), ValueError, "tri"),
        ((tri, torch.zeros(3, 0)), ValueError, "positions"),
        ((tri, torch.zeros(3, 3, dtype=torch.int32)), TypeError, "positions"),
    ):
        with pytest.raises(error, match=f"^{name}:"):
            edge_topology(*arguments)
