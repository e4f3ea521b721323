"""Meshes, lights and built-in shapes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from lumigrad.scene import Lighting, Mesh, PBRMaterial, PhongMaterial
from lumigrad.scene.shapes.procedural import creature, icosphere, sphere_uvs, subdivide


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


def test_meshes_are_made_within_torch_func() -> None:
    """Indices are checked there, too: the volume of a ball grows with the area of its faces."""
    ball = icosphere(1)

    def volume(positions: torch.Tensor) -> torch.Tensor:
        mesh = Mesh(positions, ball.faces)
        return (mesh.positions[mesh.faces[:, 0]] * mesh.face_normals()).sum() / 6

    gradient = torch.func.grad(volume)(ball.positions)
    assert torch.allclose((gradient * ball.positions).sum(), 3 * volume(ball.positions), rtol=1e-4)  # Euler
    _, along = torch.func.jvp(volume, (ball.positions,), (ball.positions,))
    assert torch.allclose(along, 3 * volume(ball.positions), rtol=1e-4)
    with pytest.raises(ValueError, match="faces: expected indices in"):
        torch.func.grad(lambda positions: Mesh(positions, ball.faces + 40).positions.sum())(ball.positions)


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


def furnished() -> Mesh:
    """A sphere with every field."""
    sphere = icosphere(1)
    uvs, uv_faces = sphere_uvs(sphere.positions, sphere.faces)
    materials = (PhongMaterial(name="a"), PBRMaterial(name="b", base_color_texture=torch.rand(4, 4, 3)))
    return Mesh(
        sphere.positions, sphere.faces, uvs, uv_faces, None, torch.rand(42, 3), sphere.positions, sphere.faces,
        materials, torch.arange(80) % 2,
    )  # fmt: skip


def test_transformed_normals_stay_perpendicular_and_outside() -> None:
    generator = torch.Generator().manual_seed(0)
    for mirror in (1.0, -1.0):
        matrix = torch.eye(4, dtype=torch.float64)
        matrix[:3] = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        if float(torch.linalg.det(matrix)) * mirror < 0:
            matrix[:3, 0] *= -1
        mesh = furnished().to(torch.float64).transformed(matrix)
        assert signed_volume(mesh) > 0
        torch.testing.assert_close(mesh.positions, furnished().positions.double() @ matrix[:3, :3].T + matrix[:3, 3])
        # An ellipsoid |A^-1 (x - t)| = 1 has the gradient A^-T A^-1 (x - t).
        inverse = torch.linalg.inv(matrix[:3, :3])
        gradient = (mesh.positions - matrix[:3, 3]) @ inverse.T @ inverse
        expected = torch.nn.functional.normalize(gradient, dim=-1)
        torch.testing.assert_close(mesh.normals, expected, atol=1e-6, rtol=0)
        assert torch.equal(mesh.normal_faces, mesh.faces)
    flat = furnished().transformed(torch.diag(torch.tensor([1.0, 1, 0, 1])))
    assert flat.normals is not None
    assert flat.normals.isfinite().all()
    with pytest.raises(ValueError, match="matrix: expected shape"):
        furnished().transformed(torch.eye(3))


def test_submesh_keeps_what_its_faces_use() -> None:
    mesh = furnished()
    chosen = torch.arange(80) % 3 == 0
    part = mesh.submesh(chosen)
    assert len(part.faces) == 27
    assert len(part.positions) == len(torch.unique(mesh.faces[chosen]))
    for name, index in (("positions", "faces"), ("uvs", "uv_faces"), ("colors", "faces"), ("normals", "normal_faces")):
        ours, theirs = getattr(part, name)[getattr(part, index)], getattr(mesh, name)[getattr(mesh, index)[chosen]]
        assert torch.equal(ours, theirs), name
    assert torch.equal(part.face_materials, mesh.face_materials[chosen])
    assert torch.equal(mesh.submesh(torch.nonzero(chosen)[:, 0]).faces, part.faces)


def test_authored_normals_win() -> None:
    assert furnished().shading_normals()[0] is not None
    up = torch.tensor([[0.0, 1, 0]])
    mesh = Mesh(torch.eye(3), torch.tensor([[0, 1, 2]]), normals=up, normal_faces=torch.zeros(1, 3, dtype=torch.int64))
    assert mesh.shading_normals()[0] is up
    smooth, index = Mesh(torch.eye(3), torch.tensor([[0, 1, 2]])).shading_normals()
    torch.testing.assert_close(smooth, torch.full((3, 3), 3**-0.5))
    assert index.tolist() == [[0, 1, 2]]


def test_conversion_takes_materials_along() -> None:
    mesh = furnished().to(torch.float64)
    assert mesh.materials[1].base_color_texture.dtype == torch.float64  # type: ignore[attr-defined]
    assert mesh.normals is not None
    assert mesh.normals.dtype == torch.float64
    assert mesh.face_materials is not None
    assert mesh.face_materials.dtype == torch.int64


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"normals": torch.zeros(2, 3)}, ValueError, "normal_faces"),
        ({"normals": torch.zeros(3, 2)}, ValueError, "normals: expected"),
        ({"normal_faces": torch.zeros(1, 3, dtype=torch.int64)}, ValueError, "normals: expected"),
        ({"materials": [PhongMaterial()]}, TypeError, "materials: expected a tuple"),
        ({"materials": ("red",)}, TypeError, "materials: expected a tuple"),
        ({"face_materials": torch.zeros(1, dtype=torch.int64)}, ValueError, "face_materials: expected indices"),
        ({"materials": (PhongMaterial(),), "face_materials": torch.zeros(2, dtype=torch.int64)}, ValueError,
         "face_materials: expected integers"),
        ({"materials": (PhongMaterial(),), "face_materials": torch.zeros(1)}, ValueError,
         "face_materials: expected integers"),
    ],
)  # fmt: skip
def test_wrong_normals_and_materials(change: dict, error: type[Exception], message: str) -> None:
    good = {"positions": torch.zeros(3, 3), "faces": torch.tensor([[0, 1, 2]])}
    with pytest.raises(error, match=message):
        Mesh(**{**good, **change})


def test_batches_of_one_template() -> None:
    ball = icosphere(1)
    matrix = torch.tensor([[0.0, 2, 0, 1], [1, 0, 0, 0], [0, 0, 1, 3], [0, 0, 0, 1]])
    batch = Mesh(torch.stack([ball.positions, 2 * ball.positions]), ball.faces, colors=ball.positions.abs())
    assert batch.shape == (2,)
    assert [mesh.shape for mesh in batch.unbind()] == [(), ()]
    for n, mesh in enumerate(batch.unbind()):
        torch.testing.assert_close(batch.vertex_normals()[n], mesh.vertex_normals())
        torch.testing.assert_close(batch.face_normals()[n], mesh.face_normals())
        torch.testing.assert_close(batch.transformed(matrix).unbind()[n].positions, mesh.transformed(matrix).positions)
        part = torch.arange(3)
        torch.testing.assert_close(batch.submesh(part).positions[n], mesh.submesh(part).positions)
    assert torch.equal(batch.bounds()[1], 2 * ball.bounds()[1])
    for call in (batch.shading_normals, lambda: batch.creased(30.0)):
        with pytest.raises(ValueError, match=r"positions: .* needs a single mesh \[V, 3\], got a batch \[2, 42, 3\]"):
            call()


@pytest.mark.parametrize("name", ["positions", "faces", "uvs", "colors", "texture"])
def test_arrays_are_told_from_tensors(name: str) -> None:
    ball = creature(1)
    values = {key: getattr(ball, key) for key in ("positions", "faces", "uvs", "uv_faces", "texture")}
    with pytest.raises(TypeError, match=rf"{name}: expected a torch\.Tensor, got ndarray; torch\.from_numpy"):
        Mesh(**{**values, name: ball.positions.numpy()})


@pytest.mark.parametrize("name", ["positions", "uvs", "normals", "second_uvs", "colors", "texture"])
def test_whole_numbers_are_refused_by_name(name: str) -> None:
    ball = creature(1)
    other = {"normals": ball.vertex_normals(), "second_uvs": ball.uvs, "second_uv_faces": ball.uv_faces}
    ball = replace(ball, **other, colors=torch.rand(len(ball.positions), 3))
    with pytest.raises(TypeError, match=rf"{name}: expected a floating type, got int64; convert it with Tensor\.float"):
        replace(ball, **{name: getattr(ball, name).long()})
