"""Normals with edges where surfaces are sharp."""

from __future__ import annotations

import math

import pytest
import torch

from lumigrad.scene import Mesh, icosphere


def prism(sides: int) -> Mesh:
    """A closed prism of radius 1 about z, from z = -1 to 1."""
    angle = torch.arange(sides) * (2 * math.pi / sides)
    ring = torch.stack([angle.cos(), angle.sin()], dim=1)
    low, high = (torch.cat([ring, torch.full((sides, 1), z)], dim=1) for z in (-1.0, 1.0))
    faces = []
    for i in range(sides):
        j = (i + 1) % sides
        faces += [[i, j, sides + j], [i, sides + j, sides + i], [2 * sides, j, i]]
        faces += [[2 * sides + 1, sides + i, sides + j]]
    return Mesh(torch.cat([low, high, torch.tensor([[0.0, 0, -1], [0, 0, 1]])]), torch.tensor(faces))


def corner_normals(mesh: Mesh) -> torch.Tensor:
    normals, faces = mesh.shading_normals()
    return normals[faces.long()]


def test_caps_are_flat_and_sides_round() -> None:
    mesh = prism(24)  # its sides meet at 15 degrees, its caps at 90
    creased = mesh.creased(30.0)
    found, corners = corner_normals(creased), mesh.positions[mesh.faces]
    cap = (mesh.face_normals()[:, 2].abs() > 1e-6)[:, None]
    radial = torch.cat([corners[..., :2], torch.zeros_like(corners[..., :1])], dim=-1)
    expected = torch.where(cap[..., None], torch.sign(corners) * torch.tensor([0.0, 0, 1]), radial)
    # A side's vertices see one triangle of one neighbour and two of the other, so that their normal is off the radius
    # by up to a third of the angle between two sides.
    assert ((found - expected).norm(dim=-1)).max() < math.radians(15 / 3)
    assert (found - expected)[cap.expand(-1, 3)].abs().max() < 1e-6


@pytest.mark.parametrize("welded", [True, False])
def test_limits(welded: bool) -> None:
    mesh = prism(8)
    if not welded:  # every face with vertices of its own, as in STL files
        mesh = Mesh(mesh.positions[mesh.faces.reshape(-1)], torch.arange(3 * len(mesh.faces)).reshape(-1, 3))
    face = torch.nn.functional.normalize(mesh.face_normals(), dim=-1)
    torch.testing.assert_close(corner_normals(mesh.creased(0.0)), face[:, None].expand(-1, 3, -1))
    smooth = prism(8)
    torch.testing.assert_close(corner_normals(mesh.creased(180.0)), smooth.vertex_normals()[smooth.faces])


def test_pointed_and_empty() -> None:
    ball = icosphere(3)
    torch.testing.assert_close(corner_normals(ball.creased(30.0)), corner_normals(ball))
    assert Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long)).creased(30.0).normals.shape == (0, 3)
    one = Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2], [2, 1, 0], [0, 0, 0]]))
    normals = corner_normals(one.creased(30.0))
    assert normals.isfinite().all()
    assert normals[0, :, 2].tolist() == [1, 1, 1]
    assert normals[1, :, 2].tolist() == [-1, -1, -1]  # the back is another surface
    with pytest.raises(ValueError, match="degrees: expected 0 to 180"):
        ball.creased(200.0)
