"""The pose of a mesh in a photograph, in several, and along a video."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from torch import Tensor

from lumigrad.fit.pose.estimate import PoseEstimate, PoseWarning, judged
from lumigrad.fit.pose.photograph import Crop, Photograph
from lumigrad.fit.pose.refine import EXCESS, HIDDEN_EXCESS, Comparison, refine
from lumigrad.fit.pose.search import APART, distinct, starts
from lumigrad.fit.pose.subject import Poses, Subject
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.light.lights import Lighting
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types import validation
from lumigrad.types.shapes import Float

_BEGUN = 20  # poses with which the first level starts
# If more of the mask than this stays uncovered, something may hide the object: a second search begins with more poses,
# including nearer ones.
_DOUBTFUL, _MORE = 0.02, 48
# A track is searched again if this much of the mask is uncovered, or the loss has grown by at least that factor.
_LOST, _WORSE, _MUCH = 0.05, 1.5, 0.002
_END: Any = object()
_COARSE = 48  # cells along the mesh whose vertices are merged, for the first search


@dataclass(frozen=True)
class Level:
    """One resolution: pixels of the crop, the blur of differences in pixels, and the number of poses kept.

    `updates` are made while coverage beyond the mask counts little, then twice `visible` ones without what is hidden in
    each pose.
    """

    size: int
    blur: float
    updates: int
    visible: int
    keep: int


_LEVELS = (Level(48, 1.5, 4, 3, 6), Level(96, 0.7, 0, 3, 2), Level(224, 0.0, 0, 3, 2))


def fit_pose(
    mesh: Mesh,
    image: Float[Tensor, "height width channels"],
    camera: PerspectiveCamera,
    mask: Tensor | None = None,
    start: Float[Tensor, "4 4"] | None = None,
    within: float = 75.0,
    views: int = 200,
    colors: bool | None = None,
    lighting: Lighting | None = None,
) -> PoseEstimate:
    """Rotation and translation of a known mesh in one photograph, from anywhere or near a start.

    The mesh is rendered from `views` directions at low resolution, in one batch, and each view is compared with the
    photograph in all rolls, at the place and distance where its area and centroid are the mask's. The best 20 poses are
    refined together, by Levenberg and Marquardt's method on robust differences of colours and outlines, in crops of
    48, 96 and 224 pixels; fewer go on each time. Parts of the object that something hides are found for each pose, and
    left out.

    Args:
        mesh: of any size, in any units; colours as `render_mesh` shows them.
        image: [H, W, 3 or 4] in [0, 1], display-encoded. Colours are compared after a gain of each channel, so that
            exposure and white balance do not matter.
        camera: its intrinsics, lens and size; where it stands has no influence.
        mask: [H, W], 1 where the object is seen. By default the image's fourth channel; without one, whatever differs
            from the colour of the image's border.
        start: object to camera [4, 4], in OpenGL's camera space (x right, y up, looking along -z). Only poses nearby
            are searched.
        within: degrees around the start's rotation.
        views: directions of the search; 200 are 14 degrees apart.
        colors: compare colours, not outlines alone. By default where the mesh has a texture or vertex colours, or where
            `lighting` is given.
        lighting: `Lighting()` by default; its directions are in the mesh's coordinates, its headlight is at the camera.

    Returns:
        PoseEstimate, with its confidence.

    Warns:
        PoseWarning: each of the estimate's `doubts`: an ambiguous pose, a hidden object, a mesh that does not fit.

    Raises:
        TypeError, ValueError: wrong shapes, a mesh without faces, an empty mask, or no mask where the border of the
            image is not of one colour.

    >>> import math
    >>> from lumigrad.fit import fit_pose
    >>> from lumigrad.render import render_mesh
    >>> from lumigrad.scene import PerspectiveCamera, creature, rotation_angle
    >>> mesh = creature(3)
    >>> camera = PerspectiveCamera.orbit(azimuth=200.0, elevation=30.0, distance=5.0, fov_y=35.0, size=(96, 96))
    >>> shot = render_mesh(mesh, camera)
    >>> found = fit_pose(mesh, shot.image[0], camera, mask=shot.mask[0], views=100)
    >>> error = rotation_angle(found.object_to_camera[:3, :3], camera.world_to_camera[:3, :3])
    >>> math.degrees(error) < 1, found.ambiguous, found.occluded
    (True, False, False)
    """
    subject = _subject(mesh, lighting, colors, camera)
    found = _estimate(subject, Photograph.of(image, camera, mask), camera, start, within, views)
    _warn(found)
    return found


def fit_poses(
    mesh: Mesh,
    images: Iterable[Tensor],
    camera: PerspectiveCamera,
    masks: Iterable[Tensor | None] | None = None,
    views: int = 200,
    colors: bool | None = None,
    lighting: Lighting | None = None,
) -> list[PoseEstimate]:
    """The pose of one mesh in several photographs that have nothing to do with each other.

    Args:
        images, masks: [N, H, W, C] and [N, H, W], or any iterables; see `fit_pose`.
        camera: one for all photographs, or a batch [N].

    >>> import torch
    >>> from lumigrad.fit import fit_poses
    >>> from lumigrad.render import render_mesh
    >>> from lumigrad.scene import PerspectiveCamera, creature
    >>> mesh = creature(2)
    >>> camera = PerspectiveCamera.orbit(torch.tensor([20.0, 130.0]), 10.0, 5.0, fov_y=35.0, size=(64, 64))
    >>> shots = render_mesh(mesh, camera)
    >>> found = fit_poses(mesh, shots.image, camera, shots.mask, views=100)
    >>> [round(float((one.camera.position - eye).norm()), 1) for one, eye in zip(found, camera.position)]
    [0.0, 0.0]
    """
    subject = _subject(mesh, lighting, colors, camera)
    found = []
    for number, (image, mask, seen) in enumerate(_frames(images, masks, camera)):
        found.append(_estimate(subject, Photograph.of(image, seen, mask), seen, None, 75.0, views))
        _warn(found[-1], f"image {number}: ")
    return found


def track_pose(
    mesh: Mesh,
    images: Iterable[Tensor],
    camera: PerspectiveCamera,
    masks: Iterable[Tensor | None] | None = None,
    start: Float[Tensor, "4 4"] | None = None,
    views: int = 200,
    colors: bool | None = None,
    lighting: Lighting | None = None,
) -> list[PoseEstimate]:
    """The pose of one mesh along a video: each frame begins at the pose of the frame before.

    Where that fits clearly worse than before, the frame is also searched from anywhere, as the first one is without a
    `start`, and the better pose is taken. A pose that continues the one before has no runner-up.

    Args:
        images, masks, camera: see `fit_poses`; frames are read one by one.
        start: object to camera [4, 4] of the first frame.

    >>> import torch
    >>> from lumigrad.fit import track_pose
    >>> from lumigrad.render import render_mesh
    >>> from lumigrad.scene import PerspectiveCamera, creature
    >>> mesh = creature(2)
    >>> camera = PerspectiveCamera.orbit(torch.tensor([20.0, 26.0, 32.0]), 10.0, 5.0, fov_y=35.0, size=(64, 64))
    >>> shots = render_mesh(mesh, camera)
    >>> found = track_pose(mesh, shots.image, camera, shots.mask, start=camera[0].world_to_camera)
    >>> [round(float((one.camera.position - eye).norm()), 1) for one, eye in zip(found, camera.position)]
    [0.0, 0.0, 0.0]
    """
    subject = _subject(mesh, lighting, colors, camera)
    found: list[PoseEstimate] = []
    for image, mask, seen in _frames(images, masks, camera):
        photograph = Photograph.of(image, seen, mask)
        before = found[-1].object_to_camera if found else start
        followed = [] if before is None else [_refined(subject, photograph, subject.from_matrix(before[None]), seen)]
        if not followed or _lost(followed[0], found[-1].loss if found else math.inf):
            followed.append(_estimate(subject, photograph, seen, None, 180.0, views))
        now = min(followed, key=lambda estimate: estimate.loss)
        _warn(now, f"frame {len(found)}: ")
        found.append(now)
    return found


def _frames(
    images: Iterable[Tensor], masks: Iterable[Tensor | None] | None, camera: PerspectiveCamera
) -> Iterator[tuple[Tensor, Tensor | None, PerspectiveCamera]]:
    """Each photograph with its mask and camera.

    Raises:
        ValueError: as many masks or cameras as photographs are wanted, and there are not.
    """
    of_images = iter(masks) if masks is not None else repeat(None)
    number = -1
    for number, image in enumerate(images):
        mask = next(of_images, _END)
        if mask is _END:
            raise ValueError(f"masks: expected one for each image, got {number}")
        if camera.shape and number >= camera.shape[0]:
            raise ValueError(f"camera: expected one for each image, got {camera.shape[0]}")
        yield image, mask, camera[number] if camera.shape else camera
    if masks is not None and next(of_images, _END) is not _END:
        raise ValueError(f"masks: expected one for each of {number + 1} images, got more")
    if camera.shape and camera.shape[0] != number + 1:
        raise ValueError(f"camera: expected one for each of {number + 1} images, got {camera.shape[0]}")


def _subject(mesh: Mesh, lighting: Lighting | None, colors: bool | None, camera: PerspectiveCamera) -> Subject:
    if not isinstance(mesh, Mesh):
        raise TypeError(f"mesh: expected a Mesh, got {type(mesh).__name__}")
    if not isinstance(camera, PerspectiveCamera):
        raise TypeError(f"camera: expected a PerspectiveCamera, got {type(camera).__name__}")
    return Subject.of(mesh, lighting, colors)


def _lost(now: PoseEstimate, loss_before: float) -> bool:
    return now.uncovered > _LOST or now.loss > _WORSE * loss_before + _MUCH


def _warn(found: PoseEstimate, which: str = "") -> None:
    """Warn the caller's caller of doubts, and of the photographs that they concern."""
    for doubt in found.doubts:
        warnings.warn(which + doubt, PoseWarning, stacklevel=3)


