"""Transformations of points as row vectors: [x y z 1] M."""

from __future__ import annotations

import torch
from torch import Tensor


class Transform3d:
    """A batch of 4 x 4 matrices that act on row vectors from the right, translation in the last row.

    Immutable: every method that changes a transformation returns another one. What is appended by `compose`,
    `translate`, `scale` or `rotate` acts after what is there.
    """

    def __init__(
        self,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        matrix: Tensor | None = None,
    ) -> None:
        if matrix is None:
            matrix = torch.eye(4, dtype=dtype, device=device)[None]
        if matrix.ndim not in (2, 3) or matrix.shape[-2:] != (4, 4):
            raise ValueError(f"matrix: expected shape [4, 4] or [N, 4, 4], got {tuple(matrix.shape)}")
        self._matrix = matrix if matrix.ndim == 3 else matrix[None]

    def __len__(self) -> int:
        return len(self._matrix)

    def __getitem__(self, index: int | slice | list[int] | Tensor) -> Transform3d:
        return Transform3d(matrix=self._matrix[[index] if isinstance(index, int) else index])

    def get_matrix(self) -> Tensor:
        """The matrices [N, 4, 4]."""
        return self._matrix

    def compose(self, *others: Transform3d) -> Transform3d:
        """This transformation, then the others in their order."""
        matrix = self._matrix
        for other in others:
            matrix = matrix @ other._matrix
        return Transform3d(matrix=matrix)

    def inverse(self, invert_composed: bool = False) -> Transform3d:
        """The inverse. The flag is PyTorch3D's and changes how it computes, not what."""
        return Transform3d(matrix=torch.linalg.inv(self._matrix))

    def translate(
        self, x: Tensor | float, y: Tensor | float | None = None, z: Tensor | float | None = None
    ) -> Transform3d:
        """Moved by (x, y, z), each a number or [N]; or by x [N, 3] alone."""
        offset = self._triple(x, y, z)
        matrix = torch.eye(4, dtype=offset.dtype, device=offset.device).repeat(len(offset), 1, 1)
        return self.compose(
            Transform3d(matrix=torch.cat((matrix[:, :3], torch.cat((offset, matrix[:, 3, 3:]), 1)[:, None]), 1))
        )

    def scale(self, x: Tensor | float, y: Tensor | float | None = None, z: Tensor | float | None = None) -> Transform3d:
        """Scaled by (x, y, z), each a number or [N]; by x [N, 3]; or by a single x along all axes."""
        factor = self._triple(
            x, x if y is None and _is_scalar_like(x) else y, x if z is None and _is_scalar_like(x) else z
        )
        return self.compose(
            Transform3d(matrix=torch.diag_embed(torch.cat((factor, torch.ones_like(factor[:, :1])), 1)))
        )

    def rotate(self, R: Tensor) -> Transform3d:
        """Rotated by matrices [3, 3] or [N, 3, 3] that act on row vectors."""
        R = R if R.ndim == 3 else R[None]
        matrix = torch.eye(4, dtype=R.dtype, device=R.device).repeat(len(R), 1, 1)
        upper = torch.cat((R, matrix[:, :3, 3:]), 2)
        return self.compose(Transform3d(matrix=torch.cat((upper, matrix[:, 3:]), 1)))

    def transform_points(self, points: Tensor, eps: float | None = None) -> Tensor:
        """Points [P, 3] or [N, P, 3], divided by their fourth coordinate.

        Args:
            eps: keep that coordinate at least so far from zero.
        """
        batch = points if points.ndim == 3 else points[None]
        homogeneous = torch.cat((batch, torch.ones_like(batch[..., :1])), -1) @ self._matrix
        w = homogeneous[..., 3:]
        if eps is not None:
            w = torch.where(w < 0, -1.0, 1.0) * w.abs().clamp(min=eps)
        out = homogeneous[..., :3] / w
        return out[0] if points.ndim == 2 and len(out) == 1 else out

    def transform_normals(self, normals: Tensor) -> Tensor:
        """Normals [P, 3] or [N, P, 3], by the inverse transpose; not normalised."""
        batch = normals if normals.ndim == 3 else normals[None]
        out = batch @ torch.linalg.inv(self._matrix[:, :3, :3]).transpose(1, 2)
        return out[0] if normals.ndim == 2 and len(out) == 1 else out

    def to(self, device: torch.device | str, copy: bool = False, dtype: torch.dtype | None = None) -> Transform3d:
        """On another device, or of another type."""
        return Transform3d(matrix=self._matrix.to(device=device, dtype=dtype or self._matrix.dtype, copy=copy))

    def clone(self) -> Transform3d:
        """A copy of its own."""
        return Transform3d(matrix=self._matrix.clone())

    def _triple(self, x: Tensor | float, y: Tensor | float | None, z: Tensor | float | None) -> Tensor:
        like = self._matrix
        first = torch.as_tensor(x, dtype=like.dtype, device=like.device)
        if y is None or z is None:
            if first.ndim == 0 or first.shape[-1] != 3:
                raise ValueError(f"x: expected shape [N, 3] where it stands alone, got {tuple(first.shape)}")
            return first.reshape(-1, 3)
        parts = [torch.as_tensor(v, dtype=like.dtype, device=like.device).reshape(-1) for v in (x, y, z)]
        return torch.stack(torch.broadcast_tensors(*parts), 1)


def _is_scalar_like(value: Tensor | float) -> bool:
    return not isinstance(value, Tensor) or value.ndim == 0 or value.shape[-1] != 3
