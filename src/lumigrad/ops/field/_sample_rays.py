"""Sampling of rays in occupied cells, and resampling by weight.

Defined by :func:`lumigrad.reference.sample_rays` and :func:`lumigrad.reference.resample_rays`; the kernel of the first
is ``native/field/sample_rays.h``, the second also serves as the implementation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.field._composite import check_samples
from lumigrad.ops.field._march import bricks_of, check_limit, check_rays
from lumigrad.reference._gradients import lengths
from lumigrad.reference.field._sample_rays import shifts
from lumigrad.types import Occupancy, RaySamples
from lumigrad.types import validation as check
from lumigrad.types.grids import Box, check_corners
from lumigrad.types.shapes import Float

MAX_SAMPLES = 65536


def sample_rays(
    origins: Float[Tensor, "*#rays 3"],
    directions: Float[Tensor, "*#rays 3"],
    box: Box,
    step: float,
    occupancy: Occupancy | None = None,
    t_min: float | Float[Tensor, "*#rays"] = 0.0,
    t_max: float | Float[Tensor, "*#rays"] = math.inf,
    jitter: int | None = None,
) -> RaySamples:
    """Cut rays into segments, and keep those in occupied cells.

    A ray is cut as by :func:`~lumigrad.march` with `step`: from where it enters the box, or from `t_min`, in segments
    of that length, the last of which ends where the ray leaves the box, or at `t_max`. With `jitter`, the first segment
    is shorter by a random part of a step, and all ends but the last one are that much nearer.

    Args:
        origins, directions: [..., 3], broadcast with each other. Directions may have any length but zero.
        box: [2, 3], the corners with the smallest and the largest x, y, z.
        step: length of segments in units of the direction. Rays that would take more than 65536 steps take longer ones.
        occupancy: from :func:`~lumigrad.occupancy` or :class:`lumigrad.fit.OccupancyGrid`. Segments with their middle
            in an empty cell are left out. With several levels, rays are cut in the largest box.
        t_min, t_max: where rays begin and end, in units of the direction: numbers, or tensors that broadcast with the
            rays.
        jitter: a seed, or None for no randomness. A ray's shift depends on the seed and the ray's number alone.

    Returns:
        RaySamples of all rays in a row, with the lengths of the directions as `norms`. Only these have gradients. Rays
        that miss the box, have no direction, or are not finite have no samples; of the last, `norms` are 0. On CUDA,
        the host waits for the number of samples.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or options.

    >>> import torch
    >>> import lumigrad as lg
    >>> box = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    >>> samples = lg.sample_rays(torch.tensor([[0.0, 0.0, 3.0]]), torch.tensor([[0.0, 0.0, -1.0]]), box, 0.75)
    >>> samples.t_start.tolist(), samples.t_end.tolist(), samples.offsets.tolist()
    ([2.0, 2.75, 3.5], [2.75, 3.5, 4.0], [0, 3])
    """
    origins = check.floating("origins", origins)
    origins, directions = check_rays(origins, directions, origins, "origins")
    shape = directions.shape[:-1]
    box = check_corners(box, origins, "origins")
    size = check.number("step", step, positive=True)
    begin, end = (check_limit(name, t, shape, origins, "origins") for name, t in (("t_min", t_min), ("t_max", t_max)))
    levels = check_levels(occupancy, origins)
    seed = None if jitter is None else check.integer("jitter", jitter, 0, 2**62)
    if needs_reference("sample_rays", origins):
        return reference.sample_rays(origins, directions, box, size, occupancy, begin, end, seed)
    origins, directions = origins.reshape(-1, 3).contiguous(), directions.reshape(-1, 3).contiguous()
    limits = torch.stack((begin, end), -1).reshape(-1, 2)
    words, cells = (None, (0, 0, 0)) if occupancy is None else (occupancy.words.contiguous(), occupancy.size)
    moved = None if seed is None else shifts(seed, len(directions), directions)
    rays = tuple(v.detach() for v in (origins, directions, box.contiguous(), limits))
    offsets = torch.zeros(len(directions) + 1, dtype=torch.int64, device=directions.device)
    torch.cumsum(_count(*rays, moved, words, levels, *cells, size), 0, out=offsets[1:])
    t_start, t_end = _op(*rays, moved, words, offsets, int(offsets[-1]), levels, *cells, size)
    return RaySamples(t_start, t_end, offsets, lengths(directions))


def resample_rays(
    samples: RaySamples, weights: Float[Tensor, " samples"], count: int, jitter: int | None = None
) -> RaySamples:
    """Cut rays anew, so that all segments have the same share of their weights.

    Within a segment its weight is spread evenly; between segments there is none. The new segments of a ray lie one
    behind another, from where the sum of weights is 0 to where it is all of it. With `jitter`, their ends lie where the
    sum is (i + u) / (count + 1) of all, for i = 0 to count and one random u in [0, 1).

    Args:
        samples: of R rays, front to back. Segments with an end that is not finite have no weight.
        weights: [S], such as those of :func:`~lumigrad.composite`, at least 0. What is negative or not finite counts as
            0.
        count: segments of each ray, 1 to 65536.
        jitter: a seed, or None for no randomness. A ray's u depends on the seed and the ray's number alone.

    Returns:
        RaySamples with `count` samples of each ray that has a sample. Where all weights of a ray are 0, they count as
        equal shares of its length. No gradients but those of `norms`.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or options.

    Source: Mildenhall et al. 2020, "NeRF", hierarchical volume sampling.

    >>> import torch
    >>> import lumigrad as lg
    >>> samples = lg.RaySamples(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]), torch.tensor([0, 2]))
    >>> finer = lg.resample_rays(samples, torch.tensor([0.75, 0.25]), 4)
    >>> [round(t, 4) for t in finer.t_end.tolist()]
    [0.3333, 0.6667, 1.0, 2.0]
    """
    weights = check.floating("weights", weights)
    check.shape("weights", weights, ("S",))
    samples = check_samples(samples, weights, weights.shape[0], "weights")
    count = check.integer("count", count, 1, MAX_SAMPLES)
    seed = None if jitter is None else check.integer("jitter", jitter, 0, 2**62)
    return reference.resample_rays(samples, weights, count, seed)


def check_levels(value: Occupancy | None, like: Tensor) -> int:
    """The number of levels of an occupancy."""
    if value is None:
        return 1
    if not isinstance(value, Occupancy):
        raise TypeError(f"occupancy: expected what lumigrad.occupancy returns, or None, got {type(value).__name__}")
    words = check.tensor("occupancy.words", value.words)
    if words.dtype != torch.int64:
        raise TypeError(f"occupancy.words: expected int64, got {str(words.dtype).removeprefix('torch.')}")
    bricks = bricks_of(value)
    check.shape("occupancy.words", words, ["levels", *bricks] if words.dim() == 4 else bricks)
    levels = words.shape[0] if words.dim() == 4 else 1
    if not 1 <= levels <= 16:
        raise ValueError(f"occupancy.words: expected 1 to 16 levels, got {levels}")
    if words.device != like.device:
        raise ValueError(f"occupancy.words: expected device {like.device} like origins, got {words.device}")
    return levels


def _rays(origins: Tensor) -> tuple[int, ...]:
    return (origins.shape[0],)


_INPUTS = "Tensor origins, Tensor directions, Tensor box, Tensor limits, Tensor? shifts, Tensor? occupancy, "
_GRIDS = "SymInt levels, SymInt occupied_slices, SymInt occupied_rows, SymInt occupied_columns, float step)"
_count = declare(f"sample_rays_count({_INPUTS}{_GRIDS}", sizes=("rays", _rays), outputs={"counts": "rays"})
_op = declare(
    f"sample_rays({_INPUTS}Tensor offsets, SymInt samples, {_GRIDS}",
    sizes=("rays", _rays),
    outputs={"t_start": "samples", "t_end": "samples"},
)
