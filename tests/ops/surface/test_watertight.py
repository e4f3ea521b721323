"""No cracks and no double hits, whatever the edges; clipped triangles against ray casting."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from meshes import cube, grid, icosphere, perspective, to_clip
from ops_common import hits, near_straddler
from scipy.spatial import Delaunay
from torch import Tensor

import lumigrad as lg


def from_pixels(points: Tensor, height: int, width: int, w: Tensor | float = 1.0) -> Tensor:
    """Positions [V, 4] of points (column, row) in pixels from the image's outer corner."""
    size = torch.tensor([width, height], dtype=torch.float64)
    ndc = (2 * points.double() / size - 1) * torch.tensor([1.0, -1.0])
    w = torch.as_tensor(w, dtype=torch.float64).expand(len(points), 1)
    return torch.cat((ndc * w, torch.zeros(len(points), 1), w), 1)


def shuffled(tri: Tensor, seed: int) -> Tensor:
    """The triangles in random order, with random windings and first corners."""
    random = torch.Generator().manual_seed(seed)
    tri = tri[torch.randperm(len(tri), generator=random)].long()
    turn = torch.randint(3, (len(tri), 1), generator=random)
    tri = tri.gather(1, (torch.arange(3) + turn) % 3)
    flip = torch.rand(len(tri), generator=random) < 0.5
    return torch.where(flip[:, None], tri[:, [0, 2, 1]], tri)


def once_everywhere(pos: Tensor, tri: Tensor, size: tuple[int, int], seed: int = 0) -> None:
    count = hits(pos, shuffled(tri, seed), size, max_layers=1)
    assert (count == 1).all(), f"{(count == 0).sum()} pixels of cracks"


def fan(ring: Tensor) -> Tensor:
    """Triangles from vertex 0 to the ring of the others."""
    following = torch.arange(1, len(ring) + 1).roll(-1)
    return torch.stack((torch.zeros(len(ring)).long(), torch.arange(1, len(ring) + 1), following), 1)


# ---- Fans ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hub", [(20.5, 14.5), (20.0, 15.0), (20.5, 15.0), (20 + 1 / 256, 14.5 - 1 / 256)])
@pytest.mark.parametrize("seed", range(4))
def test_spokes_through_pixel_centres(hub: tuple[float, float], seed: int) -> None:
    """Every spoke leaves the hub in the direction of another pixel's centre, and so meets many of them."""
    random = torch.Generator().manual_seed(seed)
    ways = {(1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)}
    ways |= {tuple(way) for way in torch.randint(-9, 10, (40, 2), generator=random).tolist() if any(way)}
    ways = {(x // math.gcd(x, y), y // math.gcd(x, y)) for x, y in ways}
    ring = torch.tensor(sorted(ways, key=lambda way: math.atan2(way[1], way[0])), dtype=torch.float64)
    points = torch.cat((torch.zeros(1, 2), 300 * ring)) + torch.tensor(hub)
    once_everywhere(from_pixels(points, 31, 42), fan(ring), (31, 42), seed)


@pytest.mark.parametrize("spokes", [3, 17, 500, 4000])
def test_random_fans(spokes: int) -> None:
    """Up to thousands of slivers that meet in one point; different w at every vertex."""
    random = torch.Generator().manual_seed(spokes)
    angle = torch.rand(spokes, generator=random, dtype=torch.float64) * 2 * math.pi
    angle = torch.cat((angle, torch.arange(3) * 2 * math.pi / 3)).sort()[0]  # no gap of half a turn
    ring = 2000 * torch.stack((angle.cos(), angle.sin()), 1)
    points = torch.cat((torch.tensor([[31.27, 40.81]], dtype=torch.float64), ring + 32))
    w = 0.5 + torch.rand(len(points), 1, generator=random, dtype=torch.float64)
    # Depth differs, so that every pair of overlapping triangles would show in the second layer.
    once_everywhere(from_pixels(points, 64, 80, w), fan(ring), (64, 80))


# ---- Meshes over the whole image -------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, 7])
@pytest.mark.parametrize("offset", [0.0, 0.5, 0.25, 1 / 256])
def test_grid_on_pixel_centres(step: int, offset: float) -> None:
    points, tri = grid(20, 24)
    at = (points[:, :2].double() * torch.tensor([12, -10]) + torch.tensor([12, 10])).round() * step + offset - step
    height, width = 18 * step, 22 * step
    once_everywhere(from_pixels(at, height, width), tri, (height, width), step)


def delaunay(count: int, height: int, width: int, seed: int, unit: int = 256) -> tuple[Tensor, Tensor]:
    """A triangulation of random points at multiples of 1/unit pixel that covers the image.

    Points on the sub-pixel grid do not move when they are snapped: no triangle turns over, so that exactly
    one hit is right for every pixel.
    """
    random = np.random.default_rng(seed)
    inside = random.integers((-unit, -unit), ((width + 1) * unit, (height + 1) * unit), (count, 2))
    corners = np.array([(x, y) for x in (-9, width + 9) for y in (-9, height + 9)]) * unit
    points = np.unique(np.concatenate((inside, corners)), axis=0)
    triangulation = Delaunay(points)
    assert len(triangulation.coplanar) == 0
    return torch.from_numpy(points / unit), torch.from_numpy(triangulation.simplices.astype(np.int64))


@pytest.mark.parametrize("unit", [256, 2])
@pytest.mark.parametrize("count", [10, 300, 20000])
def test_random_triangulations(count: int, unit: int) -> None:
    """unit 2: every vertex is a centre, a corner or the middle of a side of a pixel."""
    points, tri = delaunay(count, 90, 120, count, unit)
    once_everywhere(from_pixels(points, 90, 120), tri, (90, 120))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (63, 65), (129, 127)])
