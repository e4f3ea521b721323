"""Merges everything that a pixel's ray meets into one order: points on the ray, and intervals of media between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class PixelRays:
    """The rays of R pixels of one image.

    Attributes:
        origins, directions: [R, 3]; directions are of unit length, so that distances along rays are true ones.
        cosine: between rays and the viewing direction [R]: a point at the distance t has the depth t * cosine.
        begin, end: where rays meet the clip planes [R].
        size: (height, width).
    """

    origins: Tensor
    directions: Tensor
    cosine: Tensor
    begin: Tensor
    end: Tensor
    size: tuple[int, int]

    @property
    def ahead(self) -> Tensor:
        """The cosine, or 1 for rays that lead sideways or backwards and reach no depth [R]."""
        return torch.where(self.cosine > 0, self.cosine, 1)

    def distance(self, depth: Tensor, pixel: Tensor) -> Tensor:
        """The distances [M] along the rays of pixels [M] at which points have the depths [M]."""
        return depth / self.ahead.index_select(0, pixel)


class Fragments(NamedTuple):
    """Points on rays, M of them, in any order.

    Attributes:
        pixel: which ray each is on, int64 [M].
        t: distances along the rays [M].
        values: [M, C + 2]: colours times alpha, the distance times alpha, and alpha.
    """

    pixel: Tensor
    t: Tensor
    values: Tensor

    @classmethod
    def of(cls, pixel: Tensor, t: Tensor, color: Tensor, alpha: Tensor) -> Fragments:
        """Points with colours [M, C] that are not premultiplied by their alphas [M]."""
        return cls(pixel, t, alpha[:, None] * torch.cat((color, t[:, None], torch.ones_like(alpha[:, None])), -1))

    @classmethod
    def join(cls, parts: Sequence[Fragments]) -> Fragments:
        """All fragments together."""
        return cls(*(torch.cat(columns) for columns in zip(*parts, strict=True)))

    def chosen(self, which: Tensor) -> Fragments:
        """The fragments selected by a mask [M]."""
        index = which.nonzero()[:, 0]
        return Fragments(self.pixel[index], self.t.index_select(0, index), self.values.index_select(0, index))


class Medium(Protocol):
    """An absorbing and emitting medium in a part of space.

    Attributes:
        step: of the pieces into which rays are cut where media overlap.
    """

    step: float

    def limits(self, rays: PixelRays) -> tuple[Tensor, Tensor]:
        """Where rays enter it and leave it [R]; rays that miss it leave before they enter."""

    def seen(self, origins: Tensor, directions: Tensor, begin: Tensor, end: Tensor) -> Tensor:
        """The contributions of the medium to M rays between two distances [M]: values [M, C + 2], as in `Fragments`."""


@dataclass(frozen=True)
class Limits:
    """The intervals of an image's rays in each medium.

    Attributes:
        media: V of them.
        enter, leave: [R] for each.
    """

    media: Sequence[Medium] = ()
    enter: list[Tensor] = field(default_factory=list)
    leave: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, media: Sequence[Medium], rays: PixelRays) -> Limits:
        """The limits, cut to the part between the clip planes."""
        found = [medium.limits(rays) for medium in media]
        enter = [torch.maximum(a, rays.begin) for a, _ in found]
        return cls(media, enter, [torch.minimum(b, rays.end) for _, b in found])


# ---- Segments ------------------------------------------------------------------------------------------------------


def merge(
    rays: PixelRays, fragments: Fragments, limits: Limits, walls: Sequence[Tensor], stop: Tensor | None
) -> Tensor:
    """The contributions of each of the D + 1 segments into which D walls cut the rays.

    Args:
        fragments: of everything but the walls.
        walls: distances [R], one behind another on each ray, infinite where a ray has none.
        stop: distances [R] behind which nothing is seen, or None.

    Returns:
        [R, D + 1, C + 2]: colours times alpha, depths times alpha, and alpha. Gradients reach the fragments, the media,
        and the ends of their intervals: of walls, fragments and rays.
    """
    count, segments = len(rays.origins), len(walls) + 1
    if stop is not None:
        fragments = fragments.chosen(fragments.t <= stop[fragments.pixel])
        limits = Limits(limits.media, limits.enter, [torch.minimum(leave, stop) for leave in limits.leave])
    events = _events(fragments, limits, walls)
    group = (events.pixel * segments + events.wall + 1).cummax(0).values if len(events.pixel) else events.pixel
    point = (events.fragment >= 0).nonzero()[:, 0]
    values, rows, belongs = fragments.values, events.fragment[point], group[point]
    if limits.media:
        interval, inside = _intervals(rays, events, limits)
        order = _sorted(torch.cat((2 * point, 2 * interval + 1)), 2 * len(events.pixel))
        number = torch.arange(len(values), len(values) + len(inside), device=rows.device)
        values = torch.cat((values, inside))
        rows, belongs = torch.cat((rows, number))[order], torch.cat((belongs, group[interval]))[order]
    seen = blend_groups(belongs, values, count * segments, rows).view(count, segments, -1)
    color, distance, alpha = seen.split((seen.shape[-1] - 2, 1, 1), -1)
    return torch.cat((color, distance * rays.cosine[:, None, None], alpha), -1)


def _sorted(numbers: Tensor, end: int) -> Tensor:
    """The order [M] of distinct numbers [M] below `end`."""
    at = torch.full((end,), -1, dtype=torch.int64, device=numbers.device)
    at[numbers] = torch.arange(len(numbers), device=numbers.device)
    return at[at >= 0]


class _Events(NamedTuple):
    """All events along the rays, ray by ray and front to back: the distance, and the fragment or wall."""

    pixel: Tensor
    t: Tensor
    fragment: Tensor
    wall: Tensor


def _events(fragments: Fragments, limits: Limits, walls: Sequence[Tensor]) -> _Events:
    pixels, times, kinds = [fragments.pixel], [fragments.t], [torch.full_like(fragments.pixel, -1)]
    pairs = zip(limits.enter, limits.leave, strict=True)
    crossed = [(end, enter < leave, -1) for enter, leave in pairs for end in (enter, leave)]
    for ends, happens, number in [*((wall, wall.isfinite(), d) for d, wall in enumerate(walls)), *crossed]:
        where = happens.nonzero()[:, 0]
        pixels.append(where)
        times.append(ends.index_select(0, where))
        kinds.append(torch.full_like(where, number))
    pixel, t, wall = torch.cat(pixels), torch.cat(times), torch.cat(kinds)
    order = _key(pixel, t).argsort(stable=True)
    fragment = torch.where(order < len(fragments.t), order, -1)
    return _Events(pixel[order], t.index_select(0, order), fragment, wall[order])


def _key(pixel: Tensor, t: Tensor) -> Tensor:
    """Integers in the order of pixels, and of distances rounded to float32 within a pixel."""
    bits = t.detach().float().contiguous().view(torch.int32).long()
    rising = torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    return pixel * 2**32 + rising + 2**31


def _intervals(rays: PixelRays, events: _Events, limits: Limits) -> tuple[Tensor, Tensor]:
    """The events at which intervals in media begin [J], and the contributions of these intervals [J, C + 2]."""
    pixel, t = events.pixel, events.t.detach()
    if not len(pixel):
        empty = rays.origins.new_zeros(0, 3)
        return pixel, limits.media[0].seen(empty, empty, empty[:, 0], empty[:, 0])
    middle = 0.5 * (t[:-1] + t[1:])
    counts = (pixel[:-1] == pixel[1:]) & (t[1:] > t[:-1])
    active = [
        counts & (enter.detach()[pixel[:-1]] <= middle) & (middle <= leave.detach()[pixel[:-1]])
        for enter, leave in zip(limits.enter, limits.leave, strict=True)
    ]
    several = torch.stack(active).sum(0)
    parts = []
    for medium, here in zip(limits.media, active, strict=True):
        alone = (here & (several == 1)).nonzero()[:, 0]
        parts.append((alone, medium.seen(*_stretch(rays, events, alone))))
    shared = (several > 1).nonzero()[:, 0]
    if len(shared):
        parts.append((shared, _overlap(_stretch(rays, events, shared), limits.media, [a[shared] for a in active])))
    where, values = (torch.cat(columns) for columns in zip(*parts, strict=True))
    return where, values


def _stretch(rays: PixelRays, events: _Events, index: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The rays from one event to the next: origins, directions, and the two distances."""
    pixel = events.pixel[index]
    begin, end = (events.t.index_select(0, at) for at in (index, index + 1))
    return rays.origins.index_select(0, pixel), rays.directions.index_select(0, pixel), begin, end


