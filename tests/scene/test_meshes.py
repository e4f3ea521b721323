"""Batches of meshes: views, indexing, joining, and rendering them in one call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import lumigrad as lg
from lumigrad.io import load_mesh
from lumigrad.scene import Mesh, Meshes, OrthographicCamera, PBRMaterial, PerspectiveCamera, PhongMaterial
from lumigrad.scene.shapes.procedural import creature, icosphere


def triangle(**fields: object) -> Mesh:
    positions = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    return Mesh(positions, torch.tensor([[0, 1, 2]]), **fields)  # type: ignore[arg-type]


def batch() -> Meshes:
    return Meshes.join([triangle(), icosphere(0), creature(1, 8), triangle()])


def same(a: Mesh, b: Mesh) -> None:
    for name in ("positions", "faces", "uvs", "uv_faces", "texture", "colors", "normals", "normal_faces"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        assert x is None or torch.equal(x, y), name


def test_views_by_hand() -> None:
    meshes = Meshes.join([triangle(), icosphere(0)])
    assert len(meshes) == 2
    assert meshes.positions_packed.shape == (15, 3)
    assert meshes.faces_packed[:2].tolist() == [[0, 1, 2], [3, 14, 8]]
    assert meshes.ranges.tolist() == [[0, 1], [1, 20]]
    assert meshes.mesh_of_vertex.tolist() == [0] * 3 + [1] * 12
    assert meshes.mesh_of_face.tolist() == [0] + [1] * 20
    padded = meshes.positions_padded()
    assert padded.shape == (2, 12, 3)
    assert torch.equal(padded[0, :3], triangle().positions)
    assert (padded[0, 3:] == 0).all()
    assert torch.equal(padded[1], icosphere(0).positions)
    faces = meshes.faces_padded()
    assert faces.shape == (2, 20, 3)
    assert faces[0, :2].tolist() == [[0, 1, 2], [-1, -1, -1]]
    assert torch.equal(faces[1], icosphere(0).faces)
    for ours, theirs in zip(meshes.faces_list(), (triangle(), icosphere(0)), strict=True):
        assert torch.equal(ours, theirs.faces)


def test_indexing() -> None:
    plain = Meshes.join([triangle(), icosphere(0), icosphere(1)])
    same(plain[1], icosphere(0))  # type: ignore[arg-type]
    same(plain[-1], icosphere(1))  # type: ignore[arg-type]
    for index in ([2, 0], torch.tensor([2, 0]), slice(None, None, -2)):
        some = plain[index]
        assert isinstance(some, Meshes)
        assert [len(m.faces) for m in some] == [80, 1]
    assert len(plain[torch.tensor([True, False, True])]) == 2  # type: ignore[arg-type]
    for wrong, error in ((3, IndexError), ([0, -4], IndexError), (torch.tensor([True]), IndexError), ("a", TypeError)):
        with pytest.raises(error, match="index"):
            plain[wrong]  # type: ignore[index]


def test_missing_parts_are_filled_in() -> None:
    normals = torch.tensor([[0.0, 0, 1]])
    authored = triangle(normals=normals, normal_faces=torch.zeros(1, 3, dtype=torch.int64))
    meshes = Meshes.join([icosphere(0), creature(1, 8), triangle(colors=torch.eye(3)), authored])
    sphere, painted, coloured, shaped = meshes
    torch.testing.assert_close(sphere.shading_normals()[0], icosphere(0).vertex_normals())
    assert sphere.uvs is not None
    assert sphere.uvs.tolist() == [[0, 0]]
    assert sphere.colors is not None
    assert (sphere.colors == 1).all()
    assert painted.texture is not None
    assert torch.equal(painted.uvs[painted.uv_faces], creature(1, 8).uvs[creature(1, 8).uv_faces])  # type: ignore[index]
    assert torch.equal(coloured.colors, torch.eye(3))  # type: ignore[arg-type]
    assert torch.equal(shaped.normals, normals)  # type: ignore[arg-type]


def test_joining_batches_keeps_order_and_materials() -> None:
    red, blue = PhongMaterial(name="red"), PBRMaterial(name="blue")
    two = replace(icosphere(0), materials=(red, blue), face_materials=torch.arange(20) % 2)
    meshes = Meshes.join([triangle(), Meshes.join([two, creature(1, 8)]), triangle(materials=(blue,))])
    assert [m.materials for m in meshes] == [(), (red, blue), (), (blue,)]
    assert torch.equal(meshes[1].face_materials, two.face_materials)  # type: ignore[union-attr, arg-type]
    scene = meshes.as_scene()
    assert [m.name for m in scene.materials] == ["", "red", "blue", "", "blue"]
    assert scene.materials[3].diffuse_texture is not None  # type: ignore[attr-defined]
    assert scene.face_materials is not None
    assert scene.face_materials[:5].tolist() == [0, 1, 2, 1, 2]
    assert scene.face_materials[-1] == 4
    assert torch.equal(scene.positions, meshes.positions_packed)
    plain = Meshes.join([triangle(), icosphere(0)]).as_scene()
    assert plain.materials == ()


def test_gradients_reach_the_parts() -> None:
    one, two = (mesh.positions.clone().requires_grad_() for mesh in (triangle(), icosphere(0)))
    meshes = Meshes.join([Mesh(one, triangle().faces), Mesh(two, icosphere(0).faces)])
    (meshes.transformed(2 * torch.eye(4))[0].positions.sum() + 3 * meshes.positions_padded()[1].sum()).backward()
    assert (one.grad == 2).all()
    assert (two.grad == 3).all()
    moved = meshes.with_positions(meshes.positions_packed + 1)
    torch.testing.assert_close(moved[1].positions, two + 1)  # type: ignore[union-attr]


def test_transforms_are_those_of_the_single_meshes() -> None:
    matrices = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(0))
    matrices[1] = torch.diag(torch.tensor([-1.0, 2, 3, 1]))
    moved = batch().transformed(matrices)
    for i, mesh in enumerate(batch()):
        same(moved[i], mesh.transformed(matrices[i]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="matrix: expected one for each"):
        batch().transformed(matrices[:2])
    with pytest.raises(ValueError, match="matrix: expected shape"):
        batch().transformed(torch.eye(3))


def test_moving_converts_everything_but_indices() -> None:
    meshes = batch().to(torch.float64)
    assert meshes.positions_packed.dtype == meshes.packed.uvs.dtype == torch.float64  # type: ignore[union-attr]
    assert meshes.textures[2].dtype == torch.float64  # type: ignore[union-attr]
    assert meshes.faces_packed.dtype == torch.int64


def test_wrong_batches_name_the_culprit() -> None:
    with pytest.raises(ValueError, match="parts: expected at least one"):
        Meshes.join([])
    with pytest.raises(TypeError, match="parts: expected Mesh or Meshes"):
        Meshes.join([torch.zeros(3)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="positions: expected the same kind"):
        Meshes.join([triangle(), triangle().to(torch.float64)])
    with pytest.raises(ValueError, match="colors: expected the same kind"):
        Meshes.join([triangle(colors=torch.eye(3)), triangle(colors=torch.ones(3, 1))])
    with pytest.raises(ValueError, match="camera: expected batch shape"):
        batch().project(PerspectiveCamera.orbit(torch.zeros(2), 0.0, 2.0, 40.0, (4, 4)))
    with pytest.raises(ValueError, match="tri: expected one image"):
        batch().local_triangles(torch.zeros(2, 3, 3, dtype=torch.int32))


def render(
    clip: torch.Tensor, faces: torch.Tensor, size: tuple[int, int], ranges: torch.Tensor | None
) -> list[torch.Tensor]:
    """Everything three ops make of positions, and what flows back to them."""
    clip = clip.detach().requires_grad_()
    frags = lg.rasterize(clip, faces, size, ranges=ranges)
    color, _ = lg.interpolate(torch.sin(3 * clip[:, :3]), frags, faces, derivatives=True)
    image = lg.antialias(torch.cat([color, (frags.tri >= 0)[..., None].to(color.dtype)], -1), frags, clip, faces)
    (image**2).sum().backward()
    assert clip.grad is not None
    return [frags.tri, frags.bary, frags.depth, frags.bary_d, color.detach(), image.detach(), clip.grad]  # type: ignore[list-item]


@pytest.mark.parametrize("several", [False, True])
def test_one_call_equals_single_calls_bit_for_bit(shared: Path, several: bool) -> None:
    names = ("suzanne", "cow", "stanford-bunny", "teapot")
    paths = [shared / "data" / "meshes" / f"{name}.obj" for name in names]
    if not all(path.is_file() for path in paths):
        pytest.skip("needs the meshes suzanne, cow, bunny and teapot")
    singles = []
    for path in paths:
        mesh = load_mesh(path, materials=False)
        low, high = mesh.bounds()
        singles.append(replace(mesh, positions=(mesh.positions - (low + high) / 2) / (high - low).max()))
    azimuth = torch.tensor([20.0, 110.0, 200.0, 290.0]) if several else 30.0
    camera = PerspectiveCamera.orbit(azimuth, 15.0, 2.0, 40.0, (96, 128))
    meshes = Meshes.join(singles)
    clip = meshes.project(camera)
    together = render(clip, meshes.faces_packed, camera.size, meshes.ranges)
    assert all(int((tri >= 0).sum()) > 500 for tri in together[0])
    local = meshes.local_triangles(together[0])
    for i, mesh in enumerate(singles):
        one = camera[i] if several else camera
        alone = render(one.project(mesh.positions), mesh.faces, camera.size, None)
        assert torch.equal(local[i], alone[0][0])
        for ours, theirs in zip(together[1:-1], alone[1:-1], strict=True):
            assert torch.equal(ours[i], theirs[0])
        assert torch.equal(meshes.vertices.part(together[-1], i), alone[-1])


def test_an_orthographic_batch_renders() -> None:
    meshes = Meshes.join([triangle(), icosphere(2)])
    camera = OrthographicCamera.from_height(4.0, (40, 40), near=-5.0, far=5.0)
    frags = lg.rasterize(meshes.project(camera), meshes.faces_packed, camera.size, ranges=meshes.ranges)
    covered = (frags.tri >= 0).flatten(1).sum(1)
    # 10 pixels a unit: half a square, and a disc.
    assert covered[0] == pytest.approx(50, abs=6)
    assert covered[1] == pytest.approx(314, abs=12)
