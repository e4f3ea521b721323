"""Fits of grids of signed distances: shapes of which volume, genus and colours are known, hulls, and pieces."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from implicit_common import box, euler_number, is_watertight, volume
from torch import Tensor

from lumigrad.fit import (
    SDFStage,
    Views,
    default_sdf_stages,
    fibonacci_cameras,
    fit_sdf,
    largest_piece,
    render_views,
    visual_hull,
)
from lumigrad.fit.silhouettes import load_grid, save_grid
from lumigrad.render import render_implicit
from lumigrad.scene import Lighting, Mesh, PerspectiveCamera, PhongMaterial, SignedDistanceGrid, icosphere

BOX = box(1.0)
STAGES = [SDFStage(25, 16, 24, rate=0.3), SDFStage(25, 24, 48, rate=0.2)]


def ring(points: Tensor) -> Tensor:
    x, y, z = points.unbind(-1)
    return (((x**2 + y**2).sqrt() - 0.5) ** 2 + z**2).sqrt() - 0.25


def pictures(function, count: int = 10, size: int = 48, **options) -> Views:
    """Reference pictures of a fine grid, traced by rays."""
    grid = SignedDistanceGrid.from_function(function, 64, BOX)
    camera = fibonacci_cameras(count, (size, size))
    with torch.no_grad():
        shot = render_implicit(grid, camera, "phong", Lighting(), supersampling=2, silhouette=0.0, **options)
    return Views(camera, torch.cat((shot.color, shot.mask), -1))


@pytest.fixture(scope="module")
def of_ring() -> Views:
    return pictures(ring)


@pytest.fixture(scope="module")
def fitted(of_ring: Views) -> SignedDistanceGrid:
    return fit_sdf(of_ring, Lighting(), BOX, STAGES)


def test_a_ring(of_ring: Views, fitted: SignedDistanceGrid) -> None:
    """The fit of a ring is closed, has one hole and the right volume, and is closer to the truth than the hull."""
    mesh = fitted.mesh()
    assert fitted.values.shape == (24, 24, 24)
    assert is_watertight(mesh.faces)
    assert euler_number(mesh.positions, mesh.faces) == 0
    expected = 2 * math.pi**2 * 0.5 * 0.25**2
    assert volume(mesh.positions, mesh.faces).item() == pytest.approx(expected, rel=0.03)
    error = ring(mesh.positions).abs().mean()
    hull = ring(visual_hull(of_ring, 24, BOX).mesh().positions).abs().mean()
    assert error < 0.01 < 1.4 * hull
    assert error < 0.6 * hull


def test_the_same_again_and_stopped(of_ring: Views) -> None:
    """Steps depend on the seed alone; a fit that is told to stop returns what there is."""
    stages = [replace(STAGES[0], iterations=4)]
    errors: list[list[float]] = [[], [], []]
    for seed, said in zip((0, 0, 1), errors, strict=True):
        fit_sdf(
            of_ring, Lighting(), BOX, stages, seed=seed, on_step=lambda step, error, said=said: not said.append(error)
        )
    assert errors[0] == errors[1]
    assert errors[0] != errors[2]
    asked = []
    grid = fit_sdf(of_ring, Lighting(), BOX, STAGES, on_step=lambda step, error: bool(asked.append(step)))
    assert asked == [1]
    assert grid.values.shape == (16, 16, 16)
    assert not grid.values.requires_grad


def test_start_and_colors() -> None:
    """A fit that starts with a ball that is too small, in another material, finds the shape and the colours of its
    halves."""

    def colored(points):
        return torch.where(points[..., :1] > 0, torch.tensor([0.9, 0.2, 0.2]), torch.tensor([0.2, 0.3, 0.9]))

    material = PhongMaterial(specular=torch.zeros(3))
    truth = SignedDistanceGrid.from_function(lambda x: x.norm(dim=-1) - 0.6, 32, BOX)
    points = SignedDistanceGrid.from_function(lambda x: x[..., 0], 32, BOX).values
    colors = colored(points[..., None].expand(-1, -1, -1, 3))
    camera = fibonacci_cameras(8, (32, 32))
    shot = render_implicit(SignedDistanceGrid(truth.values, BOX, colors, material), camera, "phong", Lighting())
    views = Views(camera, torch.cat((shot.color, shot.mask), -1))
    start = SignedDistanceGrid.from_function(lambda x: x.norm(dim=-1) - 0.45, 16, BOX)
    start = replace(start, material=material)
    stage = SDFStage(60, 16, 32, color_rate=0.05)
    grid = fit_sdf(views, Lighting(), BOX, [stage], start, colors=True)
    assert grid.material is material
    assert grid.mesh().positions.norm(dim=-1).mean().item() == pytest.approx(0.6, abs=0.02)
    at = torch.tensor([[0.58, 0.0, 0.15], [-0.58, 0.1, 0.0]])
    assert (grid.color(at) - colored(at)).abs().max() < 0.15
    assert start.colors is None
    once = fit_sdf(views, Lighting(), BOX, [SDFStage(1, 16, 32)], replace(start, values=-torch.ones(16, 16, 16)))
    assert (once.values[0] > 0).all()  # the border is outside whatever the start is


def test_masks_alone() -> None:
    """With unshaded white shapes, a ball is recovered from its silhouettes."""
    ball = icosphere(4, radius=0.6)
    views = render_views(ball, fibonacci_cameras(10, (32, 32)), Lighting())
    masks = Views(views.camera, views.images[..., 3:].expand(-1, -1, -1, 4))
    grid = fit_sdf(masks, None, BOX, [SDFStage(20, 20, 32)], shading="unlit")
    radii = grid.mesh().positions.norm(dim=-1)
    assert radii.mean().item() == pytest.approx(0.6, abs=0.02)
    assert radii.std() < 0.02


def test_averaged_pixels_count_if_all_parts_do() -> None:
    counts = torch.ones(1, 4, 4, 1, dtype=torch.bool)
    counts[0, 0, 0] = False
    half = Views(fibonacci_cameras(1, (4, 4)), torch.ones(1, 4, 4, 4), counts).resized(2).counts
    assert half is not None
    assert half[0, ..., 0].tolist() == [[False, True], [True, True]]


def test_a_grid_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "grid.npz"
    save_grid(SignedDistanceGrid(torch.ones(2, 3, 4)), path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"grid\.npz: expected values and a box of a grid"):
        load_grid(path)


def test_hull_of_one_view() -> None:
    """The hull of one view is everything that projects into its mask; space outside the picture is outside."""
    camera = PerspectiveCamera.orbit(torch.tensor([0.0]), 0.0, 4.0, 20.0, (64, 64))
    views = render_views(icosphere(4, radius=0.5), camera, Lighting())
    hull = visual_hull(views, 32, BOX)
    inside = hull.values < 0
    # A cone of rays that touch the ball, cut by the box.
    z, y, x = torch.meshgrid(*[(torch.arange(32) + 0.5) / 16 - 1 for _ in range(3)], indexing="ij")
    cone = (x**2 + y**2).sqrt() / (4 - z) - math.tan(math.asin(0.5 / 4))
    assert inside[(cone < -0.015) & (z.abs() < 0.95)].all()
    assert not inside[cone > 0.015].any()
    away = PerspectiveCamera.orbit(torch.tensor([0.0]), 0.0, 4.0, 20.0, (8, 8), target=(0.0, 9.0, 0.0))
    nothing = visual_hull(Views(away, torch.ones(1, 8, 8, 4)), 8, BOX)
    assert (nothing.values > 0).all()


def test_the_border_is_outside() -> None:
    """A mask that covers everything gives a closed box."""
    camera = fibonacci_cameras(4, (8, 8))
    mesh = visual_hull(Views(camera, torch.ones(4, 8, 8, 4)), 8, BOX).mesh()
    assert is_watertight(mesh.faces)
    assert euler_number(mesh.positions, mesh.faces) == 2
    for size in (1, 2):
        assert (visual_hull(Views(camera, torch.ones(4, 8, 8, 4)), size, BOX).values > 0).all()


def test_largest_piece() -> None:
    """Loose balls and cavities are gone, and the rest stays where it is."""

    def shape(points):
        large, loose = points.norm(dim=-1) - 0.6, (points - 0.75).norm(dim=-1) - 0.15
        cavity = 0.2 - (points - torch.tensor([0.2, 0.0, 0.0])).norm(dim=-1)
        return torch.minimum(torch.maximum(large, cavity), loose)

    grid = SignedDistanceGrid.from_function(shape, 32, BOX)
    before = grid.mesh()
    assert euler_number(before.positions, before.faces) == 6
    after = largest_piece(grid).mesh()
    assert euler_number(after.positions, after.faces) == 2
    assert (after.positions.norm(dim=-1) - 0.6).abs().max() < 0.01
    whole = SignedDistanceGrid.from_function(lambda x: x.norm(dim=-1) - 0.6, 16, BOX)
    assert largest_piece(whole) is whole
    empty = SignedDistanceGrid(torch.ones(4, 4, 4), BOX)
    assert largest_piece(empty) is empty
    thin = SignedDistanceGrid(torch.tensor([[[-2.0, 1.0, -1.0]]]))
    assert ((largest_piece(thin).values < 0) == torch.tensor([True, False, False])).all()


def test_default_stages() -> None:
    stages = default_sdf_stages(size=75, resolution=33, effort=0.001)
    assert [stage.iterations for stage in stages] == [1, 1, 1]
    assert [stage.size for stage in stages] == [75, 75, 75]
    assert [stage.resolution for stage in stages] == [16, 22, 33]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda views: fit_sdf(3), TypeError, r"views: expected Views, got int"),
        (lambda views: fit_sdf(replace(views, images=views.images[..., :3])), ValueError, r"views.images: expected"),
        (lambda views: fit_sdf(views, box=[[0, 0, 0]], stages=STAGES), ValueError, r"box: expected shape"),
        (lambda views: fit_sdf(views, stages=[SDFStage(1, 16, 47)]), ValueError, r"size: expected a divisor of 48"),
        (lambda views: fit_sdf(views, [3], stages=STAGES), TypeError, r"lights: expected Light"),
        (lambda views: fit_sdf(views, start=3), TypeError, r"start: expected a SignedDistanceGrid or None, got int"),
        (lambda views: fit_sdf(views, stages=[3]), TypeError, r"stages: expected SDFStage, got int"),
        (lambda views: fit_sdf(views, stages=[]), ValueError, r"stages: expected at least one, got none"),
        (
            lambda views: fit_sdf(replace(views, images=0 * views.images), stages=STAGES),
            ValueError,
            r"views: expected masks that have a voxel inside, got none of 16",
        ),
        (
            lambda views: fit_sdf(views, stages=STAGES, start=SignedDistanceGrid(torch.ones(9, 9, 9), BOX)),
            ValueError,
            r"stages: expected to keep a voxel inside, got none of 16",
        ),
        (lambda views: visual_hull(views, 0, BOX), ValueError, r"resolution: expected an integer"),
        (lambda views: visual_hull(views, 2.5, BOX), TypeError, r"resolution: expected an integer, got 2.5"),
        (lambda views: visual_hull(views.images, 8, BOX), TypeError, r"views: expected Views, got Tensor"),
        (
            lambda views: visual_hull(replace(views, images=views.images[..., :3]), 8, BOX),
            ValueError,
            r"views.images: expected",
        ),
        (lambda views: largest_piece(Mesh), TypeError, r"grid: expected a SignedDistanceGrid, got type"),
    ],
)
def test_wrong_arguments(call, error: type[Exception], message: str, of_ring: Views) -> None:
    with pytest.raises(error, match=message):
        call(of_ring)