def _overlap(
    stretch: tuple[Tensor, Tensor, Tensor, Tensor], media: Sequence[Medium], active: Sequence[Tensor]
) -> Tensor:
    """The contributions of several overlapping media [J, C + 2].

    Extinctions add, and so do emissions. Rays are cut into pieces, within which each medium is treated as uniform.
    """
    origins, directions, begin, end = stretch
    step = min(medium.step for medium in media)
    length = (end - begin).detach()
    count = (length / step).ceil().clamp(1, 65536).long()
    which = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    number = torch.arange(len(which), device=count.device) - (count.cumsum(0) - count)[which]
    share = [((number + k) / count[which]).to(begin) for k in (0, 1)]
    first, span = begin.index_select(0, which), (end - begin).index_select(0, which)
    parts = (origins.index_select(0, which), directions.index_select(0, which))
    pieces = (*parts, first + share[0] * span, first + share[1] * span)
    emitted, passed = begin.new_zeros(()), begin.new_ones(())
    for medium, here in zip(media, active, strict=True):
        at = here[which].nonzero()[:, 0]
        values = medium.seen(*(part.index_select(0, at) for part in pieces))
        alpha = values[:, -1:]
        spread = values.new_zeros(len(which), values.shape[1])
        emitted = emitted + spread.index_copy(0, at, torch.cat((values[:, :-1] * _thickness(alpha), alpha), -1))
        passed = passed * (1 - spread[:, :1].index_copy(0, at, alpha))
    alpha = 1 - passed
    return blend_groups(which, torch.cat((emitted[:, :-1] / _thickness(alpha), alpha), -1), len(count))


