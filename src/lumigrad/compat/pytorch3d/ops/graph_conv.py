"""Convolution over the edges of meshes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GraphConv(nn.Module):
    """Each vertex: a linear function of its features, plus the sum of another one of its neighbours' features.

    Args:
        input_dim, output_dim: features of each vertex.
        init: "normal" (weights of deviation 0.01, no bias) or "zero" (no weights).
        directed: whether only the first vertex of an edge receives, and only the second gives.

    Raises:
        ValueError: another `init`.
    """

    def __init__(self, input_dim: int, output_dim: int, init: str = "normal", directed: bool = False) -> None:
        super().__init__()
        self.input_dim, self.output_dim, self.directed = input_dim, output_dim, directed
        self.w0, self.w1 = nn.Linear(input_dim, output_dim), nn.Linear(input_dim, output_dim)
        if init not in ("normal", "zero"):
            raise ValueError(f'Invalid GraphConv initialization "{init}": expected "normal" or "zero"')
        for layer in (self.w0, self.w1):
            if init == "normal":
                nn.init.normal_(layer.weight, mean=0, std=0.01)
                nn.init.zeros_(layer.bias)
            else:
                nn.init.zeros_(layer.weight)

    def forward(self, verts: Tensor, edges: Tensor) -> Tensor:
        """Features [V, output_dim].

        Args:
            verts: features [V, input_dim].
            edges: pairs of vertices [E, 2].

        Raises:
            ValueError: different devices.
        """
        if verts.is_cuda != edges.is_cuda:
            raise ValueError("verts and edges tensors must be on the same device.")
        if verts.shape[0] == 0:
            # Zeros that keep the graph, so that gradients of an empty batch exist.
            return verts.new_zeros((0, self.output_dim)) + verts.sum() * 0
        return self.w0(verts) + gather_scatter(self.w1(verts), edges, self.directed)

    def __repr__(self) -> str:
        return f"GraphConv({self.input_dim} -> {self.output_dim}, directed={self.directed})"


def gather_scatter(input: Tensor, edges: Tensor, directed: bool = False) -> Tensor:
    """Sums of neighbours' features [V, D].

    Args:
        input: features [V, D].
        edges: pairs of vertices [E, 2].
        directed: whether only the first vertex of an edge receives.

    Raises:
        ValueError: other shapes.
    """
    if input.ndim != 2:
        raise ValueError(f"input can only have 2 dimensions, got {tuple(input.shape)}")
    if edges.ndim != 2 or edges.shape[1] != 2:
        raise ValueError(f"edges must be of shape (num_edges, 2), got {tuple(edges.shape)}")
    first, second = edges.unbind(1)
    total = torch.zeros_like(input).index_add(0, first, input[second])
    return total if directed else total.index_add(0, second, input[first])


gather_scatter_python = gather_scatter


class GatherScatter:
    """`gather_scatter` as programs call it."""

    apply = staticmethod(gather_scatter)
