"""Checks from the poses alone whether cameras look at the same place."""

from __future__ import annotations

from lumigrad.fit.photos import Photo, focus
from lumigrad.fit.reconstruct.conventions import AXES, POSES, read_otherwise

# Fewer photographs show no depth, and at least this many must show the place that all look at.
MIN_PHOTOS, _SHARE = 3, 0.5


def check_overlap(photos: list[Photo], axes: str = AXES[0], poses: str = POSES[0]) -> None:
    """Raise ValueError if photographs without masks cannot be of one scene.

    Args:
        axes, poses: as which the cameras' matrices have been read.

    >>> import torch
    >>> from lumigrad.fit.photos import Photo
    >>> from lumigrad.fit.reconstruct.overlap import check_overlap
    >>> from lumigrad.scene import PerspectiveCamera
    >>> around = PerspectiveCamera.orbit(torch.arange(4) * 90.0, 10.0, 3.0, fov_y=45.0, size=(16, 16))
    >>> image, covered = torch.full((1, 16, 16, 3), 0.5), torch.ones(1, 16, 16, 1)
    >>> check_overlap([Photo(image, covered, around[n : n + 1]) for n in range(4)])
    """
    if len(photos) < MIN_PHOTOS:
        raise ValueError(f"expected at least {MIN_PHOTOS} photographs to fit, beside those held out, got {len(photos)}")
    if _agreement(photos) >= _SHARE:
        return
    readings = [(other, way) for way in POSES for other in AXES if (other, way) != (axes, poses)]
    for other, way in readings:
        turned = [read_otherwise(photo, (axes, poses), (other, way)) for photo in photos]
        if _agreement(turned) > 0.9:
            words = [f"--axes {other}"] * (other != axes) + [f"--poses {way}"] * (way != poses)
            raise ValueError(
                "the cameras look away from one another, but at one place if their matrices mean something else: give "
                + " ".join(words)
            )
    raise ValueError(
        "the cameras look at no common place: expected photographs of one scene that overlap, and cameras that are "
        "theirs"
    )


def _agreement(photos: list[Photo]) -> float:
    """The fraction of the photographs that show the place that all look at, in front of the camera."""
    centre, distance = focus(photos)
    if not distance > 0:
        return 0.0
    seen = 0
    for photo in photos:
        camera = photo.camera
        x, y = camera.pixels(centre[None])[0, 0].tolist()
        height, width = camera.size
        ahead = float(camera.depth(centre[None])[0, 0]) > 0.01 * distance
        seen += ahead and 0 <= x <= width and 0 <= y <= height
    return seen / len(photos)
