"""Gradients of what paths see past edges: closed forms, polygons, the definition, invariances, another library's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from light_common import mixed_scene, pixel_rays, plate, rays_down, row
from ops_common import scaled_error, threads
from torch import Tensor

import lumigrad as lg
from lumigrad import LitScene, TracedPaths
from lumigrad.ops.light._path_edges import add_path_edges
from lumigrad.ops.light._trace_paths import check_scene, tensors_of
from lumigrad.reference.light._edges import find_edges
from lumigrad.scene import icosphere

DOUBLE = torch.float64
SOFT_SHADOW = Path(__file__).resolve().parents[4] / "shared" / "oracles" / "exact_soft_shadow.npz"
BLACK, WHITE = row(0.0), row(1.0)


def scene_of(*parts: tuple[Tensor, Tensor, Tensor], sky: float = 0.0) -> LitScene:
    """Flat triangles: positions, faces and a material of each part."""
    starts = np.cumsum([0, *(len(positions) for positions, _, _ in parts)])
    kinds = torch.tensor([[0, 1, -1, -1, -1]]).repeat(len(parts), 1)
    return check_scene(LitScene(
        torch.cat([positions for positions, _, _ in parts]),
        torch.cat([tri + int(start) for (_, tri, _), start in zip(parts, starts[:-1])]),
        torch.stack([material for _, _, material in parts]), kinds,
        torch.cat([torch.full((len(tri),), i) for i, (_, tri, _) in enumerate(parts)]),
        environment=torch.full((6, 1, 1, 3), sky, dtype=DOUBLE) if sky else None,
    ))  # fmt: skip


class Gradients(NamedTuple):
    """Of the irradiance of a white ground at (x, 0, z), of several runs."""

    by_positions: Tensor  # [R, V, 3]
    by_x: Tensor  # [R]


def irradiance_gradients(scene: LitScene, x: float, samples: int, runs: int = 16, z: float = 0.0) -> Gradients:
    by_positions, by_x = [], []
    for run in range(runs):
        positions = scene.positions.clone().requires_grad_()
        origins, directions = rays_down(x)
        origins = (origins + torch.tensor([0.0, 0.0, z], dtype=DOUBLE)).requires_grad_()
        out = lg.trace_paths(scene._replace(positions=positions), origins, directions, samples, 2, run)
        found = torch.autograd.grad(math.pi * out.radiance.mean(), (positions, origins))
        by_positions.append(found[0])
        by_x.append(found[1][..., 0].sum())
    return Gradients(torch.stack(by_positions), torch.stack(by_x))


def mean_of(runs: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of runs and its standard error."""
    return runs.mean(0), runs.std(0) / math.sqrt(len(runs))


def rectangle(low: tuple[float, float], high: tuple[float, float], height: float) -> tuple[Tensor, Tensor]:
    """In the plane y = height, facing down."""
    (x0, z0), (x1, z1) = low, high
    corners = [[x0, height, z0], [x1, height, z0], [x1, height, z1], [x0, height, z1]]
    return torch.tensor(corners, dtype=DOUBLE), torch.tensor([[0, 1, 2], [0, 2, 3]])


# ---- Closed forms ------------------------------------------------------------------------------------------------


def test_half_plane_under_a_rectangle() -> None:
    """Light of L from -a to a and -b to b at the height h, hidden for x < e by a half-plane at the height z."""
    light, a, b, h, z, e, x = 2.0, 0.8, 0.5, 2.0, 0.7, 0.1, 0.25

    def ell(u: float) -> float:
        k2 = (u - x) ** 2 + h**2
        k = math.sqrt(k2)
        return 2 * (b / (2 * k2 * (k2 + b * b)) + math.atan(b / k) / (2 * k2 * k))

    expected = -light * (h / z) * h**2 * ell(x + (e - x) * h / z)
    assert abs(expected + 1.256513464) < 1e-8
    half = rectangle((-40.0, -40.0), (e, 40.0), z)
    panel = rectangle((-a, -b), (a, b), h)
    scene = scene_of((*plate(99.0), WHITE), (*panel, row(0.0, light)), (*half, BLACK))
    by_edge, error = mean_of(irradiance_gradients(scene, x, 60).by_positions[:, [9, 10], 0].sum(1))  # both of its ends
    assert abs(by_edge - expected) < 5 * error
    assert error < 0.05 * abs(expected)


