"""The initial search: many views of the mesh, rolled, compared with the image at low resolution."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from lumigrad.fit.mesh.views import fibonacci_cameras
from lumigrad.fit.pose.photograph import Photograph
from lumigrad.fit.pose.subject import Poses, Subject
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.rotations import rotation_angle

_SIZE = 40  # pixels per side of the images that are compared
_FILLED = 0.75  # fraction of half of such an image that the mask takes up
APART = math.radians(12)  # least angle between distinct poses
# If something hides the object, the area and centroid are those of a part: distances and offsets that are tried for it.
_NEARER, _ASIDE = (1.0, 0.87, 0.75), (-6, 0, 6)  # factors, pixels
_COLORS = 4.0  # largest squared difference of colour
_EXCESS = 0.3  # weight of coverage outside the mask, relative to a mask that is not covered


@torch.no_grad()
def starts(
    subject: Subject,
    photograph: Photograph,
    views: int,
    count: int,
    near: tuple[Tensor, float] | None,
    hidden: bool = False,
) -> Poses:
    """The `count` most promising poses, at least 12 degrees apart, best first.

    The mesh is rendered from `views` directions in one batch. Each view is moved to where its coverage has the mask's
    centroid and area, and compared with the image in all rolls about the ray to the centroid.

    Args:
        near: a rotation [3, 3], and radians: only poses within that angle.
        hidden: something may hide a part of the object: nearer poses and other places are tried, too, and coverage
            where there is no mask counts less.
    """
    axis, cone = photograph.axis()
    half = 0.5 * _SIZE
    like = photograph.image
    eye = torch.eye(4, dtype=like.dtype, device=like.device)
    focal, middle = like.new_tensor(_FILLED * half / math.tan(min(cone, 1.4))), like.new_tensor(half)
    camera = PerspectiveCamera(eye, focal, focal, middle, middle, (_SIZE, _SIZE))
    rolls = max(12, round(2 * math.pi / math.sqrt(4 * math.pi / views)))
    angles = torch.arange(rolls, dtype=like.dtype, device=like.device) * (2 * math.pi / rolls)
    targets, turns = photograph.turned(axis, angles, camera)
    rotations = fibonacci_cameras(views, (1, 1)).world_to_camera[:, :3, :3].to(like)
    allowed = _allowed(rotations, turns, near)
    some = allowed.any(1)
    rotations, allowed = rotations[some], allowed[some]
    poses, images = _centred(subject, rotations, targets, camera, cone)
    if hidden:
        poses, images = _spread(subject, poses, camera)
        allowed = allowed.repeat(len(poses) // len(allowed), 1)
    compare = _one_sided if hidden else _differences
    differences = compare(images, targets, subject.colors).masked_fill(~allowed, math.inf)
    order = differences.flatten().argsort()[: min(400, int(allowed.sum()))]
    view, roll = order // rolls, order % rolls
    back = turns.transpose(-1, -2)[roll]
    found = Poses(back @ poses.rotation[view], (back @ poses.translation[view][..., None])[..., 0])
    return found.take(distinct(found.rotation, APART, count))


def distinct(rotations: Tensor, apart: float, count: int) -> list[int]:
    """The first of rotations [N, 3, 3], and the next ones that are `apart` in radians from all before."""
    between = rotation_angle(rotations[:, None], rotations[None]).cpu()
    chosen: list[int] = []
    for index in range(len(rotations)):
        if len(chosen) == count:
            break
        if not chosen or float(between[index, chosen].min()) >= apart:
            chosen.append(index)
    return chosen


def _allowed(rotations: Tensor, turns: Tensor, near: tuple[Tensor, float] | None) -> Tensor:
    """Which combinations of views [V] and rolls [A] are within the angle, bool [V, A]."""
    if near is None:
        return torch.ones(len(rotations), len(turns), dtype=torch.bool, device=rotations.device)
    seen = turns.transpose(-1, -2)[None] @ rotations[:, None]
    angles = rotation_angle(seen, near[0].to(seen))
    return angles <= max(near[1], float(angles.min()))


def _centred(
    subject: Subject, rotations: Tensor, targets: Tensor, camera: PerspectiveCamera, cone: float
) -> tuple[Poses, Tensor]:
    """Poses [V] in front of the camera with the area and centroid of the targets' mask, and images of nearly them."""
    distance = rotations.new_full((len(rotations),), 1.2 * subject.radius / math.sin(min(cone, 1.2)))
    offset = rotations.new_zeros(len(rotations), 2)
    area, centroid = moments(targets[..., 3].mean(0, keepdim=True))
    focal = camera.fx
    for _ in range(3):
        poses = Poses(rotations, torch.cat([offset, -distance[:, None]], -1))
        images = subject.images(poses, camera)
        own, place = moments(images[..., 3])
        shift = (centroid - place) * (distance / focal)[:, None]
        offset = offset + shift * shift.new_tensor([1.0, -1.0])
        closer = (own.clamp_min(1.0) / area).sqrt().clamp(0.5, 2.0)
        offset, distance = offset * closer[:, None], (distance * closer).clamp_min(1.05 * subject.radius)
    return Poses(rotations, torch.cat([offset, -distance[:, None]], -1)), images


