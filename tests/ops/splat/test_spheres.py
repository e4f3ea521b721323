"""Spheres: the kernel against the reference, differences, closed forms and Pulsar's images."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ops_common import gradcheck, random, scaled_error, threads
from splat_common import (
    PULSAR,
    assert_near_coarse_pulsar,
    assert_near_pulsar,
    call,
    cameras_of,
    coarse_exp,
    sphere_scene,
    straight,
)
from torch import Tensor

import lumigrad as lg

DEPTHS = {"min_depth": 0.5, "max_depth": 9.0}


def outputs_and_grads(op, inputs: dict[str, Tensor], **options) -> list[Tensor]:
    leaves = {k: v.detach().clone().requires_grad_() for k, v in inputs.items()}
    out = call(op, **leaves, **options)
    floats = [out.image, out.alpha, out.depth]
    loss = sum((o * random(*o.shape, seed=90 + i, dtype=o.dtype)).sum() for i, o in enumerate(floats))
    return [o.detach() for o in floats] + list(torch.autograd.grad(loss, list(leaves.values())))


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reference(dtype: torch.dtype, projection: str) -> None:
    """Several tiles and two views; some spheres cross the camera's plane or the borders of the image."""
    size, channels = (50, 70), 3 if dtype == torch.float32 else 5
    scene = {**sphere_scene(80, dtype, channels), **cameras_of(projection, size, dtype)}
    scene["gamma"] = torch.tensor(0.08, dtype=dtype)
    scene["fx"], scene["fy"] = scene["fx"] * 2, scene["fy"] * 2
    scene["positions"][0] = torch.tensor([2.5, 0.3, 3.9], dtype=dtype)  # beside the eye
    scene["radii"][0] = 1.8
    scene["radii"][1:6] = 0.02  # less than a pixel
    ours = outputs_and_grads(lg.spheres, scene, size=size, projection=projection, **DEPTHS)
    exact = {k: v.double() for k, v in scene.items()}
    theirs = outputs_and_grads(lg.reference.spheres, exact, size=size, projection=projection, **DEPTHS)
    # In float32 a height 1 - L / R has lost its digits at the rim, and exp(z / gamma), here e^10, magnifies what is
    # left over the background: single pixels of a sphere's outline are off by some 1e-5, the others by 1e-7.
    forward, backward = (3e-5, 2e-4) if dtype == torch.float32 else (1e-11, 1e-8)
    names = ["image", "alpha", "depth", *scene]
    for i, (name, value, expected) in enumerate(zip(names, ours, theirs)):
        assert value.dtype == dtype
        assert scaled_error(value, expected) < (forward if i < 3 else backward), name
    assert (ours[0] - theirs[0]).abs().mean() < 1e-6


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_gradients(projection: str) -> None:
    scene = {**sphere_scene(4), **cameras_of(projection, (6, 7)), "gamma": torch.tensor(0.1, dtype=torch.float64)}
    scene["fx"], scene["fy"] = scene["fx"] / 3, scene["fy"] / 3
    scene["radii"] = scene["radii"] * 2.5
    names = list(scene)

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        return call(lg.spheres, **dict(zip(names, values)), size=(6, 7), projection=projection, **DEPTHS)[:3]

    assert run(*scene.values())[1].gt(0.1).any()
    assert gradcheck(run, tuple(v.requires_grad_() for v in scene.values()), eps=1e-6, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("gamma", [1e-5, 1e-3, 1.0])
def test_gamma(gamma: float) -> None:
    """At the ends of its range; the sharpest in float64, for there float32 has not the digits."""
    scene, camera = sphere_scene(200, seed=4), cameras_of("perspective", (40, 40))
    options = {"size": (40, 40), "gamma": gamma, **DEPTHS}
    ours, theirs = (call(op, **scene, **camera, **options) for op in (lg.spheres, lg.reference.spheres))
    assert scaled_error(ours.image, theirs.image) < 1e-8


def test_contributors_and_one_sphere() -> None:
    """Of a single opaque sphere the weight at its centre is that of the formula."""
    one = torch.ones(1, dtype=torch.float64)
    out = lg.spheres(torch.tensor([[0.0, 0, -3]]).double(), one, torch.tensor([[2.0]]).double(), straight((1, 1), 1.0),
                     gamma=0.5, min_depth=1.0, max_depth=5.0, contributors=2)  # fmt: skip
    weight = math.exp((1 - (2 - 1) / 4) / 0.5)
    alpha = weight / (weight + math.exp(1e-6 / 0.5))
    assert out.alpha.item() == pytest.approx(alpha, rel=1e-12)
    assert out.image.item() == pytest.approx(2 * alpha, rel=1e-12)
    assert out.depth.item() == pytest.approx(2 * alpha, rel=1e-12)
    assert out.ids.flatten().tolist() == [0, -1]
    assert out.weights[0, 0, 0, 0].item() == pytest.approx(alpha, rel=1e-12)
    scene, camera = sphere_scene(60), cameras_of("perspective")
    ours, theirs = (call(op, **scene, **camera, size=(20, 26), contributors=4, **DEPTHS)
                    for op in (lg.spheres, lg.reference.spheres))  # fmt: skip
    assert torch.equal(ours.ids, theirs.ids)
    assert torch.allclose(ours.weights, theirs.weights, atol=1e-10)


def test_what_is_left_out() -> None:
    """Around the eye, nearer than min_depth, beyond max_depth, of no size or opacity, not finite."""
    scene, camera = sphere_scene(14, torch.float32), cameras_of("perspective", dtype=torch.float32)
    scene["positions"][0] = torch.linalg.inv(camera["matrix"])[0, :3, 3]
    scene["radii"][0] = 5
    scene["positions"][1] = torch.tensor([0, 0, -40.0])
    scene["radii"][2], scene["radii"][3], scene["radii"][4] = 0, -1, torch.nan
    scene["radii"][5] = torch.inf
    scene["opacities"][6], scene["opacities"][7], scene["opacities"][8] = 0, -1, torch.nan
    scene["positions"][9, 1], scene["positions"][10, 0] = torch.nan, torch.inf
    scene["features"][:11] = torch.nan
    leaves = {k: v.clone().requires_grad_() for k, v in {**scene, **camera}.items()}
    out = call(lg.spheres, **leaves, size=(20, 26), **DEPTHS)
    kept = {k: v[11:] if k != "background" else v for k, v in scene.items()}
    assert torch.equal(out.image, call(lg.spheres, **kept, **camera, size=(20, 26), **DEPTHS).image)
    grads = torch.autograd.grad(out.image.sum() + out.depth.sum(), list(leaves.values()))
    for name, grad in zip(leaves, grads):
        assert grad.isfinite().all(), name
        if name in ("positions", "radii", "opacities", "features"):
            assert not grad[:11].any(), name
            assert grad[11:].any()


@pytest.mark.cpu_only
@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_threads(projection: str) -> None:
    scene, camera = sphere_scene(2000, torch.float32), cameras_of(projection, (150, 170), torch.float32)
    results = []
    for count in (1, 2, 5):
        with threads(count):
            inputs = {**scene, **camera}
            results.append(outputs_and_grads(lg.spheres, inputs, size=(150, 170), projection=projection, **DEPTHS))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


def pulsar_image(path: Path, op) -> tuple[Tensor, Tensor]:
    """One of Pulsar's images, and ours of the same scene."""
    data = {k: torch.tensor(v) for k, v in np.load(path).items()}
    eye, axis, focal, sensor = data["cam_params"].double().split((3, 3, 1, 1))
    x, y, z = axis.tolist()
    turn = torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64))
    width, height, flat = data["width"].item(), data["height"].item(), data["orthogonal"].item()
    matrix = torch.eye(4, dtype=torch.float64)
    # Its axes are x right, y up, z into the scene, or the other way in the right-handed system.
    mirror = torch.tensor([1.0, 1, 1 if data["right_handed"] else -1], dtype=torch.float64)
    matrix[:3, :3] = mirror[:, None] * turn.T
    matrix[:3, 3] = -matrix[:3, :3] @ eye
    pixels = (width / sensor if flat else focal * width / sensor)[0]
    shift = 0.5 if flat else 0.0  # its orthographic rays go through the corners of pixels
    view = lg.View(
        matrix, pixels, pixels, width / 2 + shift, height / 2 + shift, (height, width),
        "orthographic" if flat else "perspective",
    )  # fmt: skip
    positions, radii, features, opacities, background = (
        data[name].double() for name in ("positions", "radii", "features", "opacity", "background")
    )
    depths = {name: data[name].item() for name in ("min_depth", "max_depth")}
    out = op(positions, radii, features, view, opacities, background, gamma=data["gamma"].item(), **depths)
    return out.image[0], data["image"].double()


