"""Projection of Gaussians, harmonics, and the whole against numbers of another implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ops_common import gradcheck, random, scaled_error, threads
from splat_common import call, cameras_of, gaussian_scene, straight
from torch import Tensor

import lumigrad as lg

SIZE = (20, 26)


def projected(op, inputs: dict[str, Tensor], projection: str) -> list[Tensor]:
    leaves = {k: v.detach().clone().requires_grad_() for k, v in inputs.items()}
    out = call(op, **leaves, size=SIZE, projection=projection)
    loss = sum((o.nan_to_num() * random(*o.shape, seed=i, dtype=o.dtype)).sum() for i, o in enumerate(out))
    return [*(o.detach().nan_to_num(-1) for o in out), *torch.autograd.grad(loss, list(leaves.values()))]


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_projection(dtype: torch.dtype, projection: str) -> None:
    """Against the reference, with some behind the camera and some far outside of the image."""
    scene = {**gaussian_scene(100, dtype), **cameras_of(projection, dtype=dtype)}
    scene["means"] = scene["means"] * 4
    scene["quats"][3] = 0
    ours = projected(lg.project_gaussians, scene, projection)
    theirs = projected(lg.reference.project_gaussians, {k: v.double() for k, v in scene.items()}, projection)
    assert (ours[2] == -1).any()
    names = ["xy", "conics", "depths", "compensations", *scene]
    for name, value, expected in zip(names, ours, theirs):
        assert scaled_error(value, expected) < (2e-5 if dtype == torch.float32 else 1e-9), name


@pytest.mark.parametrize("projection", ["perspective", "orthographic", "fisheye"])
def test_projection_gradients(projection: str) -> None:
    scene = {**gaussian_scene(4), **cameras_of(projection)}
    names = list(scene)

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        return tuple(call(lg.project_gaussians, **dict(zip(names, values)), size=SIZE, projection=projection))

    assert gradcheck(run, tuple(v.requires_grad_() for v in scene.values()), eps=1e-6, atol=1e-6, rtol=1e-5)


def test_projection_of_the_invalid() -> None:
    scene, camera = gaussian_scene(8, torch.float32), cameras_of("perspective", dtype=torch.float32)
    scene["means"][0], scene["scales"][1, 1], scene["quats"][2, 3] = torch.nan, torch.inf, torch.nan
    scene["means"][3] = torch.linalg.inv(camera["matrix"])[0, :3, 3]
    leaves = {k: v.requires_grad_() for k, v in {**scene, **camera}.items()}
    out = call(lg.project_gaussians, **leaves, size=SIZE)
    assert out.depths[:, :3].isnan().all()
    assert out.depths[0, 3].isnan()
    assert out.depths[:, 4:].isfinite().all()
    assert not out.conics[:, :3].any()
    grads = torch.autograd.grad(out.xy.sum() + out.conics.sum() + out.compensations.sum(), list(leaves.values()))
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.cpu_only
def test_threads() -> None:
    scene = {**gaussian_scene(9000, torch.float32), **cameras_of("perspective", dtype=torch.float32)}
    results = []
    for count in (1, 2, 5):
        with threads(count):
            results.append(projected(lg.project_gaussians, scene, "perspective"))
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other))


@pytest.mark.parametrize("count", [1, 4, 9, 16, 25])
def test_harmonics_are_orthonormal(count: int) -> None:
    """Their products' means over the sphere, by Gauss-Legendre and equal angles, are those of an orthonormal basis."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    angles = torch.arange(16).double() * (2 * np.pi / 16)
    z = torch.tensor(nodes)[:, None].expand(-1, 16)
    ring = (1 - z * z).sqrt()
    directions = torch.stack((ring * angles.cos(), ring * angles.sin(), z), -1).view(-1, 3)
    area = (torch.tensor(weights)[:, None] * (2 * np.pi / 16)).expand(-1, 16).reshape(-1)
    basis = lg.spherical_harmonics(torch.eye(count).double().expand(len(area), -1, -1), 3 * directions)
    assert torch.allclose(basis.T @ (area[:, None] * basis), torch.eye(count).double(), atol=1e-12)


