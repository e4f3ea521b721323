"""Detailed procedural cube maps [6, S, S, 3] with values in [0, 1], so that experiments need no files."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.io import load_image
from lumigrad.scene import equirect_to_cube
from lumigrad.scene.light.cubemap import cube_directions

LATTICE = 32  # of random values; repeats in all directions
OCEAN = [[0.0, (0.01, 0.04, 0.16)], [0.45, (0.03, 0.16, 0.36)], [0.5, (0.20, 0.48, 0.56)]]
LAND = [[0.5, (0.72, 0.66, 0.45)], [0.53, (0.20, 0.36, 0.13)], [0.62, (0.38, 0.30, 0.17)], [0.72, (0.92, 0.92, 0.94)]]


def directions(size: int) -> Tensor:
    """Unit directions through the texels' centres [6, S, S, 3]."""
    return torch.nn.functional.normalize(cube_directions(size), dim=-1)


def fractal_noise(points: Tensor, octaves: int, seed: int, falloff: float = 0.55) -> Tensor:
    """Sum of smoothed noise of doubling frequencies at points [..., 3], about 0.5 with a deviation of about 0.1."""
    random = torch.Generator().manual_seed(seed)
    total, norm = torch.zeros(points.shape[:-1]), 0.0
    for octave in range(octaves):
        lattice = torch.rand(LATTICE, LATTICE, LATTICE, generator=random)
        shift = LATTICE * torch.rand(3, generator=random)
        strength = falloff**octave
        total = total + strength * _smooth_lookup(lattice, points * 2**octave + shift)
        norm += strength
    return total / norm


def _smooth_lookup(lattice: Tensor, points: Tensor) -> Tensor:
    """Interpolated values of a repeating lattice [L, L, L], with continuous derivatives."""
    low = points.floor()
    part = points - low
    places = low % LATTICE + part * part * (3 - 2 * part)
    around = torch.nn.functional.pad(lattice[None, None], (0, 1) * 3, mode="circular")
    grid = (places * (2 / LATTICE) - 1).reshape(1, 1, 1, -1, 3)
    found = torch.nn.functional.grid_sample(around, grid, align_corners=True)
    return found.view(points.shape[:-1])


def _ramp(value: Tensor, stops: list[list[object]]) -> Tensor:
    """Colours [..., 3] between those of the stops (place, colour)."""
    places = torch.tensor([stop[0] for stop in stops])
    colors = torch.tensor([stop[1] for stop in stops])
    upper = torch.searchsorted(places, value.contiguous()).clamp(1, len(stops) - 1)
    start, end = places[upper - 1], places[upper]
    part = ((value - start) / (end - start)).clamp(0, 1)[..., None]
    return colors[upper - 1] * (1 - part) + colors[upper] * part


def _octaves(size: int, scale: float) -> int:
    """As many octaves as the texels of a face can resolve; they are 2 / size wide at its centre. `scale`: cells per
    unit.
    """
    return max(1, int(math.log2(size / (2 * scale))))


def planet(size: int, seed: int = 0) -> Tensor:
    """Oceans, continents with sharp coasts, mountains, ice, clouds and a grid of meridians: detail at every scale."""
    d = directions(size)
    height = 0.5 + 1.6 * (fractal_noise(1.5 * d, _octaves(size, 1.5), seed) - 0.5)
    image = torch.where((height < 0.5)[..., None], _ramp(height, OCEAN), _ramp(height, LAND))
    grain = fractal_noise(size / 8 * d, 2, seed + 1)[..., None]
    image = image * (0.85 + 0.3 * grain)
    ice = (d[..., 1].abs() + 0.8 * (height - 0.5) > 0.9)[..., None]
    image = torch.where(ice, 0.9 + 0.1 * grain, image)
    clouds = (5 * (fractal_noise(2.5 * d + 7, _octaves(size, 2.5), seed + 2) - 0.56)).clamp(0, 0.9)[..., None]
    image = image * (1 - clouds) + clouds
    # Lines every 30 degrees, about two texels wide.
    latitude = torch.rad2deg(torch.asin(d[..., 1].clamp(-1, 1)))
    longitude = torch.rad2deg(torch.atan2(d[..., 0], d[..., 2]))
    width = 90 / size
    near = (_off(latitude) < width) | (_off(longitude) * (1 - d[..., 1] ** 2).sqrt() < width)
    return torch.where(near[..., None], 0.5 * image + 0.5 * torch.tensor([0.95, 0.85, 0.3]), image).clamp(0, 1)


def _off(degrees: Tensor) -> Tensor:
    """The distance to the nearest multiple of 30."""
    return (degrees - 30 * (degrees / 30).round()).abs()


def landscape(size: int, seed: int = 0) -> Tensor:
    """The surroundings of an object: sky with clouds and a sun, hills at the horizon, and a tiled floor."""
    d = directions(size)
    x, y, z = d.unbind(-1)
    sky = _ramp(y, [[0.0, (0.78, 0.86, 0.95)], [0.5, (0.30, 0.52, 0.85)], [1.0, (0.12, 0.28, 0.62)]])
    plane = torch.stack([x, y, z], -1) / (y.clamp_min(0)[..., None] + 0.25)
    clouds = (4 * (fractal_noise(2 * plane, _octaves(size, 4), seed) - 0.5)).clamp(0, 1)[..., None]
    sky = sky * (1 - clouds) + 0.97 * clouds
    sun = d @ torch.nn.functional.normalize(torch.tensor([0.5, 0.65, 0.55]), dim=0)
    sky = torch.where((sun > math.cos(math.radians(6)))[..., None], torch.tensor([1.0, 0.95, 0.7]), sky)
    grain = fractal_noise(6 * d, _octaves(size, 6), seed + 1)
    flat = torch.nn.functional.normalize(d * torch.tensor([1.0, 0.0, 1.0]), dim=-1)
    ridge = 0.9 * (fractal_noise(3 * flat, 5, seed + 2) - 0.38)
    hills = torch.tensor([0.16, 0.24, 0.14]) * (0.5 + grain[..., None])
    scale = 1.5 / (-y).clamp_min(1e-2)
    tile = ((x * scale).floor() + (z * scale).floor()) % 2
    near = torch.where(tile.bool()[..., None], torch.tensor([0.75, 0.36, 0.22]), torch.tensor([0.86, 0.82, 0.72]))
    # Near the horizon, tiles are too small to be resolved.
    fog = (8 * (-y - 0.06)).clamp(0, 1)[..., None]
    floor = (near * fog + torch.tensor([0.80, 0.59, 0.47]) * (1 - fog)) * (0.7 + 0.6 * grain[..., None])
    above = torch.where((y < ridge)[..., None], hills, sky)
    return torch.where((y < 0)[..., None], floor, above).clamp(0, 1)


def from_file(path: Path, size: int) -> Tensor:
    """The cube map of an equirectangular image, clamped to [0, 1]."""
    return equirect_to_cube(load_image(path)[..., :3], size).clamp(0, 1)
