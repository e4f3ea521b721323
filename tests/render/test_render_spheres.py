"""Spheres: against the op called by hand, closed forms, batches, gradients."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from ops_common import gradcheck
from render_common import F64, camera, example_runs, facing, floats, one_image, orthographic, parameters, same, uniform
from torch import Tensor

import lumigrad as lg
from lumigrad.render import render_spheres
from lumigrad.scene import PointCloud, PointClouds, RadialTangentialDistortion, Scene


def cloud(count: int = 30, seed: int = 0, channels: int = 3) -> PointCloud:
    return PointCloud(
        uniform(count, 3, low=-1, seed=seed),
        uniform(count, channels, seed=seed + 1),
        torch.nn.functional.normalize(uniform(count, 3, low=-1, seed=seed + 2), dim=-1),
        uniform(count, low=0.1, high=0.4, seed=seed + 3),
        uniform(count, low=0.3, seed=seed + 4),
    )


def ball(radius: float = 1.0) -> PointCloud:
    return PointCloud(
        torch.zeros(1, 3, dtype=F64),
        torch.tensor([[1.0, 0.5, 0.0]], dtype=F64),
        radii=torch.full((1,), radius, dtype=F64),
    )


def test_the_example_runs() -> None:
    example_runs("lumigrad.render.spheres")


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_the_op_by_hand(projection: str) -> None:
    points, behind = cloud(channels=5), uniform(5, seed=9)
    seen = camera() if projection == "perspective" else orthographic((20, 26))
    shot = render_spheres(points, seen, behind, gamma=0.05, depth_range=(1.0, 9.0))
    out = lg.spheres(
        points.positions, points.radii, torch.cat((points.colors, points.normals), -1), seen.view(), points.opacities,
        torch.cat((behind, torch.zeros(3))), gamma=0.05, min_depth=1.0, max_depth=9.0, contributors=1,
    )  # fmt: skip
    torch.testing.assert_close(shot.image, out.image[..., :5])
    torch.testing.assert_close(shot.mask[..., 0], out.alpha)
    torch.testing.assert_close(shot.over(behind), shot.image)
    covered = out.alpha > 1e-6
    assert 0.1 < covered.double().mean() < 0.9
    axis = -seen.camera_to_world[..., :3, 2].reshape(-1, 1, 1, 3)
    cosine = (seen.rays()[1] * axis).sum(-1)
    torch.testing.assert_close(shot.depth[..., 0][covered], (cosine * out.depth / out.alpha)[covered])
    torch.testing.assert_close(
        shot.normals[covered], torch.nn.functional.normalize(out.image[..., 5:], dim=-1)[covered]
    )
    assert torch.equal(shot.primitive_ids, out.ids[..., 0])


def test_the_depth_range_is_the_cameras() -> None:
    seen = replace(camera(), near=3.5, far=4.5)
    shot, expected = render_spheres(cloud(), seen), render_spheres(cloud(), camera(), depth_range=(3.5, 4.5))
    same(shot, expected)
    assert shot.mask.mean() < 0.7 * render_spheres(cloud(), camera()).mask.mean()


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_a_ball_covers_a_circle_and_has_its_depth(projection: str) -> None:
    size, radius, distance = (101, 101), 0.9, 3.0
    seen = facing(size) if projection == "perspective" else orthographic(size)
    shot = render_spheres(ball(radius), seen, gamma=1e-5)
    # A perspective camera sees what is less than the radius from the centre at the distance of the centre from the eye.
    wide = radius if projection == "orthographic" else math.tan(2 * math.asin(radius / distance / 2))
    pixels = seen.fx.item() * wide
    assert shot.mask.sum().item() == pytest.approx(math.pi * pixels**2, rel=0.01)
    seen_there = shot.mask[0, ..., 0] > 0.5
    colors = ball().colors.expand(int(seen_there.sum()), 3)
    torch.testing.assert_close(shot.image[0][seen_there], colors, atol=1e-5, rtol=0)
    origin, direction = seen.rays()
    along = -(origin * direction).sum(-1, keepdim=True)
    closest = origin + along * direction
    hit = closest - (radius**2 - closest.square().sum(-1, keepdim=True)).sqrt() * direction
    torch.testing.assert_close(shot.depth[0, ..., 0][seen_there], (distance - hit[..., 2])[seen_there])
    assert shot.depth[0, 50, 50].item() == pytest.approx(distance - radius, abs=1e-4)
    assert torch.equal(shot.primitive_ids[0] == 0, shot.mask[0, ..., 0] > 0)


def test_the_nearer_ball_hides_the_farther_one() -> None:
    positions = torch.tensor([[0.0, 0, -1], [0, 0, 1]], dtype=F64)
    colors = torch.tensor([[1.0, 0, 0], [0, 1, 0]], dtype=F64)
    shot = render_spheres(PointCloud(positions, colors), facing((9, 9), 4.0), radius=0.5)
    torch.testing.assert_close(shot.image[0, 4, 4], colors[1], atol=1e-5, rtol=0)
    assert shot.primitive_ids[0, 4, 4] == 1


def test_a_radius_for_all() -> None:
    points = cloud()
    expected = render_spheres(replace(points, radii=torch.full((30,), 0.25, dtype=F64)), camera())
    same(render_spheres(points, camera(), radius=0.25), expected)
    same(render_spheres(replace(points, radii=None), camera(), radius=0.25), expected)


def test_batches_of_clouds_equal_single_calls_bit_for_bit() -> None:
    clouds, seen = [cloud(20), cloud(0), cloud(35, 5)], camera(count=3)
    shot = render_spheres(PointClouds.join(clouds), seen, uniform(3, 3, seed=9))
    for n, one in enumerate(clouds):
        single = render_spheres(one, seen[n], uniform(3, 3, seed=9)[n])
        same(one_image(shot, n), replace(single, shape_ids=torch.where(single.primitive_ids >= 0, n, -1).int()))


def test_scenes_are_seen_as_one_cloud() -> None:
    clouds = [cloud(20), cloud(35, 5)]
    whole = render_spheres(PointCloud.join(clouds), camera(), 0.3)
    shot = render_spheres(Scene(clouds, background=0.3), camera())
    assert torch.equal(shot.image, whole.image)
    assert torch.equal(shot.primitive_ids + 20 * (shot.shape_ids == 1), whole.primitive_ids)


def test_gradients() -> None:
    points, seen = cloud(3), camera((5, 6), count=0)
    cells = {**parameters(seen), **{f"cloud.{k}": v.requires_grad_() for k, v in points.tensors().items()}}
    cells |= {
        "background": uniform(3, seed=11).requires_grad_(),
        "gamma": torch.tensor(0.1, dtype=F64).requires_grad_(),
    }

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(cells, values))
        moved = replace(seen, **{name: given[name] for name in parameters(seen)})
        one = PointCloud(**{name: given[f"cloud.{name}"] for name in points.tensors()})
        return floats(render_spheres(one, moved, given["background"], gamma=given["gamma"], depth_range=(1.0, 9.0)))

    assert gradcheck(run, tuple(cells.values()), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_types() -> None:
    for dtype in (torch.float32, F64):
        shot = render_spheres(cloud().to(dtype), camera(dtype=torch.float32))
        assert all(value.dtype == dtype for value in floats(shot))


def test_nothing_and_a_single_pixel() -> None:
    empty = PointCloud(torch.zeros(0, 3), radii=torch.zeros(0))
    shot = render_spheres(empty, facing((4, 5), dtype=torch.float32), (0.1, 0.2, 0.3))
    torch.testing.assert_close(shot.image, torch.tensor([0.1, 0.2, 0.3]).expand(1, 4, 5, 3))
    assert (shot.primitive_ids == -1).all()
    torch.testing.assert_close(render_spheres(ball(), facing((1, 1))).image[0, 0, 0], ball().colors[0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cloud": None}, TypeError, "cloud"),
        ({"cloud": replace(cloud(), radii=None)}, ValueError, r"cloud\.radii"),
        ({"radius": -1.0}, ValueError, "radius"),
        ({"radius": torch.ones(30)}, ValueError, "radius"),
        ({"gamma": 0.0}, ValueError, "gamma"),
        ({"depth_range": (4.0, 3.0)}, ValueError, "depth_range"),
        ({"depth_range": 4.0}, TypeError, "depth_range"),
        ({"camera": 1}, TypeError, "camera"),
        ({"camera": replace(facing((4, 4)), distortion=RadialTangentialDistortion(0.1))}, ValueError, "distortion"),
        ({"tone_mapping": "film"}, ValueError, "tone_mapping"),
        ({"background": torch.zeros(5)}, ValueError, "background"),
    ],
)
def test_wrong_arguments(options: dict, error: type[Exception], message: str) -> None:
    arguments = {"cloud": cloud(), "camera": camera()} | options
    with pytest.raises(error, match=message):
        render_spheres(**arguments)
