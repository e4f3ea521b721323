"""Depth of field: discs of confusion and their derivatives in closed form, means of pinhole cameras, wrong calls."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lumigrad.render import render_path
from lumigrad.render.path_lens import OF_LENS, _on_disc
from lumigrad.scene import (
    AmbientLight,
    DiffuseMaterial,
    HomogeneousMedium,
    Mesh,
    OrthographicCamera,
    PerspectiveCamera,
    PointLight,
    RadialTangentialDistortion,
    Scene,
    ThinLens,
    icosphere,
)

CAMERA = PerspectiveCamera.from_fov(40.0, size=(24, 24))  # at the origin, looking along -z
FOCAL = float(CAMERA.fx)


def spark(x: float, y: float, z: float, half: float = 0.12) -> Mesh:
    """A little square that glows and faces the camera, at the distance z."""
    corners = half * torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) + torch.tensor([x, y, -z])
    glow = DiffuseMaterial(base_color=(0.0, 0.0, 0.0), emissive=(1.0, 1.0, 1.0))
    return Mesh(corners, torch.tensor([[0, 1, 2], [0, 2, 3]]), materials=(glow,))


def moments(lens: ThinLens, z: float, samples: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """All light of the image of a spark, and the sum of it times the squared distance from the spark's pixel."""
    x, y = 0.1, -0.06
    scene = Scene(spark(x, y, z), lights=[AmbientLight(intensity=0.0)])
    shot = render_path(scene, CAMERA, samples, 1, seed, tone_mapping=None, lens=lens)
    light = shot.color[0, ..., 0]
    column, line = torch.arange(24) + 0.5 - (12 + FOCAL * x / z), torch.arange(24) + 0.5 - (12 - FOCAL * y / z)
    return light.sum(), (light * (column**2 + line[:, None] ** 2)).sum()


@pytest.mark.parametrize("z", [1.5, 4.0])
def test_discs_of_confusion(z: float) -> None:
    """A point is spread evenly over a disc of the radius R |1 / z - 1 / d| f: its mean squared distance is half of the
    square of that, besides what the spark and the pixels have by themselves; and so are the derivatives by R and d.
    These are made of silhouettes alone."""
    radius = torch.tensor(0.5, requires_grad=True)
    distance = torch.tensor(2.2, requires_grad=True)
    lens = ThinLens(radius, distance)
    blur = FOCAL * (1 / z - 1 / 2.2)
    side = 2 * 0.12 * FOCAL / z
    light, spread = moments(lens, z, 256)
    assert light.item() == pytest.approx(side**2, rel=0.15)
    assert (spread / light).item() == pytest.approx((0.5 * blur) ** 2 / 2 + side**2 / 6 + 1 / 6, rel=0.15)
    slopes = torch.stack([
        torch.stack(torch.autograd.grad(moments(lens, z, 16, seed)[1], [radius, distance])) for seed in range(10)
    ])  # fmt: skip
    by_radius, by_distance = 0.5 * blur**2 * side**2, 0.25 * blur * FOCAL / 2.2**2 * side**2
    error = 5 * slopes.std(0) / math.sqrt(len(slopes)) + 0.02 * abs(by_radius)
    assert (error < 0.3 * torch.tensor([by_radius, abs(by_distance)])).all()
    assert ((slopes.mean(0) - torch.tensor([by_radius, by_distance])).abs() < error).all()


def test_what_is_in_focus_is_sharp() -> None:
    shot = render_path(spark(0.0, 0.0, 2.0, 0.4), CAMERA, 64, 1, lights=[], lens=ThinLens(0.5, 2.0), tone_mapping=None)
    sharp = render_path(spark(0.0, 0.0, 2.0, 0.4), CAMERA, 64, 1, lights=[], tone_mapping=None)
    assert (shot.color - sharp.color).abs().max() < 0.3  # the noise of half-covered pixels
    assert torch.equal(shot.color == 0, sharp.color == 0)
    assert torch.allclose(shot.depth[shot.mask > 0], torch.tensor(2.0))


