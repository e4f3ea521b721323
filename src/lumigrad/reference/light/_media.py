"""Participating media along light paths: the media between surfaces, and distances of flight in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.types import Media
from lumigrad.types.grids import to_voxels

STACK = 8  # nested media that a path can track
MOST_BORDERS = 4096  # borders that a ray is followed through, because a ray within a border may meet it endlessly
FLOOR = 0.25  # additional collisions in gradient paths, along the diagonal of a medium
ENDLESS = 1e30  # replaces infinite optical depths, whose derivatives would be NaN


@torch.no_grad()
def media_places(media: Media, positions: Tensor, tri: Tensor) -> Tensor:
    """For each medium: the box of its grid (6), the bounds of its border (6), and its floor: [K, 13].

    The floor is the density of additional collisions in gradient paths: it lets them reach places where the density is
    zero but its derivative is not. A medium without bounds has none.
    """
    rows = []
    for k, grid in enumerate(media.numbers.tolist()):
        box = positions.new_zeros(6)
        if 0 <= grid < len(media.grids) and media.boxes is not None:
            box = media.boxes[grid].detach().reshape(6)
        corners = positions.detach()[tri[media.faces[:, 0] == k].long().clamp(0, max(len(positions) - 1, 0))]
        bounds = positions.new_tensor([math.inf] * 3 + [-math.inf] * 3)
        if corners.numel():
            bounds = torch.cat((corners.amin((0, 1)), corners.amax((0, 1))))
        extent = box[3:] - box[:3] if grid >= 0 else bounds[3:] - bounds[:3]
        diagonal = extent.norm()
        bounded = (diagonal > 0) & diagonal.isfinite() & (grid >= 0 or k != media.surrounding)
        floor = torch.where(bounded, FLOOR / diagonal, 0)
        rows.append(torch.cat((box, bounds, floor[None])))
    return torch.stack(rows) if rows else positions.new_zeros(0, 13)


# ---- Phase function --------------------------------------------------------------------------------------------------


def phase(g: Tensor, cosine: Tensor) -> Tensor:
    """The Henyey-Greenstein function, per solid angle, of the cosine between the directions before and after."""
    return (1 - g * g) / (4 * math.pi * (1 + g * g - 2 * g * cosine) ** 1.5)


def sample_cosine(g: Tensor, u: Tensor) -> Tensor:
    """The inverse of its cumulative distribution."""
    even = 2 * u - 1
    k = (even + g) / (1 + g * even)
    return (k + 0.5 * g * (1 - k * k)).clamp(-1, 1)


def direction_around(frame: Tensor, cosine: Tensor, v: Tensor) -> Tensor:
    """Directions at an angle from the last axis of each frame [P, 3, 3]."""
    sine, angle = (1 - cosine * cosine).clamp_min(0).sqrt(), 2 * math.pi * v
    local = torch.stack((sine * angle.cos(), sine * angle.sin(), cosine), -1)
    return (frame * local[..., None]).sum(1)


# ---- Passages ------------------------------------------------------------------------------------------------------


class Passage(NamedTuple):
    """The parts of rays in a medium."""

    distance: Tensor  # distance of flight [P]
    reach: Tensor  # the part of it in the medium's box
    amount: Tensor  # integral of the density, with gradients
    collides: Tensor


class Medium:
    """A medium of a scene. darkest: smallest albedo; 0 for paths that render the image."""

    def __init__(self, media: Media, places: Tensor, number: int, darkest: float) -> None:
        row = media.parameters[number]
        self.extinction, self.albedo, self.g = _at_least(row[:3], 0), row[3:6], row[6]
        self.darkest, self.floor = darkest, places[number, 12] if darkest > 0 else row.new_zeros(())
        self.least = darkest * torch.maximum(self.floor, self.extinction.max()).detach()
        grid = int(media.numbers[number])
        self.grid = media.grids[grid] if grid >= 0 else None
        self.box = places[number, :6].reshape(2, 3)

    def voxels(self, points: Tensor) -> Tensor:
        """Interpolated densities, and the albedo's factor if there is one, at points [..., 3]: [..., C]."""
        assert self.grid is not None
        size = self.grid.shape[:3]
        at = to_voxels(points, self.box, self.grid[..., 0])
        values = torch.cat((_at_least(self.grid[..., :1], 0), self.grid[..., 1:]), -1).flatten(0, 2)
        out: Any = 0.0
        low, weight = [], []
        for axis, count in enumerate(reversed(size)):
            kept = at[..., axis].clamp(0, count - 1)
            first = kept.floor().clamp_max(max(count - 2, 0)).long()
            low.append(first)
            weight.append(kept - first)
        for corner in range(8):
            index, share = torch.zeros_like(low[0]), torch.ones_like(weight[0])
            for axis in (2, 1, 0):
                far = corner >> axis & 1
                index = index * size[2 - axis] + (low[axis] + far).clamp_max(size[2 - axis] - 1)
                share = share * (weight[axis] if far else 1 - weight[axis])
            out = out + share[..., None] * values[index]
        return out

    def extinction_at(self, points: Tensor) -> Tensor:
        value = self.extinction.expand_as(points)
        if self.grid is not None:
            value = value * self.voxels(points)[..., :1]
        return _at_least(value, self.least)

    def albedo_at(self, points: Tensor) -> Tensor:
        value = self.albedo.expand_as(points)
        if self.grid is not None and self.grid.shape[-1] == 4:
            value = value * self.voxels(points)[..., 1:]
        return _at_least(value, self.darkest)

    def passage(self, origins: Tensor, directions: Tensor, length: Tensor, rate: Tensor, wanted: Tensor) -> Passage:
        """The passage until rate * amount + floor * reach equals `wanted` [P] (possibly infinite); at most `length`."""
        if self.grid is not None:
            return self._in_grid(origins, directions, length, rate, wanted)
        total = rate + self.floor
        reach = torch.where(total > 0, wanted / torch.where(total > 0, total, 1), length)
        collides = reach < length
        reach = torch.where(collides, reach, length)
        return Passage(reach, reach, reach, collides)

    def _in_grid(self, origins: Tensor, directions: Tensor, length: Tensor, rate: Tensor, wanted: Tensor) -> Passage:
        """The passage in a grid: between planes through voxel centres, the density is a cubic of the distance."""
        assert self.grid is not None
        times = []
        begin, end = torch.zeros_like(length), length
        for axis, count in enumerate(reversed(self.grid.shape[:3])):
            low, high = self.box[0, axis], self.box[1, axis]
            o, d = origins[:, axis], directions[:, axis]
            moves = d != 0
            safe = torch.where(moves, d, 1)
            planes = low + (high - low) * (torch.arange(count, device=o.device, dtype=o.dtype) + 0.5) / count
            times.append(torch.where(moves[:, None], (planes - o[:, None]) / safe[:, None], 0))
            first, last = (low - o) / safe, (high - o) / safe
            inside = torch.where((o >= low) & (o <= high), math.inf, -math.inf)
            begin = torch.maximum(begin, torch.where(moves, torch.minimum(first, last), -math.inf))
            end = torch.minimum(end, torch.where(moves, torch.maximum(first, last), inside))
        end = torch.maximum(begin, end)
        inner = torch.cat(times, -1).clamp(begin[:, None], end[:, None]).sort(-1).values
        times_of = torch.cat((begin[:, None], inner, end[:, None]), -1)
        near, far = times_of[:, :-1], times_of[:, 1:]
        amount = self._integral(origins, directions, near, far)
        depth = (rate[:, None] * amount + self.floor * (far - near)).detach()
        sums = depth.cumsum(-1)
        collides = (sums[:, -1] >= wanted) & (end > begin) & (depth.amax(-1) > 0)
        cell = torch.searchsorted(sums, wanted[:, None]).clamp_max(depth.shape[1] - 1)
        left = wanted - sums.gather(1, cell)[:, 0] + depth.gather(1, cell)[:, 0]
        low, top = near.gather(1, cell), far.gather(1, cell)
        stop = low
        if bool((collides & wanted.isfinite()).any()):
            stop = self._find(origins, directions, low, top, rate, torch.where(collides, left, 0))
        before = torch.arange(depth.shape[1], device=depth.device) < torch.where(
            collides[:, None], cell, depth.shape[1]
        )
        partial = self._integral(origins, directions, low, stop)[:, 0]
        total = torch.where(before, amount, 0).sum(-1) + torch.where(collides, partial, 0)
        reach = torch.where(collides, stop[:, 0], end) - begin
        return Passage(torch.where(collides, stop[:, 0], length), reach, total, collides)

    def _integral(self, origins: Tensor, directions: Tensor, begin: Tensor, end: Tensor) -> Tensor:
        """The integral of the density between distances [P, N], within cells, by Simpson's rule."""
        points = [begin, 0.5 * (begin + end), end]
        values = [self.voxels(origins[:, None] + s[..., None] * directions[:, None])[..., 0] for s in points]
        return (end - begin) / 6 * (values[0] + 4 * values[1] + values[2])

    @torch.no_grad()
    def _find(
        self, origins: Tensor, directions: Tensor, begin: Tensor, end: Tensor, rate: Tensor, left: Tensor
    ) -> Tensor:
        """Where the depth from `begin` reaches `left`, by bisection of the polynomial through four points."""
        share = torch.arange(4, device=begin.device, dtype=begin.dtype) / 3
        points = origins[:, None] + (begin + (end - begin) * share)[..., None] * directions[:, None]
        values = rate[:, None] * self.voxels(points)[..., 0] + self.floor
        powers = torch.arange(4, device=begin.device, dtype=begin.dtype)
        factors = torch.linalg.solve(share[:, None] ** powers, values.T).T / (powers + 1)
        wanted = left[:, None] / (end - begin)
        low, high = torch.zeros_like(begin), torch.ones_like(begin)
        for _ in range(60):
            middle = 0.5 * (low + high)
            over = (factors * middle ** (powers + 1)).sum(-1, keepdim=True) >= wanted
            low, high = torch.where(over, low, middle), torch.where(over, middle, high)
        return begin + high * (end - begin)


