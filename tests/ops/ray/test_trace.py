"""Rays through meshes, against closed forms and the definition that tests every ray with every triangle."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from cuda_kernels import skip_where_devices_are_silent
from torch import Tensor

import lumigrad as lg
from lumigrad import Hits
from lumigrad.scene import icosphere

DTYPES = (torch.float32, torch.float64)
SQUARE = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
SQUARE_TRI = torch.tensor([[0, 1, 2], [0, 2, 3]])


def uniform(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Numbers in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def soup(triangles: int, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Triangles between random vertices of the unit cube."""
    count = triangles + 5
    return uniform(count, 3, seed=seed, dtype=dtype), uniform(triangles, count, seed=seed + 1).argsort(1)[:, :3]


def crossing(rays: int, dtype: torch.dtype, seed: int = 10) -> tuple[Tensor, Tensor]:
    """Rays from around the unit cube through it."""
    origins = uniform(rays, 3, seed=seed, dtype=dtype) * 4 - 1.5
    return origins, uniform(rays, 3, seed=seed + 1, dtype=dtype) - origins


def test_a_square() -> None:
    origins = torch.tensor([[0.75, 0.25, 2.0], [0.25, 0.75, -1.0], [1.5, 0.5, 2.0]])
    directions = torch.tensor([[0.0, 0.0, -4.0], [0.0, 0.0, 0.5], [0.0, 0.0, -1.0]])
    hits = lg.trace(origins, directions, SQUARE, SQUARE_TRI)
    assert hits.tri.tolist() == [0, 1, -1]
    assert hits.t.tolist() == [0.5, 2.0, math.inf]
    assert hits.bary.tolist() == [[0.25, 0.5], [0.25, 0.25], [0.0, 0.0]]
    assert lg.occluded(origins, directions, SQUARE, SQUARE_TRI).tolist() == [True, True, False]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("triangles", [1, 3, 4, 5, 33, 700])
def test_definition(triangles: int, dtype: torch.dtype) -> None:
    mesh, rays = soup(triangles, dtype), crossing(333, dtype)
    hits, expected = lg.trace(*rays, *mesh), lg.reference.trace(*rays, *mesh)
    assert torch.equal(hits.tri, expected.tri)
    assert (hits.tri >= 0).any()
    tolerance = 1e-6 if dtype == torch.float32 else 1e-11
    torch.testing.assert_close(hits.t, expected.t, rtol=tolerance, atol=0)
    torch.testing.assert_close(hits.bary, expected.bary, rtol=0, atol=tolerance)
    assert torch.equal(lg.occluded(*rays, *mesh), expected.tri >= 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_are_those_of_the_definition(dtype: torch.dtype) -> None:
    (vertices, tri), rays = soup(300, dtype), crossing(2000, dtype)
    weights = uniform(2000, 3, seed=3)

    def gradients(trace: Callable[..., Hits]) -> list[Tensor]:
        leaves = [value.clone().requires_grad_() for value in (*rays, vertices)]
        hits = trace(*leaves, tri)
        hit = hits.tri >= 0
        values = torch.cat((hits.bary, hits.t[:, None]), -1)[hit].double()
        return list(torch.autograd.grad((weights[hit] * values).sum(), leaves))

    for actual, expected in zip(gradients(lg.trace), gradients(lg.reference.trace)):
        assert expected.any()
        tolerance = 1e-5 if dtype == torch.float32 else 1e-10
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


def test_gradcheck() -> None:
    (vertices, tri), (origins, directions) = soup(20, torch.float64), crossing(60, torch.float64)
    found = lg.trace(origins, directions, vertices, tri)
    # Away from edges and from planes that are seen from the side, where finite differences see what they should not.
    corners = vertices[tri[found.tri.clamp(min=0).long()]]
    normal = torch.linalg.cross(corners[:, 0] - corners[:, 2], corners[:, 1] - corners[:, 2])
    normal = torch.nn.functional.normalize(normal, dim=-1)
    cosine = (normal * torch.nn.functional.normalize(directions, dim=-1)).sum(-1).abs()
    inner = torch.cat((found.bary, 1 - found.bary.sum(-1, keepdim=True)), -1).amin(-1) > 0.02
    clear = (found.tri >= 0) & inner & (cosine > 0.2)
    assert clear.sum() > 5

    def values(o: Tensor, d: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        hits = lg.trace(o, d, v, tri)
        return hits.bary, hits.t

    leaves = [value.clone().requires_grad_() for value in (origins[clear], directions[clear], vertices)]
    assert torch.autograd.gradcheck(values, leaves, eps=1e-7, atol=1e-4)


def test_nothing_hit_has_no_gradient() -> None:
    leaves = [
        torch.tensor([[5.0, 5.0, 1.0], [math.nan, 0.0, 1.0]], requires_grad=True),
        torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, -1.0]], requires_grad=True),
        SQUARE.clone().requires_grad_(),
    ]
    hits = lg.trace(*leaves, SQUARE_TRI)
    (hits.bary.sum() + hits.t.nan_to_num(posinf=0).sum()).backward()
    assert not any(leaf.grad.any() for leaf in leaves)