def lambert(corners: Tensor, p: Tensor) -> Tensor:
    """Irradiance of a surface at p that faces +y by triangles [T, 3, 3] of radiance 1 above it (Lambert 1760)."""
    v = corners - p
    v = v / v.norm(dim=-1, keepdim=True)
    following = v.roll(-1, 1)
    crossed = torch.linalg.cross(v, following)
    angle = torch.atan2(crossed.norm(dim=-1), (v * following).sum(-1))
    return 0.5 * (angle * crossed[..., 1] / crossed.norm(dim=-1)).sum(-1).abs()


def test_polyhedron_under_a_uniform_sky() -> None:
    """Ambient occlusion by an icosahedron, by its vertices and by the place of the receiver: Lambert's formula."""
    ball, x, radius = icosphere(0), 0.9, 0.5
    positions = radius * ball.positions.double() + torch.tensor([0.0, 0.6, 0.0], dtype=DOUBLE)
    scene = scene_of((*plate(99.0), WHITE), (positions, ball.faces.long(), BLACK), sky=1.0)
    moving = positions.clone().requires_grad_()
    p = torch.tensor([x, 0.0, 0.0], dtype=DOUBLE, requires_grad=True)
    corners = moving[ball.faces.long()]
    a, b, c = corners.detach().unbind(1)
    front = (torch.linalg.cross(b - a, c - a) * (p.detach() - a)).sum(-1) > 0
    by_vertices, by_p = torch.autograd.grad(-lambert(corners[front], p).sum(), (moving, p))
    found = irradiance_gradients(scene, x, 200)
    for (have, error), want in ((mean_of(found.by_positions[:, 4:]), by_vertices), (mean_of(found.by_x), by_p[0])):
        assert ((have - want).abs() < 5 * error + 1e-4).all()
        assert error.max() < 0.1 * want.abs().max()


def test_sphere_on_a_plane() -> None:
    """Ambient occlusion next to a ball of radius R: 1 - R^3 / (R^2 + x^2)^1.5."""
    ball, x, radius = icosphere(3), 0.9, 0.5
    outwards = ball.positions.double()
    up = torch.tensor([0.0, 1.0, 0.0], dtype=DOUBLE)
    scene = scene_of((*plate(99.0), WHITE), (radius * (outwards + 1.001 * up), ball.faces.long(), BLACK), sky=1.0)
    found = irradiance_gradients(scene, x, 100)
    squared = radius**2 + x**2
    by_radius = (found.by_positions[:, 4:] * (outwards + up)).sum((1, 2))
    for runs, expected in (
        (by_radius, -3 * math.pi * radius**2 * x**2 / squared**2.5),
        (found.by_x, 3 * math.pi * radius**3 * x / squared**2.5),
    ):
        have, error = mean_of(runs)
        assert abs(have - expected) < 5 * error + 0.03 * abs(expected)  # the ball has flat faces
        assert error < 0.05 * abs(expected)


@pytest.mark.skipif(not SOFT_SHADOW.exists(), reason="the file is not here")
def test_soft_shadows_by_polygon_clipping() -> None:
    """A polygon light behind two occluders: derivatives that another library's clipping of polygons gives."""
    file = np.load(SOFT_SHADOW)
    data = {name: torch.from_numpy(np.asarray(file[name])).double() for name in file.files}
    light = torch.cat((data["light_polygon_xy"], data["light_height"].expand(4, 1)), 1)
    fan = torch.tensor([[0, 1, 2], [0, 2, 3]])
    turned = [value[:, [0, 2, 1]] for value in (light, data["occluder0"], data["occluder1"])]  # y up
    emission = row(0.0, float(data["radiance"]))
    scene = scene_of(
        (*plate(99.0), WHITE), (turned[0], fan, emission), (turned[1], fan, BLACK),
        (turned[2], torch.tensor([[0, 1, 2]]), BLACK),
    )  # fmt: skip
    checked = 0
    for i in range(0, 72, 9):
        z, x = data["receivers"][i, 1], data["receivers"][i, 0]
        found = irradiance_gradients(scene, float(x), 40, 8, float(z))
        wanted = torch.cat((data["grad_occluder0"][i], data["grad_occluder1"][i]))[:, [0, 2, 1]]
        have, error = mean_of(found.by_positions[:, 8:])
        assert ((have - wanted).abs() < 6 * error + 1e-3 * wanted.abs().max() + 1e-6).all()
        checked += bool(wanted.abs().max() > 10 * error.max() > 0)
    assert checked >= 3


