"""Rays through a grid of values, defined in plain PyTorch: the whole path of a ray at once."""

from __future__ import annotations

import torch
from torch import Tensor

_BISECTIONS = 60


def trace_grid(
    grid: Tensor, origins: Tensor, directions: Tensor, t_min: float, t_max: float, band: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The intersections of rays [R, 3] with the zero level of a grid [D, H, W], in voxels from the first one's centre.

    Between the centres of voxels the grid is trilinear, in the half of a voxel around them it is constant across the
    border. A cell with a value that is not finite holds no surface.

    Returns:
        [R] each, infinite where there is none: `hit`, where a ray first passes from positive to other values; `near`,
        where it comes closest to the surface: the first local minimum before `hit` if its value is below `band`,
        or else the lowest between `hit` and where the ray leaves again, if above -band; `behind`, with `near` on the
        inside, where the ray enters next. `near` and `behind` are looked for if band is positive.
    """
    none = torch.full_like(origins[:, 0], torch.inf)
    if 0 in grid.shape or not len(origins):
        return none, none.clone(), none.clone()
    times, values = _pieces(grid, origins, directions, t_min, t_max)
    rows = [_read(times[i], values[i], band) for i in range(len(times))]
    hit, near, behind = torch.tensor(rows, dtype=torch.float64).to(origins).unbind(1)
    return hit, near, behind


def _pieces(grid: Tensor, origins: Tensor, directions: Tensor, t_min: float, t_max: float) -> tuple[Tensor, Tensor]:
    """Where the values along rays turn, and where they enter and leave cells: t and value [R, S, 4]; a piece between
    two of the four rises or falls. NaN where there is nothing."""
    size = torch.tensor(grid.shape[::-1]).to(origins)
    planes = [torch.cat([size.new_tensor([-0.5]), torch.arange(int(n)).to(size), n[None] - 0.5]) for n in size]
    crossed = torch.cat([(planes[k] - origins[:, k, None]) / directions[:, k, None] for k in range(3)], 1)
    low, high = (-0.5 - origins) / directions, (size - 0.5 - origins) / directions
    flat = directions == 0
    first = torch.where(flat, -torch.inf, torch.minimum(low, high)).amax(1).clamp(min=t_min)
    last = torch.where(flat, torch.inf, torch.maximum(low, high)).amin(1).clamp(max=t_max)
    misses = (flat & ((origins < -0.5) | (origins > size - 0.5))).any(1) | ~(first < last)
    misses |= ~first.isfinite() | ~last.isfinite()
    crossed = crossed.nan_to_num(nan=torch.inf).clamp(min=first[:, None]).clamp(max=last[:, None])
    edges = torch.cat([first[:, None], crossed, last[:, None]], 1).sort(1).values
    edges = torch.where(misses[:, None], torch.nan, edges)
    start, length = edges[:, :-1], edges.diff(dim=1)

    middle = origins[:, None] + (start + 0.5 * length)[..., None] * directions[:, None]
    cell = torch.minimum(middle.nan_to_num(0.0).floor().clamp(min=-1), size - 1)
    at = torch.tensor([0.0, 1 / 3, 2 / 3, 1.0]).to(origins)
    points = origins[:, None, None] + (start[..., None] + at * length[..., None])[..., None] * directions[:, None, None]
    values = _trilinear(grid, cell, (points - cell[:, :, None]).clamp(0, 1))
    # The cubic through the values at 0, 1/3, 2/3, 1.
    fit = torch.linalg.inv(at.double()[:, None] ** torch.arange(4)).to(origins)
    c = values @ fit.T
    turns = _turns(c)
    times = start[..., None] + turns * length[..., None]
    power = turns[..., None] ** torch.arange(4).to(turns)
    value = (power * c[..., None, :]).sum(-1)
    value = torch.where(turns == 0, values[..., :1], torch.where(turns == 1, values[..., 3:], value))
    return _with_roots(times, value, c, turns, start, length)


def _trilinear(grid: Tensor, cell: Tensor, place: Tensor) -> Tensor:
    """Values at points [R, S, 4, 3] in cells [R, S, 3]; NaN in cells with non-finite values."""
    total = torch.zeros_like(place[..., 0])
    finite = torch.where(grid.isfinite(), grid, torch.nan)
    for corner in range(8):
        weight, index = torch.ones_like(total), []
        for k in range(3):
            upper = corner >> k & 1
            weight = weight * (place[..., k] if upper else 1 - place[..., k])
            index.append((cell[..., k].long() + upper).clamp(0, grid.shape[2 - k] - 1))
        total = total + weight * finite[index[2], index[1], index[0]][..., None]
    return total


def _turns(c: Tensor) -> Tensor:
    """0, the two extrema of a cubic clamped to [0, 1], and 1: [..., 4]."""
    root = (c[..., 2] ** 2 - 3 * c[..., 3] * c[..., 1]).clamp(min=0).sqrt()
    q = torch.where(c[..., 2] < 0, root - c[..., 2], -root - c[..., 2])
    extrema = torch.stack([q / (3 * c[..., 3]), c[..., 1] / q], -1)
    extrema = torch.where(root[..., None] > 0, extrema, 0.0).nan_to_num(0.0, 1.0, 0.0).clamp(0, 1)
    inner = extrema.sort(-1).values
    return torch.cat([torch.zeros_like(inner[..., :1]), inner, torch.ones_like(inner[..., :1])], -1)


def _with_roots(
    times: Tensor, value: Tensor, c: Tensor, turns: Tensor, start: Tensor, length: Tensor
) -> tuple[Tensor, Tensor]:
    """The ends of pieces, with the roots of falling pieces (value 0) inserted: [R, N] in the order of t."""
    low, high = turns[..., :-1].clone(), turns[..., 1:].clone()
    falls = (value[..., :-1] > 0) & (value[..., 1:] <= 0)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        above = (middle[..., None] ** torch.arange(4).to(c) * c[..., None, :]).sum(-1) > 0
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    roots = start[..., None] + high * length[..., None]
    roots = torch.where(falls, roots, times[..., 1:])
    values = torch.where(falls, 0.0, value[..., 1:])
    both_times = torch.stack([roots, times[..., 1:]], -1).flatten(-2)
    both_values = torch.stack([values, value[..., 1:]], -1).flatten(-2)
    times = torch.cat([times[..., :1], both_times], -1).flatten(1)
    return times, torch.cat([value[..., :1], both_values], -1).flatten(1)


def _read(times: Tensor, values: Tensor, band: float) -> tuple[float, float, float]:
    """The intersections of a ray, from its values at the ends of pieces and at roots."""
    hit = near = behind = lowest_at = torch.inf
    lowest, previous, at, falling = 0.0, torch.nan, torch.nan, False
    for t, value in zip(times.tolist(), values.tolist(), strict=True):
        if previous != previous or value != value:
            previous, at, falling = value, t, False
            continue
        if t == at and value != 0:  # only rounding in between
            continue
        if falling and value > previous and band > 0 and near == torch.inf:
            if previous > 0 and hit == torch.inf and previous < band:
                near = at
            elif previous <= 0 and hit < torch.inf and previous < lowest:
                lowest, lowest_at = previous, at
        if hit < torch.inf and near == torch.inf and lowest <= -band:
            break
        if value != previous:
            falling = value < previous
        if previous > 0 >= value:
            if hit < torch.inf:
                behind = t
                break
            hit = t
            if band <= 0 or near < torch.inf:
                break
        elif value > 0 >= previous and hit < torch.inf and near == torch.inf:
            if lowest_at == torch.inf:
                break
            near = lowest_at
        previous, at = value, t
    return hit, near, behind