# ---- Watertight --------------------------------------------------------------------------------------


def closed_mesh(dtype: torch.dtype, subdivisions: int) -> tuple[Tensor, Tensor]:
    """A sphere that is rough, around the origin."""
    mesh = icosphere(subdivisions)
    vertices = mesh.positions.double()
    return (vertices * (1 + 0.2 * torch.sin(40 * vertices)).prod(-1, keepdim=True)).to(dtype), mesh.faces


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_ray_escapes(dtype: torch.dtype) -> None:
    """Rays from inside: at random, along edges, towards vertices; near the origin of coordinates and far from it."""
    vertices, tri = closed_mesh(dtype, 4)
    for shift in (torch.zeros(3), torch.tensor([1000.0, -300.0, 10.0])):
        moved = vertices + shift.to(dtype)
        corners = moved[tri.long()]
        edges = torch.lerp(corners, corners.roll(1, 1), uniform(*corners.shape[:2], 1, seed=1, dtype=dtype))
        centres = (corners[:, 0] + corners[:, 1] + corners[:, 2]) / 3
        targets = torch.cat((moved, edges.reshape(-1, 3), centres, moved + 1e-6, corners.reshape(-1, 3)))
        targets = torch.cat((targets, targets + 1e-3 * (uniform(len(targets), 3, seed=2, dtype=dtype) - 0.5)))
        bvh = lg.build_bvh(moved, tri)
        for i in range(6):
            origins = shift.to(dtype) + 0.3 * (uniform(3, seed=i, dtype=dtype) - 0.5)
            hits = lg.trace(origins, targets - origins, moved, tri, bvh)
            assert (hits.tri >= 0).all()
            assert lg.occluded(origins, targets - origins, moved, tri, bvh).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rays_along_the_axes_hit_shared_edges(dtype: torch.dtype) -> None:
    """A grid of squares, each cut in two: rays through its corners, edges and diagonals, straight down."""
    n = 9
    y, x = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    vertices = torch.stack((x, y, 0 * x), -1).reshape(-1, 3).to(dtype)
    a = (torch.arange(n - 1)[:, None] * n + torch.arange(n - 1)).reshape(-1)
    tri = torch.cat((torch.stack((a, a + 1, a + n), -1), torch.stack((a + 1, a + n + 1, a + n), -1)))
    half = torch.arange(0, n - 0.5, 0.5, dtype=dtype)
    origins = torch.stack(
        (*torch.meshgrid(half, half, indexing="ij"), torch.full((len(half),) * 2, 2.0, dtype=dtype)), -1
    )
    hits = lg.trace(origins, torch.tensor([0.0, 0.0, -1.0], dtype=dtype), vertices, tri)
    assert (hits.t == 2).all()
    # Of triangles that meet at a corner, the one with the lowest number.
    corner = hits.tri[2::2, 2::2][:-1, :-1]
    meets = (tri[:, None, :] == torch.arange(n * n)[None, :, None]).any(-1)
    lowest = meets.int().argmax(0).reshape(n, n).T[1:-1, 1:-1]
    assert torch.equal(corner.long(), lowest)


