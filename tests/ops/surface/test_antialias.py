"""The antialiasing kernel against the reference, and its gradients against differences."""

from __future__ import annotations

import pytest
import torch
from meshes import cube, icosphere, random_triangles, split_vertices, view_mesh
from ops_common import gradcheck, inside_sphere, random, scaled_error, sphere_views
from torch import Tensor

import lumigrad as lg
from lumigrad.ops.surface._antialias import antialias_with


def scenes(dtype: torch.dtype = torch.float64, level: int = 2) -> dict[str, tuple[Tensor, Tensor, tuple[int, int]]]:
    """Name: positions, faces, size."""
    sphere, sphere_tri = sphere_views(level, 2, dtype)
    room, room_tri = inside_sphere(1, dtype)
    keep = torch.arange(len(room_tri)) % 3 > 0  # with holes, so that there are silhouettes
    triangles, faces = random_triangles(30, seed=7, behind=0.15)
    corners, sides = cube()
    split, split_tri = split_vertices(*icosphere(1))
    two_sided = torch.cat((sphere_tri, sphere_tri[:40, [0, 2, 1]]))  # edges of three and four triangles
    return {
        "sphere": (sphere, sphere_tri, (29, 38)),
        "holes, camera inside": (room, room_tri[keep], (33, 35)),
        "loose triangles": (triangles.to(dtype), faces, (40, 40)),
        "cube": (view_mesh(corners.to(dtype), 25, 20), sides, (21, 24)),
        "seams": (view_mesh(split.to(dtype), 25, 20), split_tri, (24, 21)),
        "non-manifold": (sphere, two_sided, (26, 30)),
        "one row": (sphere, sphere_tri, (1, 40)),
        "one column": (sphere, sphere_tri, (45, 1)),
    }


SMALL = ["sphere", "holes, camera inside", "cube", "non-manifold"]


