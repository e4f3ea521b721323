"""The neighbours of every triangle edge: what antialiasing needs to know about a mesh.

Defined by :mod:`lumigrad.reference.edge_topology`; the kernel is ``native/antialias/topology_cpu.cpp``.
"""

from __future__ import annotations

from typing import Any

import torch

from lumigrad import reference
from lumigrad._engine import core as _core
from lumigrad._engine import validation as check
from lumigrad._engine.registration import needs_reference, register


def edge_topology(tri: torch.Tensor, positions: torch.Tensor | None = None) -> torch.Tensor:
    """Link the triangles that share an edge. Needed once per mesh; a function of the indices alone.

    Args:
        tri: vertex indices [T, 3].
        positions: vertex positions [V, D] in any space. Given, vertices at exactly the same place count as
            one: a seam where vertices are duplicated (for texture coordinates, say) is then no boundary.

    Returns:
        int32 [T, 3]. Half-edge h = 3 t + k is the edge of triangle t opposite to its corner k, from corner
        (k+1) % 3 to corner (k+2) % 3. All half-edges on one edge form a cycle; entry [t, k] is 2 * next + s,
        with s = 1 where the next half-edge runs in the same direction as h, 0 where it runs in the opposite
        one. Boundary edges are cycles of one, non-manifold edges cycles of three or more. The edges of a
        degenerate triangle are linked to nothing but themselves.

    Raises:
        TypeError, ValueError: for wrong types or shapes, or an index without a vertex.
    """
    tri = check.triangles(tri, check.tensor("tri", tri).device)
    weld = None
    if positions is not None:
        positions = check.floating("positions", positions)
        check.shape("positions", positions, ("V", "D"))
        if positions.shape[1] == 0:
            raise ValueError(f"positions: expected at least one coordinate, got {check.describe(positions)}")
        if positions.device != tri.device:
            raise ValueError(f"positions: expected device {tri.device} like tri, got {positions.device}")
    if needs_reference("edge_topology", tri):
        return reference.edge_topology(tri, positions)
    if positions is not None:
        weld = torch.unique(positions.detach(), dim=0, return_inverse=True)[1].to(torch.int32)
    return _op(tri, weld)


def _kernel(core: Any, tri: torch.Tensor, weld: torch.Tensor | None) -> torch.Tensor:
    topology = torch.empty_like(tri)
    vertices = 0 if weld is None else weld.shape[0]
    if weld is None and core is _core:
        tri, vertices = _compact(tri)
    point = core.pointer
    core.calls["edge_topology"](point(tri), point(weld), vertices, tri.shape[0], point(topology))
    return topology


def _compact(tri: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The same triangles over vertices numbered from 0, and how many: the CPU's core keeps a table of vertices."""
    if not tri.numel():
        return tri, 0
    vertices = int(tri.max()) + 1
    if vertices > torch.iinfo(torch.int32).max:  # this is also what int64 indices beyond int32 have become
        raise ValueError("tri: expected indices below 2**31 - 1, got larger ones")
    if vertices > 16 * tri.numel() and int(tri.min()) >= 0:
        tri = torch.unique(tri, return_inverse=True)[1].to(torch.int32)
        vertices = int(tri.max()) + 1
    return tri, vertices


def _no_gradient(ctx: Any, inputs: tuple, output: torch.Tensor) -> None:
    ctx.mark_non_differentiable(output)


_op = register(
    "edge_topology(Tensor tri, Tensor? weld) -> Tensor",
    kernel=_kernel,
    fake=lambda tri, weld: torch.empty_like(tri),
    setup=_no_gradient,
    any_core=True,
)
