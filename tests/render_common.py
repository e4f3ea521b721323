"""Shared by the tests of the renderers."""

from __future__ import annotations

import doctest
import importlib
from dataclasses import replace

import torch
from ops_common import random
from torch import Tensor

from lumigrad.render import Rendering
from lumigrad.scene import Camera, OrthographicCamera, PerspectiveCamera

F64 = torch.float64


def camera(size: tuple[int, int] = (20, 26), dtype: torch.dtype = F64, count: int = 2) -> PerspectiveCamera:
    """A batch of cameras around the origin, or for a count of 0 a single one, with unequal focal lengths."""
    azimuth = torch.arange(max(count, 1), dtype=F64) * 50.0 + 20.0
    seen = PerspectiveCamera.orbit(azimuth if count else azimuth[0], 15.0, 4.0, 40.0, size).to(dtype)
    return replace(seen, fx=seen.fx * 1.1, cx=seen.cx + 0.3)


def facing(size: tuple[int, int], distance: float = 3.0, dtype: torch.dtype = F64) -> PerspectiveCamera:
    """Looks from +z at the origin."""
    return PerspectiveCamera.orbit(0.0, 0.0, distance, 45.0, size).to(dtype)


def orthographic(size: tuple[int, int], height: float = 3.0, dtype: torch.dtype = F64) -> OrthographicCamera:
    """Looks from +z at the origin, along parallel rays."""
    return OrthographicCamera.orbit(0.0, 0.0, 3.0, height, size).to(dtype)


def parameters(seen: Camera) -> dict[str, Tensor]:
    """A camera's tensors, as leaves."""
    names = ("world_to_camera", "fx", "fy", "cx", "cy")
    return {name: getattr(seen, name).detach().clone().requires_grad_() for name in names}


def uniform(*shape: int, low: float = 0.0, high: float = 1.0, seed: int = 0) -> Tensor:
    """Random numbers in [low, high), float64, the same for the same arguments."""
    return low + 0.5 * (high - low) * (1 + random(*shape, seed=seed, dtype=F64))


def tensors(shot: Rendering) -> dict[str, Tensor]:
    return {name: value for name, value in vars(shot).items() if isinstance(value, Tensor)}


def floats(shot: Rendering) -> tuple[Tensor, ...]:
    """The floating-point tensors, which carry gradients."""
    return tuple(value for value in tensors(shot).values() if value.is_floating_point())


def same(ours: Rendering, theirs: Rendering) -> None:
    """Assert that two renderings are equal bit for bit."""
    assert tensors(ours).keys() == tensors(theirs).keys()
    for name, value in tensors(theirs).items():
        assert torch.equal(tensors(ours)[name], value), name


def one_image(shot: Rendering, n: int) -> Rendering:
    return replace(shot, **{name: value[n : n + 1] for name, value in tensors(shot).items()})


def example_runs(module: str) -> None:
    """The example in the docstring of a module's renderer."""
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 0
    assert not found.failed
