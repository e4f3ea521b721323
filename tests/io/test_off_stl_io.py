"""OFF and STL files as programs write them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from lumigrad.io import FileWarning, load_mesh, save_mesh
from lumigrad.scene import Mesh, icosphere

CORNERS = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]


def read(path: Path, text: str) -> Mesh:
    path = path / "a.off"
    path.write_text(text)
    return load_mesh(path)


@pytest.mark.parametrize(
    "text",
    [
        "OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n",
        "OFF 4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n",
        "OFF4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n",  # as in ModelNet
        "# made by hand\nOFF\n# more\n4 1 5\n\n0 0 0 # here\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n",
        "OFF\n\n4 2\n\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n\n3 0 1 2\n3 0 2 3",  # no number of edges
        "OFF 4 1\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n",
        "OFF\n4 1\n0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n",
        "OFF\n4\n1 0\n0 0 0 1 0 0\n1 1 0 0\n1 0 4 0 1\n2 3\n",
        "4 1 0\r\n0 0 0\r\n1 0 0\r\n1 1 0\r\n0 1 0\r\n4 0 1 2 3",
        "NOFF\n4 1 0\n0 0 0 0 0 1\n1 0 0 0 0 1\n1 1 0 0 0 1\n0 1 0 0 0 1\n4 0 1 2 3\n",
        "STOFF\n4 1 0\n0 0 0 0 0\n1 0 0 1 0\n1 1 0 1 1\n0 1 0 0 1\n4 0 1 2 3\n",
        "OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3 7\n",  # a colour of a table
    ],
)
def test_off(tmp_path: Path, text: str) -> None:
    mesh = read(tmp_path, text)
    assert mesh.positions.tolist() == CORNERS
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.colors is None
    assert (mesh.normals is not None) == text.startswith("NOFF")
    if text.startswith("STOFF"):
        assert mesh.uvs is not None
        assert mesh.uvs.tolist() == [[0, 1], [1, 1], [1, 0], [0, 0]]


@pytest.mark.parametrize(
    "rows", [("255 0 0 255", "0 51 0 255"), ("1.0 0 0 1", "0 0.2 0 1"), ("255 0 0", "0 51 0"), ("1 0 0", "0 0.2 0")]
)
def test_coff(tmp_path: Path, rows: tuple[str, str]) -> None:
    lines = [" ".join(map(str, corner)) + " " + rows[i % 2] for i, corner in enumerate(CORNERS)]
    for word in ("COFF", "OFF"):
        mesh = read(tmp_path, f"{word}\n4 1 0\n" + "\n".join(lines) + "\n4 0 1 2 3\n")
        assert mesh.colors is not None
        torch.testing.assert_close(mesh.colors[:2], torch.tensor([[1.0, 0, 0], [0, 0.2, 0]]))


def test_colours_of_faces_in_off(tmp_path: Path) -> None:
    faces = "3 0 1 2 255 0 0\n3 0 2 3 0 51 0\n"
    plain = "OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n"
    textured = "STOFF\n4 2\n0 0 0 0 0\n1 0 0 1 0\n1 1 0 1 1\n0 1 0 0 1\n"  # beside coordinates of no texture
    for vertices in (plain, textured):
        mesh = read(tmp_path, vertices + faces)
        assert mesh.texture is not None
        assert mesh.uvs is not None
        assert mesh.uv_faces is not None
        size = torch.tensor([mesh.texture.shape[1], mesh.texture.shape[0]])
        column, row = (mesh.uvs[mesh.uv_faces[:, 0]] * size).floor().long().unbind(-1)
        torch.testing.assert_close(mesh.texture[row, column], torch.tensor([[1.0, 0, 0], [0, 0.2, 0]]))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("OFF\n353535235358 6 0\n0 0 0\n", "cut short"),
        ("OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0\n", "cut short"),
        ("OFF\n1 1 0\n0 0 0\n3 0 1 2\n", "vertices 0 to 2 of 1"),
        ("OFF\n2 0 0\n0 0 0\n1 0 0\n", "2 points and no faces"),
        ("OFF BINARY\n\0\0\0\1", "binary"),
        ("4OFF\n1 0 0\n0 0 0 0\n", "three dimensions"),
        ("solid\n", "does not begin with OFF"),
        ("OFF\nx y z\n", "'x' stands where a number is expected"),
    ],
)
def test_what_is_wrong_with_off(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.off .*{match}"):
        read(tmp_path, text)


def facets(count: int = 2) -> bytes:
    data = b""
    for i in range(count):
        data += np.float32([0, 0, 1, *CORNERS[0], *CORNERS[1 + i], *CORNERS[2 + i]]).tobytes() + b"\0\0"
    return data


def test_stl(tmp_path: Path) -> None:
    """Binary files may begin with "solid"; facets share their vertices after reading."""
    binary = b"solid made by hand".ljust(80) + struct.pack("<I", 2) + facets()
    loops = "".join(
        "facet normal 0 0 1\n outer loop\n"
        + "".join(f"  vertex {x} {y} {z}\n" for x, y, z in (CORNERS[0], CORNERS[1 + i], CORNERS[2 + i]))
        + " endloop\nendfacet\n"
        for i in range(2)
    )
    text = f"solid x\n{loops}endsolid x\n"
    for data in (binary, binary + b"more", text.encode(), text.upper().encode()):
        (tmp_path / "a.stl").write_bytes(data)
        mesh = load_mesh(tmp_path / "a.stl")
        assert mesh.positions.tolist() == CORNERS
        assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    commented = text.replace("\n", " # made by hand\n")
    header = b"solid, made of facets".ljust(80) + struct.pack("<I", 2) + facets()
    for data in (header, ("# by hand\n " + commented).encode(), b"\n" + text.encode(), loops.encode() + b"endsolid"):
        (tmp_path / "a.stl").write_bytes(data)
        mesh = load_mesh(tmp_path / "a.stl")
        assert mesh.positions.tolist() == CORNERS
        assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    (tmp_path / "a.stl").write_text(text.removesuffix("endsolid x\n"))
    with pytest.warns(FileWarning, match=r"a\.stl: the file has no endsolid"):
        load_mesh(tmp_path / "a.stl")
    (tmp_path / "a.stl").write_text(text[: text.rindex("vertex")])
    with pytest.raises(ValueError, match=r"line \d+: expected three vertices"):
        load_mesh(tmp_path / "a.stl")
    for length in (50, 84, 100, len(binary) - 1):
        (tmp_path / "a.stl").write_bytes(b"\0" * 80 + binary[80:length] if length > 80 else b"\0" * length)
        with pytest.raises(ValueError, match=r"a\.stl .*cut short"):
            load_mesh(tmp_path / "a.stl")


def test_round_trips(tmp_path: Path) -> None:
    mesh = icosphere(2)
    colors = (torch.rand(len(mesh.positions), 3) * 255).round() / 255
    for suffix in ("stl", "off"):
        save_mesh(Mesh(mesh.positions, mesh.faces, colors=colors), tmp_path / f"a.{suffix}")
        again = load_mesh(tmp_path / f"a.{suffix}")
        assert torch.equal(again.positions[again.faces], mesh.positions[mesh.faces])
        assert len(again.positions) == len(mesh.positions)
        if suffix == "off":
            torch.testing.assert_close(again.colors, colors)
