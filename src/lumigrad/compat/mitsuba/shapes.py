"""Shapes as triangles.

Rectangles, disks, spheres and cylinders keep their `to_world` as a parameter; the vertices of cubes and of files are in
the world. Spheres, disks and cylinders are made of `segments` strips around (128 by default): vertices lie on the
surface, normals are the surface's, and a circle is 3e-4 of its radius too small at most.

Mitsuba's sides go with shading normals. A `to_world` that mirrors leaves cubes, cylinders, and meshes with normals of
their own the right way round; it turns spheres, and meshes without normals, inside out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.compat.mitsuba import serialized
from lumigrad.compat.mitsuba.objects import Object, below
from lumigrad.compat.mitsuba.transforms import as_tensor
from lumigrad.io import load_mesh
from lumigrad.scene._transform import mirrored, transform_directions, transform_points
from lumigrad.scene._vectors import frames
from lumigrad.scene.shapes.mesh import Mesh, vertex_normals

# ---- Loading -------------------------------------------------------------------------------------------------------


def add_geometry(found: Object, path: Path | None) -> None:
    """The mesh of a shape, and its parameters."""
    if found.kind in ANALYTIC:
        found.values["to_world"] = _matrix(found) @ _own_placement(found)
        found.mesh = ANALYTIC[found.kind](found)
        return
    mesh = _cube() if found.kind == "cube" else _of_file(found, path) if path is not None else _of_arrays(found)
    matrix = _matrix(found)
    del found.values["to_world"]
    own_normals = found.kind == "cube" or not (mesh.normals is None or found.options.get("face_normals", False))
    if own_normals and bool(mirrored(matrix)):
        mesh = _turned(mesh)
    normals = None
    if not found.options.get("face_normals", False):
        positions = transform_points(mesh.positions, matrix)
        if mesh.normals is None:
            normals = vertex_normals(positions, mesh.faces)
            mesh = replace(mesh, normals=normals, normal_faces=mesh.faces)
        else:
            normals = transform_directions(mesh.normals, matrix)
    found.mesh = mesh
    found.values["faces"] = mesh.faces.reshape(-1)
    found.values["vertex_positions"] = transform_points(mesh.positions, matrix).reshape(-1)
    if normals is not None:
        found.values["vertex_normals"] = normals.reshape(-1)
    if mesh.uvs is not None:
        found.values["vertex_texcoords"] = mesh.uvs.reshape(-1)


def _matrix(found: Object) -> Tensor:
    matrix = found.values.setdefault("to_world", torch.eye(4))
    if matrix.shape != (4, 4):
        raise ValueError(f"{below(found.path, 'to_world')}: expected [4, 4], got {list(matrix.shape)}")
    return matrix


def _of_file(found: Object, path: Path) -> Mesh:
    """Files of Mitsuba's have v as it is looked up, and OBJ has it upwards; `load_mesh` turns it for both."""
    if found.kind == "serialized":
        return serialized.read(path, found.options["shape_index"])
    if path.suffix.lower() != f".{found.kind}":
        raise ValueError(f"{below(found.path, 'filename')}: expected a .{found.kind} file, got {path}")
    mesh = load_mesh(path)
    uvs = mesh.uvs
    if uvs is not None and not found.options["flip_tex_coords"]:
        uvs = torch.stack([uvs[:, 0], 1 - uvs[:, 1]], -1)
    normals = mesh.normals
    return Mesh(mesh.positions, mesh.faces, uvs, mesh.uv_faces, normals=normals, normal_faces=mesh.normal_faces)


def _of_arrays(found: Object) -> Mesh:
    arrays = {name: found.values.pop(name).reshape(-1, size)
              for name, size in (("vertex_positions", 3), ("vertex_normals", 3), ("vertex_texcoords", 2))
              if name in found.values}  # fmt: skip
    faces = torch.as_tensor(found.options.pop("faces")).reshape(-1, 3).long()
    return Mesh(arrays["vertex_positions"], faces, arrays.get("vertex_texcoords"), normals=arrays.get("vertex_normals"))


# ---- Rendering -----------------------------------------------------------------------------------------------------


