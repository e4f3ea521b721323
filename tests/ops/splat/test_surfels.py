"""Gaussian surfels: the kernel against the reference, differences and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from ops_common import gradcheck, random, scaled_error, threads
from splat_common import call, cameras_of, straight, surfel_scene
from torch import Tensor

import lumigrad as lg
from lumigrad.reference.splat._project_gaussians import rotations

FLOATS = ["image", "alpha", "depth", "normals", "distortion", "median_depth"]


def outputs_and_grads(op, inputs: dict[str, Tensor], **options) -> dict[str, Tensor]:
    leaves = {k: v.detach().clone().requires_grad_() for k, v in inputs.items()}
    out = call(op, **leaves, **options)
    floats = {name: getattr(out, name) for name in FLOATS}
    loss = sum((o * random(*o.shape, seed=90 + i, dtype=o.dtype)).sum() for i, o in enumerate(floats.values()))
    grads = torch.autograd.grad(loss, list(leaves.values()))
    return {**{k: v.detach() for k, v in floats.items()}, **{f"grad {k}": g for k, g in zip(leaves, grads)}}


@pytest.mark.parametrize("distortion_range", [None, (0.2, 100.0)])
@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reference(dtype: torch.dtype, projection: str, distortion_range: tuple[float, float] | None) -> None:
    """Several tiles and two views; large and tiny ones, some across the camera's plane, beside the eye."""
    size, channels = (34, 44), 3 if dtype == torch.float32 else 5
    scene = {**surfel_scene(40, dtype, channels), **cameras_of(projection, size, dtype)}
    scene["fx"], scene["fy"] = scene["fx"] * 2, scene["fy"] * 2
    scene["means"][0] = torch.tensor([1.5, 0.3, 2.9], dtype=dtype)
    scene["scales"][0] = 1.5
    scene["scales"][1:6] = 0.005
    scene["scales"][6] = torch.tensor([0.4, 0.01], dtype=dtype)
    options = {"size": size, "projection": projection, "distortion_range": distortion_range}
    ours = outputs_and_grads(lg.surfels, scene, **options)
    theirs = outputs_and_grads(lg.reference.surfels, {k: v.double() for k, v in scene.items()}, **options)
    for name, expected in theirs.items():
        assert ours[name].dtype == dtype
        # In float32 what is seen nearly from the side has lost digits.
        tolerance = (2e-4 if "grad" in name else 3e-5) if dtype == torch.float32 else 1e-9
        assert scaled_error(ours[name], expected) < tolerance, name


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_gradients(projection: str) -> None:
    scene = {**surfel_scene(4), **cameras_of(projection, (6, 7))}
    scene["fx"], scene["fy"] = scene["fx"] / 3, scene["fy"] / 3
    scene["scales"] = scene["scales"] * 3
    names = list(scene)

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        out = call(lg.surfels, **dict(zip(names, values)), size=(6, 7), projection=projection, distortion_range=(1, 9))
        return tuple(getattr(out, name) for name in FLOATS)

    assert all(value.abs().gt(1e-3).any() for value in run(*scene.values()))
    assert gradcheck(run, tuple(v.requires_grad_() for v in scene.values()), eps=1e-6, atol=1e-6, rtol=1e-4)


