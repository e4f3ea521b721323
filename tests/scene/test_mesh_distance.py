"""Signed distances to meshes: closed forms, every triangle tried, and meshes with holes."""

from __future__ import annotations

import math

import pytest
import torch
from implicit_common import box, centres, euler_number, is_watertight
from torch import Tensor

from lumigrad.scene import Mesh, SignedDistanceGrid, icosphere
from lumigrad.scene.shapes._mesh_distance import TriangleTree, finite_triangles


def cube(half: float = 0.5) -> Mesh:
    """Twelve large triangles."""
    corner = torch.tensor([[x, y, z] for z in (-half, half) for y in (-half, half) for x in (-half, half)])
    quads = ((0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5))
    return Mesh(corner, torch.tensor([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]))


def distance_to_cube(points: Tensor, half: float = 0.5) -> Tensor:
    beyond = points.abs() - half
    return beyond.clamp(min=0).norm(dim=-1) + beyond.amax(-1).clamp(max=0)


def sampled_distances(mesh: Mesh, points: Tensor, steps: int = 40) -> Tensor:
    """Distances to the nearest of many points of each triangle, a little too large."""
    u, v = torch.meshgrid(*[torch.linspace(0, 1, steps, dtype=torch.float64)] * 2, indexing="ij")
    weights = torch.stack((1 - u, u * (1 - v), u * v), -1).reshape(-1, 3)
    surface = (weights @ mesh.positions.double()[mesh.faces.long()]).reshape(-1, 3)
    return torch.stack([(surface - point).norm(dim=-1).amin() for point in points.double()])


@pytest.mark.parametrize("size", [(16, 16, 16), (17, 12, 23)])
def test_cube(size: tuple[int, int, int]) -> None:
    """Distances to a cube equal the closed form, for voxels of any shape, also far from the surface."""
    grid = SignedDistanceGrid.from_mesh(cube(), size, box(1.0))
    torch.testing.assert_close(grid.values, distance_to_cube(centres(size, 1.0, torch.float32)), atol=1e-5, rtol=0)