# ---- Whatever rays and meshes there are -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_empty(dtype: torch.dtype) -> None:
    vertices, tri = torch.zeros(0, 3, dtype=dtype), torch.zeros(0, 3, dtype=torch.int32)
    origins, directions = crossing(17, dtype)
    hits = lg.trace(origins, directions, vertices, tri)
    assert (hits.tri == -1).all()
    assert hits.t.isinf().all()
    assert not hits.bary.any()
    assert not lg.occluded(origins, directions, vertices, tri).any()
    mesh = soup(9, dtype)
    assert lg.trace(origins[:0], directions[:0], *mesh).tri.shape == (0,)
    leaves = [value.clone().requires_grad_() for value in (origins, directions, mesh[0])]
    lg.trace(leaves[0][:0], leaves[1][:0], leaves[2], mesh[1]).t.sum().backward()
    assert all(leaf.grad is None or not leaf.grad.any() for leaf in leaves)


@pytest.mark.parametrize("dtype", DTYPES)
def test_odd_rays(dtype: torch.dtype) -> None:
    """Among sixteen good rays, which go through the tree together, and alone."""
    down, above = [0.0, 0.0, -1.0], [0.4, 0.3, 2.0]
    nan, inf = math.nan, math.inf
    odd = [
        ([nan, 0.3, 2.0], down, 0.0, inf, False),
        ([0.4, inf, 2.0], down, 0.0, inf, False),
        (above, [0.0, nan, -1.0], 0.0, inf, False),
        (above, [0.0, 0.0, -inf], 0.0, inf, False),
        (above, [0.0, 0.0, 0.0], 0.0, inf, False),
        (above, [-0.0, 0.0, -1.0], 0.0, inf, True),
        (above, [0.0, 0.0, -1e-30], 0.0, inf, True),
        (above, [0.0, 0.0, -1e30], 0.0, inf, True),
        (above, [1e-42, -1e-42, -1.0], 0.0, inf, True),
        (above, [0.0, 0.0, 1.0], -5.0, inf, False),
        (above, down, 0.0, nan, False),
        (above, down, nan, inf, False),
        (above, down, 3.0, 1.0, False),
        (above, down, inf, inf, False),
        (above, down, 2.0, 2.0, True),
        (above, down, 2.5, inf, False),
        (above, down, 0.0, 1.5, False),
    ]
    square, tri = SQUARE.to(dtype), SQUARE_TRI
    for origin, direction, low, high, hit in odd:
        for others in (0, 15, 16):
            origins = torch.tensor([origin] + [above] * others, dtype=dtype)
            directions = torch.tensor([direction] + [down] * others, dtype=dtype)
            limits = [torch.tensor([limit] + [rest] * others, dtype=dtype) for limit, rest in ((low, 0.0), (high, 9.0))]
            hits = lg.trace(origins, directions, square, tri, None, *limits)
            assert (hits.tri >= 0).tolist() == [hit] + [True] * others, (origin, direction, low, high)
            assert hits.t.isfinite().tolist() == [hit] + [True] * others
            assert lg.occluded(origins, directions, square, tri, None, *limits).tolist() == [hit] + [True] * others
    far = lg.trace(torch.tensor(above, dtype=dtype), torch.tensor([0.0, 0.0, -1e30], dtype=dtype), square, tri)
    assert float(far.t) == pytest.approx(2e-30, rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_triangles_that_are_left_out(dtype: torch.dtype) -> None:
    vertices, tri = soup(200, dtype)
    vertices = torch.cat((vertices, vertices[:4]))
    vertices[3], vertices[5, 1], vertices[9, 2] = math.nan, math.inf, -math.inf
    count = len(vertices)
    degenerate = torch.tensor([[0, 0, 1], [1, 2, 2], [0, count - 4, 7]])
    mesh = vertices, torch.cat((tri, degenerate))
    rays = crossing(500, dtype)
    hits, expected = lg.trace(*rays, *mesh), lg.reference.trace(*rays, *mesh)
    assert torch.equal(hits.tri, expected.tri)
    assert (hits.tri >= 0).any()
    assert (hits.tri < len(tri)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_coincident_triangles(dtype: torch.dtype) -> None:
    """All in one place, so that no plane divides them: the lowest number counts."""
    corner = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.5], [0.0, 1.0, 0.25]], dtype=dtype)
    tri = torch.arange(3).expand(5000, 3)
    origins, directions = crossing(200, dtype)
    hits = lg.trace(origins, directions, corner, tri)
    assert set(hits.tri.tolist()) == {-1, 0}
    assert lg.build_bvh(corner, tri).levels < 12


