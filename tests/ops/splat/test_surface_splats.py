"""Elliptical surface splats: against the reference, differences and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from ops_common import gradcheck, random, scaled_error, threads
from splat_common import call, cameras_of, disc_scene, straight
from torch import Tensor

import lumigrad as lg

FLOATS = ["image", "alpha", "depth"]


def outputs_and_grads(op, inputs: dict[str, Tensor], **options) -> dict[str, Tensor]:
    leaves = {k: v.detach().clone().requires_grad_() for k, v in inputs.items()}
    out = call(op, **leaves, **options)
    loss = sum((o * random(*o.shape, seed=90 + i, dtype=o.dtype)).sum() for i, o in enumerate(out[:3]))
    grads = torch.autograd.grad(loss, list(leaves.values()))
    values = {name: getattr(out, name).detach() for name in FLOATS}
    return {**values, **{f"grad {k}": g for k, g in zip(leaves, grads)}}


@pytest.mark.parametrize("visibility", [False, True])
@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reference(dtype: torch.dtype, projection: str, visibility: bool) -> None:
    """Several tiles, two views, normals of any length and sign; some behind the camera."""
    size = (36, 45)
    scene = {**disc_scene(60, dtype), **cameras_of(projection, size, dtype)}
    scene["fx"], scene["fy"] = scene["fx"] * 2, scene["fy"] * 2
    scene["positions"][0, 2], scene["normals"][1] = 6, torch.tensor([0, 0, -2], dtype=dtype)
    options = {"size": size, "projection": projection, "merge": 0.3, "visibility_gradient": visibility, "reach": 8.0}
    ours = outputs_and_grads(lg.surface_splats, scene, **options)
    exact = {k: v.double() for k, v in scene.items()}
    theirs = outputs_and_grads(lg.reference.surface_splats, exact, **options)
    assert 0.2 < theirs["alpha"].mean() < 0.95
    if dtype == torch.float64:
        for name, expected in theirs.items():
            assert scaled_error(ours[name], expected) < 1e-9, name
        return
    # Where a disc ends is a step, and float32 may find a pixel on the other side of it: at most a few.
    for name in FLOATS:
        off = (ours[name].double() - theirs[name]).abs() > 1e-4 * theirs[name].abs().max()
        assert off.double().mean() < 1e-3, name


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_gradients(projection: str) -> None:
    scene = {**disc_scene(5), **cameras_of(projection, (6, 7))}
    scene["fx"], scene["fy"] = scene["fx"] / 3, scene["fy"] / 3
    names = list(scene)

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        options = {"size": (6, 7), "projection": projection, "merge": 2.0, "cutoff": 3.0}
        out = call(lg.surface_splats, **dict(zip(names, values)), **options)
        return out.image, out.depth

    assert run(*scene.values())[1].gt(0.1).any()
    assert gradcheck(run, tuple(v.requires_grad_() for v in scene.values()), eps=1e-6, atol=1e-6, rtol=1e-4)


def test_two_facing_discs() -> None:
    """Their weights are densities of known Gaussians: h = (f r / z)^2 and the blur add up to the variances."""
    view = straight((16, 16), 20.0)
    radii = torch.tensor([0.2, 0.3]).double()
    positions = torch.tensor([[0.1, 0, -2.0], [-0.1, 0.05, -2.04]]).double()
    normals = torch.tensor([[0.0, 0, 1], [0, 0, -3]]).double()
    features = torch.tensor([[1.0], [4.0]]).double()
    out = lg.surface_splats(positions, normals, radii, features, view, blur=0.7, cutoff=1.5)
    column, row = 8, 7
    weights = []
    for (x, y, z), r in zip(positions.tolist(), radii.tolist()):
        variance = (20 * r / -z) ** 2 + 0.7
        d2 = (column + 0.5 - 8 - 20 * x / -z) ** 2 + (row + 0.5 - 8 + 20 * y / -z) ** 2
        assert d2 < 1.5**2 * variance
        weights.append((20 / z) ** 2 / (2 * math.pi * variance) * math.exp(-d2 / (2 * variance)))
    expected = (weights[0] + 4 * weights[1]) / sum(weights)
    assert out.image[0, row, column, 0].item() == pytest.approx(expected, rel=1e-12)
    assert out.depth[0, row, column].item() == pytest.approx((2 * weights[0] + 2.04 * weights[1]) / sum(weights))
    assert set(out.alpha.flatten().tolist()) == {0.0, 1.0}


def test_merging() -> None:
    """Behind the band nothing shows; what is nearest counts where it reaches, not beyond."""
    view = straight((9, 9), 10.0)
    positions = torch.tensor([[0.0, 0, -2.2], [0, 0, -2], [0, 0, -2.04]]).double()
    normals = torch.tensor([[0.0, 0, 1]]).double().expand(3, 3)
    radii = torch.tensor([3.0, 0.3, 0.3]).double()
    features = torch.eye(3).double()
    scene = (positions, normals, radii, features)
    near, far = (lg.surface_splats(*scene, view, merge=merge).image[0] for merge in (0.05, None))
    assert near[4, 4, 0] == 0
    assert near[4, 4, 1:].min() > 0.3
    assert torch.equal(near[0, 0], features[0])
    assert far[4, 4, 0] > 0


def test_a_constant_stays_constant() -> None:
    """The mean of equal colours is that colour, whatever the weights."""
    scene, camera = disc_scene(200, torch.float32), cameras_of("perspective", (60, 60), torch.float32)
    scene["features"] = torch.full((200, 3), 0.7)
    out = call(lg.surface_splats, **scene, **camera, size=(60, 60))
    assert torch.allclose(out.image[out.alpha > 0], torch.tensor(0.7))
    assert torch.equal(out.image[out.alpha == 0][0], scene["background"])


def test_visibility_gradient_pulls() -> None:
    """A loss that asks for coverage on the right moves a disc there, one that asks for less pushes it away."""
    view = straight((40, 40), 20.0)
    for sign in (1.0, -1.0):
        position = torch.tensor([[0.0, 0, -2]], dtype=torch.float64, requires_grad=True)
        out = lg.surface_splats(position, torch.tensor([[0.0, 0, 1]]).double(), torch.full((1,), 0.15).double(),
                                torch.ones(1, 1).double(), view, visibility_gradient=True)  # fmt: skip
        (grad,) = torch.autograd.grad(sign * -out.alpha[0, 15:25, 28:36].sum(), position)
        assert sign * -grad[0, 0] > 0.1
        assert grad[0, 1].abs() < 1e-9
    still = lg.surface_splats(position, torch.tensor([[0.0, 0, 1]]).double(), torch.full((1,), 0.15).double(),
                              torch.ones(1, 1).double(), view)  # fmt: skip
    assert not still.alpha.requires_grad


def test_fitting_a_silhouette() -> None:
    """Discs that start in a heap spread over a square, with nothing but the visibility gradient."""
    view = straight((32, 32), 24.0, torch.float32)
    target = torch.zeros(1, 32, 32)
    target[:, 6:26, 6:26] = 1
    positions = (0.15 * random(60, 3, seed=3) - torch.tensor([0.0, 0, 2])).requires_grad_()
    optimizer = torch.optim.Adam([positions], 0.02)
    losses = []
    for _ in range(80):
        out = lg.surface_splats(positions, torch.tensor([[0.0, 0, 1]]).expand(60, 3), torch.full((60,), 0.06),
                                torch.ones(60, 1), view, visibility_gradient=True)  # fmt: skip
        loss = (out.alpha - target).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.25 * losses[0]


def test_what_is_left_out() -> None:
    scene, camera = disc_scene(14, torch.float32), cameras_of("perspective", dtype=torch.float32)
    scene["positions"][0, 1], scene["positions"][1, 0] = torch.nan, torch.inf
    scene["normals"][2], scene["normals"][3, 1] = 0, torch.nan
    scene["radii"][4], scene["radii"][5], scene["radii"][6], scene["radii"][7] = 0, -1, torch.nan, torch.inf
    scene["positions"][8] = torch.tensor([0, 0, 20.0])
    scene["features"][:8] = 3
    leaves = {k: v.clone().requires_grad_() for k, v in {**scene, **camera}.items()}
    out = call(lg.surface_splats, **leaves, size=(20, 26), visibility_gradient=True)
    kept = {k: v[9:] if k != "background" else v for k, v in scene.items()}
    expected = call(lg.surface_splats, **kept, **camera, size=(20, 26))
    for name in FLOATS:
        assert torch.equal(getattr(out, name), getattr(expected, name)), name
    grads = torch.autograd.grad(out.image.sum() + out.depth.sum() + out.alpha.sum(), list(leaves.values()))
    for name, grad in zip(leaves, grads):
        assert grad.isfinite().all(), name
        if name in ("positions", "normals", "radii", "features"):
            assert not grad[:9].any(), name
            assert grad[9:].any(), name


def test_threads() -> None:
    size = (150, 170)
    inputs = {**disc_scene(2000, torch.float32), **cameras_of("perspective", size, torch.float32)}
    results = []
    for count in (1, 2, 5):
        with threads(count):
            results.append(outputs_and_grads(lg.surface_splats, inputs, size=size, visibility_gradient=True))
    for other in results[1:]:
        assert all(torch.equal(value, other[name]) for name, value in results[0].items())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"positions": torch.zeros(12, 2)}, ValueError, "positions: expected shape"),
        ({"normals": torch.zeros(11, 3)}, ValueError, "normals: expected shape"),
        ({"normals": torch.zeros(12, 3).double()}, TypeError, "normals: expected"),
        ({"radii": torch.zeros(12, 1)}, ValueError, "radii: expected shape"),
        ({"features": torch.zeros(11, 3)}, ValueError, "features: expected shape"),
        ({"background": torch.zeros(2)}, ValueError, "background: expected shape"),
        ({"cx": "middle"}, TypeError, "cx: expected"),
        ({"blur": 0.0}, ValueError, "blur: expected a positive"),
        ({"merge": 0.0}, ValueError, "merge: expected a positive"),
        ({"reach": math.inf}, ValueError, "reach: expected a positive"),
        ({"cutoff": 5.0}, ValueError, "cutoff: expected"),
        ({"cutoff": "far"}, TypeError, "cutoff: expected a number, got 'far'"),
        ({"projection": "fisheye"}, ValueError, "view.projection: expected"),
        ({"near": 3.0, "far": 2.0}, ValueError, "view.near, view.far: expected"),
    ],
)
def test_wrong_calls(change: dict, error: type[Exception], message: str) -> None:
    scene, camera = disc_scene(dtype=torch.float32), cameras_of("perspective", dtype=torch.float32)
    with pytest.raises(error, match=message):
        call(lg.surface_splats, **{**scene, **camera, "size": (4, 5), **change})


def test_empty() -> None:
    scene, camera = disc_scene(0, torch.float32), cameras_of("perspective", dtype=torch.float32)
    positions = scene["positions"].requires_grad_()
    out = call(lg.surface_splats, **scene, **camera, size=(1, 2), visibility_gradient=True)
    assert torch.equal(out.image, scene["background"].expand(2, 1, 2, 3))
    out.image.sum().backward()
    assert positions.grad.shape == (0, 3)
