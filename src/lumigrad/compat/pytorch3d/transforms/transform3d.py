"""Transformations of points as row vectors: [x y z 1] M."""

from __future__ import annotations

import copy as copying
import math
import os
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.common.datatypes import Device, get_device, make_device
from lumigrad.compat.pytorch3d.transforms.rotation_conversions import _about_axis
from lumigrad.compat.pytorch3d.transforms.se3 import se3_log_map

Number = Tensor | float


class Transform3d:
    """A batch of 4 x 4 matrices that act on row vectors from the right, translation in the last row.

    Methods return another transformation and change none. What is appended by `compose`, `translate`, `scale` or
    `rotate` acts after what is there.

    Args:
        dtype, device: of the identity, where no matrix is given.
        matrix: [4, 4] or [N, 4, 4].

    Raises:
        ValueError: a matrix of another shape.
    """

    def __init__(
        self, dtype: torch.dtype = torch.float32, device: Device = "cpu", matrix: Tensor | None = None
    ) -> None:
        if matrix is None:
            matrix = torch.eye(4, dtype=dtype, device=device)[None]
        if matrix.ndim not in (2, 3) or matrix.shape[-2:] != (4, 4):
            raise ValueError(f"matrix: expected shape [4, 4] or [N, 4, 4], got {tuple(matrix.shape)}")
        self._matrix = matrix.reshape(-1, 4, 4)
        self._transforms: list[Transform3d] = []
        self.device = matrix.device
        self.dtype = matrix.dtype

    def __len__(self) -> int:
        return len(self.get_matrix())

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Transform3d:
        """Some of the transformations, as a batch."""
        numbers = [index] if isinstance(index, int) else index
        if self._transforms:
            return Transform3d(matrix=self.get_matrix()[numbers])
        other = copying.copy(self)
        other._matrix = self._matrix[numbers]
        return other

    def get_matrix(self) -> Tensor:
        """The matrices [N, 4, 4]."""
        matrix = self._matrix
        for other in self._transforms:
            matrix = _product(matrix, other.get_matrix())
        return matrix

    def get_se3_log(self, eps: float = 1e-4, cos_bound: float = 1e-4) -> Tensor:
        """Logarithms [N, 6] of rigid motions, see `se3_log_map`."""
        return se3_log_map(self.get_matrix(), eps, cos_bound)

    def compose(self, *others: Transform3d) -> Transform3d:
        """This transformation, then the others in their order.

        Raises:
            ValueError: something else than a transformation.
        """
        for other in others:
            if not isinstance(other, Transform3d):
                raise ValueError(f"Only possible to compose Transform3d objects; got {type(other).__name__}")
        result = Transform3d(matrix=self._matrix)
        result._transforms = [*self._transforms, *others]
        return result

    def stack(self, *others: Transform3d) -> Transform3d:
        """The batches of all, one after the other."""
        return Transform3d(matrix=torch.cat([t.get_matrix() for t in (self, *others)]))

    def _inverse_matrix(self) -> Tensor:
        return torch.linalg.inv(self._matrix)

    def inverse(self, invert_composed: bool = False) -> Transform3d:
        """The inverse.

        Args:
            invert_composed: invert the product instead of each part; the same but for rounding.
        """
        if invert_composed:
            return Transform3d(matrix=torch.linalg.inv(self.get_matrix()))
        first = Transform3d(matrix=self._inverse_matrix())
        if not self._transforms:
            return first
        start = Transform3d(dtype=self.dtype, device=self.device)
        return start.compose(*[t.inverse() for t in reversed(self._transforms)], first)

    def transform_points(self, points: Tensor, eps: float | None = None) -> Tensor:
        """Points [P, 3] or [N, P, 3], divided by their fourth coordinate.

        Args:
            points: to be transformed; one batch serves many transformations, and the other way round.
            eps: keep that coordinate at least so far from zero.

        Raises:
            ValueError: points of another shape.
        """
        batch = _batch(points, "points")
        homogeneous = _product(torch.cat((batch, torch.ones_like(batch[..., :1])), -1), self.get_matrix())
        w = homogeneous[..., 3:]
        if eps is not None:
            w = torch.where(w < 0, -1.0, 1.0).to(w.dtype) * w.abs().clamp(min=eps)
        out = homogeneous[..., :3] / w
        return out[0] if points.ndim == 2 and len(out) == 1 else out

    def transform_normals(self, normals: Tensor) -> Tensor:
        """Normals [P, 3] or [N, P, 3], by the inverse transpose; not normalised.

        Raises:
            ValueError: normals of another shape.
        """
        batch = _batch(normals, "normals")
        out = _product(batch, torch.linalg.inv(self.get_matrix()[:, :3, :3]).transpose(1, 2))
        return out[0] if normals.ndim == 2 and len(out) == 1 else out

    def translate(self, *args: Any, **kwargs: Any) -> Transform3d:
        """Moved by (x, y, z), each a number or [N]; or by x [N, 3] alone."""
        return self.compose(Translate(*args, **self._kind(kwargs)))

    def scale(self, *args: Any, **kwargs: Any) -> Transform3d:
        """Scaled by (x, y, z), each a number or [N]; by x [N, 3]; or by a number or [N] along all axes."""
        return self.compose(Scale(*args, **self._kind(kwargs)))

    def rotate(self, *args: Any, **kwargs: Any) -> Transform3d:
        """Rotated by matrices [3, 3] or [N, 3, 3] that act on row vectors."""
        return self.compose(Rotate(*args, **self._kind(kwargs)))

    def rotate_axis_angle(self, *args: Any, **kwargs: Any) -> Transform3d:
        """Rotated about a coordinate axis, see `RotateAxisAngle`."""
        return self.compose(RotateAxisAngle(*args, **self._kind(kwargs)))

    def _kind(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {"device": self.device, "dtype": self.dtype, **kwargs}

    def _map(self, function: Any) -> Transform3d:
        other = copying.copy(self)
        other._matrix = function(self._matrix)
        other._transforms = [t._map(function) for t in self._transforms]
        other.device, other.dtype = other._matrix.device, other._matrix.dtype
        return other

    def clone(self) -> Transform3d:
        """A copy of its own."""
        return self._map(torch.clone)

    def to(self, device: Device, copy: bool = False, dtype: torch.dtype | None = None) -> Transform3d:
        """On a device and of a type; the transformation itself where nothing changes."""
        place, kind = make_device(device), self.dtype if dtype is None else dtype
        if not copy and place == self.device and kind == self.dtype:
            return self
        return self._map(lambda value: value.to(device=place, dtype=kind, copy=copy))

    def cpu(self) -> Transform3d:
        return self.to("cpu")

    def cuda(self) -> Transform3d:
        return self.to("cuda")


class Translate(Transform3d):
    """Moves points by (x, y, z), each a number or [N], or by x [N, 3] alone."""

    def __init__(
        self, x: Number, y: Number | None = None, z: Number | None = None, dtype: torch.dtype = torch.float32,
        device: Device | None = None,
    ) -> None:  # fmt: skip
        offset = _triple(x, y, z, dtype, device, "Translate")
        upper = torch.eye(4, dtype=dtype, device=offset.device)[:3].expand(len(offset), 3, 4)
        last = torch.cat((offset, torch.ones_like(offset[:, :1])), 1)[:, None]
        super().__init__(matrix=torch.cat((upper, last), 1))

    def _inverse_matrix(self) -> Tensor:
        return torch.cat((self._matrix[:, :3], torch.cat((-self._matrix[:, 3:, :3], self._matrix[:, 3:, 3:]), 2)), 1)


class Scale(Transform3d):
    """Scales by (x, y, z), each a number or [N]; by x [N, 3]; or by x, a number or [N], along all axes."""

    def __init__(
        self, x: Number, y: Number | None = None, z: Number | None = None, dtype: torch.dtype = torch.float32,
        device: Device | None = None,
    ) -> None:  # fmt: skip
        if y is None and z is None and not (isinstance(x, Tensor) and x.ndim == 2):
            y = z = x
        factor = _triple(x, y, z, dtype, device, "Scale")
        super().__init__(matrix=torch.diag_embed(torch.cat((factor, torch.ones_like(factor[:, :1])), 1)))

    def _inverse_matrix(self) -> Tensor:
        return torch.diag_embed(1 / self._matrix.diagonal(dim1=1, dim2=2))


class Rotate(Transform3d):
    """Rotates by matrices [3, 3] or [N, 3, 3] that act on row vectors.

    Where the environment has PYTORCH3D_CHECK_ROTATION_MATRICES=1, matrices that are not orthonormal to
    `orthogonal_tol` give a warning.
    """

    def __init__(
        self, R: Tensor, dtype: torch.dtype = torch.float32, device: Device | None = None,
        orthogonal_tol: float = 1e-5,
    ) -> None:  # fmt: skip
        R = R[None] if R.ndim == 2 else R
        if R.ndim != 3 or R.shape[-2:] != (3, 3):
            raise ValueError(f"R must have shape (3, 3) or (N, 3, 3); got {tuple(R.shape)}")
        R = R.to(device=get_device(R, device), dtype=dtype)
        if os.environ.get("PYTORCH3D_CHECK_ROTATION_MATRICES") == "1":
            _warn_unless_rotation(R, orthogonal_tol)
        super().__init__(matrix=_embed(R))

    def _inverse_matrix(self) -> Tensor:
        return self._matrix.transpose(1, 2).contiguous()


class RotateAxisAngle(Rotate):
    """Rotates about a coordinate axis, counter-clockwise seen from its tip.

    Args:
        angle: a number or [N].
        axis: "X", "Y" or "Z".
        degrees: whether the angle is in degrees instead of radians.
    """

    def __init__(
        self, angle: Number, axis: str = "X", degrees: bool = True, dtype: torch.dtype = torch.float32,
        device: Device | None = None,
    ) -> None:  # fmt: skip
        letter = axis.upper()
        if letter not in ("X", "Y", "Z"):
            raise ValueError(f"Expected axis to be one of ['X', 'Y', 'Z']; got {axis}")
        angles = torch.as_tensor(angle, dtype=dtype, device=get_device(angle, device))
        if angles.ndim > 1:
            raise ValueError(f"RotateAxisAngle: expected angles [N], got shape {tuple(angles.shape)}")
        angles = angles.reshape(-1) * (math.pi / 180 if degrees else 1.0)
        super().__init__(_about_axis("XYZ".index(letter), angles).transpose(1, 2), dtype=dtype, device=angles.device)


def _embed(R: Tensor) -> Tensor:
    """[N, 4, 4] with the rotation in the upper left corner."""
    upper = torch.cat((R, torch.zeros_like(R[:, :, :1])), 2)
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=R.dtype, device=R.device).expand(len(R), 1, 4)
    return torch.cat((upper, last), 1)


