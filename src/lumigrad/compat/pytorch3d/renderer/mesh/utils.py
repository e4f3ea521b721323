"""Helpers of rasterizers and textures: weights, depths, and rectangles packed into a larger one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.ops.interp_face_attrs import interpolate_face_attributes


def _clip_barycentric_coordinates(bary: Tensor) -> Tensor:
    """Weights [..., 3] clamped to be non-negative and scaled to sum to 1; pads (-1, -1, -1) stay.

    Raises:
        ValueError: another shape.
    """
    if bary.shape[-1] != 3:
        raise ValueError(f"Expected barycentric coords to have last dim = 3; got {tuple(bary.shape)}")
    pad = (bary == -1).all(-1, keepdim=True)
    clipped = bary.clamp(min=0)
    return torch.where(pad, bary, clipped / clipped.sum(-1, keepdim=True).clamp(min=1e-5))


def _interpolate_zbuf(pix_to_face: Tensor, barycentric_coords: Tensor, meshes: Any) -> Tensor:
    """Depths [N, H, W, K] at fragments, -1 where there is none."""
    depths = meshes.verts_packed()[meshes.faces_packed()][..., 2:]
    zbuf = interpolate_face_attributes(pix_to_face, barycentric_coords, depths)[..., 0]
    return torch.where(pix_to_face == -1, torch.full_like(zbuf, -1), zbuf)


class Rectangle(NamedTuple):
    """A rectangle to be placed; those with the same identifier are placed once."""

    xsize: int
    ysize: int
    identifier: int


class PackedRectangle(NamedTuple):
    """Where a rectangle lies, whether its sides are exchanged, and whether no equal one comes before it."""

    x: int
    y: int
    flipped: bool
    is_first: bool


class PackedRectangles(NamedTuple):
    """The size of the whole, and the places in the order of the rectangles."""

    total_size: tuple[int, int]
    locations: list[PackedRectangle]


class _Steps:
    """The right side of what has been placed, as steps from the bottom: where each ends to the right, and its top."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.steps: list[tuple[int, int]] = []

    @property
    def top(self) -> int:
        return self.steps[-1][1] if self.steps else 0

    def add_on_top(self, size: tuple[int, int]) -> tuple[int, int]:
        place = (0, self.top)
        self.steps.append((size[0], self.top + size[1]))
        return place

    def fit(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """The lowest place where a rectangle fits to the right of some steps, if there is one."""
        first = 0
        for last, (right, top) in enumerate(self.steps):
            if right > self.width - size[0]:
                first = last + 1
                continue
            bottom = self.steps[first - 1][1] if first else 0
            if top - bottom >= size[1]:
                place = (max(step[0] for step in self.steps[first : last + 1]), bottom)
                end = bottom + size[1]
                covered = last + 1 if top == end else last
                self.steps[first:covered] = [(place[0] + size[0], end)]
                return place
        return None


def pack_rectangles(sizes: Sequence[tuple[int, int]]) -> PackedRectangles:
    """Places for rectangles in a larger one, longest first; their sides may be exchanged.

    Args:
        sizes: two or more.

    Raises:
        ValueError: fewer than two.
    """
    if len(sizes) < 2:
        raise ValueError(f"Cannot pack less than two boxes, got {len(sizes)}")
    # Lying rectangles, the longest first.
    order = sorted(((max(s), min(s), n, s[0] < s[1]) for n, s in enumerate(sizes)), reverse=True)
    steps = _Steps(order[0][0])
    placed: dict[int, PackedRectangle] = {}
    for number, (long, short, n, flipped) in enumerate(order):
        place = steps.fit((long, short)) if number > 1 else None
        if place is None and number > 1:
            place = steps.fit((short, long))
            flipped = flipped if place is None else not flipped
        x, y = steps.add_on_top((long, short)) if place is None else place
        placed[n] = PackedRectangle(x, y, flipped, True)
    return PackedRectangles((steps.width, steps.top), [placed[n] for n in range(len(sizes))])


def pack_unique_rectangles(rectangles: Sequence[Rectangle]) -> PackedRectangles:
    """Places for rectangles, of which those with the same identifier share one."""
    numbers: dict[int, int] = {}
    for rectangle in rectangles:
        numbers.setdefault(rectangle.identifier, len(numbers))
    sizes: dict[int, tuple[int, int]] = {r.identifier: (r.xsize, r.ysize) for r in rectangles}
    unique = [sizes[identifier] for identifier in numbers]
    plan = (
        PackedRectangles(unique[0], [PackedRectangle(0, 0, False, True)])
        if len(unique) == 1
        else pack_rectangles(unique)
    )
    seen: set[int] = set()
    locations = []
    for rectangle in rectangles:
        place = plan.locations[numbers[rectangle.identifier]]
        locations.append(place._replace(is_first=rectangle.identifier not in seen))
        seen.add(rectangle.identifier)
    return PackedRectangles(plan.total_size, locations)
