"""The neighbours of every triangle edge, which antialiasing needs.

Defined by :func:`lumigrad.reference.edge_topology`; the kernel is ``native/surface/edge_topology_cpu.cpp``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float, Int, Int32


def edge_topology(
    tri: Int[Tensor, "triangles 3"], positions: Float[Tensor, "vertices axes"] | None = None
) -> Int32[Tensor, "triangles 3"]:
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

    >>> import torch
    >>> import lumigrad as lg
    >>> topology = lg.edge_topology(torch.tensor([[0, 1, 2], [2, 1, 3]]))  # two triangles that share the edge 1 2
    >>> topology
    tensor([[10,  3,  5],
            [ 7,  9,  0]], dtype=torch.int32)
    >>> next_half_edge, same_direction = topology[0, 0] // 2, topology[0, 0] % 2
    >>> int(next_half_edge), int(same_direction)  # corner 2 of triangle 1
    (5, 0)
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


def topology_of(tri: Tensor, given: Any) -> Tensor:
    """The given topology, checked, or otherwise the topology of `tri`."""
    if given is None:
        return edge_topology(tri)
    topology = check.tensor("topology", given)
    if topology.dtype != torch.int32:
        raise TypeError(f"topology: expected int32 as made by edge_topology, got {topology.dtype}")
    check.shape("topology", topology, (tri.shape[0], 3))
    if topology.device != tri.device:
        raise ValueError(f"topology: expected device {tri.device} like tri, got {topology.device}")
    return topology.contiguous()


_op = declare(
    "edge_topology(Tensor tri, Tensor? weld)",
    sizes=("triangles vertices", lambda tri, weld: (tri.shape[0], 0 if weld is None else weld.shape[0])),
    outputs={"topology": "triangles 3"},
)
