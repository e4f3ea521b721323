"""A grid as a sum of products of vectors and matrices."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate

from lumigrad.types import validation as check
from lumigrad.types.grids import Box, check_corners, check_resolution
from lumigrad.types.shapes import Float

# The axis of a vector, and those of its matrix; (x, y, z) are 0, 1, 2.
_SPLITS = ((0, (1, 2)), (1, (0, 2)), (2, (0, 1)))


class FactorizedGrid(nn.Module):
    """A grid whose values are sums of products of a vector along one axis and a matrix across the other two.

    Of size N, it has 3 R (N + N²) numbers in place of N³ for each of C channels. Values between voxels' centres are
    those of the dense grid, trilinear; outside of the outer centres they are those of the border. Second derivatives to
    the points are not there.

    Args:
        box: [2, 3], the corners with the smallest and the largest x, y, z.
        size: (D, H, W), voxels along z, y, x, or one number for all three.
        rank: R, products for each of the three axes.
        channels: C. The products are mixed by a matrix, without which channels would be multiples of each other; None
            for one channel, their sum.
        scale: standard deviation of vectors and matrices at first.

    Attributes:
        box: [2, 3].
        vectors: along x, y and z: [R, W], [R, H], [R, D].
        matrices: across z and y, z and x, y and x: [R, D, H], [R, D, W], [R, H, W].
        mix: [3 R, C], or None.

    Raises:
        TypeError, ValueError: for wrong types, shapes or numbers.

    Source: Chen et al. 2022, "TensoRF: Tensorial Radiance Fields", its vector-matrix decomposition.

    >>> import torch
    >>> from lumigrad.fit import FactorizedGrid
    >>> grid = FactorizedGrid([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]], 32, rank=4, channels=8)
    >>> grid(torch.zeros(5, 3)).shape, grid.dense().shape
    (torch.Size([5, 8]), torch.Size([32, 32, 32, 8]))
    >>> sum(p.numel() for p in grid.parameters()) < 0.1 * grid.dense().numel()
    True
    """

    box: Tensor

    def __init__(
        self, box: Box, size: int | tuple[int, int, int], rank: int, channels: int | None = None, scale: float = 0.1
    ) -> None:
        super().__init__()
        counts = check_resolution(size, "size")[::-1]  # along x, y and z
        rank, scale = check.integer("rank", rank, 1), check.number("scale", scale)
        like = box if isinstance(box, Tensor) else torch.zeros(())
        self.register_buffer("box", check_corners(box, like, "box").detach().clone())

        def random(*shape: int) -> nn.Parameter:
            return nn.Parameter(scale * torch.randn(*shape, dtype=self.box.dtype, device=self.box.device))

        self.vectors = nn.ParameterList(random(rank, counts[axis]) for axis, _ in _SPLITS)
        self.matrices = nn.ParameterList(random(rank, counts[v], counts[u]) for _, (u, v) in _SPLITS)
        self.mix = None if channels is None else random(3 * rank, check.integer("channels", channels, 1))

    @property
    def size(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        width, height, depth = (vector.shape[1] for vector in self.vectors)
        return depth, height, width

    def forward(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points channels"]:
        """Values [M, C] at points [M, 3] in the world."""
        check.shape("points", check.floating("points", points, self.box, "box"), ("M", 3))
        at = 2 * (points - self.box[0]) / (self.box[1] - self.box[0]) - 1
        products = []
        for (axis, (u, v)), vector, matrix in zip(_SPLITS, self.vectors, self.matrices, strict=True):
            along = torch.stack((torch.zeros_like(at[:, axis]), at[:, axis]), -1)
            products.append(_sampled(vector[..., None], along) * _sampled(matrix, at[:, [u, v]]))
        return self._mixed(torch.cat(products).T)

    def dense(self) -> Float[Tensor, "depth height width channels"]:
        """All values [D, H, W, C], as `lumigrad.march` and `VoxelGrid` take them."""
        (x, y, z), (across_x, across_y, across_z) = self.vectors, self.matrices
        products = (
            torch.einsum("rx,rzy->zyxr", x, across_x),
            torch.einsum("ry,rzx->zyxr", y, across_y),
            torch.einsum("rz,ryx->zyxr", z, across_z),
        )
        return self._mixed(torch.cat(products, -1))

    @torch.no_grad()
    def resized(self, size: int | tuple[int, int, int]) -> FactorizedGrid:
        """A grid of another size that approximates the same function, with interpolated vectors and matrices."""
        counts = check_resolution(size, "size")[::-1]  # along x, y and z
        rank, channels = len(self.vectors[0]), None if self.mix is None else self.mix.shape[1]
        other = FactorizedGrid(self.box, size, rank, channels)
        for (axis, _), old, new in zip(_SPLITS, self.vectors, other.vectors, strict=True):
            new.copy_(interpolate(old[None], counts[axis], mode="linear")[0])
        for (_, (u, v)), old, new in zip(_SPLITS, self.matrices, other.matrices, strict=True):
            new.copy_(interpolate(old[None], (counts[v], counts[u]), mode="bilinear")[0])
        if self.mix is not None and other.mix is not None:
            other.mix.copy_(self.mix)
        return other

    def _mixed(self, products: Tensor) -> Tensor:
        return products.sum(-1, keepdim=True) if self.mix is None else products @ self.mix


def _sampled(images: Tensor, at: Tensor) -> Tensor:
    """Images [R, A, B] between the centres of their pixels, at [M, 2] from -1 to 1: [R, M]."""
    found = grid_sample(images[None], at[None, None], padding_mode="border", align_corners=False)
    return found[0, :, 0]
