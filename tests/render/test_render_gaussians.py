"""Gaussians: against the op called by hand, closed forms, files, batches, gradients."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ops_common import gradcheck
from render_common import F64, camera, example_runs, facing, floats, one_image, orthographic, parameters, same, uniform
from torch import Tensor

import lumigrad as lg
from lumigrad.io import load_gaussians, save_gaussians
from lumigrad.render import render_gaussians
from lumigrad.scene import (
    FisheyeDistortion,
    GaussianCloud,
    PerspectiveCamera,
    PointCloud,
    RadialTangentialDistortion,
    Scene,
    constant_harmonics,
)


def cloud(count: int = 40, seed: int = 0, harmonics: int = 4) -> GaussianCloud:
    return GaussianCloud(
        uniform(count, 3, low=-1, seed=seed),
        uniform(count, 4, low=-1, seed=seed + 1),
        uniform(count, 3, low=0.05, high=0.3, seed=seed + 2),
        uniform(count, low=0.2, high=0.95, seed=seed + 3),
        uniform(count, harmonics, 3, low=-0.5, high=0.8, seed=seed + 4),
    )


def one_gaussian(
    opacity: float, color: tuple[float, float, float] = (0.9, 0.2, 0.4), scale: float = 0.3
) -> GaussianCloud:
    return GaussianCloud(
        torch.zeros(1, 3, dtype=F64), torch.tensor([[1.0, 0, 0, 0]], dtype=F64), torch.full((1, 3), scale, dtype=F64),
        torch.tensor([opacity], dtype=F64), constant_harmonics(torch.tensor([color], dtype=F64)),
    )  # fmt: skip


def test_the_example_runs() -> None:
    example_runs("lumigrad.render.gaussians")


@pytest.mark.parametrize("antialiased", [False, True])
def test_the_op_by_hand(antialiased: bool) -> None:
    splats, seen, behind = cloud(), camera(), uniform(2, 3, seed=9)
    shot = render_gaussians(splats, seen, behind, antialiased=antialiased, blur=0.4)
    out = lg.gaussians(
        splats.means, splats.quats, splats.scales, splats.opacities, splats.harmonics, seen.view(), behind,
        harmonics=True, antialiased=antialiased, blur=0.4,
    )  # fmt: skip
    torch.testing.assert_close(shot.image, out.image)
    torch.testing.assert_close(shot.mask[..., 0], out.alpha)
    torch.testing.assert_close(shot.over(behind[:, None, None]), shot.image)
    covered = out.alpha > 1e-6
    assert 0.1 < covered.double().mean() < 0.95
    torch.testing.assert_close(shot.depth[..., 0][covered], (out.depth / out.alpha)[covered])
    assert not shot.depth[~covered].any()
    assert torch.equal(shot.primitive_ids, out.median)
    assert shot.normals is None
    assert shot.tone_mapping is None


def test_files_are_rendered_as_they_are_read(tmp_path: Path) -> None:
    save_gaussians(cloud(), tmp_path / "some.ply")
    read = load_gaussians(tmp_path / "some.ply")
    shot = render_gaussians(read, camera(dtype=torch.float32), (1.0, 1.0, 1.0))
    torch.testing.assert_close(shot.image.double(), render_gaussians(cloud(), camera(), 1.0).image, atol=1e-4, rtol=0)


@pytest.mark.parametrize("opacity", [1.0, 0.6])
def test_an_opaque_gaussian_has_its_colour_at_the_centre(opacity: float) -> None:
    """Strengths are capped at 0.99; across the image they fall off with the projected scale, blurred."""
    seen = facing((41, 41))
    shot = render_gaussians(one_gaussian(opacity), seen, 1.0)
    strength = min(opacity, 0.99)
    color = torch.tensor([0.9, 0.2, 0.4], dtype=F64)
    torch.testing.assert_close(shot.image[0, 20, 20], strength * color + (1 - strength))
    variance = (seen.fx.item() * 0.3 / 3) ** 2 + 0.3
    x = torch.arange(41, dtype=F64) - 20
    expected = opacity * torch.exp(-(x[:, None] ** 2 + x**2) / (2 * variance))
    expected = torch.where(expected >= 1 / 255, expected.clamp(max=0.99), 0)
    torch.testing.assert_close(shot.mask[0, ..., 0], expected, atol=1e-9, rtol=1e-6)
    assert torch.equal(shot.primitive_ids[0] == 0, expected > 0.5)
    torch.testing.assert_close(shot.depth[0, ..., 0], torch.where(expected > 0, 3.0, 0.0).double())


def test_colours_depend_on_where_one_looks_from() -> None:
    """The coefficient of z, by sqrt(3 / (4 pi)) times the direction from the camera."""
    one = one_gaussian(0.9, (0.5, 0.5, 0.5), scale=0.6)
    one = replace(one, harmonics=torch.cat([one.harmonics, torch.zeros(1, 3, 3, dtype=F64)], 1))
    one.harmonics[0, 2, 0] = 0.4
    for azimuth in (0.0, 60.0, 180.0):
        seen = PerspectiveCamera.orbit(azimuth, 0.0, 3.0, 45.0, (9, 9)).to(F64)
        red = 0.5 - 0.4 * math.sqrt(3 / (4 * math.pi)) * math.cos(math.radians(azimuth))
        color = render_gaussians(one, seen).straight()[0, 4, 4, :3]
        torch.testing.assert_close(color, torch.tensor([red, 0.5, 0.5], dtype=F64), atol=1e-6, rtol=0)


def test_other_projections() -> None:
    for seen in (orthographic((20, 26)), replace(facing((20, 26)), distortion=FisheyeDistortion())):
        splats = cloud()
        out = lg.gaussians(
            splats.means, splats.quats, splats.scales, splats.opacities, splats.harmonics, seen.view(), harmonics=True
        )
        torch.testing.assert_close(render_gaussians(splats, seen).image, out.image)


def test_clip_planes_are_the_cameras() -> None:
    assert not render_gaussians(one_gaussian(0.9), replace(facing((9, 9)), far=2.9)).mask.any()
    assert not render_gaussians(one_gaussian(0.9), replace(facing((9, 9)), near=3.1)).mask.any()


def test_batches_of_clouds_equal_single_calls_bit_for_bit() -> None:
    clouds, seen = [cloud(20), cloud(0), cloud(35, 5, harmonics=9)], camera(count=3)
    shot = render_gaussians(clouds, seen, uniform(3, 3, seed=9))
    for n, one in enumerate(clouds):
        single = render_gaussians(one, seen[n], uniform(3, 3, seed=9)[n])
        same(one_image(shot, n), replace(single, shape_ids=torch.where(single.primitive_ids >= 0, n, -1).int()))


def test_scenes_are_seen_as_one_cloud() -> None:
    """Clouds of a scene are drawn as one, whatever the degrees of their harmonics."""
    clouds = [cloud(20, harmonics=1), cloud(35, 5, harmonics=9)]
    whole = render_gaussians(GaussianCloud.join(clouds), camera(), 0.3)
    shot = render_gaussians(Scene(clouds, background=0.3), camera())
    assert torch.equal(shot.image, whole.image)
    assert torch.equal(shot.primitive_ids + 20 * (shot.shape_ids == 1), whole.primitive_ids)
    alone = render_gaussians(clouds[0], camera())
    filled = GaussianCloud.join([clouds[0], clouds[1][:0]])
    torch.testing.assert_close(render_gaussians(filled, camera()).image, alone.image)


def test_gradients() -> None:
    splats, seen = cloud(3), camera((5, 6), count=0)
    cells = {**parameters(seen), **{f"cloud.{k}": v.requires_grad_() for k, v in splats.tensors().items()}}
    cells["background"] = uniform(3, seed=11).requires_grad_()

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(cells, values))
        moved = replace(seen, **{name: given[name] for name in parameters(seen)})
        one = GaussianCloud(**{name: given[f"cloud.{name}"] for name in splats.tensors()})
        return floats(render_gaussians(one, moved, given["background"], antialiased=True))

    assert gradcheck(run, tuple(cells.values()), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_types() -> None:
    for dtype in (torch.float32, F64):
        shot = render_gaussians(cloud().to(dtype), camera(dtype=torch.float32))
        assert all(value.dtype == dtype for value in floats(shot))


def test_nothing_and_a_single_pixel() -> None:
    shot = render_gaussians(cloud(0).to(torch.float32), facing((4, 5), dtype=torch.float32), (0.1, 0.2, 0.3))
    torch.testing.assert_close(shot.image, torch.tensor([0.1, 0.2, 0.3]).expand(1, 4, 5, 3))
    assert (shot.primitive_ids == -1).all()
    assert render_gaussians(cloud(), facing((1, 1))).image.shape == (1, 1, 1, 3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cloud": None}, TypeError, "cloud"),
        ({"cloud": PointCloud(torch.zeros(1, 3))}, TypeError, "cloud: expected GaussianCloud, got PointCloud"),
        ({"blur": -1.0}, ValueError, "blur"),
        ({"camera": 1}, TypeError, "camera"),
        ({"camera": replace(facing((4, 4)), distortion=RadialTangentialDistortion(0.1))}, ValueError, "distortion"),
        ({"camera": replace(orthographic((4, 4)), near=-1.0)}, ValueError, r"camera\.near"),
        ({"tone_mapping": "film"}, ValueError, "tone_mapping"),
        ({"background": torch.zeros(5)}, ValueError, "background"),
    ],
)
def test_wrong_arguments(options: dict, error: type[Exception], message: str) -> None:
    arguments = {"cloud": cloud(), "camera": camera()} | options
    with pytest.raises(error, match=message):
        render_gaussians(**arguments)
