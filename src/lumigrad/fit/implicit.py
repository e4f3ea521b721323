"""Regularisers of implicit surfaces: grids of distances, and derivatives of functions."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.types import validation as check
from lumigrad.types.grids import Box, check_box, check_values, voxel_size
from lumigrad.types.shapes import Float


def grid_gradients(
    values: Float[Tensor, "depth height width"], box: Box | None = None
) -> Float[Tensor, "depth-1 height-1 width-1 3"]:
    """The derivatives of a grid to x, y and z in the middle of its cells, [D-1, H-1, W-1, 3].

    Raises:
        TypeError, ValueError: for wrong types or shapes.

    >>> import torch
    >>> from lumigrad.fit import grid_gradients
    >>> x = torch.arange(4.0).expand(3, 3, 4)
    >>> grid_gradients(2 * x)[0, 0, 0].tolist()
    [2.0, 0.0, 0.0]
    """
    values = check_values("values", values)
    size = voxel_size(check_box(box, values), values)
    slopes = []
    for axis in range(3):
        slope = values.diff(dim=2 - axis)
        for other in range(3):
            if other != 2 - axis:
                count = max(slope.shape[other] - 1, 0)
                slope = 0.5 * (slope.narrow(other, 0, count) + slope.narrow(other, slope.shape[other] - count, count))
        slopes.append(slope / size[axis])
    return torch.stack(slopes, -1)


def eikonal_loss(gradients: Float[Tensor, "*shape 3"]) -> Float[Tensor, ""]:
    """How far a function is from a distance: the mean of (|gradient| - 1)^2, 0 for no points at all.

    Args:
        gradients: derivatives [..., 3], of `grid_gradients`, or by autograd of a function at points.

    Raises:
        TypeError, ValueError: for wrong types or shapes.

    Source: Gropp et al. 2020, "Implicit Geometric Regularization for Learning Shapes".

    >>> import torch
    >>> from lumigrad.fit import eikonal_loss
    >>> eikonal_loss(torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    tensor(2.)
    """
    gradients = check.floating("gradients", gradients)
    if gradients.dim() == 0 or gradients.shape[-1] != 3:
        raise ValueError(f"gradients: expected shape [..., 3], got {tuple(gradients.shape)}")
    square = (gradients**2).sum(-1)
    # The norm has no derivative at zero; zero is used instead.
    norm = torch.where(square > 0, torch.where(square > 0, square, 1.0).sqrt(), 0.0)
    return ((norm - 1) ** 2).sum() / max(norm.numel(), 1)


def curvature_loss(values: Float[Tensor, "depth height width"], box: Box | None = None) -> Float[Tensor, ""]:
    """How much a surface and its parallels bend: the mean of the squared Laplacian of a grid of distances.

    The Laplacian of a distance is the sum of the principal curvatures of the surface at that distance. Zero for a grid
    without a voxel that has neighbours on all sides.

    Raises:
        TypeError, ValueError: for wrong types or shapes.

    >>> import torch
    >>> from lumigrad.fit import curvature_loss
    >>> x = torch.arange(5.0).expand(3, 3, 5)
    >>> curvature_loss(x**2), curvature_loss(2 * x)  # second derivatives 2 and 0
    (tensor(4.), tensor(0.))
    """
    values = check_values("values", values)
    if min(values.shape) < 3:
        return 0 * values.sum()
    size = voxel_size(check_box(box, values), values)
    inner = values[1:-1, 1:-1, 1:-1]
    laplacian = torch.zeros_like(inner)
    for axis in range(3):
        window = [slice(1, -1)] * 3
        low, high = list(window), list(window)
        low[2 - axis], high[2 - axis] = slice(0, -2), slice(2, None)
        laplacian = laplacian + (values[tuple(low)] - 2 * inner + values[tuple(high)]) / size[axis] ** 2
    return (laplacian**2).mean()