@pytest.mark.parametrize("own_edges", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_gradients(name: str, own_edges: bool) -> None:
    """The fragments are held fixed. What is left are the choices of edges and the kinks where an edge passes
    halfway between two centres: a difference quotient across one would be off by the whole gradient. None of
    these scenes has one within 1e-7; the shift takes the sphere's poles off the line between two columns.
    """
    pos, tri, _ = scenes(level=1)[name]
    pos = pos[:1].clone() if pos.dim() == 3 else pos
    pos[..., 0] += 0.0137 * pos[..., 3]
    size = (15, 16)
    frags = lg.rasterize(pos, tri, size)
    color = random(1, *size, 2, seed=2, dtype=torch.float64)
    topology = lg.edge_topology(tri)

    def run(c: Tensor, p: Tensor) -> Tensor:
        return antialias_with(c, frags, p, tri, topology, own_edges)

    changed = (run(color, pos) != color).any(-1).sum()
    assert changed > 2
    inputs = color.requires_grad_(), pos.clone().requires_grad_()
    assert gradcheck(run, inputs, eps=1e-7, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("own_edges", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "channels"), [*((name, 3) for name in scenes()), ("sphere", 1), ("cube", 7)])
def test_reference(name: str, channels: int, dtype: torch.dtype, own_edges: bool) -> None:
    """Decisions are float64 in both: float32 has to agree on every pair, and only rounds colours and sums."""
    forward, backward = (1e-5, 1e-4) if dtype == torch.float32 else (1e-10, 1e-9)
    pos, tri, size = scenes(dtype)[name]
    frags = lg.rasterize(pos, tri, size)
    color = random(*frags.tri.shape, channels, seed=channels, dtype=dtype)
    weight = random(*color.shape, seed=9, dtype=dtype)
    topology = lg.edge_topology(tri)
    ours = color.clone().requires_grad_(), pos.clone().requires_grad_()
    theirs = color.double().requires_grad_(), pos.double().requires_grad_()
    out = antialias_with(ours[0], frags, ours[1], tri, topology, own_edges)
    precise = lg.Fragments(frags.tri, *(value.double() for value in frags[1:4]))
    expected = lg.reference.antialias(theirs[0], precise, theirs[1], tri, topology, own_edges=own_edges)
    assert torch.equal(out != ours[0], (expected != theirs[0])) or dtype == torch.float32
    assert scaled_error(out, expected) < forward
    grads = torch.autograd.grad((out * weight).sum(), ours)
    wanted = torch.autograd.grad((expected * weight.double()).sum(), theirs)
    assert scaled_error(grads[0], wanted[0]) < forward
    assert scaled_error(grads[1], wanted[1]) < backward
    assert not grads[1][..., 2].any()


def test_colours_stay_in_range() -> None:
    pos, tri, size = scenes(torch.float32)["loose triangles"]
    frags = lg.rasterize(pos, tri, size)
    color = (random(*frags.tri.shape, 1) > 0).float()
    out = lg.antialias(color, frags, pos, tri)
    assert out.min() >= 0
    assert out.max() <= 1
    assert ((out > 0) & (out < 1)).any()


def test_instanced_images_are_independent() -> None:
    pos, tri = sphere_views(2, 3)
    frags = lg.rasterize(pos, tri, (40, 50))
    color = random(3, 40, 50, 3)
    together = lg.antialias(color, frags, pos, tri)
    for i in range(3):
        part = lg.Fragments(*(value[i : i + 1] for value in frags[:4]))
        assert torch.equal(lg.antialias(color[i : i + 1], part, pos[i : i + 1], tri)[0], together[i])


def test_shared_positions_sum_gradients_of_all_images() -> None:
    pos, tri = random_triangles(20, seed=1)
    ranges = torch.tensor([[0, 20], [5, 10], [0, 3]])
    frags = lg.rasterize(pos, tri, (40, 50), ranges)
    color, weight = random(3, 40, 50, 2), random(3, 40, 50, 2, seed=1)
    shared = pos.clone().requires_grad_()
    loss = lg.antialias(color, frags, shared, tri) * weight
    (grad,) = torch.autograd.grad(loss.sum(), shared)
    copies = pos.expand(3, -1, -1).clone().requires_grad_()
    again = lg.antialias(color, frags, copies, tri) * weight
    assert torch.equal(loss, again)
    (grads,) = torch.autograd.grad(again.sum(), copies)
    assert scaled_error(grad, grads.double().sum(0)) < 1e-5


@pytest.mark.cpu_only
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("faces", [7, 600])
def test_backward_searches_where_nothing_was_kept(faces: int, shared: bool) -> None:
    """What the forward pass keeps spares work and decides nothing; of many small triangles it cannot keep all."""
    pos, tri = random_triangles(faces, seed=3, size=0.2)
    shape = (2, 37, 41)
    pos = pos if shared else torch.stack((pos, pos.flip(0)))
    frags = lg.rasterize(pos, tri, shape[1:], torch.tensor([[0, faces]] * 2) if shared else None)
    color, grad_out, topology = random(*shape, 3), random(*shape, 3, seed=1), lg.edge_topology(tri)
    scene = color, frags.tri, frags.depth, None, pos, tri, topology
    _, kept = torch.ops.lumigrad.antialias(*scene, False)

    def grads(notes: Tensor) -> list[Tensor]:
        return torch.ops.lumigrad.antialias_backward(*scene, notes, False, grad_out, True, True)

    flags = (1 if shared else 2) * faces
    behind = (flags + 7) // 8 * 8
    bands = 2 * 3  # of 16 rows
    numbers = kept[behind:].view(torch.int64)
    assert (numbers[0] < 0) == (faces == 600)
    assert faces == 600 or 0 < numbers[bands - 1] < len(numbers) - bands
    expected = grads(kept)
    assert expected[1].abs().max() > 0
    spoilt = []
    for place, value in [(0, -1), (1, 1 << 40), (bands, 1 << 62), (bands, 40 << 1), (bands + 1, -1)]:
        spoilt.append(kept.clone())
        spoilt[-1][behind:].view(torch.int64)[place] = value
    for notes in (kept[:flags], kept[: behind + 8], *spoilt):
        for a, b in zip(expected, grads(notes)):
            assert torch.equal(a, b)


@pytest.mark.cpu_only
@pytest.mark.parametrize("own_edges", [False, True])
@pytest.mark.parametrize("name", scenes())
def test_kept_crossings_and_searched_ones_give_the_same_bits(name: str, own_edges: bool) -> None:
    """Pairs are gone through in the same order, over the seams of bands too."""
    pos, tri, _ = scenes(torch.float32, level=3)[name]
    height, width = 83, 97
    frags = lg.rasterize(pos, tri, (height, width))
    color = random(len(frags.tri), height, width, 3)
    scene = color, frags.tri, frags.depth, None, pos, tri, lg.edge_topology(tri)
    _, notes = torch.ops.lumigrad.antialias(*scene, own_edges)
    flags = (len(pos) if pos.dim() == 3 else 1) * len(tri)
    grads = [
        torch.ops.lumigrad.antialias_backward(*scene, what, own_edges, color.flip(1), True, True)
        for what in (notes, notes[:flags])
    ]
    assert grads[0][1].abs().max() > 0
    for kept, searched in zip(*grads):
        assert torch.equal(kept, searched)


@pytest.mark.cpu_only
def test_one_bad_link_far_away_is_found() -> None:
    """Links lead everywhere: none is followed before all are known to be right."""
    pos, tri = sphere_views(5, 1)
    frags = lg.rasterize(pos, tri, (20, 20))
    color, topology = random(1, 20, 20, 3), lg.edge_topology(tri)
    far = len(tri) - 1
    topology[far] = 2**31 - 2
    topology[:100] = 6 * far  # which lead to it
    with pytest.raises(ValueError, match=rf"topology\[{far}, 0\] is 2147483646, which is no half-edge"):
        lg.antialias(color, frags, pos, tri, topology)


def test_topology_is_built_when_absent() -> None:
    pos, tri, size = scenes()["cube"]
    frags = lg.rasterize(pos, tri, size)
    color = random(1, *size, 3, dtype=torch.float64)
    given = lg.antialias(color, frags, pos, tri, lg.edge_topology(tri))
    assert torch.equal(lg.antialias(color, frags, pos, tri), given)


def test_welded_seams_do_not_show() -> None:
    points, tri = icosphere(1)
    split, split_tri = split_vertices(points, tri)
    results = []
    for verts, faces, topology in (
        (points, tri, lg.edge_topology(tri)),
        (split, split_tri, lg.edge_topology(split_tri, split)),
        (split, split_tri, lg.edge_topology(split_tri)),
    ):
        pos = view_mesh(verts.double(), 25, 20)
        frags = lg.rasterize(pos, faces, (40, 40))
        results.append(lg.antialias(random(1, 40, 40, 3, dtype=torch.float64), frags, pos, faces, topology))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize(
    ("faces", "vertices", "image"), [(0, 4, (1, 3, 3)), (0, 0, (2, 5, 1)), (2, 4, (0, 3, 3)), (2, 4, (1, 0, 3))]
)
@pytest.mark.parametrize("channels", [0, 2])
def test_empty(faces: int, vertices: int, image: tuple[int, int, int], channels: int) -> None:
    pos = torch.zeros(vertices, 4).requires_grad_()
    tri = torch.tensor([[0, 1, 2], [2, 3, 0]])[:faces].reshape(-1, 3)
    color = random(*image, channels).requires_grad_()
    frags = lg.Fragments(torch.full(image, -1, dtype=torch.int32), torch.zeros(*image, 2), torch.zeros(image))
    out = lg.antialias(color, frags, pos, tri)
    assert torch.equal(out, color)
    out.sum().backward()
    assert torch.equal(color.grad, torch.ones_like(color))
    assert not pos.grad.any()


def test_nan_colours_stay_where_they_are() -> None:
    """A pixel that takes part in no blend neither spreads NaN nor loses it."""
    pos, tri, size = scenes()["cube"]
    frags = lg.rasterize(pos, tri, size)
    color = torch.zeros(1, *size, 1, dtype=torch.float64)
    color[0, 0, 0] = torch.nan
    out = lg.antialias(color, frags, pos, tri)
    assert out.isnan().sum() == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outline_half_way_between_two_centres_has_a_gradient(dtype: torch.dtype) -> None:
    """There the blend is zero, and its derivative is not: the area of a square of side 1 grows by 1 with its side."""
    xy = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]], dtype=dtype, requires_grad=True)
    pos = torch.cat((xy, xy.new_tensor([[0.0, 1.0]]).expand(4, 2)), 1)
    tri = torch.tensor([[0, 1, 2], [0, 2, 3]])
    frags = lg.rasterize(pos, tri, (64, 64))
    area = 4 * lg.antialias((frags.tri >= 0).to(dtype)[..., None], frags, pos, tri).mean()
    assert area == 1
    (grad,) = torch.autograd.grad(area, xy)
    assert torch.allclose(grad, xy.detach().sign() / 2, atol=1e-6)


