"""PyTorch3D's contract for OBJ and PLY files where it differs from that of `lumigrad.io`."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

import lumigrad.compat.pytorch3d as p3d
from lumigrad.compat.pytorch3d.io.ply_io import _load_ply_raw

PLY = """ply
format ascii 1.0
element vertex 2
property float x
property double y
property double z
element listy 1
property list uint int x
element mixed 2
property uchar a
property list uchar short b
end_header
1 2 3
4 5 6
2 7 8
9 1 10
11 0
"""


def test_rows_of_ply_files() -> None:
    header, rows = _load_ply_raw(io.StringIO(PLY))
    assert header.ascii
    first, others = rows["vertex"]
    assert (first.dtype, others.dtype) == (np.float32, np.float64)
    assert (first.tolist(), others.tolist()) == ([[1], [4]], [[2, 3], [5, 6]])
    assert rows["listy"].tolist() == [[7, 8]]
    assert [[row[0], row[1].tolist()] for row in rows["mixed"]] == [[9, [10]], [11, []]]


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("ply\n", "PLY\n", "Invalid file header"),
        ("format ascii 1.0", "format ascii 2.0", "Invalid file header"),
        ("element vertex 2\n", "element vertex two\n", "Number of items for vertex was not a number"),
        ("element vertex 2\n", "# remark\nelement vertex 2\n", "Invalid line: # remark"),
        ("element vertex 2\n", "element empty 2\nelement vertex 2\n", "no properties"),
        ("property double z", "property double x", "two properties called x in vertex"),
        ("property double z", "property real z", "Invalid datatype: real"),
        ("4 5 6\n", "4 5 6 7\n", "Inconsistent data for vertex"),
        ("4 5 6\n", "4 5\n6\n", "Inconsistent data for vertex"),
        ("2 7 8\n", "2 7 8 9\n", "A line of listy data did not have the specified length"),
        ("9 1 10\n", "9 1 10 10\n", "A line of mixed data did not have the specified length"),
        ("11 0\n", "", "Not enough data for mixed"),
        ("11 0\n", "11 0\n12\n", "Extra data at end of file"),
    ],
)
def test_ply_files_must_be_as_their_header_says(old: str, new: str, match: str) -> None:
    assert old in PLY
    with pytest.raises(ValueError, match=match):
        _load_ply_raw(io.StringIO(PLY.replace(old, new)))


def test_bytes_after_the_last_row() -> None:
    verts, faces = torch.rand(4, 3), torch.tensor([[0, 1, 2], [0, 2, 3]])
    file = io.BytesIO()
    p3d.save_ply(file, verts, faces)
    there, triangles = p3d.load_ply(io.BytesIO(file.getvalue()))
    assert torch.equal(there, verts)
    assert torch.equal(triangles, faces)
    with pytest.raises(ValueError, match="Extra data"):
        p3d.load_ply(io.BytesIO(file.getvalue() + b"\0"))
    with pytest.raises(ValueError, match="cut short"):
        p3d.load_ply(io.BytesIO(file.getvalue()[:-1]))


def test_obj_files_stay_as_they_are() -> None:
    """Equal and unused vertices, fans of concave polygons, negative numbers."""
    arrow = "v 0 0 0\nv 2 0 0\nv 0 0 0\nv 0.5 0.5 0\nv 0 2 0\nv 9 9 9\n"
    verts, faces, aux = p3d.load_obj(io.StringIO(arrow + "f 1 2 4 5\nv 1 1 1\nf -1 -2 3\nf 1 2\n"))
    assert len(verts) == 7
    assert faces.verts_idx.tolist() == [[0, 1, 3], [0, 3, 4], [6, 5, 2]]
    assert faces.textures_idx.tolist() == [[-1] * 3] * 3
    assert aux.normals is None


@pytest.mark.parametrize("face", ["f 1 2 4", "f 1 2 -4", "f 1/3 2/1 3/1", "f 1//1 2//1 3//2"])
def test_numbers_that_do_not_exist_are_kept_with_a_warning(face: str) -> None:
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvn 0 0 1\n" + face
    with pytest.warns(UserWarning, match="Faces have invalid indices"):
        _, faces, _ = p3d.load_obj(io.StringIO(text))
    assert len(faces.verts_idx) == 1


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("v 1 2\n", r"Vertex \['1', '2'\] does not have 3 values"),
        ("vt 1\n", "does not have 2 values"),
        ("vn 1 2\n", "does not have 3 values"),
        ("f 2//1 3/1 4/1/2\n", "Vertex properties are inconsistent. Line: f 2//1"),
        ("f 1/1 2/1 3\n", "Vertex properties are inconsistent"),
        ("f 2/1/1/3\n", "Face vertices can only have 3 properties"),
        ("mtllib\n", "material file name is not specified"),
    ],
)
def test_obj_lines_that_are_errors(text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        p3d.load_obj(io.StringIO(text))
