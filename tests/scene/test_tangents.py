"""Tangents: single triangles by hand, a sphere's closed form, derivatives."""

from __future__ import annotations

import pytest
import torch

from lumigrad.scene import Mesh
from lumigrad.scene.shapes.procedural import icosphere, sphere_uvs

F64 = torch.float64


def square(uvs: list[list[float]]) -> Mesh:
    """[0, 1]^2 in the xy plane, seen from +z."""
    positions = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=F64)
    return Mesh(positions, torch.tensor([[0, 1, 2], [0, 2, 3]]), torch.tensor(uvs, dtype=F64))


@pytest.mark.parametrize(
    ("uvs", "tangent", "handedness"),
    [
        ([[0, 1], [1, 1], [1, 0], [0, 0]], [1, 0, 0], 1),  # upright: v falls along +y
        ([[1, 1], [0, 1], [0, 0], [1, 0]], [-1, 0, 0], -1),  # mirrored left to right
        ([[0, 0], [1, 0], [1, 1], [0, 1]], [1, 0, 0], -1),  # upside down
        ([[1, 1], [1, 0], [0, 0], [0, 1]], [0, -1, 0], 1),  # turned by a quarter
    ],
)
def test_square_by_hand(uvs: list[list[float]], tangent: list[float], handedness: float) -> None:
    tangents, index = square(uvs).tangents()
    assert tangents.shape == (4, 4)
    torch.testing.assert_close(
        tangents[index].reshape(6, 4), torch.tensor([*tangent, handedness], dtype=F64).expand(6, 4)
    )
    # The bitangent points where v falls.
    mesh = square(uvs)
    bitangent = tangents[index][0, 0, 3] * torch.linalg.cross(torch.tensor([0, 0, 1.0], dtype=F64), tangents[0, :3])
    centre = torch.tensor([0.5, 0.5, 0.0], dtype=F64)
    values = [float(m) for m in _v_at(mesh, torch.stack([centre - 0.1 * bitangent, centre + 0.1 * bitangent]))]
    assert values[1] < values[0]


def _v_at(mesh: Mesh, points: torch.Tensor) -> torch.Tensor:
    """v is affine over the square."""
    assert mesh.uvs is not None
    origin, right, up = mesh.uvs[0, 1], mesh.uvs[1, 1] - mesh.uvs[0, 1], mesh.uvs[3, 1] - mesh.uvs[0, 1]
    return origin + points[:, 0] * right + points[:, 1] * up


def test_sphere_tangents_run_along_parallels() -> None:
    sphere = icosphere(3).to(F64)
    uvs, uv_faces = sphere_uvs(sphere.positions, sphere.faces)
    mesh = Mesh(sphere.positions, sphere.faces, uvs, uv_faces, normals=sphere.positions)
    tangents, index = mesh.tangents()
    points, found = sphere.positions[sphere.faces].reshape(-1, 3), tangents[index].reshape(-1, 4)
    assert (found[:, 3] == 1).all()
    torch.testing.assert_close((found[:, :3] * points).sum(-1), torch.zeros(len(points), dtype=F64))
    # u grows towards +x on the near side: along the horizontal direction (z, 0, -x).
    away = points[:, 1].abs() < 0.8
    parallel = torch.stack([points[:, 2], 0 * points[:, 1], -points[:, 0]], dim=-1)
    parallel = torch.nn.functional.normalize(parallel, dim=-1)
    assert float((found[:, :3] * parallel).sum(-1)[away].min()) > 0.97


def test_mirrored_halves_do_not_share_tangents() -> None:
    """Two triangles with one texture mirrored about their shared edge: vertices of the edge have two tangents."""
    positions = torch.tensor([[0.0, 0, 0], [1, -1, 0], [0, 1, 0], [-1, -1, 0]], dtype=F64)
    mesh = Mesh(
        positions, torch.tensor([[0, 1, 2], [0, 2, 3]]),
        torch.tensor([[0.0, 0.5], [1, 1], [0, 0]], dtype=F64), torch.tensor([[0, 1, 2], [0, 2, 1]]),
    )  # fmt: skip
    tangents, index = mesh.tangents()
    assert len(tangents) == 6
    torch.testing.assert_close(tangents[index][0], torch.tensor([[1.0, 0, 0, 1]] * 3, dtype=F64))
    torch.testing.assert_close(tangents[index][1], torch.tensor([[-1.0, 0, 0, -1]] * 3, dtype=F64))


def test_corners_are_weighted_by_their_angles() -> None:
    """At the origin a face of 90 degrees has its tangent along x, one of 45 along the diagonal."""
    positions = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 1, 0]], dtype=F64)
    # The same coordinate at the shared corners; the second face's u falls along (-1, -1).
    uvs = torch.tensor([[0.0, 0], [1, 0], [0, -1], [-1, 0]], dtype=F64)
    mesh = Mesh(positions, torch.tensor([[0, 1, 2], [0, 2, 3]]), uvs)
    tangents, index = mesh.tangents()
    second = torch.tensor([1.0, -1.0, 0.0], dtype=F64) / 2**0.5  # dP/du of it, by solving its two equations
    expected = torch.nn.functional.normalize(2 * torch.tensor([1.0, 0, 0], dtype=F64) + second, dim=0)
    torch.testing.assert_close(tangents[index[0, 0], :3], expected)


def test_degenerate_input_is_finite_without_gradient() -> None:
    mesh = square([[0.5, 0.5]] * 4)
    uvs = mesh.uvs.clone().requires_grad_()  # type: ignore[union-attr]
    positions = torch.cat([mesh.positions, mesh.positions[:1]]).requires_grad_()
    faces = torch.tensor([[0, 1, 2], [0, 0, 0], [0, 2, 3], [0, 4, 0]])
    tangents, _ = Mesh(positions, faces, uvs, faces.clamp_max(3), normals=torch.eye(3, dtype=F64)[[2] * 5]).tangents()
    assert tangents.isfinite().all()
    torch.testing.assert_close(tangents[:, :3].norm(dim=-1), torch.ones(len(tangents), dtype=F64))
    assert (tangents[:, 2] == 0).all()
    tangents.sum().backward()
    assert (uvs.grad == 0).all()
    assert (positions.grad == 0).all()


def test_gradients() -> None:
    sphere = icosphere(0).to(F64)
    uvs, uv_faces = sphere_uvs(sphere.positions, sphere.faces)
    random = torch.Generator().manual_seed(0)
    uvs = uvs + 0.02 * torch.randn(uvs.shape, dtype=F64, generator=random)
    chosen = torch.arange(6)
    inputs = [value.clone().requires_grad_() for value in (sphere.positions, uvs, sphere.positions)]

    def tangents(positions: torch.Tensor, uvs: torch.Tensor, normals: torch.Tensor) -> torch.Tensor:
        mesh = Mesh(positions, sphere.faces[chosen], uvs, uv_faces[chosen], normals=normals)
        return mesh.tangents()[0][:, :3]

    assert torch.autograd.gradcheck(tangents, inputs)


def test_normals_have_gradients() -> None:
    sphere = icosphere(0).to(F64)
    positions = sphere.positions.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: Mesh(p, sphere.faces).vertex_normals(), positions)
    assert torch.autograd.gradcheck(lambda p: Mesh(p, sphere.faces).face_normals(), positions)


def test_tangents_need_coordinates() -> None:
    with pytest.raises(ValueError, match="uvs: tangents need"):
        icosphere(0).tangents()
