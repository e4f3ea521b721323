"""Small meshes and views for tests. Positions are float32 [V, 3] unless said, faces int32 [F, 3]."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor


def grid(rows: int, cols: int) -> tuple[Tensor, Tensor]:
    """The square [-1, 1]^2 at z = 0, counter-clockwise seen from +z, cut into rows x cols x 2 triangles."""
    y, x = torch.meshgrid(torch.linspace(1, -1, rows + 1), torch.linspace(-1, 1, cols + 1), indexing="ij")
    positions = torch.stack((x, y, torch.zeros_like(x)), -1).view(-1, 3)
    corner = (torch.arange(rows)[:, None] * (cols + 1) + torch.arange(cols)).flatten()
    a, b, c, d = corner, corner + 1, corner + cols + 1, corner + cols + 2
    return positions, torch.stack((a, c, b, b, c, d), 1).view(-1, 3).int()


def uv_sphere(stacks: int = 12, slices: int = 24, radius: float = 1.0) -> tuple[Tensor, Tensor]:
    """Latitude-longitude sphere with single vertices at the poles, counter-clockwise seen from outside."""
    theta = torch.arange(1, stacks).double() * math.pi / stacks
    phi = torch.arange(slices).double() * 2 * math.pi / slices
    ring = torch.stack(
        (
            theta.sin()[:, None] * phi.sin(),
            theta.cos()[:, None].expand(-1, slices),
            theta.sin()[:, None] * phi.cos(),
        ),
        -1,
    ).view(-1, 3)
    poles = torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]], dtype=torch.float64)
    north, south = len(ring), len(ring) + 1
    faces = []
    for j in range(slices):
        k = (j + 1) % slices
        last = (stacks - 2) * slices
        faces += [(north, j, k), (south, last + k, last + j)]
        for i in range(stacks - 2):
            a, b, c, d = i * slices + j, i * slices + k, (i + 1) * slices + j, (i + 1) * slices + k
            faces += [(a, c, b), (b, c, d)]
    return (radius * torch.cat((ring, poles))).float(), torch.tensor(faces, dtype=torch.int32)


def icosphere(level: int = 2, radius: float = 1.0) -> tuple[Tensor, Tensor]:
    """Sphere of 20 * 4**level nearly equilateral triangles, counter-clockwise seen from outside."""
    g = (1 + math.sqrt(5)) / 2
    points = [(s * 1.0, t * g, 0.0) for t in (1, -1) for s in (-1, 1)]  # rotated twice: the icosahedron
    points = points + [(z, x, y) for x, y, z in points] + [(y, z, x) for x, y, z in points]
    vertices = [tuple(c / math.hypot(*p) for c in p) for p in points]
    near = 1.1 * min(math.dist(vertices[0], v) for v in vertices[1:])
    faces = []
    for a in range(12):
        for b in range(a + 1, 12):
            for c in range(b + 1, 12):
                if max(math.dist(vertices[i], vertices[j]) for i, j in ((a, b), (b, c), (c, a))) < near:
                    p, q, r = (torch.tensor(vertices[i]) for i in (a, b, c))
                    outwards = torch.dot(torch.linalg.cross(q - p, r - p), p) > 0
                    faces.append((a, b, c) if outwards else (a, c, b))
    for _ in range(level):
        middle: dict[tuple[int, int], int] = {}

        def split(a: int, b: int, middle: dict[tuple[int, int], int] = middle) -> int:
            key = (min(a, b), max(a, b))
            if key not in middle:
                m = [x + y for x, y in zip(vertices[a], vertices[b])]
                middle[key] = len(vertices)
                vertices.append(tuple(x / math.hypot(*m) for x in m))
            return middle[key]

        finer = []
        for a, b, c in faces:
            ab, bc, ca = split(a, b), split(b, c), split(c, a)
            finer += [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
        faces = finer
    return radius * torch.tensor(vertices), torch.tensor(faces, dtype=torch.int32)


def cube() -> tuple[Tensor, Tensor]:
    """The cube [-1, 1]^3 of 8 vertices and 12 triangles, counter-clockwise seen from outside."""
    corners = [(x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))]
    return torch.tensor(corners), torch.tensor(faces, dtype=torch.int32)


def split_vertices(positions: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """The same triangles, none of which shares a vertex with another."""
    return positions[faces.long().flatten()], torch.arange(faces.numel(), dtype=torch.int32).view(-1, 3)


def random_triangles(count: int, seed: int = 0, size: float = 0.5, behind: float = 0.0) -> tuple[Tensor, Tensor]:
    """Unconnected triangles in clip space: positions float32 [3 count, 4], w from 0.5 to 2, faces.

    Args:
        count: number of triangles.
        seed: of the random numbers; the same triangles for the same seed.
        size: how far vertices lie from their triangle's centre along each axis of NDC.
        behind: share of the vertices that get a negative w, and so lie behind the eye.
    """
    random = torch.Generator().manual_seed(seed)
    centre = 2 * torch.rand(count, 1, 3, generator=random) - 1
    ndc = 0.9 * centre + size * (2 * torch.rand(count, 3, 3, generator=random) - 1)
    ndc[..., 2] *= 0.5
    w = 0.5 + 1.5 * torch.rand(count, 3, 1, generator=random)
    positions = torch.cat((ndc * w, w), -1).view(-1, 4)
    flip = torch.rand(3 * count, generator=random) < behind
    positions[flip, 3] *= -1
    return positions, torch.arange(3 * count, dtype=torch.int32).view(-1, 3)


def load_obj(path: str | Path) -> tuple[Tensor, Tensor]:
    """Positions and faces of a Wavefront OBJ file; polygons are cut into fans."""
    positions: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    for line in Path(path).read_text().splitlines():
        key, *words = line.split() or [""]
        if key == "v":
            positions.append([float(c) for c in words[:3]])
        elif key == "f":
            index = [int(word.split("/")[0]) for word in words]
            index = [i - 1 if i > 0 else len(positions) + i for i in index]
            faces += [(index[0], index[k], index[k + 1]) for k in range(1, len(index) - 1)]
    return torch.tensor(positions), torch.tensor(faces, dtype=torch.int32)


def perspective(fov: float = 50.0, aspect: float = 1.0, near: float = 0.1, far: float = 10.0) -> Tensor:
    """OpenGL projection matrix, float64 [4, 4]; ``fov`` is vertical, in degrees."""
    f = 1 / math.tan(math.radians(fov) / 2)
    matrix = torch.zeros(4, 4, dtype=torch.float64)
    matrix[0, 0], matrix[1, 1] = f / aspect, f
    matrix[2, 2], matrix[2, 3] = (far + near) / (near - far), 2 * far * near / (near - far)
    matrix[3, 2] = -1
    return matrix


def view_mesh(
    verts: Tensor,
    azimuth: float = 0.0,
    elevation: float = 0.0,
    distance: float = 2.7,
    fov: float = 50.0,
    aspect: float = 1.0,
) -> Tensor:
    """Clip positions [V, 4] of a mesh that is centred, scaled to a longest side of 1, and seen in orbit.

    Args:
        verts: [V, 3]; the result has its dtype.
        azimuth, elevation: of the camera in degrees; (0, 0) looks along -z.
        distance: of the camera from the centre.
        fov: vertical field of view in degrees.
        aspect: width / height of the image.
    """
    points = verts.double()
    low, high = points.amin(0), points.amax(0)
    points = (points - (low + high) / 2) / (high - low).max()
    a, e = math.radians(azimuth), math.radians(elevation)
    turn = torch.tensor([[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]])
    tilt = torch.tensor([[1, 0, 0], [0, math.cos(e), -math.sin(e)], [0, math.sin(e), math.cos(e)]])
    seen = points @ (tilt.double() @ turn.double()).T - torch.tensor([0, 0, distance], dtype=torch.float64)
    return to_clip(seen, perspective(fov, aspect)).to(verts.dtype)


def to_clip(points: Tensor, matrix: Tensor) -> Tensor:
    """Clip positions [V, 4] of camera-space points [V, 3]."""
    return torch.cat((points, torch.ones_like(points[:, :1])), 1) @ matrix.to(points.dtype).T
