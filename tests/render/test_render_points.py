"""Points: against the op called by hand, closed forms, batches, gradients."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from ops_common import gradcheck
from render_common import (
    F64,
    camera,
    example_runs,
    facing,
    floats,
    one_image,
    orthographic,
    parameters,
    same,
    tensors,
    uniform,
)
from torch import Tensor

import lumigrad as lg
from lumigrad.render import render_points
from lumigrad.render.color import srgb_decode, srgb_encode
from lumigrad.scene import (
    EnvironmentLight,
    FisheyeDistortion,
    GaussianCloud,
    PerspectiveCamera,
    PointCloud,
    PointClouds,
    RadialTangentialDistortion,
    Scene,
    studio,
)
from lumigrad.scene.shapes.procedural import icosphere


def cloud(count: int = 30, seed: int = 0, channels: int = 3) -> PointCloud:
    return PointCloud(
        uniform(count, 3, low=-1, seed=seed),
        uniform(count, channels, seed=seed + 1),
        torch.nn.functional.normalize(uniform(count, 3, low=-1, seed=seed + 2), dim=-1),
        uniform(count, low=0.1, high=0.4, seed=seed + 3),
        uniform(count, low=0.3, seed=seed + 4),
    )


def test_the_example_runs() -> None:
    example_runs("lumigrad.render.points")


@pytest.mark.parametrize("blend", ["alpha", "normalised", "nearest"])
@pytest.mark.parametrize("footprint", ["disc", "square"])
def test_the_op_by_hand(footprint: str, blend: str) -> None:
    points, seen, behind = cloud(channels=5), camera(), uniform(2, 5, seed=9)
    shot = render_points(points, seen, behind, footprint=footprint, blend=blend, max_contributors=7)
    out = lg.points(
        points.positions, points.radii, torch.cat((points.colors, points.normals), -1), seen.view(), points.opacities,
        torch.cat((behind, torch.zeros(2, 3)), -1), footprint=footprint, blend=blend, units="world",
        max_contributors=7, contributors=1,
    )  # fmt: skip
    torch.testing.assert_close(shot.image, out.image[..., :5])
    torch.testing.assert_close(shot.mask[..., 0], out.alpha)
    torch.testing.assert_close(shot.over(behind[:, None, None]), shot.image)
    covered = out.alpha > 1e-6
    assert 0.1 < covered.double().mean() < 0.9
    torch.testing.assert_close(shot.depth[..., 0][covered], (out.depth / out.alpha)[covered])
    direction = torch.nn.functional.normalize(out.image[..., 5:], dim=-1)
    torch.testing.assert_close(shot.normals[covered], direction[covered])
    for name in ("depth", "normals"):
        assert not getattr(shot, name)[~covered].any()
    assert torch.equal(shot.primitive_ids, out.median if blend == "alpha" else out.ids[..., 0])
    assert torch.equal(shot.shape_ids, torch.where(shot.primitive_ids >= 0, 0, -1))


def test_a_disc_fades_from_its_centre() -> None:
    """1 - distance^2 / radius^2, of a radius in pixels, and of one in world units."""
    one = PointCloud(torch.zeros(1, 3, dtype=F64), torch.tensor([[1.0, 0.5, 0.0]], dtype=F64))
    row = torch.arange(31, dtype=F64) - 15
    expected = (1 - (row[:, None] ** 2 + row**2) / 8.0**2).clamp(min=0)
    pixel = 3.0 / facing((31, 31)).fx.item()
    for points, radius in ((one, 8), (replace(one, radii=torch.tensor([8 * pixel], dtype=F64)), None)):
        shot = render_points(points, facing((31, 31)), radius=radius)
        torch.testing.assert_close(shot.mask[0, ..., 0], expected)
        torch.testing.assert_close(shot.image[0], expected[..., None] * one.colors[0])
        assert torch.equal(shot.primitive_ids[0] == 0, expected > 0.5)
        torch.testing.assert_close(shot.depth[0, ..., 0], torch.where(expected > 0, 3.0, 0.0).double())
    assert shot.normals is None
    # Half the area of the circle, on the whole.
    assert shot.mask.sum().item() == pytest.approx(0.5 * math.pi * 64, rel=0.01)


def test_defaults_are_white_and_a_pixel_wide() -> None:
    shot = render_points(PointCloud(torch.zeros(1, 3)), facing((3, 3), dtype=torch.float32))
    expected = torch.zeros(3, 3, 3)
    expected[1, 1] = 1
    torch.testing.assert_close(shot.image[0], expected)


def test_parallel_rays() -> None:
    points = PointCloud(torch.tensor([[0.5, 0.5, -2.0]], dtype=F64), radii=torch.tensor([0.45], dtype=F64))
    shot = render_points(points, orthographic((30, 30)))  # 10 pixels a unit
    y, x = (torch.arange(30, dtype=F64) + 0.5 - 15).reshape(-1, 1), torch.arange(30, dtype=F64) + 0.5 - 15
    expected = 1 - ((x - 5) ** 2 + (y + 5) ** 2) / 4.5**2
    torch.testing.assert_close(shot.mask[0, ..., 0], expected.clamp(min=0))
    assert shot.depth.max().item() == pytest.approx(5.0)


# ---- Colours and backgrounds ----------------------------------------------------------------------------------------


def test_display_encoded_colours_are_blended_as_they_are() -> None:
    points = replace(cloud(), opacities=None)
    image = uniform(20, 26, 3, seed=7)
    shot = render_points(points, camera(), image)
    torch.testing.assert_close(shot.image, shot.color + (1 - shot.mask) * image)
    assert shot.tone_mapping is None


def test_linear_colours_are_encoded_at_last() -> None:
    points = cloud()
    plain = render_points(points, camera())
    shot = render_points(points, camera(), 0.5, tone_mapping="srgb")
    torch.testing.assert_close(shot.color, plain.color)
    behind = srgb_decode(torch.tensor(0.5, dtype=F64))
    torch.testing.assert_close(shot.image, srgb_encode(plain.color + (1 - plain.mask) * behind))


def test_environments_behind() -> None:
    light = EnvironmentLight(studio(16)).to(F64)
    seen = camera()
    radiance = light.sample(seen.rays()[1])
    for scene, background in ((cloud(), light), (Scene(cloud(), environment=light), "environment")):
        shot = render_points(scene, seen, background)
        torch.testing.assert_close(shot.image, shot.color + (1 - shot.mask) * srgb_encode(radiance))
    shot = render_points(cloud(), seen, light, tone_mapping="srgb")
    torch.testing.assert_close(shot.image, srgb_encode(shot.color + (1 - shot.mask) * radiance))


# ---- Batches --------------------------------------------------------------------------------------------------------


def test_batches_of_clouds_equal_single_calls_bit_for_bit() -> None:
    clouds, seen, behind = [cloud(20), cloud(0), cloud(35, 5)], camera(count=3), uniform(3, 3, seed=9)
    for batch in (PointClouds.join(clouds), clouds):
        shot = render_points(batch, seen, behind)
        for n, one in enumerate(clouds):
            single = render_points(one, seen[n], behind[n])
            single = replace(single, shape_ids=torch.where(single.primitive_ids >= 0, n, -1).int())
            same(one_image(shot, n), single)
    same(one_image(render_points(clouds, seen[2], behind), 2), one_image(shot, 2))  # one camera for all


def test_cameras_in_a_batch_equal_single_cameras() -> None:
    seen = camera()
    both = render_points(cloud(), seen)
    for n in range(2):
        same(one_image(both, n), render_points(cloud(), seen[n]))


def test_scenes_are_seen_as_one_cloud() -> None:
    clouds = [cloud(20), cloud(0), cloud(35, 5)]
    whole = render_points(PointCloud.join(clouds), camera(), 0.3)
    shot = render_points(Scene(clouds, background=0.3), camera())
    first = torch.tensor([0, 20, 20, -1])
    assert set(shot.shape_ids.unique().tolist()) == {-1, 0, 2}
    restored = shot.primitive_ids + torch.where(shot.shape_ids >= 0, first[shot.shape_ids.long()], 0).int()
    same(replace(shot, primitive_ids=restored, shape_ids=whole.shape_ids), whole)


# ---- Gradients, types, edges ----------------------------------------------------------------------------------------


def test_gradients() -> None:
    points, seen = cloud(3), camera((5, 6), count=0)
    cells = {**parameters(seen), **{f"cloud.{k}": v.requires_grad_() for k, v in points.tensors().items()}}
    cells["background"] = uniform(3, seed=11).requires_grad_()

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(cells, values))
        moved = replace(seen, **{name: given[name] for name in parameters(seen)})
        one = PointCloud(**{name: given[f"cloud.{name}"] for name in points.tensors()})
        return floats(render_points(one, moved, given["background"]))

    assert gradcheck(run, tuple(cells.values()), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_gradients_of_a_radius_for_all() -> None:
    radius = torch.tensor(3.0, dtype=F64, requires_grad=True)
    points = cloud(3)

    def run(value: Tensor) -> Tensor:
        return render_points(points, facing((5, 6)), radius=value).image

    assert gradcheck(run, (radius,), eps=1e-6, atol=1e-6, rtol=1e-5)


def test_types() -> None:
    for dtype in (torch.float32, F64):
        shot = render_points(cloud().to(dtype), camera(dtype=torch.float32))
        assert all(value.dtype == dtype for value in floats(shot))
    mixed = replace(cloud(), colors=cloud().colors.float())
    torch.testing.assert_close(render_points(mixed, camera()).image, render_points(cloud(), camera()).image)


def test_nothing_and_a_single_pixel() -> None:
    empty = PointCloud(torch.zeros(0, 3))
    shot = render_points(empty, facing((4, 5), dtype=torch.float32), (0.1, 0.2, 0.3))
    torch.testing.assert_close(shot.image, torch.tensor([0.1, 0.2, 0.3]).expand(1, 4, 5, 3))
    assert not shot.mask.any()
    assert (shot.primitive_ids == -1).all()
    assert (shot.shape_ids == -1).all()
    assert render_points(cloud(), facing((1, 1))).image.shape == (1, 1, 1, 3)


def test_without_buffers() -> None:
    shot = render_points(cloud(), camera(), buffers=False)
    assert tensors(shot).keys() == {"color", "mask", "image"}
    torch.testing.assert_close(shot.image, render_points(cloud(), camera()).image)


GAUSSIAN = GaussianCloud(torch.zeros(1, 3), torch.ones(1, 4), torch.ones(1, 3), torch.ones(1), torch.zeros(1, 1, 3))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cloud": 3}, TypeError, "cloud"),
        ({"cloud": torch.zeros(4, 3)}, TypeError, "cloud"),
        ({"cloud": []}, ValueError, "cloud"),
        ({"cloud": icosphere(0)}, TypeError, "cloud: expected PointCloud, got Mesh"),
        ({"cloud": [GAUSSIAN]}, TypeError, "cloud: expected PointCloud, got GaussianCloud"),
        ({"cloud": Scene([GAUSSIAN])}, TypeError, "cloud: expected PointCloud, got GaussianCloud"),
        ({"cloud": replace(cloud(), colors=torch.ones(30, 3, dtype=torch.uint8))}, TypeError, "cloud.colors"),
        ({"cloud": [cloud()] * 3}, ValueError, "camera"),
        ({"camera": None}, TypeError, "camera"),
        ({"camera": PerspectiveCamera.from_fov(40.0, (4, 4), torch.eye(4).expand(2, 2, 4, 4))}, ValueError, "camera"),
        ({"camera": replace(facing((4, 4)), distortion=RadialTangentialDistortion(0.1))}, ValueError, "distortion"),
        ({"camera": replace(facing((4, 4)), distortion=FisheyeDistortion())}, ValueError, "projection"),
        ({"camera": replace(orthographic((4, 4)), near=-1.0)}, ValueError, r"camera\.near"),
        ({"radius": 0.0}, ValueError, "radius"),
        ({"radius": torch.ones(30)}, ValueError, "radius"),
        ({"footprint": "star"}, ValueError, "footprint"),
        ({"blend": "add"}, ValueError, "blend"),
        ({"max_contributors": 0}, ValueError, "max_contributors"),
        ({"tone_mapping": "film"}, ValueError, "tone_mapping"),
        ({"background": torch.zeros(5)}, ValueError, "background"),
        ({"background": object()}, TypeError, "background"),
        ({"background": "environment"}, ValueError, "background"),
    ],
)  # fmt: skip
def test_wrong_arguments(options: dict, error: type[Exception], message: str) -> None:
    arguments = {"cloud": cloud(), "camera": camera()} | options
    with pytest.raises(error, match=message):
        render_points(**arguments)
