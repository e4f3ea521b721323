"""The reference rasterizer against closed forms, ray casting and a literal transcription of the rule."""

from __future__ import annotations

import math
from importlib import import_module
from itertools import pairwise

import numpy as np
import pytest
import torch
from meshes import grid, load_obj, perspective, random_triangles, to_clip, view_mesh
from torch import Tensor

from lumigrad.reference import peel, rasterize, visibility
from lumigrad.reference.surface._rasterize import points_seen


def clip_from_pixels(points: list[tuple[float, float]], height: int, width: int, z: float = 0.0) -> Tensor:
    """Positions [V, 4] with w=1 of points (column, row) in pixels from the outer corner of pixel (0, 0)."""
    return torch.tensor([(2 * x / width - 1, 1 - 2 * y / height, z, 1.0) for x, y in points], dtype=torch.float64)


def coverage_count(pos: Tensor, tri: Tensor, size: tuple[int, int]) -> Tensor:
    """How many triangles cover each pixel: every triangle is drawn in an image of its own."""
    ranges = torch.tensor([(t, 1) for t in range(len(tri))])
    return (visibility(pos, tri, size, ranges)[0] >= 0).sum(0)


# ---- coverage


def spec_visibility(pos: Tensor, tri: Tensor, height: int, width: int, sub: int) -> np.ndarray:
    """The rule for triangles that need no clipping, transcribed pixel by pixel."""
    f32 = np.float32
    best = np.full((height, width), np.inf, np.float32)
    winner = np.full((height, width), -1, np.int32)
    for t, face in enumerate(tri.tolist()):
        points = []
        for x, y, z, w in pos.double()[face].tolist():
            column = x / w * (width * sub / 2) + (width * sub / 2)
            row = (height * sub / 2) - y / w * (height * sub / 2)
            points.append((round(column), round(row), f32(z / w)))
        (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = points
        area2 = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area2 == 0:
            continue
        if area2 < 0:
            x1, y1, z1, x2, y2, z2 = x2, y2, z2, x1, y1, z1
            area2 = -area2
        ja = max(0, math.ceil((min(x0, x1, x2) - sub / 2) / sub))
        ia = max(0, math.ceil((min(y0, y1, y2) - sub / 2) / sub))
        d0, d1, d2 = float(z0), float(z1), float(z2)
        zx = ((d1 - d0) * (y2 - y0) - (d2 - d0) * (y1 - y0)) / area2 * sub
        zy = ((d2 - d0) * (x1 - x0) - (d1 - d0) * (x2 - x0)) / area2 * sub
        za = d0 + zx * ((ja * sub + sub / 2 - x0) / sub) + zy * ((ia * sub + sub / 2 - y0) / sub)
        edges = ((x0, y0, x1, y1), (x1, y1, x2, y2), (x2, y2, x0, y0))
        for i in range(height):
            for j in range(width):
                cx, cy = j * sub + sub // 2, i * sub + sub // 2
                for xa, ya, xb, yb in edges:
                    e = (xb - xa) * (cy - ya) - (yb - ya) * (cx - xa)
                    if not (e > 0 or (e == 0 and (yb < ya or (yb == ya and xb > xa)))):
                        break
                else:
                    d = f32(f32(f32(za) + f32(zy) * f32(i - ia)) + f32(zx) * f32(j - ja))
                    d = max(min(z0, z1, z2), min(max(z0, z1, z2), d))
                    if d <= best[i, j]:
                        best[i, j], winner[i, j] = d, t
    return winner


@pytest.mark.parametrize("bits", [8, 4])
def test_visibility_is_the_rule_to_the_letter(bits: int) -> None:
    pos, tri = random_triangles(25, seed=bits, size=0.8)
    inside = (pos[:, 2].abs() <= pos[:, 3]).view(-1, 3).all(1)
    tri = tri[inside]
    assert len(tri) > 15
    seen, _ = visibility(pos, tri, (13, 18), subpixel_bits=bits)
    assert (seen[0].numpy() == spec_visibility(pos, tri, 13, 18, 1 << bits)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_screen_quad_covers_each_pixel_once(dtype: torch.dtype) -> None:
    pos = torch.tensor([[-1, 1, 0, 1], [1, 1, 0, 1], [-1, -1, 0, 1], [1, -1, 0, 1]], dtype=dtype)
    tri = torch.tensor([[0, 2, 1], [1, 2, 3]])
    for size in ((8, 8), (5, 7), (1, 1), (1, 9)):
        assert (coverage_count(pos, tri, size) == 1).all()
        assert (rasterize(pos, tri, size).tri >= 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_fan_through_pixel_centres_is_watertight(seed: int) -> None:
    """All vertices are pixel centres, so that edges run through pixel centres."""
    random = torch.Generator().manual_seed(seed)
    size, count = 24, 9
    angle = torch.arange(count) * (2 * math.pi / count) + 0.3 * torch.rand(count, generator=random)
    ring = [(12.5 + round(11 * math.cos(a)), 12.5 + round(11 * math.sin(a))) for a in angle.tolist()]
    pos = clip_from_pixels([*ring, (12.5, 12.5)], size, size)
    tri = torch.tensor([(k, (k + 1) % count, count) for k in range(count)])
    counts = coverage_count(pos, tri, (size, size))
    assert counts.max() == 1
    outline = clip_from_pixels(ring, size, size)
    convex = torch.tensor([(0, k, k + 1) for k in range(1, count - 1)])
    assert (coverage_count(outline, convex, (size, size)) == 1)[1:-1, 1:-1].sum() > 150
    assert counts[12, 12] == 1


def test_jittered_grid_is_watertight() -> None:
    """Beyond the screen on all sides: every pixel belongs to exactly one triangle, whatever the winding."""
    positions, tri = grid(9, 11)
    random = torch.Generator().manual_seed(5)
    jitter = 0.08 * (torch.rand(len(positions), 2, generator=random) - 0.5)
    xy = 1.2 * positions[:, :2] + jitter
    w = 0.5 + torch.rand(len(positions), 1, generator=random)
    pos = torch.cat((xy * w, 0 * w, w), 1)
    flip = torch.rand(len(tri), generator=random) < 0.5
    tri[flip] = tri[flip][:, [0, 2, 1]]
    assert (coverage_count(pos, tri, (40, 50)) == 1).all()


def test_top_left_rule() -> None:
    """A square from pixel centre to pixel centre: its top and left edges are inside, the others are not."""
    pos = clip_from_pixels([(1.5, 1.5), (4.5, 1.5), (4.5, 4.5), (1.5, 4.5)], 6, 6)
    for faces in ([(0, 1, 2), (0, 2, 3)], [(0, 2, 1), (0, 2, 3)], [(0, 1, 3), (1, 2, 3)]):
        count = coverage_count(pos, torch.tensor(faces), (6, 6))
        expected = torch.zeros(6, 6, dtype=torch.int64)
        expected[1:4, 1:4] = 1
        assert torch.equal(count, expected)


def test_memory_bound_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pos, tri = random_triangles(30, size=0.5, behind=0.2)
    whole = visibility(pos, tri, (20, 30))
    monkeypatch.setattr(import_module("lumigrad.reference.surface._rasterize"), "PAIRS_PER_CHUNK", 37)
    pieces = visibility(pos, tri, (20, 30))
    assert torch.equal(whole[0], pieces[0])
    assert torch.equal(whole[1], pieces[1])


# ---- attributes


def test_right_triangle_has_known_barycentrics() -> None:
    size = 8
    pos = clip_from_pixels([(0, 0), (8, 0), (0, 8)], size, size)
    pos[:, 2] = torch.tensor([-0.5, 0.25, 1.0])
    frags = rasterize(pos, torch.tensor([[0, 1, 2]]), (size, size))
    for i in range(size):
        for j in range(size):
            v, third = (j + 0.5) / size, (i + 0.5) / size
            if v + third < 1:
                u = 1 - v - third
                assert frags.tri[0, i, j] == 0
                assert torch.allclose(frags.bary[0, i, j], torch.tensor([u, v]).double(), atol=1e-12)
                assert frags.depth[0, i, j].item() == pytest.approx(-0.5 * u + 0.25 * v + third)
                expected = torch.tensor([[-1.0, -1.0], [1.0, 0.0]]).double() / size
                assert torch.allclose(frags.bary_d[0, i, j], expected, atol=1e-12)
            elif v + third > 1:
                assert frags.tri[0, i, j] == -1
                assert not frags.bary[0, i, j].any()
                assert frags.depth[0, i, j] == 0
                assert not frags.bary_d[0, i, j].any()


def cast_rays(points: Tensor, tri: Tensor, fov: float, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Moeller & Trumbore 1997 from the eye: weights of vertices 1 and 2, distance along -z; [T, H, W]."""
    height, width = size
    tangent = math.tan(math.radians(fov) / 2)
    y = (1 - (2 * torch.arange(height).double() + 1) / height) * tangent
    x = ((2 * torch.arange(width).double() + 1) / width - 1) * tangent * (width / height)
    ray = torch.stack((x.expand(height, -1), y[:, None].expand(-1, width), -torch.ones(height, width)), -1)
    p0, p1, p2 = (points[tri[:, k].long()][:, None, None] for k in range(3))
    e1, e2 = p1 - p0, p2 - p0
    across = torch.linalg.cross(ray[None].expand(len(tri), -1, -1, -1), e2.expand(-1, height, width, -1))
    det = (across * e1).sum(-1)
    b1 = (across * -p0).sum(-1) / det
    q = torch.linalg.cross(-p0, e1)
    b2 = (q * ray).sum(-1) / det
    return b1, b2, (q * e2).sum(-1) / det


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spread", [0.6, 3.0])
def test_triangles_are_where_rays_hit_them(seed: int, spread: float) -> None:
    """With spread 3 most triangles reach behind the eye and through the near or the far plane."""
    random = torch.Generator().manual_seed(seed)
    size, fov, near, far = (33, 41), 60.0, 0.5, 4.0
    points = spread * 2 * (torch.rand(3, 3, generator=random, dtype=torch.float64) - 0.5)
    points[:, 2] -= 1.6
    tri = torch.tensor([[0, 1, 2]])
    frags = rasterize(to_clip(points, perspective(fov, 41 / 33, near, far)), tri, size)
    b1, b2, z = (a[0] for a in cast_rays(points, tri, fov, size))
    weights = torch.stack((1 - b1 - b2, b1, b2))
    margin = torch.minimum(weights.amin(0), torch.minimum(z - near, far - z) / far)
    covered = frags.tri[0] >= 0
    assert not (margin > 0.02)[~covered].any()
    assert not (margin < -0.02)[covered].any()
    if covered.any():
        ndc = (far + near) / (far - near) - 2 * far * near / (far - near) / z
        firmly = covered & (margin > 0)
        assert torch.allclose(frags.bary[0][firmly], weights[:2].permute(1, 2, 0)[firmly], atol=1e-9)
        assert torch.allclose(frags.depth[0][firmly], ndc[firmly], atol=1e-9)


def test_near_plane_straddlers_cover_something() -> None:
    """A floor that runs from behind the eye to the far plane fills the lower half of the image."""
    floor = torch.tensor([[-50.0, -1, 20], [50, -1, 20], [50, -1, -50], [-50, -1, -50]]).double()
    pos = to_clip(floor, perspective(60.0, 1.0, 0.01, 1000.0))
    tri = torch.tensor([[0, 1, 2], [0, 2, 3]])
    seen = rasterize(pos, tri, (32, 32)).tri[0] >= 0
    assert seen[17:].all()
    assert not seen[:16].any()
    assert (coverage_count(pos, tri, (32, 32)) <= 1).all()


def test_shared_edges_stay_watertight_when_clipped() -> None:
    """A jittered grid that passes through the near plane, the eye and the guard band."""
    positions, tri = grid(6, 6)
    random = torch.Generator().manual_seed(1)
    points = torch.stack((40 * positions[:, 0], -1 + 0 * positions[:, 0], 30 * positions[:, 1] - 20), 1).double()
    points[:, [0, 2]] += torch.rand(len(points), 2, generator=random).double()
    pos = to_clip(points, perspective(60.0, 1.0, 0.001, 1000.0))
    counts = coverage_count(pos, tri, (64, 64))
    assert (counts[37:] == 1).all()
    assert counts.max() == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_depth_is_linear_on_the_screen(dtype: torch.dtype) -> None:
    points = torch.tensor([[-1.5, -1.5, -1.0], [2.5, -1.0, -4.0], [0.2, 2.5, -2.0]], dtype=dtype)
    pos = to_clip(points, perspective(60.0, 1.0, 0.1, 10.0))
    frags = rasterize(pos, torch.tensor([[0, 1, 2]]), (32, 32))
    depth = frags.depth[0]
    inside = frags.tri[0] == 0
    tolerance = 1e-12 if dtype == torch.float64 else 2e-6
    for d, s in ((depth, inside), (depth.T, inside.T)):
        bend = d[2:] - 2 * d[1:-1] + d[:-2]
        strictly = s[2:] & s[1:-1] & s[:-2]
        assert strictly.sum() > 100
        assert bend[strictly].abs().max() < tolerance
    visible_depth = visibility(pos, torch.tensor([[0, 1, 2]]), (32, 32))[1][0]
    assert (visible_depth - depth)[inside].abs().max() < 1e-3  # the slope per snapping step of 1/256 pixel


@pytest.mark.parametrize("straight_through", [False, True])
def test_gradients(straight_through: bool) -> None:
    pos, tri = random_triangles(9, seed=5, size=0.9)
    pos, tri_id = pos.double(), visibility(pos, tri, (5, 6))[0]
    assert (tri_id >= 0).sum() > 8

    def outputs(p: Tensor):
        return points_seen(p, tri, tri_id, straight_through=straight_through)[1:4]

    exact = outputs(pos)[0]
    assert torch.equal(exact, rasterize(pos, tri, (5, 6)).bary)
    assert torch.autograd.gradcheck(outputs, pos.requires_grad_(), atol=1e-6)


def test_bary_d_is_the_derivative_of_bary() -> None:
    """Moving the triangle by a pixel to the left is moving the pixel to the right."""
    pos, tri = random_triangles(1, seed=8, size=1.0)
    pos, step = pos.double(), 1e-6
    height, width = 9, 12
    tri_id = torch.zeros(1, height, width, dtype=torch.int32)
    slopes = points_seen(pos, tri, tri_id).bary_d
    inside = visibility(pos, tri, (height, width))[0] == 0
    for axis, ndc in ((0, 2 / width), (1, -2 / height)):
        moved = [pos.clone(), pos.clone()]
        for p, sign in zip(moved, (1, -1)):
            p[:, axis] -= sign * step * ndc * p[:, 3]
        ahead, back = (points_seen(p, tri, tri_id).bary for p in moved)
        assert torch.allclose((ahead - back)[inside] / (2 * step), slopes[..., axis][inside], atol=1e-7)


def test_clamped_values_have_no_gradient() -> None:
    """The pixel centre lies outside the exact triangle, on the side of vertex 0's opposite edge."""
    pos = clip_from_pixels([(-3.0, 0.5), (0.4, 3.0), (0.4, -3.0)], 1, 1).requires_grad_()
    tri, tri_id = torch.tensor([[0, 1, 2]]), torch.zeros(1, 1, 1, dtype=torch.int32)
    frags = points_seen(pos, tri, tri_id)
    assert frags.bary[0, 0, 0, 0] == 0
    (grad,) = torch.autograd.grad(frags.bary[..., 0].sum(), pos)
    assert not grad.any()
    through = points_seen(pos, tri, tri_id, straight_through=True)
    assert torch.equal(through.bary, frags.bary)
    (grad,) = torch.autograd.grad(through.bary[..., 0].sum(), pos)
    assert grad.any()


def test_edge_on_triangles_give_zeros() -> None:
    pos = torch.tensor([[-1.0, 0, 0, 1], [0, 0, 0, 1], [1, 0, 0, 1]]).requires_grad_()
    frags = points_seen(pos, torch.tensor([[0, 1, 2]]), torch.zeros(1, 2, 2, dtype=torch.int32))
    for values in (frags.bary, frags.depth, frags.bary_d):
        assert not values.any()
        (grad,) = torch.autograd.grad(values.sum(), pos, retain_graph=True)
        assert not grad.any()


# ---- visibility order


def test_nearer_wins_and_later_wins_ties() -> None:
    quad = clip_from_pixels([(0, 0), (4, 0), (4, 4), (0, 4)], 4, 4)
    far, near = quad.clone(), quad.clone()
    far[:, 2], near[:, 2] = 0.5, -0.5
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    seen = rasterize(torch.cat((near, far)), torch.cat((faces, faces + 4)), (4, 4)).tri
    assert (seen < 2).all()
    seen = rasterize(torch.cat((near, near)), torch.cat((faces, faces + 4)), (4, 4)).tri
    assert (seen >= 2).all()


def test_peeling_finds_every_fragment_in_order() -> None:
    pos, tri = random_triangles(25, seed=2, size=0.8, behind=0.1)
    tri = torch.cat((tri, tri[:5]))  # coincident surfaces
    counts = coverage_count(pos, tri, (16, 20))
    assert counts.max() > 4
    layers = list(peel(pos, tri, (16, 20), int(counts.max()) + 1))
    assert torch.equal(sum((f.tri[0] >= 0).long() for f in layers), counts)
    assert torch.equal(layers[0].tri, rasterize(pos, tri, (16, 20)).tri)
    assert (layers[-1].tri == -1).all()
    stack = torch.cat([f.tri for f in layers])
    for seen in stack.flatten(1).T.tolist():
        hits = [t for t in seen if t >= 0]
        assert len(set(hits)) == len(hits)
        assert seen[: len(hits)] == hits
    for front, back in pairwise(layers):
        both = back.tri >= 0
        assert (back.depth[both] >= front.depth[both] - 1e-3).all()


def test_peeling_can_drop_coincident_surfaces() -> None:
    quad = clip_from_pixels([(0, 0), (4, 0), (4, 4), (0, 4)], 4, 4)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    pos, tri = torch.cat((quad, quad)), torch.cat((faces, faces + 4))
    kept = [(f.tri >= 0).all().item() for f in peel(pos, tri, (4, 4), 3)]
    dropped = [(f.tri >= 0).all().item() for f in peel(pos, tri, (4, 4), 3, drop_coincident=True)]
    assert kept == [True, True, False]
    assert dropped == [True, False, False]


# ---- inputs


def test_ranges_and_instances_agree() -> None:
    pos, tri = random_triangles(12, seed=4, size=0.6)
    ranges = torch.tensor([[0, 5], [5, 0], [3, 9]])
    frags = rasterize(pos, tri, (10, 11), ranges)
    for n, (first, count) in enumerate(ranges.tolist()):
        alone = rasterize(pos[None], tri[first : first + count], (10, 11))
        assert torch.equal(frags.tri[n], torch.where(alone.tri[0] < 0, -1, alone.tri[0] + first))
        assert torch.equal(frags.bary[n], alone.bary[0])
    batch = torch.stack((pos, pos.flip(0)))
    both = rasterize(batch, tri, (10, 11))
    for n in range(2):
        assert torch.equal(both.tri[n], rasterize(batch[n], tri, (10, 11)).tri[0])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_finite_triangles_are_culled(bad: float) -> None:
    pos, tri = random_triangles(8, seed=6, size=0.8)
    expected = rasterize(pos, tri[1:], (12, 12))
    for component in range(4):
        broken = pos.clone()
        broken[1, component] = bad
        frags = rasterize(broken.requires_grad_(), tri, (12, 12))
        assert torch.equal(frags.tri, torch.where(expected.tri < 0, -1, expected.tri + 1))
        (grad,) = torch.autograd.grad(frags.bary.sum() + frags.depth.sum() + frags.bary_d.sum(), broken)
        assert grad.isfinite().all()


@pytest.mark.parametrize("scale", [1e300, 1e308, 1e-300])
def test_extreme_positions_do_no_harm(scale: float) -> None:
    pos, tri = random_triangles(60, seed=7, size=1.0, behind=0.3)
    frags = rasterize(pos.double() * scale, tri, (8, 8))
    assert frags.bary.isfinite().all()
    assert frags.depth.isfinite().all()
    mixed = pos.double() * torch.logspace(-300, 300, len(pos), dtype=torch.float64)[:, None]
    assert rasterize(mixed, tri, (8, 8), derivatives=False).bary.isfinite().all()


def test_empty_inputs() -> None:
    pos, tri = random_triangles(2)
    assert (rasterize(pos, tri[:0], (3, 4)).tri == -1).all()
    assert rasterize(pos[None][:0], tri, (3, 4)).tri.shape == (0, 3, 4)
    assert rasterize(pos, tri, (3, 4), torch.zeros(0, 2, dtype=torch.int64)).bary.shape == (0, 3, 4, 2)
    assert rasterize(pos, tri, (3, 4), derivatives=False).bary_d is None
    assert rasterize(pos[:0], tri[:0], (1, 1)).tri.tolist() == [[[-1]]]


@pytest.mark.parametrize(
    ("change", "error", "name"),
    [
        ({"pos": torch.zeros(3, 3)}, ValueError, "pos"),
        ({"pos": torch.zeros(3, 4, dtype=torch.int32)}, TypeError, "pos"),
        ({"tri": torch.tensor([[0.0, 1.0, 2.0]])}, TypeError, "tri"),
        ({"tri": torch.tensor([[0, 1, 2, 0]])}, ValueError, "tri"),
        ({"tri": torch.tensor([[0, 1, 3]])}, ValueError, "tri"),
        ({"tri": torch.tensor([[0, -1, 2]])}, ValueError, "tri"),
        ({"size": (0, 4)}, ValueError, "size"),
        ({"ranges": torch.tensor([[0, 2]])}, ValueError, "ranges"),
        ({"ranges": torch.tensor([0, 1])}, ValueError, "ranges"),
        ({"ranges": torch.tensor([[0.0, 1.0]])}, TypeError, "ranges"),
        ({"pos": torch.zeros(1, 3, 4), "ranges": torch.tensor([[0, 1]])}, ValueError, "ranges"),
        ({"subpixel_bits": 0}, ValueError, "subpixel_bits"),
    ],
)
def test_unsound_arguments_are_named(change: dict, error: type[Exception], name: str) -> None:
    arguments = {"pos": torch.zeros(3, 4), "tri": torch.tensor([[0, 1, 2]]), "size": (4, 4)}
    with pytest.raises(error, match=f"^{name}:"):
        rasterize(**{**arguments, **change})


def test_real_mesh(shared) -> None:
    positions, tri = load_obj(shared / "data/meshes/spot.obj")
    frags = rasterize(view_mesh(positions, 30, 20), tri, (128, 128))
    share = (frags.tri >= 0).float().mean()
    assert 0.02 < share < 0.2
    assert (frags.bary.sum(-1) <= 1 + 1e-6).all()
