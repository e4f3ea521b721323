"""What is preferred among the materials and lights that explain photographs equally well."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from lumigrad.fit.materials.maps import MaterialMaps
from lumigrad.scene.color import srgb_decode

# Where base colours differ by this much, roughness and metallic may change, too.
_SAME_PAINT = 0.05


class Weights(NamedTuple):
    """Weights of the terms beside the mean squared error of the images.

    Attributes:
        base_color: unevenness of the base colour: what changes smoothly is rather light than paint.
        surface: unevenness of roughness and metallic where the base colour is even.
        metallic: how metallic the surface is.
        normal: unevenness and slope of the normal map.
        light: differences of neighbouring texels of the light, as ratios.
        white: how coloured the light is.
        albedo: squared difference of the mean base colour from the one asked for, as a logarithm. It settles how much
            of the photographs' brightness is light and how much is paint, which matt surfaces leave open.
    """

    base_color: float = 1e-3
    surface: float = 2e-3
    metallic: float = 5e-4
    normal: float = 1e-3
    light: float = 2e-4
    white: float = 3e-3
    albedo: float = 1e-3


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


def _uneven(light: Tensor) -> Tensor:
    """Mean differences of neighbours; as ratios, so that a sun costs no more than its rim."""
    values = (light + 0.02 * light.detach().mean()).log()
    return values.diff(dim=1).abs().mean() + values.diff(dim=2).abs().mean()


def _colored(light: Tensor) -> Tensor:
    """How much the channels of texels and of all light differ from grey, relative to its mean."""
    grey = light.mean(-1, keepdim=True)
    every = light.mean((0, 1, 2))
    return ((light - grey) / grey.mean().detach()).abs().mean() + (every / every.mean() - 1).square().sum()