def test_a_deep_tree() -> None:
    """Triangles of sizes over forty orders of magnitude: bins put all but a few into one place."""
    size = torch.logspace(-37, 3, 3000, dtype=torch.float64).float()
    corners = torch.tensor([[1.0, 1.0, 1.0], [2.0, 1.0, 1.0], [1.0, 2.0, 3.0]]) * size[:, None, None]
    vertices, tri = corners.reshape(-1, 3), torch.arange(9000).reshape(-1, 3)
    bvh = lg.build_bvh(vertices, tri)
    assert 8 < bvh.levels <= 64
    targets = corners.mean(1)[1500:]
    origins = targets + size[1500:, None] * torch.tensor([0.1, 0.2, -3.0])
    hits = lg.trace(origins, targets - origins, vertices, tri, bvh)
    expected = lg.reference.trace(origins, targets - origins, vertices, tri)
    assert torch.equal(hits.tri, expected.tri)
    assert (hits.tri >= 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_by_limits(dtype: torch.dtype) -> None:
    """One t_min and t_max for each ray, or for all."""
    height = torch.arange(5, dtype=dtype)
    vertices = (SQUARE.to(dtype) + height[:, None, None] * torch.tensor([0.0, 0.0, 1.0], dtype=dtype)).reshape(-1, 3)
    tri = (SQUARE_TRI + 4 * torch.arange(5)[:, None, None]).reshape(-1, 3)
    origins = torch.tensor([0.6, 0.3, -1.0], dtype=dtype).expand(5, 3)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=dtype)
    hits = lg.trace(origins, up, vertices, tri, t_min=height + 0.5, t_max=3.25)
    assert hits.tri.tolist() == [0, 2, 4, -1, -1]
    assert lg.trace(origins[0], up, vertices, tri, t_min=3.5).tri.item() == 6
    assert lg.occluded(origins, up, vertices, tri, t_min=5.5, t_max=height + 3).tolist() == [False] * 5


@pytest.mark.parametrize("dtype", DTYPES)
def test_packets_see_what_single_rays_see(dtype: torch.dtype) -> None:
    """Neighbours go through the tree together; the same rays in another order do not."""
    vertices, tri = closed_mesh(dtype, 3)
    side = 40
    place = torch.linspace(-1.2, 1.2, side, dtype=dtype)
    y, x = torch.meshgrid(-place, place, indexing="ij")
    origins = torch.tensor([0.1, 0.2, 4.0], dtype=dtype).expand(side * side, 3)
    directions = torch.stack((x, y, torch.full_like(x, -3.0)), -1).reshape(-1, 3)
    order = uniform(side * side, seed=5).argsort()
    flipped = torch.where(torch.arange(side * side)[:, None] % 2 == 0, directions, -directions)
    together = lg.trace(origins, directions, vertices, tri)
    alone = lg.trace(origins[order], directions[order], vertices, tri)
    every_second = lg.trace(origins, flipped, vertices, tri)
    for a, b, c in zip(together, alone, every_second):
        assert torch.equal(a[order], b)
        assert torch.equal(a[::2], c[::2])
    assert torch.equal(together.tri >= 0, lg.occluded(origins, directions, vertices, tri))
    assert 0.2 < (together.tri >= 0).double().mean() < 0.9


# ---- Trees --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("triangles", [1, 8, 9, 1000, 30_000])
def test_a_tree_holds_every_triangle_once(triangles: int, dtype: torch.dtype) -> None:
    size = 0.05 if triangles > 100 else 0.5
    corners = uniform(triangles, 1, 3, seed=1) + size * uniform(triangles, 3, 3, seed=2)
    vertices, tri = corners.reshape(-1, 3).to(dtype), torch.arange(3 * triangles, dtype=torch.int32).reshape(-1, 3)
    bvh = lg.build_bvh(vertices, tri)
    held = bvh.tri[bvh.tri >= 0]
    assert torch.equal(held.sort().values, torch.arange(triangles, dtype=torch.int32))
    low, high = vertices.amin(0), vertices.amax(0)
    assert (bvh.bounds[0].double() <= low).all()
    assert (bvh.bounds[1].double() >= high).all()
    torch.testing.assert_close(bvh.bounds, torch.stack((low, high)).float(), rtol=1e-6, atol=1e-6)
    # Every box holds what lies below it.
    for node in range(len(bvh.children)):
        for child in range(8):
            below = int(bvh.children[node, child])
            if below == -(2**31) or triangles > 1000:
                continue
            box = bvh.boxes[node, :, child].double()
            if below < 0:
                held = bvh.tri[-1 - below]
                points = vertices[tri[held[held >= 0].long()].long()].reshape(-1, 3).double()
                assert (points >= box[:3]).all()
                assert (points <= box[3:]).all()
            else:
                inner = bvh.boxes[below].double()
                assert (inner[:3] >= box[:3, None]).all()
                assert (inner[3:] <= box[3:, None]).all()


