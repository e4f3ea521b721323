"""Names of choices, and what programs ask a build of gsplat about."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

CameraModel = Literal["pinhole", "ortho", "fisheye", "ftheta", "lidar"]
RenderMode = Literal["RGB", "d", "Ed", "D", "ED", "RGB-d", "RGB-Ed", "RGB+D", "RGB+ED"]
RasterizeMode = Literal["classic", "antialiased"]


class RollingShutterType(IntEnum):
    """How a sensor is read out; only GLOBAL, all at once, is offered."""

    ROLLING_TOP_TO_BOTTOM = 0
    ROLLING_LEFT_TO_RIGHT = 1
    ROLLING_BOTTOM_TO_TOP = 2
    ROLLING_RIGHT_TO_LEFT = 3
    GLOBAL = 4


class RendererConfig:
    """A choice of kernels; of the two there are, one is offered."""

    def __new__(cls, *args: object, **kwargs: object) -> RendererConfig:
        if cls is RendererConfig:
            raise TypeError("RendererConfig is a base class; use RendererConfig_MixedBatch")
        return super().__new__(cls)


@dataclass
class RendererConfig_MixedBatch(RendererConfig):  # noqa: N801, the name is gsplat's
    """The default, which has no effect."""


@dataclass
class RendererConfig_ParallelBatch(RendererConfig):  # noqa: N801
    """Not offered: it goes with `with_eval3d`."""


def has_3dgs() -> bool:
    """Gaussians are drawn."""
    return True


def has_2dgs() -> bool:
    """Surfels are drawn."""
    return True


def has_adam() -> bool:
    """`SelectiveAdam` is there."""
    return True


def has_reloc() -> bool:
    """`compute_relocation` is there."""
    return True


def has_losses() -> bool:
    """`FusedGaussianLosses` is there."""
    return True


def has_3dgut() -> bool:
    """There is no unscented transform."""
    return False


def has_camera_wrappers() -> bool:
    """Cameras are not objects."""
    return False
