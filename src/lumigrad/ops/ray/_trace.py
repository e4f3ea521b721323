"""Rays through a mesh.

Defined by :func:`lumigrad.reference.trace` and :func:`lumigrad.reference.occluded`; the kernels are
``native/ray/traverse.h`` and ``native/ray/trace.h``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.ray._bvh import build_bvh, check_mesh, check_tree, tree_arrays
from lumigrad.reference.ray._trace import check_limit, check_rays
from lumigrad.types import Bvh, Hits
from lumigrad.types.shapes import Bool, Float, Int


def trace(
    origins: Float[Tensor, "*#rays 3"],
    directions: Float[Tensor, "*#rays 3"],
    vertices: Float[Tensor, "vertices 3"],
    tri: Int[Tensor, "triangles 3"],
    bvh: Bvh | None = None,
    t_min: float | Float[Tensor, "*#rays"] = 0.0,
    t_max: float | Float[Tensor, "*#rays"] = math.inf,
) -> Hits:
    """Find the first triangle that each ray hits.

    Triangles have two sides. Rays do not slip between triangles that share an edge, nor past their vertices. Of
    triangles that are hit at the same t, the one with the lowest number is hit, so the result does not depend on the
    tree. Triangles with a vertex that is not finite, and degenerate ones, are never hit.

    Args:
        origins, directions: [..., 3], broadcast with each other. Directions may have any length but zero.
        vertices: [V, 3].
        tri: int [T, 3].
        bvh: from :func:`~lumigrad.build_bvh` or :func:`~lumigrad.refit_bvh`, for these triangles, with the vertices
            where they are now. By default one is built.
        t_min, t_max: where rays begin and end, in units of the direction: numbers, or tensors that expand to the
            shape of the rays. A `t_min` below 0 counts as 0. Where it is above `t_max`, nothing is hit.

    Returns:
        Hits. Rays that have no direction, or are not finite, hit nothing. Gradients of `bary` and `t` reach origins,
        directions and vertices, as of a ray that stays on its triangle; that of visibility is missing. They are
        unbounded where a ray touches a triangle's plane.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or options.

    Sources: Woop et al. 2013, "Watertight Ray/Triangle Intersection"; Ize 2013, "Robust BVH Ray Traversal".

    >>> import torch
    >>> import lumigrad as lg
    >>> vertices = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    >>> hits = lg.trace(torch.tensor([[0.5, 0.25, 3.0], [2.0, 2.0, 3.0]]), torch.tensor([0.0, 0.0, -1.0]), vertices,
    ...                 torch.tensor([[0, 1, 2]]))
    >>> hits.tri.tolist(), hits.bary[0].tolist(), hits.t.tolist()
    ([0, -1], [0.625, 0.25], [3.0, inf])
    """
    call = _checked(origins, directions, vertices, tri, bvh, t_min, t_max)
    if needs_reference("trace", call.origins):
        return reference.trace(call.origins, call.directions, call.vertices, call.faces, None, t_min, t_max)
    tree = call.tree()
    found, bary, t = _trace(
        *call.rays(), call.vertices, call.faces, *call.limits(), *tree_arrays(tree), tree.levels, *call.numbers()
    )
    return Hits(found.view(call.shape), bary.view(*call.shape, 2), t.view(call.shape))


def occluded(
    origins: Float[Tensor, "*#rays 3"],
    directions: Float[Tensor, "*#rays 3"],
    vertices: Float[Tensor, "vertices 3"],
    tri: Int[Tensor, "triangles 3"],
    bvh: Bvh | None = None,
    t_min: float | Float[Tensor, "*#rays"] = 0.0,
    t_max: float | Float[Tensor, "*#rays"] = math.inf,
) -> Bool[Tensor, "*rays"]:
    """Find out which rays hit any triangle.

    The same as ``lumigrad.trace(...).tri >= 0``, and faster. Arguments and errors are those of
    :func:`~lumigrad.trace`. There are no gradients.

    >>> import torch
    >>> import lumigrad as lg
    >>> vertices = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    >>> origins, down = torch.tensor([[0.5, 0.25, 3.0], [0.5, 0.25, 3.0]]), torch.tensor([0.0, 0.0, -1.0])
    >>> lg.occluded(origins, down, vertices, torch.tensor([[0, 1, 2]]), t_max=torch.tensor([2.0, 4.0])).tolist()
    [False, True]
    """
    call = _checked(origins, directions, vertices, tri, bvh, t_min, t_max)
    if needs_reference("occluded", call.origins):
        return reference.occluded(call.origins, call.directions, call.vertices, call.faces, None, t_min, t_max)
    tree = call.tree()
    origins, directions = (rays.detach() for rays in call.rays())
    hit: Tensor = _occluded(
        origins, directions, *call.limits(), *tree_arrays(tree), tree.faces.shape[0], tree.levels, *call.numbers()
    )
    return hit.view(torch.bool).view(call.shape)


class _Call(NamedTuple):
    """The checked arguments of a call."""

    origins: Tensor
    directions: Tensor
    vertices: Tensor
    faces: Tensor
    bvh: Bvh | None
    t_min: float | Tensor
    t_max: float | Tensor
    shape: Sequence[int]

    def tree(self) -> Bvh:
        return build_bvh(self.vertices, self.faces) if self.bvh is None else self.bvh

    def rays(self) -> tuple[Tensor, Tensor]:
        return self.origins.reshape(-1, 3).contiguous(), self.directions.reshape(-1, 3).contiguous()

    def limits(self) -> tuple[Tensor | None]:
        """Per-ray limits, or None if they are the same for all rays."""
        if not isinstance(self.t_min, Tensor) and not isinstance(self.t_max, Tensor):
            return (None,)
        ends = [check_limit(*each, self.shape, self.origins) for each in (("t_min", self.t_min), ("t_max", self.t_max))]
        return (torch.stack(ends, -1).reshape(-1, 2).detach(),)

    def numbers(self) -> tuple[float, float]:
        """The limits that all rays share."""
        low, high = (0.0 if isinstance(limit, Tensor) else limit for limit in (self.t_min, self.t_max))
        return low, high


def _checked(origins: Any, directions: Any, vertices: Any, tri: Any, bvh: Any, t_min: Any, t_max: Any) -> _Call:
    vertices, faces = check_mesh(vertices, tri)
    origins, directions = check_rays(origins, directions, vertices)
    shape = origins.shape[:-1]
    for name, limit in (("t_min", t_min), ("t_max", t_max)):
        check_limit(name, limit, shape, origins)
    t_min, t_max = (limit if isinstance(limit, Tensor) else float(limit) for limit in (t_min, t_max))
    if bvh is not None:
        check_tree(bvh, vertices, faces)
    return _Call(origins, directions, vertices, faces, bvh, t_min, t_max, shape)


def _trace_sizes(
    directions: Tensor, vertices: Tensor, faces: Tensor, children: Tensor, leaf_tri: Tensor
) -> tuple[int, ...]:
    return directions.shape[0], vertices.shape[0], faces.shape[0], children.shape[0], leaf_tri.shape[0]


def _occluded_sizes(directions: Tensor, children: Tensor, leaf_tri: Tensor) -> tuple[int, ...]:
    return directions.shape[0], children.shape[0], leaf_tri.shape[0]


_TREE = "Tensor boxes, Tensor children, Tensor corners, Tensor leaf_tri, Tensor bounds"
_trace = declare(
    f"trace(Tensor origins, Tensor directions, Tensor vertices, Tensor faces, Tensor? limits, {_TREE}, SymInt levels, "
    "float t_min, float t_max)",
    sizes=("rays vertex_count triangles nodes leaves", _trace_sizes),
    outputs={"hit_tri": "rays", "bary": "rays 2", "t": "rays"},
)
_occluded = declare(
    f"occluded(Tensor origins, Tensor directions, Tensor? limits, {_TREE}, SymInt triangles, SymInt levels, "
    "float t_min, float t_max)",
    sizes=("rays nodes leaves", _occluded_sizes),
    outputs={"hit": "rays"},
)
