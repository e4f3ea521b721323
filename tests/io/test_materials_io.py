"""Materials in mesh files: files written by hand, and round trips of every field."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lumigrad.io import FileWarning, load_mesh, save_mesh
from lumigrad.scene import Material, Mesh, PBRMaterial, PhongMaterial
from lumigrad.scene.shapes.procedural import creature, icosphere, sphere_uvs


def image(channels: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (4, 8, channels), generator=generator).float() / 255


def same(ours: Material, theirs: Material, tolerance: float = 1e-6) -> None:
    assert type(ours) is type(theirs)
    for field in fields(theirs):
        a, b = getattr(ours, field.name), getattr(theirs, field.name)
        if isinstance(b, torch.Tensor):
            assert isinstance(a, torch.Tensor), field.name
            torch.testing.assert_close(a, b, atol=tolerance, rtol=0, msg=lambda m, n=field.name: f"{n}: {m}")
        elif isinstance(b, float):
            assert a == pytest.approx(b, abs=tolerance), field.name
        else:
            assert a == b, field.name


def full_pbr() -> PBRMaterial:
    return PBRMaterial(
        name="painted metal", alpha_mode="mask", alpha_cutoff=0.3, double_sided=False,
        base_color=torch.tensor([0.123, 0.456, 0.789, 0.6]), base_color_texture=image(4, 1),
        metallic=0.37, roughness=0.71, metallic_roughness_texture=image(3, 2),
        normal_texture=image(3, 3), normal_scale=0.8, occlusion_texture=image(1, 4), occlusion_strength=0.4,
        emissive=torch.tensor([0.5, 2.0, 1.0]), emissive_texture=image(3, 5),
    )  # fmt: skip


def full_phong() -> PhongMaterial:
    return PhongMaterial(
        name="varnish", alpha_mode="blend", ambient=torch.tensor([0.11, 0.22, 0.33]),
        diffuse=torch.tensor([0.5, 0.123, 1.0]), specular=torch.tensor([0.3, 0.2, 0.1]), shininess=33.3,
        diffuse_texture=image(4, 1), specular_texture=image(3, 2),
        normal_texture=image(3, 3), emissive=torch.tensor([0.0, 0.1, 0.2]), alpha=0.75,
    )  # fmt: skip


def sphere(materials: tuple[Material, ...], textured: bool = True) -> Mesh:
    """Faces in runs of one material; normals that are not the smooth ones."""
    mesh = icosphere(1)
    normals = torch.nn.functional.normalize(mesh.positions + torch.tensor([0.3, 0.0, 0.1]), dim=-1)
    uvs, uv_faces = sphere_uvs(mesh.positions, mesh.faces) if textured else (None, None)
    chosen = torch.arange(80) * len(materials) // 80
    return Mesh(
        mesh.positions, mesh.faces, uvs, uv_faces, normals=normals, materials=materials,
        face_materials=chosen if len(materials) > 1 else None,
    )  # fmt: skip


def check_geometry(ours: Mesh, theirs: Mesh) -> None:
    """The same corners, face after face, and a welded surface."""
    assert ours.positions.shape == theirs.positions.shape
    for name, index in (("positions", "faces"), ("uvs", "uv_faces"), ("normals", "normal_faces")):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert (a is None) == (b is None), name
        if b is not None:
            torch.testing.assert_close(a[getattr(ours, index)], b[getattr(theirs, index)], atol=1e-6, rtol=0)


@pytest.mark.parametrize("suffix", ["glb", "obj"])
@pytest.mark.parametrize("textured", [False, True])
def test_one_material_round_trip(tmp_path: Path, suffix: str, textured: bool) -> None:
    material: Material = full_pbr() if suffix == "glb" else full_phong()
    save_mesh(sphere((material,), textured), tmp_path / f"a.{suffix}")
    mesh = load_mesh(tmp_path / f"a.{suffix}")
    check_geometry(mesh, sphere((material,), textured))
    assert len(mesh.materials) == 1
    same(mesh.materials[0], material)
    assert mesh.face_materials is None


@pytest.mark.parametrize("suffix", ["glb", "obj"])
def test_several_materials_round_trip(tmp_path: Path, suffix: str) -> None:
    kind: Any = PBRMaterial if suffix == "glb" else PhongMaterial
    color = "base_color" if suffix == "glb" else "diffuse"
    plain = kind(name="plain", **{color: torch.tensor([0.2, 0.4, 0.6])})
    twin = replace(plain, name="twin")
    full: Material = full_pbr() if suffix == "glb" else full_phong()
    original = sphere((plain, full, twin))
    save_mesh(original, tmp_path / f"a.{suffix}")
    mesh = load_mesh(tmp_path / f"a.{suffix}")
    check_geometry(mesh, original)
    for ours, theirs in zip(mesh.materials, original.materials, strict=True):
        same(ours, theirs)
    assert mesh.face_materials is not None
    assert torch.equal(mesh.face_materials, original.face_materials)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["glb", "obj"])
@pytest.mark.parametrize("kind", [PBRMaterial, PhongMaterial])
def test_unlit_round_trip(tmp_path: Path, suffix: str, kind: Any) -> None:
    for unlit in (True, False):
        save_mesh(sphere((kind(unlit=unlit),)), tmp_path / f"a.{suffix}")
        assert load_mesh(tmp_path / f"a.{suffix}").materials[0].unlit == unlit


def test_names_in_libraries_are_distinct_words(tmp_path: Path) -> None:
    names = ("", "a b", "a_b", "", "a_b")
    materials = tuple(PhongMaterial(name=name, shininess=float(i)) for i, name in enumerate(names))
    save_mesh(sphere(materials), tmp_path / "a.obj")
    mesh = load_mesh(tmp_path / "a.obj")
    assert sorted(m.name for m in mesh.materials) == ["a_b", "a_b_2", "a_b_4", "material", "material_3"]
    assert sorted(m.shininess for m in mesh.materials) == [0, 1, 2, 3, 4]  # type: ignore[attr-defined]


def test_phong_becomes_pbr_and_back(tmp_path: Path) -> None:
    phong = PhongMaterial(diffuse=torch.tensor([0.5, 0.25, 1.0]), specular=torch.full((3,), 0.2), shininess=30.0)
    save_mesh(sphere((phong,)), tmp_path / "a.glb")
    (pbr,) = load_mesh(tmp_path / "a.glb").materials
    assert isinstance(pbr, PBRMaterial)
    # sRGB 0.5 is 0.2140 of linear light, 0.25 is 0.0509.
    torch.testing.assert_close(pbr.base_color, torch.tensor([0.21404, 0.05088, 1.0]), atol=1e-4, rtol=0)
    assert pbr.roughness == pytest.approx(0.5)  # (2 / 32)^(1/4)
    assert pbr.metallic == 0
    save_mesh(sphere((pbr,)), tmp_path / "a.obj")
    (back,) = load_mesh(tmp_path / "a.obj").materials
    assert isinstance(back, PhongMaterial)
    torch.testing.assert_close(back.diffuse, phong.diffuse, atol=1e-4, rtol=0)
    assert back.shininess == pytest.approx(30.0, rel=1e-3)


def test_mtl_written_by_hand(tmp_path: Path) -> None:
    Image.fromarray((image() * 255).round().to(torch.uint8).numpy()).save(tmp_path / "my paint.png")
    (tmp_path / "a.mtl").write_text(
        "newmtl one\nKa 0 0 0\nKd 0.8 0.1 0.3\nKs 0.5 0.5 0.5\nNs 96.5\nillum 2\nd 0.5\nmap_Kd my paint.png\n"
        "newmtl two\nKd 0 1 0\nTr 0.25\nmap_Ks gone.png\n"
    )
    (tmp_path / "a.obj").write_text(
        "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nvt 0 0\nvt 1 0\nvt 0 1\n"
        "usemtl one\nf 1/1 2/2 3/3\nusemtl two\nf 2 4 3\n"
    )
    with pytest.warns(FileWarning, match=r"a\.mtl, line 12: map_ks gone\.png: there is no such file"):
        mesh = load_mesh(tmp_path / "a.obj")
    assert mesh.positions.shape == (4, 3)
    by_name = {m.name: m for m in mesh.materials}
    one, two = by_name["one"], by_name["two"]
    assert isinstance(one, PhongMaterial)
    assert isinstance(two, PhongMaterial)
    torch.testing.assert_close(one.diffuse, torch.tensor([0.8, 0.1, 0.3]))
    torch.testing.assert_close(one.ambient, torch.zeros(3))
    torch.testing.assert_close(one.specular, torch.full((3,), 0.5))
    assert (one.shininess, one.alpha, one.alpha_mode) == (96.5, 0.5, "blend")
    assert one.diffuse_texture is not None
    torch.testing.assert_close(one.diffuse_texture, image())
    torch.testing.assert_close(two.ambient, torch.tensor([0.0, 1, 0]))
    assert two.alpha == 0.75
    assert two.specular_texture is None
    assert mesh.face_materials is not None
    corner = mesh.positions[mesh.faces[mesh.face_materials == mesh.materials.index(two)]].reshape(3, 3)
    torch.testing.assert_close(corner, torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 0]]))


def two_parts(mirror: bool) -> dict[str, Any]:
    """A glTF scene that shows one triangle twice, the second time moved (and mirrored), with and without material."""
    positions = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)]
    data = struct.pack("<9f3H", *(x for row in positions for x in row), 0, 1, 2)
    uri = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    return {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0, 1]}],
        "nodes": [{"mesh": 0}, {"mesh": 1, "translation": [0, 0, 5], "scale": [-2 if mirror else 2, 2, 2]}],
        "meshes": [
            {"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "material": 0}]},
            {"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]},
        ],
        "materials": [{"name": "red", "pbrMetallicRoughness": {"baseColorFactor": [0.9, 0.01, 0, 1]}}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]},
            {"bufferView": 1, "componentType": 5123, "count": 3, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 36}, {"buffer": 0, "byteOffset": 36, "byteLength": 6},
        ],
        "buffers": [{"byteLength": len(data), "uri": uri}],
    }  # fmt: skip


@pytest.mark.parametrize("mirror", [False, True])
def test_scene_of_two_parts(tmp_path: Path, mirror: bool) -> None:
    (tmp_path / "a.gltf").write_text(json.dumps(two_parts(mirror)))
    mesh = load_mesh(tmp_path / "a.gltf")
    assert mesh.face_materials is not None
    first, second = (mesh.submesh(mesh.face_materials == i) for i in (0, 1))
    red, default = mesh.materials
    assert red.name == "red"
    assert isinstance(red, PBRMaterial)
    torch.testing.assert_close(red.base_color, torch.tensor([0.9, 0.01, 0]))
    # What a glTF file does not say is metal of full roughness, seen from the front only.
    assert (red.metallic, red.roughness, red.double_sided) == (1, 1, False)
    assert isinstance(default, PBRMaterial)
    assert default.metallic == 1
    torch.testing.assert_close(first.face_normals(), torch.tensor([[0.0, 0, 1]]))
    # Mirroring turns the winding around, so that the front stays the front.
    torch.testing.assert_close(second.face_normals(), torch.tensor([[0.0, 0, 4]]))
    low, high = second.bounds()
    assert low.tolist() == [-2 if mirror else 0, 0, 5]
    assert high.tolist() == [0 if mirror else 2, 2, 5]


def test_vertex_colours_beside_a_texture(tmp_path: Path) -> None:
    colors = torch.rand(42, 3, generator=torch.Generator().manual_seed(0))
    original = replace(sphere((full_pbr(),)), colors=(colors * 255).round() / 255)
    save_mesh(original, tmp_path / "a.glb")
    mesh = load_mesh(tmp_path / "a.glb")
    assert mesh.colors is not None
    torch.testing.assert_close(mesh.colors[mesh.faces], original.colors[original.faces])  # type: ignore[index]


def test_simple_textured_meshes_stay_simple(tmp_path: Path) -> None:
    mesh = creature(2, 32)
    mesh = replace(mesh, texture=(mesh.texture * 255).round() / 255)  # type: ignore[operator]
    for suffix in ("glb", "obj"):
        save_mesh(mesh, tmp_path / f"a.{suffix}")
        for materials in (True, False):
            again = load_mesh(tmp_path / f"a.{suffix}", materials)
            torch.testing.assert_close(again.texture, mesh.texture)
            assert again.colors is None
            assert len(again.materials) == int(materials)
            assert (again.normals is not None) == materials
            torch.testing.assert_close(again.positions[again.faces], mesh.positions[mesh.faces])


def test_colours_of_materials_without_materials(tmp_path: Path) -> None:
    save_mesh(sphere((PBRMaterial(base_color=torch.tensor([0.2, 0.4, 0.8])),), False), tmp_path / "a.glb")
    mesh = load_mesh(tmp_path / "a.glb", materials=False)
    assert mesh.colors is not None
    # Factors are linear light; what is shown is encoded: 1.055 x^(1/2.4) - 0.055.
    torch.testing.assert_close(mesh.colors[0], torch.tensor([0.48453, 0.66519, 0.90633]), atol=1e-4, rtol=0)
    assert load_mesh(tmp_path / "a.glb").colors is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("suffix", ["glb", "obj", "ply"])
def test_what_is_being_optimised_can_be_saved(tmp_path: Path, suffix: str) -> None:
    def leaf(value: Any) -> Any:
        trained = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.clone().requires_grad_() if trained else value

    def leaves(thing: Any) -> Any:
        return replace(thing, **{f.name: leaf(getattr(thing, f.name)) for f in fields(thing)})

    pbr = replace(full_pbr(), metallic=torch.tensor(0.5), roughness=torch.tensor(0.5))
    phong = replace(full_phong(), shininess=torch.tensor(9.0), alpha=torch.tensor(0.5))
    mesh = replace(leaves(sphere((pbr, phong))), materials=(leaves(pbr), leaves(phong)))
    mesh = replace(mesh, colors=torch.rand(42, 3, requires_grad=True))
    save_mesh(mesh, tmp_path / f"a.{suffix}")
    again = load_mesh(tmp_path / f"a.{suffix}")
    torch.testing.assert_close(again.positions[again.faces], mesh.positions[mesh.faces].detach())


def test_materials_do_not_disturb_other_formats(tmp_path: Path) -> None:
    for suffix in ("ply", "stl", "off"):
        save_mesh(sphere((full_pbr(), full_pbr())), tmp_path / f"a.{suffix}")
        mesh = load_mesh(tmp_path / f"a.{suffix}")
        torch.testing.assert_close(mesh.positions[mesh.faces], icosphere(1).positions[icosphere(1).faces])
        assert mesh.materials == ()
    assert load_mesh(tmp_path / "a.ply").uvs is not None
