"""Small scenes whose exact image and gradient are known, in families by the difficulty of their visibility.

Every scene is seen by a perspective camera. Gradients are taken with respect to its parameters: the vertices in world
space, or the pose or intrinsics of the camera. Colours are constant on every surface, or vary smoothly over it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

import lumigrad as lg
from benchmarks import meshes
from benchmarks.gradients.clipping import exact_image

SIZE = (24, 28)
NEAR, FAR = 0.25, 20.0


@dataclass(frozen=True)
class Scene:
    """Triangles, their appearance, and the parameters that move them.

    Attributes:
        family, name: the kind of scene, and its name within that kind.
        parameters: the variables of gradients, float64, any shape.
        positions: from parameters to clip-space positions [V, 4], in the dtype of the parameters.
        tri: [T, 3].
        color: [T, C], constant on each triangle, or [T, 3, C] at its corners, interpolated in perspective.
        background: [C].
        size: (H, W).
        creased: colours jump at edges that two triangles share.
    """

    family: str
    name: str
    parameters: Tensor
    positions: Callable[[Tensor], Tensor]
    tri: Tensor
    color: Tensor
    background: Tensor
    size: tuple[int, int] = SIZE
    creased: bool = False

    @property
    def smooth(self) -> bool:
        return self.color.dim() == 3

    def shade(self, frags: lg.Fragments) -> Tensor:
        """The colours [..., C] of fragments, in the dtype of their barycentrics, with the shading's gradients."""
        color, background = self.color.to(frags.bary.dtype), self.background.to(frags.bary.dtype)
        triangle = frags.tri.long().clamp(min=0)
        if not self.smooth:
            shown = color[triangle]
        else:
            u, v = frags.bary.unbind(-1)
            shown = (torch.stack((u, v, 1 - u - v), -1)[..., None] * color[triangle]).sum(-2)
        return torch.where((frags.tri >= 0)[..., None], shown, background)

    def exact(self, pos: Tensor) -> Tensor:
        """The image [H, W, C] averaged over the squares of its pixels, differentiable in float64."""
        return exact_image(pos, self.tri, self.color, self.background, self.size)

    def one_color(self) -> bool:
        return bool((self.color == self.color[:1]).all()) and not self.smooth


# ---- The camera: at the origin, looking along -z, one unit of x at depth 1 being half of the image's shorter side


def project(
    points: Tensor, size: tuple[int, int] = SIZE, focal: Tensor | float = 1.0, center: Tensor | None = None
) -> Tensor:
    """Clip-space positions [V, 4] of points [V, 3]; focal and center (of x and y) in half shorter sides."""
    height, width = size
    x, y, z = points.unbind(-1)
    shift = points.new_zeros(2) if center is None else center
    aspect = min(size) / width, min(size) / height
    x = aspect[0] * (focal * x - shift[0] * z)
    y = aspect[1] * (focal * y - shift[1] * z)
    depth = (-z * (FAR + NEAR) - 2 * FAR * NEAR) / (FAR - NEAR)
    return torch.stack((x, y, depth, -z), -1)


def place(pixels: Tensor, depth: Tensor | float, size: tuple[int, int] = SIZE) -> Tensor:
    """Points [..., 3] seen at places [..., 2], in pixels to the right and down, at depths [...]."""
    height, width = size
    depth = torch.as_tensor(depth, dtype=pixels.dtype).expand(pixels.shape[:-1])
    scale = depth * (2 / min(size))
    return torch.stack(((pixels[..., 0] - width / 2) * scale, (height / 2 - pixels[..., 1]) * scale, -depth), -1)


# ---- Building blocks


