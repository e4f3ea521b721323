"""Making a grid of values one of distances again, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.types.grids import Box, check_box, check_values, voxel_size
from lumigrad.types.shapes import Float

# Of the shortest side of a voxel: changes below this end the sweeping.
_TOLERANCE = 1e-5


def redistance(
    values: Float[Tensor, "depth height width"], box: Box | None = None, sweeps: int = 64
) -> Float[Tensor, "depth height width"]:
    """Signed distances to the surface on which a grid of values is zero.

    Voxels beside the surface get their distance from where it cuts their edges and keep it, so the surface stays where
    it is; from there, distances grow outwards and inwards by upwind differences. The error is of first order in the
    size of a voxel. Values that are not finite count as outside.

    Args:
        values: [D, H, W], negative or zero inside.
        box: two corners [2, 3] of the grid, by default with voxels of size 1 from the origin on.
        sweeps: rounds of sweeps along the axes, both ways, at the most; a few are enough for most surfaces.

    Returns:
        [D, H, W], without gradients. Infinite, with the sign of the values, where there is no surface at all.

    Raises:
        TypeError, ValueError: for wrong types or shapes.

    Source: Zhao 2005, "A Fast Sweeping Method for Eikonal Equations".

    >>> import torch
    >>> import lumigrad as lg
    >>> lg.redistance(torch.tensor([[[-9.0, 3.0, 1.0, 5.0]]]))  # the surface is at 3/4 of the first edge
    tensor([[[-0.7500,  0.2500,  1.2500,  2.2500]]])
    """
    values = check_values("values", values).detach()
    size = voxel_size(check_box(box, values).detach(), values)
    if values.numel() == 0:
        return values.clone()
    inside = values <= 0
    start = _beside(values, inside, size)
    fixed = start.isfinite()
    distance = start
    if bool(fixed.any()):
        for _ in range(sweeps):
            before = distance
            for axis in range(3):
                for backwards in (False, True):
                    distance = _sweep(distance, fixed, size, axis, backwards)
            change = (before - distance).nan_to_num(nan=0.0)
            if float(change.max()) <= _TOLERANCE * float(size.min()):
                break
    return torch.where(inside, -distance, distance)


def _beside(values: Tensor, inside: Tensor, size: Tensor) -> Tensor:
    """Distances of voxels that have a neighbour on the other side; else infinity.

    That of the plane through the cuts of their edges, or the value over its slope: whichever is less. A plane that does
    not cut the edges along all axes is farther by the first, and the second is exact.
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
    better = by_slope.isfinite() & by_cuts.isfinite() & values.isfinite()
    return torch.where(better, torch.minimum(by_slope, by_cuts), by_cuts)


def _sweep(distance: Tensor, fixed: Tensor, size: Tensor, axis: int, backwards: bool) -> Tensor:
    """Along an axis, plane by plane, each from the one before it: the way of a ray that runs mostly along this axis."""
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
    """The u with sum of max((u - a) / h, 0)^2 = 1 over the axes, of their smaller neighbours a."""
    a = torch.stack(neighbours)
    weight = torch.stack(steps).reshape(3, *[1] * (a.dim() - 1)).expand_as(a) ** -2
    a, order = a.sort(0)
    weight = weight.gather(0, order)
    best = a[0] + weight[0] ** -0.5
    for count in (2, 3):
        # Of the first `count`: w u^2 - 2 p u + q = 1.
        first = torch.where(a[:count].isfinite(), a[:count] - a[0], torch.inf)
        w, p, q = ((weight[:count] * first**power).sum(0) for power in (0, 1, 2))
        square = p * p - w * (q - 1)
        u = a[0] + (p + square.clamp(min=0).sqrt()) / w
        best = torch.where((best > a[count - 1]) & (square >= 0), u, best)
    return best
