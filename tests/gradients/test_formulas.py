"""The definitions of the gradient methods against their papers' formulas, pixel by pixel in plain Python."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from meshes import icosphere, random_triangles, view_mesh
from ops_common import random, scaled_error
from torch import Tensor

import lumigrad as lg
from lumigrad import Fragments, reference


class Scene(NamedTuple):
    pos: Tensor  # [V, 4]
    tri: Tensor
    frags: Fragments
    color: Tensor  # [1, H, W, 2]
    grad: Tensor


def crossing_triangles() -> tuple[Tensor, Tensor]:
    """Triangles in perspective that pass through one another, before a third one."""
    pos = [
        [-0.9, -0.8, 0.3, 1.0], [1.9, -1.1, -0.9, 2.1], [0.1, 1.1, 0.1, 1.3],
        [0.8, -0.9, 0.2, 1.1], [-1.5, -0.2, -0.7, 1.8], [0.3, 1.0, 0.3, 1.2],
        [-1.9, 1.6, 1.2, 2.0], [1.8, 1.7, 1.1, 1.9], [0.1, -1.7, 1.3, 2.0],
    ]  # fmt: skip
    return torch.tensor(pos, dtype=torch.float64), torch.arange(9).view(3, 3)


def scene(name: str) -> Scene:
    if name == "sphere":
        points, tri = icosphere(1)
        pos, size = view_mesh(points.double(), 25, 20), (13, 16)
    elif name == "crossing":
        (pos, tri), size = crossing_triangles(), (14, 12)
    else:
        pos, tri = random_triangles(8, seed=4, size=1.2)
        pos, size = pos.double(), (12, 15)
    frags = lg.rasterize(pos, tri, size)
    color, grad = (random(1, *size, 2, seed=seed, dtype=torch.float64) for seed in (1, 2))
    return Scene(pos, tri.long(), frags, color, grad)


SCENES = ["sphere", "crossing", "loose"]


def gradient(method: str, s: Scene, **options: object) -> Tensor:
    pos = s.pos.clone().requires_grad_()
    out = getattr(reference, method)(s.color, s.frags, pos, s.tri, **options)
    return torch.autograd.grad((out * s.grad).sum(), pos)[0]


# ---- Geometry on the screen, by division --------------------------------------------------------------------


def screen(pos: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixel coordinates and depth [.., 3]."""
    x, y, z, w = pos.unbind(-1)
    return torch.stack(((x / w + 1) * size[1] / 2, (1 - y / w) * size[0] / 2, z / w), -1)