def mesh_of(shape: Object) -> Mesh:
    """A shape's triangles in the world, with the values of its parameters."""
    assert shape.mesh is not None
    if shape.kind in ANALYTIC:
        mesh = shape.mesh.transformed(shape.values["to_world"])
        if shape.kind == "sphere" and bool(mirrored(shape.values["to_world"])):
            mesh = _flipped(mesh)
    else:
        found = shape.values
        faces = found["faces"].reshape(-1, 3)
        same = torch.equal(faces, shape.mesh.faces)
        changed: dict[str, Tensor | None] = {"positions": found["vertex_positions"].reshape(-1, 3), "faces": faces}
        for name, index, given, size in (
            ("normals", "normal_faces", "vertex_normals", 3), ("uvs", "uv_faces", "vertex_texcoords", 2),
        ):  # fmt: skip
            if given in found:
                changed[name] = found[given].reshape(-1, size)
                changed[index] = getattr(shape.mesh, index) if same else faces
        mesh = Mesh(**changed)  # type: ignore[arg-type]
        if "vertex_normals" not in found:
            mesh = mesh.creased(0.0)
    return _flipped(mesh) if shape.options["flip_normals"] else mesh


def renew_normals(shape: Object) -> None:
    """Smooth normals of vertices that have moved."""
    assert shape.mesh is not None
    positions, faces = shape.values["vertex_positions"].reshape(-1, 3), shape.values["faces"].reshape(-1, 3)
    normals = vertex_normals(positions, faces)
    shape.values["vertex_normals"] = normals.reshape(-1)
    shape.mesh = replace(shape.mesh, normals=normals.detach(), normal_faces=faces)


def _flipped(mesh: Mesh) -> Mesh:
    """Seen from the other side."""
    return replace(_turned(mesh), normals=None if mesh.normals is None else -mesh.normals)


def _turned(mesh: Mesh) -> Mesh:
    """The corners of faces in the other order; normals stay."""
    indices = {name: getattr(mesh, name) for name in ("faces", "uv_faces", "normal_faces")}
    return replace(mesh, **{name: index[:, [0, 2, 1]] for name, index in indices.items() if index is not None})


# ---- Shapes of formulas --------------------------------------------------------------------------------------------


def _own_placement(found: Object) -> Tensor:
    """From the unit shape to that of the centre, the radius and so on that were given."""
    if found.kind not in ("sphere", "cylinder"):
        return torch.eye(4)
    radius = as_tensor(found.options["radius"], f"{below(found.path, 'radius')}")
    if not radius > 0:
        raise ValueError(f"{below(found.path, 'radius')}: expected more than 0, got {radius.item():g}")
    if found.kind == "sphere":
        axes, centre = radius * torch.eye(3), _point(found, "center")
    else:
        centre = _point(found, "p0")
        along = _point(found, "p1") - centre
        length = along.norm()
        if not length > 0:
            raise ValueError(f"{below(found.path, 'p1')}: expected another point than p0")
        axes = frames((along / length)[None])[0] * torch.stack([radius, radius, length])
    return torch.cat([torch.cat([axes, centre[:, None]], 1), torch.tensor([[0.0, 0.0, 0.0, 1.0]])])


def _point(found: Object, name: str) -> Tensor:
    value = as_tensor(found.options[name], f"{below(found.path, name)}")
    if value.shape != (3,):
        raise ValueError(f"{below(found.path, name)}: expected [3], got {list(value.shape)}")
    return value


def _segments(found: Object) -> int:
    count = found.options["segments"]
    if count < 8 or count % 2:
        raise ValueError(f"{below(found.path, 'segments')}: expected an even number from 8 on, got {count}")
    return int(count)


def _rectangle(found: Object) -> Mesh:
    corners = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    return Mesh(corners, torch.tensor([[0, 1, 2], [0, 2, 3]]), 0.5 + 0.5 * corners[:, :2])


# The corners of each face of the cube, in Mitsuba's order.
_CUBE = torch.tensor([
    [[1.0, -1, -1], [1, -1, 1], [-1, -1, 1], [-1, -1, -1]], [[1, 1, -1], [-1, 1, -1], [-1, 1, 1], [1, 1, 1]],
    [[1, -1, -1], [1, 1, -1], [1, 1, 1], [1, -1, 1]], [[1, -1, 1], [1, 1, 1], [-1, 1, 1], [-1, -1, 1]],
    [[-1, -1, 1], [-1, 1, 1], [-1, 1, -1], [-1, -1, -1]], [[1, 1, -1], [1, -1, -1], [-1, -1, -1], [-1, 1, -1]],
])  # fmt: skip


