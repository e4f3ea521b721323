"""OBJ files and material libraries as written by programs, and their interpretation."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lumigrad.io import FileWarning, load_mesh, save_mesh
from lumigrad.scene import Mesh, PBRMaterial, PhongMaterial

QUAD = "v -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
FACE = "f 1/1 2/2 3/3 4/4\n"
RED, GREEN = (255, 0, 0), (0, 255, 0)


def picture(path: Path, color: Any = RED) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB" if len(color) == 3 else "RGBA", (4, 4), color).save(path)


def obj(folder: Path, library: str | None = None, text: str = "mtllib m.mtl\n" + QUAD + "usemtl a\n" + FACE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.obj").write_text(text)
    if library is not None:
        (folder / "m.mtl").write_text("newmtl a\n" + library)
    return folder / "a.obj"


def material(folder: Path, library: str) -> Any:
    (found,) = load_mesh(obj(folder, library)).materials
    return found


def area(mesh: Mesh) -> float:
    return float(mesh.face_normals().norm(dim=-1).sum() / 2)


@pytest.fixture(autouse=True)
def _no_warnings() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FileWarning)
        yield


# ---- Geometry ------------------------------------------------------------------------------------------------------


def test_negative_indices_count_from_the_last_vertex_so_far(tmp_path: Path) -> None:
    text = "".join(
        f"v 0 0 {z}\nv 1 0 {z}\nv 1 1 {z}\nv 0 1 {z}\nvt 0 {z}\nf -4/-1 -3/-1 -2/-1 -1/-1\n" for z in (0, 0.5)
    )
    mesh = load_mesh(obj(tmp_path, None, text))
    assert mesh.positions[mesh.faces][..., 2].mean(1).tolist() == [0, 0, 0.5, 0.5]
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    assert mesh.uvs[mesh.uv_faces][..., 1].mean(1).tolist() == [1, 1, 0.5, 0.5]


@pytest.mark.parametrize("start", range(6))
@pytest.mark.parametrize("flipped", [False, True])
def test_concave_polygons(tmp_path: Path, start: int, flipped: bool) -> None:
    """A concave polygon is triangulated: an L of area 3, for any first corner and winding."""
    corners = [(0, 2), (0, 0), (2, 0), (2, 1), (1, 1), (1, 2)]
    order = [(start + i) % 6 + 1 for i in range(6)]
    order = order[::-1] if flipped else order
    text = "".join(f"v {x} {y} {0.5 * x}\n" for x, y in corners) + "f " + " ".join(map(str, order)) + "\n"
    mesh = load_mesh(obj(tmp_path, None, text))
    assert len(mesh.faces) == 4
    assert area(mesh) == pytest.approx(3 * 1.25**0.5)
    assert bool((mesh.face_normals()[:, 2] < 0).all()) == flipped


def test_concave_quadrilaterals_and_corners_on_a_line(tmp_path: Path) -> None:
    arrow = "v 0 0 0\nv 2 0 0\nv 0.5 0.5 0\nv 0 2 0\nf 1 2 3 4\nf 4 1 2 3\nf 3 4 1 2\nf 2 3 4 1\n"
    mesh = load_mesh(obj(tmp_path, None, arrow))
    for i in range(4):  # two triangles below the tip, each of base 2 and height 0.5
        assert area(mesh.submesh(torch.tensor([2 * i, 2 * i + 1]))) == pytest.approx(1.0)
    line = "v 0 0 0\nv 1 0 0\nv 2 0 0\nv 2 2 0\nv 1 1 0\nv 0 2 0\nf 1 2 3 4 5 6\n"
    mesh = load_mesh(obj(tmp_path, None, line))
    assert area(mesh) == pytest.approx(3.0)
    assert sorted(set(mesh.faces.reshape(-1).tolist())) == [0, 1, 2, 3, 4, 5]


def test_large_polygons_against_the_shoelace_formula(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    angle = np.sort(random.random(60)) * 2 * np.pi
    radius = random.uniform(0.3, 1, 60)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    text = "".join(f"v {a} {b} 0\n" for a, b in zip(x, y)) + "f " + " ".join(str(i + 1) for i in range(60)) + "\n"
    mesh = load_mesh(obj(tmp_path, None, text))
    shoelace = 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    assert float(mesh.face_normals()[:, 2].sum() / 2) == pytest.approx(shoelace, abs=1e-5)
    assert area(mesh) == pytest.approx(shoelace, abs=1e-5)


@pytest.mark.parametrize("face", ["f 1/1 2/2 3/3", "f 1/1/ 2/2/ 3/3/"])
def test_vertex_colours_beside_texture_coordinates(tmp_path: Path, face: str) -> None:
    text = f"v 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 0 1 0 0 0 1\nvt 0 0\nvt 1 0\nvt 0 1\n{face}\n"
    mesh = load_mesh(obj(tmp_path, None, text))
    assert mesh.colors is not None
    torch.testing.assert_close(mesh.colors, torch.eye(3))
    assert mesh.uvs is not None
    assert mesh.uvs.tolist() == [[0, 1], [1, 1], [0, 0]]
    eight_bits = load_mesh(obj(tmp_path, None, text.replace("0 0 0 1 0 0", "0 0 0 255 0 51")))
    assert eight_bits.colors is not None
    torch.testing.assert_close(eight_bits.colors[0], torch.tensor([1.0, 0, 0.2]))


def test_corners_of_different_kinds(tmp_path: Path) -> None:
    text = QUAD + "vn 0 0 1\nvn 1 0 0\nf 1 2 3\nf 1/1 3/3 4/4\nf 1//1 2//1 3//2\nf 1/1/1 2/2/2 4/4/1\n"
    mesh = load_mesh(obj(tmp_path, None, text))
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2], [0, 1, 3]]
    assert mesh.normals is not None
    assert mesh.normal_faces is not None
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    across = mesh.normals[mesh.normal_faces][..., 0].round()
    assert across.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert mesh.uvs[mesh.uv_faces][1].tolist() == [[0, 1], [1, 0], [0, 0]]


def test_normals_of_no_length_are_the_smooth_ones(tmp_path: Path) -> None:
    text = QUAD + "vn 0 0 0\nvn 0 0 -1\nf 1//1 2//1 3//2\nf 1//1 3//1 4//1\n"
    mesh = load_mesh(obj(tmp_path, None, text))
    assert mesh.normals is not None
    assert mesh.normal_faces is not None
    assert mesh.normals[mesh.normal_faces][..., 2].tolist() == [[1, 1, -1], [1, 1, 1]]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("# café\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "latin-1"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "utf-16"),
        ("\ufeffv 0 0 0\r\nv 1 0 0\r\n\tv 0 1 0 # here\r\nf 1 2 \\\r\n 3\r\n", "utf-8"),
        ("v 0 0 0\rv 1 0 0\rv 0 1 0\rf 1 2 3", "ascii"),
        ("v  0\t0 0 1.0\nv 1e0 +0 -0.0 1.0\nv 0 1 0 1.0\n  f  1  2   3  ", "ascii"),
    ],
)
def test_texts_as_they_come(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "a.obj").write_bytes(text.encode(encoding))
    mesh = load_mesh(tmp_path / "a.obj")
    assert mesh.positions[mesh.faces].tolist() == [[[0, 0, 0], [1, 0, 0], [0, 1, 0]]]


def test_numbers_that_are_none(tmp_path: Path) -> None:
    mesh = load_mesh(obj(tmp_path, None, "v 1.#IND -1.#QNAN nan\nv 1 0 0\nv 0 -1.#INF 0\nv 1 1 1\nf 1 2 3\nf 2 3 4\n"))
    assert bool(mesh.positions[0].isnan().all())
    assert float(mesh.positions[2, 1]) in (float("inf"), float("-inf"))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("v 0 0 0\nv 1 0 0\nf 1 2 3\n", "line 3: a face refers to v 3; there are 2"),
        ("v 0 0 0\nf 1 0 1\n", "line 2: a face refers to v 0"),
        ("v 0 0 0\nf -2 -1 -1\n", "line 2: a face refers to v -2"),
        ("v 0 0\nv 0 0 0\nf 1 2 1\n", "line 1: v has 2 numbers; expected 3"),
        ("v 0 0 zero\nf 1 1 1\n", "'zero' stands where a number is expected"),
        ("v 0 0 0\nf 1 a 1\n", "'a' stands where a number is expected"),
        ("v 0 0 0\nv 1 1 1\n", "holds 2 vertices and no faces"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS pointer.*git lfs pull"),
        ("<!DOCTYPE html>\n<html>", "web page"),
        ("", "the file is empty"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.obj.*{match}"):
        load_mesh(obj(tmp_path, None, text))


def test_references_to_what_is_not_there(tmp_path: Path) -> None:
    with pytest.warns(FileWarning, match=r"a\.obj, line 4: a face refers to vn 1; there are 0"):
        assert load_mesh(obj(tmp_path, None, "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1//1 2//1 3//1\n")).faces.shape == (1, 3)


# ---- Material libraries --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "alpha"),
    [
        ("Tr 1.000000", 1.0),  # MeshLab's opaque
        ("Tr 0", 1.0),
        ("Tr 0.25", 0.75),
        ("d 0.5", 0.5),
        ("d -halo 0.5", 0.5),
        ("d 0.5\nTr 0.5", 0.5),
        ("d 1\nTr 1", 1.0),
        ("d 0\nTr 0", 1.0),
        ("d 1,0", 1.0),
    ],
)
def test_opacity(tmp_path: Path, said: str, alpha: float) -> None:
    found = material(tmp_path, f"Kd 1 1 1\n{said}\nillum 2\n")
    assert found.alpha == alpha
    assert found.alpha_mode == ("opaque" if alpha == 1 else "blend")


def test_shininess_and_illumination(tmp_path: Path) -> None:
    assert material(tmp_path, "Ns -1.960784\n").shininess == 0  # old versions of Blender
    assert material(tmp_path, "Ns 96.5\n").shininess == 96.5
    with pytest.warns(FileWarning, match=r"m\.mtl, line 2: ns of 'a' is 'nan'; expected a number"):
        assert material(tmp_path, "Ns nan\n").shininess == 1
    assert material(tmp_path, "Ks 1 1 1\nillum 2\n").specular.tolist() == [1, 1, 1]
    assert material(tmp_path, "Ks 1 1 1\nillum 1\n").specular.tolist() == [0, 0, 0]
    assert material(tmp_path, "illum 0\n").unlit
    assert not material(tmp_path, "illum 1\n").unlit


def test_black_under_an_image_means_the_image(tmp_path: Path) -> None:
    picture(tmp_path / "t.png")
    assert material(tmp_path, "Kd 0 0 0\nmap_Kd t.png\n").diffuse.tolist() == [1, 1, 1]
    assert material(tmp_path, "Kd 0 0 0\n").diffuse.tolist() == [0, 0, 0]
    with pytest.warns(FileWarning, match="gone"):
        assert material(tmp_path, "Kd 0 0 0\nmap_Kd gone.png\n").diffuse.tolist() == [1, 1, 1]


def test_physically_based_entries(tmp_path: Path) -> None:
    """Roughness goes into the green channel, metal into the blue one, as in glTF; colours are decoded."""
    found = material(tmp_path, "Kd 0.5 0.5 0.5\nPr 0.3\nPm 1\nKe 1 0 0\nPs 0\nPc 0.0\n")
    assert isinstance(found, PBRMaterial)
    torch.testing.assert_close(found.base_color, torch.full((3,), 0.21404), atol=1e-4, rtol=0)
    assert (found.roughness, found.metallic) == (0.3, 1)
    assert found.emissive.tolist() == [1, 0, 0]
    picture(tmp_path / "rough.png", (51, 51, 51))
    picture(tmp_path / "glow.png", GREEN)
    found = material(tmp_path, "map_Pr rough.png\nPm 0.5\nmap_Ke glow.png\n")
    assert found.metallic_roughness_texture is not None
    assert found.metallic_roughness_texture[0, 0, 1] == pytest.approx(0.2)
    assert (found.roughness, found.metallic) == (1, 0.5)
    assert found.emissive.tolist() == [1, 1, 1]
    assert found.emissive_texture[0, 0].tolist() == [0, 1, 0]  # type: ignore[index]


def test_bumps_that_are_normal_maps(tmp_path: Path) -> None:
    picture(tmp_path / "n.png", (128, 128, 255))
    picture(tmp_path / "h.png", (90, 90, 90))
    found = material(tmp_path, "map_Bump -bm 0.5 n.png\n")
    assert found.normal_texture is not None
    assert found.normal_scale == 0.5
    with pytest.warns(FileWarning, match=r"line 2: map_Bump of 'a' is a height map"):
        assert material(tmp_path, "map_Bump h.png\n").normal_texture is None


@pytest.mark.parametrize("pixel", [(10, 20, 30, 128), (10, 20, 30, 0)])
def test_alpha_of_images(tmp_path: Path, pixel: tuple[int, ...]) -> None:
    picture(tmp_path / "t.png", pixel)
    assert material(tmp_path, "map_Kd t.png\n").alpha_mode == "opaque"
    found = material(tmp_path, "map_Kd t.png\nmap_d t.png\n")
    assert found.alpha_mode == ("blend" if pixel[3] else "mask")
    assert found.diffuse_texture[0, 0, 3] == pytest.approx(pixel[3] / 255)
    picture(tmp_path / "grey.png", (51, 51, 51))
    found = material(tmp_path, "map_d grey.png\n")
    torch.testing.assert_close(found.diffuse_texture[0, 0], torch.tensor([1.0, 1, 1, 0.2]))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("t.png", "map_Kd t.png"),
        ("t.png", "map_kd\tt.png"),
        ("../t.png", "map_Kd ../t.png"),
        ("maps/t.png", "map_Kd maps\\t.png"),
        ("t.png", "map_Kd .\\t.png"),
        ("t.png", "map_Kd -s 1 1 1 t.png"),
        ("t.png", "map_Kd -blendu on -o 0 0 0 -mm 0 1 t.png"),
        ("my t.png", "map_Kd my t.png"),
        ("my t.png", "map_Kd -clamp on my t.png"),
        ("my t.png", 'map_Kd "my t.png"'),
        ("my t.png", "map_Kd my%20t.png"),
        ("T.PNG", "map_Kd t.png"),
        ("Maps/t.png", "map_Kd maps/T.png"),
        ("t.png", "map_Kd C:\\Users\\me\\t.png"),
        ("textures/t.png", "map_Kd /home/me/t.png"),
        ("é.png", "map_Kd é.png"),
    ],
)
def test_images_by_the_names_that_exporters_write(tmp_path: Path, name: str, said: str) -> None:
    folder = tmp_path / "sub"
    picture(folder / name)
    assert material(folder, f"Kd 1 1 1\n{said}\n").diffuse_texture[0, 0].tolist() == [1, 0, 0]


def test_symbolic_links(tmp_path: Path) -> None:
    """The cache of Hugging Face: files of a snapshot are links to blobs with other names."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1"
    picture(blobs / "0a.png")
    (blobs / "0a.png").rename(blobs / "0a")
    whole = obj(tmp_path / "whole", "map_Kd t.png\n")
    whole.rename(blobs / "0b")
    (tmp_path / "whole" / "m.mtl").rename(blobs / "0c")
    snapshot.mkdir(parents=True)
    for name, blob in (("t.png", "0a"), ("a.obj", "0b"), ("m.mtl", "0c")):
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    (found,) = load_mesh(snapshot / "a.obj").materials
    assert isinstance(found, PhongMaterial)
    assert found.diffuse_texture is not None


