"""The reference antialiasing against edges at known places."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from meshes import cube, grid, icosphere, load_obj, random_triangles, split_vertices, view_mesh
from torch import Tensor

from lumigrad.reference import antialias, edge_topology, interpolate, rasterize

QUAD = torch.tensor([[0, 1, 2], [0, 2, 3]])


def half_plane(edge: float, turns: int, size: int = 8, slant: float = 0.0) -> Tensor:
    """A quad whose right edge stands ``edge`` pixels from the left at mid-height, then turned left."""
    x = 2 * edge / size - 1
    corners = torch.tensor([(-3, 3), (-3, -3), (x - 3 * slant, -3), (x + 3 * slant, 3)], dtype=torch.float64)
    for _ in range(turns):
        corners = torch.stack((-corners[:, 1], corners[:, 0]), 1)
    return torch.cat((corners, torch.zeros(4, 1), torch.ones(4, 1)), 1)


def render(pos: Tensor, tri: Tensor, size: int, front: Tensor, back: Tensor, **options) -> Tensor:
    frags = rasterize(pos, tri, (size, size))
    return antialias(torch.where(frags.tri[..., None] >= 0, front, back), frags, pos, tri, **options)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("edge", [4.3, 3.9, 4.0, 3.55, 4.45])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("w", [1.0, 2.5])
def test_straight_edge_blends_by_coverage(turns: int, edge: float, flip: bool, w: float) -> None:
    """The pixel with the edge shows exactly how much of it the quad covers."""
    pos = (half_plane(edge, turns) * w).requires_grad_()
    tri = QUAD[:, [0, 2, 1]] if flip else QUAD
    front, back = torch.tensor([1.0, 0.5]).double(), torch.tensor([0.0, 2.0]).double()
    image = torch.rot90(render(pos, tri, 8, front, back)[0], -turns)
    share = (edge - torch.arange(8).double()).clamp(0, 1)[None, :, None]
    assert torch.allclose(image, (back + (front - back) * share).expand(8, -1, -1), atol=1e-12)
    # one pixel of edge per row, colour 1 against 0, 4 pixels per NDC unit and w
    (grad,) = torch.autograd.grad(image[..., 0].sum(), pos)
    along = grad[2:, turns % 2].abs().sum().item()
    assert along == pytest.approx(8 * 4 / w)
    assert not grad[:, 2].any()


def strips(edge: Tensor, turns: int = 0, size: int = 8, slant: float = 0.0, count: int = 12) -> tuple[Tensor, Tensor]:
    """`half_plane` with the last 3/4 pixel before the edge cut into ``count`` strips: positions, faces."""
    points, tri = grid(7, count + 1)
    left, y = ((1 - points[:, 0].double()) / 2 * (count + 1)).round(), 3 * points[:, 1].double()
    x = torch.where(left > count, -3, 2 * (edge - 0.75 * left / count) / size - 1) + slant * y
    for _ in range(turns):
        x, y = -y, x
    return torch.stack((x, y, 0 * x, 0 * x + 1), 1), tri


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("slant", [0.0, 0.21, -0.13])
@pytest.mark.parametrize("edge", [4.3, 3.9, 4.0, 3.55, 4.45])
def test_triangles_no_pixel_sees_do_not_matter(turns: int, slant: float, edge: float) -> None:
    """The triangle in front ends up to 3/4 pixel before the outline, which is blended all the same."""
    one, zero = torch.ones(1).double(), torch.zeros(1).double()
    place = torch.tensor(edge, dtype=torch.float64, requires_grad=True)
    pos, tri = strips(place, turns, slant=slant)
    image = render(pos, tri, 8, one, zero)
    assert torch.allclose(image, render(half_plane(edge, turns, slant=slant), QUAD, 8, one, zero), atol=1e-12)
    (grad,) = torch.autograd.grad(image.sum(), place)
    assert grad.item() == pytest.approx(8)  # one pixel of edge per row


def test_where_the_walk_gives_up() -> None:
    one, zero = torch.ones(1).double(), torch.zeros(1).double()
    place = torch.tensor(4.3).double()
    sharp = (torch.arange(8) < 4).double()[:, None].expand(1, 8, 8, 1)
    for count, rows in ((32, 8), (33, 0)):  # every strip is two triangles to cross
        pos, tri = strips(place, count=count)
        assert (render(pos, tri, 8, one, zero) != sharp).sum() == rows
        assert torch.equal(render(pos, tri, 8, one, zero, own_edges=True), sharp)
    # a third triangle, seen edge-on, on every edge between the last two strips
    pos, tri = strips(place)
    above, below, _ = tri.view(7, -1, 2, 3)[:, -1, 0].unbind(1)
    fins = torch.stack((above, below, torch.full_like(above, len(pos))), 1)
    tip = pos[above[:1].long()] + torch.tensor([0, 0, 0.5, 0])
    assert torch.equal(render(torch.cat((pos, tip)), torch.cat((tri, fins)), 8, one, zero), sharp)


def test_no_blend_where_the_surface_goes_on() -> None:
    """The outline is 0.03 beyond the centre of a pixel, within the tolerance of the pair before it too."""
    place = torch.tensor(4.53).double()
    color = torch.rand(1, 8, 8, 1, dtype=torch.float64)
    whole, (pos, tri) = half_plane(4.53, 0), strips(place)
    frags = rasterize(pos, tri, (8, 8))
    assert (frags.tri[..., 3] != frags.tri[..., 4]).all()
    expected = antialias(color, rasterize(whole, QUAD, (8, 8)), whole, QUAD)
    assert torch.allclose(antialias(color, frags, pos, tri), expected, atol=1e-12)


def test_no_blend_where_surfaces_intersect() -> None:
    """The outlines of both are far from there."""
    upright, turned = half_plane(12, 0), half_plane(12, 2)
    upright[:, 2], turned[:, 2] = 0.2 * upright[:, 0], -0.2 * turned[:, 0]
    pos, tri = torch.cat((upright, turned)), torch.cat((QUAD, QUAD + 4))
    frags = rasterize(pos, tri, (8, 8))
    assert (frags.tri[..., :4] // 2 != frags.tri[..., 4:] // 2).all()
    color = torch.rand(1, 8, 8, 1, dtype=torch.float64)
    assert torch.equal(antialias(color, frags, pos, tri), color)


@pytest.mark.parametrize("turns", range(4))
def test_slanted_edge_blends_at_its_crossing(turns: int) -> None:
    slant = 0.21
    pos = half_plane(4.1, turns, slant=slant)
    one, zero = torch.ones(1).double(), torch.zeros(1).double()
    image = torch.rot90(render(pos, QUAD, 8, one, zero)[0, ..., 0], -turns)
    for row in range(8):
        crossing = 4.1 + slant * (3.5 - row)  # in pixels, at the middle of the row
        share = (crossing - torch.arange(8).double()).clamp(0, 1)
        assert torch.allclose(image[row], share, atol=1e-12)


def test_perspective_edge_crosses_where_it_is_seen() -> None:
    """Ends of an edge with different w are no matter."""
    pos = half_plane(4.1, 0, slant=0.1)
    one, zero = torch.ones(1).double(), torch.zeros(1).double()
    expected = render(pos, QUAD, 8, one, zero)
    deep = pos * torch.tensor([1.0, 2.0, 3.0, 0.5]).double()[:, None]
    assert torch.allclose(render(deep, QUAD, 8, one, zero), expected, atol=1e-12)


def test_edge_that_ends_behind_the_eye() -> None:
    """The upper end moves on along the line of the edge, past infinity to w < 0: nothing seen changes."""
    tri = torch.tensor([[0, 1, 2]])
    pos = torch.tensor([(-50.0, 0, 0, 1), (-2.6, -30, 0, 1), (3.4, 30, 0, 1)], dtype=torch.float64)
    one, zero = torch.ones(1).double(), torch.zeros(1).double()
    expected = render(pos, tri, 8, one, zero)
    assert ((expected > 0) & (expected < 1)).any()
    past = pos.clone()
    past[2] = 0.9 * pos[2] - 1.4 * pos[1]
    past[:, 2] = past[:, 3] - 0.2  # the near plane is at w = 0.1
    assert past[2, 3] < 0
    past.requires_grad_()
    image = render(past, tri, 8, one, zero)
    assert torch.allclose(image, expected, atol=1e-12)
    (grad,) = torch.autograd.grad(image.sum(), past)
    assert grad[1:, [0, 1, 3]].all()
    assert not grad[0].any()


def test_inner_edges_are_left_alone() -> None:
    positions, tri = cube()
    pos = view_mesh(positions.double(), 20, 30)
    frags = rasterize(pos, tri, (48, 48))
    color = torch.rand(1, 48, 48, 3, dtype=torch.float64)
    image = antialias(color, frags, pos, tri)
    seen = (frags.tri >= 0).double()[:, None]
    around = torch.nn.functional.avg_pool2d(seen, 3, 1, 1)[:, 0]
    near_outline = (around > 0) & (around < 1)
    changed = (image != color).any(-1)
    assert changed[near_outline].float().mean() > 0.3
    assert not changed[~near_outline].any()


@pytest.mark.parametrize("mesh", [cube, icosphere])
def test_winding_does_not_matter(mesh: Callable[[], tuple[Tensor, Tensor]]) -> None:
    positions, tri = mesh()
    pos = view_mesh(positions.double(), 33, 25)
    frags = rasterize(pos, tri, (40, 40))
    color = torch.rand(1, 40, 40, 3, dtype=torch.float64)
    expected = antialias(color, frags, pos, tri)
    assert not torch.equal(expected, color)
    random = torch.Generator().manual_seed(0)
    for _ in range(5):
        flip = torch.rand(len(tri), generator=random) < 0.5
        mixed = torch.where(flip[:, None], tri[:, [0, 2, 1]], tri)
        assert torch.allclose(antialias(color, frags, pos, mixed), expected, atol=1e-14)


def test_welded_soup_is_antialiased_like_the_mesh() -> None:
    positions, tri = icosphere(2)
    pos = view_mesh(positions.double(), 10, 5)
    frags = rasterize(pos, tri, (32, 32))
    color = torch.rand(1, 32, 32, 1, dtype=torch.float64)
    expected = antialias(color, frags, pos, tri)
    apart, soup = split_vertices(positions, tri)
    soup_pos = pos[tri.long().flatten()]
    welded = antialias(color, frags, soup_pos, soup, edge_topology(soup, apart))
    assert torch.allclose(welded, expected, atol=1e-14)
    assert not torch.allclose(antialias(color, frags, soup_pos, soup), expected, atol=1e-3)


def test_fins_hide_silhouettes_only_on_the_far_side() -> None:
    """Three triangles on one edge: seen from where two lie on either side it is no silhouette."""
    pos = torch.tensor([(0.1, -3, 0, 1), (0.1, 3, 0, 1), (-3, 0, 0, 1), (-2, 0, 0.2, 1), (3, 0, 0.1, 1)]).double()
    left = torch.tensor([[0, 1, 2], [1, 0, 3]])
    for tri, blended in ((left, True), (torch.cat((left, torch.tensor([[0, 4, 1]]))), False)):
        frags = rasterize(pos, tri, (8, 8))
        color = (torch.arange(8).double() < 4).double()[None, None, :, None].expand(1, 8, 8, 1)
        image = antialias(color, frags, pos, tri)
        assert bool((image[0, 4] != color[0, 4]).any()) == blended


def test_colours_stay_in_range() -> None:
    pos, tri = random_triangles(200, seed=2, size=0.2)
    frags = rasterize(pos, tri, (48, 48))
    color = torch.rand(200 + 1, 1).round()[frags.tri.long()]
    image = antialias(color, frags, pos, tri)
    assert ((image > 0) & (image < 1)).sum() > 100
    assert image.min() >= 0
    assert image.max() <= 1


def test_weights_of_a_small_triangle() -> None:
    """It leaves its pixel 0.05 to the left and right and 0.1 below the centre: weights 0.45 + 0.45 + 0.4."""
    points = torch.tensor([(2.4, 2.6), (2.6, 2.6), (2.5, 2.4)], dtype=torch.float64)
    pos = torch.stack((2 * points[:, 0] / 5 - 1, 1 - 2 * points[:, 1] / 5, 0 * points[:, 0], 0 * points[:, 0] + 1), 1)
    tri = torch.tensor([[0, 1, 2]])
    frags = rasterize(pos, tri, (5, 5))
    assert (frags.tri >= 0).sum() == 1
    color = (frags.tri < 0).double()[..., None]
    expected = color.clone()
    expected[0, 2, 2] = 1.3
    assert torch.allclose(antialias(color, frags, pos, tri, own_edges=True), expected, atol=1e-12)
    assert torch.allclose(antialias(color, frags, pos, tri), torch.ones_like(color), atol=1e-12)


def test_gradients() -> None:
    pos, tri = random_triangles(4, seed=3, size=0.8)
    pos = pos.double()
    frags = rasterize(pos, tri, (6, 7))
    color = torch.rand(1, 6, 7, 1, dtype=torch.float64)
    changed = (antialias(color, frags, pos, tri) != color).any(-1)
    assert changed.sum() > 8
    for options in ({}, {"own_edges": True}):
        assert torch.autograd.gradcheck(
            lambda c, p, options=options: antialias(c, frags, p, tri, **options),
            (color.requires_grad_(), pos.requires_grad_()),
        )


def test_gradients_at_the_end_of_a_walk() -> None:
    positions, tri = icosphere(2)
    pos = view_mesh(positions.double(), 10, 5)
    frags = rasterize(pos, tri, (12, 12))
    color = (frags.tri >= 0).double()[..., None]
    blended = antialias(color, frags, pos, tri) != color
    own = antialias(color, frags, pos, tri, own_edges=True) != color
    assert (blended & ~own).sum() > 8
    touched = tri.long()[frags.tri[frags.tri >= 0].long()].unique()
    assert torch.autograd.gradcheck(
        lambda p: antialias(color, frags, pos.index_copy(0, touched, p), tri),
        (pos[touched].clone().requires_grad_(),),
    )


@pytest.mark.parametrize("mesh", ["icosphere 1", "icosphere 2", "icosphere 4", "cube"])
@pytest.mark.parametrize("size", [64, 128, 256])
def test_area_and_its_gradient(mesh: str, size: int) -> None:
    """The coverage adds up to the area of the outline, which grows with its scale s as 2 area / s.

    An outline of radius r pixels is sampled by 4 sqrt(2) r crossings. Where it turns from steep to flat,
    eight times, up to half a crossing of relative weight 0.225 / r is too many or too few: a standard
    deviation of 0.18 / r if these roundings are independent.
    """
    name, *level = mesh.split()
    positions, tri = icosphere(int(level[0])) if name == "icosphere" else cube()
    topology = edge_topology(tri)
    for azimuth, elevation in ((20, 30), (10, 5)):
        scale = torch.ones(2, dtype=torch.float64, requires_grad=True)
        pos = view_mesh(positions.double(), azimuth, elevation) * torch.cat((scale, torch.ones(2)))
        frags = rasterize(pos, tri, (size, size))
        image = antialias((frags.tri[..., None] >= 0).double(), frags, pos, tri, topology)
        (grad,) = torch.autograd.grad(image.sum(), scale)
        p0, p1, p2 = (pos[:, :2] / pos[:, 3:] * (size / 2)).detach()[tri.long()].unbind(1)
        a, b = p1 - p0, p2 - p0
        area = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).abs().sum().item() / 4  # convex: seen twice
        radius = (area / math.pi) ** 0.5
        assert grad.sum().item() / (2 * area) == pytest.approx(1, abs=0.5 / radius)
        assert image.sum().item() / area == pytest.approx(1, abs=0.02 / radius)


def test_finely_cut_surface_is_left_alone_inside() -> None:
    positions, tri = icosphere(5)
    pos = view_mesh(positions.double(), 10, 5)
    frags = rasterize(pos, tri, (48, 48))
    color = torch.rand(1, 48, 48, 1, dtype=torch.float64)
    changed = (antialias(color, frags, pos, tri) != color)[..., 0]
    seen = (frags.tri >= 0).double()[:, None]
    inside = torch.nn.functional.avg_pool2d(seen, 3, 1, 1)[:, 0] == 1
    assert changed.any()
    assert not changed[inside].any()


def test_ranges_share_positions() -> None:
    pos, tri = random_triangles(30, seed=5, size=0.4)
    ranges = torch.tensor([[0, 15], [10, 20]])
    frags = rasterize(pos, tri, (16, 16), ranges)
    color = torch.rand(2, 16, 16, 3)
    both = antialias(color, frags, pos, tri)
    for n in range(2):
        alone = type(frags)(*(field[n : n + 1] for field in frags[:4]))
        assert torch.equal(antialias(color[n : n + 1], alone, pos, tri)[0], both[n])


def test_real_mesh(shared) -> None:
    positions, tri = load_obj(shared / "data/meshes/suzanne.obj")
    pos = view_mesh(positions, 30, 20).requires_grad_()
    frags = rasterize(pos, tri, (96, 96))
    image = antialias(interpolate(positions, frags, tri), frags, pos, tri)
    (grad,) = torch.autograd.grad(image.square().sum(), pos)
    assert grad.isfinite().all()
    assert grad[:, :2].any()


def test_empty_and_unsound_arguments() -> None:
    pos, tri = random_triangles(3, size=0.8)
    frags = rasterize(pos, tri, (4, 4))
    color = torch.rand(1, 4, 4, 3)
    empty = rasterize(pos, tri[:0], (4, 4))
    assert torch.equal(antialias(color, empty, pos, tri[:0]), color)
    topology = edge_topology(tri)
    for arguments, error, name in (
        ((color.int(), frags, pos, tri), TypeError, "color"),
        ((color[:, :3], frags, pos, tri), ValueError, "color"),
        ((color, frags, pos[:, :3], tri), ValueError, "pos"),
        ((color, frags, pos.expand(2, -1, -1), tri), ValueError, "pos"),
        ((color, frags, pos, tri[:0]), ValueError, "frags"),
        ((color, frags, pos, tri, topology.long()), TypeError, "topology"),
        ((color, frags, pos, tri, topology[:1]), ValueError, "topology"),
        ((color, frags, pos, tri, torch.zeros_like(topology)), ValueError, "topology"),
    ):
        with pytest.raises(error, match=f"^{name}:"):
            antialias(*arguments)
