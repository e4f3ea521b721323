"""The background behind the surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.render.color import srgb_decode, srgb_encode
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.environment import EnvironmentLight
from lumigrad.scene.light.lights import Light
from lumigrad.scene.scene import Scene
from lumigrad.types import validation as check


def choose_background(background: Any, scene: Scene, lights: Sequence[Light]) -> Any:
    """The given background, or otherwise the scene's; for "environment", the first environment among the lights.

    Raises:
        ValueError: another word, or "environment" where there is none.
    """
    chosen = scene.background if background is None else background
    if not isinstance(chosen, str):
        return chosen
    found = [light for light in lights if isinstance(light, EnvironmentLight)]
    if chosen != "environment" or not found:
        raise ValueError(f"background: expected a colour or image, or 'environment' where one lights, got {chosen!r}")
    return found[0]


def resolve_background(background: Any, cameras: Sequence[Camera], like: Tensor, linear: bool) -> Tensor:
    """A background as a tensor that broadcasts to images.

    Args:
        background: None (black), an `EnvironmentLight` (linear radiance), or display-encoded: a number, a colour [C]
            or [N, C], an image [H, W, C] or [N, H, W, C]. Of images with one channel, such as depth, its channels are
            any number, and the image has as many.
        cameras: of the N images, at their final resolution.
        like: the images' colours [N, H, W, C].
        linear: whether they are linear light.

    Raises:
        TypeError, ValueError: for anything else, or sizes that do not fit.
    """
    if background is None:
        return like.new_zeros(1)
    if isinstance(background, EnvironmentLight):
        if like.shape[-1] != 3:
            raise ValueError(f"background: an environment has 3 channels, the shader made {like.shape[-1]}")
        views = [background.sample(camera.rays()[1].to(like.dtype)) for camera in cameras]
        return torch.stack(views) if linear else srgb_encode(torch.stack(views))
    try:
        behind = check.constant(background, like)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"background: expected a colour, an image or an EnvironmentLight, got {type(background).__name__}"
        ) from error
    images, height, width, channels = like.shape
    channels = behind.shape[-1] if channels == 1 and behind.ndim else channels
    fits = {1: [channels], 2: [images, channels], 3: [height, width, channels], 4: [images, height, width, channels]}
    if behind.ndim and list(behind.shape) not in (fits.get(behind.ndim), [1]):
        wanted = ", ".join(str(shape) for shape in fits.values())
        raise ValueError(f"background: expected a number or one of {wanted}, got {list(behind.shape)}")
    if behind.ndim == 2:
        behind = behind[:, None, None]
    return srgb_decode(behind) if linear else behind
