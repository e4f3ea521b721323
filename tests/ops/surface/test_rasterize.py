"""The rasterization kernel against the reference, and its gradients against differences."""

from __future__ import annotations

import pytest
import torch
from meshes import cube, random_triangles, uv_sphere, view_mesh
from ops_common import gradcheck, inside_sphere, near_straddler, random, scaled_error, sphere_views
from torch import Tensor

import lumigrad as lg

# ---- Gradients -------------------------------------------------------------------------------------------


def settled(pos: Tensor, tri: Tensor, size: tuple[int, int], ranges: Tensor | None = None) -> Tensor:
    """`pos`, after making sure that no pixel changes its triangle when positions move by some 1e-6.

    Coverage is decided at 1/256 pixel: a vertex has to cross a rounding threshold, and a pixel's centre has
    to lie within that step of its edges, for a difference quotient to see a jump. The seeds of the scenes
    are chosen such that this happens nowhere.
    """
    expected = lg.rasterize(pos, tri, size, ranges).tri
    assert (expected >= 0).sum() > 10
    for seed in range(8):
        moved = pos + 2e-6 * random(*pos.shape, seed=seed, dtype=pos.dtype)
        assert torch.equal(lg.rasterize(moved, tri, size, ranges).tri, expected)
    return pos.clone().requires_grad_()


def scenes() -> dict[str, tuple[Tensor, Tensor, Tensor | None]]:
    """Name: positions float64, faces, ranges."""
    triangles, faces = random_triangles(6, seed=1, size=1.2)
    instanced, _ = random_triangles(3, seed=5, size=1.3)
    room, room_tri = inside_sphere(0, torch.float64)
    ground, ground_tri = near_straddler()
    return {
        "one image": (triangles.double(), faces, None),
        "instanced": (torch.stack((instanced, instanced.flip(0))).double(), faces[:3], None),
        "ranges": (triangles.double(), faces, torch.tensor([[0, 2], [1, 3], [2, 0]])),
        "near-plane straddler": (ground, ground_tri, None),
        "camera inside": (room, room_tri, None),
    }


