"""From a start to the pose: robust least squares on images, for many starts at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lumigrad.fit.pose.photograph import Crop
from lumigrad.fit.pose.subject import Poses, Subject
from lumigrad.scene.rotations import axis_angle_to_matrix

# Larger differences count linearly, so that occluders have a limited pull.
ROBUST = 0.15
# Weight of coverage where there is no mask, relative to a mask that is not covered: the object may be behind something
# there.
EXCESS, HIDDEN_EXCESS = 0.4, 0.1  # in general, and where something is known to be hidden
_STEP = 0.6  # pixels that a pose is moved by to take its derivatives
_FURTHEST = 4.0  # largest update, in pixels


class Comparison:
    """Images of poses against a crop."""

    def __init__(self, subject: Subject, crop: Crop, blur: float = 0.0, excess: float = EXCESS) -> None:
        self.subject, self.crop, self.blur, self.excess = subject, crop, blur, excess
        # Weights are the same for all poses, [1, H, W, 1], or each has its own, [N, H, W, 1].
        self.counts = crop.valid[None]
        self.area = float(crop.image[..., 3].sum())
        self.given_up = crop.image.new_zeros(1)
        places = torch.arange(crop.camera.size[0], dtype=crop.image.dtype, device=crop.image.device)
        weights = torch.exp(-0.5 * ((places - places[:, None]) / max(blur, 0.1)).square())
        self.kernel = weights / weights.sum(1, keepdim=True)

    def residuals(self, poses: Poses) -> Tensor:
        """Differences [N, pixels, 4 or 1], zero beyond the photograph."""
        return self.differences(self.subject.images(poses, self.crop.camera)).flatten(1, 2)

    def differences(self, images: Tensor) -> Tensor:
        """Of images [N, H, W, 4], after the gain of each channel that brings them closest."""
        target = self.crop.image
        valid = self.counts.repeat_interleave(len(images) // len(self.counts), 0)
        outline = (images[..., 3:] - target[..., 3:]) * valid
        outline = torch.where(outline > 0, self.excess * outline, outline)
        if not self.subject.colors:
            return self._blurred(outline)
        # Colours count inside the mask: occluders have other colours.
        mask = target[..., 3:] * valid
        ours, theirs = images[..., :3] * mask, target[..., :3] * valid
        gain = (ours * theirs).sum((1, 2)) / (ours * ours).sum((1, 2)).clamp_min(1e-6)
        ours = ours * gain.clamp(1 / 3, 3)[:, None, None]
        return self._blurred(torch.cat([ours - theirs * images[..., 3:], outline], -1))

    def without_hidden(self, poses: Poses) -> Comparison:
        """The same, both sides of an outline counting alike, without where something hides the object in each pose.

        That is where coverage is more than two pixels from the mask, and three pixels around. What is left out so
        costs what it would cost otherwise (`given_up`), so that poses that hide more are not better for it.
        """
        images = self.subject.images(poses, self.crop.camera)
        excess = ((images[..., 3] > 0.5) & (self.crop.image[..., 3] < 0.5)).to(images)[:, None]
        mask = (self.crop.image[None, None, ..., 3] > 0.5).to(images)
        core = excess * (1 - torch.nn.functional.max_pool2d(mask, 5, stride=1, padding=2))
        hidden = torch.nn.functional.max_pool2d(core, 7, stride=1, padding=3)[:, 0, :, :, None]
        found = Comparison(self.subject, self.crop, self.blur, excess=1.0)
        found.counts = self.crop.valid * (1 - hidden)
        found.given_up = (
            _robust(EXCESS**2 * (excess[:, 0, :, :, None] * self.crop.valid * hidden)).sum((1, 2, 3)) / self.area
        )
        return found

    def _blurred(self, images: Tensor) -> Tensor:
        if not self.blur:
            return images
        # As products with a matrix: a convolution of few channels is many times slower on a CPU.
        return torch.einsum("ih,nhwc,jw->nijc", self.kernel, images, self.kernel)

    def losses(self, residuals: Tensor) -> Tensor:
        """Robust sums [N], per pixel of the mask."""
        return _robust(residuals.square().sum(-1)).sum(-1) / self.area + self.given_up


def _robust(squares: Tensor) -> Tensor:
    """Of squared differences: half of them where they are small, linear where they are large."""
    return ROBUST**2 * ((1 + squares / ROBUST**2).sqrt() - 1)


@torch.no_grad()
def refine(poses: Poses, comparison: Comparison, iterations: int, both_sides: bool = False) -> tuple[Poses, Tensor]:
    """Levenberg and Marquardt's steps on robust differences; derivatives by moving each pose by part of a pixel.

    Returns:
        The best poses met, and their losses [N].
    """
    damping = poses.translation.new_full((len(poses),), 1e-2)
    best, best_loss = poses, poses.translation.new_full((len(poses),), math.inf)
    normal = poses.translation.new_zeros(len(poses), 6, 6)
    slope = poses.translation.new_zeros(len(poses), 6)
    tried = poses
    for iteration in range(iterations + 1):
        last = iteration == iterations
        moves = _moves(comparison, both_sides and not last, last, tried.translation)
        around = moved(tried, moves, comparison)
        residuals = comparison.residuals(around).unflatten(0, (len(poses), len(moves)))
        losses = comparison.losses(residuals[:, 0].contiguous())
        better = losses < best_loss
        if not last:
            found_normal, found_slope = _system(residuals, moves)
            normal = torch.where(better[:, None, None], found_normal, normal)
            slope = torch.where(better[:, None], found_slope, slope)
        best = _where(better, tried, best)
        best_loss = torch.where(better, losses, best_loss)
        damping = torch.where(better, damping / 5, damping * 6).clamp(1e-5, 1e4)
        if last:
            break
        update = _solved(normal, slope, damping)
        tried = moved(best, update[:, None], comparison)
    return best, best_loss


def moved(poses: Poses, steps: Tensor, comparison: Comparison) -> Poses:
    """Poses [N * M] moved by steps [N or 1, M, 6] in pixels: three of rotation, two sideways, one of depth."""
    count, steps = len(poses), steps.expand(len(poses), -1, 6)
    focal = float(comparison.crop.camera.fx)
    distance = poses.translation.norm(dim=-1)[:, None]
    # Points at half a radius from the centre move by a pixel.
    unit = 2 * distance / (focal * comparison.subject.radius)
    turn = axis_angle_to_matrix(steps[..., :3] * unit[..., None])
    rotation = turn @ poses.rotation[:, None]
    sideways = steps[..., 3:5] * (distance / focal)[..., None]
    translation = poses.translation[:, None] * torch.exp(steps[..., 5:] * unit[..., None])
    translation = translation + torch.cat([sideways, torch.zeros_like(sideways[..., :1])], -1)
    return Poses(rotation.reshape(-1, 3, 3), translation.reshape(count * steps.shape[1], 3))


def _moves(comparison: Comparison, both_sides: bool, none: bool, like: Tensor) -> Tensor:
    """None, then one for each parameter, [M, 6]."""
    one = _STEP * torch.eye(6, dtype=like.dtype, device=like.device)
    parts = [torch.zeros_like(one[:1])] + ([] if none else [one]) + ([-one] if both_sides else [])
    return torch.cat(parts)


def _system(residuals: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices [N, 6, 6] and slopes [N, 6] of the weighted least squares, of residuals [N, M, P, C]."""
    here = residuals[:, 0]
    weight = (1 + here.square().sum(-1) / ROBUST**2).rsqrt()
    if len(moves) == 13:
        jacobian = (residuals[:, 1:7] - residuals[:, 7:]) / (2 * _STEP)
    else:
        jacobian = (residuals[:, 1:] - here[:, None]) / _STEP
    weighted = (jacobian * weight[:, None, :, None]).flatten(2)
    normal = weighted @ jacobian.flatten(2).transpose(1, 2)
    return normal, (weighted @ here.flatten(1)[..., None])[..., 0]


def _solved(normal: Tensor, slope: Tensor, damping: Tensor) -> Tensor:
    """Updates [N, 6], of limited length."""
    diagonal = normal.diagonal(dim1=-2, dim2=-1)
    floor = 1e-3 * diagonal.mean(-1, keepdim=True) + 1e-9
    system = normal + torch.diag_embed(damping[:, None] * diagonal + floor * damping[:, None] + 1e-9)
    update = -torch.linalg.solve(system.double(), slope.double()).to(slope)
    length = update.norm(dim=-1, keepdim=True)
    return update * (_FURTHEST / length.clamp_min(_FURTHEST))


def _where(condition: Tensor, first: Poses, second: Poses) -> Poses:
    return Poses(
        torch.where(condition[:, None, None], first.rotation, second.rotation),
        torch.where(condition[:, None], first.translation, second.translation),
    )
