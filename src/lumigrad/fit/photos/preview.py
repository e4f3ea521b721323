"""Previews of a fit in the space of photographs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lumigrad.fit.photos.cameras import focus
from lumigrad.fit.photos.photo import Photo
from lumigrad.fit.preview import Preview, upright
from lumigrad.scene.cameras.camera import PerspectiveCamera


def preview_of(photos: Sequence[Photo], draw: Callable[[PerspectiveCamera], Tensor], device: torch.device) -> Preview:
    """A preview of the ball around the point that photographs look at, whose radius is their distance from it.

    Args:
        draw: as for `Preview`.
        device: where it draws.
    """
    centre, extent = focus(list(photos))
    up = upright(torch.cat([photo.camera.world_to_camera for photo in photos]))
    shown = [(photo.camera[0], photo.image[0]) for photo in photos]
    return Preview(draw, centre.to(device), max(extent, 1e-6), up, shown)
