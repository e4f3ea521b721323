"""Factorised grids: against dense grids of the same products, and fits of functions of low and of higher rank."""

from __future__ import annotations

import pytest
import torch

import lumigrad as lg
from lumigrad.fit import FactorizedGrid
from lumigrad.reference.implicit import trilinear
from lumigrad.scene import VoxelGrid
from lumigrad.types.grids import to_voxels, voxel_centers

BOX = torch.tensor([[-1.0, -2.0, 0.0], [1.0, 2.0, 3.0]], dtype=torch.float64)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize("size", [(5, 6, 7), (1, 4, 3), 4])
def test_is_the_dense_grid(size, channels: int | None) -> None:
    """The sum written out by hand; at centres, between them, and near the border, where values are constant."""
    grid = FactorizedGrid(BOX, size, rank=2, channels=channels, scale=1.0)
    depth, height, width = grid.size
    (x, y, z), (across_x, across_y, across_z) = grid.vectors, grid.matrices
    mix = torch.ones(6, 1, dtype=torch.float64) if grid.mix is None else grid.mix
    dense = torch.zeros(depth, height, width, mix.shape[1], dtype=torch.float64)
    for i, j, k in torch.cartesian_prod(*map(torch.arange, grid.size)).tolist():
        for r in range(2):
            dense[i, j, k] += x[r, k] * across_x[r, i, j] * mix[r]
            dense[i, j, k] += y[r, j] * across_y[r, i, k] * mix[2 + r]
            dense[i, j, k] += z[r, i] * across_z[r, j, k] * mix[4 + r]
    torch.testing.assert_close(grid.dense(), dense)
    centers = voxel_centers(BOX, grid.size).reshape(-1, 3)
    torch.testing.assert_close(grid(centers), dense.reshape(len(centers), -1))
    points = BOX[0] + torch.rand(300, 3, dtype=torch.float64) * (BOX[1] - BOX[0])
    between = [trilinear(channel, to_voxels(points, BOX, channel))[0] for channel in dense.unbind(-1)]
    torch.testing.assert_close(grid(points), torch.stack(between, -1))


def test_marches_like_a_voxel_grid() -> None:
    """Samples of the function, and of the grid by `march`."""
    grid = FactorizedGrid(BOX, 6, rank=2, channels=4, scale=1.0)
    voxels = VoxelGrid(grid.dense(), BOX, activation="softplus")
    origins = torch.tensor([[0.1, 0.2, 5.0], [3.0, 0.5, 1.0]], dtype=torch.float64)
    directions = torch.tensor([[0.1, 0.2, -1.0], [-1.0, 0.1, 0.1]], dtype=torch.float64)
    expected = lg.march(voxels.values, origins, directions, BOX, 0.05, activation="softplus")
    samples = lg.sample_rays(origins, directions, BOX, 0.05)
    middles = 0.5 * (samples.t_start + samples.t_end)
    values = grid(origins[samples.ray] + middles[:, None] * directions[samples.ray])
    seen = lg.composite(samples, torch.nn.functional.softplus(values[:, 0]), values[:, 1:])
    torch.testing.assert_close(seen.features, expected.features)
    torch.testing.assert_close(seen.alpha, expected.alpha)


def test_gradients() -> None:
    grid = FactorizedGrid(BOX, (3, 4, 5), rank=2, channels=2, scale=1.0)
    points = (BOX[0] + torch.rand(6, 3, dtype=torch.float64) * (BOX[1] - BOX[0])).requires_grad_()
    names = [name for name, _ in grid.named_parameters()]

    def function(points, *values):
        return torch.func.functional_call(grid, dict(zip(names, values, strict=True)), (points,))

    assert torch.autograd.gradcheck(function, (points, *grid.parameters()))


def test_a_function_of_low_rank_is_found() -> None:
    """One product of each kind fits f(x) g(y, z) but for interpolation, and not a function of higher rank."""
    points = BOX[0] + torch.rand(4000, 3, dtype=torch.float64) * (BOX[1] - BOX[0])
    x, y, z = points.unbind(-1)
    errors = []
    for target in (torch.sin(2 * x) * torch.cos(y * z), torch.sin(3 * x * y * z)):
        grid = FactorizedGrid(BOX, 16, rank=1, scale=0.3)
        optimiser = torch.optim.Adam(grid.parameters(), 0.05)
        for _ in range(150):
            optimiser.zero_grad()
            loss = ((grid(points)[:, 0] - target) ** 2).mean()
            loss.backward()
            optimiser.step()
        errors.append(loss.item() / target.var().item())
    assert errors[0] < 0.02
    assert errors[1] > 5 * errors[0]


def test_resized() -> None:
    """Twice as fine, it is nearly the same function; the old one is left alone."""
    grid = FactorizedGrid(BOX, 12, rank=2, channels=3, scale=1.0)
    smooth = torch.linspace(0, 3, 12, dtype=torch.float64)
    with torch.no_grad():
        for k, vector in enumerate(grid.vectors):
            vector.copy_(torch.stack((smooth.sin(), (smooth + k).cos())))
        for matrix in grid.matrices:
            matrix.copy_((smooth[:, None] * torch.tensor([[0.3], [0.5]])[..., None] + smooth).sin())
    finer = grid.resized((24, 23, 25))
    assert finer.size == (24, 23, 25)
    assert grid.size == (12, 12, 12)
    points = 0.8 * (BOX[0] + torch.rand(200, 3, dtype=torch.float64) * (BOX[1] - BOX[0]))
    points[:, 2] += 0.3
    assert (finer(points) - grid(points)).abs().max() < 0.05 * grid(points).std()
    assert all(p.requires_grad for p in finer.parameters())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: FactorizedGrid([[0, 0, 0]], 4, 1), ValueError, r"box: expected shape"),
        (lambda: FactorizedGrid(BOX, (4, 4), 1), ValueError, r"size: expected one number or three"),
        (lambda: FactorizedGrid(BOX, 0, 1), ValueError, r"size: expected an integer"),
        (lambda: FactorizedGrid(BOX, 4, 0), ValueError, r"rank: expected an integer"),
        (lambda: FactorizedGrid(BOX, 4, 1, 0), ValueError, r"channels: expected an integer"),
        (lambda: FactorizedGrid(BOX, 4, 1, scale=-1.0), ValueError, r"scale: expected a non-negative"),
        (lambda: FactorizedGrid(BOX, 4, 1)(torch.zeros(3, 3)), TypeError, r"points: expected torch.float64 like box"),
        (lambda: FactorizedGrid(BOX, 4, 1)(BOX[0]), ValueError, r"points: expected shape \[M, 3\]"),
    ],
)
def test_wrong_arguments(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
