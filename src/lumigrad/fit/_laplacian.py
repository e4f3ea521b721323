"""The mesh Laplacian, and the preconditioned parameterisation of large steps.

Source: Nicolet, Jacobson, Jakob, "Large Steps in Inverse Rendering of Geometry", ACM Transactions on Graphics
40(6), 2021, sections 3 and 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lumigrad._optional import require
from lumigrad.fit._arguments import check_indices, check_rows
from lumigrad.types.validation import integer, number

if TYPE_CHECKING:
    import scipy.sparse


def unique_edges(faces: Tensor) -> Tensor:
    """Undirected edges [E, 2] of faces [F, 3], each once, smaller index first, in lexicographic order.

    >>> import torch
    >>> from lumigrad.fit import unique_edges
    >>> unique_edges(torch.tensor([[0, 1, 2], [2, 1, 3]])).tolist()
    [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    """
    faces = check_indices("faces", faces, 3).long()
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(dim=1).values
    return torch.unique(edges[edges[:, 0] != edges[:, 1]], dim=0)


def laplacian(faces: Tensor, count: int) -> scipy.sparse.csc_matrix:
    """Combinatorial Laplacian, degree minus adjacency: [count, count], symmetric, positive semidefinite.

    Args:
        faces: [F, 3].
        count: number of vertices.

    >>> import torch
    >>> from lumigrad.fit import laplacian
    >>> laplacian(torch.tensor([[0, 1, 2], [2, 1, 3]]), 4).toarray().tolist()
    [[2.0, -1.0, -1.0, 0.0], [-1.0, 3.0, -1.0, -1.0], [-1.0, -1.0, 3.0, -1.0], [0.0, -1.0, -1.0, 2.0]]
    """
    check_indices("faces", faces, 3, integer("count", count, 0))
    sparse = require("scipy.sparse", "lumigrad.fit.laplacian")
    a, b = unique_edges(faces).cpu().numpy().T
    ones = np.ones(len(a))
    adjacency = sparse.coo_matrix((ones, (a, b)), shape=(count, count))
    adjacency = (adjacency + adjacency.T).tocsc()
    degree = np.asarray(adjacency.sum(axis=1)).reshape(-1)
    return (sparse.diags(degree) - adjacency).tocsc()


def laplacian_energy(values: Tensor, edges: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over vertices of the squared norm of the Laplacian: the sum of differences to the neighbours.

    Args:
        values: [V, A], differentiable.
        edges: [E, 2] from `unique_edges`.
        weights: of the edges [E], as `cotangent_weights` gives them; 1 by default.

    >>> import torch
    >>> from lumigrad.fit import laplacian_energy
    >>> edges = torch.tensor([[0, 1], [1, 2]])  # a path of three vertices
    >>> laplacian_energy(torch.tensor([[0.0], [3.0], [0.0]]), edges).item()  # (9 + 36 + 9) / 3
    18.0
    """
    check_indices("edges", edges, 2, len(check_rows("values", values, "A")))
    difference = values[edges[:, 0]] - values[edges[:, 1]]
    if weights is not None:
        difference = weights[:, None] * difference
    sums = torch.zeros_like(values).index_add(0, edges[:, 0], difference).index_add(0, edges[:, 1], -difference)
    return sums.square().sum(-1).mean()


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parameter: Tensor, system: LargeSteps) -> Tensor:
        ctx.system = system
        return system.solve(parameter)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # The matrix is symmetric, so its inverse is its own adjoint.
        return _Solve.apply(gradient, ctx.system), None  # type: ignore[no-untyped-call]


class LargeSteps:
    """Parameters u with positions x = (I + strength * L)^-1 u; the factorisation is computed once.

    A gradient step in u moves neighbouring vertices together, so that large steps do not tangle the mesh.

    Args:
        faces: [F, 3].
        count: number of vertices.
        strength: lambda in the paper; larger is smoother. At least 0.
    """

    def __init__(self, faces: Tensor, count: int, strength: float) -> None:
        strength, count = number("strength", strength), integer("count", count, 0)
        sparse = require("scipy.sparse", "lumigrad.fit.LargeSteps")
        solvers = require("scipy.sparse.linalg", "lumigrad.fit.LargeSteps")
        self.matrix = (sparse.identity(count) + strength * laplacian(faces, count)).tocsc()
        self._factor = solvers.splu(
            self.matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )

    def solve(self, parameter: Tensor) -> Tensor:
        """Positions of parameters [V, A], not differentiable."""
        values = parameter.detach().double().cpu().numpy()
        return torch.from_numpy(self._factor.solve(np.ascontiguousarray(values))).to(parameter)

    def to_positions(self, parameter: Tensor) -> Tensor:
        """Positions [V, A] of parameters [V, A], differentiable."""
        return _Solve.apply(parameter, self)  # type: ignore[no-untyped-call]

    def from_positions(self, positions: Tensor) -> Tensor:
        """Parameters [V, A] of positions [V, A], not differentiable."""
        values = positions.detach().double().cpu().numpy()
        return torch.from_numpy(self.matrix @ values).to(positions)