def _estimate(
    subject: Subject, photograph: Photograph, camera: PerspectiveCamera, start: Tensor | None, within: float, views: int
) -> PoseEstimate:
    views = validation.integer("views", views, 12, 10_000)
    given, near = [], None
    if start is not None:
        if tuple(start.shape) != (4, 4):
            raise ValueError(f"start: expected object to camera [4, 4], got {list(start.shape)}")
        given = [subject.from_matrix(start[None])]
        near = (given[0].rotation[0], math.radians(validation.number("within", within)))
    begun = starts(subject.coarse(_COARSE), photograph, views, _BEGUN, near)
    found = _refined(subject, photograph, Poses.cat([begun, *given]), camera)
    if found.uncovered > _DOUBTFUL:
        more = starts(subject.coarse(_COARSE), photograph, 2 * views, _MORE, near, hidden=True)
        again = _refined(subject, photograph, more, camera, HIDDEN_EXCESS)
        found = min(found, again, key=lambda estimate: estimate.loss)
    return found


def _refined(
    subject: Subject, photograph: Photograph, poses: Poses, camera: PerspectiveCamera, excess: float = EXCESS
) -> PoseEstimate:
    """The best of starts, refined from coarse to fine."""
    for level in _LEVELS:
        coarse, crop = subject.coarse(level.size), _crop(subject, photograph, poses, level.size)
        comparison = Comparison(coarse, crop, level.blur, excess)
        if level.updates:
            poses, losses = refine(poses, comparison, level.updates)
        for _ in range(2):
            poses, losses = refine(poses, comparison.without_hidden(poses), level.visible)
        order = losses.argsort()
        poses, losses = poses.take(order), losses[order]
        chosen = distinct(poses.rotation, APART, level.keep)
        poses, losses = poses.take(chosen), losses[chosen]
    best = poses.take([0])
    for _ in range(2):  # hidden parts are known better the second time
        visible = comparison.without_hidden(best)
        best, _ = refine(best, visible, iterations=4, both_sides=True)
        if not bool(visible.given_up.any()):
            break
    runner_up = poses.take([1]) if len(poses) > 1 else None
    runner_up_loss = float(losses[1]) if len(poses) > 1 else math.inf
    return judged(comparison, best, float(losses[0]), runner_up, runner_up_loss, camera)


def _crop(subject: Subject, photograph: Photograph, poses: Poses, size: int) -> Crop:
    """The crop around the mask and the best pose, which may extend beyond the visible part."""
    left, top, right, bottom = photograph.box()
    points = subject.mesh.positions @ poses.rotation[0].T + poses.translation[0]
    pixels = photograph.camera.pixels(points[points[:, 2] < 0])
    width, height = right - left, bottom - top
    if len(pixels):
        low, high = pixels.amin(0).tolist(), pixels.amax(0).tolist()
        left, right = min(left, max(low[0], left - width)), max(right, min(high[0], right + width))
        top, bottom = min(top, max(low[1], top - height)), max(bottom, min(high[1], bottom + height))
    margin = 0.06 * max(right - left, bottom - top) + 1
    return photograph.crop((left - margin, top - margin, right + margin, bottom + margin), size)
