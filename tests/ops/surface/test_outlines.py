"""Exact outlines against polygon clipping, the reference, and differences of the image itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from meshes import cube, icosphere, view_mesh
from ops_common import gradcheck, random, scaled_error, threads
from torch import Tensor

import lumigrad as lg
from benchmarks.gradients.clipping import exact_image

DOUBLE = torch.float64
SIZE = (15, 18)


def soup(count: int, seed: int, scale: float = 0.8, depth: float = 0.4, thin: float | None = None) -> Tensor:
    """Positions [3 count, 4] of loose triangles with perspective."""
    centre = random(count, 1, 3, seed=seed, dtype=DOUBLE).clamp(-1, 1)
    corners = centre + scale * random(count, 3, 3, seed=seed + 1, dtype=DOUBLE)
    corners[..., 2] = 0.3 * centre[..., 2] + depth * corners[..., 2] / 3
    if thin is not None:
        corners[:, 2, :2] = corners[:, 0, :2] + thin * 2 / SIZE[1] * random(count, 2, seed=seed + 2, dtype=DOUBLE)
    w = 1 + 0.3 * random(count, 3, 1, seed=seed + 3, dtype=DOUBLE).abs()
    return torch.cat((corners * w, w), -1).reshape(-1, 4)


def loose(count: int) -> Tensor:
    return torch.arange(3 * count).view(-1, 3)


def scenes() -> dict[str, tuple[Tensor, Tensor]]:
    """Name: positions [V, 4] and faces of one view."""
    sphere, sphere_tri = icosphere(1)
    box, box_tri = cube()
    near = soup(3, 40)
    near[:, 2] -= 0.9 * near[:, 3]
    return {
        "one": (soup(1, 0), loose(1)),
        "overlapping": (soup(6, 10), loose(6)),
        "crossing": (soup(4, 20, depth=2.0), loose(4)),
        "thin": (soup(6, 30, thin=0.3), loose(6)),
        "slivers": (soup(5, 50, thin=0.02), loose(5)),
        "confetti": (soup(30, 60, scale=0.05), loose(30)),
        "near plane": (near, loose(3)),
        "sphere": (view_mesh(sphere.to(DOUBLE), 25, 20), sphere_tri),
        "box": (view_mesh(box.to(DOUBLE), 25, 20), box_tri),
    }


def flat_shade(tri: Tensor, by_face: bool) -> tuple[Callable[[lg.Fragments], Tensor], Tensor, Tensor]:
    """A function that shades fragments, and the colours of triangles [T, 3] and of the background [3]."""
    colors = random(len(tri) if by_face else 1, 3, seed=5, dtype=DOUBLE).expand(len(tri), 3)
    behind = random(3, seed=6, dtype=DOUBLE)
    table = torch.cat((colors, behind[None]))
    return lambda frags: table.to(frags.bary)[frags.tri.long()], colors, behind


def render(pos: Tensor, tri: Tensor, shade: Callable[[lg.Fragments], Tensor], **options: bool) -> Tensor:
    frags = lg.rasterize(pos, tri, SIZE)
    return lg.antialias(shade(frags), frags, pos, tri, method="exact", shade=shade, **options)


@pytest.mark.parametrize("name", scenes())
def test_image_and_gradient_are_those_of_clipped_polygons(name: str) -> None:
    pos, tri = scenes()[name]
    is_soup = len(pos) == 3 * len(tri)
    shade, colors, behind = flat_shade(tri, by_face=True)
    pos.requires_grad_()
    expected = exact_image(pos, tri, colors, behind, SIZE)
    image = render(pos, tri, shade, every_edge=not is_soup)[0]
    assert (image - expected).abs().max() < 1e-5
    weight = random(*image.shape, seed=7, dtype=DOUBLE)
    (grad,) = torch.autograd.grad((image * weight).sum(), pos)
    (wanted,) = torch.autograd.grad((expected * weight).sum(), pos)
    assert wanted.abs().max() > 0.1
    assert scaled_error(grad, wanted) < 1e-4


@pytest.mark.parametrize("seed", range(10))
def test_random_triangles(seed: int) -> None:
    pos, tri = soup(8, 100 + 10 * seed, scale=0.6, depth=0.4 + 0.2 * seed), loose(8)
    shade, colors, behind = flat_shade(tri, by_face=True)
    assert (render(pos, tri, shade)[0] - exact_image(pos, tri, colors, behind, SIZE)).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["overlapping", "thin", "near plane"])
def test_float32_is_close(name: str) -> None:
    pos, tri = scenes()[name]
    shade, colors, behind = flat_shade(tri, by_face=True)
    expected = exact_image(pos.float(), tri, colors, behind, SIZE)
    assert (render(pos.float(), tri, shade)[0] - expected).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["one", "crossing", "thin", "near plane", "box"])
def test_gradient_is_the_derivative_of_the_image(name: str) -> None:
    pos, tri = scenes()[name]
    shade, _, _ = flat_shade(tri, by_face=len(pos) == 3 * len(tri))
    assert gradcheck(lambda p: render(p, tri, shade), (pos.requires_grad_(),), eps=1e-6, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("smooth", "tolerance"), [(False, 1e-6), (True, 0.05)])
@pytest.mark.parametrize("name", ["one", "overlapping", "crossing", "thin", "near plane", "box"])
def test_reference(name: str, smooth: bool, tolerance: float) -> None:
    """The reference cuts outlines more often. A piece moves by the colours beside its middle: only for constant colours
    are the gradients of positions the same. The image is the same for any.
    """
    pos, tri = scenes()[name]
    attr = random(len(pos), 3, seed=8, dtype=DOUBLE)
    if not smooth:
        attr = (
            attr.view(-1, 3, 3)[:, :1].expand(-1, 3, -1).reshape(-1, 3)
            if name != "box"
            else attr[:1].expand(len(pos), 3)
        )
    weight = random(1, *SIZE, 3, seed=9, dtype=DOUBLE)
    found = []
    for ops in (lg, lg.reference):
        at, values = pos.clone().requires_grad_(), attr.clone().requires_grad_()
        frags = lg.rasterize(at, tri, SIZE)
        outlines = ops.outlines(at, tri, frags)
        sides = lg.interpolate(values, outlines.sides, tri)
        image = ops.blend_outlines(lg.interpolate(values, frags, tri), sides, outlines, at, tri)
        found.append((image, *torch.autograd.grad((image * weight).sum(), (at, values))))
    for ours, theirs, limit in zip(*found, (1e-5, tolerance, 1e-5), strict=True):
        assert scaled_error(ours, theirs) < limit


@pytest.mark.parametrize("shift", [0.0, 3e-8, -3e-8, 1e-6, -1e-6])
def test_joints_without_common_vertices(shift: float) -> None:
    """Two small triangles along the edge of a large one, in one plane; the vertex in its middle misses it a little."""
    corners = torch.tensor([[-0.7, -0.6], [0.1, 0.8], [0.6, -0.5]], dtype=DOUBLE)
    middle = (corners[0] + corners[1]) / 2 + shift / SIZE[1] * torch.tensor([-1.0, 0.7], dtype=DOUBLE)
    left = torch.tensor([-0.9, 0.4], dtype=DOUBLE)
    places = torch.stack((*corners, corners[0], left, middle, middle, left, corners[1]))
    w = 1.3 + 0.2 * places[:, :1]
    pos = torch.cat((places * w, 0.3 * w, w), -1).requires_grad_()
    shade, colors, behind = flat_shade(loose(3), by_face=True)
    image, expected = render(pos, loose(3), shade)[0], exact_image(pos, loose(3), colors, behind, SIZE)
    assert (image - expected).abs().max() < 1e-3
    weight = random(*image.shape, seed=7, dtype=DOUBLE)
    grads = [torch.autograd.grad((each * weight).sum(), pos)[0].view(-1, 3, 4) for each in (image, expected)]
    assert scaled_error(grads[0].sum((0, 1)), grads[1].sum((0, 1))) < 1e-2


def test_gradients_of_colours_and_fragments() -> None:
    pos, tri = scenes()["overlapping"]
    pos.requires_grad_()
    frags = lg.rasterize(pos, tri, SIZE)
    outlines = lg.outlines(pos, tri, frags)
    sides = random(*outlines.sides.tri.shape, 2, seed=1, dtype=DOUBLE).requires_grad_()
    color = random(1, *SIZE, 2, seed=2, dtype=DOUBLE).requires_grad_()
    assert gradcheck(
        lambda c, s: lg.blend_outlines(c, s, outlines, pos.detach(), tri), (color, sides), 1e-6, 1e-5, 1e-3
    )

    # In the middle of surfaces: beside outlines, barycentrics are clamped, which has a kink there.
    sides, place = outlines.sides.tri[:, 2:].contiguous(), outlines.place[:, 2:].contiguous()

    def places(p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        made = torch.ops.lumigrad.outline_fragments(p, tri.int(), sides, outlines.pixel, place, *SIZE, True)
        return tuple(made)

    assert gradcheck(places, (pos,), eps=1e-7, atol=1e-4, rtol=1e-3)


def test_smooth_colours_are_looked_up_where_surfaces_are() -> None:
    """Colours are linear on the screen, at equal w: a surface's average in a pixel is the colour in its middle."""
    pos, tri = soup(4, 70), loose(4)
    pos = pos / pos[:, 3:]
    attr, behind = random(len(pos), 3, seed=8, dtype=DOUBLE), random(3, seed=6, dtype=DOUBLE)

    def shade(frags: lg.Fragments) -> Tensor:
        return torch.where((frags.tri >= 0)[..., None], lg.interpolate(attr, frags, tri), behind)

    expected = exact_image(pos, tri, attr.view(-1, 3, 3), behind, SIZE)
    cut = (render(pos, tri, shade)[0] - shade(lg.rasterize(pos, tri, SIZE))[0]).abs().amax(-1) > 0
    assert cut.sum() > 30
    assert (render(pos, tri, shade)[0] - expected)[cut].abs().max() < 2e-3  # two parts of one triangle in a pixel


