"""Cameras that were read by the wrong convention: how to read them otherwise, and which convention fits the masks."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lumigrad.fit.photos import Photo
from lumigrad.fit.reconstruct.hull import place_and_hull
from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.io.photos import PosedPhotos
from lumigrad.scene.cameras.camera import PerspectiveCamera

AXES = ("opengl", "opencv")
POSES = ("camera-to-world", "world-to-camera")
# A hull that fills less of the masks than this is wrong.
GOOD = 0.7
_VOXELS, _PHOTOS, _ROWS = 40, 24, 96


def reread(data: PosedPhotos, axes: str, poses: str) -> PosedPhotos:
    """Reinterpret the matrices of a data set, which were read as OpenGL's camera to world.

    Args:
        axes: "opengl" (x right, y up, looking along -z) or "opencv" (x right, y down, looking along z).
        poses: "camera-to-world" or "world-to-camera".

    Raises:
        ValueError: for other words.
    """
    if axes not in AXES or poses not in POSES:
        raise ValueError(f"axes, poses: expected one of {', '.join(AXES)} and one of {', '.join(POSES)}")
    return replace(data, cameras=tuple(_reread(camera, axes, poses) for camera in data.cameras))


def _reread(camera: PerspectiveCamera, axes: str, poses: str) -> PerspectiveCamera:
    """Cameras [...] of which the matrix in the file was the inverse of what is now world_to_camera."""
    pose = camera.world_to_camera
    if poses == "world-to-camera":
        pose = torch.linalg.inv(pose)
    if axes == "opencv":
        pose = _turned(pose)
    return replace(camera, world_to_camera=pose)


def _unread(camera: PerspectiveCamera, axes: str, poses: str) -> PerspectiveCamera:
    """The inverse of `_reread`."""
    pose = camera.world_to_camera
    if axes == "opencv":
        pose = _turned(pose)
    if poses == "world-to-camera":
        pose = torch.linalg.inv(pose)
    return replace(camera, world_to_camera=pose)


def _turned(world_to_camera: Tensor) -> Tensor:
    return world_to_camera.new_tensor([1.0, -1.0, -1.0, 1.0])[:, None] * world_to_camera


def read_otherwise(photo: Photo, was: tuple[str, str], now: tuple[str, str]) -> Photo:
    """A photograph whose matrix was read by one (axes, poses) and is to be read by another one."""
    return replace(photo, camera=_reread(_unread(photo.camera, *was), *now))


def better_reading(photos: PhotoSet, axes: str = AXES[0], poses: str = POSES[0]) -> str | None:
    """The options under which the masks of photographs fit together, if there are such: "--axes opencv" for example.

    Args:
        axes, poses: as which the cameras' matrices have been read.

    >>> from dataclasses import replace
    >>> import torch
    >>> from lumigrad.fit.photos import Photo
    >>> from lumigrad.fit.reconstruct import PhotoSet
    >>> from lumigrad.fit.reconstruct.conventions import better_reading
    >>> from lumigrad.fit import fibonacci_cameras, render_views
    >>> from lumigrad.scene import Lighting, creature
    >>> views = render_views(creature(3), fibonacci_cameras(8, (48, 48)), Lighting())
    >>> counts = torch.ones(8, 48, 48, 1, dtype=torch.bool)
    >>> flip = torch.tensor([1.0, -1.0, -1.0, 1.0])[:, None]  # poses as OpenCV has them, taken for OpenGL's
    >>> wrong = replace(views.camera, world_to_camera=flip * views.camera.world_to_camera)
    >>> better_reading(PhotoSet(views.images[..., :3], views.images[..., 3:], counts, wrong))
    '--axes opencv'
    """
    step = max(1, len(photos) // _PHOTOS)
    assert photos.alpha is not None
    few = PhotoSet(photos.images[::step], photos.alpha[::step], photos.counts[::step], photos.camera[::step])
    few = few.reduced(max(1, min(few.size) // _ROWS))
    as_written = _unread(few.camera, axes, poses)
    best, options = GOOD, None
    for other_poses in POSES:
        for other_axes in AXES:
            found = place_and_hull(few.with_camera(_reread(as_written, other_axes, other_poses)), _VOXELS)
            if found is not None and found.agreement > best:
                words = [f"--axes {other_axes}"] * (other_axes != axes)
                words += [f"--poses {other_poses}"] * (other_poses != poses)
                best, options = found.agreement, " ".join(words)
    return options or None