class Draw:
    """Random numbers of one scene."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.generator, dtype=torch.float64)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def places(self, count: int, margin: float = 3.0) -> Tensor:
        """Random places [count, 2] in the image, in pixels."""
        return margin + self.uniform(0, 1, count, 2) * (torch.tensor([SIZE[1], SIZE[0]]) - 2 * margin)

    def triangles(self, centers: Tensor, radius: float) -> Tensor:
        """Triangles [T, 3, 2] around places, none too thin."""
        angle = self.uniform(0, 2 * math.pi, len(centers), 1) + torch.arange(3) * (2 * math.pi / 3)
        angle = angle + self.uniform(-0.5, 0.5, *angle.shape)
        reach = radius * self.uniform(0.7, 1.2, *angle.shape)
        return centers[:, None] + torch.stack((reach * angle.cos(), reach * angle.sin()), -1)

    def strip(self, path: Tensor, width: float) -> tuple[Tensor, Tensor]:
        """A band of the given width along a path [K, 2]: places [2 K, 2], triangles."""
        along = torch.nn.functional.normalize(path.roll(-1, 0)[:-1] - path[:-1], dim=1)
        along = torch.cat((along, along[-1:]))
        side = torch.stack((-along[:, 1], along[:, 0]), 1) * (width / 2)
        k = torch.arange(len(path) - 1)
        tri = torch.stack((2 * k, 2 * k + 1, 2 * k + 3, 2 * k, 2 * k + 3, 2 * k + 2), 1).view(-1, 3)
        return torch.stack((path + side, path - side), 1).view(-1, 2), tri


def soup(pixels: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """Triangles that share no vertices: points [3 T, 3] and indices, of places [T, 3, 2] and depths [T] or [T, 3]."""
    depth = depth.expand(len(pixels), 3) if depth.dim() == 2 else depth[:, None].expand(-1, 3)
    return place(pixels, depth).view(-1, 3), torch.arange(3 * len(pixels)).view(-1, 3)


def joined(*surfaces: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Several surfaces merged: points, triangles, and the surface number of each triangle."""
    points, triangles, owners, first = [], [], [], 0
    for k, (surface, tri) in enumerate(surfaces):
        points.append(surface)
        triangles.append(tri + first)
        owners.append(torch.full((len(tri),), k))
        first += len(surface)
    return torch.cat(points), torch.cat(triangles), torch.cat(owners)


def wall(depth: float) -> tuple[Tensor, Tensor]:
    """A rectangle that fills the view at a depth."""
    corners = torch.tensor([[-9.0, -9], [SIZE[1] + 9, -9], [SIZE[1] + 9, SIZE[0] + 9], [-9, SIZE[0] + 9]]).double()
    return place(corners, depth), torch.tensor([[0, 1, 2], [0, 2, 3]])


def ball(center: Tensor, radius: float, triangles: int) -> tuple[Tensor, Tensor]:
    points, tri = meshes.sphere(triangles)
    return center + radius * points.double(), tri.long()


def scene(draw: Draw, points: Tensor, tri: Tensor, owner: Tensor | None = None, tie: Tensor | None = None) -> Scene:
    """A scene in which every surface has its own colour (owner [T]; by default, every triangle is a surface).

    tie [V', V]: the weights that blend the points, which are the parameters, into vertices.
    """
    owner = torch.arange(len(tri)) if owner is None else owner
    color = draw.uniform(0, 1, int(owner.max()) + 1, 3)[owner]

    def positions(parameters: Tensor) -> Tensor:
        return project(parameters if tie is None else tie.to(parameters.dtype) @ parameters)

    return Scene("", "", points.double(), positions, tri, color, draw.uniform(0, 1, 3))


# ---- The families


def edge(draw: Draw) -> Scene:
    """One triangle of one colour, some pixels large."""
    return scene(draw, *soup(draw.triangles(draw.places(1, 10), 8), draw.uniform(2, 3, 1, 3)))


def occluder(draw: Draw) -> Scene:
    """A triangle in front of a wall."""
    return scene(draw, *joined(soup(draw.triangles(draw.places(1, 8), 7), draw.uniform(2, 3, 1, 3)), wall(5.0)))


def overlap(draw: Draw) -> Scene:
    """Six triangles, one behind the other."""
    depth = 2 + 0.5 * torch.arange(6)[:, None] + draw.uniform(0, 0.4, 6, 3)
    return scene(draw, *soup(draw.triangles(draw.places(6, 6), 7), depth))


def sphere(draw: Draw) -> Scene:
    """Two spheres of 800 triangles of about a pixel each, one in front of the other."""
    centers = place(draw.places(2, 8), torch.tensor([3.0, 6.0]).double())
    return scene(draw, *joined(ball(centers[0], 1.4, 800), ball(centers[1], 3.4, 800)))


