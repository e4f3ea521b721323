"""Occupancy grids: nested levels, decay, cells that are not evaluated, wrong calls."""

from __future__ import annotations

import pytest
import torch

import lumigrad as lg
from lumigrad.fit import OccupancyGrid

BOX = [[-1.0, -2.0, -1.0], [1.0, 2.0, 1.0]]


def bits(grid: OccupancyGrid) -> torch.Tensor:
    """Occupied cells [L, D, H, W]."""
    words, (depth, height, width) = grid.occupancy()
    z, y, x = torch.meshgrid(*(torch.arange(side) for side in (depth, height, width)), indexing="ij")
    return (words[:, z // 4, y // 4, x // 4] >> (16 * (z % 4) + 4 * (y % 4) + x % 4) & 1).bool()


def nothing(points: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(points))


def test_all_is_occupied_before_the_first_update() -> None:
    assert bits(OccupancyGrid(BOX, (3, 5, 6), levels=2)).all()


def test_a_half_space_in_all_levels() -> None:
    """Planes between cells: which cells are occupied does not depend on the points that are drawn."""
    grid = OccupancyGrid(BOX, (4, 8, 6), levels=3)
    grid.update(lambda points: (points[:, 1] > 0)[:, None] * 7.0, seed=1)
    expected = torch.zeros(3, 4, 8, 6, dtype=torch.bool)
    expected[:, :, 4:] = True
    assert torch.equal(bits(grid), expected)


def test_points_lie_in_their_cells() -> None:
    """A field that tells the cell of level 1: x from -2 to 2, y from -4 to 4, z from -2 to 2."""
    grid = OccupancyGrid(BOX, (2, 4, 5), levels=2)
    seen = []

    def density(points: torch.Tensor) -> torch.Tensor:
        seen.append(points)
        place = points / torch.tensor([2.0, 4.0, 2.0]) * 0.5 + 0.5
        x, y, z = (place * torch.tensor([5, 4, 2])).long().unbind(-1)
        return x + 5 * y + 20 * z + 1.0

    grid.update(density, seed=3)
    assert torch.equal(grid.values[1].flatten(), torch.arange(1, 41).float())
    inner = seen[0][:40]
    assert (inner.abs() <= torch.tensor([1.0, 2.0, 1.0])).all()
    again = OccupancyGrid(BOX, (2, 4, 5), levels=2)
    again.update(density, seed=3, chunk=7)
    assert torch.equal(torch.cat(seen[1:]), seen[0])
    again.update(density, seed=4)
    assert (seen[-1] != seen[0]).any(-1).all()


def test_decay() -> None:
    grid = OccupancyGrid(BOX, 2, threshold=0.5, decay=0.5)
    grid.update(lambda points: torch.full((len(points),), 4.0))
    for left in (2.0, 1.0, 0.5):
        grid.update(nothing)
        assert (grid.values == left).all()
    grid.update(lambda points: torch.full((len(points),), torch.nan))
    assert (grid.values == 0.25).all()


def test_a_part_of_the_cells() -> None:
    grid = OccupancyGrid(BOX, 16)
    grid.update(nothing, part=0.25)
    assert 0.2 < grid.values.isfinite().float().mean() < 0.3
    assert torch.equal(bits(grid), ~grid.values.isfinite())


def test_a_faint_field_is_not_lost() -> None:
    """A faint field stays occupied: the threshold is the mean density if that is lower."""
    grid = OccupancyGrid(BOX, 4, threshold=0.1)
    grid.update(lambda points: 1e-3 * (points[:, 0] > 0))
    assert torch.equal(bits(grid)[0], (torch.arange(4) >= 2).expand(4, 4, 4))


def test_rays_see_the_levels() -> None:
    """A ball of radius 0.5 in level 0, and a slab from x = 2 to 3 in level 1: a step longer at each end at most."""
    box = [[-2.0, -2.0, -2.0], [2.0, 2.0, 2.0]]
    grid = OccupancyGrid(box, 64, levels=2)
    for seed in range(4):
        grid.update(lambda p: ((p.norm(dim=-1) < 0.5) | (p[:, 0] > 2) & (p[:, 0] < 3)).float(), seed=seed)
    samples = lg.sample_rays(
        torch.tensor([[-10.0, 0.01, 0.01]]), torch.tensor([[1.0, 0.0, 0.0]]), grid.box, 0.01, grid.occupancy()
    )
    x = 0.5 * (samples.t_start + samples.t_end) - 10
    assert abs(x[0] + 0.5) < 0.1
    assert abs(x[-1] - 3) < 0.1
    assert not ((x > 0.6) & (x < 1.9)).any()
    assert abs(len(x) - 200) <= 15


def test_it_is_a_module() -> None:
    grid = OccupancyGrid(BOX, 4, levels=2)
    grid.update(nothing)
    other = OccupancyGrid([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], 4, levels=2)
    other.load_state_dict(grid.state_dict())
    assert torch.equal(other.values, grid.values)
    assert torch.equal(other.box, grid.box)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"box": [[0.0, 0.0, 0.0], [0.0, 1.0, 1.0]]}, ValueError, r"^box: expected a lower and an upper corner"),
        ({"size": (4, 4)}, ValueError, r"^size: expected one number or three, got \(4, 4\)"),
        ({"size": 0}, ValueError, r"^size: expected an integer from 1 to 2048, got 0"),
        ({"levels": 17}, ValueError, r"^levels: expected an integer from 1 to 16, got 17"),
        ({"decay": 1.5}, ValueError, r"^decay: expected at most 1, got 1.5"),
        ({"threshold": -1}, ValueError, r"^threshold: expected a non-negative number, got -1"),
    ],
)
def test_wrong_grids(wrong, error, message) -> None:
    with pytest.raises(error, match=message):
        OccupancyGrid(**{"box": BOX, **wrong})


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (
            {"density": lambda points: points},
            ValueError,
            r"^density: expected it to return shape \[64\], got \(64, 3\)",
        ),
        ({"seed": 0.5}, TypeError, r"^seed: expected an integer, got 0.5"),
        ({"part": 0.0}, ValueError, r"^part: expected a positive number, got 0.0"),
        ({"chunk": 0}, ValueError, r"^chunk: expected an integer from 1"),
    ],
)
def test_wrong_updates(wrong, error, message) -> None:
    with pytest.raises(error, match=message):
        OccupancyGrid(BOX, 4).update(**{"density": nothing, **wrong})
