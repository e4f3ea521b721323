"""The soft rasterization kernel against the reference, PyTorch3D's results, differences and closed forms."""
# ruff: noqa: E501 - a table reads best with one call per line

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from cuda_kernels import skip_where_devices_are_silent
from meshes import cube, grid, perspective, random_triangles, to_clip
from ops_common import gradcheck, random, scaled_error, sphere_views
from soft_common import SCENES, SIZE, Oracle, scene, weighted
from torch import Tensor

import lumigrad as lg
from lumigrad import SoftFragments, blending
from lumigrad.ops.soft import _soft_rasterize as soft

OPTIONS = [(True, True, False), (True, False, False), (False, True, False), (True, True, True)]


# ---- Against the reference --------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reference(name: str, options: tuple[bool, bool, bool], dtype: torch.dtype) -> None:
    """Where faces share a corner that is nearest to a pixel they are equally deep, and rounding orders them."""
    blur = 0.01 if options[1] else 0.003
    pos, tri = scene(name, dtype)
    if options[2] and name == "inside":
        tri = tri.flip(1)  # so that it is the insides that are drawn
    ours, precise = pos.clone().requires_grad_(), pos.double().requires_grad_()
    actual = lg.soft_rasterize(ours, tri, SIZE, 5, blur, None, *options)
    expected = lg.reference.soft_rasterize(precise, tri, SIZE, 5, blur, None, *options)
    same = actual.tri == expected.tri
    assert same.double().mean() > 0.995
    assert (expected.tri >= 0).double().mean() > 0.03
    forward, backward = (1e-4, 1e-4) if dtype == torch.float32 else (1e-11, 1e-10)
    for field in ("z", "dist", "bary"):
        value, wanted = getattr(actual, field), getattr(expected, field)
        mask = same if value.dim() == 4 else same[..., None]
        assert scaled_error(value * mask, wanted * mask) < forward
        (grad,) = torch.autograd.grad(weighted(value, same), ours, retain_graph=True)
        (wanted_grad,) = torch.autograd.grad(weighted(wanted, same), precise, retain_graph=True)
        assert scaled_error(grad, wanted_grad) < backward
    differ = ~same
    assert torch.allclose(actual.z.double()[differ], expected.z[differ], rtol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (70, 3), (33, 40)])
@pytest.mark.parametrize("faces", [1, 4, 300])
def test_sizes_and_faces_per_pixel(size: tuple[int, int], faces: int) -> None:
    """Tiles are of two sizes, by the number of faces per pixel."""
    pos, tri = random_triangles(40, seed=7)
    pos = pos.double()
    actual = lg.soft_rasterize(pos, tri, size, faces, 0.02)
    expected = lg.reference.soft_rasterize(pos, tri, size, faces, 0.02)
    assert torch.equal(actual.tri, expected.tri)
    for field in ("z", "dist", "bary"):
        assert scaled_error(getattr(actual, field), getattr(expected, field)) < 1e-9


def test_fewer_faces_per_pixel_are_the_first_of_more() -> None:
    pos, tri = random_triangles(300, seed=2)
    many = lg.soft_rasterize(pos, tri, (50, 60), 64, 0.01)
    assert ((many.tri >= 0).sum(-1)).max() > 20
    assert (many.z[..., 1:] >= many.z[..., :-1])[many.tri[..., 1:] >= 0].all()
    for faces in (1, 2, 7, 20):
        few = lg.soft_rasterize(pos, tri, (50, 60), faces, 0.01)
        for a, b in zip(few, many):
            # Tiles of another size have other anchors: float32 rounds differently.
            assert torch.allclose(a, b[:, :, :, :faces].to(a.dtype), rtol=1e-4, atol=1e-4 * b.abs().max().item())


