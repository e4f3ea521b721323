"""Built-in shapes: the icosphere that fits start from, and a small textured creature for demonstrations."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types.shapes import Float, Int


def subdivide(
    positions: Float[Tensor, "vertices axes"], faces: Int[Tensor, "faces 3"]
) -> tuple[Float[Tensor, "_ axes"], Int[Tensor, "4*faces 3"]]:
    """Split every triangle into four at its edge midpoints.

    Args:
        positions: [V, A] vertex positions, or attributes of any number.
        faces: [F, 3].

    Returns:
        positions [V + E, A] and faces [4 F, 3] of the same orientation.
    """
    faces = faces.long()
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(dim=1).values
    unique, index = torch.unique(edges, dim=0, return_inverse=True)
    ab, bc, ca = (index + len(positions)).reshape(3, -1)
    a, b, c = faces.unbind(1)
    quads = [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    return torch.cat([positions, positions[unique].mean(1)]), torch.cat([torch.stack(t, 1) for t in quads])


def icosphere(level: int = 3, radius: float = 1.0) -> Mesh:
    """Sphere of nearly equilateral triangles: 10 * 4**level + 2 vertices, 20 * 4**level faces.

    Raises:
        ValueError: a level outside 0..8.

    >>> from lumigrad.scene import icosphere
    >>> ball = icosphere(2, radius=2.0)
    >>> ball.positions.shape, ball.faces.shape
    (torch.Size([162, 3]), torch.Size([320, 3]))
    >>> ball.positions.norm(dim=1).mean().round(decimals=4).item()
    2.0
    """
    if not 0 <= level <= 8:
        raise ValueError(f"level: expected 0 to 8, got {level}")
    g = (1 + math.sqrt(5)) / 2
    corners: list[tuple[float, float, float]]
    corners = [(-1, g, 0), (1, g, 0), (-1, -g, 0), (1, -g, 0), (0, -1, g), (0, 1, g)]
    corners += [(0, -1, -g), (0, 1, -g), (g, 0, -1), (g, 0, 1), (-g, 0, -1), (-g, 0, 1)]
    triangles = [
        (0, 11, 5),
        (0, 5, 1),
        (0, 1, 7),
        (0, 7, 10),
        (0, 10, 11),
        (1, 5, 9),
        (5, 11, 4),
        (11, 10, 2),
    ]
    triangles += [(10, 7, 6), (7, 1, 8), (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9), (4, 9, 5)]
    triangles += [(2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1)]
    positions = torch.nn.functional.normalize(torch.tensor(corners, dtype=torch.float64), dim=-1)
    faces = torch.tensor(triangles)
    for _ in range(level):
        positions, faces = subdivide(positions, faces)
        positions = torch.nn.functional.normalize(positions, dim=-1)
    return Mesh((radius * positions).float(), faces)


def sphere_uvs(
    directions: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"]
) -> tuple[Float[Tensor, "3*faces 2"], Int[Tensor, "faces 3"]]:
    """Latitude-longitude texture coordinates with a seam behind (at -z) that no triangle crosses.

    u is 0 at -z, 0.25 at -x, 0.5 at +z and 0.75 at +x; v runs from 0 at +y to 1 at -y. Triangles at the
    seam reach beyond [0, 1], which needs a repeating texture; a vertex at a pole takes the mean longitude of
    its triangle.

    Args:
        directions: [V, 3], not zero.
        faces: [F, 3].

    Returns:
        uvs [3 F, 2], one per corner, and uv_faces [F, 3].
    """
    unit = torch.nn.functional.normalize(directions, dim=-1)[faces.long()]
    u = torch.atan2(unit[..., 0], unit[..., 2]) / (2 * math.pi) + 0.5
    # The longitude of a pole is noise: unwrap relative to a corner that is not a pole.
    regular = unit[..., 1].abs() < 1 - 1e-6
    u = u - torch.round(u - u.gather(1, regular.int().argmax(1, keepdim=True)))
    mean = (u * regular).sum(1, keepdim=True) / regular.sum(1, keepdim=True).clamp_min(1)
    u = torch.where(regular, u, mean)
    v = torch.acos(unit[..., 1].clamp(-1, 1)) / math.pi
    count = 3 * len(faces)
    return torch.stack([u, v], -1).reshape(count, 2), torch.arange(count).reshape(-1, 3)


def _bump(directions: Tensor, centre: tuple[float, float, float], sharpness: float) -> Tensor:
    """1 at the centre, falling like a Gaussian of the angle; [...]."""
    axis = torch.nn.functional.normalize(directions.new_tensor(centre), dim=0)
    return torch.exp(sharpness * (directions @ axis - 1))


_EYES = ((-0.38, 0.32, 0.87), (0.38, 0.32, 0.87))


def _creature_radius(directions: Tensor) -> Tensor:
    radius = 0.72 + 0.05 * torch.sin(3 * directions[..., 1] + 1)
    for x in (-1.0, 1.0):
        radius = radius + 0.42 * _bump(directions, (0.55 * x, 0.85, 0.1), 22.0)
        radius = radius + 0.22 * _bump(directions, (0.95 * x, -0.15, 0.25), 16.0)
        radius = radius + 0.25 * _bump(directions, (0.45 * x, -0.9, 0.35), 14.0)
    radius = radius + 0.3 * _bump(directions, (0.0, -0.25, -1.0), 12.0)
    return radius + 0.2 * _bump(directions, (0.0, -0.02, 1.0), 26.0)


def _mix(image: Tensor, color: tuple[float, float, float], weight: Tensor) -> Tensor:
    weight = weight.clamp(0, 1)[..., None]
    return image * (1 - weight) + image.new_tensor(color) * weight


def _creature_paint(directions: Tensor) -> Tensor:
    x, y, z = directions.unbind(-1)
    stripes = torch.sin(9 * y + 2.2 * torch.sin(3 * torch.atan2(x, z)))
    image = torch.ones_like(directions) * directions.new_tensor((0.93, 0.56, 0.22))
    image = _mix(image, (0.17, 0.36, 0.52), 6 * stripes + 0.5)
    checker = torch.sin(9 * torch.asin(x.clamp(-1, 1))) * torch.sin(9 * torch.asin(y.clamp(-1, 1)))
    belly = 8 * (_bump(directions, (0.0, -0.5, 0.8), 5.0) - 0.55)
    image = _mix(image, (0.97, 0.92, 0.80), belly)
    image = _mix(image, (0.80, 0.30, 0.30), torch.minimum(belly, 8 * checker))
    for side in (-1.0, 1.0):
        image = _mix(image, (0.95, 0.85, 0.35), 12 * (_bump(directions, (0.55 * side, 0.85, 0.1), 22.0) - 0.45))
    image = _mix(image, (0.85, 0.25, 0.35), 20 * (_bump(directions, (0.0, -0.02, 1.0), 40.0) - 0.45))
    for eye in _EYES:
        image = _mix(image, (1.0, 1.0, 1.0), 30 * (_bump(directions, eye, 40.0) - 0.45))
        image = _mix(image, (0.05, 0.05, 0.1), 30 * (_bump(directions, eye, 40.0) - 0.78))
    return image


def creature(level: int = 5, texture_height: int = 512) -> Mesh:
    """The demonstration mesh: a round creature with horns, arms, feet, tail, and a striped coat.

    Args:
        level: of the icosphere that is displaced.
        texture_height: rows of the texture, which is twice as wide.

    >>> from lumigrad.scene import creature
    >>> mesh = creature(level=2, texture_height=32)
    >>> len(mesh.faces), mesh.texture.shape
    (320, torch.Size([32, 64, 3]))
    """
    sphere = icosphere(level)
    directions = sphere.positions
    uvs, uv_faces = sphere_uvs(directions, sphere.faces)
    rows = (torch.arange(texture_height) + 0.5) * (math.pi / texture_height)
    columns = (torch.arange(2 * texture_height) + 0.5) * (math.pi / texture_height) - math.pi
    theta, phi = torch.meshgrid(rows, columns, indexing="ij")
    grid = torch.stack([theta.sin() * phi.sin(), theta.cos(), theta.sin() * phi.cos()], dim=-1)
    positions = directions * _creature_radius(directions)[:, None]
    return Mesh(positions, sphere.faces, uvs, uv_faces, _creature_paint(grid))