def thin(width: float) -> Callable[[Draw], Scene]:
    def make(draw: Draw) -> Scene:
        start = draw.places(4)
        angle = draw.uniform(0, 2 * math.pi, 4)
        along = torch.stack((angle.cos(), angle.sin()), 1)
        tip = start + along * draw.uniform(8, 14, 4, 1)
        base = torch.stack((-along[:, 1], along[:, 0]), 1) * (width / 2)
        depth = 2 + torch.arange(4)[:, None] + draw.uniform(0, 0.5, 4, 3)
        return scene(draw, *soup(torch.stack((start + base, start - base, tip), 1), depth))

    make.__doc__ = f"Four triangles about 10 pixels long and {width:g} wide at the base."
    return make


def ribbon(draw: Draw) -> Scene:
    """A curved band half a pixel wide in front of a wall."""
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    phase = draw.uniform(0, 6, 2)
    path = torch.stack((4 + 20 * t, 12 + 6 * torch.sin(5 * t + phase[0]) + 2 * torch.cos(3 * t + phase[1])), 1)
    places, tri = draw.strip(path, 0.5)
    return scene(draw, *joined((place(places, 3 + 0.5 * torch.sin(places[:, 0])), tri), wall(6.0)))


def gap(draw: Draw) -> Scene:
    """Two halves of a wall, .3 pixels apart, in front of another wall."""
    middle, angle = draw.places(1, 9)[0], draw.uniform(0, math.pi, 1)
    along = torch.cat((angle.cos(), angle.sin()))
    side = torch.stack((-along[1], along[0]))
    halves = []
    for sign in (1, -1):
        near, far = middle + sign * 0.15 * side, middle + sign * 9 * side
        corners = torch.stack((near - 9 * along, near + 8 * along, far + 9 * along, far - 8 * along))
        halves.append((place(corners, draw.uniform(2.5, 3.5, 4)), torch.tensor([[0, 1, 2], [0, 2, 3]])))
    return scene(draw, *joined(*halves, wall(6.0)))


def confetti(draw: Draw) -> Scene:
    """150 triangles smaller than a pixel."""
    depth = draw.uniform(2, 6, 150, 1) + draw.uniform(0, 0.02, 150, 3)
    return scene(draw, *soup(draw.triangles(draw.places(150, 4), 0.5), depth))