def test_options_of_images(tmp_path: Path) -> None:
    picture(tmp_path / "t.png", (51, 51, 51))
    mesh = load_mesh(obj(tmp_path, "map_Kd -s 2 3 -o 0.25 0.5 0 -mm 0.1 2 t.png\n"))
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    expected = torch.tensor([[2 * u + 0.25, 1 - (3 * v + 0.5)] for u, v in ((0, 0), (1, 0), (1, 1))])
    torch.testing.assert_close(mesh.uvs[mesh.uv_faces[0]], expected)
    assert mesh.texture is not None
    assert mesh.texture[0, 0, 0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("head", "use"),
    [
        ("mtllib m.mtl\n", ""),
        ("mtllib m.mtl\nmtllib b.mtl\n", "usemtl b\n"),
        ("mtllib m.mtl b.mtl\n", "usemtl b\n"),
        ("mtllib M.MTL\n", "usemtl A\n"),
        ('mtllib "b.mtl"\n', "usemtl b\n"),
        ("mtllib .\\b.mtl\n", "usemtl b\n"),
        ("mtllib two words.mtl\n", "usemtl b\n"),
        ("mtllib two words.mtl # here\n", "usemtl b # as there\n"),
        ("mtllib noted.mtl\t#here\n", "usemtl B#1\n"),
    ],
)
def test_libraries(tmp_path: Path, head: str, use: str) -> None:
    (tmp_path / "b.mtl").write_text("newmtl b\nKd 0 1 0\n")
    (tmp_path / "two words.mtl").write_text("newmtl b\nKd 0 1 0\n")
    (tmp_path / "noted.mtl").write_text("newmtl b#1 # the first\nKd 0 1 0 # green\nd 1.0 # opaque\nNs 7 # dull\n")
    (found,) = load_mesh(obj(tmp_path, "Kd 0 1 0\n", head + QUAD + use + FACE)).materials
    assert isinstance(found, PhongMaterial)
    assert found.diffuse.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("library", "match"),
    [
        ("Kd 1 1 1\nmap_Kd gone.png\n", r"m\.mtl, line 3: map_kd gone\.png: there is no such file"),
        ("map_Kd bad.png\n", r"m\.mtl, line 2: map_kd: .*bad\.png"),
        ("map_Kd lfs.png\n", r"m\.mtl, line 2: map_kd: .*Git LFS pointer"),
        ("refl sky.png\n", r"m\.mtl, line 2: refl of 'a' is not supported"),
        ("Kd spectral x.rfl\n", r"m\.mtl, line 2: kd of 'a' is 'spectral x\.rfl'"),
        (None, r"a\.obj, line 1: mtllib m\.mtl: there is no such file"),
    ],
)
def test_what_cannot_be_found_is_said_once(tmp_path: Path, library: str | None, match: str) -> None:
    (tmp_path / "bad.png").write_bytes(b"rubbish")
    (tmp_path / "lfs.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.warns(FileWarning, match=match) as said:
        mesh = load_mesh(obj(tmp_path, library))
    assert len(said) == 1
    assert len(mesh.faces) == 2


def test_materials_that_no_library_has(tmp_path: Path) -> None:
    text = "mtllib m.mtl\n" + QUAD + "usemtl a\nf 1 2 3\nusemtl b\nf 1 3 4\n"
    with pytest.warns(FileWarning, match=r"a\.obj, line 12: usemtl b: no material library has it"):
        mesh = load_mesh(obj(tmp_path, "Kd 1 0 0\n", text))
    assert [m.diffuse.tolist() for m in mesh.materials] == [[1, 0, 0], [1, 1, 1]]  # type: ignore[attr-defined]


def test_comments_behind_names_of_images(tmp_path: Path) -> None:
    picture(tmp_path / "t.png", GREEN)
    for said in ("t.png # green", "-s 2 2 2 t.png # green", '"t.png" #green'):
        assert material(tmp_path, f"map_Kd {said}\n").diffuse_texture[0, 0].tolist() == [0, 1, 0]
    picture(tmp_path / "t.png # red.png", RED)
    assert material(tmp_path, "map_Kd t.png # red.png\n").diffuse_texture[0, 0].tolist() == [1, 0, 0]


def test_names_of_folders_do_not_lead_astray(tmp_path: Path) -> None:
    picture(tmp_path / "textures" / "t.png", GREEN)
    picture(tmp_path / "t.png", RED)
    assert material(tmp_path, "map_Kd textures/t.png\n").diffuse_texture[0, 0].tolist() == [0, 1, 0]


def test_large_files_are_read_as_they_are_written(tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(0)
    positions = torch.randn(5000, 3, generator=random)
    mesh = Mesh(positions, torch.randint(0, 5000, (20000, 3), generator=random))
    save_mesh(mesh, tmp_path / "a.obj")
    again = load_mesh(tmp_path / "a.obj")
    assert torch.equal(again.positions[again.faces], positions[mesh.faces])