def _warn_unless_rotation(R: Tensor, tolerance: float) -> None:
    identity = torch.eye(3, dtype=R.dtype, device=R.device)
    orthogonal = torch.allclose(R @ R.transpose(1, 2), identity.expand_as(R), atol=tolerance)
    if not orthogonal or not torch.allclose(torch.linalg.det(R), torch.ones_like(R[:, 0, 0]), atol=1e-4):
        warnings.warn("R is not a valid rotation matrix", stacklevel=4)


def _batch(value: Tensor, name: str) -> Tensor:
    if value.ndim not in (2, 3) or value.shape[-1] != 3:
        raise ValueError(f"{name}: expected to have dim = 2 or dim = 3, [P, 3] or [N, P, 3]: got {tuple(value.shape)}")
    return value if value.ndim == 3 else value[None]


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Products of batches, of which one may be of one element, in the type of the first.

    Programs build rotations of numpy's numbers, which PyTorch takes for float64, and move points in float32.

    Raises:
        ValueError: different numbers of elements.
    """
    if len(a) != len(b) and 1 not in (len(a), len(b)):
        raise ValueError(f"Expected batch dim for bmm to be equal or 1; got {tuple(a.shape)}, {tuple(b.shape)}")
    return torch.matmul(a, b.to(a.dtype))


def _triple(
    x: Number, y: Number | None, z: Number | None, dtype: torch.dtype, device: Device | None, name: str
) -> Tensor:
    """[N, 3] of three coordinates, each a number or [N], or of x [N, 3] alone."""
    place = next((v.device for v in (x, y, z) if isinstance(v, Tensor)), torch.device("cpu"))
    place = place if device is None else make_device(device)
    if isinstance(x, Tensor) and x.ndim == 2:
        if x.shape[1] != 3 or y is not None or z is not None:
            raise ValueError(f"Expected tensor of shape (N, 3) alone; got {tuple(x.shape)} (in {name})")
        return x.to(dtype=dtype, device=place)
    if y is None or z is None:
        raise ValueError(f"Expected x, y and z, or x of shape (N, 3) alone (in {name})")
    parts = [torch.as_tensor(v, dtype=dtype, device=place) for v in (x, y, z)]
    parts = [v.reshape(1) if v.ndim == 0 else v for v in parts]
    count = max(len(v) for v in parts)
    if any(v.ndim != 1 or len(v) not in (1, count) for v in parts):
        raise ValueError(f"Got non-broadcastable sizes {[tuple(v.shape) for v in parts]} (in {name})")
    return torch.stack([v.expand(count) for v in parts], 1)
