"""Built-in environments, which need no files: cube maps of linear radiance [6, S, S, 3]."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lumigrad.scene._vectors import unit
from lumigrad.scene.light.cubemap import cube_directions
from lumigrad.types.shapes import Float


def _smoothstep(low: float, high: float, value: Tensor) -> Tensor:
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _softbox(
    directions: Tensor, azimuth: float, elevation: float, width: float, height: float, tilt: float = 0.0
) -> Tensor:
    """A rectangular lamp, [..., 1] in [0, 1]: angles in degrees, azimuth 0 at +z and 90 at +x."""
    a, e, r = (math.radians(angle) for angle in (azimuth, elevation, tilt))
    towards = directions.new_tensor([math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)])
    right = directions.new_tensor([math.cos(a), 0.0, -math.sin(a)])
    up = torch.linalg.cross(towards, right)
    right, up = math.cos(r) * right + math.sin(r) * up, math.cos(r) * up - math.sin(r) * right
    ahead = directions @ towards
    x, y = ((directions @ axis / ahead.clamp_min(1e-3)).abs() for axis in (right, up))
    half = [math.tan(math.radians(angle / 2)) for angle in (width, height)]
    inside = [1 - _smoothstep(0.85 * size, 1.1 * size, place) for size, place in zip(half, (x, y), strict=True)]
    return (inside[0] * inside[1] * (ahead > 0))[..., None]


def studio(size: int = 128) -> Float[Tensor, "6 side side 3"]:
    """A photographer's studio: dim grey walls, a large key light, a cooler fill and a rim light from behind.

    Args:
        size: of a face in texels.

    Returns:
        [6, size, size, 3], on average about 0.4. A white matt surface sends back less than 0.8, whichever way it faces.

    >>> from lumigrad.scene import EnvironmentLight, studio
    >>> image = studio(16)
    >>> image.shape
    torch.Size([6, 16, 16, 3])
    >>> light = EnvironmentLight(image, intensity=2.0)
    >>> len(light.levels)  # prefiltered for rough surfaces
    1
    """
    d = unit(cube_directions(size))
    height = d[..., 1:2]
    walls = 0.24 + 0.18 * _smoothstep(-0.2, 1.0, height) - 0.12 * _smoothstep(0.1, 0.8, -height)
    image = walls * d.new_tensor([0.98, 1.0, 1.04])
    lamps = [
        (_softbox(d, 40, 42, 52, 38, 8), (9.0, 8.4, 7.6)),
        (_softbox(d, -68, 18, 30, 64), (2.6, 3.0, 3.6)),
        (_softbox(d, 172, 35, 70, 16), (7.0, 7.0, 7.4)),
    ]
    for shape, color in lamps:
        image = image * (1 - shape) + shape * d.new_tensor(color)
    return 0.4 * image


def sky(
    size: int = 128, sun: tuple[float, float, float] = (0.5, 0.65, 0.55), sun_radiance: float = 60.0
) -> Float[Tensor, "6 side side 3"]:
    """Blue sky over brown ground, with a sun larger and dimmer than ours (small ones need finer texels).

    Args:
        size: of a face in texels.
        sun: direction towards it.
        sun_radiance: of the middle of its disc.

    Returns:
        [6, size, size, 3].

    >>> from lumigrad.scene import sky
    >>> image = sky(16)
    >>> image.shape
    torch.Size([6, 16, 16, 3])
    >>> (image[2].mean() > image[3].mean()).item()  # brighter above than below
    True
    """
    d = unit(cube_directions(size))
    height = d[..., 1:2]
    zenith, horizon = d.new_tensor([0.16, 0.33, 0.78]), d.new_tensor([0.75, 0.86, 1.0])
    air = zenith + (horizon - zenith) * torch.exp(-4.5 * height.clamp_min(0))
    towards = d @ unit(d.new_tensor(sun))
    glow = torch.exp(18 * (towards - 1))[..., None] * d.new_tensor([0.9, 0.75, 0.45])
    disc = _smoothstep(math.cos(math.radians(4.5)), math.cos(math.radians(2.5)), towards)[..., None]
    ground = d.new_tensor([0.23, 0.20, 0.16]) * (1 - 0.5 * (-height).clamp_min(0))
    above = air + glow + disc * sun_radiance * d.new_tensor([1.0, 0.93, 0.8])
    return ground + _smoothstep(-0.015, 0.015, height) * (above - ground)
