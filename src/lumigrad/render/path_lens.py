"""Paths through a thin lens: each begins at its own point of the aperture.

The rays of a pixel through one point of a lens are those of a pinhole camera at that point, whose image plane is
shifted so that points in focus keep their places. An image of paths is therefore traced as a column of pixels, each
with its own point of the lens. Outlines are those of some such pinhole cameras.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.scene.cameras.camera import Camera, PerspectiveCamera
from lumigrad.scene.cameras.lens import ThinLens
from lumigrad.types import TracedPaths
from lumigrad.types.counters import mixed

CAMERAS = 8  # that replace the lens in the search for outlines
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
OF_LENS = 0x5851F42D4C957F2D  # of random numbers that belong to no path

Trace = Callable[[Tensor, Tensor], TracedPaths]


class Aperture(NamedTuple):
    """The lens of a camera.

    Attributes:
        across, up: vectors [3] in the world from its centre to its rim.
        focus: the distance [] that is sharp.
    """

    across: Tensor
    up: Tensor
    focus: Tensor


def aperture_of(lens: ThinLens, camera: Camera, like: Tensor) -> Aperture:
    """Of a single camera.

    Raises:
        TypeError, NotImplementedError: a camera that has no place for a lens, or is distorted.
    """
    if not isinstance(camera, PerspectiveCamera):
        raise TypeError(f"lens: expected a PerspectiveCamera to put it into, got {type(camera).__name__}")
    if camera.distortion is not None:
        raise NotImplementedError("lens: expected a camera without distortion")
    radius, focus = (torch.as_tensor(value).to(like) for value in (lens.radius, lens.focus_distance))
    axes = camera.camera_to_world[:3].to(like)
    return Aperture(radius * axes[:, 0], radius * axes[:, 1], focus)


def traced_through(
    aperture: Aperture, origins: Tensor, directions: Tensor, samples: int, seed: int, trace: Trace
) -> TracedPaths:
    """Means of `samples` paths of each pixel.

    Args:
        origins, directions: of a pinhole camera, at the corners of pixels [H + 1, W + 1, 3]; directions end on the
            plane at distance 1.
        trace: receives the rays [R, 2, 3] of a column of pixels, and traces one path for each.
    """
    height, width = (size - 1 for size in directions.shape[:2])
    x, y = (value.to(directions)[..., None] for value in _on_disc(seed, height * width, samples, directions.device))
    offset = (x * aperture.across + y * aperture.up)[:, :, None, None]
    starts = _corners(origins)[:, None] + offset
    onward = _corners(directions)[:, None] - offset / aperture.focus
    found = trace(_column(starts), _column(onward))

    def mean(value: Tensor) -> Tensor:
        rows = torch.cat((value, value[:1]))[::3]  # the third pixel of each group is empty
        return rows.reshape(height, width, samples, *value.shape[2:]).mean(2)

    return TracedPaths(*(mean(value) for value in found))


def lens_cameras(camera: Camera, lens: ThinLens, seed: int) -> list[Camera]:
    """Pinhole cameras that replace a lens, spread evenly over it from a random start."""
    radius, focus = (torch.as_tensor(value).to(camera.world_to_camera) for value in (lens.radius, lens.focus_distance))
    number = mixed((seed ^ OF_LENS) + torch.arange(2))
    u, turn = (float((word >> 11) & (2**53 - 1)) / 2**53 for word in number)
    found = []
    for k in range(CAMERAS):
        distance, angle = math.sqrt((k + u) / CAMERAS), GOLDEN_ANGLE * k + 2 * math.pi * turn
        x, y = radius * (distance * math.cos(angle)), radius * (distance * math.sin(angle))
        shift = torch.stack((x, y, torch.zeros_like(x), torch.zeros_like(x)))
        matrix = camera.world_to_camera - shift[:, None] * camera.world_to_camera.new_tensor([0.0, 0.0, 0.0, 1.0])
        cx, cy = camera.cx + camera.fx * x / focus, camera.cy - camera.fy * y / focus
        found.append(replace(camera, world_to_camera=matrix, cx=cx, cy=cy))
    return found


def _on_disc(seed: int, pixels: int, samples: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """One point on the unit disc for each path [pixels, samples]."""
    key = mixed(torch.tensor(seed ^ OF_LENS, device=device))
    key = mixed(key + torch.arange(pixels, device=device)[:, None])
    word = mixed(key + torch.arange(samples, device=device))
    u, v = ((word >> shift & 0xFFFFFF).double() / 2**24 for shift in (8, 40))
    return u.sqrt() * (2 * math.pi * v).cos(), u.sqrt() * (2 * math.pi * v).sin()


def _corners(values: Tensor) -> Tensor:
    """The corners of each pixel [N, 2, 2, 3]."""
    rows = torch.stack((values[:-1], values[1:]), 2)  # [H, W + 1, 2, 3]
    return torch.stack((rows[:, :-1], rows[:, 1:]), 3).flatten(0, 1)


def _column(corners: Tensor) -> Tensor:
    """Pixels [N, S, 2, 2, 3] one below the other. Between two of them, rays are NaN and meet nothing."""
    pixels = corners.flatten(0, 1)
    return torch.cat((pixels, torch.full_like(pixels[:, :1], math.nan)), 1).flatten(0, 1)
