"""A built-in head: its neutral shape, painted skin, and expressions, in millimetres, y up, looking along +z."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.procedural import icosphere, sphere_uvs

HEIGHT_MM = 240.0
_HALF_AXES = (80.0, 0.5 * HEIGHT_MM, 96.0)
# Ratio of the sizes of faces in front and behind.
_CROWDING = 2.2

Triple = tuple[float, float, float]


class _Bump(NamedTuple):
    """A Gaussian in space: its centre, its standard deviations along the axes, and the displacement there.

    A mirrored one has a twin at -x.
    """

    centre: Triple
    widths: Triple
    move: Triple
    mirrored: bool = True


_FEATURES = (
    _Bump((0.0, -6.0, 96.0), (9.0, 20.0, 30.0), (0.0, -2.0, 17.0), False),  # nose
    _Bump((0.0, -22.0, 100.0), (11.0, 9.0, 30.0), (0.0, 0.0, 9.0), False),
    _Bump((26.0, 33.0, 86.0), (22.0, 8.0, 30.0), (0.0, 0.0, 6.0)),  # brows
    _Bump((30.0, 15.0, 82.0), (14.0, 9.0, 30.0), (0.0, 0.0, -10.0)),  # sockets
    _Bump((30.0, 14.0, 76.0), (9.0, 7.0, 20.0), (0.0, 0.0, 6.0)),  # eyes
    _Bump((0.0, -46.0, 90.0), (17.0, 5.0, 30.0), (0.0, 0.0, 5.0), False),  # lips
    _Bump((0.0, -58.0, 88.0), (15.0, 5.0, 30.0), (0.0, 0.0, 5.0), False),
    _Bump((0.0, -92.0, 62.0), (18.0, 16.0, 30.0), (0.0, -2.0, 14.0), False),  # chin
    _Bump((48.0, -6.0, 68.0), (18.0, 14.0, 25.0), (4.0, 0.0, 4.0)),  # cheekbones
    _Bump((78.0, 4.0, -4.0), (14.0, 22.0, 12.0), (9.0, 0.0, -4.0)),  # ears
    _Bump((64.0, -70.0, 40.0), (30.0, 30.0, 40.0), (-7.0, 0.0, 0.0)),  # jaw
)
_EXPRESSIONS: dict[str, tuple[_Bump, ...]] = {
    "smile": (
        _Bump((24.0, -52.0, 80.0), (14.0, 12.0, 30.0), (9.0, 8.0, -5.0)),
        _Bump((42.0, -24.0, 72.0), (15.0, 14.0, 30.0), (2.0, 5.0, 4.0)),
    ),
    "brows_up": (_Bump((25.0, 36.0, 88.0), (22.0, 12.0, 30.0), (0.0, 8.0, -1.0)),),
    "frown": (_Bump((13.0, 35.0, 90.0), (11.0, 10.0, 30.0), (-5.0, -4.0, 1.0)),),
    "pucker": (
        _Bump((24.0, -52.0, 80.0), (12.0, 12.0, 30.0), (-9.0, 0.0, 4.0)),
        _Bump((0.0, -52.0, 92.0), (14.0, 12.0, 30.0), (0.0, 0.0, 8.0), False),
    ),
    "puff": (_Bump((48.0, -44.0, 62.0), (18.0, 18.0, 25.0), (8.0, 0.0, 6.0)),),
    "smirk": (_Bump((26.0, -50.0, 80.0), (16.0, 14.0, 30.0), (8.0, 7.0, -4.0), False),),
}
_JAW_DEGREES, _HINGE = 11.0, (0.0, -8.0, 8.0)


def head(level: int = 4, texture_height: int = 512) -> Mesh:
    """The neutral head, closed, with finer faces in front and a painted texture.

    Args:
        level: of the icosphere that it is made of: 10 * 4**level + 2 vertices.
        texture_height: rows of the texture, which is twice as wide.

    >>> from lumigrad.fit.capture import head
    >>> mesh = head(level=2, texture_height=32)
    >>> low, high = mesh.bounds()
    >>> len(mesh.positions), round((high - low)[1].item(), -1)
    (162, 240.0)
    """
    ball = icosphere(level)
    directions = _crowded(ball.positions.double())
    uvs, uv_faces = sphere_uvs(directions, ball.faces)
    return Mesh(_shape(directions).float(), ball.faces, uvs.float(), uv_faces, _skin(texture_height))


def expressions(neutral: Tensor) -> dict[str, Tensor]:
    """Offsets [V, 3] of each expression of the head at its strongest, by name: blend shapes.

    Args:
        neutral: positions [V, 3] of `head()`.

    >>> from lumigrad.fit.capture import expressions, head
    >>> offsets = expressions(head(level=3, texture_height=16).positions)
    >>> sorted(offsets)
    ['brows_up', 'frown', 'jaw', 'pucker', 'puff', 'smile', 'smirk']
    >>> 10 < offsets["jaw"].norm(dim=1).max().item() < 25  # millimetres
    True
    """
    found = {name: _displacement(neutral, bumps) for name, bumps in _EXPRESSIONS.items()}
    arm = neutral - neutral.new_tensor(_HINGE)
    turn = torch.linalg.cross(neutral.new_tensor((math.radians(_JAW_DEGREES), 0.0, 0.0)).expand_as(arm), arm)
    below = torch.sigmoid((-54.0 - neutral[:, 1:2]) / 4) * torch.sigmoid((neutral[:, 2:] - 5.0) / 12)
    found["jaw"] = below * turn
    return found


def _crowded(directions: Tensor) -> Tensor:
    """Directions [..., 3] drawn towards +z: a Moebius map, which keeps the shape of small triangles."""
    x, y, z = directions.unbind(-1)
    k = _CROWDING
    # The plane of a stereographic projection from -z, scaled by 1 / k and projected back.
    norm = k * k * (1 + z) + (1 - z)
    return torch.stack([2 * k * x, 2 * k * y, k * k * (1 + z) - (1 - z)], -1) / norm[..., None]


def _displacement(places: Tensor, bumps: tuple[_Bump, ...]) -> Tensor:
    total = torch.zeros_like(places)
    for bump in bumps:
        for side in (1.0, -1.0) if bump.mirrored else (1.0,):
            mirror = places.new_tensor((side, 1.0, 1.0))
            away = (places - mirror * places.new_tensor(bump.centre)) / places.new_tensor(bump.widths)
            weight = torch.exp(-0.5 * away.square().sum(-1, keepdim=True))
            total = total + weight * mirror * places.new_tensor(bump.move)
    return total


def _shape(directions: Tensor) -> Tensor:
    """The surface of the neutral head at directions [..., 3]."""
    places = directions * directions.new_tensor(_HALF_AXES)
    return places + _displacement(places, _FEATURES)


def _mix(image: Tensor, color: Triple, weight: Tensor) -> Tensor:
    weight = weight.clamp(0, 1)[..., None]
    return image * (1 - weight) + image.new_tensor(color) * weight


def _noise(size: tuple[int, int], cells: int, generator: torch.Generator) -> Tensor:
    """Smooth noise [H, W] of mean 0, `cells` from top to bottom; continuous across the seam."""
    grid = torch.randn(1, 1, cells, 2 * cells, generator=generator)
    grid = torch.nn.functional.pad(grid, (2, 2, 2, 2), mode="circular")
    step = size[0] // cells
    large = torch.nn.functional.interpolate(grid, scale_factor=step, mode="bicubic", align_corners=False)
    large = large[0, 0, 2 * step : -2 * step, 2 * step : -2 * step]
    return torch.nn.functional.interpolate(large[None, None], size=size, mode="bilinear")[0, 0]


def _ellipse(places: Tensor, centre: tuple[float, float], radii: tuple[float, float], soft: float = 0.15) -> Tensor:
    """1 inside an ellipse of x and y on the front of the head, 0 outside; [H, W]."""
    x, y = (places[..., 0] - centre[0]) / radii[0], (places[..., 1] - centre[1]) / radii[1]
    return torch.sigmoid((1 - torch.hypot(x, y)) / soft) * (places[..., 2] > 0)


def _skin(height: int) -> Tensor:
    """The texture [H, 2 H, 3], display-encoded: mottled skin with freckles, brows, eyes, lips and hair."""
    generator = torch.Generator().manual_seed(7)
    theta = (torch.arange(height) + 0.5) * (math.pi / height)
    phi = (torch.arange(2 * height) + 0.5) * (math.pi / height) - math.pi
    theta, phi = torch.meshgrid(theta, phi, indexing="ij")
    places = _shape(torch.stack([theta.sin() * phi.sin(), theta.cos(), theta.sin() * phi.cos()], -1))
    x, y, z = places.unbind(-1)
    noises = [_noise((height, 2 * height), min(cells, height), generator) for cells in (8, 24, 64, 160)]
    mottle = 0.5 * noises[0] + 0.6 * noises[1] + 0.7 * noises[2] + 0.5 * noises[3]
    image = torch.ones_like(places) * places.new_tensor((0.80, 0.61, 0.51))
    image = image + 0.025 * mottle[..., None] * places.new_tensor((0.8, 1.1, 1.1))
    for side in (-1.0, 1.0):
        image = _mix(image, (0.82, 0.48, 0.42), 0.5 * _ellipse(places, (44.0 * side, -20.0), (20.0, 18.0), 0.4))
    image = _freckled(image, places, generator)
    stroke = torch.sin(2.2 * x + 0.9 * y + 2 * noises[2]) > -0.4
    for side in (-1.0, 1.0):
        arch = y - 4 * torch.cos((x - 28 * side) / 22)
        brow = torch.sigmoid((1 - torch.hypot((x - 28 * side) / 19, (arch - 31) / 4.5)) / 0.12) * (z > 0)
        image = _mix(image, (0.22, 0.15, 0.11), brow * (0.6 + 0.4 * stroke))
        image = _mix(image, (0.35, 0.22, 0.18), _ellipse(places, (30 * side, 14.0), (13.0, 7.5)))
        image = _mix(image, (0.93, 0.92, 0.90), _ellipse(places, (30 * side, 14.0), (11.5, 5.5)))
        image = _mix(image, (0.25, 0.38, 0.42), _ellipse(places, (30 * side, 14.0), (5.0, 5.0)))
        image = _mix(image, (0.05, 0.05, 0.06), _ellipse(places, (30 * side, 14.0), (2.4, 2.4)))
        image = _mix(image, (0.45, 0.25, 0.22), _ellipse(places, (5.5 * side, -30.0), (3.0, 1.8), 0.3))
    image = _mix(image, (0.70, 0.33, 0.33), _ellipse(places, (0.0, -52.0), (24.0, 9.5)))
    image = _mix(image, (0.38, 0.14, 0.15), _ellipse(places, (0.0, -52.0), (23.0, 1.4), 0.3))
    hairline = y - 78 - 0.25 * x.abs() + 1.1 * (z - 40).clamp(max=0).abs() - 40 * torch.sigmoid((-z - 10) / 10)
    streaks = torch.sin(0.55 * x + 0.35 * z + 3 * noises[1] + 1.5 * noises[2])
    hair = places.new_tensor((0.25, 0.17, 0.11)) * (1 + 0.35 * streaks + 0.15 * noises[3])[..., None]
    weight = torch.sigmoid((hairline + 4 * noises[2]) / 2)[..., None]
    return (image * (1 - weight) + hair * weight).clamp(0.02, 0.98)


def _freckled(image: Tensor, places: Tensor, generator: torch.Generator, count: int = 200) -> Tensor:
    """Small brown spots, anywhere on the front; [H, W, 3]."""
    height = len(places)
    rows = (height * (0.28 + 0.57 * torch.rand(count, generator=generator))).long().tolist()
    columns = (height * (0.7 + 0.6 * torch.rand(count, generator=generator))).long().tolist()
    radii = (0.9 + 1.4 * torch.rand(count, generator=generator)).tolist()
    depths = (0.25 + 0.55 * torch.rand(count, generator=generator)).tolist()
    reach = max(2, height // 24)
    weight = torch.zeros(places.shape[:2])
    for row, column, radius, depth in zip(rows, columns, radii, depths, strict=True):
        near = (slice(max(0, row - reach), row + reach), slice(column - reach, column + reach))
        away = (places[near] - places[row, column]).square().sum(-1)
        weight[near] = torch.maximum(weight[near], depth * torch.exp(-0.5 * away / radius**2))
    return _mix(image, (0.46, 0.28, 0.19), weight)
