"""Marching rays through a grid of densities and features.

Defined by :func:`lumigrad.reference.march`; the kernel is ``native/field/march.h``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.reference.field._march import as_marched
from lumigrad.types import Marched, Occupancy
from lumigrad.types import validation as check
from lumigrad.types.grids import Box, check_corners
from lumigrad.types.shapes import Float

ACTIVATIONS = {"none": 0, "relu": 1, "softplus": 2, "exp": 3}


def march(
    grid: Float[Tensor, "depth height width values"],
    origins: Float[Tensor, "*#rays 3"],
    directions: Float[Tensor, "*#rays 3"],
    box: Box,
    step: float | None = None,
    occupancy: Occupancy | None = None,
    background: Float[Tensor, "*#rays channels"] | None = None,
    t_min: float | Float[Tensor, "*#rays"] = 0.0,
    t_max: float | Float[Tensor, "*#rays"] = math.inf,
    activation: str = "relu",
    degree: int | None = None,
    min_transmittance: float = 0.0,
) -> Marched:
    """March rays through a grid that emits and absorbs.

    A voxel's value belongs to its centre. Between centres values are interpolated linearly along each axis; between the
    outer centres and the box they are those of the outer centres. Outside the box there is nothing.

    A ray is cut into segments, from where it enters the box. A segment of length l whose extinction is s absorbs
    1 - exp(-s l) of what reaches it, and gives that much of the features at its middle. l is a true length, whatever
    the direction's.

    Args:
        grid: [D, H, W, 1 + C], the density first; with `degree`, [D, H, W, 1 + (degree + 1)^2 C], coefficients of
            :func:`~lumigrad.spherical_harmonics`, those of one function side by side.
        origins, directions: [..., 3], broadcast with each other. Directions may have any length but zero.
        box: [2, 3], the corners with the smallest and the largest x, y, z.
        step: length of segments in units of the direction, the last one cut at the box; the extinction is that at the
            middle. Rays that would take more than 65536 steps take longer ones. None: a segment for each of the cells
            between the voxels' centres. Without activation, or where values are positive, the extinction is a cubic
            there, and optical depths are exact.
        occupancy: from :func:`~lumigrad.occupancy`, over the same box. Segments with their middle in an empty cell are
            left out.
        background: [C] or [..., C], seen through what the box lets pass.
        t_min, t_max: where rays begin and end, in units of the direction: numbers, or tensors that broadcast with the
            rays.
        activation: what the interpolated density stands for: "none", "relu", "softplus" or "exp".
        degree: of spherical harmonics of the direction, 0 to 3, or None for plain features.
        min_transmittance: rays end where no more than this passes.

    Returns:
        Marched: features [..., C], alpha, depth and median depth [...]. Gradients of the first three reach `grid`,
        `origins`, `directions`, `box`, `background`, `t_min` and `t_max`. They are those of this sum, exactly, with the
        number of segments held fixed.

    Rays that miss the box, have no direction, or are not finite see the background. Densities that are not finite count
    as empty.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or options.

    Source: Max 1995, "Optical models for direct volume rendering".

    >>> import torch
    >>> import lumigrad as lg
    >>> grid = torch.ones(4, 4, 4, 2)  # a uniform fog of extinction 1 that shines
    >>> box = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    >>> out = lg.march(grid, torch.tensor([[0.0, 0.0, 3.0]]), torch.tensor([[0.0, 0.0, -1.0]]), box)
    >>> round(out.alpha.item(), 4), round(out.features.item(), 4)  # 1 - exp(-2)
    (0.8647, 0.8647)
    >>> round(out.median.item() - 2, 4)  # half of it lies in front of ln 2
    0.6931
    """
    grid = check_grid(grid)
    origins, directions = check_rays(origins, directions, grid)
    shape = directions.shape[:-1]
    box = check_corners(box, grid, "grid")
    size = None if step is None else check.number("step", step, positive=True)
    begin, end = check_limit("t_min", t_min, shape, grid), check_limit("t_max", t_max, shape, grid)
    check_occupancy(occupancy, grid)
    if activation not in tuple(ACTIVATIONS):
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    channels = _channels(grid, degree)
    if background is not None:
        background = check.floating("background", background, grid, "grid")
        check.like_image("background", background, (*shape, channels))
    stop = check.number("min_transmittance", min_transmittance)
    if needs_reference("march", grid):
        return reference.march(
            grid, origins, directions, box, size, occupancy, background, begin, end, activation, degree, stop
        )
    words, cells = (None, (0, 0, 0)) if occupancy is None else (occupancy.words.contiguous(), occupancy.size)
    features, alpha, depth, median = _op(
        grid.contiguous(), origins.reshape(-1, 3).contiguous(), directions.reshape(-1, 3).contiguous(),
        box.contiguous(), torch.stack((begin, end), -1).reshape(-1, 2), words, *cells, size or 0.0,
        ACTIVATIONS[activation], stop,
    )  # fmt: skip
    return as_marched(features, alpha, depth, median, directions, degree, background)


def check_grid(grid: Tensor) -> Tensor:
    grid = check.floating("grid", grid)
    check.shape("grid", grid, ("D", "H", "W", "1 + C"))
    if not grid.numel() or max(grid.shape[:3]) > 32768:
        raise ValueError(
            f"grid: expected 1 to 32768 voxels per side and at least the density, got shape {tuple(grid.shape)}"
        )
    return grid


def check_rays(origins: Tensor, directions: Tensor, like: Tensor, name: str = "grid") -> tuple[Tensor, Tensor]:
    """Origins and directions of one shape [..., 3]."""
    origins, directions = (
        check.floating(*each, like, name) for each in (("origins", origins), ("directions", directions))
    )
    for ray, value in (("origins", origins), ("directions", directions)):
        if value.dim() < 1 or value.shape[-1] != 3:
            raise ValueError(f"{ray}: expected shape [..., 3], got {tuple(value.shape)}")
    try:
        shape = torch.broadcast_shapes(origins.shape, directions.shape)
    except RuntimeError:
        raise ValueError(
            f"directions: expected a shape that broadcasts with origins' {tuple(origins.shape)}, "
            f"got {tuple(directions.shape)}"
        ) from None
    return origins.expand(shape), directions.expand(shape)


def check_limit(
    name: str, value: float | Tensor, shape: Sequence[int], like: Tensor, like_name: str = "grid"
) -> Tensor:
    """A distance for each ray, [...]."""
    if isinstance(value, Tensor):
        value = check.like_image(name, check.floating(name, value, like, like_name), shape)
    else:
        value = check.constant(check.real(name, value), like)
    return value.expand(shape)


def check_occupancy(value: Occupancy | None, like: Tensor) -> None:
    if value is None:
        return
    if not isinstance(value, Occupancy):
        raise TypeError(f"occupancy: expected what lumigrad.occupancy returns, or None, got {type(value).__name__}")
    words = check.tensor("occupancy.words", value.words)
    if words.dtype != torch.int64:
        raise TypeError(f"occupancy.words: expected int64, got {str(words.dtype).removeprefix('torch.')}")
    check.shape("occupancy.words", words, bricks_of(value))
    if words.device != like.device:
        raise ValueError(f"occupancy.words: expected device {like.device} like grid, got {words.device}")


def bricks_of(value: Occupancy) -> list[int]:
    """The number of words of an occupancy along z, y, x."""
    try:
        depth, height, width = value.size
    except (TypeError, ValueError):
        raise TypeError(f"occupancy.size: expected (D, H, W), got {value.size!r}") from None
    return [-(-check.integer("occupancy.size", side, 1) // 4) for side in (depth, height, width)]


def _channels(grid: Tensor, degree: int | None) -> int:
    """The number of channels that rays return."""
    payload = grid.shape[-1] - 1
    if degree is None:
        return payload
    count = (check.integer("degree", degree, 0, 3) + 1) ** 2
    if payload % count:
        raise ValueError(
            f"grid: expected 1 + C times {count} values for degree {degree}, got shape {tuple(grid.shape)}"
        )
    return payload // count


def _sizes(grid: Tensor, origins: Tensor) -> tuple[int, ...]:
    return *grid.shape, grid.shape[-1] - 1, origins.shape[0]


_op = declare(
    "march(Tensor grid, Tensor origins, Tensor directions, Tensor box, Tensor limits, Tensor? occupancy, "
    "SymInt occupied_slices, SymInt occupied_rows, SymInt occupied_columns, float step, int activation, "
    "float min_transmittance)",
    sizes=("slices rows columns channels payload rays", _sizes),
    outputs={"features": "rays payload", "alpha": "rays", "depth": "rays", "median": "rays"},
)
