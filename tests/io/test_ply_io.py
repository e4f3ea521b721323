"""PLY files of all kinds, written by hand; trimesh as an independent reader of what we write."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from lumigrad.io import FileWarning, load_gaussians, load_mesh, load_points, save_gaussians, save_mesh, save_points
from lumigrad.render import render
from lumigrad.scene import GaussianCloud, Mesh, PerspectiveCamera, PointCloud, icosphere

FIVE = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0], [3, 0, 0]], "<f4")


def header(kind: str, faces: str = "element face 2\nproperty list uchar int vertex_indices\n", more: str = "") -> str:
    text = f"ply\nformat {kind} 1.0\nelement vertex 5\n"
    return text + "".join(f"property float {axis}\n" for axis in "xyz") + more + faces + "end_header\n"


def rows(array: np.ndarray) -> str:
    return "".join(" ".join(map(str, row)) + "\n" for row in array.tolist())


@pytest.mark.parametrize("order", ["<", ">"])
def test_binary_files_of_triangles_and_quads(tmp_path: Path, order: str) -> None:
    kind = "binary_little_endian" if order == "<" else "binary_big_endian"
    body = FIVE.astype(order + "f4").tobytes()
    body += struct.pack(order + "B4i", 4, 0, 1, 2, 3) + struct.pack(order + "B3i", 3, 1, 4, 2)
    (tmp_path / "a.ply").write_bytes(header(kind).encode() + body)
    mesh = load_mesh(tmp_path / "a.ply")
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [1, 4, 2]]
    torch.testing.assert_close(mesh.positions, torch.from_numpy(FIVE))


def test_texts_and_stray_numbers(tmp_path: Path) -> None:
    """Lines may have more numbers than the header says, rows may be spread over lines, and headers have odd lines."""
    text = header("ascii", more="comment made by\nhand, in two lines\n") + rows(FIVE)
    remarked = header("ascii", more="property bool seen\n")
    remarked += "".join(f"comment row {i}\n{line} {i % 2}\n" for i, line in enumerate(rows(FIVE).splitlines()))
    (tmp_path / "a.ply").write_text(remarked + "\n comment faces\n4 0 1 2 3\n3 1 4 2\ncomment that is all\n")
    torch.testing.assert_close(load_mesh(tmp_path / "a.ply").positions, torch.from_numpy(FIVE))
    for faces in ("4 0 1 2 3 9 9\n3 1 4 2 9\n", "4 0 1\n2 3\n3 1 4 2\n", "4 0 1 2 3\r\n3 1 4 2"):
        (tmp_path / "a.ply").write_bytes((text + faces).encode())
        assert load_mesh(tmp_path / "a.ply").faces.tolist() == [[0, 1, 2], [0, 2, 3], [1, 4, 2]]


def test_strips(tmp_path: Path) -> None:
    """-1 begins a new strip; every second triangle is turned around, so that all face the same way."""
    strips = "element tristrips 1\nproperty list int int vertex_indices\n"
    (tmp_path / "a.ply").write_text(header("ascii", strips) + rows(FIVE) + "8 0 1 3 2 -1 1 4 2\n")
    mesh = load_mesh(tmp_path / "a.ply")
    assert len(mesh.faces) == 3
    torch.testing.assert_close(mesh.face_normals(), torch.tensor([[0.0, 0, 4], [0, 0, 4], [0, 0, 4]]))


def test_colours_of_faces(tmp_path: Path) -> None:
    """Face colours are displayed unchanged, and vertices stay shared."""
    faces = "element face 2\nproperty list uchar int vertex_indices\n"
    textured = faces + "property list uchar float texcoord\n"  # coordinates of no texture, as MeshLab writes them
    places = ("", ""), ("8 0 0 1 0 1 1 0 1 ", "6 0 0 1 0 1 1 ")
    for kind, materials in itertools.product(("uchar", "int", "ushort", "float"), (True, False)):
        head, (first, second) = (faces, places[0]) if kind != "int" else (textured, places[1])
        head += "".join(f"property {kind} {name}\n" for name in ("red", "green", "blue"))
        body = f"4 0 1 2 3 {first}255 0 51\n3 1 4 2 {second}0 102 255\n"
        (tmp_path / "a.ply").write_text(header("ascii", head) + rows(FIVE) + body)
        mesh = load_mesh(tmp_path / "a.ply", materials)
        assert len(mesh.positions) == 5
        camera = PerspectiveCamera.orbit(0.0, 0.0, 8.0, 60.0, (64, 64))
        shot = render(mesh, camera, shading="unlit")
        pixels = camera.pixels(torch.tensor([[0.0, 0, 0], [1.7, 0, 0]]))[:, :2].long()
        for (column, row), color in zip(pixels.tolist(), ((1.0, 0, 0.2), (0, 0.4, 1.0))):
            torch.testing.assert_close(shot.image[0, row, column], torch.tensor(color), atol=0.01, rtol=0)


def test_texture_coordinates_of_corners(tmp_path: Path) -> None:
    faces = "element face 2\nproperty list uchar int vertex_indices\nproperty list uchar float texcoord\n"
    text = header("ascii", faces, "comment TextureFile my t.png\n") + rows(FIVE)
    text += "4 0 1 2 3 8 0 0 1 0 1 1 0 1\n3 1 4 2 6 0.5 0.5 0.75 0.5 0.5 0.75\n"
    (tmp_path / "a.ply").write_text(text)
    Image.new("RGB", (2, 2), (255, 0, 0)).save(tmp_path / "my t.png")
    mesh = load_mesh(tmp_path / "a.ply")
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    expected = [[[0, 1], [1, 1], [1, 0]], [[0, 1], [1, 0], [0, 0]], [[0.5, 0.5], [0.75, 0.5], [0.5, 0.25]]]
    torch.testing.assert_close(mesh.uvs[mesh.uv_faces], torch.tensor(expected).float())
    assert mesh.texture is not None
    assert mesh.texture[0, 0].tolist() == [1, 0, 0]
    (tmp_path / "my t.png").unlink()
    with pytest.warns(FileWarning, match=r"a\.ply: TextureFile my t\.png: there is no such file"):
        assert load_mesh(tmp_path / "a.ply").texture is None


def test_points_and_gaussians_given_as_meshes(tmp_path: Path) -> None:
    save_points(PointCloud(torch.randn(7, 3)), tmp_path / "a.ply")
    with pytest.raises(ValueError, match=r"a\.ply .*7 points and no faces; read it with lumigrad\.io\.load_points"):
        load_mesh(tmp_path / "a.ply")
    cloud = GaussianCloud(
        torch.randn(7, 3), torch.randn(7, 4), torch.rand(7, 3), torch.full((7,), 0.5), torch.zeros(7, 1, 3)
    )
    save_gaussians(cloud, tmp_path / "g.ply")
    with pytest.raises(ValueError, match=r"7 Gaussians; read it with lumigrad\.io\.load_gaussians"):
        load_mesh(tmp_path / "g.ply")
    assert len(load_gaussians(tmp_path / "g.ply")) == 7
    assert len(load_points(tmp_path / "a.ply")) == 7


def test_files_cut_short_and_absurd_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    save_mesh(icosphere(1), path)
    whole = path.read_bytes()
    begin = whole.index(b"end_header") + 11
    for length in (0, 2, 30, begin - 5, begin, begin + 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        for load in (load_mesh, load_points):
            if load is load_points and length == len(whole) - 1:
                continue
            with pytest.raises(ValueError, match=r"a\.ply.*(cut short|no PLY|empty)"):
                load(path)
    for count in (b"4000000000", b"99999999999999999999"):
        path.write_bytes(whole.replace(b"element vertex 42", b"element vertex " + count))
        with pytest.raises(ValueError, match="cut short: "):
            load_mesh(path)
    path.write_bytes(whole.replace(b"property float x", b"property quaternion x"))
    with pytest.raises(ValueError, match="'property quaternion x', which is not understood"):
        load_mesh(path)
    path.write_text(header("ascii") + rows(FIVE) + "4 0 1 2 3\n3 1 9 2\n")
    with pytest.raises(ValueError, match="faces refer to vertices 0 to 9 of 5"):
        load_mesh(path)


def test_another_reader_sees_what_we_write(tmp_path: Path) -> None:
    colors = (torch.arange(42 * 3).reshape(42, 3) * 2 % 256).float() / 255
    mesh = Mesh(icosphere(1).positions, icosphere(1).faces, colors=colors)
    for suffix in ("ply", "off", "stl", "glb", "obj"):
        save_mesh(mesh, tmp_path / f"a.{suffix}")
        read = trimesh.load_mesh(tmp_path / f"a.{suffix}", process=False)
        np.testing.assert_allclose(read.triangles, mesh.positions[mesh.faces], atol=1e-6)
        if suffix == "ply":
            np.testing.assert_array_equal(read.visual.vertex_colors[:, :3], np.rint(colors.numpy() * 255))
    uvs = torch.rand(42, 2)
    textured = Mesh(mesh.positions, mesh.faces, uvs, texture=(torch.rand(4, 4, 3) * 255).round() / 255)
    save_mesh(textured, tmp_path / "t.ply")
    again = load_mesh(tmp_path / "t.ply")
    assert again.uvs is not None
    assert again.uv_faces is not None
    torch.testing.assert_close(again.uvs[again.uv_faces], uvs[mesh.faces])
    torch.testing.assert_close(again.texture, textured.texture)