def test_the_mean_of_pinhole_cameras() -> None:
    """A ball on a ground under a lamp: images of cameras all over the lens, each with the same plane in focus."""
    ground = Mesh(
        torch.tensor([[-9.0, -0.5, 9], [9, -0.5, 9], [9, -0.5, -9], [-9, -0.5, -9]]),
        torch.tensor([[0, 1, 2], [0, 2, 3]]),
        materials=(DiffuseMaterial(base_color=(0.8, 0.6, 0.4)),),
    )  # fmt: skip
    ball = replace(icosphere(2), positions=0.4 * icosphere(2).positions + torch.tensor([0.2, 0, -2.0]))
    scene = Scene([ground, ball], lights=[PointLight((1.0, 2.0, 0.0), intensity=4.0)])
    radius, focus = 0.3, 3.0
    shot = render_path(scene, CAMERA, 256, 2, tone_mapping=None, lens=ThinLens(radius, focus))
    images = []
    for k in range(100):
        r, angle = radius * math.sqrt((k + 0.5) / 100), 2.399963 * k
        x, y = r * math.cos(angle), r * math.sin(angle)
        moved = torch.eye(4)
        moved[0, 3], moved[1, 3] = -x, -y
        camera = replace(CAMERA, world_to_camera=moved, cx=12 + FOCAL * x / focus, cy=12 - FOCAL * y / focus)
        images.append(render_path(scene, camera, 4, 2, k, tone_mapping=None).color)
    expected = torch.stack(images).mean(0)
    assert expected.std() > 0.03
    difference = shot.color - expected
    assert difference.abs().mean() < 0.05 * expected.mean()
    assert difference.mean().abs() < 0.005 * expected.mean()


def test_images_of_a_batch_have_lenses_of_their_own() -> None:
    balls = [icosphere(1), icosphere(1)]
    camera = PerspectiveCamera.orbit(0.0, 10.0, 3.0, fov_y=40.0, size=(8, 8))
    options = {"samples": 8, "max_depth": 2, "lights": [AmbientLight()], "tone_mapping": None}
    both = render_path(balls, camera, **options, lens=ThinLens(torch.tensor([0.0, 1.0]), 3.0))
    again = render_path(balls, camera, **options, lens=ThinLens(torch.tensor([0.0, 1.0]), 3.0))
    assert torch.equal(both.color, again.color)
    assert both.mask[1].sum() != both.mask[0].sum()
    tiles = render_path(balls[0], camera, 64, 2, lights=[AmbientLight()], error=0.2, lens=ThinLens(0.2, 3.0))
    assert tiles.samples is not None


def test_points_of_the_lens_are_spread_evenly() -> None:
    x, y = _on_disc(3, 100, 100, torch.device("cpu"))
    assert (x * x + y * y <= 1).all()
    assert abs((x * x + y * y).mean() - 0.5) < 0.02
    assert max(abs(x.mean()), abs(y.mean())) < 0.02
    assert OF_LENS < 2**63


def test_media_are_seen_through_a_lens() -> None:
    scene = Scene(spark(0.0, 0.0, 2.0, 0.4), medium=HomogeneousMedium(extinction=0.5, albedo=0.0))
    shot = render_path(scene, CAMERA, 256, 2, lights=[], lens=ThinLens(0.1, 2.0), tone_mapping=None)
    assert shot.color[0, 11:13, 11:13].mean().item() == pytest.approx(math.exp(-1.0), rel=0.1)


def test_wrong_calls() -> None:
    with pytest.raises(ValueError, match="radius: expected at least 0 and finite, got -1"):
        ThinLens(-1.0, 2.0)
    with pytest.raises(ValueError, match="focus_distance: expected more than 0 and finite, got 0"):
        ThinLens(1.0, 0.0)
    with pytest.raises(ValueError, match=r"focus_distance: expected \[2\] like radius, got \[3\]"):
        ThinLens(torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match=r"radius: expected one number or \[N\], got \[1, 2\]"):
        ThinLens(torch.ones(1, 2), 1.0)
    lens, ball = ThinLens(0.1, 2.0), icosphere(0)
    with pytest.raises(TypeError, match="lens: expected a PerspectiveCamera to put it into, got OrthographicCamera"):
        render_path(ball, OrthographicCamera(torch.eye(4), 1.0, 1.0, 2.0, 2.0, (4, 4)), lens=lens)
    bent = replace(CAMERA, distortion=RadialTangentialDistortion(k1=0.1))
    with pytest.raises(NotImplementedError, match="lens: expected a camera without distortion"):
        render_path(ball, bent, lens=lens)
    with pytest.raises(TypeError, match="lens: expected a ThinLens or None, got float"):
        render_path(ball, CAMERA, lens=0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lens: expected one, or 2 like the images, got 3"):
        render_path([ball, ball], CAMERA, lens=ThinLens(torch.ones(3), 1.0))
