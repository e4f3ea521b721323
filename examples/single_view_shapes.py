"""Procedural shapes for `single_view.py`, and pictures of them: unions of superquadrics in four families.

All are symmetric in x, stand upright along y, look along +z, and fill the ball of radius one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

import lumigrad as lg
from lumigrad.scene import Lighting, Mesh, Meshes, PerspectiveCamera

SIZE = 64  # of pictures
VIEWS = 3  # of each shape: the picture's own view, and two more
DISTANCE, FOV, ELEVATIONS = 4.0, 32.0, (0.0, 40.0)  # of cameras, which look at the middle
BOX, ROUND = 0.12, 1.0  # exponents of a box with slightly rounded edges, and of an ellipsoid


@dataclass(frozen=True)
class Parts:
    """A union of superquadrics.

    Attributes:
        centres, radii: [P, 3].
        exponents: [P, 2], of vertical and of horizontal sections; 1 for ellipses, near 0 for rectangles.
        tapers: [P], the growth of sections towards +z, relative to the middle.
    """

    centres: Tensor
    radii: Tensor
    exponents: Tensor
    tapers: Tensor

    def mesh(self) -> Mesh:
        """A closed mesh for each part."""
        corners, faces = _cube(4)
        directions = corners.expand(len(self.radii), -1, -1)
        vertical = self.exponents[:, None, 0]
        reach = _level(directions, self.exponents[:, None]) ** (-0.5 * vertical)
        local = directions * reach[..., None] * self.radii[:, None]
        width = 1 + self.tapers[:, None] * local[..., 2] / self.radii[:, None, 2]
        local = torch.cat([local[..., :2] * width[..., None], local[..., 2:]], -1)
        first = len(corners) * torch.arange(len(self.radii))
        positions = (local + self.centres[:, None]).reshape(-1, 3)
        return Mesh(positions, (faces + first[:, None, None]).reshape(-1, 3))

    def in_the_ball(self) -> Parts:
        """Moved and scaled to fill the ball of radius one."""
        points = self.mesh().positions
        middle = 0.5 * (points.amin(0) + points.amax(0))
        scale = float((points - middle).norm(dim=1).max())
        return replace(self, centres=(self.centres - middle) / scale, radii=self.radii / scale)


def _level(unit: Tensor, exponents: Tensor) -> Tensor:
    """Barr's inside-outside function at points in units of the radii: 1 on the surface, less inside.

    Source: Barr 1981, "Superquadrics and Angle-Preserving Transformations".
    """
    vertical, horizontal = exponents.unbind(-1)
    x, y, z = unit.abs().clamp_min(1e-6).unbind(-1)
    ring = (x ** (2 / horizontal) + z ** (2 / horizontal)) ** (horizontal / vertical)
    return ring + y ** (2 / vertical)


@cache
def _cube(cells: int) -> tuple[Tensor, Tensor]:
    """Vertices on the faces of the cube [-1, 1]^3, and outward triangles."""
    i, j = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
    square = torch.stack([torch.stack([i + a, j + b], -1) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))], -2)
    quads = []
    for axis in range(3):
        for side in (0, cells):
            level = torch.full_like(square[..., :1], side)
            quad = torch.cat([level, square], -1).roll(axis, -1)
            quads.append(quad if side else quad.flip(-2))
    corners = torch.cat([quad.reshape(-1, 3) for quad in quads])
    places, index = torch.unique(corners, dim=0, return_inverse=True)
    index = index.view(-1, 4)
    return 2 * places / cells - 1, torch.cat([index[:, [0, 1, 2]], index[:, [0, 2, 3]]])


Draw = Callable[[float, float], float]  # a number between two


def _supershape(draw: Draw) -> list[tuple[float, ...]]:
    """One rounded or boxy body that narrows to a side."""
    return [(0, 0, 0, draw(0.45, 1), draw(0.35, 1), 1, draw(0.2, 1.3), draw(0.2, 1.3), draw(-0.7, 0.2))]


def _blocks(draw: Draw) -> list[tuple[float, ...]]:
    """A long block with a shorter one on top, further back, like a car or a truck."""
    width, height, top = draw(0.3, 0.6), draw(0.15, 0.35), draw(0.15, 0.45)
    length = draw(0.25, 0.6)
    back = length - 1 + draw(0, 0.3)
    body = (0, 0, 0, width, height, 1, BOX, BOX, 0)
    return [body, (0, height + top, back, draw(0.7, 1) * width, top, length, BOX, BOX, 0)]


def _chair(draw: Draw) -> list[tuple[float, ...]]:
    """A seat, four legs, a back, and sometimes arms."""
    width, depth, thick = draw(0.4, 0.7), draw(0.4, 0.65), draw(0.05, 0.12)
    leg, high, back = draw(0.05, 0.1), draw(0.25, 0.55), draw(0.3, 0.7)
    parts = [(0, 0, 0, width, thick, depth, BOX, BOX, 0)]
    for x in (-1, 1):
        parts += [(x * (width - leg), -high, z * (depth - leg), leg, high, leg, BOX, BOX, 0) for z in (-1, 1)]
    parts.append((0, back, leg - depth, width, back, leg, BOX, BOX, 0))
    if draw(0, 1) < 0.4:
        arm = draw(0.15, 0.25)
        parts += [(x * (width - leg), arm, 0, leg, arm, depth, BOX, BOX, 0) for x in (-1, 1)]
    return parts


def _creature(draw: Draw) -> list[tuple[float, ...]]:
    """A body on four legs, with a head in front."""
    width, height, head = draw(0.2, 0.4), draw(0.22, 0.4), draw(0.16, 0.32)
    leg, high = draw(0.06, 0.12), draw(0.2, 0.5)
    rise = draw(0.1, 0.6)
    parts = [(0, 0, 0, width, height, 0.75, ROUND, ROUND, draw(-0.2, 0.4))]
    for x in (-1, 1):
        parts += [(x * 0.6 * width, -high, z, leg, high + 0.1, leg, 0.4, ROUND, 0) for z in (-0.45, 0.45)]
    neck = (0, 0.5 * rise, 0.65, 0.5 * head, 0.5 * rise + 0.15, 0.6 * head, 0.5, ROUND, 0)
    return [*parts, neck, (0, rise, 0.75, head, head, draw(1, 1.7) * head, ROUND, ROUND, -0.3)]


FAMILIES: dict[str, Callable[[Draw], list[tuple[float, ...]]]] = {
    "supershapes": _supershape,
    "blocks": _blocks,
    "chairs": _chair,
    "creatures": _creature,
}


def shape(number: int) -> Parts:
    """The shape with a given number: the families take turns."""
    generator = torch.Generator().manual_seed(number)

    def draw(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    rows = torch.tensor(list(FAMILIES.values())[number % len(FAMILIES)](draw))
    return Parts(rows[:, :3], rows[:, 3:6], rows[:, 6:8], rows[:, 8]).in_the_ball()


class Batch(NamedTuple):
    """Shapes [B], each seen from `VIEWS` directions.

    Attributes:
        numbers: of the shapes [B].
        pictures: grey and coverage, [B, 2, H, W], of the first view.
        masks: [B, VIEWS, H, W].
        azimuths, elevations: of the cameras, degrees [B, VIEWS].
    """

    numbers: Tensor
    pictures: Tensor
    masks: Tensor
    azimuths: Tensor
    elevations: Tensor

    @property
    def camera(self) -> PerspectiveCamera:
        """[B * VIEWS]."""
        return cameras(self.azimuths.flatten(), self.elevations.flatten())


def cameras(azimuths: Tensor, elevations: Tensor) -> PerspectiveCamera:
    return PerspectiveCamera.orbit(azimuths, elevations, DISTANCE, FOV, (SIZE, SIZE))


@torch.no_grad()
def photograph(numbers: list[int]) -> Batch:
    """Shapes from random directions that depend on the first number: meshes of all sizes, drawn in one call."""
    generator = torch.Generator().manual_seed(numbers[0])
    azimuths = 360 * torch.rand(len(numbers), VIEWS, generator=generator)
    low, high = ELEVATIONS
    elevations = low + (high - low) * torch.rand(len(numbers), VIEWS, generator=generator)
    camera = cameras(azimuths.flatten(), elevations.flatten())
    meshes = Meshes.join([mesh for n in numbers for mesh in [shape(n).mesh()] * VIEWS])
    packed = meshes.packed
    clip = camera.project(meshes.positions_padded())[meshes.vertices.mask(packed.positions.device)]
    grey = Lighting(headlight=0.0).shade(packed.positions, packed.vertex_normals(), camera.position[:1])[0]
    fine = (2 * SIZE, 2 * SIZE)  # four samples per pixel
    frags = lg.rasterize(clip, packed.faces, fine, meshes.ranges, derivatives=False, attributes=grey)
    inside = (frags.tri >= 0)[:, None].float()
    image = torch.cat([frags.attributes[..., 0][:, None] * inside, inside], 1)
    image = torch.nn.functional.avg_pool2d(image, 2).view(len(numbers), VIEWS, 2, SIZE, SIZE)
    return Batch(torch.tensor(numbers), image[:, 0], image[:, :, 1], azimuths, elevations)