# ---- Definition --------------------------------------------------------------------------------------------------


def both(scene: LitScene, rays: tuple[Tensor, ...], depth: int, candidates: int) -> list[list[Tensor]]:
    """Gradients by positions, origins and directions of the kernel and of the definition, without any others."""
    height, width = rays[0].shape[0] - 1, rays[0].shape[1] - 1
    weight = torch.rand(height, width, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(3)).to(scene.positions)
    found = []
    for kernel in (True, False):
        leaves = [value.to(scene.positions).clone().requires_grad_() for value in (scene.positions, *rays)]
        moving = scene._replace(positions=leaves[0])
        tensors = tensors_of(moving, lg.build_bvh(scene.positions, scene.tri)) if kernel else None
        nothing = TracedPaths(torch.zeros_like(weight), *[torch.zeros(0)] * 5)
        out = add_path_edges(nothing, moving, tensors, (leaves[1], leaves[2]), 1, depth, 5, candidates).radiance
        assert (out == 0).all()
        found.append(list(torch.autograd.grad((weight * out).sum(), leaves)))
    return found


@pytest.mark.parametrize(("depth", "candidates"), [(2, 32), (6, 8)])
def test_against_the_definition(depth: int, candidates: int) -> None:
    for have, want in zip(*both(mixed_scene(), pixel_rays(5, 6, distance=6.0), depth, candidates)):
        assert want.abs().max() > 0.1
        assert scaled_error(have, want) < 1e-9


def test_few_edges_are_all_looked_at() -> None:
    half, panel = rectangle((-1.0, -1.0), (0.1, 1.0), 0.7), rectangle((-0.8, -0.5), (0.8, 0.5), 2.0)
    scene = scene_of((*plate(9.0), WHITE), (*panel, row(0.0, 1.0)), (*half, row(0.5)))
    for depth in (2, 3):
        for have, want in zip(*both(scene, pixel_rays(4, 4, down=True, distance=0.5), depth, 60)):
            assert want.abs().max() > 0
            assert scaled_error(have, want) < 1e-9


# ---- Edges -------------------------------------------------------------------------------------------------------


