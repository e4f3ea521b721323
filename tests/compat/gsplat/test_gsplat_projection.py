"""Projection under gsplat's names, against stored numbers, closed forms and finite differences."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from gsplat_common import SIZE, covariances, small_scene
from ops_common import gradcheck, random, scaled_error
from torch import Tensor

from lumigrad.compat.gsplat import fully_fused_projection, proj, quat_scale_to_covar_preci, world_to_cam


def test_covariances() -> None:
    quats, scales = random(2, 5, 4, dtype=torch.float64), random(2, 5, 3, seed=1, dtype=torch.float64).abs() + 0.1
    covars, precis = quat_scale_to_covar_preci(quats, scales)
    expected = covariances(quats, scales)
    assert scaled_error(covars, expected) < 1e-14
    assert torch.allclose(precis @ expected, torch.eye(3, dtype=torch.float64).expand(2, 5, 3, 3), atol=1e-10)
    upper, _ = quat_scale_to_covar_preci(quats, scales, compute_preci=False, triu=True)
    assert torch.equal(upper, torch.stack([covars[..., i, j] for i in range(3) for j in range(i, 3)], -1))
    assert quat_scale_to_covar_preci(quats, scales, compute_covar=False)[0] is None
    assert gradcheck(
        lambda q, s: quat_scale_to_covar_preci(q, s),
        (quats.requires_grad_(), scales.requires_grad_()),
        1e-6,
        1e-6,
        1e-5,
    )
    with pytest.raises(ValueError, match="quats, scales: expected shapes"):
        quat_scale_to_covar_preci(quats[..., :3], scales)


def test_world_to_cam() -> None:
    scene = small_scene()
    covars = covariances(scene["quats"], scene["scales"])
    viewmats = torch.linalg.matrix_exp(random(2, 4, 4, dtype=torch.float64))
    means, turned = world_to_cam(scene["means"], covars, viewmats)
    for c in range(2):
        turn, shift = viewmats[c, :3, :3], viewmats[c, :3, 3]
        for i in range(5):
            assert torch.allclose(means[c, i], turn @ scene["means"][i] + shift)
            assert torch.allclose(turned[c, i], turn @ covars[i] @ turn.T)


def image_of(point: Tensor, model: str, K: Tensor) -> Tensor:
    x, y, z = point
    if model == "fisheye":
        radius = (x * x + y * y).sqrt()
        x, y, z = (value * torch.atan2(radius, z) / radius for value in (x, y, radius / torch.atan2(radius, z)))
    elif model == "pinhole":
        x, y = x / z, y / z
    return torch.stack((K[0, 0] * x + K[0, 2], K[1, 1] * y + K[1, 2]))


@pytest.mark.parametrize("model", ["pinhole", "ortho", "fisheye"])
def test_proj(model: str) -> None:
    """Means are images of points, and covariances those of the linear function that autograd finds."""
    means = random(2, 4, 3, dtype=torch.float64) + torch.tensor([0.0, 0, 4])
    half = random(2, 4, 3, 3, seed=1, dtype=torch.float64)
    covars = half @ half.transpose(-1, -2)
    Ks = small_scene()["Ks"]
    xy, flat = proj(means, covars, Ks, 10, 8, model)
    for c in range(2):
        for i in range(4):
            jacobian = torch.autograd.functional.jacobian(lambda p, c=c: image_of(p, model, Ks[c]), means[c, i])
            assert torch.allclose(xy[c, i], image_of(means[c, i], model, Ks[c]))
            assert torch.allclose(flat[c, i], jacobian @ covars[c, i] @ jacobian.T)
    with pytest.raises(ValueError, match="camera_model: expected one of"):
        proj(means, covars, Ks, 10, 8, "ftheta")


@pytest.mark.parametrize("by_covariance", [False, True])
def test_oracle(shared: Path, by_covariance: bool) -> None:
    """All stored values of 400 Gaussians in two cameras are reproduced, including their boxes."""
    stored = np.load(shared / "oracles" / "gaussians_antialiased.npz")
    means, quats, scales, viewmats, Ks = (
        torch.tensor(stored[name]).double() for name in ("means", "quats_wxyz", "scales", "viewmats", "Ks")
    )
    shapes = (covariances(quats, scales), None, None) if by_covariance else (None, quats, scales)
    size = int(stored["width"]), int(stored["height"])
    out = fully_fused_projection(means, *shapes, viewmats, Ks, *size, calc_compensations=True)
    assert torch.equal(out[0], torch.tensor(stored["radii"]))
    for value, name in zip(out[1:], ("means2d", "depths", "conics", "compensation")):
        seen = (out[0] > 0).all(-1) if name == "depths" else slice(None)
        assert scaled_error(value[seen], torch.tensor(stored[name])[seen]) < 1e-9, name
    packed = fully_fused_projection(means, *shapes, viewmats, Ks, *size, calc_compensations=True, packed=True)
    batch_ids, camera_ids, gaussian_ids, offsets = packed[:4]
    seen = (out[0] > 0).all(-1)
    assert torch.equal(torch.stack((camera_ids, gaussian_ids), -1), seen.nonzero())
    assert offsets.tolist() == [0, int(seen[0].sum()), int(seen.sum())]
    assert not batch_ids.any()
    for whole, part in zip(out, packed[4:]):
        assert torch.equal(whole[seen], part)
    *_, nothing = fully_fused_projection(means, *shapes, viewmats, Ks, *size)
    assert nothing is None


def test_boxes_end_where_opacity_is_low() -> None:
    scene = small_scene(1, 1)
    scene["means"], scene["opacities"] = torch.zeros(1, 3).double(), torch.tensor([0.02]).double()
    args = (scene["means"], None, scene["quats"], torch.ones(1, 3).double(), scene["viewmats"], scene["Ks"], 10, 8)
    radii = fully_fused_projection(*args, camera_model="ortho")[0]
    assert radii.tolist() == [[[math.ceil(3.33 * math.sqrt(81.3)), math.ceil(3.33 * math.sqrt(64.3))]]]
    fainter = fully_fused_projection(*args, camera_model="ortho", opacities=scene["opacities"])[0]
    reach = math.sqrt(2 * math.log(0.02 * 255))
    assert fainter.tolist() == [[[math.ceil(reach * math.sqrt(81.3)), math.ceil(reach * math.sqrt(64.3))]]]
    gone = fully_fused_projection(*args, camera_model="ortho", opacities=scene["opacities"] / 6)[0]
    assert not gone.any()
    clipped = fully_fused_projection(*args, camera_model="ortho", radius_clip=31.0)[0]
    assert not clipped.any()


@pytest.mark.parametrize("model", ["pinhole", "fisheye"])
def test_gradients(model: str) -> None:
    scene = small_scene(3)
    covars = covariances(scene["quats"], scene["scales"])
    upper = torch.stack([covars[..., i, j] for i in range(3) for j in range(i, 3)], -1)

    def run(means: Tensor, upper: Tensor, viewmats: Tensor) -> tuple[Tensor, ...]:
        out = fully_fused_projection(
            means, upper, None, None, viewmats, scene["Ks"], **SIZE, calc_compensations=True, camera_model=model
        )
        return tuple(value for value in out[1:] if value is not None)

    leaves = (scene["means"].requires_grad_(), upper.requires_grad_(), scene["viewmats"].requires_grad_())
    assert gradcheck(run, leaves, 1e-6, 1e-6, 1e-5)


def test_wrong_calls() -> None:
    scene = small_scene()
    args = [scene["means"], None, scene["quats"], scene["scales"], scene["viewmats"], scene["Ks"], 10, 8]
    for change, message in (
        ({0: scene["means"][:, :2]}, "means: expected shape"),
        ({3: None}, "quats, scales: expected both"),
        ({1: torch.zeros(5, 5).double()}, "covars: expected shape"),
        ({4: scene["viewmats"][0]}, "viewmats: expected shape"),
        ({5: scene["Ks"][:1]}, "Ks: expected shape"),
    ):
        with pytest.raises(ValueError, match=message):
            fully_fused_projection(*[change.get(i, value) for i, value in enumerate(args)])
    with pytest.raises(NotImplementedError, match="sparse_grad: not offered"):
        fully_fused_projection(*args, packed=True, sparse_grad=True)
    broken = scene["means"].clone()
    broken[1] = math.nan
    covars = covariances(scene["quats"], scene["scales"])
    covars[2, 0, 0] = math.inf
    leaf = broken.requires_grad_()
    radii, xy, *_ = fully_fused_projection(leaf, covars, None, None, *args[4:])
    assert (radii > 0).all(-1).any(0).tolist() == [True, False, False, True, True]
    assert torch.autograd.grad(xy.sum(), leaf)[0].isfinite().all()
