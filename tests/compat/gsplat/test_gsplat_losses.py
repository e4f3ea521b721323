"""Losses, regularisers and colour correction under gsplat's names, against closed forms in NumPy and loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ops_common import random
from torch import Tensor

from lumigrad.compat.gsplat import (
    FusedGaussianLosses,
    color_correct_affine,
    color_correct_quadratic,
    losses,
    regularizers,
)
from lumigrad.fit import ssim
from lumigrad.io import save_image

A = random(3, 4, 5, dtype=torch.float64)
B = random(3, 4, 5, seed=1, dtype=torch.float64)
D = (A - B).numpy()
P, Q = (A + 1) / 2.01 + 1e-3, (B + 1) / 2
p, q = P.numpy(), Q.numpy()
BCE = -(q * np.log(p) + (1 - q) * np.log(1 - p))
CLIPPED = np.clip(p, 0.25, 0.75)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (losses.l1_loss(A, B), np.abs(D)),
        (losses.mse_loss(A, B), D**2),
        (losses.huber_loss(A, B, 0.5), np.where(np.abs(D) < 0.5, D**2 / 2, 0.5 * (np.abs(D) - 0.25))),
        (losses.smooth_l1_loss(A, B, 0.5), np.where(np.abs(D) < 0.5, D**2, np.abs(D) - 0.25)),
        (losses.bce_loss(P, Q), BCE),
        (losses.bce_with_logits_loss(torch.log(P / (1 - P)), Q), BCE),
        (losses.bce_clipped(P, Q, 0.25), -(q * np.log(CLIPPED) + (1 - q) * np.log(1 - CLIPPED))),
        (losses.log_l1(A, B), np.log(1 + np.abs(D))),
        (losses.depth_inverse_mse(P, Q, 0.1), (1 / np.maximum(p, 0.1) - 1 / np.maximum(q, 0.1)) ** 2),
        (losses.opacity_reg_loss(A), (1 / (1 + np.exp(-A.numpy()))).mean()),
        (losses.scale_reg_loss(A), np.exp(A.numpy()).mean()),
        (losses.relu_sum(A, 0.25), np.maximum(A.numpy() - 0.25, 0).sum()),
        (losses.gaussian_z_scale_reg(P, 0.25), np.maximum(p - 0.25, 0)),
        (losses.out_of_bound_loss(A, Q), np.maximum(np.abs(A.numpy()) - q / 2, 0)),
        (losses.weights_reg([A[0], B[0]]), np.concatenate([(v[0].numpy() ** 2).sum(1) for v in (A, B)]).mean()),
        (losses.reduce_mean(A, A > 0.5), A.numpy()[A.numpy() > 0.5].mean()),
        (losses.reduce_mean(A, torch.zeros(3, 4, 5).bool()), 0.0),
        (losses.reduce_quantile(A, 0.25), np.sort(A.numpy().ravel())[:15].mean()),
        (losses.reduce_quantile(A, 0.01), 0.0),
        (losses.reduce_sum(A), A.numpy().sum()),
    ],
)
def test_closed_forms(loss: Tensor, expected: np.ndarray | float) -> None:
    np.testing.assert_allclose(loss.numpy(), expected, rtol=2e-6, atol=1e-12)


def test_cross_entropy() -> None:
    loss = losses.cross_entropy_loss(A[0], torch.tensor([0, 4, 2, 2]))
    logits = A[0].numpy()
    expected = [math.log(sum(math.exp(v) for v in row)) - row[k] for row, k in zip(logits, (0, 4, 2, 2))]
    np.testing.assert_allclose(loss.numpy(), expected)


def test_similarity() -> None:
    """The same as the separable windows of `lumigrad.fit.ssim`."""
    images = (random(2, 3, 20, 24) + 1) / 2, (random(2, 3, 20, 24, seed=1) + 1) / 2
    expected = ssim(*(image.permute(0, 2, 3, 1) for image in images)).mean()
    assert losses.ssim_loss(*images).item() == pytest.approx(1 - expected.item(), abs=1e-6)
    assert losses.create_ssim_window(7, 3).sum((1, 2, 3)).tolist() == pytest.approx([1, 1, 1])
    mask = torch.zeros(2, 1, 20, 24)
    assert losses.masked_ssim(*images, mask).item() == pytest.approx(0, abs=1e-6)
    assert torch.equal(losses.masked_ssim(*images, mask + 1), losses.ssim_loss(*images))


def test_depths() -> None:
    pred, target = torch.tensor([[2.0, 0, -1, 4]]), torch.tensor([[4.0, 2, 5, 4]])
    assert losses.depth_l1_loss(pred, target, 3.0).item() == pytest.approx(3 * (0.25 + 0.5 + 0.2 + 0) / 4)
    assert losses.binocular_disparity_l1(pred, target).item() == pytest.approx((0.25 + 1.2 + 0) / 3)
    mask = torch.tensor([[1.0, 1, 0, 1]])
    assert losses.binocular_disparity_l1(pred, target, mask).item() == pytest.approx(0.125)
    a, b = A[0], B[0]
    expected = np.corrcoef(a.numpy().ravel(), b.numpy().ravel())[0, 1]
    assert losses.pearson_depth_loss(a, b).item() == pytest.approx(1 - expected)
    kept = a > 0
    expected = np.corrcoef(a.numpy()[kept], b.numpy()[kept])[0, 1]
    assert losses.pearson_depth_loss(a, b, kept).item() == pytest.approx(1 - expected)
    assert losses.pearson_depth_loss(a, 3 * a + 2).item() == pytest.approx(0, abs=1e-12)
    leaf = a.clone().requires_grad_()
    nothing = losses.pearson_depth_loss(leaf, b, torch.zeros(4, 5)) + losses.masked_l1(leaf, b, torch.zeros(4, 5))
    nothing.backward()
    assert nothing.item() == 0
    assert not leaf.grad.any()
    leaf = torch.zeros(2).requires_grad_()
    losses.depth_l1_loss(leaf, torch.ones(2)).backward()
    assert not leaf.grad.any()


def test_normals_and_matrices() -> None:
    x, y = torch.eye(3)[:2]
    vectors = torch.stack((x, x, x)), torch.stack((x, y, -x))
    assert losses.normal_cosine_loss(*vectors).tolist() == [0, 1, 2]
    grid = torch.eye(3, 4).reshape(1, 12, 1).repeat(2, 1, 3)
    grid[1, 3, 2] = 3.0
    grid[1, 4, 2] = 4.0
    assert losses.identity_distance(grid).tolist() == [[0, 0, 0], [0, 0, 5]]
    assert losses.bilateral_grid_drift_loss([grid, grid[:1]]).tolist() == [0, 0, 0, 0, 0, 5, 0, 0, 0]
    assert losses.bilateral_grid_drift_loss([]).numel() == 0


def test_variation() -> None:
    x = random(2, 3, 4, 5, dtype=torch.float64)
    v = x.numpy()
    expected = ((v[:, :, 1:] - v[:, :, :-1]) ** 2).sum() / 45 + ((v[..., 1:] - v[..., :-1]) ** 2).sum() / 48
    assert losses.total_variation_loss(x).item() == pytest.approx(expected / 2)
    frames = random(3, 2, 2, 2, 2, dtype=torch.float64)
    steps = ((frames[1:] - frames[:-1]) ** 2).flatten(1).mean(1)
    assert torch.allclose(
        losses.total_variation_temporal(frames, torch.tensor([1.0, 0.5])), steps * steps.new_tensor([1, 0.5])
    )
    assert losses.total_variation_temporal(frames[:1], torch.ones(0)).tolist() == [0]
    mask = (random(2, 1, 4, 5, seed=1) > 0).double()
    across, down = np.abs(v[..., 1:] - v[..., :-1]), np.abs(v[:, :, 1:] - v[:, :, :-1])
    assert regularizers.compute_tv_loss_targeted(x).item() == pytest.approx((across.sum() + down.sum()) / v.size)
    m = mask.numpy()
    expected = (across * m[..., 1:]).sum() / (3 * m[..., 1:].sum()) + (down * m[:, :, 1:]).sum() / (
        3 * m[:, :, 1:].sum()
    )
    assert regularizers.compute_tv_loss_targeted(x, mask).item() == pytest.approx(expected)


def test_regularisers_of_gaussians() -> None:
    scales, densities, seen = P[0, :, :3], P[1, :, 0], torch.tensor([1.0, 0, 1, 0.5]).double()
    fused = FusedGaussianLosses(0.25)(scales, densities, scales[:, 2], A[0, :, :3], Q[0, :, :3], seen)
    assert torch.equal(fused[0], scales * seen[:, None])
    assert torch.equal(fused[1], densities * seen)
    assert torch.equal(fused[2], (scales[:, 2] - 0.25).clamp(min=0))
    assert torch.equal(fused[3], (A[0, :, :3].abs() - Q[0, :, :3] / 2).clamp(min=0))


@pytest.mark.parametrize("function", [losses.lidar_distance_loss, losses.lidar_intensity_loss])
def test_lidars(function: Callable) -> None:
    mask = A > 0
    assert function(A, B).item() == pytest.approx(np.abs(D).mean())
    assert function(A, B, mask, "mse").item() == pytest.approx((D**2)[mask.numpy()].mean())
    assert function(A, B, mask, lambda x, y: 2 * (x - y)).item() == pytest.approx(2 * D[mask.numpy()].mean())
    assert function(A, B, torch.zeros_like(mask)).item() == 0
    with pytest.raises(ValueError, match="Unknown loss_fn 'l3'"):
        function(A, B, loss_fn="l3")
    with pytest.raises(ValueError, match="per-element"):
        function(A, B, loss_fn=torch.nn.functional.l1_loss)
    with pytest.raises(ValueError, match="expected mask with shape"):
        function(A, B, mask[0])


def test_lidar_drops() -> None:
    dropped = torch.tensor([True, False, False])
    logits = torch.tensor([2.0, -1.0, 0.0])
    expected = [math.log1p(math.exp(-2)), math.log1p(math.exp(-1)), math.log(2)]
    assert losses.lidar_raydrop_loss(logits, dropped).item() == pytest.approx(sum(expected) / 3)
    opacity = torch.tensor([0.25, 0.5, 1.5])
    expected = (-math.log(0.75) - math.log(0.5) - 0) / 3
    assert losses.lidar_background_loss(opacity, dropped).item() == pytest.approx(expected, rel=1e-5)


def test_contracts_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    assert losses.gaussian_scale_reg(-torch.ones(2, 3)).sum() == 6
    monkeypatch.setattr(losses, "ENFORCE_CONTRACTS", True)
    for call in (
        lambda: losses.gaussian_scale_reg(-torch.ones(2, 3)),
        lambda: losses.out_of_bound_loss(torch.ones(2, 3), torch.zeros(2, 3)),
        lambda: losses.ssim_loss(2 * torch.ones(1, 3, 4, 4), torch.ones(1, 3, 4, 4)),
        lambda: losses.normal_cosine_loss(torch.ones(2, 3), torch.ones(2, 3)),
    ):
        with pytest.raises(AssertionError, match="must be"):
            call()


def test_scheduler() -> None:
    schedule = losses.LinearLambdaScheduler(10, 20, 1.0, 0.5, update_frequency=5)
    values = [schedule(0, step) for step in (0, 10, 14, 15, 19, 20, 99)]
    assert values == [1, 1, 1, 0.75, 0.75, 0.5, 0.5]
    assert losses.LinearLambdaScheduler(0, 4, 1.0, update_interval="epoch")(1, 99) == 0.75


def test_masks(tmp_path: Path) -> None:
    mask = (random(6, 7) > 0.8).float()
    grown = regularizers.dilate_mask(mask)
    for y in range(6):
        for x in range(7):
            assert grown[y, x] == mask[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].max()
    assert torch.equal(regularizers.dilate_mask(mask, 1), mask)
    visible = torch.ones(6, 7, 3)
    visible[2, 3] = 0
    save_image(visible, tmp_path / "mask.png")
    union = regularizers.create_invisible_mask([mask, str(tmp_path / "mask.png")])
    assert torch.equal(union, torch.maximum(mask, 1 - visible[..., 0]))
    with pytest.raises(ValueError, match="at least one"):
        regularizers.create_invisible_mask([])
    with pytest.raises(ValueError, match="expected shape"):
        regularizers.create_invisible_mask([mask, mask[1:]])


def test_color_correction() -> None:
    """Images that are affine or quadratic functions of others become those again."""
    image = 0.3 + 0.1 * random(9, 8, 3, dtype=torch.float64)
    slope, shift = torch.tensor([0.5, 0.8, 1.5]).double(), torch.tensor([0.1, 0.0, -0.05]).double()
    assert torch.allclose(color_correct_affine(slope * image + shift, image), image)
    r, g, b = image.unbind(-1)
    target = torch.stack((r * g + 0.1, 0.5 * b * b + g, 0.2 + 0.3 * r - g * b), -1)
    assert torch.allclose(color_correct_quadratic(image, target), target)
    spoiled = target.clone()
    spoiled[0, 0] = 1.0  # is not fitted
    assert torch.allclose(color_correct_quadratic(image, spoiled), target)
    with pytest.raises(ValueError, match="img, ref: expected the same shape"):
        color_correct_affine(image, image[1:])
