"""Shapes in notebooks."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lumigrad.scene import DiffuseMaterial, GaussianCloud, PointCloud, SurfelCloud, icosphere


def picture(shape: Any) -> Tensor:
    return torch.from_numpy(np.array(Image.open(io.BytesIO(shape._repr_png_())))).float() / 255


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("materials", [(), (DiffuseMaterial(base_color=(1.0, 0.0, 0.0)),)])
def test_a_ball_fills_the_picture(scale: float, materials: tuple[Any, ...]) -> None:
    ball = icosphere(3, scale)
    ball = replace(ball, positions=ball.positions + 5 * scale, materials=materials)
    image = picture(ball)
    assert image.shape == (320, 320, 3)
    ink = (image < 0.99).any(-1)
    assert (image[0] == 1).all()  # a white border
    assert 0.2 < float(ink.float().mean()) < 0.6
    rows, columns = ink.any(1).nonzero(), ink.any(0).nonzero()
    assert abs(float(rows.float().mean()) - 159.5) < 2
    assert abs(float(columns.float().mean()) - 159.5) < 2
    if materials:
        middle = image[160, 160]
        assert middle[0] > 3 * middle[1]


def test_clouds() -> None:
    positions = icosphere(3).positions
    count = len(positions)
    colors = torch.tensor([0.0, 0.0, 1.0]).expand(count, 3)
    turns, solid = torch.tensor([1.0, 0, 0, 0]).expand(count, 4), torch.full((count,), 0.9)
    for cloud in (
        PointCloud(positions, colors),
        GaussianCloud(positions, turns, torch.full((count, 3), 0.05), solid, ((colors - 0.5) / 0.28209479)[:, None]),
        SurfelCloud(positions, turns, torch.full((count, 2), 0.05), solid, ((colors - 0.5) / 0.28209479)[:, None]),
    ):
        image = picture(cloud)
        blue = (image[..., 2] > image[..., 0] + 0.2).float().mean()
        least = 0.01 if isinstance(cloud, PointCloud) else 0.15  # points are a pixel or two across
        assert least < float(blue) < 0.6, type(cloud).__name__


def test_nothing_to_see() -> None:
    ball = icosphere(1)
    assert replace(ball, positions=0 * ball.positions)._repr_png_() is None
    assert replace(ball, positions=ball.positions * float("nan"))._repr_png_() is None
    assert replace(ball, faces=ball.faces[:0])._repr_png_() is None
    assert PointCloud(torch.zeros(0, 3))._repr_png_() is None