@pytest.mark.parametrize("name", PULSAR)
def test_pulsar(shared: Path, name: str) -> None:
    """What the formula gives is tested above; this pins the conventions."""
    image, expected = pulsar_image(shared / "oracles" / f"pulsar_{name}.npz", lg.spheres)
    assert_near_pulsar(image, expected)


@pytest.mark.parametrize("name", PULSAR)
def test_pulsar_with_a_coarse_exponential(shared: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "exp", coarse_exp)
    image, expected = pulsar_image(shared / "oracles" / f"pulsar_{name}.npz", lg.reference.spheres)
    assert_near_coarse_pulsar(image, expected, name)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"positions": torch.zeros(12, 2)}, ValueError, "positions: expected shape"),
        ({"positions": torch.zeros(12, 3).int()}, TypeError, "positions: expected float"),
        ({"radii": torch.zeros(11)}, ValueError, "radii: expected shape"),
        ({"matrix": torch.zeros(2, 3, 4)}, ValueError, "view.matrix: expected shape"),
        ({"fx": torch.zeros(3)}, ValueError, "view.fx: expected a scalar"),
        ({"cy": "middle"}, TypeError, "view.cy: expected a number"),
        ({"features": torch.zeros(11, 3)}, ValueError, "features: expected shape"),
        ({"gamma": torch.zeros(2)}, ValueError, "gamma: expected one number"),
        ({"gamma": 0.0}, ValueError, "gamma: expected a positive number"),
        ({"gamma": "soft"}, TypeError, "gamma: expected a number, got 'soft'"),
        ({"gamma": torch.ones((), device="meta")}, ValueError, "gamma: expected a tensor with data"),
        ({"min_depth": "near"}, TypeError, "min_depth: expected a number, got 'near'"),
        ({"min_depth": 9.0, "max_depth": 2.0}, ValueError, "min_depth, max_depth: expected"),
        ({"projection": "fisheye"}, ValueError, "view.projection: expected"),
    ],
)
def test_wrong_calls(change: dict, error: type[Exception], message: str) -> None:
    scene, camera = sphere_scene(dtype=torch.float32), cameras_of("perspective", dtype=torch.float32)
    with pytest.raises(error, match=message):
        call(lg.spheres, **{**scene, **camera, "size": (4, 5), **change})


def test_a_view_is_needed() -> None:
    with pytest.raises(TypeError, match=r"view: expected a lumigrad.View, got Tensor; make one with camera.view\(\)"):
        lg.spheres(**sphere_scene(), view=torch.eye(4))


def test_empty() -> None:
    scene, camera = sphere_scene(0, torch.float32), cameras_of("perspective", dtype=torch.float32)
    positions = scene["positions"].requires_grad_()
    out = call(lg.spheres, **scene, **camera, size=(1, 2))
    assert torch.equal(out.image, scene["background"].expand(2, 1, 2, 3))
    out.image.sum().backward()
    assert positions.grad.shape == (0, 3)
