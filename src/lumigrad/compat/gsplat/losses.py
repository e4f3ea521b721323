"""Losses and regularisers under gsplat's names, in plain PyTorch. Unless one says otherwise, nothing is reduced."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

LossFunction = Callable[[Tensor, Tensor], Tensor]

# Whether to look at values, which waits for a device. Programs may set it.
ENFORCE_CONTRACTS = os.environ.get("GSPLAT_ENFORCE_CONTRACTS") == "1"


def _same_shape(function: str, pred: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
    for name, other in (("target", target), ("mask", mask)):
        if other is not None and other.shape != pred.shape:
            raise ValueError(f"{function}: expected {name} with shape {tuple(pred.shape)}, got {tuple(other.shape)}")


def _between(name: str, values: Tensor, low: float, high: float) -> None:
    if ENFORCE_CONTRACTS:
        assert ((values >= low) & (values <= high)).all(), f"{name} must be in [{low}, {high}]"


def _positive(name: str, values: Tensor, strictly: bool = False) -> None:
    if ENFORCE_CONTRACTS:
        fits = values > 0 if strictly else values >= 0
        wanted = "positive" if strictly else "post-activation, 0 or more"
        assert fits.all(), f"{name} must be {wanted}, got {values.min().item()}"


def _unit(name: str, vectors: Tensor) -> None:
    if ENFORCE_CONTRACTS:
        length = vectors.norm(dim=-1)
        assert torch.allclose(length, torch.ones_like(length), atol=1e-3), f"{name} must be unit-normalized"


def l1_loss(pred: Tensor, target: Tensor) -> Tensor:
    """|pred - target|."""
    return (pred - target).abs()


def mse_loss(pred: Tensor, target: Tensor) -> Tensor:
    """(pred - target)^2."""
    return (pred - target).square()


def huber_loss(pred: Tensor, target: Tensor, delta: float = 1.0) -> Tensor:
    """d^2 / 2 up to |d| = delta, and from there delta (|d| - delta / 2)."""
    return F.huber_loss(pred, target, reduction="none", delta=delta)


def smooth_l1_loss(pred: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """d^2 / (2 beta) up to |d| = beta, and from there |d| - beta / 2."""
    return F.smooth_l1_loss(pred, target, reduction="none", beta=beta)


def bce_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy of probabilities."""
    return F.binary_cross_entropy(pred, target, reduction="none")


def bce_with_logits_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy of logits."""
    return F.binary_cross_entropy_with_logits(pred, target, reduction="none")


def bce_clipped(input: Tensor, target: Tensor, eps: float = 0.001) -> Tensor:
    """Binary cross entropy, in float32, of probabilities held between `eps` and 1 - `eps`."""
    with torch.autocast(input.device.type, enabled=False):
        return bce_loss(input.float().clamp(eps, 1 - eps), target.float())


def cross_entropy_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Cross entropy [N] of logits [N, C] with classes [N]."""
    return F.cross_entropy(pred, target, reduction="none")


def log_l1(pred: Tensor, target: Tensor) -> Tensor:
    """log(1 + |pred - target|)."""
    return (pred - target).abs().log1p()


def create_ssim_window(window_size: int, channel: int, device: torch.device | str = "cpu") -> Tensor:
    """A Gaussian with a standard deviation of 1.5 pixels and a sum of 1, [channel, 1, window_size, window_size]."""
    offsets = torch.arange(window_size, dtype=torch.float32, device=device) - window_size // 2
    line = (-(offsets**2) / (2 * 1.5**2)).exp()
    line = line / line.sum()
    return torch.outer(line, line).repeat(channel, 1, 1, 1)