def _at_least(value: Tensor, low: Any) -> Tensor:
    """Smaller values become `low`, and keep their derivatives."""
    return torch.where(value < low, value + (low - value).detach(), value)


def depth_of(extinction: Tensor, amount: Tensor) -> Tensor:
    """Optical depths [P, 3]; 0 for zero extinction, however long the way."""
    endless = amount.isinf()[:, None]
    finite = extinction * torch.where(endless, 0, amount[:, None])
    return finite + torch.where(endless & (extinction.detach() > 0), ENDLESS, 0)


# ---- Rays through borders --------------------------------------------------------------------------------------------


class Stack:
    """The media around points, innermost first: their numbers + 1, then zeros [P, 8]."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def innermost(self, otherwise: int) -> Tensor:
        first = self.values[:, 0]
        return torch.where(first > 0, first - 1, otherwise)

    def crossed(self, numbers: Tensor, enters: Tensor, which: Tensor) -> Stack:
        """The stacks after entering or leaving a medium, where `which`. Negative numbers are not media."""
        entered = torch.cat((numbers[:, None] + 1, self.values[:, :-1]), -1)
        found = self.values == numbers[:, None] + 1
        at = torch.where(found.any(-1), found.to(torch.int8).argmax(-1), STACK)
        places = torch.arange(STACK, device=numbers.device)
        shifted = torch.nn.functional.pad(self.values, (0, 1)).gather(1, (places + (places >= at[:, None])).long())
        changed = torch.where(enters[:, None], entered, shifted)
        return Stack(torch.where((which & (numbers >= 0))[:, None], changed, self.values))

    def has(self, numbers: Tensor) -> Tensor:
        return (self.values == numbers[:, None] + 1).any(-1)


class Space:
    """The space between the surfaces of a scene (`_trace_paths._Scene`)."""

    def __init__(self, scene: Any, media: Media, darkest: float) -> None:
        self.scene, self.surrounding = scene, media.surrounding
        places = media_places(media, scene.positions, scene.lit.tri)
        self.media = [Medium(media, places, k, darkest) for k in range(len(places))]
        self.behind, self.is_border = media.faces[:, 0].long(), media.faces[:, 1] != 0

    def crossed(self, inside: Stack, face: Tensor, along: Tensor, which: Tensor) -> Stack:
        return inside.crossed(self.behind[face.clamp_min(0)], along < 0, which)

    def follow(
        self,
        origins: Tensor,
        directions: Tensor,
        end: Tensor,
        inside: Stack,
        alive: Tensor,
        take: Callable[..., Tensor],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Stack]:
        """Follow rays through borders up to points `end` [P, 3], or without end if these are infinite. take(numbers,
        origins, lengths, which) receives the parts of rays; a ray ends where it returns True. Returns the faces of
        surfaces (or -1), the weights of their corners, distances, and the media there."""
        endless = end.isinf().any(-1, keepdim=True)
        before = torch.zeros_like(end[:, 0])
        third = torch.full_like(before, 1 / 3)
        out = torch.full_like(before, -1, dtype=torch.long), third, third, torch.full_like(before, math.inf)
        for _ in range(MOST_BORDERS):
            if not alive.any():
                break
            along = torch.where(endless, directions, end - origins)
            scale = torch.where(endless[:, 0], 1, along.norm(dim=-1))
            face, u, v, t = self.scene.meet(origins, along, torch.where(endless[:, 0], math.inf, 1.0).to(end))
            hit = face >= 0
            length = torch.where(hit, t * scale, torch.where(endless[:, 0], math.inf, scale))
            alive = alive & ~take(inside.innermost(self.surrounding), origins, length, alive)
            p = self.scene.points(face.clamp_min(0), torch.stack((u, v, 1 - u - v), -1), directions)
            passes = alive & hit & self.is_border[p.face]
            ends = alive & hit & ~passes
            before = torch.where(hit, before + length, before)
            found = face, u, v, before
            out = tuple(torch.where(ends, new, old) for new, old in zip(found, out, strict=True))  # type: ignore[assignment]
            inside = self.crossed(inside, face, -p.side[:, 0], passes)
            origins = torch.where(passes[:, None], self.scene.origins(p, directions), origins)
            alive = passes
        return (*out, inside)

    def around(self, origins: Tensor, directions: Tensor) -> Stack:
        """The media around the origins of rays: those whose borders the rays leave without having entered them."""
        none = torch.zeros(len(origins), STACK, dtype=torch.long, device=origins.device)
        found, entered = none, Stack(none)
        alive = torch.ones_like(origins[:, 0], dtype=torch.bool)
        for _ in range(MOST_BORDERS):
            if not alive.any():
                break
            face, u, v, _ = self.scene.meet(origins, directions)
            alive = alive & (face >= 0)
            p = self.scene.points(face.clamp_min(0), torch.stack((u, v, 1 - u - v), -1), directions)
            number, enters = self.behind[p.face], p.side[:, 0] > 0
            leaves = alive & ~enters & (number >= 0)
            at = (found > 0).sum(-1, keepdim=True).clamp_max(STACK - 1)
            new = leaves & ~entered.has(number) & (found[:, -1] == 0)
            found = torch.where(new[:, None], found.scatter(1, at, number[:, None] + 1), found)
            entered = entered.crossed(number, enters, alive)
            origins = torch.where(alive[:, None], self.scene.origins(p, directions), origins)
        return Stack(found)

    # ---- Passages through all media ----

    def fly(
        self,
        origins: Tensor,
        directions: Tensor,
        draw: tuple[Tensor, Tensor],
        carried: Tensor,
        inside: Stack,
        alive: Tensor,
    ) -> Flights:
        """Let rays fly until they collide in a medium or meet a surface. Distances are sampled in one colour channel,
        chosen by the paths' throughput; weights are those of the balance heuristic."""
        share = carried.detach() / carried.detach().sum(-1, keepdim=True)
        channel = (draw[0] >= share[:, 0]).long() + (draw[0] >= share[:, 0] + share[:, 1])
        wanted, more = -torch.log1p(-draw[1]), torch.zeros_like(draw[0])
        depth, collides = torch.zeros_like(origins), torch.zeros_like(alive)
        medium, position = torch.full_like(channel, -1), origins

        def take(numbers: Tensor, from_: Tensor, length: Tensor, which: Tensor) -> Tensor:
            nonlocal wanted, more, depth, collides, medium, position
            stops = torch.zeros_like(which)
            for k, m in enumerate(self.media):
                mine = which & (numbers == k)
                if not bool(mine.any()):
                    continue
                rate = m.extinction.detach()[channel]
                way = m.passage(from_, directions, torch.where(mine, length, 0), rate, wanted)
                longer = depth_of(m.floor[None], way.reach)[:, 0]
                wanted = torch.where(mine, wanted - depth_of(rate[:, None], way.amount.detach())[:, 0] - longer, wanted)
                more = torch.where(mine, more + longer, more)
                depth = torch.where(mine[:, None], depth + depth_of(m.extinction, way.amount), depth)
                stop = mine & way.collides
                medium = torch.where(stop, k, medium)
                position = torch.where(stop[:, None], from_ + way.distance[:, None] * directions, position)
                stops = stops | stop
            collides = collides | stops
            return stops

        endless = torch.full_like(origins, math.inf)
        face, u, v, t, inside = self.follow(origins, directions, endless, inside, alive, take)
        value = torch.exp(-depth)
        density = share * torch.exp(-more)[:, None] * value.detach()
        position = position.detach()
        for k, m in enumerate(self.media):
            mine = (collides & (medium == k))[:, None]
            extinction = m.extinction_at(position)
            value = torch.where(mine, value * extinction * m.albedo_at(position), value)
            density = torch.where(mine, density * (extinction.detach() + m.floor), density)
        weight = value / torch.where(alive, density.sum(-1), 1)[:, None]
        carried = torch.where(alive[:, None], carried * weight, carried)
        return Flights(face, u, v, t, collides, medium, position, carried, inside)

    def transmittance(self, origins: Tensor, towards: Tensor, distant: Tensor, inside: Stack, asked: Tensor) -> Tensor:
        """The transmittance of shadow rays [P, 3]; 0 behind a surface. Finite rays end at origins + towards."""
        length = towards.norm(dim=-1, keepdim=True)
        directions = torch.where(distant[:, None], towards, towards / torch.where(length > 0, length, 1))
        end = torch.where(distant[:, None], math.inf, origins + towards)
        depth = torch.zeros_like(origins)

        def take(numbers: Tensor, from_: Tensor, length: Tensor, which: Tensor) -> Tensor:
            nonlocal depth
            for k, m in enumerate(self.media):
                mine = which & (numbers == k)
                if bool(mine.any()):
                    one = torch.ones_like(length)
                    way = m.passage(from_, directions, torch.where(mine, length, 0), one, math.inf * one)
                    depth = torch.where(mine[:, None], depth + depth_of(m.extinction, way.amount), depth)
            return torch.zeros_like(which)

        face = self.follow(origins, directions, end, inside, asked, take)[0]
        return torch.where((face < 0)[:, None], torch.exp(-depth), 0)

    def phase(self, medium: Tensor, cosine: Tensor) -> Tensor:
        """The phase function of each path's medium."""
        return phase(self._g(medium), cosine)

    def turned(self, medium: Tensor, frame: Tensor, place: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Sampled directions, their densities, and their weights: 1, with gradients."""
        g = self._g(medium)
        cosine = sample_cosine(g.detach(), place[0])
        value = phase(g, cosine)
        return direction_around(frame, cosine, place[1]), value.detach(), value / value.detach()

    def albedo(self, medium: Tensor, position: Tensor) -> Tensor:
        out = torch.zeros_like(position)
        for k, m in enumerate(self.media):
            out = torch.where((medium == k)[:, None], m.albedo_at(position).detach(), out)
        return out

    def _g(self, medium: Tensor) -> Tensor:
        return torch.stack([m.g for m in self.media])[medium.clamp_min(0)]


class Flights(NamedTuple):
    face: Tensor
    u: Tensor
    v: Tensor
    t: Tensor
    collides: Tensor
    medium: Tensor
    position: Tensor
    carried: Tensor
    inside: Stack