def test_refitting() -> None:
    vertices, tri = closed_mesh(torch.float32, 3)
    bvh = lg.build_bvh(vertices, tri)
    assert torch.equal(bvh.cost, bvh.built_cost)
    same = lg.refit_bvh(bvh, vertices)
    assert all(torch.equal(a, b) for a, b in zip(bvh, same) if isinstance(a, Tensor) and a is not bvh.corners)
    assert torch.equal(bvh.corners.nan_to_num(7), same.corners.nan_to_num(7))
    moved = vertices + 0.05 * uniform(*vertices.shape, seed=1, dtype=torch.float32)
    shuffled = vertices[uniform(len(vertices), seed=2).argsort()]
    for now, factor in ((moved, 1.3), (shuffled, math.inf)):
        refitted, rays = lg.refit_bvh(bvh, now), crossing(500, torch.float32)
        hits, expected = lg.trace(*rays, now, tri, refitted), lg.trace(*rays, now, tri)
        assert all(torch.equal(a, b) for a, b in zip(hits, expected))
        assert refitted.built_cost == bvh.cost
        assert bvh.cost < refitted.cost < factor * bvh.cost
    assert refitted.cost > 3 * bvh.cost


def test_cost_of_one_leaf() -> None:
    """One node and one leaf, both met by every ray that meets the box."""
    assert lg.build_bvh(SQUARE, SQUARE_TRI).cost == 2.0


# ---- Wrong calls --------------------------------------------------------------------------------------

RAYS = torch.zeros(5, 3), torch.ones(5, 3)
BVH = lg.build_bvh(SQUARE, SQUARE_TRI)


@pytest.mark.parametrize("function", [lg.trace, lg.occluded])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((RAYS[0].tolist(), RAYS[1], SQUARE, SQUARE_TRI), TypeError, "origins: expected a torch.Tensor, got list"),
        (
            (RAYS[0], RAYS[1].double(), SQUARE, SQUARE_TRI),
            TypeError,
            "directions: expected torch.float32 like vertices",
        ),
        (
            (RAYS[0][:, :2], RAYS[1], SQUARE, SQUARE_TRI),
            ValueError,
            r"origins: expected shape \[..., 3\], got \(5, 2\)",
        ),
        ((RAYS[0], RAYS[1][:2], SQUARE, SQUARE_TRI), ValueError, r"directions: .* got \(2, 3\)"),
        ((*RAYS, SQUARE[:, :2], SQUARE_TRI), ValueError, r"vertices: expected shape \[V, 3\], got \(4, 2\)"),
        ((*RAYS, SQUARE, SQUARE_TRI.float()), TypeError, "tri: expected int32 or int64, got float32"),
        ((*RAYS, SQUARE, SQUARE_TRI + 2), ValueError, r"tri\[0, 2\] is 4, but vertices has 4 vertices"),
        ((*RAYS, SQUARE, SQUARE_TRI, 5), TypeError, "bvh: expected what lumigrad.build_bvh returns, or None, got int"),
        ((*RAYS, SQUARE, SQUARE_TRI[:1], BVH), ValueError, "bvh: expected a tree of 1 triangles"),
        (
            (*RAYS, SQUARE, SQUARE_TRI, BVH._replace(corners=BVH.corners.double())),
            TypeError,
            "bvh.corners: expected torch.float32 like vertices, got torch.float64",
        ),
        (
            (*RAYS, SQUARE, SQUARE_TRI, BVH._replace(boxes=BVH.boxes[..., :4])),
            ValueError,
            r"bvh.boxes: expected shape \[N, 6, 8\]",
        ),
        (
            (*RAYS, SQUARE, SQUARE_TRI, BVH._replace(boxes=BVH.boxes[:0], children=BVH.children[:0])),
            ValueError,
            "bvh.boxes: expected at least one node, got none",
        ),
        ((*RAYS, SQUARE, SQUARE_TRI, BVH, "far"), TypeError, "t_min: expected a number, got 'far'"),
        ((*RAYS, SQUARE, SQUARE_TRI, BVH, 0.0, torch.ones(4)), ValueError, r"t_max: .*got \(4,\)"),
    ],
)
def test_wrong_calls(
    function: Callable[..., object], arguments: tuple, error: type[Exception], message: str, kernels: str
) -> None:
    skip_where_devices_are_silent(kernels, message)
    with pytest.raises(error, match=message):
        function(*arguments)