def crease(draw: Draw) -> Scene:
    """A cube, each side in its own colour."""
    corners = torch.tensor([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]).double()
    sides = torch.tensor([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    points = corners @ _rotation(draw.normal(3)).T * 1.1 + place(draw.places(1, 10)[0], 3.6)
    tri = torch.stack((sides[:, [0, 1, 2]], sides[:, [0, 2, 3]]), 1).view(-1, 3)
    return replace(scene(draw, points, tri, torch.arange(6).repeat_interleave(2)), creased=True)


def intersection(draw: Draw) -> Scene:
    """Four triangles that cross one another."""
    return scene(draw, *soup(draw.triangles(draw.places(4, 8), 10), draw.uniform(2, 4, 4, 3)))


def t_junction(draw: Draw) -> Scene:
    """A triangle two of whose edges each meet a surface of two triangles with a vertex inside the edge.

    The T-junction vertices move with the ends of the edge, so that no gap opens.
    """
    pixels = draw.triangles(draw.places(1, 10), 8)[0]
    middle = pixels.mean(0)
    opposite = pixels + 0.9 * (pixels.roll(-1, 0) + pixels - 2 * middle)
    points = place(torch.cat((pixels, opposite[:2])), draw.uniform(2.5, 3.5, 5))
    rows, tri = list(torch.eye(5).double()), [[0, 1, 2]]
    for k in range(2):
        share = draw.uniform(0.3, 0.7, 1)
        start, end = k, (k + 1) % 3
        rows += [rows[start], rows[end], (1 - share) * rows[start] + share * rows[end]]
        first = len(rows) - 3
        tri += [[first, first + 2, 3 + k], [first + 2, first + 1, 3 + k]]
    return scene(draw, points, torch.tensor(tri), torch.tensor([0, 1, 1, 2, 2]), torch.stack(rows))


def border(draw: Draw) -> Scene:
    """Triangles that reach beyond the borders of the image."""
    height, width = SIZE
    centers = torch.tensor([[0.0, 5], [width, 15], [10, 0], [18, height]]).double() + draw.uniform(-2, 2, 4, 2)
    depth = 2 + 0.5 * torch.arange(4)[:, None] + draw.uniform(0, 0.4, 4, 3)
    return scene(draw, *soup(draw.triangles(centers, 8), depth))


def near(draw: Draw) -> Scene:
    """Triangles that cross the near plane, with vertices behind the eye."""
    angle = draw.uniform(0, 2 * math.pi, 2, 1)
    side = torch.cat((angle.cos(), angle.sin()), 1)
    far = torch.stack([place(draw.places(2, 4), draw.uniform(1.5, 4, 2)) for _ in range(2)])
    behind = torch.cat((0.3 * side, draw.uniform(0.1, 0.6, 2, 1)), 1)
    return scene(draw, torch.cat((far, behind[:, None]), 1).view(-1, 3), torch.arange(6).view(2, 3))


def _still_life(draw: Draw) -> Scene:
    """Two spheres of medium-sized triangles and some triangles, in front of a wall."""
    centers = place(draw.places(2, 8), torch.tensor([3.0, 5.0]).double())
    pieces = soup(draw.triangles(draw.places(3, 5), 5), draw.uniform(2, 7, 3, 1) + draw.uniform(0, 0.5, 3, 3))
    return scene(draw, *joined(ball(centers[0], 1.0, 72), ball(centers[1], 2.2, 200), pieces, wall(9.0)))


def camera(draw: Draw) -> Scene:
    """The pose of the camera: a rotation and a shift, six numbers."""
    still = _still_life(draw)

    def positions(pose: Tensor) -> Tensor:
        middle = pose.new_tensor([0.0, 0.0, -4.0])
        return project((still.parameters.to(pose.dtype) - middle) @ _rotation(pose[:3]).T + middle + pose[3:])

    return replace(still, parameters=torch.zeros(6).double(), positions=positions)


def intrinsics(draw: Draw) -> Scene:
    """The focal length and the principal point, three numbers."""
    still = _still_life(draw)

    def positions(lens: Tensor) -> Tensor:
        return project(still.parameters.to(lens.dtype), focal=1 + lens[0], center=lens[1:])

    return replace(still, parameters=torch.zeros(3).double(), positions=positions)


def _rotation(turn: Tensor) -> Tensor:
    """The rotation [3, 3] about an axis, by an angle equal to the axis's length."""
    x, y, z = turn.unbind()
    zero = torch.zeros_like(x)
    return torch.linalg.matrix_exp(torch.stack((zero, -z, y, z, zero, -x, -y, x, zero)).view(3, 3))


FAMILIES: dict[str, Callable[[Draw], Scene]] = {
    "edge": edge,
    "occluder": occluder,
    "overlap": overlap,
    "sphere": sphere,
    "thin .05": thin(0.05),
    "thin .2": thin(0.2),
    "thin .5": thin(0.5),
    "thin .9": thin(0.9),
    "ribbon": ribbon,
    "gap": gap,
    "confetti": confetti,
    "crease": crease,
    "intersection": intersection,
    "t-junction": t_junction,
    "border": border,
    "near plane": near,
    "camera": camera,
    "intrinsics": intrinsics,
}


def make(family: str, seed: int, smooth: bool = False) -> Scene:
    """Makes a scene of a family. smooth: colours vary over every surface."""
    number = list(FAMILIES).index(family)
    made = FAMILIES[family](Draw(1000 * number + seed))
    made = replace(made, family=family, name=f"{family} {seed}{' smooth' if smooth else ''}")
    return varied(made, seed) if smooth else made


def varied(flat: Scene, seed: int) -> Scene:
    """The same scene with colours that vary over the surfaces, by up to .4, and agree on both sides of shared edges."""
    draw = Draw(seed)
    places = flat.positions(flat.parameters)[:, [0, 1, 3]].detach()
    waves = torch.sin(places @ draw.normal(3, 3) + draw.uniform(0, 6, 3))
    return replace(flat, color=flat.color[:, None] + 0.4 * waves[flat.tri])
