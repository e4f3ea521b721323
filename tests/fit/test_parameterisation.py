"""Laplacian, preconditioned parameters, and their optimiser."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lumigrad.fit import AdamUniform, LargeSteps, laplacian, laplacian_energy
from lumigrad.fit._laplacian import unique_edges
from lumigrad.scene.shapes.procedural import icosphere


def dense_laplacian(faces: torch.Tensor, count: int) -> np.ndarray:
    matrix = np.zeros((count, count))
    for a, b, c in faces.tolist():
        for i, j in ((a, b), (b, c), (c, a)):
            matrix[i, j] = matrix[j, i] = -1
    return matrix - np.diag(matrix.sum(1))


def test_laplacian_against_loops() -> None:
    sphere = icosphere(1)
    np.testing.assert_array_equal(laplacian(sphere.faces, 42).toarray(), dense_laplacian(sphere.faces, 42))


def test_unique_edges() -> None:
    edges = unique_edges(torch.tensor([[2, 0, 1], [1, 3, 2]]))
    assert edges.tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]


def test_laplacian_energy_against_dense() -> None:
    sphere = icosphere(1)
    values = torch.randn(42, 2, dtype=torch.float64, requires_grad=True)
    dense = torch.from_numpy(dense_laplacian(sphere.faces, 42))
    edges = unique_edges(sphere.faces)
    torch.testing.assert_close(laplacian_energy(values, edges), (dense @ values).square().sum(-1).mean())
    assert torch.autograd.gradcheck(lambda v: laplacian_energy(v, edges), (values,))


def test_solve_against_dense() -> None:
    sphere = icosphere(1)
    system = LargeSteps(sphere.faces, 42, strength=7.0)
    dense = np.eye(42) + 7 * dense_laplacian(sphere.faces, 42)
    values = torch.randn(42, 3, dtype=torch.float64)
    np.testing.assert_allclose(system.solve(values).numpy(), np.linalg.solve(dense, values.numpy()), atol=1e-12)


def test_positions_and_parameters_are_inverse() -> None:
    sphere = icosphere(2)
    system = LargeSteps(sphere.faces, len(sphere.positions), strength=20.0)
    again = system.to_positions(system.from_positions(sphere.positions))
    torch.testing.assert_close(again, sphere.positions, atol=1e-5, rtol=0)


def test_gradients_pass_through_the_solve() -> None:
    sphere = icosphere(0)
    system = LargeSteps(sphere.faces, 12, strength=3.0)
    parameter = torch.randn(12, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(system.to_positions, (parameter,))
    assert torch.autograd.gradgradcheck(system.to_positions, (parameter,))


def test_unused_vertices_stay_put() -> None:
    system = LargeSteps(torch.tensor([[0, 1, 2]]), 4, strength=5.0)
    values = torch.randn(4, 3)
    torch.testing.assert_close(system.solve(values)[3], values[3])


def test_strength_is_checked() -> None:
    with pytest.raises(ValueError, match="strength"):
        LargeSteps(torch.tensor([[0, 1, 2]]), 3, strength=-1.0)


def test_adam_uniform_first_step_by_hand() -> None:
    # After one step the moments' corrections cancel: the step is rate * gradient / largest |gradient|.
    parameter = torch.zeros(3, requires_grad=True)
    parameter.grad = torch.tensor([1.0, -4.0, 2.0])
    AdamUniform([parameter], lr=0.1).step()
    torch.testing.assert_close(parameter.detach(), torch.tensor([-0.025, 0.1, -0.05]))


def test_adam_uniform_survives_zero_gradients_and_descends() -> None:
    parameter = torch.tensor([1.0, -2.0], requires_grad=True)
    optimizer = AdamUniform([parameter], lr=0.05, betas=(0.9, 0.99))
    parameter.grad = torch.zeros(2)
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), torch.tensor([1.0, -2.0]))
    for _ in range(200):
        optimizer.zero_grad()
        parameter.square().sum().backward()
        optimizer.step()
    assert parameter.abs().max() < 0.1
