"""Gaussians and surfels as data."""

from __future__ import annotations

import doctest

import pytest
import torch

import lumigrad as lg
from lumigrad.scene import GaussianCloud, SurfelCloud, constant_harmonics
from lumigrad.scene.shapes import _splat_cloud

KINDS = [(GaussianCloud, 3), (SurfelCloud, 2)]
Kind = type[GaussianCloud] | type[SurfelCloud]


def fields(axes: int, count: int = 5, harmonics: int = 4) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(count)
    shapes = {"means": (3,), "quats": (4,), "scales": (axes,), "opacities": (), "harmonics": (harmonics, 3)}
    return {name: torch.rand(count, *shape, generator=random) for name, shape in shapes.items()}


@pytest.mark.parametrize(("kind", "axes"), KINDS)
def test_parts_and_casts(kind: Kind, axes: int) -> None:
    cloud = kind(**fields(axes))
    assert len(cloud) == 5
    assert torch.equal(cloud[1:3].scales, cloud.scales[1:3])
    assert torch.equal(cloud[cloud.opacities > 0.5].means, cloud.means[cloud.opacities > 0.5])
    assert len(cloud[2]) == 1
    assert cloud.to(torch.float64).harmonics.dtype == torch.float64
    low, high = cloud.bounds()
    assert (low <= cloud.means).all()
    assert (high >= cloud.means).all()
    with pytest.raises(ValueError, match="means: an empty cloud"):
        cloud[:0].bounds()


@pytest.mark.parametrize(("kind", "axes"), KINDS)
def test_joined(kind: Kind, axes: int) -> None:
    few, many = kind(**fields(axes, 2, harmonics=1)), kind(**fields(axes, 3, harmonics=9))
    both = kind.join([few, many])  # type: ignore[list-item]
    assert len(both) == 5
    assert torch.equal(both.means, torch.cat([few.means, many.means]))
    assert torch.equal(both.harmonics[2:], many.harmonics)
    assert torch.equal(both.harmonics[:2, :1], few.harmonics)
    assert not both.harmonics[:2, 1:].any()
    with pytest.raises(ValueError, match="clouds"):
        kind.join([])
    with pytest.raises(TypeError, match=f"clouds: expected {kind.__name__}, got int"):
        kind.join([few, 3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="means"):
        kind.join([few, many.to(torch.float64)])  # type: ignore[list-item]


@pytest.mark.parametrize(("kind", "axes"), KINDS)
@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("means", torch.zeros(5, 2), ValueError),
        ("means", torch.zeros(()), ValueError),
        ("quats", torch.zeros(5, 3), ValueError),
        ("scales", torch.zeros(5, 4), ValueError),
        ("opacities", torch.zeros(5, 1), ValueError),
        ("harmonics", torch.zeros(5, 3), ValueError),
        ("harmonics", torch.zeros(5, 2, 3), ValueError),
        ("harmonics", None, TypeError),
    ],
)
def test_wrong_shapes(kind: Kind, axes: int, name: str, value: torch.Tensor, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        kind(**(fields(axes) | {name: value}))


def test_constant_harmonics() -> None:
    colors = torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
    directions = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    seen = lg.spherical_harmonics(constant_harmonics(colors), directions) + 0.5
    torch.testing.assert_close(seen, colors)
    with pytest.raises(ValueError, match="colors"):
        constant_harmonics(colors[0])
    assert not doctest.testmod(_splat_cloud).failed


@pytest.mark.parametrize(("kind", "axes"), KINDS)
def test_whole_numbers_are_refused_by_name(kind: Kind, axes: int) -> None:
    for name, value in fields(axes).items():
        with pytest.raises(TypeError, match=rf"{name}: expected a floating type, got int64"):
            kind(**{**fields(axes), name: value.long()})