@pytest.mark.parametrize("name", scenes())
def test_gradients(name: str) -> None:
    pos, tri, ranges = scenes()[name]
    size = (6, 7)
    pos = settled(pos, tri, size, ranges)

    def outputs(p: Tensor) -> tuple[Tensor, ...]:
        frags = lg.rasterize(p, tri, size, ranges)
        return frags.bary, frags.depth, frags.bary_d

    assert gradcheck(outputs, (pos,), eps=1e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("output", ["bary", "depth", "bary_d"])
def test_gradient_of_one_output_alone(output: str) -> None:
    """Gradients that nobody asks for arrive as None in the kernel."""
    pos, tri, ranges = scenes()["one image"]
    pos = settled(pos, tri, (6, 7), ranges)

    def one(p: Tensor) -> Tensor:
        return getattr(lg.rasterize(p, tri, (6, 7), derivatives=output == "bary_d"), output)

    assert gradcheck(one, (pos,), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_gradient_through_clamps_is_zero() -> None:
    """At 1 sub-pixel bit snapping moves edges by up to a quarter pixel: many values are clamped."""
    pos, tri = (t.double() if t.is_floating_point() else t for t in random_triangles(30, seed=2, size=0.4))

    def run(p: Tensor, through: bool) -> tuple[Tensor, ...]:
        return torch.ops.lumigrad.rasterize(p, tri, None, 24, 24, True, False, 1, through, None, None, False, False)

    for through in (False, True):
        ours, theirs = pos.clone().requires_grad_(), pos.clone().requires_grad_()
        _, bary, depth, bary_d, *_ = run(ours, through)
        expected = lg.reference.rasterize(theirs, tri, (24, 24), subpixel_bits=1, straight_through=through)
        on_edge = ((bary == 0) | (bary.sum(-1, keepdim=True) == 1)).any(-1) & (expected.tri >= 0)
        assert on_edge.sum() > 10
        grads = []
        for p, outputs in ((ours, (bary, depth, bary_d)), (theirs, expected[1:4])):
            loss = sum((o * random(*o.shape, seed=i, dtype=o.dtype)).sum() for i, o in enumerate(outputs))
            grads.append(torch.autograd.grad(loss, p)[0])
        assert scaled_error(*grads) < 1e-10


# ---- Against the reference -------------------------------------------------------------------------------


def compare(
    pos: Tensor, tri: Tensor, size: tuple[int, int], ranges: Tensor | None, forward: float, backward: float
) -> None:
    """Coverage equal at every pixel; values and gradients within bounds relative to the largest of their kind."""
    ours = pos.detach().clone().requires_grad_()
    theirs = pos.detach().double().requires_grad_()
    frags = lg.rasterize(ours, tri, size, ranges)
    expected = lg.reference.rasterize(theirs, tri, size, ranges)
    assert torch.equal(frags.tri, expected.tri)
    assert frags.bary.dtype == frags.depth.dtype == frags.bary_d.dtype == pos.dtype
    names = ("bary", "depth", "bary_d")
    for name in names:
        error = scaled_error(getattr(frags, name), getattr(expected, name))
        assert error < forward, f"{name}: {error:.2e}"
    for i, name in enumerate(names):
        weight = random(*getattr(frags, name).shape, seed=i, dtype=torch.float64)
        (grad,) = torch.autograd.grad((getattr(frags, name) * weight.to(pos.dtype)).sum(), ours, retain_graph=True)
        (wanted,) = torch.autograd.grad((getattr(expected, name) * weight).sum(), theirs, retain_graph=True)
        error = scaled_error(grad, wanted)
        assert error < backward, f"gradient of {name}: {error:.2e}"


RESOLUTIONS = [(64, 64), (1, 1), (3, 130), (67, 61), (1, 200), (129, 2)]


@pytest.mark.parametrize("size", RESOLUTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_random_triangles(dtype: torch.dtype, size: tuple[int, int]) -> None:
    bounds = (1e-5, 1e-4) if dtype == torch.float32 else (1e-10, 1e-9)
    pos, tri = random_triangles(40, seed=size[0])
    compare(pos.to(dtype), tri, size, None, *bounds)
    instanced = torch.stack((pos, pos.flip(0), pos.roll(4, 0))).to(dtype)
    compare(instanced, tri.long(), size, None, *bounds)
    compare(pos.to(dtype), tri, size, torch.tensor([[3, 20], [0, 0], [0, 40], [39, 1]]).int(), *bounds)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_triangles_behind_the_camera(dtype: torch.dtype) -> None:
    """Clipped triangles; w changes its sign within them."""
    pos, tri = random_triangles(60, seed=8, behind=0.3)
    compare(pos.to(dtype), tri, (60, 80), None, 1e-5 if dtype == torch.float32 else 1e-10, 1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_camera_inside(dtype: torch.dtype) -> None:
    pos, tri = inside_sphere(1, dtype)
    frags = lg.rasterize(pos, tri, (90, 100))
    assert (frags.tri >= 0).all()
    compare(pos, tri, (90, 100), None, 1e-5 if dtype == torch.float32 else 1e-10, 1e-4)
    corners, faces = cube()
    room = view_mesh(corners.to(dtype), 30.0, 20.0, distance=0.1, fov=100)
    assert (lg.rasterize(room, faces, (50, 60)).tri >= 0).all()
    compare(room, faces, (50, 60), None, 1e-5 if dtype == torch.float32 else 1e-10, 1e-4)


def test_closed_meshes_float64() -> None:
    pos, tri = sphere_views(2, 3, torch.float64)
    compare(pos, tri, (100, 90), None, 1e-10, 1e-9)
    points, tri = uv_sphere(16, 32)
    compare(view_mesh(points.double(), 10, 85), tri, (128, 128), None, 1e-10, 1e-9)


def test_equal_depth_goes_to_the_larger_index() -> None:
    pos, tri = random_triangles(5, seed=3, size=0.8)
    twice = torch.cat((tri, tri.flip(0), tri[:, [1, 2, 0]]))
    frags = lg.rasterize(pos, twice, (40, 40))
    assert torch.equal(frags.tri, lg.reference.rasterize(pos, twice, (40, 40)).tri)
    assert frags.tri[frags.tri >= 0].min() >= 10


def test_many_small_triangles_per_pixel() -> None:
    """Much more geometry than pixels, in one tile: bins are long, most triangles cover nothing."""
    points, tri = uv_sphere(60, 120)
    pos = view_mesh(points, 20, 30)
    compare(pos, tri, (9, 11), None, 1e-4, 1e-3)


def test_derivatives_off() -> None:
    pos, tri = random_triangles(20)
    full, lean = lg.rasterize(pos, tri, (30, 40)), lg.rasterize(pos, tri, (30, 40), derivatives=False)
    assert lean.bary_d is None
    assert all(torch.equal(a, b) for a, b in zip(full[:3], lean[:3]))


def test_background_is_zero() -> None:
    pos, tri = random_triangles(3, size=0.2)
    frags = lg.rasterize(pos, tri, (64, 64))
    empty = frags.tri < 0
    assert empty.any()
    assert not frags.bary[empty].any()
    assert not frags.depth[empty].any()
    assert not frags.bary_d[empty].any()
    assert (frags.tri[empty] == -1).all()


@pytest.mark.parametrize("width", [1, 15, 16, 17, 63, 65, 130])
def test_gradients_of_background_pixels_go_nowhere(width: int) -> None:
    """Whatever arrives there, NaN included; on rows that end anywhere within the sixteen pixels of a step."""
    pos, tri = random_triangles(40, seed=width, size=0.4)
    pos = pos.requires_grad_()
    found, expected = [], []
    for rasterize, background, grads in (
        (lg.rasterize, torch.nan, found),
        (lg.reference.rasterize, 0.0, expected),
    ):
        frags = rasterize(pos, tri, (30, width))
        empty = frags.tri < 0
        assert 0 < empty.sum() < empty.numel()
        outputs = frags.bary, frags.depth, frags.bary_d
        grad_outputs = [random(*output.shape, seed=i) for i, output in enumerate(outputs)]
        for grad in grad_outputs:
            grad[empty] = background
        grads.append(torch.autograd.grad(outputs, pos, grad_outputs)[0])
    assert scaled_error(found[0], expected[0]) < 1e-4


# ---- Empty things ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pos_shape", "faces", "ranges", "views"),
    [
        ((0, 5, 4), 2, None, 0),
        ((2, 0, 4), 0, None, 2),
        ((2, 5, 4), 0, None, 2),
        ((0, 4), 0, None, 1),
        ((5, 4), 2, [], 0),
        ((5, 4), 0, [[0, 0]], 1),
        ((5, 4), 2, [[2, 0], [0, 0]], 2),
        ((0, 0, 4), 0, None, 0),
    ],
)
def test_empty(pos_shape: tuple[int, ...], faces: int, ranges: list | None, views: int) -> None:
    pos = torch.zeros(pos_shape).requires_grad_()
    tri = torch.tensor([[0, 1, 2], [2, 3, 4]])[:faces].reshape(-1, 3)
    spans = None if ranges is None else torch.tensor(ranges, dtype=torch.int64).reshape(-1, 2)
    frags = lg.rasterize(pos, tri, (3, 5), spans)
    assert frags.tri.shape == (views, 3, 5)
    assert frags.bary_d.shape == (views, 3, 5, 2, 2)
    assert (frags.tri == -1).all()
    sum(value.sum() for value in frags[1:4]).backward()
    assert pos.grad.shape == pos.shape
    assert not pos.grad.any()


def test_one_pixel() -> None:
    pos = torch.tensor([[-1.0, -1, 0, 1], [3, -1, 0, 1], [-1, 3, 0, 1]])
    frags = lg.rasterize(pos, torch.tensor([[0, 1, 2]]), (1, 1))
    assert frags.tri.item() == 0
    assert torch.allclose(frags.bary, torch.tensor([0.5, 0.25]))
