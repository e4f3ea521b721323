"""Preferences among materials and lights that explain photographs equally well."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.fit.materials.maps import MaterialMaps
from lumigrad.scene.color import srgb_decode

# Where base colours differ by this much, roughness and metallic may change, too.
_SAME_PAINT = 0.05
# Texels per side of the squares over which the normal map should be level.
_AROUND = 16


class Weights(NamedTuple):
    """Weights of the terms beside the mean squared error of the images.

    Attributes:
        base_color: unevenness of the base colour: what changes smoothly is rather light than paint.
        surface: unevenness of roughness and metallic where the base colour is even.
        metallic: how metallic the surface is.
        normal: unevenness and slope of the normal map.
        tilt: slope that neighbours have in common: a normal map is detail, and leaves the surface as it is on average.
        light: differences of neighbouring texels of the light, as ratios.
        white: how coloured the light is.
        albedo: squared difference of the mean base colour from the one asked for, as a logarithm. It settles how much
            of the photographs' brightness is light and how much is paint, which matt surfaces leave open.
    """

    base_color: float = 1e-3
    surface: float = 2e-3
    metallic: float = 5e-4
    normal: float = 1e-3
    tilt: float = 0.1
    light: float = 2e-4
    white: float = 3e-3
    albedo: float = 1e-3


def weights_of(normals: bool) -> Weights:
    """The weights of a fit with or without a normal map: with one, shading is rather relief than paint.

    >>> from lumigrad.fit.materials import weights_of
    >>> weights_of(normals=False).base_color, weights_of(normals=True).base_color
    (0.001, 0.01)
    """
    return Weights(base_color=1e-2, normal=2e-3) if normals else Weights()


def penalty(maps: MaterialMaps, covered: Tensor, albedo: float, weights: Weights) -> Tensor:
    """The sum of all terms [].

    Args:
        maps: of the material and the light.
        covered: which texels belong to the surface, bool [H, W].
        albedo: mean linear base colour that is expected.

    >>> import torch
    >>> from lumigrad.fit.materials import Weights, maps_of, penalty, start_parameters
    >>> parameters = start_parameters((8, 8), 4, albedo=0.3, brightness=torch.tensor(0.15), normals=False)
    >>> parameters["metallic"][0] -= 20.0  # no metal
    >>> everywhere = torch.ones(8, 8, dtype=torch.bool)
    >>> penalty(maps_of(parameters, (8, 8)), everywhere, 0.3, Weights()).item() < 1e-5  # even, in white light
    True
    """
    base = maps.base_color
    paint = base.detach()
    total = weights.base_color * sum(difference.mean() for difference in _steps(base, covered))
    alike = [(-difference.mean(-1, keepdim=True) / _SAME_PAINT).exp() for difference in _steps(paint, covered)]
    for image in (maps.roughness, maps.metallic):
        steps = _steps(image, covered)
        total = total + weights.surface * sum((step * same).mean() for step, same in zip(steps, alike, strict=True))
    total = total + weights.metallic * maps.metallic[covered].mean()
    if maps.normal is not None:
        slope = 2 * maps.normal - 1
        total = total + weights.normal * sum(difference.mean() for difference in _steps(slope, covered))
        total = total + weights.normal * slope[..., :2][covered].square().mean()
        total = total + weights.tilt * _tilted(slope[..., :2], covered)
    total = total + weights.light * _uneven(maps.light) + weights.white * _colored(maps.light)
    mean = srgb_decode(base[covered]).mean()
    return total + weights.albedo * (mean / albedo).log().square()


def _steps(image: Tensor, covered: Tensor) -> list[Tensor]:
    """Differences of texels that are neighbours in a column or a row, where both belong to the surface."""
    down, along = covered[1:] & covered[:-1], covered[:, 1:] & covered[:, :-1]
    return [
        image.diff(dim=0).abs() * down[..., None],
        image.diff(dim=1).abs() * along[..., None],
    ]


def _tilted(slope: Tensor, covered: Tensor) -> Tensor:
    """Mean square of the mean slope around texels of the surface []."""
    inside = covered.to(slope)[..., None]
    image = torch.cat((slope * inside, inside), -1).permute(2, 0, 1)[None]
    side = min(_AROUND, *covered.shape)
    sums = torch.nn.functional.avg_pool2d(image, side, max(1, side // 2))
    x, y, part = sums.unbind(1)
    return ((x.square() + y.square()) / part.clamp_min(1e-6)).sum() / part.sum().clamp_min(1e-6)


def _uneven(light: Tensor) -> Tensor:
    """Mean differences of neighbours; as ratios, so that a sun costs no more than its rim."""
    values = (light + 0.02 * light.detach().mean()).log()
    return values.diff(dim=1).abs().mean() + values.diff(dim=2).abs().mean()


def _colored(light: Tensor) -> Tensor:
    """The deviation from grey of texels and of all light, relative to the mean."""
    grey = light.mean(-1, keepdim=True)
    every = light.mean((0, 1, 2))
    return ((light - grey) / grey.mean().detach()).abs().mean() + (every / every.mean() - 1).square().sum()
