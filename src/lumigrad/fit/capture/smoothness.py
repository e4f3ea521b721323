"""The uniform Laplacian of offsets."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.fit._laplacian import unique_edges
from lumigrad.types.shapes import Float, Int


class UniformLaplacian:
    """The differences between vertices' offsets and the mean of their neighbours' offsets.

    Args:
        faces: [F, 3].
        count: number of vertices.

    >>> import torch
    >>> from lumigrad.fit.capture import UniformLaplacian
    >>> smooth = UniformLaplacian(torch.tensor([[0, 1, 2]]), 3)
    >>> smooth.energy(torch.tensor([[[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [3.0, 0.0, 0.0]]])).item()  # (9 + 2 * 2.25) / 3
    4.5
    """

    def __init__(self, faces: Int[Tensor, "faces 3"], count: int) -> None:
        edges = unique_edges(faces)
        self.ends = torch.cat([edges, edges.flip(1)])
        degree = torch.bincount(self.ends[:, 0], minlength=count)
        self.shares = (1 / degree.clamp_min(1).float())[self.ends[:, 0]]
        self.used = (degree > 0).float()

    def __call__(self, offsets: Float[Tensor, "frames vertices 3"]) -> Float[Tensor, "frames vertices 3"]:
        """Offsets minus the mean of the neighbours' offsets; zero without neighbours."""
        around = offsets[:, self.ends[:, 1]] * self.shares.to(offsets)[:, None]
        means = torch.zeros_like(offsets).index_add(1, self.ends[:, 0], around)
        return offsets * self.used.to(offsets)[:, None] - means

    def energy(self, offsets: Float[Tensor, "frames vertices 3"]) -> Float[Tensor, ""]:
        """The mean over frames and vertices of the squared length."""
        return self(offsets).square().sum(-1).mean()
