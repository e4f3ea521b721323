"""Meshes, lights and built-in shapes."""

from __future__ import annotations

import math

import pytest
import torch

from lumigrad.scene import Lighting, Mesh
from lumigrad.scene.procedural import creature, icosphere, sphere_uvs, subdivide


def signed_volume(mesh: Mesh) -> float:
    a, b, c = mesh.positions.double()[mesh.faces].unbind(1)
    return float((torch.linalg.cross(a, b) * c).sum() / 6)


def edge_uses(faces: torch.Tensor) -> torch.Tensor:
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return torch.unique(edges.sort(1).values, dim=0, return_counts=True)[1]


def test_icosphere() -> None:
    sphere = icosphere(3, radius=2.0)
    assert sphere.positions.shape == (10 * 4**3 + 2, 3)
    assert sphere.faces.shape == (20 * 4**3, 3)
    torch.testing.assert_close(sphere.positions.norm(dim=-1), torch.full((642,), 2.0))
    assert (edge_uses(sphere.faces) == 2).all()
    assert signed_volume(sphere) == pytest.approx(4 / 3 * math.pi * 8, rel=0.02)
    with pytest.raises(ValueError, match="level"):
        icosphere(9)


def test_normals_point_outwards() -> None:
    sphere = icosphere(2)
    torch.testing.assert_close(sphere.vertex_normals(), sphere.positions, atol=0.05, rtol=0)
    faces = sphere.positions[sphere.faces].mean(1)
    assert ((sphere.face_normals() * faces).sum(-1) > 0).all()


def test_normals_of_loose_vertices_are_zero_with_finite_gradients() -> None:
    positions = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]], requires_grad=True)
    normals = Mesh(positions, torch.tensor([[0, 1, 2]])).vertex_normals()
    torch.testing.assert_close(normals[3], torch.zeros(3))
    normals.sum().backward()
    assert positions.grad is not None
    assert positions.grad.isfinite().all()


def test_subdivide_keeps_area_and_orientation() -> None:
    triangle = Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2]]))
    finer = Mesh(*subdivide(triangle.positions, triangle.faces))
    assert len(finer.faces) == 4
    torch.testing.assert_close(finer.face_normals(), torch.tensor([[0.0, 0, 0.25]]).expand(4, 3))


def test_sphere_uvs_do_not_jump() -> None:
    sphere = icosphere(3)
    uvs, uv_faces = sphere_uvs(sphere.positions, sphere.faces)
    u = uvs[uv_faces][..., 0]
    assert float((u.amax(1) - u.amin(1)).max()) < 0.5
    direction = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    uvs, _ = sphere_uvs(direction, torch.tensor([[0, 1, 2]]))
    torch.testing.assert_close(uvs, torch.tensor([[0.5, 0.5], [0.75, 0.5], [0.625, 0.0]]))


def test_creature_is_closed_outward_and_painted() -> None:
    mesh = creature(level=3, texture_height=32)
    assert (edge_uses(mesh.faces) == 2).all()
    assert signed_volume(mesh) > 0.5
    assert mesh.texture is not None
    assert mesh.texture.shape == (32, 64, 3)
    assert mesh.texture.min() >= 0
    assert mesh.texture.max() <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": torch.zeros(3, 2)}, "positions"),
        ({"faces": torch.tensor([[0, 1, 3]])}, "faces"),
        ({"faces": torch.tensor([[0, 1, -1]])}, "faces"),
        ({"faces": torch.zeros(1, 3)}, "faces"),
        ({"uvs": torch.zeros(2, 2)}, "uv_faces"),
        ({"uvs": torch.zeros(3, 3)}, "uvs"),
        ({"uv_faces": torch.zeros(1, 3, dtype=torch.int64)}, "uvs"),
        ({"uvs": torch.zeros(3, 2), "uv_faces": torch.zeros(2, 3, dtype=torch.int64)}, "uv_faces"),
        ({"texture": torch.zeros(4, 4)}, "texture"),
        ({"colors": torch.zeros(2, 3)}, "colors"),
    ],
)
def test_wrong_meshes_name_the_culprit(change: dict, message: str) -> None:
    good = {"positions": torch.zeros(3, 3), "faces": torch.tensor([[0, 1, 2]])}
    with pytest.raises(ValueError, match=message):
        Mesh(**{**good, **change})


def test_conversion_keeps_indices() -> None:
    mesh = creature(level=1, texture_height=4).to(torch.float64)
    assert mesh.positions.dtype == torch.float64
    assert mesh.texture is not None
    assert mesh.texture.dtype == torch.float64
    assert mesh.faces.dtype == torch.int64


def test_shading_by_hand() -> None:
    positions = torch.zeros(1, 3)
    normals = torch.tensor([[0.0, 0.0, 1.0]])
    eyes = torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.0, -3.0], [3.0, 0.0, 3.0]])
    lighting = Lighting(0.1, 0.5, ((0.0, 2.0, 2.0),), (0.4,))
    side = 0.1 + 0.4 * math.sqrt(0.5)
    expected = torch.tensor([side + 0.5, side, side + 0.5 * math.sqrt(0.5)])
    torch.testing.assert_close(lighting.shade(positions, normals, eyes)[:, 0, 0], expected)
    torch.testing.assert_close(Lighting.unlit().shade(positions, normals, eyes), torch.ones(3, 1, 1))
    with pytest.raises(ValueError, match="intensities"):
        Lighting(directions=(), intensities=(1.0,))