def test_harmonics_gradients() -> None:
    inputs = (random(3, 25, 2, dtype=torch.float64), random(2, 3, 3, seed=1, dtype=torch.float64))
    assert gradcheck(lg.spherical_harmonics, tuple(v.requires_grad_() for v in inputs), 1e-6, 1e-7, 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mode", ["classic", "antialiased"])
def test_oracle(shared: Path, mode: str, dtype: torch.dtype) -> None:
    """Image and gradients of a scene of 400 with harmonics of degree 3, as others compute them in float64."""
    stored = np.load(shared / "oracles" / f"gaussians_{mode}.npz")

    def data(name: str) -> Tensor:
        return torch.tensor(stored[name]).to(dtype)

    names = ["means", "quats_wxyz", "scales", "opacities", "sh", "viewmats", "Ks"]
    leaves = [data(name).requires_grad_() for name in names]
    means, quats, scales, opacities, harmonics, matrix, intrinsics = leaves
    flip = torch.tensor([1.0, -1, -1, 1], dtype=dtype)[:, None]  # from axes x right, y down, z forward
    size = (stored["height"].item(), stored["width"].item())
    focal, centre = (intrinsics[:, 0, 0], intrinsics[:, 1, 1]), (intrinsics[:, 0, 2], intrinsics[:, 1, 2])
    view = lg.View(flip * matrix, *focal, *centre, size)
    out = lg.gaussians(
        means, quats, scales, opacities, harmonics, view, harmonics=True, antialiased=mode == "antialiased"
    )
    assert scaled_error(out.image, data("image")) < 1e-5
    assert scaled_error(out.alpha, data("alpha")) < 1e-5
    assert scaled_error(out.depth, data("depth_accumulated")) < 1e-5
    loss = (out.image * data("grad_image")).sum() + (out.alpha * data("grad_alpha")).sum()
    for name, grad in zip(names, torch.autograd.grad(loss, leaves)):
        expected = data(f"grad_{name.removesuffix('_wxyz')}")
        if name == "Ks":  # it has a skew, which our cameras have not
            entries = torch.tensor([[1.0, 0, 1], [0, 1, 1], [0, 0, 0]], dtype=dtype)
            expected = expected * entries
        assert scaled_error(grad, expected) < 1e-4, name


@pytest.mark.parametrize("units", ["pixels", "world"])
@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_points(projection: str, units: str) -> None:
    """The composition: gradients of everything, and a point straight ahead is where it should be."""
    camera = cameras_of(projection)
    names = ["positions", "radii", "features", *camera]
    values = [random(5, 3, dtype=torch.float64), 0.3 + 0.1 * random(5, seed=1, dtype=torch.float64),
              random(5, 2, seed=2, dtype=torch.float64), *camera.values()]  # fmt: skip
    if units == "pixels":
        values[1] = values[1] * 10

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        return call(lg.points, **dict(zip(names, inputs)), size=(6, 7), units=units, projection=projection)[:3]

    assert gradcheck(run, tuple(v.requires_grad_() for v in values), eps=1e-6, atol=1e-6, rtol=1e-4)
    view = straight((5, 5), 4.0, torch.float32)
    out = lg.points(torch.tensor([[0.0, 1, -4], [0, 0, 4]]), torch.tensor([0.6, 3]), torch.ones(2, 1), view)
    assert out.alpha.nonzero().tolist() == [[0, 1, 2]]
    assert out.depth[0, 1, 2].item() == 4


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"means": torch.zeros(8, 2)}, ValueError, "means: expected shape"),
        ({"quats": torch.zeros(8, 3)}, ValueError, "quats: expected shape"),
        ({"scales": torch.zeros(8, 3).double()}, TypeError, "scales: expected"),
        ({"projection": "panorama"}, ValueError, "view.projection: expected"),
        ({"blur": -1.0}, ValueError, "blur: expected"),
        ({"blur": "none"}, TypeError, "blur: expected a number, got 'none'"),
        ({"near": "here"}, TypeError, "view.near: expected a number, got 'here'"),
        ({"projection": ["flat"]}, ValueError, "view.projection: expected"),
        ({"near": 3.0, "far": 2.0}, ValueError, "view.near, view.far: expected"),
        ({"fx": None}, TypeError, "view.fx: expected"),
    ],
)
def test_wrong_calls(change: dict, error: type[Exception], message: str) -> None:
    scene, camera = gaussian_scene(8, torch.float32), cameras_of("perspective", dtype=torch.float32)
    with pytest.raises(error, match=message):
        call(lg.project_gaussians, **{**scene, **camera, "size": SIZE, **change})


def test_wrong_harmonics() -> None:
    with pytest.raises(ValueError, match="coefficients: expected 1, 4, 9, 16 or 25"):
        lg.spherical_harmonics(torch.zeros(3, 5, 3), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="directions: expected shape"):
        lg.spherical_harmonics(torch.zeros(3, 4, 3), torch.zeros(2, 3))
    scene, camera = gaussian_scene(8, torch.float32), cameras_of("perspective", dtype=torch.float32)
    scene["opacities"] = torch.ones(8)
    for features, message in (
        (torch.zeros(8, 5, 3), "features: expected 1, 4, 9, 16 or 25"),
        (torch.zeros(7, 4, 3), "features: expected shape"),
        (torch.zeros(8, 4, 3, device="meta"), "features: expected device cpu like means, got meta"),
    ):
        with pytest.raises(ValueError, match=message):
            call(lg.gaussians, **scene, **camera, size=SIZE, features=features, harmonics=True)