def test_every_triangle_tried() -> None:
    """Triangles of all sizes, some without area, not all in the box."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.randn(20, 3, 3, generator=generator) * torch.rand(20, 1, 1, generator=generator)
    corners[3, 1] = corners[3, 0]
    corners[4] = corners[4, :1].clone()
    corners[5, 2] = 0.25 * corners[5, 0] + 0.75 * corners[5, 1]
    mesh = Mesh(corners.reshape(-1, 3), torch.arange(60).view(20, 3))
    grid = SignedDistanceGrid.from_mesh(mesh, (12, 11, 10), box(1.0))
    points = centres((12, 11, 10), 1.0, torch.float32).reshape(-1, 3)
    excess = grid.values.abs().reshape(-1) - sampled_distances(mesh, points)
    assert excess.min() > -0.1
    assert excess.max() < 0.1 * 0.2  # a tenth of a voxel
    near = grid.values.abs().reshape(-1) < 1.5 * 2 / 12
    assert near.sum() > 300
    assert excess[near].max() < 1e-5


def test_sphere_is_closed_and_inside_out() -> None:
    ball = icosphere(3)
    grid = SignedDistanceGrid.from_mesh(ball, 24)
    voxel = grid.voxel_size[0]
    away = centres(24, 12 * float(voxel), torch.float32).norm(dim=-1) - 1
    error = (grid.values - away).abs() / voxel
    assert error.max() < 0.15
    assert error[away.abs() < 1.4 * voxel].max() < 0.07  # how far the facets lie below the sphere
    mesh = grid.mesh()
    assert is_watertight(mesh.faces)
    assert euler_number(mesh.positions, mesh.faces) == 2
    inverted = SignedDistanceGrid.from_mesh(Mesh(ball.positions, ball.faces.flip(1)), 24)
    assert torch.equal(inverted.values < 0, grid.values < 0)
    assert (inverted.values - grid.values).abs().max() < 0.1 * voxel


def test_holes_are_closed() -> None:
    """Every voxel has the sign of the whole ball but beside the hole, though rays fall in through it."""
    ball = icosphere(4)
    center = ball.positions[ball.faces.long()].mean(1)
    holes = (center @ torch.tensor([0.0, 1.0, 0.0]) > 0.95) | (center @ torch.tensor([0.8, 0.0, 0.6]) > 0.97)
    whole = SignedDistanceGrid.from_mesh(ball, 32)
    open_ = SignedDistanceGrid.from_mesh(ball.submesh(~holes), 32, whole.box)
    differs = (whole.values < 0) != (open_.values < 0)
    assert differs.sum() < 0.005 * differs.numel()
    assert whole.values[differs].abs().max() < 0.12
    mesh = open_.mesh()
    assert is_watertight(mesh.faces)
    assert euler_number(mesh.positions, mesh.faces) == 2


def test_overlapping_pieces_are_joined() -> None:
    ball = icosphere(3, radius=0.5)
    left, right = (ball.positions + torch.tensor([x, 0.0, 0.0]) for x in (-0.25, 0.25))
    both = Mesh(torch.cat((left, right)), torch.cat((ball.faces, ball.faces + len(left))))
    grid = SignedDistanceGrid.from_mesh(both, 32, box(1.0))
    points = centres(32, 1.0, torch.float32)
    expected = torch.stack([(points - torch.tensor([x, 0.0, 0.0])).norm(dim=-1) - 0.5 for x in (-0.25, 0.25)]).amin(0)
    far = expected.abs() > 0.02
    assert torch.equal((grid.values < 0)[far], (expected < 0)[far])


def test_winding_numbers() -> None:
    """Of a half sphere, against the solid angle of its rim seen from points of its axis."""
    ball = icosphere(5)
    half = ball.submesh(ball.positions[ball.faces.long()].amax(1)[:, 1] <= 1e-6)
    tree = TriangleTree(finite_triangles(half))
    height = torch.tensor([-3.0, -0.5, -0.1, 0.1, 0.5, 3.0])
    points = torch.stack((torch.zeros(6), height, torch.zeros(6)), -1)
    cap = 0.5 * (1 - height.abs() / (height**2 + 1).sqrt())
    inside = (height < 0) & (height > -1)
    expected = torch.where(inside, 1 - cap, torch.where(height < 0, -cap, cap))
    torch.testing.assert_close(tree.winding_numbers(points), expected, atol=0.01, rtol=0)


def test_other_places_and_types() -> None:
    """A mesh beside the box; double precision; triangles that are not finite."""
    mesh = cube()
    far = SignedDistanceGrid.from_mesh(mesh, 8, [[2.0, 2.0, 2.0], [3.0, 3.0, 3.0]])
    points = centres(8, 0.5, torch.float32) + 2.5
    torch.testing.assert_close(far.values, distance_to_cube(points), atol=1e-5, rtol=0)
    broken = torch.cat((mesh.positions, torch.full((1, 3), math.nan))).double()
    grid = SignedDistanceGrid.from_mesh(Mesh(broken, torch.cat((mesh.faces, torch.tensor([[0, 1, 8]])))), 8)
    assert grid.values.dtype == torch.float64
    torch.testing.assert_close(grid.values, distance_to_cube(centres(8, 0.6)), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: SignedDistanceGrid.from_mesh(3), TypeError, r"mesh: expected a Mesh, got int"),
        (lambda: SignedDistanceGrid.from_mesh(cube(), 0), ValueError, r"resolution: expected an integer"),
        (lambda: SignedDistanceGrid.from_mesh(cube(), (2, 3)), ValueError, r"resolution: expected one number or three"),
        (lambda: SignedDistanceGrid.from_mesh(cube(), 8, [[0, 0, 0]]), ValueError, r"box: expected shape"),
        (lambda: SignedDistanceGrid.from_mesh(cube(), 8, margin=-1.0), ValueError, r"margin: expected a positive"),
        (
            lambda: SignedDistanceGrid.from_mesh(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))),
            ValueError,
            r"mesh: expected at least one finite triangle, got none among 0",
        ),
        (
            lambda: SignedDistanceGrid.from_mesh(Mesh(cube().positions[None], cube().faces)),
            ValueError,
            r"mesh: expected a single mesh",
        ),
    ],
)
def test_wrong_arguments(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
