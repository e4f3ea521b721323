"""Fields: grids and samples along rays, occupied cells, hash encoding."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor

import lumigrad as lg
from lumigrad import Occupancy, RaySamples

from .call import Call
from .draw import Draw

SIDES = (1, 1, 2, 3, 4, 5, 7, 9)


def voxels(draw: Draw) -> tuple[int, int, int]:
    """The size of a grid, D, H, W."""
    return draw.choice(SIDES), draw.choice(SIDES), draw.choice(SIDES)


def box(draw: Draw) -> Any:
    """Two corners, as a tensor or as numbers: a cube, another box, one far away, a thin one, a huge one."""
    low = torch.full((3,), -1.0, dtype=draw.dtype)
    high = -low
    if draw.chance(0.6):
        low, high = low + 0.4 * draw.uniform(3), high + 0.4 * draw.uniform(3)
    if draw.chance(0.1):
        low, high = low + 100, high + 100
    if draw.chance(0.1):
        high[draw.integer(0, 2)] = low.max() + 1e-3
    if draw.chance(0.03):
        low, high = 1e20 * low, 1e20 * high
        draw.extreme = draw.huge = True
    corners = torch.stack((torch.minimum(low, high), torch.maximum(low, high)))
    if not bool((corners[0] < corners[1]).all()):
        corners = torch.tensor([[-1.0] * 3, [1.0] * 3], dtype=draw.dtype)
    return corners.tolist() if draw.chance(0.2) else draw.laid_out(corners)


def rays(draw: Draw, corners: Any) -> tuple[Tensor, Tensor]:
    """From around a box or in it: towards it, along axes, in its faces, past it, and none at all."""
    corners = torch.as_tensor(corners, dtype=draw.dtype)
    centre, half = corners.mean(0), 0.5 * (corners[1] - corners[0])
    shape = draw.choice(((0,), (1,), (5,), (5,), (13,), (2, 3), (3, 1, 2)))
    origins = draw.choice((0.5, 1.5, 3.0)) * draw.uniform(*shape, 3)
    directions = draw.choice((0.3, 1.0)) * draw.uniform(*shape, 3) - origins
    for value in (origins, directions):
        rows = value.view(-1, 3)
        for row in range(len(rows)):
            if draw.chance(0.15):
                rows[row, draw.integer(0, 2)] = draw.choice((0.0, 1.0, -1.0) if value is origins else (0.0,))
            if draw.chance(0.05) and value is directions:
                rows[row, : draw.integer(1, 3)] = 0
    origins, directions = centre + origins * half, directions * half * draw.choice((1.0, 1.0, 0.1, 7.0))
    if draw.chance(0.1):
        origins = origins.reshape(-1, 3)[0] if origins.numel() else origins
    return draw.expanded(draw.spoiled(origins)), draw.laid_out(draw.spoiled(directions))


def limits(draw: Draw, shape: tuple[int, ...]) -> dict[str, Any]:
    """t_min and t_max."""
    found: dict[str, Any] = {}
    if draw.chance(0.3):
        found["t_min"] = draw.choice((0.0, 0.4, draw.spoiled(draw.uniform(*shape, low=0.0))))
    if draw.chance(0.3):
        found["t_max"] = draw.choice((math.inf, 1.1, 0.0, draw.spoiled(draw.uniform(*shape, low=0.0, high=3.0))))
    return found


def cells(draw: Draw, levels: int = 0) -> Occupancy:
    """Occupied cells, of one grid or of nested ones."""
    size, share = voxels(draw), draw.choice((-1.1, -0.5, 0.0, 0.5, 1.1))
    grids = [lg.occupancy(draw.uniform(*size) > share) for _ in range(max(levels, 1))]
    words = torch.stack([grid.words for grid in grids])
    return Occupancy(words if levels else words[0], size)


def seen_shape(origins: Tensor, directions: Tensor) -> tuple[int, ...]:
    return tuple(torch.broadcast_shapes(origins.shape, directions.shape)[:-1])


def march(draw: Draw) -> Call:
    corners = box(draw)
    origins, directions = rays(draw, corners)
    degree = draw.choice((None, None, None, 0, 1, 2))
    channels = draw.choice((0, 1, 2, 3, 3, 3, 9)) if degree is None else draw.choice((0, 1, 3))
    payload = channels if degree is None else channels * (degree + 1) ** 2
    grid = draw.uniform(*voxels(draw), 1 + payload)
    grid[..., 0] = draw.choice((0.1, 1.0, 30.0)) * grid[..., 0] + draw.choice((0.0, 0.5))
    # Features that are not finite have no gradient, nor has a part of what is beside them.
    grid = torch.cat((draw.spoiled(grid[..., :1]), draw.spoiled(grid[..., 1:], finite=True)), -1)
    shape = seen_shape(origins, directions)
    background = draw.choice(((channels,), (*shape, channels)))
    arguments = {
        "grid": draw.expanded(grid),
        "origins": origins,
        "directions": directions,
        "box": corners,
        "step": draw.choice((None, None, 0.05, 0.21, 1e3)),
        "occupancy": draw.optional(cells(draw), 0.3),
        "background": draw.optional(draw.spoiled(draw.uniform(*background), finite=True), 0.5),
        "activation": draw.choice(("none", "relu", "relu", "softplus", "exp")),
        "degree": degree,
        "min_transmittance": draw.choice((0.0, 0.0, 1e-3, 0.4)),
        **limits(draw, shape),
    }
    return Call(lg.march, lg.reference.march, arguments)


def occupancy(draw: Draw) -> Call:
    density = draw.expanded(draw.spoiled(draw.uniform(*voxels(draw))))
    arguments = {"density": density, "threshold": draw.choice((0.0, -0.5, 0.25, 2.0))}
    return Call(lg.occupancy, lg.reference.occupancy, arguments, exact=("words",))


def samples(draw: Draw) -> tuple[RaySamples, int]:
    """Of a few rays, mostly front to back, and how many there are."""
    counts = [draw.choice((0, 1, 2, 3, 5, 17, 40)) for _ in range(draw.count(9))]
    total = sum(counts)
    length = draw.uniform(total, low=0.0, high=draw.choice((0.1, 1.0)))
    gap = draw.choice((0.0, 0.3)) * draw.uniform(total, low=0.0)
    far = (gap + length).split(counts)
    start = torch.cat([torch.cat((row.new_zeros(1), row.cumsum(0)))[: len(row)] for row in far] or [length])
    end = start + length
    offsets = torch.tensor([0, *itertools.accumulate(counts)])
    norms = draw.optional(draw.spoiled(draw.uniform(len(counts), low=0.0, high=2.0)))
    start, end = draw.laid_out(draw.spoiled(start)), draw.laid_out(draw.spoiled(end))
    return RaySamples(start, end, draw.laid_out(offsets), norms), total


def composite(draw: Draw) -> Call:
    packed, total = samples(draw)
    channels, mode = draw.choice((0, 1, 3, 3, 4, 17)), draw.choice(("density", "alpha"))
    density = draw.uniform(total, low=0.0, high=1.0 if mode == "alpha" else 5.0)
    if draw.chance(0.2):
        density[::3] = 1.0
    backgrounds = ((channels,), (len(packed.offsets) - 1, channels))
    arguments = {
        "samples": packed,
        "density": draw.expanded(draw.spoiled(density)),
        "features": draw.expanded(draw.spoiled(draw.uniform(total, channels))),
        "background": draw.optional(draw.uniform(*draw.choice(backgrounds))),
        "mode": mode,
    }
    return Call(lg.composite, lg.reference.composite, arguments)


def distortion_loss(draw: Draw) -> Call:
    packed, total = samples(draw)
    weights = draw.expanded(draw.spoiled(draw.uniform(total, low=0.0)))
    return Call(lg.distortion_loss, _all_pairs, {"samples": packed, "weights": weights})


def _all_pairs(samples: RaySamples, weights: Tensor) -> Tensor:
    """Ray by ray, over all pairs in their order."""
    losses = []
    for begin, end in itertools.pairwise(samples.offsets.tolist()):
        weight, start, stop = weights[begin:end], samples.t_start[begin:end], samples.t_end[begin:end]
        if not all(bool(value.isfinite().all()) for value in (weight, start, stop)):
            losses.append(weights.new_full((), torch.nan))
            continue
        middle = 0.5 * (start + stop)
        apart = (middle[:, None] - middle).tril(-1)  # of one that lies behind, whatever their distances
        losses.append(2 * (weight[:, None] * weight * apart).sum() + (weight.square() * (stop - start)).sum() / 3)
    return torch.stack(losses) if losses else weights.new_zeros(0)


def contract(draw: Draw) -> Call:
    shape = draw.choice(((), (0,), (5,), (2, 3)))
    points = draw.expanded(draw.spoiled(draw.choice((1.0, 2.0, 1e4)) * draw.uniform(*shape, 3)))
    return Call(lg.contract, lg.reference.contract, {"points": points})


def hash_encode(draw: Draw) -> Call:
    axes, levels, channels = draw.choice((2, 3)), draw.integer(1, 4), draw.choice((1, 2, 2, 3, 5))
    x = draw.uniform(draw.choice((0, 1, 5, 40)), axes, low=draw.choice((0.0, -0.2)), high=draw.choice((1.0, 1.2)))
    rows = draw.choice((1, 2, 9, 64, 97))
    tables: Any = draw.laid_out(draw.spoiled(draw.uniform(levels, rows, channels)))
    if draw.chance(0.4):
        tables = [draw.laid_out(draw.uniform(draw.choice((1, 3, 27, 64)), channels)) for _ in range(levels)]
    resolutions = [draw.choice((1, 2, 3, 8, 100)) for _ in range(levels)]
    arguments = {"x": draw.expanded(draw.spoiled(x)), "tables": tables, "resolutions": resolutions}
    return Call(lg.hash_encode, lg.reference.hash_encode, arguments)


def sample_rays(draw: Draw) -> Call:
    """Per ray: how many samples, where they begin and end, and what they cover."""
    corners = box(draw)
    origins, directions = rays(draw, corners)
    levels = draw.choice((0, 1, 1, 3))
    arguments = {
        "origins": origins,
        "directions": directions,
        "box": corners,
        "step": draw.choice((0.05, 0.21, 0.7, 1e3)),
        "occupancy": draw.optional(cells(draw, levels), 0.6),
        "jitter": draw.choice((None, 0, 12345)),
        **limits(draw, seen_shape(origins, directions)),
    }

    def run(**given: Any) -> Any:
        return _summary(lg.sample_rays(**given), given["step"])

    def defined(**given: Any) -> Any:
        given["box"] = torch.as_tensor(given["box"], dtype=given["origins"].dtype)
        return _summary(lg.reference.sample_rays(**given), given["step"])

    return Call(run, defined, arguments)


def _summary(samples: RaySamples, step: float) -> dict[str, Tensor]:
    count = samples.offsets.diff()
    ray, length = samples.ray, samples.t_end - samples.t_start
    same = ray[1:] == ray[:-1]
    assert bool((length > 0).all())
    assert bool((samples.t_start[1:][same] >= samples.t_end[:-1][same]).all())
    zero = length.new_zeros(len(count))
    return {
        "count": count,
        "covered": zero.index_add(0, ray, length),
        "first": zero.scatter_reduce(0, ray, samples.t_start, "amin", include_self=False),
        "last": zero.scatter_reduce(0, ray, samples.t_end, "amax", include_self=False),
        "norms": samples.norms if samples.norms is not None else zero,
    }


def resample_rays(draw: Draw) -> Call:
    """How much of its ray's weight lies before each end: places jump where weights are zero."""
    packed, total = samples(draw)
    packed = packed._replace(t_end=torch.where(packed.t_end > packed.t_start, packed.t_end, torch.nan))
    weights = draw.uniform(total, low=draw.choice((0.0, 0.0, -0.3)))
    if draw.chance(0.2):
        weights[:: draw.choice((1, 2, 7))] = draw.choice((0.0, math.nan, math.inf))
    arguments = {"samples": packed, "weights": draw.expanded(weights), "count": draw.choice((1, 2, 5, 16))}

    def run(samples: RaySamples, weights: Tensor, count: int) -> Any:
        finer = lg.resample_rays(samples, weights, count)
        assert bool(finer.t_start.isfinite().all() and finer.t_end.isfinite().all())
        wanted = defined(samples, weights, count)
        return [_shares(samples, weights, finer, *each) for each in zip((finer.t_start, finer.t_end), wanted)]

    def defined(samples: RaySamples, weights: Tensor, count: int) -> Any:
        full = int((samples.offsets.diff() > 0).sum())
        shares = torch.arange(count + 1).to(weights) / count
        return [shares[:-1].repeat(full), shares[1:].repeat(full)]

    return Call(run, defined, arguments)


def _shares(samples: RaySamples, weights: Tensor, finer: RaySamples, edges: Tensor, wanted: Tensor) -> Tensor:
    """The part of the weight of its ray that lies before each of these edges; what is wanted, where there is none."""
    found = []
    for t, ray, right in zip(edges.double(), finer.ray.tolist(), wanted.double()):
        begin, end = samples.offsets[ray : ray + 2].tolist()
        start, stop = (value[begin:end].detach().double() for value in (samples.t_start, samples.t_end))
        placed = start.isfinite() & stop.isfinite()
        weight = weights[begin:end].detach().double()
        weight = torch.where((weight > 0) & weight.isfinite() & placed, weight, 0)
        if not bool((weight > 0).any()):
            weight = torch.where(placed, stop - start, 0)
        before = torch.where(placed, ((t - start) / (stop - start)).clamp(0, 1), 0)
        found.append((before * weight).sum() / weight.sum() if weight.any() else right)
    return torch.stack(found).to(edges) if found else edges


GENERATORS = {
    "march": march,
    "occupancy": occupancy,
    "composite": composite,
    "distortion_loss": distortion_loss,
    "contract": contract,
    "hash_encode": hash_encode,
    "sample_rays": sample_rays,
    "resample_rays": resample_rays,
}
