"""Options that several functions have, and how they refuse what is not offered."""

from __future__ import annotations

from typing import Any

from torch import Tensor

CAMERA_MODELS = {"pinhole": "perspective", "ortho": "orthographic", "fisheye": "fisheye"}
UNDISTORT = "undistort the photographs first (lumigrad.scene.undistort_image)"
LINEARISED = "Gaussians are projected by linearisation alone; leave it at its default"


def merged(value: Tensor, inner: int) -> Tensor:
    """The dimensions before the last `inner` ones as one, which is 1 if there are none."""
    return value.reshape(value.shape[:-inner].numel(), *value.shape[-inner:])


def one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, known))}, got {value!r}")


def refuse(advice: dict[str, str], **options: Any) -> None:
    """Complain about the first option that is in use, with what to do instead."""
    for name, value in options.items():
        if value is not None and value is not False:
            hint = advice.get(name, "leave it at its default")
            raise NotImplementedError(f"{name}: not offered by lumigrad.compat.gsplat; {hint}")
