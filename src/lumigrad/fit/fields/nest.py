"""Boxes within boxes, each twice as large as the one inside: fine voxels where cameras look, coarse ones far away."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lumigrad.fit.fields.model import Seen
from lumigrad.ops.field import march
from lumigrad.types import Occupancy

# Rays end when no more than this is transmitted.
MIN_TRANSMITTANCE = 0.01
# A segment's length in voxels.
_STEP = 0.7


def see(
    grids: Sequence[Tensor],
    halves: Sequence[float],
    origins: Tensor,
    directions: Tensor,
    near: float,
    degree: int,
    occupied: Sequence[Occupancy | None],
) -> Seen:
    """March rays through grids whose boxes are centred at the origin.

    Args:
        grids: [D, H, W, 1 + 3 (degree + 1)^2] each, of densities before "softplus"; the smallest box first.
        halves: half the side of each box, rising.
        origins, directions: [R, 3], unit directions.
        near: where rays begin.
        occupied: where there is something, or None, for each grid.

    A grid counts in its own box, without the box inside it: a ray passes the shells from the outermost to the
    innermost box, and then from the innermost to the outermost.

    >>> import torch
    >>> from lumigrad.fit.fields.nest import see
    >>> empty, fog = torch.full((4, 4, 4, 4), -20.0), torch.full((4, 4, 4, 4), 10.0)
    >>> ray = torch.tensor([[0.0, 0, 5]]), torch.tensor([[0.0, 0, -1]])
    >>> out = see([empty, fog], [1.0, 2.0], *ray, near=0.1, degree=0, occupied=[None, None])
    >>> 3 < out.depth.item() / out.alpha.item() < 3.5  # where the outer box begins
    True
    """
    spans = [_span(half, origins, directions) for half in halves[:-1]]
    forever = torch.full_like(origins[:, 0], math.inf)
    begin = torch.full_like(forever, near)
    outer = range(1, len(grids))
    shells = [(k, begin, spans[k - 1][0]) for k in reversed(outer)]
    shells.append((0, begin, forever))
    shells += [(k, spans[k - 1][1].clamp_min(near), forever) for k in outer]

    color, depth = torch.zeros_like(origins), torch.zeros_like(forever)
    passed = torch.ones_like(forever)
    for k, start, end in shells:
        open_ = (passed.detach() > MIN_TRANSMITTANCE) & (start < end)
        if not bool(open_.any()):
            continue
        half = halves[k]
        out = march(
            grids[k], origins, directions, ((-half,) * 3, (half,) * 3), _STEP * 2 * half / max(grids[k].shape[:3]),
            occupied[k], t_min=start, t_max=torch.where(open_, end, -1.0), activation="softplus", degree=degree,
            min_transmittance=MIN_TRANSMITTANCE,
        )  # fmt: skip
        color = color + passed[:, None] * out.features
        depth = depth + passed * out.depth
        passed = passed * (1 - out.alpha)
    return Seen(color, 1 - passed, depth)


def _span(half: float, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """The distances at which rays enter and leave a box; both are infinite for rays that miss it."""
    slope = 1 / torch.where(directions == 0, 1e-20, directions)
    first, second = (-half - origins) * slope, (half - origins) * slope
    enter = torch.minimum(first, second).amax(-1).clamp_min(0)
    leave = torch.maximum(first, second).amin(-1)
    hit = leave > enter
    return torch.where(hit, enter, math.inf), torch.where(hit, leave, math.inf)
