"""Media of scenes: which values are refused, and what those that are being optimised count as."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from lumigrad.render import lit_scene
from lumigrad.scene import GridMedium, HomogeneousMedium, MediumBoundary, Mesh, icosphere
from lumigrad.scene.media import MOST_G, Medium, kept_within


def voxels(value: float, channels: int = 0) -> torch.Tensor:
    grid = torch.full((2, 3, 2, channels) if channels else (2, 3, 2), 0.5)
    grid[0, 1, 1] = value
    return grid


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extinction": -1, "albedo": 7}, "extinction: expected finite values, at least 0; got -1"),
        ({"extinction": (1.0, float("inf"), 1.0)}, "extinction: expected finite values, at least 0; got 1 to inf"),
        ({"extinction": float("nan")}, "extinction: expected finite values, at least 0; got nan"),
        ({"albedo": 7}, "albedo: expected finite values, values from 0 to 1; got 7"),
        (
            {"albedo": torch.tensor([0.1, -0.5, 1.0])},
            "albedo: expected finite values, values from 0 to 1; got -0.5 to 1",
        ),
        ({"g": torch.tensor(1.0)}, "g: expected finite values, values between -1 and 1; got 1"),
        ({"g": -1.5}, "g: expected a number between -1 and 1, got -1.5"),
        ({"densities": voxels(-0.1)}, "densities: expected finite values, at least 0; got -0.1 to 0.5"),
        ({"densities": voxels(float("nan")).requires_grad_()}, "densities: expected finite values"),
        ({"densities": voxels(1.0), "colors": voxels(1.5, 3)}, "colors: expected finite values, values from 0 to 1"),
    ],
)
def test_values_outside_of_their_ranges_are_refused(options: dict[str, Any], message: str) -> None:
    kind: type[Medium] = GridMedium if "densities" in options else HomogeneousMedium
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_what_is_being_optimised_is_kept_within_its_range() -> None:
    extinction = torch.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    albedo = torch.tensor([-0.5, 0.25, 1.5], requires_grad=True)
    g = torch.tensor(-1.25, requires_grad=True)
    medium = HomogeneousMedium(extinction=extinction, albedo=albedo, g=g)
    lit = lit_scene([icosphere(0), _holding(medium)], [])
    assert lit.media is not None
    row = lit.media.parameters[0]
    assert row.tolist() == pytest.approx([0.0, 0.0, 2.0, 0.0, 0.25, 1.0, -MOST_G])
    slopes = torch.autograd.grad(row.sum(), [extinction, albedo, g])
    assert all((slope == 1).all() for slope in slopes)
    colors = voxels(1.5, 3).requires_grad_()
    grid = GridMedium(densities=voxels(-0.1).requires_grad_(), colors=colors)
    assert grid.values[0, 1, 1].tolist() == pytest.approx([-0.1, 1.0, 1.0, 1.0])  # the op takes densities to zero
    (slope,) = torch.autograd.grad(grid.values.sum(), colors)
    assert (slope == 1).all()


def test_values_within_the_range_are_not_touched() -> None:
    value = torch.rand(100, requires_grad=True)
    assert torch.equal(kept_within(value, 0.0, 1.0), value)
    assert kept_within(value.detach(), 0.0, 1.0).data_ptr() == value.data_ptr()


def _holding(medium: Medium) -> Mesh:
    return replace(icosphere(0), materials=(MediumBoundary(interior=medium),))


def test_values_that_left_their_ranges_count_the_same_without_gradients() -> None:
    """A picture made under `no_grad` in the middle of a fit; in double precision, beside a mesh in single."""
    wanted = {"dtype": torch.float64, "requires_grad": True}
    medium = HomogeneousMedium(
        extinction=torch.tensor([1.0, -2.0, 3.0], **wanted),
        albedo=torch.tensor([1.4, 0.5, -0.1], **wanted),
        g=torch.tensor(1.5, **wanted),
    )
    rows = []
    for context in (torch.enable_grad(), torch.no_grad()):
        with context:
            media = lit_scene([_holding(medium)], []).media
            assert media is not None
            rows.append(media.parameters.detach())
    assert torch.equal(*rows)
    torch.testing.assert_close(rows[0], torch.tensor([[1.0, 0.0, 3.0, 1.0, 0.5, 0.0, MOST_G]]))