def torch_ssim_loss(img1: Tensor, img2: Tensor, window: Tensor, window_size: int = 11, channel: int = 3) -> Tensor:
    """The map of structural similarity [B, C, H, W] (1 where images agree), zero-padded.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".
    """

    def mean(values: Tensor) -> Tensor:
        return F.conv2d(values, window, padding=window_size // 2, groups=channel)

    m1, m2 = mean(img1), mean(img2)
    v1, v2, cov = mean(img1**2) - m1**2, mean(img2**2) - m2**2, mean(img1 * img2) - m1 * m2
    c1, c2 = 0.01**2, 0.03**2
    return (2 * m1 * m2 + c1) * (2 * cov + c2) / ((m1**2 + m2**2 + c1) * (v1 + v2 + c2))


def ssim_loss(img1: Tensor, img2: Tensor, window_size: int = 11) -> Tensor:
    """1 - the mean structural similarity of images [B, C, H, W] in [0, 1]."""
    _between("img1", img1, 0, 1)
    _between("img2", img2, 0, 1)
    channel = img1.shape[1]
    window = create_ssim_window(window_size, channel, img1.device).to(img1.dtype)
    return 1 - torch_ssim_loss(img1, img2, window, window_size, channel).mean()


def depth_l1_loss(pred_depth: Tensor, gt_depth: Tensor, scene_scale: float = 1.0) -> Tensor:
    """The mean difference of inverse depths (0 for depths that are not positive), times `scene_scale`."""
    pred, target = (torch.where(depth > 0, 1 / torch.where(depth > 0, depth, 1), 0) for depth in (pred_depth, gt_depth))
    return (pred - target).abs().mean() * scene_scale


def binocular_disparity_l1(
    pred_depth: Tensor, gt_depth: Tensor, mask: Tensor | None = None, eps: float = 1e-7
) -> Tensor:
    """The mean difference of inverse depths where both depths are larger than `eps` in size, and `mask` is not 0."""
    _same_shape("binocular_disparity_l1", pred_depth, gt_depth)
    known = (pred_depth.abs() > eps) & (gt_depth.abs() > eps)
    pred, target = (1 / torch.where(known, depth, 1) for depth in (pred_depth, gt_depth))
    return masked_l1(pred, target, known if mask is None else known & (mask != 0))


def pearson_depth_loss(pred_depth: Tensor, gt_depth: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 - the correlation of depths where `mask` is not 0; 0 for fewer than two of them."""
    _same_shape("pearson_depth_loss", pred_depth, gt_depth)
    pred, target = pred_depth.flatten(), gt_depth.flatten()
    if mask is not None:
        kept = (mask != 0).expand_as(pred_depth).flatten()
        pred, target = pred[kept], target[kept]
    if pred.numel() < 2:
        return 0 * pred_depth.sum()
    pred, target = pred - pred.mean(), target - target.mean()
    scale = (pred.square().sum() * target.square().sum()).clamp(min=1e-12).sqrt()
    return 1 - (pred * target).sum() / scale


def depth_inverse_mse(pred: Tensor, target: Tensor, eps: float = 1e-6) -> Tensor:
    """The squared difference of inverse depths, depths counting as `eps` at least."""
    return (1 / pred.clamp(min=eps) - 1 / target.clamp(min=eps)).square()


def masked_l1(pred: Tensor, gt: Tensor, mask: Tensor) -> Tensor:
    """The mean of |pred - gt| where `mask`, which is expanded, is not 0; 0 if it is 0 everywhere."""
    _same_shape("masked_l1", pred, gt)
    chosen = (pred - gt).abs()[(mask != 0).expand_as(pred)]
    return chosen.mean() if chosen.numel() else 0 * pred.sum()


def masked_ssim(pred: Tensor, gt: Tensor, mask: Tensor) -> Tensor:
    """`ssim_loss` of both images times `mask`; the mean is that of the whole image."""
    _same_shape("masked_ssim", pred, gt)
    return ssim_loss(pred * mask, gt * mask)


def normal_cosine_loss(pred_normal: Tensor, gt_normal: Tensor) -> Tensor:
    """1 - the cosine between unit vectors [..., 3]."""
    assert pred_normal.shape[-1] == 3, pred_normal.shape
    assert pred_normal.shape == gt_normal.shape, (pred_normal.shape, gt_normal.shape)
    _unit("pred_normal", pred_normal)
    _unit("gt_normal", gt_normal)
    return 1 - (pred_normal * gt_normal).sum(-1)


LOSSES: dict[str, LossFunction] = {
    "l1": l1_loss, "mse": mse_loss, "huber": huber_loss, "smooth_l1": smooth_l1_loss, "bce": bce_loss,
    "bce_with_logits": bce_with_logits_loss, "bce_clipped": bce_clipped,
}  # fmt: skip


def _mean_of(loss_fn: str | LossFunction, pred: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of a loss, given by name or as a function, over the elements that `mask` keeps; 0 if there are none."""
    if not callable(loss_fn):
        if loss_fn not in LOSSES:
            raise ValueError(f"Unknown loss_fn {loss_fn!r}: expected one of {', '.join(LOSSES)}, or a function")
        loss_fn = LOSSES[loss_fn]
    pred, target = pred.flatten(), target.flatten()
    if mask is not None:
        pred, target = pred[mask.flatten().bool()], target[mask.flatten().bool()]
    if not pred.numel():
        return pred.sum()
    loss = loss_fn(pred, target)
    if loss.shape != pred.shape:
        raise ValueError(
            f"loss_fn must return a per-element tensor of shape {tuple(pred.shape)}, got {tuple(loss.shape)}"
        )
    return loss.mean()


def lidar_distance_loss(
    pred_distance: Tensor, gt_distance: Tensor, valid_mask: Tensor | None = None, loss_fn: str | LossFunction = "l1"
) -> Tensor:
    """The mean loss of distances along rays, over those of `valid_mask`."""
    _same_shape("lidar_distance_loss", pred_distance, gt_distance, valid_mask)
    return _mean_of(loss_fn, pred_distance, gt_distance, valid_mask)


def lidar_intensity_loss(
    pred_intensity: Tensor, gt_intensity: Tensor, valid_mask: Tensor | None = None, loss_fn: str | LossFunction = "l1"
) -> Tensor:
    """The mean loss of intensities, over the rays of `valid_mask`."""
    _same_shape("lidar_intensity_loss", pred_intensity, gt_intensity, valid_mask)
    return _mean_of(loss_fn, pred_intensity, gt_intensity, valid_mask)


def lidar_raydrop_loss(
    pred_raydrop: Tensor,
    gt_raydrop: Tensor,
    valid_mask: Tensor | None = None,
    loss_fn: str | LossFunction = "bce_with_logits",
) -> Tensor:
    """The mean loss of whether rays come back, 1 for those that do not, over the rays of `valid_mask`."""
    _same_shape("lidar_raydrop_loss", pred_raydrop, gt_raydrop, valid_mask)
    return _mean_of(loss_fn, pred_raydrop, gt_raydrop.float(), valid_mask)


def lidar_background_loss(
    pred_opacity: Tensor,
    background_mask: Tensor,
    valid_mask: Tensor | None = None,
    loss_fn: str | LossFunction = "bce",
) -> Tensor:
    """The mean loss of opacities, held between 0 and 1, that should be 0 on `background_mask` and 1 elsewhere."""
    _same_shape("lidar_background_loss", pred_opacity, background_mask, valid_mask)
    return _mean_of(loss_fn, pred_opacity.clamp(0, 1), (~background_mask.bool()).float(), valid_mask)


def total_variation_loss(x: Tensor) -> Tensor:
    """For [B, C, ...] the sum over the other axes of squared differences of neighbours, each averaged."""
    total = 0 * x.sum()
    for axis in range(2, x.dim()):
        steps = x.diff(dim=axis)
        total = total + steps.square().sum() / max(math.prod(steps.shape[1:]), 1)
    return total / x.shape[0]


def total_variation_temporal(x: Tensor, loss_mask: Tensor) -> Tensor:
    """For [B, C, D, H, W] the mean squared difference of each frame from the next, times `loss_mask`: [B - 1].

    [1] with a zero if there is one frame only.
    """
    return x.diff(dim=0).square().mean((1, 2, 3, 4)) * loss_mask if len(x) > 1 else x.new_zeros(1)


def opacity_reg_loss(opacities: Tensor) -> Tensor:
    """The mean opacity, of logits."""
    return opacities.sigmoid().mean()


def scale_reg_loss(log_scales: Tensor) -> Tensor:
    """The mean scale, of logarithms."""
    return log_scales.exp().mean()


def gaussian_scale_reg(scales: Tensor, visibility: Tensor | None = None) -> Tensor:
    """Scales [N, 3], which are not negative, times `visibility` [N]."""
    _positive("scales", scales)
    return _seen(scales.abs(), visibility)


def gaussian_density_reg(densities: Tensor, visibility: Tensor | None = None) -> Tensor:
    """Densities [N], which are not negative, times `visibility` [N]."""
    _positive("densities", densities)
    return _seen(densities.abs(), visibility)


def _seen(loss: Tensor, visibility: Tensor | None) -> Tensor:
    return loss if visibility is None else loss * visibility.reshape(-1, *[1] * (loss.dim() - 1))


def gaussian_z_scale_reg(z_scales: Tensor, threshold: float) -> Tensor:
    """By how much scales exceed `threshold`."""
    _positive("z_scales", z_scales)
    return (z_scales - threshold).relu()


def out_of_bound_loss(positions: Tensor, cuboid_dims: Tensor) -> Tensor:
    """How far positions [N, 3] are outside boxes around 0 with sides `cuboid_dims`, along each axis."""
    _positive("cuboid_dims", cuboid_dims, strictly=True)
    return (positions.abs() - cuboid_dims / 2).relu()


def relu_sum(value: Tensor, eps: float) -> Tensor:
    """The sum of what exceeds `eps`."""
    return (value - eps).relu().sum()


def weights_reg(weights_list: list[Tensor], dim: int = 1) -> Tensor:
    """The mean of the squared norms along `dim` of all tensors."""
    return torch.cat([weights.square().sum(dim) for weights in weights_list]).mean()


def identity_distance(grid: Tensor, num_rows: int = 3, num_cols: int = 4) -> Tensor:
    """How far matrices, the channels of [B, num_rows * num_cols, ...], are from the identity: [B, ...]."""
    shape = (num_rows, num_cols, *[1] * (grid.dim() - 2))
    identity = torch.eye(num_rows, num_cols, dtype=grid.dtype, device=grid.device).view(shape)
    return torch.linalg.vector_norm(grid.unflatten(1, (num_rows, num_cols)) - identity, dim=(1, 2))


def bilateral_grid_drift_loss(grids: list[Tensor], num_rows: int = 3, num_cols: int = 4) -> Tensor:
    """`identity_distance` of all grids in one row; empty if there are none."""
    distances = [identity_distance(grid, num_rows, num_cols).flatten() for grid in grids]
    return torch.cat(distances) if distances else torch.empty(0)


def reduce_mean(value: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean, with a mask of booleans or integers the weighted sum by the sum of the weights (at least 1)."""
    if mask is None:
        return value.mean()
    assert not mask.is_floating_point(), f"mask must be bool or integer, got {mask.dtype}; use mask > 0"
    return (value * mask).sum() / mask.sum().clamp(min=1)


def reduce_quantile(value: Tensor, quantile: float) -> Tensor:
    """The mean of the smallest `quantile` of the values, 0 if that is none of them."""
    assert 0 < quantile <= 1, f"quantile must be in (0, 1], got {quantile}"
    count = int(value.numel() * quantile)
    return value.flatten().topk(count, largest=False).values.mean() if count else 0 * value.sum()


def reduce_sum(value: Tensor) -> Tensor:
    """The sum."""
    return value.sum()


class LinearLambdaScheduler:
    """A weight that changes linearly from `lambda_init` at `start` to `lambda_end` at `end`.

    Args:
        update_interval: "step" or "epoch": what `start`, `end` and `update_frequency` count.
        update_frequency: how many of these a value lasts.
    """

    def __init__(
        self, start: int, end: int, lambda_init: float, lambda_end: float = 0.0, update_interval: str = "step",
        update_frequency: int = 1,
    ) -> None:  # fmt: skip
        if update_frequency <= 0:
            raise ValueError(f"update_frequency must be > 0, got {update_frequency}")
        if end <= start:
            raise ValueError(f"end must be > start, got {end} and {start}")
        self.total_stages = (end - start) // update_frequency
        if self.total_stages <= 0:
            raise ValueError(f"total_stages must be > 0: {start} to {end} in steps of {update_frequency} has none")
        self.start, self.end, self.lambda_init, self.lambda_end = start, end, lambda_init, lambda_end
        self.update_interval, self.update_frequency = update_interval, update_frequency

    def __call__(self, epoch: int, global_step: int) -> float:
        now = global_step if self.update_interval == "step" else epoch
        part = (now - self.start) // self.update_frequency / self.total_stages
        part = min(max(part, 0.0), 1.0)
        return self.lambda_init * (1 - part) + self.lambda_end * part
