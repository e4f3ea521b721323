"""Restoring signed distances in a grid of values, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lumigrad.types import validation as check
from lumigrad.types.grids import Box, check_box, check_values, voxel_size
from lumigrad.types.shapes import Float

# Relative to the shortest side of a voxel: changes below this end the sweeping.
_TOLERANCE = 1e-5


def redistance(
    values: Float[Tensor, "depth height width"], box: Box | None = None, sweeps: int = 64
) -> Float[Tensor, "depth height width"]:
    """The definition of :func:`lumigrad.redistance`: signed distances, by rounds of sweeps along x, y and z, both ways.

    A sweep goes plane by plane. In each plane, every voxel is updated from its neighbours twice.
    """
    values, sweeps, size = check_redistance(values, box, sweeps)
    if values.numel() == 0:
        return values.clone()
    start = _beside(values, values <= 0, size)
    return signed(values, settled(start, size, sweeps, lambda distance: _round(distance, start.isfinite(), size)))


def check_redistance(values: Any, box: Any, sweeps: Any) -> tuple[Tensor, int, Tensor]:
    """The arguments, without gradients, and the size [3] of a voxel along x, y and z instead of the box."""
    values = check_values("values", values).detach()
    sweeps = check.integer("sweeps", sweeps, 0)
    return values, sweeps, voxel_size(check_box(box, values).detach(), values)


def settled(start: Tensor, size: Tensor, sweeps: int, one_round: Callable[[Tensor], Tensor]) -> Tensor:
    """Distances after as many rounds as needed, at most `sweeps`."""
    distance = start
    for _ in range(sweeps):
        before, distance = distance, one_round(distance)
        # NaN, the change of infinite values, does not exceed the tolerance.
        if not bool((before - distance > _TOLERANCE * size.min()).any()):
            break
    return distance


def signed(values: Tensor, distance: Tensor) -> Tensor:
    """Distances with the signs of values."""
    return torch.where(values <= 0, -distance, distance)


def _round(distance: Tensor, fixed: Tensor, size: Tensor) -> Tensor:
    for axis in range(3):
        for backwards in (False, True):
            distance = _sweep(distance, fixed, size, axis, backwards)
    return distance


def _beside(values: Tensor, inside: Tensor, size: Tensor) -> Tensor:
    """Distances of voxels that have a neighbour on the other side, infinity for others.

    The smaller of two: the distance of the plane through the cuts of their edges, and the value over its slope. If a
    plane does not cut the edges along all axes, the first is too large and the second is exact.
    """
    inverse = torch.zeros_like(values)
    for axis in range(3):
        dim = 2 - axis
        low, high = values.narrow(dim, 0, values.shape[dim] - 1), values.narrow(dim, 1, values.shape[dim] - 1)
        cut = inside.narrow(dim, 0, values.shape[dim] - 1) != inside.narrow(dim, 1, values.shape[dim] - 1)
        part = low / (low - high)
        part = torch.where(part.isfinite() & low.isfinite() & high.isfinite(), part, 0.5)
        ahead, behind = torch.full_like(values, torch.inf), torch.full_like(values, torch.inf)
        ahead.narrow(dim, 0, low.shape[dim]).copy_(torch.where(cut, part * size[axis], torch.inf))
        behind.narrow(dim, 1, low.shape[dim]).copy_(torch.where(cut, (1 - part) * size[axis], torch.inf))
        inverse = inverse + torch.minimum(ahead, behind) ** -2
    steep = torch.zeros_like(values)
    for axis in range(3):
        if values.shape[2 - axis] > 1:
            steep = steep + torch.gradient(values, spacing=float(size[axis]), dim=2 - axis)[0] ** 2
    by_slope = values.abs() / steep.sqrt()
    by_cuts = inverse**-0.5
    better = steep.isfinite() & by_slope.isfinite() & by_cuts.isfinite() & values.isfinite()
    return torch.where(better, torch.minimum(by_slope, by_cuts), by_cuts)


def _sweep(distance: Tensor, fixed: Tensor, size: Tensor, axis: int, backwards: bool) -> Tensor:
    """Along an axis, update each plane from the one before it, for rays that run mostly along this axis."""
    order = [2 - axis, *(dim for dim in range(3) if dim != 2 - axis)]
    planes, held = list(distance.permute(order).unbind(0)), fixed.permute(order).unbind(0)
    steps = [size[2 - dim] for dim in order]
    numbers = range(len(planes))
    for k in reversed(numbers) if backwards else numbers:
        beside = [planes[j] for j in (k - 1, k + 1) if 0 <= j < len(planes)]
        along = (
            torch.minimum(*beside)
            if len(beside) == 2
            else beside[0]
            if beside
            else torch.full_like(planes[k], torch.inf)
        )
        for _ in range(2):
            found = _upwind([along, _least(planes[k], 0), _least(planes[k], 1)], steps)
            planes[k] = torch.where(held[k], planes[k], torch.minimum(planes[k], found))
    return torch.stack(planes).permute([order.index(dim) for dim in range(3)])


def _least(plane: Tensor, dim: int) -> Tensor:
    """The smaller of the two neighbours in a plane."""
    size = plane.shape[dim]
    out = torch.full_like(plane, torch.inf)
    out.narrow(dim, 0, size - 1).copy_(plane.narrow(dim, 1, size - 1))
    later = out.narrow(dim, 1, size - 1)
    later.copy_(torch.minimum(later, plane.narrow(dim, 0, size - 1)))
    return out


def _upwind(neighbours: list[Tensor], steps: list[Tensor]) -> Tensor:
    """The u for which the sum of max((u - a) / h, 0)^2 over the axes is 1, where a are the smaller neighbours."""
    a = torch.stack(neighbours)
    weight = torch.stack(steps).reshape(3, *[1] * (a.dim() - 1)).expand_as(a) ** -2
    a, order = a.sort(0)
    weight = weight.gather(0, order)
    best = a[0] + weight[0] ** -0.5
    for count in (2, 3):
        # For the first `count` axes: w u^2 - 2 p u + q = 1.
        first = torch.where(a[:count].isfinite(), a[:count] - a[0], torch.inf)
        w, p, q = ((weight[:count] * first**power).sum(0) for power in (0, 1, 2))
        square = p * p - w * (q - 1)
        u = a[0] + (p + square.clamp(min=0).sqrt()) / w
        best = torch.where((best > a[count - 1]) & (square >= 0), u, best)
    return best
