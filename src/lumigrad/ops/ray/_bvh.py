"""Trees of boxes over the triangles of a mesh.

The kernels are ``native/ray/build_cpu.h`` and ``native/ray/refit.h``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad._engine.declare import declare
from lumigrad.types import Bvh
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float, Int

_WIDTH, _LEAF, _LEVELS = 8, 8, 64
_MOST = 2**30


def build_bvh(vertices: Float[Tensor, "vertices 3"], tri: Int[Tensor, "triangles 3"]) -> Bvh:
    """Build a tree of boxes over the triangles of a mesh, for :func:`~lumigrad.trace` and :func:`~lumigrad.occluded`.

    Triangles with a vertex that is not finite, and degenerate ones, whose corners lie on a line, are left out. The tree
    is the same for any number of threads. It is built on the CPU for all devices.

    Args:
        vertices: [V, 3].
        tri: int [T, 3].

    Returns:
        Bvh. It has no gradients: what rays hit does not depend on it.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or indices.

    Source: Wald 2007, "On fast Construction of SAH-based Bounding Volume Hierarchies".

    >>> import torch
    >>> import lumigrad as lg
    >>> bvh = lg.build_bvh(torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), torch.tensor([[0, 1, 2]]))
    >>> bvh.bounds.tolist()
    [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    """
    vertices, faces = check_mesh(vertices, tri)
    children, leaf_tri, level_starts, totals = _topology(vertices.detach().cpu(), faces.cpu())
    nodes, leaves, levels = totals.tolist()
    where = vertices.device
    # Copies, because the memory for the largest possible tree is large.
    return _fitted(
        vertices,
        children[:nodes].clone().to(where),
        leaf_tri[:leaves].clone().to(where),
        level_starts,
        levels,
        faces,
        None,
    )


def refit_bvh(bvh: Bvh, vertices: Float[Tensor, "vertices 3"]) -> Bvh:
    """Fit a tree to vertices that have moved: the same tree with other boxes, for a fraction of the time.

    The farther triangles have moved apart that were neighbours, the slower rays become: compare ``cost`` with
    ``built_cost``. What rays hit is right in any case. Triangles that were left out when the tree was built stay so.

    Args:
        bvh: from :func:`~lumigrad.build_bvh`.
        vertices: [V, 3].

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or indices.

    >>> import torch
    >>> import lumigrad as lg
    >>> vertices = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> bvh = lg.build_bvh(vertices, torch.tensor([[0, 1, 2]]))
    >>> lg.refit_bvh(bvh, vertices + 1).bounds.tolist()
    [[1.0, 1.0, 1.0], [2.0, 2.0, 1.0]]
    """
    check_bvh(bvh)
    vertices, faces = check_mesh(vertices, bvh.faces)
    return _fitted(vertices, bvh.children, bvh.tri, bvh.level_starts, bvh.levels, faces, bvh.built_cost)


def check_mesh(vertices: Any, tri: Any) -> tuple[Tensor, Tensor]:
    """The vertices and triangles, contiguous and int32."""
    vertices = check.floating("vertices", vertices)
    check.shape("vertices", vertices, ("V", 3))
    faces = check.triangles(tri, vertices.device)
    if faces.shape[0] > _MOST:
        raise ValueError(f"tri: expected at most 2**30 triangles, got {faces.shape[0]}")
    return vertices.contiguous(), faces


def check_bvh(bvh: Any) -> Bvh:
    """Check that the arrays of a tree fit together."""
    if not isinstance(bvh, Bvh):
        raise TypeError(f"bvh: expected what lumigrad.build_bvh returns, or None, got {type(bvh).__name__}")
    device = check.tensor("bvh.boxes", bvh.boxes).device
    expected: dict[str, tuple[tuple[int | str, ...], torch.dtype | None]] = {
        "boxes": (("N", 6, _WIDTH), torch.float32),
        "children": ((bvh.boxes.shape[0], _WIDTH), torch.int32),
        "corners": (("L", 9, _LEAF), None),
        "tri": ((check.tensor("bvh.corners", bvh.corners).shape[0], _LEAF), torch.int32),
        "bounds": ((2, 3), torch.float32),
        "faces": (("T", 3), torch.int32),
    }
    for name, (shape, dtype) in expected.items():
        value = check.tensor(f"bvh.{name}", getattr(bvh, name))
        check.shape(f"bvh.{name}", value, shape)
        if dtype is not None and value.dtype != dtype:
            raise TypeError(f"bvh.{name}: expected {dtype}, got {value.dtype}")
        if value.device != device:
            raise ValueError(f"bvh.{name}: expected device {device} like bvh.boxes, got {value.device}")
    if not len(bvh.boxes):
        raise ValueError("bvh.boxes: expected at least one node, got none")
    starts = check.tensor("bvh.level_starts", bvh.level_starts)
    if starts.dtype != torch.int64 or starts.device.type != "cpu":
        raise TypeError(f"bvh.level_starts: expected int64 on cpu, got {starts.dtype} on {starts.device}")
    check.shape("bvh.level_starts", starts, (_LEVELS + 1,))
    check.integer("bvh.levels", bvh.levels, 0, _LEVELS)
    return bvh


def check_tree(bvh: Any, vertices: Tensor, faces: Tensor) -> Bvh:
    """Check that a tree belongs to these triangles and has the type of the vertices."""
    check_bvh(bvh)
    if bvh.corners.dtype != vertices.dtype:
        raise TypeError(f"bvh.corners: expected {vertices.dtype} like vertices, got {bvh.corners.dtype}")
    if bvh.faces.shape != faces.shape or bvh.faces.device != faces.device:
        raise ValueError(
            f"bvh: expected a tree of {faces.shape[0]} triangles on {faces.device} like tri, "
            f"got one of {bvh.faces.shape[0]} on {bvh.faces.device}"
        )
    return bvh


def tree_arrays(bvh: Bvh) -> tuple[Tensor, ...]:
    """The contiguous arrays that traversal reads."""
    return tuple(each.contiguous() for each in (bvh.boxes, bvh.children, bvh.corners, bvh.tri, bvh.bounds))


def _fitted(
    vertices: Tensor,
    children: Tensor,
    leaf_tri: Tensor,
    level_starts: Tensor,
    levels: int,
    faces: Tensor,
    built_cost: Tensor | None,
) -> Bvh:
    boxes, corners, bounds, cost = _refit(
        vertices.detach(), faces, children.contiguous(), leaf_tri.contiguous(), level_starts.contiguous(), levels
    )
    return Bvh(
        boxes,
        children,
        corners,
        leaf_tri,
        bounds,
        cost[0],
        cost[0] if built_cost is None else built_cost,
        level_starts,
        levels,
        faces,
    )


def _mesh_sizes(vertices: Tensor, faces: Tensor) -> tuple[int, ...]:
    return vertices.shape[0], faces.shape[0], faces.shape[0] + 1


def _tree_sizes(vertices: Tensor, faces: Tensor, children: Tensor, leaf_tri: Tensor) -> tuple[int, ...]:
    return vertices.shape[0], faces.shape[0], children.shape[0], leaf_tri.shape[0]


_topology = declare(
    "bvh_topology(Tensor vertices, Tensor faces)",
    sizes=("vertex_count triangles room", _mesh_sizes),
    outputs={"children": "room 8", "leaf_tri": "triangles 8", "level_starts": "65", "totals": "3"},
)
_refit = declare(
    "bvh_refit(Tensor vertices, Tensor faces, Tensor children, Tensor leaf_tri, Tensor level_starts, SymInt levels)",
    sizes=("vertex_count triangles nodes leaves", _tree_sizes),
    outputs={"boxes": "nodes 6 8", "corners": "leaves 9 8", "bounds": "2 3", "cost": "1"},
)