@pytest.mark.parametrize("gap", [0.0, 0.001, 0.02, 0.1, 0.4])
def test_foot_of_a_wall_has_a_gradient(gap: float) -> None:
    """The floor in front of a wall is nearer than the wall's foot, which hides what lies behind it all the same. The
    foot is 32 pixels long, two units away and moves by 16 / 2 pixels a unit."""
    up = torch.zeros((), dtype=torch.float64, requires_grad=True)
    floor = torch.tensor([[-9, -1, -0.5], [9, -1, -0.5], [0, -1, -30]], dtype=torch.float64)
    wall = torch.tensor([[-9, -1 + gap, -2], [9, -1 + gap, -2], [9, 3, -2], [-9, 3, -2]], dtype=torch.float64)
    wall = wall + up * torch.tensor([[0, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]])
    x, y, z = torch.cat((floor, wall)).unbind(-1)
    pos = torch.stack((x, y, -1.02 * z - 0.202, -z), -1)
    tri = torch.tensor([[0, 1, 2], [3, 4, 5], [3, 5, 6]])
    frags = lg.rasterize(pos, tri, (32, 32))
    image = lg.antialias((frags.tri > 0).double()[..., None], frags, pos, tri)
    (grad,) = torch.autograd.grad(image.sum(), up)
    assert abs(grad + 32 * 16 / 2) < 1e-6


