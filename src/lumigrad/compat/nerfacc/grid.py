"""Rays through nested grids of occupied cells."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.nerfacc.data_specs import RayIntervals, RaySamples
from lumigrad.compat.nerfacc.pack import pack_info
from lumigrad.reference.field._volume import nested_cells
from lumigrad.types.grids import scaled_box

CHUNK = 1 << 20  # places along rays that are looked at together


@torch.no_grad()
def ray_aabb_intersect(
    rays_o: Tensor, rays_d: Tensor, aabbs: Tensor, near_plane: float = -math.inf, far_plane: float = math.inf,
    miss_value: float = math.inf,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Where rays enter and leave boxes [R, M], and whether they meet them.

    Args:
        rays_o, rays_d: origins and directions [R, 3].
        aabbs: boxes, the lower corner and the upper one [M, 6].
        near_plane, far_plane: the part of the rays that counts.
        miss_value: in place of what does not exist.
    """
    low, high = aabbs[:, :3], aabbs[:, 3:]
    origin, direction = rays_o[:, None], rays_d[:, None]
    parallel = direction == 0
    slope = torch.where(parallel, 1.0, direction)
    one, other = (low - origin) / slope, (high - origin) / slope
    # A ray in parallel to two faces is between them all the time, or never.
    between = (origin >= low) & (origin <= high)
    never = torch.where(between, -math.inf, math.inf)
    enter = torch.where(parallel, never, torch.minimum(one, other)).amax(-1).clamp(near_plane, far_plane)
    leave = torch.where(parallel, -never, torch.maximum(one, other)).amin(-1).clamp(near_plane, far_plane)
    hits = leave > enter
    return torch.where(hits, enter, miss_value), torch.where(hits, leave, miss_value), hits


def enlarged(aabb: Tensor, factor: int) -> Tensor:
    """A box [6] scaled about its centre."""
    return scaled_box(aabb.reshape(2, 3), factor).reshape(6)


def query(x: Tensor, data: Tensor, base_aabb: Tensor) -> tuple[Tensor, Tensor]:
    """Values at points [..., 3] of the finest of nested grids [L, X, Y, Z] that has them, and whether any has.

    Level k covers the box scaled by 2^k about its centre. Values are zero outside.
    """
    boxes = [scaled_box(base_aabb.reshape(2, 3), 2**level) for level in range(len(data))]
    level, (cx, cy, cz), inside = nested_cells(boxes, x, data.shape[1:])
    found = data[level, cx, cy, cz]
    return torch.where(inside, found, torch.zeros_like(found)), inside


@torch.no_grad()
def traverse_grids(
    rays_o: Tensor, rays_d: Tensor, binaries: Tensor, aabbs: Tensor, near_planes: Tensor | None = None,
    far_planes: Tensor | None = None, step_size: float = 1e-3, cone_angle: float = 0.0,
    traverse_steps_limit: int | None = None, over_allocate: bool = False, rays_mask: Tensor | None = None,
    t_sorted: Tensor | None = None, t_indices: Tensor | None = None, hits: Tensor | None = None,
) -> tuple[RayIntervals, RaySamples, Tensor]:  # fmt: skip
    """Intervals of rays within occupied cells, their midpoints, and where rays end [R].

    Places lie at whole steps from the near plane. An interval counts if its midpoint is in an occupied cell of the
    finest grid that has it.

    Args:
        rays_o, rays_d: origins and directions [R, 3].
        binaries: which cells are occupied [L, X, Y, Z].
        aabbs: the boxes of the levels [L, 6], each twice as large as the one before, about the same centre.
        near_planes, far_planes: [R].
        step_size: the length of intervals; one interval a cell if it is not positive.
        cone_angle: intervals are at least so long, in parts of the distance.
        traverse_steps_limit, over_allocate: refused.
        rays_mask: which rays are followed [R].
        t_sorted, t_indices, hits: intermediate results, which are not needed here.

    Raises:
        NotImplementedError: a limit of steps.
        ValueError: shapes that do not fit.
    """
    if traverse_steps_limit is not None or over_allocate:
        raise NotImplementedError("traverse_steps_limit, over_allocate: not offered; set far_planes")
    rays = len(rays_o)
    near = _plane("near_planes", near_planes, rays_o, 0.0)
    far = _plane("far_planes", far_planes, rays_o, math.inf)
    enter, leave, hit = (value[:, 0] for value in ray_aabb_intersect(rays_o, rays_d, aabbs[-1:]))
    enter, leave = torch.maximum(enter, near), torch.minimum(leave, far)
    hit = hit & (leave > enter) if rays_mask is None else hit & (leave > enter) & rays_mask
    index = hit.nonzero()[:, 0]
    found = []
    if len(index):
        given = (rays_o[index], rays_d[index], near[index], enter[index], leave[index])
        if step_size > 0:
            found = _marched(index, *given, binaries, aabbs, step_size, cone_angle)
        else:
            found = _crossed(index, *given, binaries, aabbs)
    empty = (rays_o.new_zeros(0), rays_o.new_zeros(0), index[:0])
    starts, ends, ray = (torch.cat(parts) for parts in zip(empty, *found))
    samples = RaySamples((starts + ends) / 2, pack_info(ray, rays), ray, torch.ones_like(ray, dtype=torch.bool))
    end = torch.where(hit, leave, near)
    return _intervals(starts, ends, ray, rays), samples, end


def _plane(name: str, value: Tensor | None, rays: Tensor, default: float) -> Tensor:
    if value is None:
        return rays.new_full((len(rays),), default)
    if value.shape != (len(rays),):
        raise ValueError(f"{name}: expected shape [{len(rays)}], got {list(value.shape)}")
    return value.to(rays)