@pytest.mark.cpu_only
def test_threads_do_not_matter() -> None:
    pos, tri = scenes()["confetti"]
    shade, _, _ = flat_shade(tri, by_face=True)
    images = []
    for count in (1, 3):
        with threads(count):
            images.append(render(pos, tri, shade))
    assert torch.equal(*images)


def test_views_and_ranges_are_independent() -> None:
    pos, tri = scenes()["overlapping"]
    shade, _, _ = flat_shade(tri, by_face=True)
    ranges = torch.tensor([[0, 6], [2, 3], [0, 0]])
    frags = lg.rasterize(pos, tri, SIZE, ranges)
    together = lg.antialias(shade(frags), frags, pos, tri, method="exact", shade=shade, ranges=ranges)
    for view, (first, count) in enumerate(ranges.tolist()):
        alone = lg.rasterize(pos, tri[first : first + count], SIZE)
        own = alone._replace(tri=torch.where(alone.tri < 0, -1, alone.tri + first))

        def shifted(f: lg.Fragments, first: int = first) -> Tensor:
            return shade(f._replace(tri=torch.where(f.tri < 0, -1, f.tri + first)))

        expected = lg.antialias(shade(own), alone, pos, tri[first : first + count], method="exact", shade=shifted)
        assert (together[view] - expected[0]).abs().max() < 1e-12
    stacked = torch.stack((pos, pos.roll(3, 0)))
    frags = lg.rasterize(stacked, tri, SIZE)
    both = lg.antialias(shade(frags), frags, stacked, tri, method="exact", shade=shade)
    assert (both[1] - render(stacked[1], tri, shade)[0]).abs().max() < 1e-12


