"""Affine maps that are composed step by step, as in `Transform4f().translate((0, 1, 0)).scale(2)`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.scene.cameras.pose import look_at
from lumigrad.scene.rotations import axis_angle_to_matrix

Numbers = Tensor | Sequence[float] | float


class _Step:
    """A method that composes a map with what follows; of the class itself, it begins with the identity."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method
        functools.update_wrapper(self, method)  # type: ignore[arg-type]

    def __get__(self, instance: Any, owner: type) -> Callable[..., Any]:
        return functools.partial(self.method, owner() if instance is None else instance)


class _Transform:
    """A matrix that acts on column vectors. The step written last acts first."""

    dimensions = 3

    def __init__(self, matrix: Any = None) -> None:
        size = self.dimensions + 1
        found = torch.eye(size) if matrix is None else as_tensor(matrix, "matrix")
        if found.shape != (size, size):
            raise ValueError(f"matrix: expected [{size}, {size}], got {list(found.shape)}")
        self.matrix: Tensor = found

    def __matmul__(self, other: Any) -> Any:
        """Composition with another map, or a point moved."""
        if isinstance(other, _Transform):
            return type(self)(self.matrix @ other.matrix.to(self.matrix))
        point = as_tensor(other, "point").to(self.matrix)
        return point @ self.matrix[:-1, :-1].T + self.matrix[:-1, -1]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.matrix.tolist()})"

    def inverse(self) -> Any:
        return type(self)(torch.linalg.inv(self.matrix))

    def _then(self, step: Tensor) -> Any:
        return type(self)(self.matrix @ step.to(self.matrix))

    @_Step
    def translate(self, v: Numbers) -> Any:
        step = torch.eye(self.dimensions + 1)
        return self._then(torch.cat([step[:, :-1], torch.cat([self._vector(v, "v"), torch.ones(1)])[:, None]], 1))

    @_Step
    def scale(self, v: Numbers) -> Any:
        return self._then(torch.diag(torch.cat([self._vector(v, "v"), torch.ones(1)])))

    def _vector(self, value: Numbers, name: str) -> Tensor:
        vector = as_tensor(value, name)
        if vector.ndim > 1 or (vector.ndim == 1 and len(vector) != self.dimensions):
            raise ValueError(f"{name}: expected {self.dimensions} numbers, got {list(vector.shape)}")
        return vector.expand(self.dimensions)


class Transform4f(_Transform):
    """An affine map of space.

    >>> from lumigrad.compat.mitsuba import ScalarTransform4f as T
    >>> T().translate([1, 2, 3]).scale(2) @ [1, 1, 1]
    tensor([3., 4., 5.])
    """

    @_Step
    def rotate(self, axis: Numbers, angle: float | Tensor) -> Any:
        """By an angle in degrees about an axis through the origin, counter-clockwise seen against the axis."""
        turn = as_tensor(angle, "angle") * (math.pi / 180)
        step = axis_angle_to_matrix(turn * torch.nn.functional.normalize(self._vector(axis, "axis"), dim=0))
        return self._then(torch.block_diag(step, torch.ones(1, 1)))

    @_Step
    def look_at(self, origin: Numbers, target: Numbers, up: Numbers) -> Any:
        """From a frame that looks along its +z, with +x to the left and +y up, to that of a camera at `origin`."""
        view = look_at(*(self._vector(value, name) for name, value in
                         (("origin", origin), ("target", target), ("up", up))))  # fmt: skip
        return self._then(torch.linalg.inv(view) * torch.tensor([-1.0, 1.0, -1.0, 1.0]))


class Transform3f(_Transform):
    """An affine map of the plane, as of texture coordinates."""

    dimensions = 2

    @_Step
    def rotate(self, angle: float | Tensor) -> Any:
        """Counter-clockwise by an angle in degrees."""
        turn = as_tensor(angle, "angle") * (math.pi / 180)
        c, s = turn.cos(), turn.sin()
        step = torch.stack([torch.stack([c, -s]), torch.stack([s, c])])
        return self._then(torch.block_diag(step, torch.ones(1, 1)))


def as_tensor(value: Any, name: str) -> Tensor:
    """A floating tensor of numbers, nested sequences, arrays or tensors."""
    if isinstance(value, _Transform):
        value = value.matrix
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else value.to(torch.get_default_dtype())
    if isinstance(value, str):
        raise TypeError(f"{name}: expected numbers, got {value!r}")
    try:
        return torch.as_tensor(value, dtype=torch.get_default_dtype())
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name}: expected numbers, got {type(value).__name__}") from error