def cube(duplicated: bool) -> tuple[Tensor, Tensor]:
    """A cube with faces that point outwards, whose vertices are shared, or those of the faces' own."""
    corners = torch.tensor([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)], dtype=DOUBLE)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    tri = torch.tensor([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    if not duplicated:
        return corners, tri
    return corners[torch.tensor(quads).reshape(-1)], torch.tensor(
        [t for k in range(6) for t in ((4 * k, 4 * k + 1, 4 * k + 2), (4 * k, 4 * k + 2, 4 * k + 3))]
    )


def test_seams_are_no_edges() -> None:
    for duplicated in (False, True):
        positions, tri = cube(duplicated)
        edges = find_edges(positions, tri, lg.edge_topology(tri, positions))
        assert len(edges.ends) == 12  # neither diagonals of flat sides nor borders
        assert torch.allclose(edges.sums.diff(), torch.full((12,), 1 / 12, dtype=DOUBLE))
        normals = edges.shapes[:, 6:12].reshape(12, 2, 3)
        assert ((normals[:, 0] * normals[:, 1]).sum(-1).abs() < 1e-12).all()


def test_gradients_do_not_depend_on_seams() -> None:
    totals = []
    for duplicated in (False, True):
        positions, tri = cube(duplicated)
        positions = 0.3 * positions + torch.tensor([0.1, 1.0, 0.0], dtype=DOUBLE)
        panel = rectangle((-0.8, -0.5), (0.8, 0.5), 3.0)
        scene = scene_of((*plate(99.0), WHITE), (*panel, row(0.0, 2.0)), (positions, tri, BLACK))
        totals.append(irradiance_gradients(scene, 0.35, 40, 2).by_positions[:, 8:].sum((0, 1)))
    assert totals[0].abs().max() > 0.1
    assert torch.allclose(totals[0], totals[1], rtol=1e-9)


def test_faces_that_lie_on_each_other_hide_as_one_does() -> None:
    """Four and six faces meet at the edges of a sheet that is there twice or three times."""
    found = []
    for copies in (1, 2, 3):
        positions, tri = rectangle((-40.0, -40.0), (0.1, 40.0), 0.7)
        panel = rectangle((-0.8, -0.5), (0.8, 0.5), 2.0)
        scene = scene_of(
            (*plate(99.0), WHITE), (*panel, row(0.0, 2.0)), (positions, tri.repeat(copies, 1), BLACK)
        )  # fmt: skip
        found.append(mean_of(irradiance_gradients(scene, 0.25, 60, 8).by_positions[:, 8:, 0].sum(1)))
    for value, error in found[1:]:
        assert abs(value - found[0][0]) < 5 * math.hypot(error, found[0][1])
    assert abs(found[0][0] + 1.256513464) < 0.1


def test_subdividing_an_occluder_changes_nothing() -> None:
    """An occluding rectangle has the same gradients as two triangles and as a fine grid."""
    panel = rectangle((-0.8, -0.5), (0.8, 0.5), 2.0)
    found = []
    for cells in (1, 5):
        side = torch.linspace(0, 1, cells + 1, dtype=DOUBLE)
        u, v = torch.meshgrid(side, side, indexing="ij")
        positions = torch.stack((0.5 * u - 0.4, torch.full_like(u, 0.7), 0.6 * v - 0.3), -1).reshape(-1, 3)
        first = (torch.arange(cells)[:, None] * (cells + 1) + torch.arange(cells)).reshape(-1)
        corner = [first, first + 1, first + cells + 2, first + cells + 1]
        tri = torch.cat([torch.stack([corner[k] for k in (0, i, i + 1)], -1) for i in (1, 2)])
        scene = scene_of((*plate(99.0), WHITE), (*panel, row(0.0, 2.0)), (positions, tri, BLACK))
        moves = torch.stack((torch.ones_like(positions[:, 0]), positions[:, 0]), -1)  # all of it, and stretching it
        found.append(mean_of(irradiance_gradients(scene, 0.1, 60).by_positions[:, 8:, 0] @ moves))
    (first, error), (second, other) = found
    assert first.abs().min() > 0.02
    assert ((first - second).abs() < 5 * (error**2 + other**2).sqrt()).all()


def test_edges_of_many_faces_and_of_none() -> None:
    """Three faces at an edge count as three borders, each as a third; triangles without an area have no edges."""
    positions = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [2, 0, 0]], dtype=DOUBLE)
    fan = torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 4], [0, 1, 5]])
    edges = find_edges(positions, fan, lg.edge_topology(fan, positions))
    assert len(edges.ends) == 9
    shared = edges.shapes[((edges.ends == 0) | (edges.ends == 1)).all(-1)]
    assert len(shared) == 3
    assert (shared[:, 6:9] == -shared[:, 9:12]).all()
    none = find_edges(positions, fan[:0], lg.edge_topology(fan[:0], positions))
    assert none.ends.shape == (0, 2)


def test_faces_wound_against_each_other() -> None:
    """Normals of a pair are brought to the same side."""
    positions = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0.5], [0, -1, 0.5]], dtype=DOUBLE)
    for tri in ([[0, 1, 2], [1, 0, 3]], [[0, 1, 2], [0, 1, 3]]):
        edges = find_edges(positions, torch.tensor(tri), lg.edge_topology(torch.tensor(tri)))
        fold = edges.shapes[((edges.ends == 0) | (edges.ends == 1)).all(-1)][0]
        assert torch.allclose((fold[6:9] * fold[9:12]).sum(), torch.tensor(0.6, dtype=DOUBLE))


# ---- Kernels -----------------------------------------------------------------------------------------------------


def test_threads_change_nothing() -> None:
    scene, rays = mixed_scene(torch.float32), pixel_rays(12, 12, distance=6.0)
    found = []
    for count in (1, 3):
        with threads(count):
            leaves = [value.float().requires_grad_() for value in (scene.positions, *rays)]
            out = lg.trace_paths(scene._replace(positions=leaves[0]), leaves[1], leaves[2], 2, 4, 1)
            found.append(torch.autograd.grad(out.radiance.sum(), leaves))
    assert all(torch.equal(a, b) for a, b in zip(*found))


def test_the_image_stays_as_it_is() -> None:
    scene, rays = mixed_scene(), pixel_rays(4, 4, distance=6.0)
    plain = lg.trace_paths(scene, *rays, 2, 3)
    moving = lg.trace_paths(scene._replace(positions=scene.positions.clone().requires_grad_()), *rays, 2, 3)
    assert all(torch.equal(a, b) for a, b in zip(plain, moving))
