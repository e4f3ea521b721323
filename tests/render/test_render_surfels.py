"""Surfels: against the op called by hand, closed forms, batches, gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from ops_common import gradcheck
from render_common import F64, camera, example_runs, facing, floats, one_image, parameters, same, uniform
from torch import Tensor

import lumigrad as lg
from lumigrad.render import render_surfels
from lumigrad.scene import GaussianCloud, RadialTangentialDistortion, Scene, SurfelCloud, constant_harmonics


def cloud(count: int = 40, seed: int = 0, harmonics: int = 4) -> SurfelCloud:
    return SurfelCloud(
        uniform(count, 3, low=-1, seed=seed),
        uniform(count, 4, low=-1, seed=seed + 1),
        uniform(count, 2, low=0.05, high=0.3, seed=seed + 2),
        uniform(count, low=0.2, high=0.95, seed=seed + 3),
        uniform(count, harmonics, 3, low=-0.5, high=0.8, seed=seed + 4),
    )


def test_the_example_runs() -> None:
    example_runs("lumigrad.render.surfels")


def test_the_op_by_hand() -> None:
    splats, seen, behind = cloud(), camera(), uniform(2, 3, seed=9)
    shot = render_surfels(splats, seen, behind)
    out = lg.surfels(
        splats.means, splats.quats, splats.scales, splats.opacities, splats.harmonics, seen.view(), behind,
        harmonics=True,
    )  # fmt: skip
    torch.testing.assert_close(shot.image, out.image)
    torch.testing.assert_close(shot.mask[..., 0], out.alpha)
    torch.testing.assert_close(shot.over(behind[:, None, None]), shot.image)
    covered = out.alpha > 1e-6
    assert 0.1 < covered.double().mean() < 0.95
    torch.testing.assert_close(shot.depth[..., 0][covered], (out.depth / out.alpha)[covered])
    torch.testing.assert_close(shot.normals[covered], torch.nn.functional.normalize(out.normals, dim=-1)[covered])
    for name in ("depth", "normals"):
        assert not getattr(shot, name)[~covered].any()
    assert torch.equal(shot.primitive_ids, out.median)


def test_a_tilted_plane_has_its_depth_and_its_normal() -> None:
    """A wide surfel through the origin, turned by 30 degrees about y: depth where the rays cut it."""
    angle = torch.tensor(30.0).deg2rad().double()
    zero = torch.zeros((), dtype=F64)
    quats = torch.stack([(angle / 2).cos(), zero, (angle / 2).sin(), zero])[None]
    color = torch.tensor([[0.1, 0.6, 0.3]], dtype=F64)
    plane = SurfelCloud(
        torch.zeros(1, 3, dtype=F64), quats, torch.full((1, 2), 50.0).double(), torch.ones(1, dtype=F64),
        constant_harmonics(color),
    )  # fmt: skip
    seen = facing((9, 12))
    shot = render_surfels(plane, seen)
    normal = torch.stack([angle.sin(), zero, angle.cos()])
    origin, direction = seen.rays()
    distance = -(origin @ normal) / (direction @ normal)
    torch.testing.assert_close(shot.depth[0, ..., 0], 3 - (origin + distance[..., None] * direction)[..., 2])
    torch.testing.assert_close(shot.normals[0], normal.expand(9, 12, 3))
    torch.testing.assert_close(shot.mask, torch.full((1, 9, 12, 1), 0.99).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(shot.straight()[..., :3], color.expand(1, 9, 12, 3))
    assert not shot.primitive_ids.any()


def test_batches_of_clouds_equal_single_calls_bit_for_bit() -> None:
    clouds, seen = [cloud(20), cloud(0), cloud(35, 5, harmonics=9)], camera(count=3)
    shot = render_surfels(clouds, seen, uniform(3, 3, seed=9))
    for n, one in enumerate(clouds):
        single = render_surfels(one, seen[n], uniform(3, 3, seed=9)[n])
        same(one_image(shot, n), replace(single, shape_ids=torch.where(single.primitive_ids >= 0, n, -1).int()))


def test_scenes_are_seen_as_one_cloud() -> None:
    clouds = [cloud(20, harmonics=1), cloud(35, 5, harmonics=9)]
    whole = render_surfels(SurfelCloud.join(clouds), camera(), 0.3)
    shot = render_surfels(Scene(clouds, background=0.3), camera())
    assert torch.equal(shot.image, whole.image)
    assert torch.equal(shot.primitive_ids + 20 * (shot.shape_ids == 1), whole.primitive_ids)


def test_gradients() -> None:
    splats, seen = cloud(3), camera((5, 6), count=0)
    cells = {**parameters(seen), **{f"cloud.{k}": v.requires_grad_() for k, v in splats.tensors().items()}}
    cells["background"] = uniform(3, seed=11).requires_grad_()

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(cells, values))
        moved = replace(seen, **{name: given[name] for name in parameters(seen)})
        one = SurfelCloud(**{name: given[f"cloud.{name}"] for name in splats.tensors()})
        return floats(render_surfels(one, moved, given["background"]))

    assert gradcheck(run, tuple(cells.values()), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_types() -> None:
    for dtype in (torch.float32, F64):
        shot = render_surfels(cloud().to(dtype), camera(dtype=torch.float32))
        assert all(value.dtype == dtype for value in floats(shot))


def test_nothing_and_a_single_pixel() -> None:
    shot = render_surfels(cloud(0).to(torch.float32), facing((4, 5), dtype=torch.float32), (0.1, 0.2, 0.3))
    torch.testing.assert_close(shot.image, torch.tensor([0.1, 0.2, 0.3]).expand(1, 4, 5, 3))
    assert (shot.primitive_ids == -1).all()
    assert render_surfels(cloud(), facing((1, 1))).image.shape == (1, 1, 1, 3)


GAUSSIAN = GaussianCloud(torch.zeros(1, 3), torch.ones(1, 4), torch.ones(1, 3), torch.ones(1), torch.zeros(1, 1, 3))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cloud": None}, TypeError, "cloud"),
        ({"cloud": GAUSSIAN}, TypeError, "cloud: expected SurfelCloud, got GaussianCloud"),
        ({"camera": 1}, TypeError, "camera"),
        ({"camera": replace(facing((4, 4)), distortion=RadialTangentialDistortion(0.1))}, ValueError, "distortion"),
        ({"tone_mapping": "film"}, ValueError, "tone_mapping"),
        ({"background": torch.zeros(5)}, ValueError, "background"),
    ],
)
def test_wrong_arguments(options: dict, error: type[Exception], message: str) -> None:
    arguments = {"cloud": cloud(), "camera": camera()} | options
    with pytest.raises(error, match=message):
        render_surfels(**arguments)