def test_facing_surfel_is_a_gaussian() -> None:
    """At depth z it is on the screen a Gaussian of standard deviation f s / z."""
    view = straight((24, 24), 60.0)
    mean, scales = torch.tensor([[0.1, -0.05, -3.0]]).double(), torch.tensor([[0.2, 0.12]]).double()
    opacities, features = torch.tensor([0.8]).double(), torch.tensor([[2.0, 0.5]]).double()
    out = lg.surfels(mean, torch.tensor([[1.0, 0, 0, 0]]).double(), scales, opacities, features, view)
    x, y = 12 + 60 * 0.1 / 3, 12 + 60 * 0.05 / 3
    spread = 60 * scales / 3
    conic = torch.stack((spread[:, 0] ** -2, 0 * spread[:, 0], spread[:, 1] ** -2), -1)[None]
    expected = lg.splat(torch.tensor([[[x, y]]]).double(), conic, torch.tensor([[3.0]]).double(), features, (24, 24),
                        opacities, max_alpha=0.99, min_alpha=1 / 255, stop=1e-4)  # fmt: skip
    assert torch.allclose(out.image, expected.image, atol=1e-12)
    assert torch.allclose(out.depth, 3 * out.alpha, atol=1e-12)
    assert torch.allclose(out.normals, out.alpha[..., None] * torch.tensor([0.0, 0, 1]).double(), atol=1e-12)
    assert not out.distortion.abs().gt(1e-12).any()
    assert torch.equal(out.median_depth, torch.where(out.alpha > 0.5, 3.0, 0.0).double())


def test_tiny_surfel_is_the_filter() -> None:
    view = straight((9, 9), 10.0)
    out = lg.surfels(torch.tensor([[0.0, 0, -2]]).double(), torch.tensor([[1.0, 0, 0, 0]]).double(),
                     torch.tensor([[1e-4, 1e-4]]).double(), torch.ones(1).double() * 0.9, torch.ones(1, 1).double(),
                     view)  # fmt: skip
    away = (torch.arange(9).double() - 4).square()
    expected = 0.9 * torch.exp(-(away[:, None] + away))
    assert torch.allclose(out.alpha[0], torch.where(expected >= 1 / 255, expected, 0), atol=1e-12)


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_tilted_plane(projection: str) -> None:
    """The expected depth of one large surfel is that of its plane, and the normal looks back at the camera."""
    view = straight((20, 30), 25.0 if projection == "perspective" else 6.0, projection=projection)
    angle = torch.tensor([math.cos(0.35), 0.2 * math.sin(0.35), 0.9 * math.sin(0.35), 0]).double()[None]
    mean = torch.tensor([[0.3, -0.2, -4.0]]).double()
    out = lg.surfels(mean, angle, torch.full((1, 2), 3.0).double(), torch.ones(1).double(), torch.ones(1, 1).double(),
                     view)  # fmt: skip
    normal = rotations(angle)[0, :, 2]
    x = (torch.arange(30).double() + 0.5 - 15) / view.fx
    y = (10 - torch.arange(20).double() - 0.5) / view.fy
    y, x = torch.meshgrid(y, x, indexing="ij")
    if projection == "perspective":
        z = (normal @ mean[0]) / (normal[0] * x + normal[1] * y - normal[2])
    else:
        z = -mean[0, 2] + (normal[0] * (x - mean[0, 0]) + normal[1] * (y - mean[0, 1])) / normal[2]
    assert out.alpha.min() > 0.05
    depth = out.depth / out.alpha
    met = (depth - 4).abs()[0] > 1e-9  # in the middle of it the filter may be the wider one
    assert met.sum() > 590
    assert torch.allclose(depth[0][met], z[met], atol=1e-10)
    facing = normal if normal[2] > 0 else -normal
    assert torch.allclose(out.normals / out.alpha[..., None], facing.expand(1, 20, 30, 3), atol=1e-10)


@pytest.mark.parametrize("distortion_range", [None, (0.5, 20.0)])
def test_distortion_is_the_sum_over_pairs(distortion_range: tuple[float, float] | None) -> None:
    """Of facing surfels, whose depths are those of their centres; weights as listed."""
    scene = surfel_scene(15, channels=1)
    scene["quats"] = torch.tensor([[1.0, 0, 0, 0]]).double().expand(15, 4)
    z = 4 + random(15, seed=7, dtype=torch.float64)
    scene["means"][:, 2] = -z
    out = lg.surfels(**scene, view=straight((20, 20), 15.0), contributors=15, distortion_range=distortion_range)
    m = z
    if distortion_range is not None:
        near, far = distortion_range
        m = far * (z - near) / (z * (far - near))
    m, weights = m[out.ids.long().clamp(min=0)], out.weights
    squares = (m[..., :, None] - m[..., None, :]).square()
    pairs = 0.5 * (weights[..., :, None] * weights[..., None, :] * squares).sum((-1, -2))
    assert pairs.max() > 1e-4
    assert torch.allclose(out.distortion, pairs, atol=1e-12)