def _cube() -> Mesh:
    """From -1 to 1: six faces of four corners each, with flat normals."""
    normals = _CUBE.mean(1, keepdim=True).expand(6, 4, 3)
    faces = torch.tensor([[0, 1, 2], [3, 0, 2]]) + 4 * torch.arange(6)[:, None, None]
    uvs = torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]]).repeat(6, 1)
    return Mesh(_CUBE.reshape(-1, 3), faces.reshape(-1, 3), uvs, normals=normals.reshape(-1, 3))


def _disk(found: Object) -> Mesh:
    """Radius 1 around the origin, normal +z; u is the distance from the centre, v the angle over 2 pi."""
    count = _segments(found)
    turn = torch.arange(count + 1) / count
    angle = 2 * math.pi * turn
    rim = torch.stack([angle.cos(), angle.sin(), torch.zeros(count + 1)], -1)
    rim[-1] = rim[0]
    k = torch.arange(count)
    middles = torch.stack([torch.zeros(count), (turn[:-1] + turn[1:]) / 2], -1)
    rim_uvs = torch.stack([torch.ones(count + 1), turn], -1)
    faces = torch.stack([torch.full((count,), count), k, (k + 1) % count], -1)
    positions = torch.cat([rim[:-1], torch.zeros(1, 3)])
    return Mesh(positions, faces, torch.cat([rim_uvs, middles]), torch.stack([count + 1 + k, k, k + 1], -1))


def _cylinder(found: Object) -> Mesh:
    """Radius 1 around z from 0 to 1, without lids; u is the angle over 2 pi, v the height."""
    return _grid(_segments(found), torch.ones(2), torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]), False)


def _sphere(found: Object) -> Mesh:
    """Radius 1; u is the angle around z over 2 pi, v that from +z over pi."""
    count = _segments(found)
    v = torch.arange(count // 2, -1, -1) / (count // 2)
    return _grid(count, (math.pi * v).sin(), (math.pi * v).cos(), v, True)


def _grid(count: int, radii: Tensor, heights: Tensor, v: Tensor, poles: bool) -> Mesh:
    """A surface of revolution about z, outwards, from the bottom up; closed around, and at poles."""
    turn = torch.arange(count + 1) / count
    angle = 2 * math.pi * turn
    circle = torch.stack([angle.cos(), angle.sin()], -1)[:-1]
    positions = torch.cat([
        radii[:, None, None] * circle.expand(len(radii), count, 2), heights[:, None, None].expand(-1, count, 1),
    ], -1).reshape(-1, 3)  # fmt: skip
    normals = positions if poles else torch.cat([circle.repeat(2, 1), torch.zeros(2 * count, 1)], -1)
    uvs = torch.stack([turn.expand(len(v), -1), v[:, None].expand(-1, count + 1)], -1).reshape(-1, 2)
    row, k = torch.meshgrid(torch.arange(len(v) - 1), torch.arange(count), indexing="ij")
    faces, uv_faces = (
        torch.stack([
            torch.stack([row * width + k, row * width + right, (row + 1) * width + right], -1),
            torch.stack([row * width + k, (row + 1) * width + right, (row + 1) * width + k], -1),
        ])
        for width, right in ((count, (k + 1) % count), (count + 1, k + 1))
    )  # fmt: skip
    if poles:
        # A row of vertices is one point. Of the two triangles of a cell there, one has no area.
        last = (len(v) - 1) * count
        kept = torch.stack([(faces[0] < count).sum(-1) < 2, (faces[1] >= last).sum(-1) < 2])
        faces, uv_faces = faces[kept], uv_faces[kept]
        faces = torch.where(faces < count, 0, torch.where(faces >= last, last, faces))
    faces, uv_faces = faces.reshape(-1, 3), uv_faces.reshape(-1, 3)
    mesh = Mesh(positions, faces, uvs, uv_faces, normals=normals, normal_faces=faces)
    return mesh.submesh(torch.ones(len(faces), dtype=torch.bool))


ANALYTIC: dict[str, Callable[[Object], Mesh]] = {
    "rectangle": _rectangle,
    "disk": _disk,
    "cylinder": _cylinder,
    "sphere": _sphere,
}
