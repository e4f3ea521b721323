"""The compositing kernel against the reference, differences and numbers of another implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ops_common import gradcheck, random, scaled_error, threads
from splat_common import flat_scene
from torch import Tensor

import lumigrad as lg

SIZE = (20, 26)
FOOTPRINTS = ["gaussian", "disc", "square"]
BLENDS = ["alpha", "normalised", "nearest"]
# What 3D Gaussian splatting composites with.
RULES = {"max_alpha": 0.99, "min_alpha": 1 / 255, "stop": 1e-4}


def outputs_and_grads(op, inputs: dict[str, Tensor], names: list[str], *args, **options) -> list[Tensor]:
    """Image, alpha, depth, and the gradients of a random sum of them."""
    leaves = {k: v.detach().clone().requires_grad_() for k, v in inputs.items()}
    out = op(*args, **leaves, **options)
    floats = [out.image, out.alpha, out.depth]
    loss = sum((o * random(*o.shape, seed=90 + i, dtype=o.dtype)).sum() for i, o in enumerate(floats))
    grads = torch.autograd.grad(loss, [leaves[n] for n in names], allow_unused=True)
    grads = [torch.zeros_like(leaves[n]) if g is None else g for n, g in zip(names, grads)]
    return [o.detach() for o in floats] + grads


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("footprint", FOOTPRINTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reference(dtype: torch.dtype, footprint: str, blend: str) -> None:
    """Several tiles, two views, more channels than the kernel has a special case for."""
    size, channels = (45, 70), 3 if dtype == torch.float32 else 5
    scene = flat_scene(footprint, 60, dtype=dtype, channels=channels, size=size)
    rules = RULES if footprint == "gaussian" else {}
    options = {"size": size, "footprint": footprint, "blend": blend, **rules}
    ours = outputs_and_grads(lg.splat, scene, list(scene), **options)
    exact = {k: v.double() for k, v in scene.items()}
    theirs = outputs_and_grads(lg.reference.splat, exact, list(scene), **options)
    forward, backward = (1e-5, 1e-4) if dtype == torch.float32 else (1e-10, 1e-9)
    if blend == "normalised" and dtype == torch.float32:
        # Weights are divided by their sum, 1e-4 at least: at the rims of discs 1 - d^2 / r^2 has lost its digits.
        forward, backward = 1e-3, 1e-3
    for i, (value, expected) in enumerate(zip(ours, theirs)):
        assert value.dtype == dtype
        assert scaled_error(value, expected) < (forward if i < 3 else backward), i


@pytest.mark.parametrize("blend", ["alpha", "normalised"])
@pytest.mark.parametrize("footprint", FOOTPRINTS)
def test_gradients(footprint: str, blend: str) -> None:
    scene = flat_scene(footprint, 5, size=(6, 7))
    scene["shapes"] = scene["shapes"] * (1 if footprint == "gaussian" else 0.7)

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        return lg.splat(*values[:4], (6, 7), *values[4:], footprint=footprint, blend=blend)[:3]

    assert gradcheck(run, tuple(v.requires_grad_() for v in scene.values()), eps=1e-6, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("max_contributors", [None, 2])
def test_contributors(blend: str, max_contributors: int | None) -> None:
    scene = flat_scene("disc", 40)
    options = {"footprint": "disc", "blend": blend, "max_contributors": max_contributors, "contributors": 3}
    ours, theirs = (op(**scene, size=SIZE, **options) for op in (lg.splat, lg.reference.splat))
    assert torch.equal(ours.ids, theirs.ids)
    assert (ours.ids[..., 0] >= 0).any()
    assert torch.allclose(ours.weights, theirs.weights, atol=1e-12)
    assert scaled_error(ours.image, theirs.image) < 1e-12
    if blend == "alpha":
        assert torch.equal(ours.median, theirs.median)
        assert (ours.median >= 0).any()
    else:
        assert ours.median is None


def test_opaque_squares_hide_and_still_have_gradients() -> None:
    """At alpha = 1 the gradient to the opacity is what is in front less what is behind."""
    xy = torch.full((1, 2, 2), 2.5, dtype=torch.float64)
    opacities = torch.ones(2, dtype=torch.float64, requires_grad=True)
    features = torch.tensor([[3.0], [5.0]], dtype=torch.float64)
    out = lg.splat(xy, torch.full((1, 2), 9.0, dtype=torch.float64), torch.tensor([[1.0, 2.0]], dtype=torch.float64),
                   features, (5, 5), opacities, footprint="square")  # fmt: skip
    assert out.image[0, 2, 2, 0].item() == pytest.approx(3, abs=1e-10)
    (grad,) = torch.autograd.grad(out.image[0, 2, 2, 0], opacities)
    assert grad[0].item() == pytest.approx(3 - 5, abs=1e-6)
    assert abs(grad[1].item()) < 1e-10


@pytest.mark.parametrize("name", ["spot_alpha", "spot_norm", "suzanne_alpha", "suzanne_norm"])
def test_pytorch3d_points(shared: Path, name: str) -> None:
    """Discs, at most eight a pixel, by PyTorch3D in float32; its normalised blending has no background."""
    data = {k: torch.tensor(v) for k, v in np.load(shared / "oracles" / f"p3d_points_{name}.npz").items()}
    height, width = data["image_size"].tolist()
    unit = min(height, width) / 2  # pixels
    points = data["points_ndc_xy_view_z"].clone().requires_grad_()
    features = data["features"].clone().requires_grad_()
    xy = torch.stack((width / 2 - points[:, 0] * unit, height / 2 - points[:, 1] * unit), -1)[None]
    radius = torch.full_like(xy[..., 0], data["radius"].item() * unit)
    blend = "alpha" if name.endswith("alpha") else "normalised"
    out = lg.splat(xy, radius, points[None, :, 2], features, (height, width), footprint="disc", blend=blend,
                   max_contributors=data["points_per_pixel"].item(), contributors=8)  # fmt: skip
    image = out.image[0].permute(2, 0, 1)
    assert torch.equal(out.ids[0], data["idx"])
    assert scaled_error(image, data["image_chw"]) < 2e-5
    grads = torch.autograd.grad((image * data["grad_image"]).sum(), (points, features))
    assert scaled_error(grads[0], data["grad_points"]) < 1e-4
    assert scaled_error(grads[1], data["grad_features"]) < 1e-4


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("footprint", FOOTPRINTS)
def test_invalid_primitives_are_left_out(footprint: str, blend: str) -> None:
    """NaN, infinite, zero-sized and transparent ones leave the image as it is, and get no gradient."""
    scene = flat_scene(footprint, 10, dtype=torch.float32)
    scene["opacities"] = scene["opacities"].expand(2, -1).clone()
    options = {"footprint": footprint, "blend": blend}
    expected = lg.splat(**scene, size=SIZE, **options)
    doubled = {k: v for k, v in scene.items() if v.dim() > 1 and k != "features"}
    doubled = {k: torch.cat((v, v.roll(1, -1 if k in ("depths", "opacities") else -2)), 1) for k, v in doubled.items()}
    broken = {**scene, **doubled}
    broken["features"] = torch.cat((scene["features"], torch.full_like(scene["features"], torch.nan)))
    if footprint != "gaussian":
        broken["shapes"] = torch.cat((scene["shapes"], scene["shapes"]), 1)
        broken["shapes"][:, 10:12] = 0
        broken["shapes"][:, 12] = -1
    else:
        broken["shapes"][:, 10:13] = torch.nan
    broken["xy"][:, 13] = torch.inf
    broken["xy"][:, 14, 0] = torch.nan
    broken["depths"][:, 15] = torch.nan
    broken["depths"][:, 16] = torch.inf
    broken["opacities"][:, 17] = 0
    broken["opacities"][:, 18] = torch.nan
    broken["opacities"][:, 19] = -1
    leaves = {k: v.clone().requires_grad_() for k, v in broken.items()}
    actual = lg.splat(**leaves, size=SIZE, **options)
    assert torch.equal(actual.image, expected.image)
    grads = torch.autograd.grad(actual.image.sum() + actual.depth.sum(), list(leaves.values()), allow_unused=True)
    for name, grad in zip(leaves, grads):
        if grad is not None:
            assert grad.isfinite().all(), name
            if name not in ("background", "features"):
                assert not grad[:, 10:].any(), name


@pytest.mark.parametrize(("views", "count", "channels"), [(1, 0, 3), (0, 4, 3), (1, 4, 0), (2, 1, 1)])
def test_empty(views: int, count: int, channels: int) -> None:
    scene = flat_scene("gaussian", count, views, torch.float32, channels)
    leaves = {k: v.requires_grad_() for k, v in scene.items()}
    out = lg.splat(**leaves, size=(3, 1))
    assert out.image.shape == (views, 3, 1, channels)
    (out.image.sum() + out.alpha.sum()).backward()
    assert leaves["xy"].grad.shape == (views, count, 2)


@pytest.mark.cpu_only
@pytest.mark.parametrize("footprint", FOOTPRINTS)
def test_threads(footprint: str) -> None:
    scene = flat_scene(footprint, 3000, dtype=torch.float32, size=(150, 170))
    results = []
    for count in (1, 2, 5):
        with threads(count):
            results.append(outputs_and_grads(lg.splat, scene, list(scene), size=(150, 170), footprint=footprint))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"xy": torch.zeros(2, 12, 3)}, ValueError, "xy: expected shape"),
        ({"xy": [1, 2]}, TypeError, "xy: expected a torch.Tensor"),
        ({"shapes": torch.zeros(2, 12)}, ValueError, "shapes: expected shape"),
        ({"depths": torch.zeros(12)}, ValueError, "depths: expected shape"),
        ({"depths": torch.zeros(2, 12, dtype=torch.float64)}, TypeError, "depths: expected"),
        ({"features": torch.zeros(11, 3)}, ValueError, "features: expected shape"),
        ({"opacities": torch.zeros(3)}, ValueError, "opacities: expected shape"),
        ({"background": torch.zeros(4)}, ValueError, "background: expected shape"),
        ({"footprint": "hexagon"}, ValueError, "footprint: expected one of"),
        ({"blend": "or"}, ValueError, "blend: expected one of"),
        ({"blend": [1]}, ValueError, "blend: expected one of"),
        ({"max_contributors": 0}, ValueError, "max_contributors: expected"),
        ({"max_contributors": 2**70}, ValueError, "max_contributors: expected an integer from 1"),
        ({"max_contributors": "all"}, TypeError, "max_contributors: expected an integer, got 'all'"),
        ({"min_alpha": "none"}, TypeError, "min_alpha: expected a number, got 'none'"),
        ({"stop": 2.0}, ValueError, "stop: expected"),
        ({"contributors": -1}, ValueError, "contributors: expected"),
        ({"contributors": 1.5}, TypeError, "contributors: expected an integer, got 1.5"),
        ({"size": (0, 3)}, ValueError, "size: expected"),
    ],
)
def test_wrong_calls(change: dict, error: type[Exception], message: str) -> None:
    scene = flat_scene("gaussian", dtype=torch.float32)
    with pytest.raises(error, match=message):
        lg.splat(**{**scene, "size": SIZE, **change})


@pytest.mark.parametrize("shared", ["positions", "features", "background"])
def test_gradients_without_a_view_are_zero(shared: str) -> None:
    """Of what all views share. Memory that held something else is used for them."""
    matrix = torch.zeros(0, 4, 4)
    leaves = {"positions": random(50, 3), "features": random(50, 3), "background": random(3)}
    leaf = leaves[shared].requires_grad_()
    view = lg.View(matrix, 10.0, 10.0, 4.0, 4.0, (8, 8))
    image = lg.spheres(
        leaves["positions"], torch.ones(50), leaves["features"], view, background=leaves["background"]
    ).image
    for _ in range(3):
        (grad,) = torch.autograd.grad(image, leaf, torch.zeros_like(image), retain_graph=True)
        assert not grad.any()
        grad.fill_(1e30)
        del grad


def test_gaussians_end_where_they_are_negligible() -> None:
    """At a strength of 1e-12, wherever the pixel lies in its tile: contributors do not depend on tiles."""
    xy = torch.tensor([[[0.5, 0.5], [0.5, 0.5]]], dtype=torch.float64)
    depths, features = torch.tensor([[1.0, 2.0]], dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    shapes = torch.tensor([[[1.0, 0, 1], [0.01, 0, 0.01]]], dtype=torch.float64)
    out = lg.splat(xy, shapes, depths, features, (1, 40), contributors=2)
    strength = torch.exp(-0.5 * torch.arange(40, dtype=torch.float64) ** 2)
    first = torch.where(strength >= 1e-12, 0, 1)
    assert torch.equal(out.ids[0, 0, :, 0].long(), first)
    assert (first == 1).sum() > 20
    assert torch.equal(out.ids, lg.reference.splat(xy, shapes, depths, features, (1, 40), contributors=2).ids)


@pytest.mark.parametrize(("views", "count", "channels"), [(1, 0, 3), (0, 4, 3), (0, 0, 0), (1, 4, 0)])
def test_empty_by_definition(views: int, count: int, channels: int) -> None:
    scene = flat_scene("gaussian", count, views, torch.float32, channels)
    for actual, expected in zip(*(op(**scene, size=(3, 1), contributors=2) for op in (lg.splat, lg.reference.splat))):
        assert actual.shape == expected.shape
        assert actual.dtype == expected.dtype


@pytest.mark.parametrize("footprint", ["disc", "square"])
@pytest.mark.parametrize("radius", [1e-15, 1e-25, 1e-40])
def test_dots(footprint: str, radius: float) -> None:
    """Footprints whose radius has no square are seen by a pixel exactly at their centres, with finite gradients."""
    xy, radii = torch.tensor([[[2.5, 1.5]]]).requires_grad_(), torch.tensor([[radius]]).requires_grad_()
    out = lg.splat(xy, radii, torch.ones(1, 1), torch.ones(1, 1), (3, 4), footprint=footprint)
    assert out.alpha.nonzero().tolist() == [[0, 1, 2]]
    grads = torch.autograd.grad(out.image.sum(), (xy, radii))
    assert not any(grad.any() for grad in grads)
