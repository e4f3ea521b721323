"""Deformations and regularisers of templates against closed forms and finite differences, and the loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lumigrad.fit import (
    ArapEnergy,
    Landmarks,
    adjacent_faces,
    barycentric_points,
    bending_loss,
    blend_shapes,
    cotangent_weights,
    edge_length_loss,
    edge_lengths,
    fibonacci_cameras,
    fit_template,
    laplacian_energy,
    mean_value_coordinates,
    mirror_vertices,
    skin,
    symmetry_loss,
    unique_edges,
)
from lumigrad.render import render_mesh
from lumigrad.scene import axis_angle_to_matrix, icosphere

F64 = torch.float64


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def ball(level: int = 1, noise: float = 0.0) -> tuple[Tensor, Tensor]:
    mesh = icosphere(level)
    return mesh.positions.double() + noise * random(*mesh.positions.shape), mesh.faces


# ---- Deformations --------------------------------------------------------------------------------------------------


def transforms(count: int) -> Tensor:
    matrix = torch.eye(4, dtype=F64).repeat(count, 1, 1)
    matrix[:, :3, :3] = axis_angle_to_matrix(random(count, 3))
    matrix[:, :3, 3] = random(count, 3, seed=1)
    return matrix


def test_skinning_by_hand() -> None:
    points, weights, moves = random(5, 3), random(5, 2, seed=2).softmax(-1), transforms(2)
    homogeneous = torch.cat([points, torch.ones(5, 1, dtype=F64)], -1)
    for v, moved in enumerate(skin(points, weights, moves)):
        expected = sum(weights[v, b] * (moves[b] @ homogeneous[v]) for b in range(2))
        torch.testing.assert_close(moved, expected[:3])
    both = skin(points, weights, torch.stack([moves, 2 * moves]))
    torch.testing.assert_close(both[1], 2 * both[0])
    inputs = [t.requires_grad_() for t in (points, weights, moves)]
    assert torch.autograd.gradcheck(skin, inputs)


def test_blend_shapes_by_hand() -> None:
    base, offsets, weights = random(4, 3), random(3, 4, 3, seed=1), random(2, 3, seed=2)
    expected = base + (weights[..., None, None] * offsets).sum(1)
    torch.testing.assert_close(blend_shapes(base, offsets, weights), expected)


def test_barycentric_points_move_with_faces() -> None:
    points, faces = ball()
    weights = random(6, 3).softmax(-1)
    face = torch.tensor([0, 5, 5, 7, 12, 30])
    found = barycentric_points(torch.stack([points, 2 * points]), faces, face, weights)
    torch.testing.assert_close(found[0, 2], weights[2] @ points[faces[5].long()])
    torch.testing.assert_close(found[1], 2 * found[0])


def cube() -> tuple[Tensor, Tensor]:
    """Twelve triangles of the cube of -1 to 1."""
    grid = [-1.0, 1.0]
    corners = torch.tensor([[x, y, z] for x in grid for y in grid for z in grid], dtype=F64)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return corners, torch.tensor([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])


def test_mean_value_coordinates_reproduce_affine_maps() -> None:
    """Affine maps are reproduced inside, outside, near the surface, and in the planes of faces beside these."""
    cage, faces = cube()
    points = torch.cat([0.6 * random(40, 3).tanh(), 3 * random(10, 3, seed=1)])
    beside = torch.tensor([[1.0, 2.5, 0.2], [0.3, -1.0, 4.0], [0.2, 0.1, 0.999], [0.0, 0.0, 0.0]], dtype=F64)
    points = torch.cat([points, beside])
    weights = mean_value_coordinates(points, cage, faces)
    torch.testing.assert_close(weights.sum(1), torch.ones(len(points), dtype=F64))
    linear, shift = random(3, 3, seed=2), random(3, seed=3)
    torch.testing.assert_close(weights @ (cage @ linear + shift), points @ linear + shift, atol=1e-7, rtol=0)


def test_mean_value_coordinates_at_symmetric_places() -> None:
    corners = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=F64)
    faces = torch.tensor([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    middle = mean_value_coordinates(torch.zeros(1, 3, dtype=F64), corners, faces)
    torch.testing.assert_close(middle, torch.full((1, 4), 0.25, dtype=F64))
    # At a corner, and on a face: linear.
    on_face = (0.5 * corners[0] + 0.3 * corners[1] + 0.2 * corners[2])[None]
    found = mean_value_coordinates(torch.cat([corners[2:3], on_face]), corners, faces)
    torch.testing.assert_close(found, torch.tensor([[0, 0, 1.0, 0], [0.5, 0.3, 0.2, 0]], dtype=F64), atol=1e-9, rtol=0)


def test_mean_value_coordinates_inside_a_convex_cage_are_positive() -> None:
    cage, faces = ball(1)
    weights = mean_value_coordinates(0.7 * random(30, 3).tanh() / math.sqrt(3), cage, faces)
    assert weights.min() > 0


def test_wrong_shapes() -> None:
    points, faces = ball(0)
    with pytest.raises(ValueError, match="weights, transforms: expected"):
        skin(points, random(5, 2), transforms(2))
    with pytest.raises(ValueError, match="offsets, weights: expected"):
        blend_shapes(points, random(2, 3, 3), random(2))
    with pytest.raises(ValueError, match="cage: expected"):
        mean_value_coordinates(points, random(4, 2), faces)


# ---- Regularisers --------------------------------------------------------------------------------------------------


def test_cotangent_laplacian_is_the_gradient_of_the_area() -> None:
    points, faces = ball(1, noise=0.1)
    points.requires_grad_()
    a, b, c = points[faces.long()].unbind(1)
    area = 0.5 * torch.linalg.cross(b - a, c - a).norm(dim=-1).sum()
    (expected,) = torch.autograd.grad(area, points)
    edges, weights = cotangent_weights(points.detach(), faces)
    difference = weights[:, None] * (points[edges[:, 0]] - points[edges[:, 1]])
    ours = torch.zeros_like(points).index_add(0, edges[:, 0], difference).index_add(0, edges[:, 1], -difference)
    torch.testing.assert_close(ours, expected)
    energy = laplacian_energy(points, edges, weights)
    torch.testing.assert_close(energy, expected.square().sum(-1).mean())
    assert torch.autograd.gradcheck(lambda p: laplacian_energy(p, edges, weights), points)


def test_cotangents_of_a_degenerate_face_are_finite() -> None:
    line = torch.tensor([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0], [20.0, 0.0, 0.0], [0.0, 10.0, 0.0]])
    edges, weights = cotangent_weights(line, torch.tensor([[0, 1, 2], [0, 1, 3]]))
    assert dict(zip(map(tuple, edges.tolist()), weights.tolist()))[(0, 2)] == 0
    assert weights.abs().max() <= 1
    edges, weights = cotangent_weights(torch.zeros(3, 3), torch.tensor([[0, 1, 2], [1, 1, 2]]))
    assert edges.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert weights.isfinite().all()


def test_edge_lengths() -> None:
    points, faces = ball(0)
    edges = unique_edges(faces)
    lengths = edge_lengths(2 * points, edges)
    torch.testing.assert_close(lengths, torch.full((30,), 4 / math.sqrt(10 + 2 * math.sqrt(5)) * 2, dtype=F64))
    assert float(edge_length_loss(1.5 * points, edges, edge_lengths(points, edges))) == pytest.approx(
        float((0.5 * edge_lengths(points, edges)).square().mean())
    )
    together = torch.zeros(2, 3, dtype=F64, requires_grad=True)
    edge_length_loss(together, torch.tensor([[0, 1]]), 1.0).backward()
    assert together.grad is not None
    assert together.grad.abs().max() == 0


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, 170.0])
def test_bending_of_a_fold(degrees: float) -> None:
    angle = math.radians(degrees)
    wing = [math.cos(angle), math.sin(angle)]
    points = torch.tensor([[0, 0, 0], [0, 0, 1], [-1, 0, 0.5], [wing[0], wing[1], 0.5]], dtype=F64, requires_grad=True)
    faces = torch.tensor([[0, 1, 2], [1, 0, 3]])
    pairs = adjacent_faces(faces)
    assert bending_loss(points, faces, pairs).item() == pytest.approx(1 - math.cos(angle), abs=1e-12)
    assert torch.autograd.gradcheck(lambda p: bending_loss(p, faces, pairs), points)


def test_adjacent_faces_leaves_out_what_is_no_surface() -> None:
    faces = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4], [2, 1, 5]])  # three meet at the edge 0, 1
    assert adjacent_faces(faces).tolist() == [[0, 3]]
    assert len(adjacent_faces(icosphere(1).faces)) == 120


def test_arap_of_rigid_motions_and_of_growth() -> None:
    rest, faces = ball(1, noise=0.05)
    energy = ArapEnergy(rest, faces)
    moved = rest @ axis_angle_to_matrix(random(3)).T + random(3, seed=1)
    assert float(energy(moved)) < 1e-20
    edges, weights = cotangent_weights(rest, faces)
    grown = float(energy(1.3 * moved))
    square = edge_lengths(rest, edges).square()
    assert grown == pytest.approx(float((2 * weights.clamp_min(0) * 0.3**2 * square).sum()))


def test_arap_gradient() -> None:
    rest, faces = ball(0)
    energy = ArapEnergy(rest, faces)
    assert torch.autograd.gradcheck(energy, (rest + 0.2 * random(12, 3)).requires_grad_())
    # Mirrored: the best rotation is no reflection.
    turns = energy.rotations(rest * torch.tensor([-1.0, 1.0, 1.0], dtype=F64))
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(12, dtype=F64))


def test_symmetry() -> None:
    points, _ = ball(1)
    partners = mirror_vertices(points)
    assert (partners[partners] == torch.arange(len(points))).all()
    assert float(symmetry_loss(points, partners)) < 1e-20
    shifted = points + torch.tensor([0.1, 0.2, 0.3], dtype=F64)  # only along x does it leave the mirror image
    assert float(symmetry_loss(shifted, partners)) == pytest.approx(0.2**2)
    assert float(symmetry_loss(points, torch.full_like(partners, -1))) == 0
    assert (mirror_vertices(points + torch.tensor([1.0, 0, 0], dtype=F64)) == -1).any()


# ---- The loop ------------------------------------------------------------------------------------------------------


def landmarks_of(positions: Tensor, faces: Tensor, camera: object) -> Landmarks:
    face = torch.arange(0, len(faces), 7)
    weights = torch.rand(len(face), 3, generator=torch.Generator().manual_seed(0)).softmax(-1)
    pixels = camera.pixels(barycentric_points(positions, faces, face, weights))  # type: ignore[attr-defined]
    return Landmarks(face, weights, pixels)


def test_landmarks_by_hand() -> None:
    mesh, camera = icosphere(1), fibonacci_cameras(2, (40, 60))
    marks = landmarks_of(mesh.positions, mesh.faces, camera)
    assert float(marks.loss(mesh.positions, mesh.faces, camera)) == pytest.approx(0, abs=1e-6)
    moved = Landmarks(marks.face, marks.weights, marks.pixels + torch.tensor([3.0, 4.0]))
    expected = (math.sqrt(26) - 1) / 40
    assert float(moved.loss(mesh.positions, mesh.faces, camera)) == pytest.approx(expected, rel=1e-4)
    moved.pixels[0] = math.nan  # the first image shows none
    positions = mesh.positions.clone().requires_grad_()
    loss = moved.loss(positions, mesh.faces, camera)
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    loss.backward()
    assert positions.grad is not None
    assert positions.grad.isfinite().all()


def test_bones_follow_landmarks() -> None:
    """The bend of a bar with two bones, from landmarks alone."""
    mesh, camera = icosphere(2), fibonacci_cameras(2, (48, 48), radius=1.5)
    weights = torch.sigmoid(4 * mesh.positions[:, :1])
    weights = torch.cat([weights, 1 - weights], -1)

    def bent(turn: Tensor) -> Tensor:
        moves = torch.eye(4).repeat(2, 1, 1)
        rotation = axis_angle_to_matrix(turn)
        return skin(mesh.positions, weights, torch.stack([torch.nn.functional.pad(rotation, (0, 1, 0, 1)), moves[1]]))

    goal = torch.tensor([0.1, 0.5, -0.3])
    marks = landmarks_of(bent(goal), mesh.faces, camera)
    turn = torch.zeros(3, requires_grad=True)
    found = fit_template(mesh, lambda: bent(turn), [turn], camera, landmarks=marks, iterations=80, rate=0.05)
    torch.testing.assert_close(turn.detach(), goal, atol=0.03, rtol=0)
    assert found.losses[-1] < 0.1 * found.losses[0]


def test_a_cage_follows_masks() -> None:
    mesh, cage = icosphere(2), icosphere(0, 1.6)
    weights = mean_value_coordinates(mesh.positions, cage.positions, cage.faces)
    goal = cage.positions * torch.tensor([1.4, 0.8, 1.0])
    camera = fibonacci_cameras(4, (48, 48), radius=1.5)
    target = type(mesh)(weights @ goal, mesh.faces)
    masks = render_mesh(target, camera).mask
    corners = cage.positions.clone().requires_grad_()
    energy = ArapEnergy(cage.positions, cage.faces)
    found = fit_template(
        mesh, lambda: weights @ corners, [corners], camera, masks=masks, iterations=60, rate=0.04,
        regularise=lambda positions: 1e-4 * energy(corners),
    )  # fmt: skip
    before = (mesh.positions - target.positions).norm(dim=-1).mean()
    assert (found.mesh.positions - target.positions).norm(dim=-1).mean() < 0.25 * before
    assert not found.mesh.positions.requires_grad


def test_wrong_targets() -> None:
    mesh, camera = icosphere(0), fibonacci_cameras(2, (8, 8))
    size = torch.ones((), requires_grad=True)
    with pytest.raises(ValueError, match="masks, images, landmarks: expected at least one"):
        fit_template(mesh, lambda: size * mesh.positions, [size], camera)
    with pytest.raises(ValueError, match="masks: expected shape"):
        fit_template(mesh, lambda: size * mesh.positions, [size], camera, masks=torch.ones(1, 8, 8, 1))
    marks = Landmarks(torch.tensor([0]), torch.ones(1, 3) / 3, torch.zeros(1, 1, 2))
    with pytest.raises(ValueError, match=r"landmarks\.pixels: expected shape"):
        fit_template(mesh, lambda: size * mesh.positions, [size], camera, landmarks=marks)