# ---- Rays that leave a surface ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_rays_that_leave_do_not_hit_what_they_leave(scale: float, dtype: torch.dtype) -> None:
    """At any angle, near edges too, and far from the origin of coordinates; without the offset, many would."""
    vertices, tri = soup(2000, dtype)
    vertices = scale * (vertices + torch.tensor([0.0, 30.0, -5.0], dtype=dtype))
    origins, directions = crossing(20_000, dtype)
    origins = scale * (origins + torch.tensor([0.0, 30.0, -5.0], dtype=dtype))
    bvh = lg.build_bvh(vertices, tri)
    hits = lg.trace(origins, scale * directions, vertices, tri, bvh)
    hit = hits.tri >= 0
    assert hit.sum() > 10_000
    hits = Hits(*(value[hit] for value in hits))
    points = lg.offset_origins(hits, directions[hit], vertices, tri)
    plain = Hits(hits.tri, hits.bary, hits.t)
    assert hit_again(plain, origins[hit] + hits.t[:, None] * (scale * directions[hit]), vertices, tri, bvh) > 0
    assert (points - (origins[hit] + hits.t[:, None] * scale * directions[hit])).abs().max() < 1e-4 * scale * 30
    assert hit_again(hits, None, vertices, tri, bvh) == 0


def hit_again(hits: Hits, origins: Tensor | None, vertices: Tensor, tri: Tensor, bvh: lg.Bvh) -> int:
    """How many of random rays from there, half of them grazing, hit the triangle that they leave."""
    corners = vertices[tri[hits.tri.long()].long()]
    edges = corners - corners.roll(1, 1)
    count, again = len(corners), 0
    for grazing in (1.0, 1e-3, 1e-6):
        ways = uniform(count, 3, seed=7, dtype=vertices.dtype) - 0.5
        inside = (ways[..., None] * torch.nn.functional.normalize(edges, dim=-1)).sum(1)
        ways = inside + grazing * ways
        begin = lg.offset_origins(hits, ways, vertices, tri) if origins is None else origins
        again += int((lg.trace(begin, ways, vertices, tri, bvh).tri == hits.tri).sum())
    return again


def test_offset_gradients_are_those_of_the_points() -> None:
    (vertices, tri), rays = soup(20, torch.float64), crossing(40, torch.float64)
    leaf = vertices.clone().requires_grad_()
    hits = lg.trace(*rays, leaf, tri)
    origins = lg.offset_origins(hits, rays[1], leaf, tri)
    assert not origins[hits.tri < 0].any()
    hit = hits.tri >= 0
    plain = (rays[0] + hits.t.nan_to_num(posinf=0)[:, None] * rays[1])[hit]
    weights = uniform(int(hit.sum()), 3, seed=3)
    (actual,) = torch.autograd.grad((weights * origins[hit]).sum(), leaf, retain_graph=True)
    (expected,) = torch.autograd.grad((weights * plain).sum(), leaf)
    torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-8 * float(expected.abs().max()))


def test_offsets_of_hits_of_another_mesh_are_refused() -> None:
    (vertices, tri), rays = soup(20, torch.float32), crossing(40, torch.float32)
    hits = lg.trace(*rays, vertices, tri)
    last = int(hits.tri.max())
    for faces in (tri[:last], tri[:0]):
        with pytest.raises(ValueError, match=r"^hits\.tri: expected numbers in "):
            lg.offset_origins(hits, rays[1], vertices, faces)
    with pytest.raises(ValueError, match=r"^tri: expected numbers in "):
        lg.offset_origins(hits, rays[1], vertices[:3], tri)