def test_ranges_are_single_images() -> None:
    pos, tri = random_triangles(30, seed=3, behind=0.1)
    ranges = torch.tensor([[0, 30], [5, 10], [0, 0], [29, 1]])
    together = lg.soft_rasterize(pos, tri, (40, 50), 3, 0.01, ranges)
    for n, (first, count) in enumerate(ranges.tolist()):
        alone = lg.soft_rasterize(pos, tri[first : first + count], (40, 50), 3, 0.01)
        index = torch.where(alone.tri < 0, alone.tri, alone.tri + first)
        assert torch.equal(index[0], together.tri[n])
        assert all(torch.equal(a[0], b[n]) for a, b in zip(alone[1:], together[1:]))


@pytest.mark.parametrize("sparse", [False, True])
def test_a_batch_is_single_images(sparse: bool, kernels: str) -> None:
    """Bit for bit, save for the order in which a device adds up gradients."""
    pos, tri = sphere_views(2, 3)
    moving = pos.clone().requires_grad_()
    out = lg.soft_rasterize(moving, tri, (60, 70), 3, 0.002)
    mask = torch.arange(60).view(-1, 1, 1) > 30 if sparse else torch.ones(60, 1, 1)

    def loss(values: SoftFragments) -> Tensor:
        return sum((v * mask.unsqueeze(-1) if v.dim() == 5 else v * mask).sum() for v in values[1:])

    (grad,) = torch.autograd.grad(loss(out), moving)
    for n in range(3):
        one = pos[n].clone().requires_grad_()
        alone = lg.soft_rasterize(one, tri, (60, 70), 3, 0.002)
        assert all(torch.equal(a[0], b[n]) for a, b in zip(alone, out))
        (alone_grad,) = torch.autograd.grad(loss(alone), one)
        assert torch.equal(alone_grad, grad[n]) or (kernels == "cuda" and scaled_error(alone_grad, grad[n]) < 1e-5)


# ---- Against PyTorch3D --------------------------------------------------------------------------------------

ORACLES = [
    f"p3d_mesh_{mesh}_{kind}"
    for mesh in ("suzanne", "spot")
    for kind in ("hard_square", "hard_wide", "soft_square", "soft_tall_affine")
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ORACLES)
def test_pytorch3d_fragments(name: str, dtype: torch.dtype, shared: Path) -> None:
    """Where another face was found, it is one at the same depth: outside of faces that share a corner, clipped
    weights put them all at that corner."""
    oracle = Oracle(shared / "oracles" / f"{name}.npz", dtype)
    frags = lg.soft_rasterize(
        oracle.clip_positions(), oracle.tri, oracle.size, oracle.faces_per_pixel, oracle.blur, None, *oracle.options
    )
    same = frags.tri == oracle.tri_found
    assert same.double().mean() > 0.999
    corners = oracle.verts[:, 2][oracle.tri.long()[frags.tri.clamp(min=0).long()]]
    view_z = torch.where(frags.tri >= 0, (frags.bary * corners).sum(-1), -1.0)
    ties = ~same
    assert torch.allclose(view_z[0], oracle.tensor("zbuf"), rtol=1e-5, atol=0)
    assert same.all(-1).double().mean() > 0.999 or torch.allclose(
        view_z[ties], oracle.tensor("zbuf")[None][ties], rtol=1e-6
    )
    hit = same & (frags.tri >= 0)
    # Both are float32, and bary is as ill-conditioned as the face is thin.
    for value, key, bound in ((frags.dist, "dists", 1e-4), (frags.bary, "bary", 2e-4)):
        assert scaled_error(value[0][hit[0]], oracle.tensor(key)[hit[0]]) < bound


def beyond_horizon(oracle: Oracle) -> Tensor:
    """Faces found at a pixel where their plane is behind the eye; there they have no unclipped weights."""
    raw = lg.reference.soft_attributes(
        oracle.clip_positions().detach().double(), oracle.tri, oracle.tri_found, oracle.perspective, False
    )
    lost = (oracle.tri_found >= 0) & ((raw.bary.sum(-1) - 1).abs() > 0.1)
    return oracle.tri_found[lost].long().unique()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ORACLES)
