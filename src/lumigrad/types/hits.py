"""Intersections of rays with a mesh, and the tree that finds them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from lumigrad.types.shapes import Float, Int, Int32


class Hits(NamedTuple):
    """What each ray hits first.

    Attributes:
        tri: int32 [...], the number of the triangle, -1 where nothing is hit.
        bary: [..., 2], the weights of the triangle's vertices 0 and 1; zero where nothing is hit.
        t: [...], the distance in units of the ray's direction; infinite where nothing is hit.
    """

    tri: Int32[Tensor, "*rays"]
    bary: Float[Tensor, "*rays 2"]
    t: Float[Tensor, "*rays"]


class Bvh(NamedTuple):
    """A tree of boxes over the triangles of a mesh (a bounding volume hierarchy); `lumigrad.build_bvh` makes one.

    What rays hit does not depend on it. ``native/ray/bvh.h`` describes the arrays.

    Attributes:
        boxes: float32 [N, 6, 8], those of the eight children of each node: the lower corner's x, y, z and the upper's.
        children: int32 [N, 8], numbers of nodes; -1 - k is leaf k.
        corners: [L, 9, 8], coordinates of the eight triangles of each leaf.
        tri: int32 [L, 8], the numbers of these triangles, -1 for none.
        bounds: float32 [2, 3], the box around all.
        cost: float64 [], the number of nodes and leaves that a ray which meets this box meets on average (the surface
            area heuristic). Time per ray is about in proportion.
        built_cost: float64 [], the same when the tree was built. Where a mesh has been deformed so far that `cost` is
            1.5 times as large, a new tree pays.
        level_starts: int64 [65], on the CPU: the first node of each level, then the number of nodes.
        levels: how many there are.
        faces: int32 [T, 3], the mesh's triangles.
    """

    boxes: Float[Tensor, "nodes 6 8"]
    children: Int32[Tensor, "nodes 8"]
    corners: Float[Tensor, "leaves 9 8"]
    tri: Int32[Tensor, "leaves 8"]
    bounds: Float[Tensor, "2 3"]
    cost: Float[Tensor, ""]
    built_cost: Float[Tensor, ""]
    level_starts: Int[Tensor, " 65"]
    levels: int
    faces: Int32[Tensor, "triangles 3"]