def test_colours_of_pixels_nearby_stand_in() -> None:
    """Without a function that shades: right wherever both sides own the centre of a pixel nearby."""
    pos, tri = scenes()["sphere"]
    shade, colors, behind = flat_shade(tri, by_face=False)
    frags = lg.rasterize(pos, tri, SIZE)
    image = lg.antialias(shade(frags), frags, pos, tri, method="exact")[0]
    assert (image - exact_image(pos, tri, colors, behind, SIZE)).abs().max() < 1e-5


@pytest.mark.parametrize(("triangles", "size"), [(0, SIZE), (1, (1, 1)), (2, (1, 7))])
def test_small_and_empty(triangles: int, size: tuple[int, int]) -> None:
    pos, tri = soup(max(triangles, 1), 80), loose(triangles)
    frags = lg.rasterize(pos, tri, size)
    shade = lambda f: (f.tri >= 0).to(pos)[..., None]  # noqa: E731
    image = lg.antialias(shade(frags), frags, pos, tri, method="exact", shade=shade)
    assert image.shape == (1, *size, 1)
    assert image.isfinite().all()


def test_bad_primitives_change_nothing() -> None:
    pos, tri = soup(4, 90), loose(5)
    shade, _, _ = flat_shade(tri, by_face=True)
    good = render(pos, tri[:4], shade)
    for bad in (torch.nan, torch.inf, 0.0):
        more = torch.cat((pos, torch.full((3, 4), bad, dtype=DOUBLE))).requires_grad_()
        image = render(more, tri, shade)
        assert torch.equal(image, good)
        (grad,) = torch.autograd.grad(image.sum(), more)
        assert grad.isfinite().all()
        assert not grad[12:].any()