def test_small_distortion_in_float32() -> None:
    """Two layers a thousandth of their depth apart: no difference of large sums loses the digits."""
    means = torch.tensor([[0.0, 0, -10], [0, 0, -10.01]])
    quats = torch.tensor([[1.0, 0, 0, 0]]).expand(2, 4)
    out = lg.surfels(means, quats, torch.full((2, 2), 5.0), torch.full((2,), 0.5), torch.ones(2, 1),
                     straight((5, 5), 10.0, torch.float32))  # fmt: skip
    apart = means[0, 2] - means[1, 2]
    assert out.distortion[0, 2, 2].item() == pytest.approx(0.5 * 0.25 * apart.item() ** 2, rel=1e-3)


def test_seen_from_the_side() -> None:
    """The filter's dot is left, at the depth of the centre; without extent, too."""
    quats = torch.tensor([[math.cos(math.pi / 4), 0, math.sin(math.pi / 4), 0], [1.0, 0, 0, 0]])
    scales = torch.tensor([[0.5, 0.5], [0.0, 0.5]])
    for i in range(2):
        values = (torch.tensor([[0.0, 0, -2]]), quats[i, None], scales[i, None], torch.tensor([0.9]), torch.ones(1, 1))
        leaves = [v.clone().requires_grad_() for v in values]
        out = lg.surfels(*leaves, straight((9, 9), 10.0, torch.float32))
        away = (torch.arange(9) - 4.0).square()
        expected = 0.9 * torch.exp(-(away[:, None] + away))
        # The side itself may be hit: where it is, along one column, the surfel is as strong as anything.
        assert torch.allclose(out.alpha[0, :, :3], torch.where(expected >= 1 / 255, expected, 0)[:, :3], atol=1e-6)
        assert out.alpha[0, 4, 4].item() == pytest.approx(0.9)
        assert torch.allclose(out.depth[0, :, :3], 2 * out.alpha[0, :, :3], atol=1e-6)
        grads = torch.autograd.grad(out.image.sum() + out.depth.sum() + out.distortion.sum(), leaves)
        assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_what_is_left_out(projection: str) -> None:
    scene, camera = surfel_scene(14, torch.float32), cameras_of(projection, dtype=torch.float32)
    scene["means"][0] = torch.linalg.inv(camera["matrix"])[0, :3, 3]
    scene["means"][1, 1], scene["means"][2, 0] = torch.nan, torch.inf
    scene["quats"][3, 2], scene["scales"][4, 1], scene["scales"][5, 0] = torch.nan, torch.inf, torch.nan
    scene["opacities"][6], scene["opacities"][7], scene["opacities"][8] = 0, torch.nan, -1
    scene["means"][9] = torch.tensor([0, 0, 30.0])
    scene["features"][:10] = torch.nan
    scene["means"][0] = torch.tensor([0.0, 0, 20])
    leaves = {k: v.clone().requires_grad_() for k, v in {**scene, **camera}.items()}
    out = call(lg.surfels, **leaves, size=(20, 26), projection=projection)
    kept = {k: v[10:] if k != "background" else v for k, v in scene.items()}
    expected = call(lg.surfels, **kept, **camera, size=(20, 26), projection=projection)
    for name in FLOATS:
        assert torch.equal(getattr(out, name), getattr(expected, name)), name
    grads = torch.autograd.grad(sum(getattr(out, name).sum() for name in FLOATS), list(leaves.values()))
    for name, grad in zip(leaves, grads):
        assert grad.isfinite().all(), name
        if name in scene and name != "background":
            assert not grad[:10].any(), name
            assert grad[10:].any(), name


