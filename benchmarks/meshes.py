"""The triangle meshes and the camera of the frame benchmarks.

Every library renders the same vertices through the same camera: a `Workload` holds clip-space positions
(OpenGL's, y up) and converts them to each library's convention.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

CAMERA_DISTANCE = 2.7
FIELD_OF_VIEW_DEGREES = 50.0
ELEVATION_DEGREES = 20.0
AZIMUTH_DEGREES = 30.0
NEAR, FAR = 0.1, 10.0

# Number of triangles of each classic mesh, for the procedural sphere that stands in for it.
TRIANGLES = {
    "suzanne": 968,
    "cow": 5_804,
    "spot": 5_856,
    "rocker-arm": 20_088,
    "stanford-bunny": 69_451,
    "ogre": 124_008,
}


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh in the box [-1, 1]^3: vertices [V, 3] float32, faces [T, 3] int32, colors [V, 3]."""

    name: str
    vertices: torch.Tensor
    faces: torch.Tensor
    colors: torch.Tensor

    @property
    def triangles(self) -> int:
        return self.faces.shape[0]


@dataclass(frozen=True)
class Workload:
    """One frame: a mesh seen by the camera in a square image, and the incoming gradient of that image.

    clip [1, V, 4] clip-space positions; gradient [1, size, size, 3], row 0 at the top.
    """

    mesh: Mesh
    size: int
    clip: torch.Tensor
    gradient: torch.Tensor

    def pixel_positions(self) -> torch.Tensor:
        """[1, V, 3]: column and row (integers at pixel centres) and depth in front of the camera."""
        x, y, _, w = self.clip.unbind(-1)
        column = (x / w + 1) * (self.size / 2) - 0.5
        row = (1 - y / w) * (self.size / 2) - 0.5
        return torch.stack([column, row, w], -1).contiguous()

    def leftward_ndc_positions(self) -> torch.Tensor:
        """[V, 3]: NDC with x to the left, y up, and depth in front of the camera."""
        x, y, _, w = self.clip[0].unbind(-1)
        return torch.stack([-x / w, y / w, w], -1).contiguous()


def load(name: str, folder: Path | None) -> tuple[Mesh, str | None]:
    """The mesh `name` from `folder`, or a sphere with about as many triangles and a note that says so."""
    path = None if folder is None else folder / f"{name}.obj"
    if path is not None and path.is_file():
        vertices, faces = read_obj(path)
        return _finish(name, vertices, faces), None
    if name not in TRIANGLES:
        raise ValueError(f"mesh {name!r}: expected {name}.obj in {folder} or one of {sorted(TRIANGLES)}")
    vertices, faces = sphere(TRIANGLES[name])
    note = f"{name}.obj not found: a sphere of {len(faces)} triangles stands in for it"
    return _finish(f"sphere-{len(faces)}", vertices, faces), note


def read_obj(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions and faces of a Wavefront OBJ file; polygons are cut into fans of triangles."""
    vertices: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    with path.open() as lines:
        for line in lines:
            kind, *fields = line.split() or [""]
            if kind == "v":
                vertices.append([float(field) for field in fields[:3]])
            elif kind == "f":
                corners = [_vertex_index(field, len(vertices)) for field in fields]
                faces.extend((corners[0], b, c) for b, c in pairwise(corners[1:]))
    return torch.tensor(vertices, dtype=torch.float32), torch.tensor(faces, dtype=torch.int32)


def _vertex_index(field: str, count: int) -> int:
    # OBJ counts from one; a negative index counts back from the most recent vertex.
    index = int(field.split("/", 1)[0])
    return index - 1 if index > 0 else count + index


def sphere(triangles: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An octahedron whose faces are each split into n^2, projected onto a sphere: about `triangles` faces."""
    n = max(1, round(math.sqrt(triangles / 8)))
    corners: dict[tuple[int, int, int], int] = {}
    faces: list[list[int]] = []

    def corner(x: int, y: int, z: int) -> int:
        return corners.setdefault((x, y, z), len(corners))

    for sx, sy, sz in ((sx, sy, sz) for sx in (1, -1) for sy in (1, -1) for sz in (1, -1)):

        def at(i: int, j: int, sx: int = sx, sy: int = sy, sz: int = sz) -> int:
            return corner(sx * i, sy * j, sz * (n - i - j))

        for i in range(n):
            for j in range(n - i):
                cells = [[at(i, j), at(i + 1, j), at(i, j + 1)]]
                if i + j < n - 1:
                    cells.append([at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)])
                # An odd number of mirrored axes reverses a face's orientation.
                faces.extend(cells if sx * sy * sz > 0 else [cell[::-1] for cell in cells])
    vertices = torch.nn.functional.normalize(torch.tensor(list(corners), dtype=torch.float32), dim=-1)
    return vertices, torch.tensor(faces, dtype=torch.int32)


def _finish(name: str, vertices: torch.Tensor, faces: torch.Tensor) -> Mesh:
    """Centres the mesh, scales its longest side to 2 and colours it by position."""
    low, high = vertices.amin(0), vertices.amax(0)
    vertices = (vertices - (low + high) / 2) * (2 / (high - low).amax())
    return Mesh(name, vertices.contiguous(), faces.contiguous(), ((vertices + 1) / 2).contiguous())


def workload(mesh: Mesh, size: int) -> Workload:
    """`mesh` in an image of size^2 pixels, with a fixed random gradient of the image."""
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(1, size, size, 3, generator=generator)
    homogeneous = torch.cat([mesh.vertices, torch.ones(len(mesh.vertices), 1)], -1).double()
    clip = (homogeneous @ camera().T).float()[None].contiguous()
    return Workload(mesh, size, clip, gradient)


def camera() -> torch.Tensor:
    """World to clip space [4, 4], float64: the camera looks at the origin, y is up."""
    elevation, azimuth = math.radians(ELEVATION_DEGREES), math.radians(AZIMUTH_DEGREES)
    level = math.cos(elevation)
    eye = [level * math.sin(azimuth), math.sin(elevation), level * math.cos(azimuth)]
    backward = torch.tensor(eye, dtype=torch.float64)
    up = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    right = torch.nn.functional.normalize(torch.linalg.cross(up, backward), dim=0)
    view = torch.eye(4, dtype=torch.float64)
    view[:3, :3] = torch.stack([right, torch.linalg.cross(backward, right), backward])
    view[2, 3] = -CAMERA_DISTANCE
    focal = 1 / math.tan(math.radians(FIELD_OF_VIEW_DEGREES) / 2)
    projection = torch.zeros(4, 4, dtype=torch.float64)
    projection[0, 0] = projection[1, 1] = focal
    projection[2, 2] = (FAR + NEAR) / (NEAR - FAR)
    projection[2, 3] = 2 * FAR * NEAR / (NEAR - FAR)
    projection[3, 2] = -1
    return projection @ view