def test_capacity() -> None:
    pos, tri = scenes()["overlapping"]
    frags = lg.rasterize(pos, tri, SIZE)
    whole = lg.outlines(pos, tri, frags)
    count = whole.pixel.shape[1]
    roomy = lg.outlines(pos, tri, frags, capacity=count + 7)
    assert torch.equal(roomy.pixel[:, :count], whole.pixel)
    assert (roomy.pixel[:, count:] == -1).all()
    assert lg.outlines(pos, tri, frags, capacity=3).pixel.shape == (1, 3)


def test_errors() -> None:
    pos, tri = scenes()["one"]
    frags = lg.rasterize(pos, tri, SIZE)
    color = random(1, *SIZE, 3, dtype=DOUBLE)
    with pytest.raises(ValueError, match="method: expected 'fast' or 'exact', got 'best'"):
        lg.antialias(color, frags, pos, tri, method="best")
    with pytest.raises(ValueError, match="shade: only method='exact' takes it"):
        lg.antialias(color, frags, pos, tri, shade=lambda f: color)
    with pytest.raises(ValueError, match="shade"):
        lg.antialias(color, frags, pos, tri, method="exact", shade=lambda f: color)
    with pytest.raises(ValueError, match="capacity: expected a number of rows, got -1"):
        lg.outlines(pos, tri, frags, capacity=-1)
    two = lg.rasterize(pos, tri, SIZE, torch.tensor([[0, 1], [0, 1]]))
    with pytest.raises(ValueError, match="ranges: expected those given to rasterize"):
        lg.antialias(color.expand(2, -1, -1, -1), two, pos, tri, method="exact")


@pytest.mark.cpu_only
def test_index_without_a_vertex() -> None:
    pos, tri = scenes()["one"]
    with pytest.raises(ValueError, match=r"tri\[0, 0\] is 7, but pos has 3 vertices"):
        lg.outlines(pos, tri + 7, lg.rasterize(pos, tri, SIZE))
