"""Gradient steps on grids: the regulariser's gradient, and Adam in chunks that stay in the cache."""

from __future__ import annotations

import torch
from torch import Tensor

_BETAS = (0.9, 0.99)
# Numbers per chunk.
_PIECE = 200_000


@torch.no_grad()
def add_smoothness(grad: Tensor, grid: Tensor, weight: float, bend: float) -> None:
    """Add to `grad` the gradient of `weight` times the sum of sqrt(d^2 + bend^2), for differences d of neighbours.

    Args:
        grad, grid: [D, H, W, C].
        bend: differences smaller than this count like squares.

    >>> import torch
    >>> from lumigrad.fit.fields.descent import add_smoothness
    >>> grid = torch.tensor([0.0, 0.0, 5.0]).view(1, 1, 3, 1)
    >>> grad = torch.zeros_like(grid)
    >>> add_smoothness(grad, grid, 1.0, 1e-3)
    >>> grad.flatten().round(decimals=3).tolist()
    [0.0, -1.0, 1.0]
    """
    for dim in range(3):
        count = grid.shape[dim] - 1
        pull = grid.narrow(dim, 1, count) - grid.narrow(dim, 0, count)
        pull *= weight * torch.rsqrt(pull * pull + bend * bend)
        grad.narrow(dim, 1, count).add_(pull)
        grad.narrow(dim, 0, count).sub_(pull)


@torch.no_grad()
def adam(
    grid: Tensor,
    grad: Tensor,
    first: Tensor,
    second: Tensor,
    rates: Tensor,
    age: int,
    hidden: float | None = None,
    epsilon: float = 1e-9,
) -> None:
    """One step of Adam, with a rate for each channel.

    Args:
        grid, grad, first, second: [..., C]; all but `grad` are changed.
        rates: [C], or [1] for all channels.
        age: of the moments, 1 in the first step.
        hidden: where channel 0 has this value, it keeps it.
        epsilon: gradients smaller than this count as none.

    Source: Kingma and Ba 2015, algorithm 1.

    >>> import torch
    >>> from lumigrad.fit.fields.descent import adam
    >>> grid, first, second = torch.zeros(3, 1, 1, 1, 2)
    >>> adam(grid, torch.tensor([3.0, -4.0]).view_as(grid), first, second, torch.tensor([0.1, 0.2]), 1)
    >>> [round(value, 4) for value in grid.flatten().tolist()]
    [-0.1, 0.2]
    """
    scale = -rates / (1 - _BETAS[0] ** age)
    rows = max(1, _PIECE // max(1, grid[0].numel()))
    pieces = zip(*(tensor.split(rows) for tensor in (grid, grad, first, second)), strict=True)
    for value, slope, mean, square in pieces:
        kept = None if hidden is None else value[..., 0] == hidden
        mean.lerp_(slope, 1 - _BETAS[0])
        square.mul_(_BETAS[1]).addcmul_(slope, slope, value=1 - _BETAS[1])
        value.addcdiv_(mean * scale, (square / (1 - _BETAS[1] ** age)).sqrt_().add_(epsilon))
        if kept is not None:
            value[..., 0].masked_fill_(kept, hidden)
