"""Photographs of an object of unknown shape: its location, and the visual hull of its masks."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from lumigrad.fit.photos import Photo
from lumigrad.fit.reconstruct.conventions import GOOD, better_reading
from lumigrad.fit.reconstruct.hull import Hull, place_and_hull
from lumigrad.fit.reconstruct.known_mesh import Reading, load
from lumigrad.io.photos import PosedPhotos


class Located(NamedTuple):
    """An object in photographs.

    Attributes:
        hull: the photographs to fit and the visual hull, in the space of the fit.
        held_out: photographs held out, in the world.
        settings: of the fit, see `lumigrad.fit.photos.job.load_split`.
    """

    hull: Hull
    held_out: list[Photo]
    settings: dict[str, Any]


def located(data: PosedPhotos, options: Reading, device: torch.device, resolution: int) -> Located:
    """Read photographs that have an alpha channel, and find where the object is.

    Args:
        device: where the fit is to run; what is returned is on the CPU.
        resolution: voxels a side of the hull.

    Raises:
        FileNotFoundError, ValueError: see `PosedPhotos.split` and `load_photos`; there is no alpha channel; or the
            masks do not fit together.
    """
    photos, held_out, settings = load(data, options, device)
    if photos.alpha is None:
        raise ValueError(f"{data.folder}: expected photographs with an alpha channel or masks (--masks)")
    hull = place_and_hull(photos, resolution)
    if hull is None or hull.agreement < GOOD:
        reading = better_reading(photos, options.axes, options.poses)
        raise ValueError(f"{data.folder}: {_no_hull(hull is None, reading)}")
    return Located(hull, held_out, settings)


def _no_hull(empty: bool, options: str | None) -> str:
    """A message that says what is wrong with masks or cameras."""
    what = "the masks do not intersect" if empty else "the masks do not fit together"
    if options is not None:
        return f"{what}, but they do if the cameras' matrices mean something else: give {options}"
    return (
        f"{what}: no place in space is covered in all photographs that show it. Check that cameras belong to these "
        "photographs, that masks are white (opaque) on the object, and that the object is whole in each of them"
    )