def _intervals(starts: Tensor, ends: Tensor, ray: Tensor, rays: int) -> RayIntervals:
    """Edges; where one interval ends and the next of the same ray begins, there is one edge."""
    joined = torch.zeros_like(ray, dtype=torch.bool)
    joined[1:] = (starts[1:] == ends[:-1]) & (ray[1:] == ray[:-1])
    kept = torch.stack((~joined, torch.ones_like(joined)), 1)
    left = torch.stack((~joined, torch.cat((joined[1:], joined[:0].new_zeros(min(1, len(joined)))))), 1)
    right = torch.tensor([False, True], device=ray.device).expand_as(kept)
    edge_ray = ray[:, None].expand_as(kept)[kept]
    edges = torch.stack((starts, ends), 1)[kept]
    return RayIntervals(edges, pack_info(edge_ray, rays), edge_ray, left[kept], right[kept])


class Lattice:
    """Places t_0 = near, t_(k+1) = t_k + max(t_k * cone, step), in closed form."""

    def __init__(self, near: Tensor, step: float, cone: float) -> None:
        self.near, self.step, self.cone = near[:, None], step, cone
        if cone > 0:
            self.even = torch.ceil((step / cone - self.near) / step).clamp(min=0)
            self.turn = self.near + self.even * step

    def place(self, k: Tensor) -> Tensor:
        """Places [R, K] by numbers."""
        if self.cone <= 0:
            return self.near + k * self.step
        grown = self.turn * torch.exp((k - self.even).clamp(min=0) * math.log1p(self.cone))
        return torch.where(k <= self.even, self.near + k * self.step, grown)

    def number(self, t: Tensor) -> Tensor:
        """The number of the last place that is not behind t [R, 1]."""
        even = torch.floor((t - self.near) / self.step)
        if self.cone <= 0:
            return even
        grown = torch.floor(torch.log((t / self.turn).clamp(min=1)) / math.log1p(self.cone))
        return torch.where(t <= self.turn, even, self.even + grown)


def _marched(
    index: Tensor, origin: Tensor, direction: Tensor, near: Tensor, enter: Tensor, leave: Tensor, binaries: Tensor,
    aabbs: Tensor, step: float, cone: float,
) -> list[Any]:  # fmt: skip
    """Starts, ends and rays of intervals, for some rays after the other."""
    lattice = Lattice(near, step, cone)
    # One more on both sides, since numbers are rounded. Midpoints outside the part that counts are left out below.
    first = (lattice.number(enter[:, None]) - 1).clamp(min=0)
    count = int((lattice.number(leave[:, None]) - first).max()) + 2
    rows = max(1, CHUNK // count)
    found = []
    for begin in range(0, len(index), rows):
        part = slice(begin, begin + rows)
        some = Lattice(near[part], step, cone)
        t = some.place(first[part] + torch.arange(count + 1, dtype=near.dtype, device=near.device))
        found.append(
            _occupied(index[part], origin[part], direction[part], t, enter[part], leave[part], binaries, aabbs)
        )
    return found


def _crossed(
    index: Tensor, origin: Tensor, direction: Tensor, near: Tensor, enter: Tensor, leave: Tensor, binaries: Tensor,
    aabbs: Tensor,
) -> list[Any]:  # fmt: skip
    """Starts, ends and rays of intervals, one a cell: between crossings of the planes between cells."""
    planes = sum(side + 1 for side in binaries.shape[1:]) * len(aabbs)
    rows = max(1, CHUNK // planes)
    found = []
    for begin in range(0, len(index), rows):
        part = slice(begin, begin + rows)
        crossings = []
        for box in aabbs:
            inside, outside, hit = ray_aabb_intersect(origin[part], direction[part], box[None])
            low = torch.where(hit, torch.maximum(inside, enter[part, None]), enter[part, None])
            high = torch.where(hit, torch.minimum(outside, leave[part, None]), enter[part, None])
            for axis, side in enumerate(binaries.shape[1:]):
                plane = box[axis] + (box[axis + 3] - box[axis]) * torch.arange(side + 1, device=box.device) / side
                t = (plane - origin[part, axis, None]) / direction[part, axis, None]
                crossings.append(torch.maximum(torch.minimum(torch.where(t.isfinite(), t, low), high), low))
        edges = torch.cat((enter[part, None], *crossings, leave[part, None]), 1).sort(1).values
        # Planes of two levels that coincide are a rounding error apart.
        near_enough = 1e-6 * (leave - enter)[part, None]
        starts, ends, ray = _occupied(
            index[part], origin[part], direction[part], edges, enter[part], leave[part], binaries, aabbs, near_enough
        )
        found.append((starts, ends, ray))
    return found


def _occupied(
    index: Tensor, origin: Tensor, direction: Tensor, t: Tensor, enter: Tensor, leave: Tensor, binaries: Tensor,
    aabbs: Tensor, shortest: Tensor | float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Those intervals between edges [R, K + 1] whose midpoints are in occupied cells."""
    starts, ends = t[:, :-1], t[:, 1:]
    middle = (starts + ends) / 2
    kept = (middle >= enter[:, None]) & (middle <= leave[:, None]) & (ends - starts > shortest)
    points = origin[:, None] + middle[..., None] * direction[:, None]
    occupied, inside = query(points, binaries, aabbs[0])
    kept = kept & occupied & inside
    return starts[kept], ends[kept], index[:, None].expand_as(kept)[kept]
