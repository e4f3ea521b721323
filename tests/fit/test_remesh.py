"""Remeshing keeps a closed surface closed, in place and well shaped."""

from __future__ import annotations

import pytest
import torch

from lumigrad.fit import remesh
from lumigrad.scene.shapes.procedural import creature, icosphere


def edge_lengths(positions: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(1).values
    unique, counts = torch.unique(edges, dim=0, return_counts=True)
    return (positions[unique[:, 0]] - positions[unique[:, 1]]).norm(dim=-1), counts


def volume(positions: torch.Tensor, faces: torch.Tensor) -> float:
    a, b, c = positions.double()[faces].unbind(1)
    return float((torch.linalg.cross(a, b) * c).sum() / 6)


@pytest.mark.parametrize("length", [0.5, 0.2, 0.12])
def test_sphere(length: float) -> None:
    sphere = icosphere(2)
    positions, faces, _ = remesh(sphere.positions, sphere.faces, length)
    lengths, counts = edge_lengths(positions, faces)
    assert (counts == 2).all()
    assert len(positions) - len(counts) + len(faces) == 2
    assert 0.75 * length < lengths.mean() < 1.3 * length
    assert lengths.max() < 1.6 * length
    assert volume(positions, faces) == pytest.approx(volume(sphere.positions, sphere.faces), rel=0.2 * length)


def test_stretched_shape_becomes_even() -> None:
    shape = creature(level=3, texture_height=8)
    stretched = shape.positions * torch.tensor([1.0, 3.0, 1.0])
    before, _ = edge_lengths(stretched, shape.faces)
    positions, faces, _ = remesh(stretched, shape.faces, 0.1)
    lengths, counts = edge_lengths(positions, faces)
    assert (counts == 2).all()
    assert lengths.std() / lengths.mean() < 0.5 * before.std() / before.mean()
    assert volume(positions, faces) == pytest.approx(volume(stretched, shape.faces), rel=0.03)


def test_attributes_follow() -> None:
    sphere = icosphere(3)
    positions, _, attributes = remesh(sphere.positions, sphere.faces, 0.1, attributes=2 * sphere.positions + 1)
    assert attributes is not None
    torch.testing.assert_close(attributes, 2 * positions + 1, atol=0.05, rtol=0)


def test_result_does_not_depend_on_the_run() -> None:
    sphere = icosphere(2)
    first = remesh(sphere.positions, sphere.faces, 0.15)
    second = remesh(sphere.positions, sphere.faces, 0.15)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_open_or_flipped_surfaces_are_refused() -> None:
    sphere = icosphere(1)
    with pytest.raises(ValueError, match="closed"):
        remesh(sphere.positions, sphere.faces[1:], 0.5)
    flipped = sphere.faces.clone()
    flipped[0] = flipped[0].flip(0)
    with pytest.raises(ValueError, match="closed"):
        remesh(sphere.positions, flipped, 0.5)
    with pytest.raises(ValueError, match="edge_length"):
        remesh(sphere.positions, sphere.faces, 0.0)
