"""Mesh files: small ones written by hand, and round trips."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

import pytest
import torch
from PIL import Image

from lumigrad.io import load_mesh, save_mesh
from lumigrad.scene import Mesh

# Two triangles share an edge in space but not in the texture: 4 positions, 6 texture coordinates.
OBJ = """
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0.25 0.25
vt 0.75 0.75
vt 0 0.75
f 1/1 2/2 3/3
f 1/4 3/5 4/6
"""
CORNERS = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 0, 0], [1, 1, 0], [0, 1, 0]]])
# v points up in OBJ, and downwards here.
UVS = torch.tensor([[[0.0, 1], [1, 1], [1, 0]], [[0.25, 0.75], [0.75, 0.25], [0, 0.25]]])


def checker() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (4, 8, 3), generator=generator).float() / 255


def seam_mesh() -> Mesh:
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    positions = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    return Mesh(positions, faces, UVS.reshape(6, 2), torch.arange(6).reshape(2, 3), checker())


def check_geometry(mesh: Mesh) -> None:
    assert mesh.positions.shape == (4, 3)
    torch.testing.assert_close(mesh.positions[mesh.faces], CORNERS)
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    torch.testing.assert_close(mesh.uvs[mesh.uv_faces], UVS)


def test_obj_with_seam(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text(OBJ)
    mesh = load_mesh(tmp_path / "a.obj")
    check_geometry(mesh)
    assert mesh.uvs is not None
    assert mesh.uvs.shape == (6, 2)
    assert mesh.texture is None
    assert mesh.colors is None


def test_obj_with_material(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("mtllib a.mtl\nusemtl paint\n" + OBJ)
    (tmp_path / "a.mtl").write_text("newmtl paint\nmap_Kd a.png\n")
    Image.fromarray((checker() * 255).round().to(torch.uint8).numpy()).save(tmp_path / "a.png")
    mesh = load_mesh(tmp_path / "a.obj")
    check_geometry(mesh)
    assert mesh.texture is not None
    torch.testing.assert_close(mesh.texture, checker())


def test_obj_polygons_and_plain_faces(tmp_path: Path) -> None:
    (tmp_path / "quad.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 9 9 9\nf 1 2 3 4\n")
    mesh = load_mesh(tmp_path / "quad.obj")
    assert mesh.faces.shape == (2, 3)
    assert mesh.positions.shape == (4, 3)
    assert mesh.uvs is None
    torch.testing.assert_close(mesh.face_normals(), torch.tensor([[0.0, 0, 1], [0, 0, 1]]))


def test_gltf_keeps_v_downwards(tmp_path: Path) -> None:
    """A glTF file written byte by byte: its v grows with the image row, as ours does."""
    positions = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)]
    uvs = [(0.0, 0.125), (1.0, 0.25), (0.5, 0.875)]
    floats = [x for row in positions + uvs for x in row]
    data = struct.pack(f"<{len(floats)}f3H", *floats, 0, 1, 2)
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [1.0, 1.0, 1.0, 1.0]}}],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": 5126,
                "count": 3,
                "type": "VEC3",
                "min": [0, 0, 0],
                "max": [1, 1, 0],
            },
            {"bufferView": 1, "componentType": 5126, "count": 3, "type": "VEC2"},
            {"bufferView": 2, "componentType": 5123, "count": 3, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 36},
            {"buffer": 0, "byteOffset": 36, "byteLength": 24},
            {"buffer": 0, "byteOffset": 60, "byteLength": 6},
        ],
        "buffers": [
            {
                "byteLength": len(data),
                "uri": "data:application/octet-stream;base64," + base64.b64encode(data).decode(),
            }
        ],
    }
    (tmp_path / "a.gltf").write_text(json.dumps(document))
    mesh = load_mesh(tmp_path / "a.gltf")
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    torch.testing.assert_close(mesh.positions[mesh.faces[0]], torch.tensor(positions))
    torch.testing.assert_close(mesh.uvs[mesh.uv_faces[0]], torch.tensor(uvs))


@pytest.mark.parametrize("suffix", ["glb", "obj"])
def test_textured_round_trip(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "folder" / f"a.{suffix}"
    save_mesh(seam_mesh(), path)
    mesh = load_mesh(path)
    check_geometry(mesh)
    assert mesh.texture is not None
    torch.testing.assert_close(mesh.texture, checker())


def test_glb_holds_what_other_programs_need(tmp_path: Path) -> None:
    save_mesh(seam_mesh(), tmp_path / "a.glb")
    data = (tmp_path / "a.glb").read_bytes()
    assert data[:4] == b"glTF"
    document = json.loads(data[20 : 20 + struct.unpack("<I", data[12:16])[0]])
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    assert {"POSITION", "NORMAL", "TEXCOORD_0"} <= set(attributes)
    # One vertex per distinct pair of position and texture coordinate.
    assert document["accessors"][attributes["POSITION"]]["count"] == 6
    assert document["materials"][0]["pbrMetallicRoughness"]["metallicFactor"] == 0
    assert len(document["images"]) == 1


@pytest.mark.parametrize("suffix", ["ply", "glb"])
def test_vertex_colours_round_trip(tmp_path: Path, suffix: str) -> None:
    colors = torch.tensor([[0, 51, 102], [255, 0, 0], [10, 20, 30], [0, 0, 255]]) / 255
    plain = Mesh(seam_mesh().positions, seam_mesh().faces, colors=colors)
    save_mesh(plain, tmp_path / f"a.{suffix}")
    mesh = load_mesh(tmp_path / f"a.{suffix}")
    torch.testing.assert_close(mesh.positions[mesh.faces], CORNERS)
    assert mesh.colors is not None
    torch.testing.assert_close(mesh.colors[mesh.faces], colors[plain.faces])


def test_ascii_ply(tmp_path: Path) -> None:
    header = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    header += "property uchar red\nproperty uchar green\nproperty uchar blue\nelement face 1\n"
    header += "property list uchar int vertex_indices\nend_header\n"
    body = "0 0 0 255 0 0\n1 0 0 0 255 0\n0 1 0 0 0 255\n3 0 1 2\n"
    (tmp_path / "a.ply").write_text(header + body)
    mesh = load_mesh(tmp_path / "a.ply")
    assert mesh.colors is not None
    torch.testing.assert_close(mesh.colors[mesh.faces[0]], torch.eye(3))


def test_missing_wrong_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.obj"):
        load_mesh(tmp_path / "none.obj")
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(ValueError, match="expected one of"):
        load_mesh(tmp_path / "a.txt")
    for name, content in (("a.glb", b"rubbish"), ("a.obj", b"v 0 0 0\n"), ("a.ply", b"\0\1\2")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="cannot read"):
            load_mesh(tmp_path / name)
    with pytest.raises(ValueError, match="cannot write"):
        save_mesh(seam_mesh(), tmp_path / "a.xyz")


def test_spot_keeps_its_topology(shared: Path) -> None:
    path = shared / "data" / "meshes" / "spot.obj"
    if not path.is_file():
        pytest.skip("needs the mesh spot")
    mesh = load_mesh(path)
    assert mesh.positions.shape == (2930, 3)
    assert mesh.faces.shape == (5856, 3)
    assert mesh.uvs is not None
    assert len(mesh.uvs) == 3225
    # Euler's formula for a closed surface without handles.
    edges = torch.cat([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]).sort(1).values
    assert 2930 - len(torch.unique(edges, dim=0)) + 5856 == 2