def test_odd_images(size: tuple[int, int]) -> None:
    points, tri = delaunay(200, *size, seed=1)
    once_everywhere(from_pixels(points, *size), tri, size)


@pytest.mark.parametrize("size", [(256, 16384), (16384, 256), (64, 32768)])
def test_wide_images(size: tuple[int, int]) -> None:
    """Large triangles across the whole of a high-resolution image, edges through its far corners."""
    points, tri = delaunay(60, *size, seed=2)
    once_everywhere(from_pixels(points, *size), tri, size)


@pytest.mark.parametrize("vertical", [False, True])
def test_slivers(vertical: bool) -> None:
    """Strips as thin as a sub-pixel, right through pixel centres and between them."""
    random = torch.Generator().manual_seed(3)
    cuts = torch.cat((torch.tensor([-40, 120]), torch.randint(-40, 120, (400,), generator=random))) * 256
    cuts = torch.cat((cuts, cuts + 1, cuts + 128)).unique().double() / 256
    lean = torch.randint(-2000, 2000, (1,), generator=random).double() / 256
    top, bottom = torch.stack((cuts, cuts * 0 - 8), 1), torch.stack((cuts + lean, cuts * 0 + 88), 1)
    wide = torch.tensor([[-200.0, -8], [-200.0, 88], [300.0, -8], [300.0, 88]]).double()
    n = len(cuts)
    a = torch.arange(n - 1)
    quads = torch.cat((torch.stack((a, a + 1, a + n), 1), torch.stack((a + 1, a + n + 1, a + n), 1)))
    ends = torch.tensor(
        [[2 * n, 0, 2 * n + 1], [0, n, 2 * n + 1], [n - 1, 2 * n + 2, 2 * n - 1], [2 * n + 2, 2 * n + 3, 2 * n - 1]]
    )
    points = torch.cat((top, bottom, wide))
    points = points.flip(1) if vertical else points
    once_everywhere(from_pixels(points, 80, 80), torch.cat((quads, ends)), (80, 80))


def test_perspective_grid() -> None:
    """Random w: shared vertices snap once, so that perspective makes no difference."""
    random = torch.Generator().manual_seed(0)
    points, tri = grid(40, 40)
    w = 0.1 + torch.rand(len(points), 1, generator=random).double()
    xy = 1.3 * points[:, :2].double() + 0.02 * (torch.rand(len(points), 2, generator=random) - 0.5)
    pos = torch.cat((xy * w, 0.5 * w * torch.rand(len(points), 1, generator=random), w), 1)
    for dtype in (torch.float32, torch.float64):
        once_everywhere(pos.to(dtype), tri, (101, 93))


# ---- Clipping --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", range(4))
def test_inside_a_sphere(level: int) -> None:
    """A closed convex surface around the camera, beyond the near plane: one hit wherever one looks."""
    points, tri = icosphere(level)
    points = points.double() + torch.tensor([0.2, -0.1, 0.3])
    for fov in (30, 100, 170):
        pos = to_clip(points, perspective(fov, near=0.01, far=10))
        once_everywhere(pos, tri, (60, 71))
        once_everywhere(pos.float(), tri, (60, 71))