@pytest.mark.parametrize("own_edges", [False, True])
def test_no_blend_where_no_edge_lies_between_the_centres(own_edges: bool) -> None:
    """Two surfaces that cross: along the line where they meet, neither ends."""
    pos = torch.tensor([[-2.0, -2, -0.5, 1], [2, -2, 0.5, 1], [2, 2, 0.5, 1], [-2, 2, -0.5, 1]])
    pos = torch.cat((pos, pos * torch.tensor([1.0, 1, -1, 1])))
    tri = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    frags = lg.rasterize(pos, tri, (33, 32))
    color = (frags.tri < 2).float()[..., None]
    assert 0 < color.sum() < color.numel()
    assert torch.equal(antialias_with(color, frags, pos, tri, None, own_edges), color)


def test_triangles_seen_edge_on_have_no_edges_of_their_own() -> None:
    """Fragments made by hand can show one; it lies on no side of its edges."""
    pos = torch.tensor([[0.0, -1.25, -0.25, 1], [-0.5, 0.6875, 0.375, 1], [0.9375, -0.0625, -0.875, 1]])
    tri = torch.tensor([[0, 0, 1], [0, 1, 2]], dtype=torch.int32)
    frags = lg.Fragments(
        torch.tensor([[[0, 1], [-1, 0]]], dtype=torch.int32), torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2)
    )
    color = random(1, 2, 2, 3)
    for own_edges in (False, True):
        out = antialias_with(color, frags, pos, tri, None, own_edges)
        precise = frags._replace(bary=frags.bary.double(), depth=frags.depth.double())
        expected = lg.reference.antialias(color.double(), precise, pos.double(), tri, own_edges=own_edges)
        assert (out - expected).abs().max() < 1e-6
    degenerate = frags._replace(tri=frags.tri.clamp(max=0))
    assert torch.equal(antialias_with(color, degenerate, pos, tri, None, True), color)


@pytest.mark.parametrize("own_edges", [False, True])
@pytest.mark.parametrize("w", [1e-3, 1e-10, 1e-17, 1e-25, 1e-38])
def test_outlines_that_reach_the_eye(w: float, own_edges: bool) -> None:
    """A corner at almost no distance from the eye is seen 1 / w away; its edges cross the image all the same."""
    pos = torch.tensor([[-0.9, -0.63, 0.0, 1.0], [0.7, -0.3, -w, w], [-0.8, 0.55, 0.1, 1.0]], dtype=torch.float64)
    tri = torch.tensor([[0, 1, 2]])
    size = (12, 14)
    frags = lg.rasterize(pos, tri, size)
    color = (frags.tri >= 0).double()[..., None]
    out = antialias_with(color, frags, pos, tri, None, own_edges)
    expected = lg.reference.antialias(color, frags, pos, tri, own_edges=own_edges)
    assert (expected != color).sum() > 10
    assert (out - expected).abs().max() < 1e-9