def _thickness(alpha: Tensor) -> Tensor:
    """The optical depth over the opacity, -log(1 - alpha) / alpha, from 1 on."""
    small = alpha < 1e-3
    inside = alpha.clamp(max=1 - torch.finfo(alpha.dtype).eps)
    exact = -torch.log1p(-torch.where(small, 0.5, inside)) / torch.where(small, 0.5, inside)
    series = 1 + alpha * (1 / 2 + alpha * (1 / 3 + alpha * (1 / 4 + alpha * (1 / 5 + alpha / 6))))
    return torch.where(small, series, exact)


# ---- Blending ------------------------------------------------------------------------------------------------------


def over(front: Tensor, behind: Tensor) -> Tensor:
    """Values [..., C + 2] in front of others."""
    return front + (1 - front[..., -1:]) * behind


def blend_groups(group: Tensor, values: Tensor, count: int, rows: Tensor | None = None) -> Tensor:
    """Blend each group's values front to back.

    Args:
        group: int64 [M], rising.
        values: [M, C + 2], those of a group front to back; with `rows`, in any order.
        count: how many groups there are.
        rows: int64 [M], where in `values` those of the groups are.

    Returns:
        [count, C + 2], zero for groups without values. Works from the back: with every pass, the groups that have as
        many values get one more of them in front. Nothing is divided, so gradients are right for any alpha.
    """
    sizes = torch.bincount(group, minlength=count)
    order = (-sizes).argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(count, device=order.device)
    number = torch.arange(len(group), device=group.device)
    rank = number - (sizes.cumsum(0) - sizes)[group]
    # The groups with a value of a given rank come first in the order, so ranks and places need no sorting.
    counts = torch.bincount(rank)
    by_rank = torch.empty_like(number)
    by_rank[(counts.cumsum(0) - counts)[rank] + place[group]] = number
    layers = values.index_select(0, by_rank if rows is None else rows[by_rank]).split(counts.tolist())
    seen = values.new_zeros(0, values.shape[1])
    for layer in reversed(layers):
        behind = torch.nn.functional.pad(seen, (0, 0, 0, len(layer) - len(seen)))
        seen = over(layer, behind)
    return values.new_zeros(count, values.shape[1]).index_copy(0, order[: len(seen)], seen)