def test_edges_through_the_near_plane() -> None:
    """A finely cut floor from behind the camera to beyond the far plane: the clipped edges fit together."""
    points, tri = grid(30, 30)
    floor = torch.stack((points[:, 0] * 20, points[:, 0] * 0 - 0.5, 5 - 18 * (points[:, 1] + 0.9)), 1)
    pos = to_clip(floor.double(), perspective(90, near=0.5, far=20))
    count = hits(pos, shuffled(tri, 1), (80, 80), max_layers=1)
    whole = floor[[0, 30, 30 * 31, 31 * 31 - 1]]
    expected = hits(
        to_clip(whole.double(), perspective(90, near=0.5, far=20)), torch.tensor([[0, 2, 1], [1, 2, 3]]), (80, 80)
    )
    assert count.sum() > 1000
    # The rows at the horizon and at the image's lower edge depend on how the near and far cut is snapped.
    assert (count != expected).sum() <= 4


def ray_cast(pos: Tensor, tri: Tensor, height: int, width: int, margin: float) -> tuple[Tensor, Tensor]:
    """The nearest triangle at every pixel centre, without clipping, and where that is certain.

    Homogeneous barycentrics b = a / S are inside where all are >= 0, the point lies before the eye and between
    near and far plane. Certain: no edge of any triangle, nor a plane, is within `margin` pixels.
    """
    fx = (2 * torch.arange(width).double() + 1) / width - 1
    fy = 1 - (2 * torch.arange(height).double() + 1) / height
    x, y, z, w = pos.double()[tri.long()].unbind(-1)  # [T, 3]
    x, y, z, w = (c[:, None, None] for c in (x, y, z, w))
    x, y = torch.broadcast_tensors(x - fx[:, None] * w, y - fy[:, None, None] * w)  # [T, H, W, 3]
    a = x.roll(-1, -1) * y.roll(-2, -1) - y.roll(-1, -1) * x.roll(-2, -1)
    total, weight = a.sum(-1), (w * a).sum(-1)
    b = a / total[..., None]
    depth = (z * a).sum(-1) / weight
    before = weight / total > 0
    limits = torch.cat((b, (1 - depth)[..., None], (1 + depth)[..., None]), -1)
    inside = (limits >= 0).all(-1) & before

    # How far each limit is from zero, in pixels: over the difference to the neighbouring pixels.
    across = torch.zeros_like(limits)
    across[:, :, 1:] = (limits[:, :, 1:] - limits[:, :, :-1]).abs()
    across[:, 1:] = torch.maximum(across[:, 1:], (limits[:, 1:] - limits[:, :-1]).abs())
    near_edge = (limits.abs() <= margin * across) & (limits >= -margin * across).all(-1, keepdim=True)
    depth = torch.where(inside, depth, torch.inf)
    nearest, winner = depth.min(0)
    runner_up = depth.scatter(0, winner[None], torch.inf).min(0)[0]
    certain = ~near_edge.any(-1).any(0) & ((runner_up - nearest > 1e-6) | nearest.isinf())
    certain[0], certain[:, 0] = False, False  # these pixels have no neighbour to measure by
    return torch.where(nearest.isinf(), -1, winner), certain


def surroundings() -> dict[str, tuple[Tensor, Tensor]]:
    corners, faces = cube()
    points, tri = icosphere(1)
    random = torch.Generator().manual_seed(2)
    around = 3 * torch.randn(40, 3, 3, generator=random, dtype=torch.float64)
    return {
        "cube": (to_clip(corners.double() + torch.tensor([0.3, 0.2, -0.4]), perspective(90)), faces),
        "sphere": (to_clip(points.double() + torch.tensor([0.1, 0.4, 0.2]), perspective(120)), tri),
        "through the near plane": (to_clip(corners.double() * 0.4, perspective(100, near=0.3)), faces),
        "beyond the far plane": (to_clip(corners.double() * 6, perspective(60, far=7)), faces),
        "all around": (to_clip(around.view(-1, 3), perspective(80, near=0.5)), torch.arange(120).view(-1, 3)),
        "ground": near_straddler(),
    }


@pytest.mark.parametrize("name", surroundings())
def test_clipped_triangles_are_where_rays_meet_them(name: str) -> None:
    pos, tri = surroundings()[name]
    height, width = 64, 70
    frags = lg.rasterize(pos, tri, (height, width))
    winner, certain = ray_cast(pos, tri, height, width, margin=0.05)
    assert certain.float().mean() > 0.5
    assert torch.equal(frags.tri[0][certain], winner[certain].int())
    assert torch.equal(frags.tri, lg.reference.rasterize(pos, tri, (height, width)).tri)