def test_pytorch3d_gradients(name: str, dtype: torch.dtype, shared: Path) -> None:
    """For the faces that PyTorch3D found.

    Left out are the vertices of faces seen so edge-on that some pixel in their blur lies beyond their horizon.
    PyTorch3D limits a denominator there, and its gradient ignores the limit: it is hundreds of times too large.
    """
    oracle = Oracle(shared / "oracles" / f"{name}.npz", dtype)
    hit = oracle.tri_found >= 0
    pos = oracle.clip_positions()
    frags = lg.reference.soft_attributes(pos.detach(), oracle.tri, oracle.tri_found, oracle.perspective, oracle.clip)
    depths = oracle.corner_depths()
    grad_z, grad_dist, grad_bary = (oracle.tensor(f"grad_{key}")[None] for key in ("zbuf", "dists", "bary"))
    # Its depth is the weighted mean of the corners' view z.
    through_bary = (grad_bary + grad_z[..., None] * depths.detach()) * hit[..., None]
    grad_pos = torch.ops.lumigrad.soft_rasterize_backward(
        pos.detach(), oracle.tri, None, oracle.tri_found, *oracle.tri_found.shape[1:],
        soft.PERSPECTIVE * oracle.perspective + soft.CLIP * oracle.clip, None, grad_dist * hit, through_bary, True,
    )  # fmt: skip
    through_corners = ((frags.bary * (grad_z * hit)[..., None]) * depths).sum()
    (grad,) = torch.autograd.grad((pos * grad_pos).sum() + through_corners, oracle.verts)
    expected = oracle.tensor("grad_verts")
    usable = torch.ones(len(grad), dtype=torch.bool)
    if oracle.clip and oracle.perspective:
        usable[oracle.tri[beyond_horizon(oracle)].long().flatten()] = False
    assert (~usable).sum() <= 18
    error = (grad - expected).abs()[usable]
    scale = expected.abs()[usable]
    assert scaled_error(grad[usable], expected[usable]) < 1e-3
    # Element by element; sums of large terms that cancel are noise in float32 results.
    close = error <= 1e-3 * scale + 1e-6 * scale.max()
    assert close.double().mean() > 0.998