def area(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def weights(corners: Tensor, x: float, y: float) -> Tensor:
    """Screen-space weights [3] of the place in a triangle [3, 3]."""
    at = torch.tensor([x, y], dtype=torch.float64)
    a, b, c = corners
    return torch.stack((area(b, c, at), area(c, a, at), area(a, b, at))) / area(a, b, c)


def plane(corners: Tensor, x: float, y: float) -> Tensor:
    """Depth of the triangle's plane at a place of the screen."""
    return (weights(corners, x, y) * corners[:, 2]).sum()


def point_seen(s: Scene, pos: Tensor, row: int, col: int) -> Tensor:
    """The screen position [3] of the surface point that the pixel shows; fixed on its triangle."""
    size = s.color.shape[1:3]
    corner = s.tri[s.frags.tri[0, row, col]]
    with torch.no_grad():
        beta = weights(screen(pos[corner], size), col + 0.5, row + 0.5) / pos[corner, 3]
        beta = beta / beta.sum()
    return screen((beta[:, None] * pos[corner]).sum(0), size)


def ends(s: Scene, pos: Tensor, p: tuple[int, int], q: tuple[int, int]) -> tuple[bool, bool]:
    """Whether the surface at p ends before q, and the one at q before p."""
    size = s.color.shape[1:3]

    def covers(seen: int, at: tuple[int, int]) -> bool:
        if seen < 0:
            return False
        corners = screen(pos[s.tri[seen]], size)
        inside = bool((weights(corners, at[1] + 0.5, at[0] + 0.5) > 0).all())
        return inside and abs(plane(corners, at[1] + 0.5, at[0] + 0.5).item()) <= 1

    a, b = int(s.frags.tri[0][p]), int(s.frags.tri[0][q])
    if a < 0 or b < 0:
        return a >= 0, b >= 0
    over, under = covers(a, q), covers(b, p)
    return under, over


def way_to_end(s: Scene, own: tuple[int, int], other: tuple[int, int]) -> float:
    """Where on the way between two pixel centres the triangle seen at the first one ends, by bisection."""
    corners = screen(s.pos[s.tri[s.frags.tri[0][own]]], s.color.shape[1:3])
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        row, col = (a + middle * (b - a) + 0.5 for a, b in zip(own, other))
        low, high = (middle, high) if (weights(corners, col, row) >= 0).all() else (low, middle)
    return low


def borders(s: Scene) -> list[tuple[tuple[int, int], tuple[int, int], int]]:
    """Pairs of neighbours that see different things, and their axis."""
    height, width = s.color.shape[1:3]
    pairs = [((i, j), (i, j + 1), 0) for i in range(height) for j in range(width - 1)]
    pairs += [((i, j), (i + 1, j), 1) for i in range(height - 1) for j in range(width)]
    return [(p, q, axis) for p, q, axis in pairs if s.frags.tri[0][p] != s.frags.tri[0][q]]


# ---- The methods ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCENES)
def test_edge(name: str) -> None:
    """Pidhorskyi et al. 2024: the border of two pixels moves with what ends there, or with an intersection."""
    s = scene(name)
    pos = s.pos.clone().requires_grad_()
    size = s.color.shape[1:3]
    loss, kinds = torch.zeros((), dtype=torch.float64), set()
    for p, q, axis in borders(s):
        jump = ((s.color[0][p] - s.color[0][q]) * (s.grad[0][p] + s.grad[0][q]) / 2).sum()
        first, second = ends(s, pos.detach(), p, q)
        kinds.add((first, second))
        if first and second:
            a, b = (screen(pos[s.tri[s.frags.tri[0][at]]], size) for at in (p, q))
            with torch.no_grad():  # how much deeper than b a becomes over the pair
                closing = sum(
                    sign * plane(c, at[1] + 0.5, at[0] + 0.5)
                    for c, signs in ((a, (-1, 1)), (b, (1, -1)))
                    for at, sign in zip((p, q), signs)
                )
            border = (plane(b, q[1] + 0.5, q[0] + 0.5) - plane(a, p[1] + 0.5, p[0] + 0.5)) / closing
            loss = loss + jump * border
        elif first or second:
            loss = loss + jump * point_seen(s, pos, *(p if first else q))[axis]
    assert ((True, True) in kinds) == (name != "sphere")
    assert (False, False) in kinds or name == "crossing"
    expected = torch.autograd.grad(loss, pos)[0]
    assert expected.abs().max() > 1
    assert scaled_error(gradient("edge_gradient", s), expected) < 1e-9


@pytest.mark.parametrize("name", SCENES)
def test_opendr(name: str) -> None:
    """Loper and Black 2014: minus the slope of the image times the motion of the point seen."""
    s = scene(name)
    pos = s.pos.clone().requires_grad_()
    height, width = s.color.shape[1:3]
    owner: tuple[dict, dict] = {}, {}  # of either axis: boundary pixel -> pixel whose surface ends there
    for p, q, axis in borders(s):
        first, second = ends(s, s.pos, p, q)
        if first != second:
            own, other = (p, q) if first else (q, p)
            edge = own if way_to_end(s, own, other) < 0.5 else other
            owner[axis][edge] = min(own, owner[axis].get(edge, own))
    loss = torch.zeros((), dtype=torch.float64)
    for i, j in torch.ones(height, width).nonzero().tolist():
        here = s.color[0, i, j]
        for axis, (di, dj) in enumerate(((0, 1), (1, 0))):
            boundary = owner[axis]
            if (i, j) not in boundary and s.frags.tri[0, i, j] < 0:
                continue
            around = [(i + sign * di, j + sign * dj) for sign in (-1, 1)]
            before, after = (at if 0 <= at[0] < height and 0 <= at[1] < width else None for at in around)
            if (i, j) in boundary:
                slope = (s.color[0][after] if after else here) - (s.color[0][before] if before else here)
            else:
                sides = [(at, sign) for at, sign in ((before, -1), (after, 1)) if at and at not in boundary]
                slope = sum(((s.color[0][at] - here) * sign for at, sign in sides), torch.zeros(2))
                slope = slope / max(1, len(sides))
            point = point_seen(s, pos, *boundary.get((i, j), (i, j)))
            loss = loss - (slope * s.grad[0, i, j]).sum() * point[axis]
    expected = torch.autograd.grad(loss, pos)[0]
    assert expected.abs().max() > 1
    outside = [at for at in owner[0] if s.frags.tri[0][at] < 0]
    assert 2 < len(outside) < len(owner[0]) - 2 or name == "sphere"
    assert scaled_error(gradient("opendr_gradient", s), expected) < 1e-9


@pytest.mark.parametrize("reach", [None, 3])
@pytest.mark.parametrize("name", SCENES)
def test_nmr(name: str, reach: int | None) -> None:
    """Kato et al. 2018: every pixel that an edge could come to pass over, by the move that would take it there."""
    s = scene(name)
    height, width = s.color.shape[1:3]
    ndc = s.pos[:, :2] / s.pos[:, 3:]
    total = torch.zeros(len(s.pos), 2, dtype=torch.float64)
    eps = 1e-4
    for axis in (0, 1):
        count, lines = (width, height) if axis == 0 else (height, width)
        ups = (1, -1) if axis == 0 else (-1, 1)  # NDC y goes against rows
        centre = [ups[0] * ((2 * i + 1) / count - 1) for i in range(count)]
        for line in range(lines):
            level = ups[1] * ((2 * line + 1) / lines - 1)
            at = [(line, i) if axis == 0 else (i, line) for i in range(count)]
            shown = [int(s.frags.tri[0][p]) for p in at]
            for t in sorted(set(shown) - {-1}):
                for k in range(3):
                    v = [int(s.tri[t, (k + n) % 3]) for n in (1, 2, 3)]
                    (xa, xb, xo), (ya, yb, yo) = (ndc[v, i].tolist() for i in (axis, 1 - axis))
                    if (ya < level) == (yb < level):
                        continue
                    omega = (yb - level) / (yb - ya), (level - ya) / (yb - ya)
                    cross = omega[0] * xa + omega[1] * xb
                    inside = 1 if xo > xa + (yo - ya) / (yb - ya) * (xb - xa) else -1  # towards larger NDC?
                    within = [i for i in range(count) if (centre[i] - cross) * inside >= 0]
                    without = [i for i in range(count) if i not in within]
                    inner = min(within, key=lambda i: abs(centre[i] - cross)) if within else None
                    outer = min(without, key=lambda i: abs(centre[i] - cross)) if without else None
                    moves = []
                    if inner is not None and shown[inner] == t:
                        moves += [(i, inner) for i in without if reach is None or abs(i - inner) <= reach]
                    if outer is not None:
                        moves += [
                            (i, outer) for i in within if shown[i] == t and (reach is None or abs(i - outer) <= reach)
                        ]
                    for i, other in moves:
                        change = ((s.color[0][at[i]] - s.color[0][at[other]]) * s.grad[0][at[i]]).sum().item()
                        if change <= 0:
                            continue
                        for end, o in zip(v[:2], omega):
                            if o > 0:
                                delta = (centre[i] - cross) / o
                                total[end, axis] -= change / (delta + math.copysign(eps, delta))
    pos = s.pos.clone().requires_grad_()
    (pos[:, :2] / pos[:, 3:] * total).sum().backward()
    assert total.abs().max() > 1
    assert scaled_error(gradient("nmr_gradient", s, reach=reach), pos.grad) < 1e-9


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("given_background", [False, True])
@pytest.mark.parametrize("name", SCENES)
def test_splat(name: str, given_background: bool, layers: int) -> None:
    """Cole et al. 2021: Gaussian splats of samples, by layers."""
    s = scene(name)
    height, width = s.color.shape[1:3]
    pos = s.pos.clone().requires_grad_()
    peeled = list(lg.peel(s.pos, s.tri, (height, width), layers))
    colors = [s.color, *(random(1, height, width, 2, seed=7 + k, dtype=torch.float64) for k in range(2))]
    behind = torch.tensor([0.3, -0.2], dtype=torch.float64) if given_background else None
    scenes = [s._replace(frags=f) for f in peeled]
    points = {
        (k, i, j): point_seen(one, pos, i, j)
        for k, one in enumerate(scenes)
        for i, j in (one.frags.tri[0] >= 0).nonzero().tolist()
    }
    norm = 1.05 / sum(math.exp(-2 * (dx * dx + dy * dy)) for dx in (-1, 0, 1) for dy in (-1, 0, 1))
    image = []
    for i in range(height):
        for j in range(width):
            depth = [f.depth[0, i, j].item() if f.tri[0, i, j] >= 0 else 2.0 for f in peeled]
            sums = [torch.zeros(3, dtype=torch.float64) for _ in range(4)]
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    # Beyond the image its border is repeated: the sample of the nearest pixel, moved out.
                    pi, pj = min(max(i + di, 0), height - 1), min(max(j + dj, 0), width - 1)
                    near = [f.depth[0, pi, pj].item() if f.tri[0, pi, pj] >= 0 else 2.0 for f in peeled]
                    match = min(range(layers), key=lambda k, near=near: (abs(near[k] - depth[0]), k))
                    for k in range(layers):
                        if (k, pi, pj) not in points:
                            continue
                        point = points[k, pi, pj]
                        moved = point[:2] - point[:2].detach()
                        away = torch.tensor([dj, di], dtype=torch.float64) + moved
                        weight = norm * torch.exp(-2 * (away**2).sum())
                        bucket = 0 if k < match else (1 if k == match else 2)
                        sums[bucket] = sums[bucket] + weight * torch.cat((colors[k][0, pi, pj], torch.ones(1)))
                    if peeled[0].tri[0, pi, pj] < 0:
                        weight = norm * math.exp(-2 * (di * di + dj * dj))
                        sums[3] = sums[3] + weight * torch.cat((s.color[0, pi, pj], torch.ones(1)))
            spread = sums[3][:2] / sums[3][2] if sums[3][2] > 0 else torch.zeros(2, dtype=torch.float64)
            out = spread if behind is None else behind
            for total in (sums[2], sums[1], sums[0]):
                out = (total[:2] + (total[2].clamp(min=1) - total[2]) * out) / total[2].clamp(min=1)
            image.append(out)
    expected = torch.stack(image).view(s.color.shape)
    ours = s.pos.clone().requires_grad_()
    result = reference.splat_gradient(
        s.color, peeled[0], ours, s.tri, list(zip(colors[1:], peeled[1:])), background=behind
    )
    assert scaled_error(result, expected) < 1e-12
    (wanted,) = torch.autograd.grad((expected * s.grad).sum(), pos)
    (grad,) = torch.autograd.grad((result * s.grad).sum(), ours)
    assert wanted.abs().max() > 1
    assert scaled_error(grad, wanted) < 1e-9


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("method", ["edge_gradient", "nmr_gradient", "opendr_gradient"])
def test_the_image_stays(method: str, name: str) -> None:
    s = scene(name)
    color = s.color.clone().requires_grad_()
    out = getattr(reference, method)(color, s.frags, s.pos.clone().requires_grad_(), s.tri)
    assert torch.equal(out, s.color)
    assert torch.equal(torch.autograd.grad((out * s.grad).sum(), color)[0], s.grad)