def test_contributors_and_harmonics() -> None:
    scene, camera = surfel_scene(30), cameras_of("perspective")
    ours, theirs = (
        call(op, **scene, **camera, size=(20, 26), contributors=4) for op in (lg.surfels, lg.reference.surfels)
    )
    assert torch.equal(ours.ids, theirs.ids)
    assert torch.equal(ours.median, theirs.median)
    assert (ours.median >= 0).any()
    assert torch.allclose(ours.weights, theirs.weights, atol=1e-12)
    coefficients = random(30, 4, 3, seed=9, dtype=torch.float64)
    eyes = torch.linalg.inv(camera["matrix"])[:, None, :3, 3]
    colors = (lg.spherical_harmonics(coefficients, scene["means"] - eyes) + 0.5).clamp(min=0)
    one = call(lg.surfels, **{**scene, "features": coefficients}, **camera, size=(20, 26), harmonics=True)
    other = call(lg.surfels, **{**scene, "features": colors}, **camera, size=(20, 26))
    assert torch.equal(one.image, other.image)


@pytest.mark.cpu_only
@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_threads(projection: str) -> None:
    scene, size = surfel_scene(2000, torch.float32), (150, 170)
    inputs = {**scene, **cameras_of(projection, size, torch.float32)}
    results = []
    for count in (1, 2, 5):
        with threads(count):
            results.append(outputs_and_grads(lg.surfels, inputs, size=size, projection=projection))
    for other in results[1:]:
        assert all(torch.equal(value, other[name]) for name, value in results[0].items())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"means": torch.zeros(12, 2)}, ValueError, "means: expected shape"),
        ({"means": torch.zeros(12, 3).int()}, TypeError, "means: expected float"),
        ({"quats": torch.zeros(12, 3)}, ValueError, "quats: expected shape"),
        ({"scales": torch.zeros(12, 3)}, ValueError, "scales: expected shape"),
        ({"scales": torch.zeros(12, 2).double()}, TypeError, "scales: expected"),
        ({"opacities": torch.zeros(11)}, ValueError, "opacities: expected shape"),
        ({"features": torch.zeros(11, 3)}, ValueError, "features: expected shape"),
        ({"matrix": torch.zeros(2, 3, 4)}, ValueError, "view.matrix: expected shape"),
        ({"fx": None}, TypeError, "view.fx: expected"),
        ({"projection": "fisheye"}, ValueError, "view.projection: expected"),
        ({"near": 3.0, "far": 2.0}, ValueError, "view.near, view.far: expected"),
        ({"distortion_range": (2.0, 1.0)}, ValueError, "distortion_range: expected 0 < near < far"),
        ({"distortion_range": (0.0, math.inf)}, ValueError, "distortion_range: expected"),
        ({"distortion_range": 3.0}, TypeError, "distortion_range: expected"),
        ({"contributors": -1}, ValueError, "contributors: expected"),
    ],
)
def test_wrong_calls(change: dict, error: type[Exception], message: str) -> None:
    scene, camera = surfel_scene(dtype=torch.float32), cameras_of("perspective", dtype=torch.float32)
    with pytest.raises(error, match=message):
        call(lg.surfels, **{**scene, **camera, "size": (4, 5), **change})


def test_empty() -> None:
    scene, camera = surfel_scene(0, torch.float32), cameras_of("perspective", dtype=torch.float32)
    means = scene["means"].requires_grad_()
    out = call(lg.surfels, **scene, **camera, size=(1, 2))
    assert torch.equal(out.image, scene["background"].expand(2, 1, 2, 3))
    assert not out.alpha.any()
    assert not out.distortion.any()
    out.image.sum().backward()
    assert means.grad.shape == (0, 3)