def _spread(subject: Subject, poses: Poses, camera: PerspectiveCamera) -> tuple[Poses, Tensor]:
    """Poses at several distances and places, and images of nearly them: at other places, images are moved."""
    found, images = [], []
    for factor in _NEARER:
        nearer = Poses(poses.rotation, poses.translation * factor)
        seen = subject.images(nearer, camera)
        pixel = nearer.translation.norm(dim=-1, keepdim=True) / camera.fx
        for right, down in itertools.product(_ASIDE, _ASIDE):
            aside = pixel * pixel.new_tensor([right, -down, 0.0])
            found.append(Poses(nearer.rotation, nearer.translation + aside))
            images.append(torch.nn.functional.pad(seen, (0, 0, right, -right, down, -down)))
    return Poses.cat(found), torch.cat(images)


def moments(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Area [N] in pixels, and centroid (x, y) [N, 2], of masks [N, H, W]."""
    height, width = masks.shape[1:]
    area = masks.sum((1, 2))
    x = torch.arange(width, dtype=masks.dtype, device=masks.device) + 0.5
    y = torch.arange(height, dtype=masks.dtype, device=masks.device) + 0.5
    total = area.clamp_min(1e-6)
    return area, torch.stack([(masks.sum(1) @ x) / total, (masks.sum(2) @ y) / total], -1)


def _differences(images: Tensor, targets: Tensor, colors: bool) -> Tensor:
    """Sums of absolute differences [V, A]; colours within the mask, after the gain that gives both the same sum."""
    masks = targets[..., 3]
    differences = torch.cdist(images[..., 3].flatten(1), masks.flatten(1), p=1)
    if not colors:
        return differences
    total = targets[..., :3].sum((1, 2)).mean(0)
    gain = (total / images[..., :3].sum((1, 2)).clamp_min(1e-6)).clamp(1 / 3, 3)
    ours = images[..., :3] * gain[:, None, None]
    within = [
        (ours * mask[..., None] - target * images[..., 3:]).abs().sum((1, 2, 3))
        for mask, target in zip(masks, targets[..., :3])
    ]
    return differences + torch.stack(within, -1)


def _one_sided(images: Tensor, targets: Tensor, colors: bool) -> Tensor:
    """As `_differences`, for objects of which a part is hidden: squares, as products of matrices [V, A]."""
    masks, cover = targets[..., 3].flatten(1), images[..., 3].flatten(1)
    both = cover @ masks.T
    found = masks.sum(1) - both + _EXCESS * (cover.sum(1)[:, None] - both)
    if not colors:
        return found
    ours, theirs = images[..., :3], targets[..., :3]
    square = ours.square().sum(-1).flatten(1) @ masks.T
    product = ours.flatten(1) @ theirs.flatten(1).T
    gain = (product / square.clamp_min(1e-6)).clamp(1 / 3, 3)
    target = cover @ theirs.square().sum(-1).flatten(1).T
    return found + _COLORS * (target - 2 * gain * product + gain.square() * square).clamp_min(0)
