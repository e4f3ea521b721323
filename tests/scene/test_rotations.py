"""Rotations against the matrix exponential, as round trips, and their derivatives near 0 and near half a turn."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lumigrad.scene import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    matrix_to_rotation_6d,
    quaternion_to_matrix,
    rotation_6d_to_matrix,
    rotation_angle,
)

F64 = torch.float64
# Around where series and quotients take turns, around half a turn, and beyond.
SHORT = (0.0, 1e-12, 1e-7, 9.9e-3, 1.01e-2, 1.99e-2, 2.01e-2, 1.0, 3.1)
NEAR_PI = (math.pi - 1e-3, math.pi - 1e-7, math.pi - 1e-12)


def axes(count: int = 6) -> Tensor:
    found = torch.randn(count, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    found[:3] = torch.eye(3, dtype=F64)
    return torch.nn.functional.normalize(found, dim=-1)


def exponential(vector: Tensor) -> Tensor:
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.linalg.matrix_exp(torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).view(-1, 3, 3))


def test_quaternions() -> None:
    half = math.sqrt(0.5)
    turn = quaternion_to_matrix(torch.tensor([half, 0.0, 0.0, half], dtype=F64))  # 90 degrees about z
    torch.testing.assert_close(turn, torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=F64))
    random = torch.randn(200, 4, dtype=F64, generator=torch.Generator().manual_seed(0))
    random[:4] = torch.eye(4, dtype=F64)  # half turns about each axis have w = 0
    random = random / random.norm(dim=-1, keepdim=True)
    again = matrix_to_quaternion(quaternion_to_matrix(random))
    same = (again * random).sum(-1).abs()
    torch.testing.assert_close(same, torch.ones_like(same))
    assert (again[:, 0] >= 0).all()
    assert torch.autograd.gradcheck(quaternion_to_matrix, random[4:8].clone().requires_grad_())
    with pytest.raises(ValueError, match="quaternion"):
        quaternion_to_matrix(torch.zeros(3))
    with pytest.raises(ValueError, match="rotation"):
        matrix_to_quaternion(torch.zeros(4, 4))


@pytest.mark.parametrize("length", [*SHORT, *NEAR_PI, math.pi, 7.0])
def test_exponential(length: float) -> None:
    vector = length * axes()
    torch.testing.assert_close(axis_angle_to_matrix(vector), exponential(vector), atol=1e-13, rtol=0)
    # float32 has the same to its own digits, also where quotients give way to series.
    single = axis_angle_to_matrix(vector.float()).double()
    torch.testing.assert_close(single, exponential(vector.float().double()), atol=3e-7 * max(1, length), rtol=0)


@pytest.mark.parametrize("length", [*SHORT, *NEAR_PI])
def test_logarithm(length: float) -> None:
    vector = length * axes()
    torch.testing.assert_close(matrix_to_axis_angle(exponential(vector)), vector, atol=2e-15, rtol=1e-12)


def test_logarithm_of_half_a_turn() -> None:
    """At half a turn either sign of the axis is valid; the exponential of the logarithm is the matrix."""
    vector = math.pi * axes()
    found = matrix_to_axis_angle(exponential(vector))
    torch.testing.assert_close(found.norm(dim=-1), torch.full((6,), math.pi, dtype=F64))
    torch.testing.assert_close((found * vector).sum(-1).abs(), torch.full((6,), math.pi**2, dtype=F64))
    exact = matrix_to_axis_angle(torch.diag(torch.tensor([-1.0, -1.0, 1.0])))
    assert exact.tolist() == pytest.approx([0.0, 0.0, math.pi])


@pytest.mark.parametrize("length", [*SHORT, *NEAR_PI])
def test_derivative_of_the_exponential(length: float) -> None:
    """Its closed form: d exp(v) = [J dv] exp(v), with the left Jacobian as an integral of exponentials."""
    vector = length * axes(4)[3:]
    jacobian = torch.func.jacrev(lambda v: axis_angle_to_matrix(v))(vector[0])
    # Gauss-Legendre, exact to rounding for these smooth functions: J = integral of exp(t v) over t in 0..1.
    nodes, weights = (torch.from_numpy(a) for a in _gauss())
    left = (weights[:, None, None] * exponential(nodes[:, None] * vector)).sum(0)
    turned = exponential(vector)[0]
    expected = torch.stack([_cross(left[:, k]) @ turned for k in range(3)], -1)
    torch.testing.assert_close(jacobian, expected, atol=1e-11, rtol=0)


def _gauss() -> tuple:  # type: ignore[type-arg]
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(24)
    return (nodes + 1) / 2, weights / 2


def _cross(v: Tensor) -> Tensor:
    zero = torch.zeros_like(v[0])
    return torch.stack((zero, -v[2], v[1], v[2], zero, -v[0], -v[1], v[0], zero)).view(3, 3)


@pytest.mark.parametrize("length", [*SHORT, *NEAR_PI])
def test_derivative_of_the_logarithm(length: float) -> None:
    """That of the logarithm of the exponential is the identity, at 0 and up to half a turn."""
    for axis in axes(5):
        jacobian = torch.func.jacrev(lambda v: matrix_to_axis_angle(axis_angle_to_matrix(v)))(length * axis)
        torch.testing.assert_close(jacobian, torch.eye(3, dtype=F64), atol=1e-9, rtol=0)


def test_derivatives_at_half_a_turn_are_finite() -> None:
    rotation = torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=F64)).requires_grad_()
    matrix_to_axis_angle(rotation).sum().backward()
    assert rotation.grad is not None
    assert rotation.grad.isfinite().all()
    assert rotation.grad.abs().max() > 0.1


def test_second_derivatives() -> None:
    points = torch.tensor([[0.0, 0.0, 0.0], [1e-3, -2e-3, 5e-4], [0.5, -1.0, 0.3]], dtype=F64, requires_grad=True)
    assert torch.autograd.gradgradcheck(axis_angle_to_matrix, (points,))
    assert torch.autograd.gradcheck(lambda v: matrix_to_axis_angle(axis_angle_to_matrix(v)), (points,))


def test_six_numbers() -> None:
    rotation = exponential(axes() * 2.0)
    rows = matrix_to_rotation_6d(rotation)
    torch.testing.assert_close(rotation_6d_to_matrix(rows), rotation)
    # Neither lengths matter, nor what the second row has of the first.
    loose = torch.cat([3 * rows[:, :3], 0.5 * rows[:, 3:] + 0.7 * rows[:, :3]], -1)
    torch.testing.assert_close(rotation_6d_to_matrix(loose), rotation)
    assert torch.autograd.gradcheck(rotation_6d_to_matrix, loose.requires_grad_())


@pytest.mark.parametrize("length", [0.0, 1e-9, 1e-3, 1.0, 3.0, math.pi])
def test_angle(length: float) -> None:
    base = exponential(axes()[3:4] * 1.3)
    angles = rotation_angle(base, base @ exponential(length * axes()))
    torch.testing.assert_close(
        angles, torch.full((6,), length, dtype=F64), atol=3e-8 if length > 3 else 1e-15, rtol=1e-6
    )


def test_shapes_are_checked() -> None:
    for function, name in (
        (axis_angle_to_matrix, "axis_angle"),
        (rotation_6d_to_matrix, "rows"),
        (matrix_to_axis_angle, "rotation"),
        (matrix_to_rotation_6d, "rotation"),
        (quaternion_to_matrix, "quaternion"),
    ):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            function(torch.zeros(4, 5))
    with pytest.raises(ValueError, match="second: expected"):
        rotation_angle(torch.eye(3), torch.zeros(3))