# ---- Gradients ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS[:3])
@pytest.mark.parametrize("name", ["loose", "straddler"])
def test_gradcheck(name: str, options: tuple[bool, bool, bool]) -> None:
    """Of z, distances and weights by x, y, z and w, with fixed faces; a kink between two edges may spoil a
    difference, so that the pixels are few and none lies on one."""
    if name == "loose":
        pos, tri = random_triangles(3, seed=11, size=0.9)
        pos = pos.double()
    else:
        pos, tri = scene(name)
    moving = pos.clone().requires_grad_()
    found = lg.soft_rasterize(moving, tri, (4, 5), 3, 0.05, None, *options).tri
    assert (found >= 0).sum() > 8

    def run(p: Tensor) -> tuple[Tensor, ...]:
        out = lg.soft_rasterize(p, tri, (4, 5), 3, 0.05, None, *options)
        assert torch.equal(out.tri, found)
        return tuple(out[1:])

    assert gradcheck(run, (moving,), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_gradient_of_z_of_a_point_at_the_near_plane_is_zero() -> None:
    """Beyond the near plane z is clamped to -1."""
    pos = torch.tensor([[-1.0, -0.5, -2, 1], [1, -1, 0, 1], [1, 1, 0, 1]], dtype=torch.float64)  # cut at x = 0
    moving = pos.clone().requires_grad_()
    frags = lg.soft_rasterize(moving, torch.tensor([[0, 1, 2]]), (40, 40), 4, 0.1)
    clamped = frags.z == -1
    assert clamped.any()
    assert not torch.autograd.grad(frags.z[clamped].sum(), moving)[0].any()


# ---- Closed forms -----------------------------------------------------------------------------------------------


def test_distances_of_a_square() -> None:
    """The units: half the shorter side, on both axes."""
    points, tri = grid(1, 1)
    pos = torch.cat((0.5 * points[:, :2] * torch.tensor([0.5, 1.0]), torch.zeros(4, 1), torch.ones(4, 1)), 1).double()
    frags = lg.soft_rasterize(pos, tri, (10, 20), 2, 10.0)  # the square [-1/2, 1/2]^2 in these units
    column, row = torch.meshgrid(torch.arange(20.0), torch.arange(10.0), indexing="xy")
    x, y = (2 * column.double() + 1 - 20) / 10, (10 - 1 - 2 * row.double()) / 10
    outside = ((x.abs() - 0.5).clamp(min=0) ** 2 + (y.abs() - 0.5).clamp(min=0) ** 2)[None]
    beyond = outside > 0
    found = torch.where(frags.tri >= 0, frags.dist, torch.inf).amin(-1)
    assert torch.allclose(found[beyond], outside[beyond], atol=1e-12)
    assert (frags.dist.amin(-1)[~beyond] <= 0).all()


def test_no_blur_agrees_with_rasterize() -> None:
    """Where no vertex is near a pixel centre, within the 1/256 pixel by which `rasterize` snaps."""
    pos, tri = sphere_views(3, 2)
    hard = lg.rasterize(pos, tri, (90, 100))
    frags = lg.soft_rasterize(pos, tri, (90, 100), 1)
    same = frags.tri[..., 0] == hard.tri
    assert same.double().mean() > 0.998
    both = same & (hard.tri >= 0)
    assert (frags.z[..., 0] - hard.depth)[both].abs().max() < 1e-5
    assert (frags.bary[..., 0, :2] - hard.bary)[both].abs().max() < 1e-3
    assert (frags.dist[..., 0][both] <= 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_gaps_between_neighbours(dtype: torch.dtype) -> None:
    """Every pixel within a rotated, finely cut square is covered, whatever rounding does at the edges."""
    points, tri = grid(37, 41)
    angle = torch.tensor(0.7)
    turn = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
    flat = 3.0 * points[:, :2] @ turn.T
    w = 1 + 0.1 * points[:, :1]
    pos = torch.cat((flat * w, torch.zeros(len(flat), 1), w), 1).to(dtype)
    frags = lg.soft_rasterize(pos, tri, (160, 170), 2)
    assert (frags.tri[..., 0] >= 0).all()


def test_a_pixel_on_a_shared_edge_belongs_to_both_faces() -> None:
    points, tri = grid(2, 2)
    pos = torch.cat((2 * points[:, :2], torch.zeros(9, 1), torch.ones(9, 1)), 1)
    frags = lg.soft_rasterize(pos, tri, (3, 3), 8)
    assert (frags.tri[0, 1, 1] >= 0).sum() == 6  # the vertex in the middle
    assert (frags.dist[0, 1, 1] == 0).all()


def test_back_faces() -> None:
    points, tri = cube()
    pos = to_clip(points - torch.tensor([0.0, 0, 5]), perspective())
    both = lg.soft_rasterize(pos, tri, (20, 20), 8)
    front = lg.soft_rasterize(pos, tri, (20, 20), 8, cull_backfaces=True)
    assert (both.tri[0, 9, 8] >= 0).sum() == 2
    assert (front.tri[0, 9, 8] >= 0).sum() == 1
    assert torch.equal(both.tri[0, 9, 8, 0], front.tri[0, 9, 8, 0])
    turned = lg.soft_rasterize(pos, tri.flip(1), (20, 20), 8, cull_backfaces=True)
    assert torch.equal(turned.tri[0, 9, 8, :1], both.tri[0, 9, 8, 1:2])


def test_cut_faces_have_the_outline_that_is_seen() -> None:
    """Against a mesh that was cut at the near plane beforehand: the same silhouette and the same nearest depth."""
    pos, _ = scene("straddler")
    a, b, c = pos[0], pos[1], pos[2]  # a and b are behind
    near = [p[2] + p[3] for p in (a, b, c)]
    assert near[0] < 0 > near[1]
    assert near[2] > 0
    cut_a, cut_b = (c + near[2] / (near[2] - d) * (p - c) for p, d in ((a, near[0]), (b, near[1])))
    cut = lg.soft_rasterize(torch.stack((cut_a, cut_b, c)), torch.tensor([[0, 1, 2]]), (30, 31), 1, 0.05)
    whole = lg.soft_rasterize(pos[:3], torch.tensor([[0, 1, 2]]), (30, 31), 1, 0.05)
    # Rounding may put a corner of the cut face behind the near plane: the same outline with one edge more.
    assert (whole.tri >= 0).sum() > 100
    assert torch.equal(whole.tri, cut.tri)
    assert torch.allclose(whole.dist, cut.dist, atol=1e-9)
    inside = whole.dist < 0
    assert torch.allclose(whole.z[inside], cut.z[inside], atol=1e-9)


def test_interpolate() -> None:
    pos, tri = random_triangles(20, seed=5)
    frags = lg.soft_rasterize(pos.double(), tri, (12, 13), 4, 0.02)
    frags = frags._replace(bary=frags.bary.detach().requires_grad_())
    attr = random(2, 60, 5, seed=1, dtype=torch.float64)
    for value in (attr[0], attr[:1]):
        value = value.clone().requires_grad_()
        ours, theirs = lg.soft_interpolate(value, frags, tri), lg.reference.soft_interpolate(value, frags, tri)
        assert ours.shape == (1, 12, 13, 4, 5)
        assert scaled_error(ours, theirs) < 1e-12
        grads = [torch.autograd.grad(weighted(v), (value, frags.bary)) for v in (ours, theirs)]
        assert scaled_error(grads[0][0], grads[1][0]) < 1e-12
        # Weights sum to 1: only what does not change their sum is comparable.
        relative = [g[1] - g[1][..., 2:] for g in grads]
        assert scaled_error(*relative) < 1e-12


# ---- Odd input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e38])
@pytest.mark.parametrize("component", range(4))
def test_positions_that_are_not_finite(component: int, value: float) -> None:
    pos, tri = random_triangles(4, seed=6)
    broken = pos.clone()
    broken[0, component] = value
    broken.requires_grad_()
    frags = lg.soft_rasterize(broken, tri, SIZE, 3, 0.01)
    mask = lg.soft_silhouette(broken, tri, SIZE, 1e-3)
    assert all(v.isfinite().all() for v in (*frags[1:], mask))
    if not math.isfinite(value):
        expected = lg.soft_rasterize(pos, tri[1:], SIZE, 3, 0.01)
        assert torch.equal(frags.tri, torch.where(expected.tri < 0, -1, expected.tri + 1))
    (sum(v.sum() for v in frags[1:]) + mask.sum()).backward()
    assert broken.grad[3:].isfinite().all()
    if not math.isfinite(value):
        assert not broken.grad[:3].any()


def test_degenerate_faces_are_left_out() -> None:
    pos = torch.tensor([[0.0, 0, 0, 1], [0.5, 0.5, 0, 1], [1, 1, 0, 1], [0, 0, 0, 0]])
    tri = torch.tensor([[0, 1, 2], [0, 0, 1], [3, 3, 3], [0, 1, 3]])
    frags = lg.soft_rasterize(pos.requires_grad_(), tri, SIZE, 4, 0.1)
    assert (frags.tri == -1).all()
    assert not torch.autograd.grad(sum(v.sum() for v in frags[1:]), pos)[0].any()


@pytest.mark.parametrize("shape", [(0, 5), (2, 0), (0, 0)])
def test_empty(shape: tuple[int, int]) -> None:
    pos = torch.zeros(*shape, 4).requires_grad_()
    tri = torch.zeros(0, 3, dtype=torch.int32)
    frags = lg.soft_rasterize(pos, tri, (4, 5), 3, 0.1)
    assert frags.bary.shape == (shape[0], 4, 5, 3, 3)
    mask = lg.soft_silhouette(pos, tri, (4, 5), 1e-3)
    colors = lg.soft_colors(pos, tri, torch.ones(shape[1], 2), (4, 5), 1e-3, 1e-2, 0.25)
    none = lg.soft_colors(pos, tri, torch.ones(shape[1], 0), (4, 5), 1e-3, 1e-2)
    assert torch.equal(none, mask)
    assert torch.equal(mask, torch.zeros(shape[0], 4, 5, 1))
    assert torch.equal(colors, torch.tensor([0.25, 0.25, 0.0]).expand(shape[0], 4, 5, 3))
    (frags.z.sum() + mask.sum() + colors.sum()).backward()
    assert not pos.grad.any()


@pytest.mark.cpu_only
def test_fragments_of_other_positions() -> None:
    pos, tri = random_triangles(4)
    found = torch.zeros(1, 3, 3, 2, dtype=torch.int32)
    backward = torch.ops.lumigrad.soft_rasterize_backward
    with pytest.raises(ValueError, match="hold face 0, which shows nothing"):
        backward(pos * 0, tri, None, found, 3, 3, 2, 3, None, torch.ones(1, 3, 3, 2), None, True)
    with pytest.raises(ValueError, match="hold face 9, but tri has 4"):
        backward(pos, tri, None, found + 9, 3, 3, 2, 3, None, torch.ones(1, 3, 3, 2), None, True)


POS, TRI = random_triangles(2, seed=1)
FRAGS = lg.soft_rasterize(POS, TRI, (8, 9), 2, 0.01)
WRONG = [
    ("pos", lambda: lg.soft_rasterize(POS[:, :3], TRI, SIZE), ValueError, r"pos: expected shape \[N, V, 4\]"),
    ("tri", lambda: lg.soft_rasterize(POS, TRI + 1, SIZE), ValueError, r"tri\[1, 2\] is 6, but pos has 6 vertices"),
    ("tri negative", lambda: lg.soft_rasterize(POS, TRI - 1, SIZE), ValueError, r"tri\[0, 0\] is -1, but pos has 6"),
    ("ranges", lambda: lg.soft_rasterize(POS, TRI, SIZE, ranges=torch.tensor([[1, 2]])), ValueError, r"ranges\[0\] is"),
    ("K 0", lambda: lg.soft_rasterize(POS, TRI, SIZE, 0), ValueError, r"faces_per_pixel: .*from 1 to 1024, got 0"),
    ("K 1025", lambda: lg.soft_rasterize(POS, TRI, SIZE, 1025), ValueError, r"faces_per_pixel: .*got 1025"),
    ("K 1.5", lambda: lg.soft_rasterize(POS, TRI, SIZE, 1.5), TypeError, r"faces_per_pixel: expected an integer"),
    ("blur", lambda: lg.soft_rasterize(POS, TRI, SIZE, 1, -1), ValueError, r"blur_radius: expected a non-negative"),
    ("blur nan", lambda: lg.soft_rasterize(POS, TRI, SIZE, 1, math.nan), ValueError, r"blur_radius: .*got nan"),
    ("blur text", lambda: lg.soft_rasterize(POS, TRI, SIZE, 1, "x"), TypeError, r"blur_radius: expected a number"),
    ("sigma", lambda: lg.soft_silhouette(POS, TRI, SIZE, 0), ValueError, r"sigma: expected a positive number, got 0"),
    ("falloff", lambda: lg.soft_silhouette(POS, TRI, SIZE, 1, None, "x"), ValueError, r"falloff: expected one of sigm"),
    ("gamma", lambda: lg.soft_colors(POS, TRI, POS, SIZE, 1, -1), ValueError, r"gamma: expected a positive number"),
    ("mode", lambda: lg.soft_colors(POS, TRI, POS, SIZE, 1, 1, mode="x"), ValueError, r"mode: expected one of softras"),
    ("attr", lambda: lg.soft_colors(POS, TRI, POS[0], SIZE, 1, 1), ValueError, r"attr: expected shape \[V, C\]"),
    ("attr few", lambda: lg.soft_colors(POS, TRI, POS[:2], SIZE, 1, 1), ValueError, r"attr_tri\[0, 2\] is 2, but attr"),
    ("attr type", lambda: lg.soft_colors(POS, TRI, POS.double(), SIZE, 1, 1), TypeError, r"attr: expected .*float32"),
    ("attr_tri", lambda: lg.soft_colors(POS, TRI, POS, SIZE, 1, 1, attr_tri=TRI[:1]), ValueError, r"attr_tri: exp"),
    ("range", lambda: lg.soft_colors(POS, TRI, POS, SIZE, 1, 1, depth_range=(2, 1)), ValueError, r"depth_range: .*nea"),
    ("range 1", lambda: lg.soft_colors(POS, TRI, POS, SIZE, 1, 1, depth_range=1), TypeError, r"depth_range: expected"),
    ("ground", lambda: lg.soft_colors(POS, TRI, POS, SIZE, 1, 1, "x"), TypeError, r"background: expected a number"),
    ("ground shape", lambda: lg.soft_colors(POS, TRI, POS, SIZE, 1, 1, torch.zeros(2, 4)), ValueError, r"background: .*broadcasts with"),
    ("frags", lambda: lg.soft_interpolate(POS, (1,), TRI), TypeError, r"frags: expected lumigrad.SoftFragments"),
    ("frags z", lambda: lg.soft_interpolate(POS, FRAGS._replace(z=[1.0]), TRI), TypeError, r"frags.z: expected a torch.Tensor, got list"),
    ("frags dist", lambda: blending.silhouette(FRAGS._replace(dist=FRAGS.dist[0]), 1), ValueError, r"frags.dist: expected shape \[1, 8, 9, 2\]"),
    ("frags tri", lambda: blending.silhouette(FRAGS._replace(tri=FRAGS.tri.long()), 1), TypeError, r"frags.tri: expected int32"),
    ("frags meta", lambda: blending.probability(FRAGS._replace(dist=FRAGS.dist.to("meta")), 1), ValueError, r"frags.dist: expected device cpu like frags.tri"),
    ("frags None", lambda: blending.probability(None, 1), TypeError, r"frags: expected lumigrad.SoftFragments .*got NoneType"),
    ("p sigma", lambda: blending.probability(FRAGS, 0), ValueError, r"sigma: expected a positive number"),
    ("nearness pos", lambda: blending.nearness(FRAGS, POS[:, :3], TRI, (1, 2)), ValueError, r"pos: expected shape \[1, V, 4\] or \[V, 4\], got \(6, 3\)"),
    ("nearness range", lambda: blending.nearness(FRAGS, POS, TRI, 3.0), TypeError, r"depth_range: expected \(near, far\), got 3.0"),
    ("blend colors", lambda: blending.soft_blend(FRAGS.z, FRAGS, FRAGS.z, 1, 1), ValueError, r"colors: expected shape"),
    ("blend nearness", lambda: blending.soft_blend(FRAGS.bary, FRAGS, FRAGS.z[0], 1, 1), ValueError, r"nearness: expected shape"),
    ("blend ground", lambda: blending.soft_blend(FRAGS.bary, FRAGS, FRAGS.z, 1, 1, "x"), TypeError, r"background: expected a number, got 'x'"),
    ("blend mode", lambda: blending.soft_blend(FRAGS.bary, FRAGS, FRAGS.z, 1, 1, mode=[1]), ValueError, r"mode: expected one of"),
    ("frags 3-D", lambda: lg.soft_interpolate(POS, SoftFragments(*[TRI] * 4), TRI), ValueError, r"frags.tri: expected"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), [pytest.param(*case[1:], id=case[0]) for case in WRONG])
def test_wrong_calls(call, error: type[Exception], message: str, kernels: str) -> None:  # type: ignore[no-untyped-def]
    skip_where_devices_are_silent(kernels, message)
    with pytest.raises(error, match=message) as caught:
        call()
    assert caught.type is error


@pytest.mark.parametrize("size", [(9, 9), (13, 10)])
def test_faces_exactly_edge_on_are_left_out(size: tuple[int, int]) -> None:
    """Faces that are exactly edge-on are left out, whatever the rounding between the image's corner and a pixel."""
    pos = torch.tensor([[-0.5, -0.25, 0, 1], [0.25, 0.125, 0, 1], [1.0, 0.5, 0, 1], [0.75, -0.5, 0, 1]])
    tri = torch.tensor([[0, 1, 2], [0, 3, 2], [1, 1, 3]])
    for op in (lg.soft_rasterize, lg.reference.soft_rasterize):
        for dtype in (torch.float32, torch.float64):
            found = op(pos.to(dtype), tri, size, 3, 100.0).tri
            assert (found[..., 0] == 1).all(), op
            assert (found[..., 1:] == -1).all(), op


@pytest.mark.parametrize("falloff", blending.FALLOFFS)
@pytest.mark.parametrize("w", [1e-20, 1e-30, 1e-40])
def test_corners_at_the_eye(w: float, falloff: str) -> None:
    """A corner that is seen beyond what float32 holds: no NaN, and the faces beside it as they are without it."""
    pos = torch.tensor([[-0.5, -1, 0, 1], [-1, 0, 0, w], [0, 1, 0, 1], [1, 0.5, 0.5, 1], [-1, -1, 0.5, 1]])
    tri = torch.tensor([[0, 2, 1], [2, 4, 3]])
    moving = pos.clone().requires_grad_()
    mask = lg.soft_silhouette(moving, tri, (7, 17), 0.02, falloff=falloff)
    assert mask.isfinite().all()
    (grad,) = torch.autograd.grad(mask.sum(), moving)
    assert not grad.isnan().any()
    alone = lg.soft_silhouette(pos, tri[1:], (7, 17), 0.02, falloff=falloff)
    assert (mask >= alone - 1e-6).all()


def test_interpolation_takes_the_third_weight_from_the_others() -> None:
    """Kernel and definition take the third weight from the others, with the same gradients."""
    attr = random(3, 2, dtype=torch.float64)
    pos, tri = torch.tensor([[-1.0, -1, 0, 1], [3, -1, 0, 1], [-1, 3, 0, 1]]), torch.tensor([[0, 1, 2]])
    frags = lg.soft_rasterize(pos.double(), tri, (2, 3), 1)
    grads = []
    for op in (lg.soft_interpolate, lg.reference.soft_interpolate):
        bary = frags.bary.clone().requires_grad_()
        out = op(attr, frags._replace(bary=bary), tri)
        grads.append(torch.autograd.grad((out * random(*out.shape, dtype=torch.float64)).sum(), bary)[0])
    assert torch.allclose(*grads, rtol=1e-12)
    assert not grads[0][..., 2].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_beyond_the_tip_of_a_sliver(dtype: torch.dtype) -> None:
    """A face as thin as rounding covers no pixel on the line that it lies on, however near its lines come to it."""
    x, y, w = torch.tensor(2 / 3), torch.tensor([[-0.6, 0.4, -1.2], [0.1, 0.2, 0.15]]), torch.tensor([2.7, 1.1, 0.9])
    for turn in (1 - 6e-8, 1, 1 + 6e-8):
        corners = torch.tensor([1, turn, 1]) * x * w
        for heights in y:
            pos = torch.stack((corners, heights * w, torch.zeros(3), w), -1).to(dtype)
            mask = lg.soft_silhouette(pos, torch.tensor([[0, 1, 2]]), (16, 3), 1e-4, falloff="exponential")
            rows = 1 - (2 * torch.arange(16) + 1) / 16
            beyond = (rows > heights.max() + 0.02) | (rows < heights.min() - 0.02)
            assert mask[0, beyond].max() < 1e-3
