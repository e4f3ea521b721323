"""Fields from photographs, on tiny ones."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dataset_common import ring, write_transforms

from lumigrad.fit.fields import (
    FieldModel,
    FieldOptions,
    FieldState,
    HashField,
    Schedule,
    Voxels,
    evaluate,
    fit_field,
    report,
)
from lumigrad.fit.fields.descent import adam, add_smoothness
from lumigrad.fit.fields.nest import see
from lumigrad.fit.fields.proposals import RayNoise, as_samples, cut, shortfall, unwarp, warp
from lumigrad.fit.fields.rays import PixelRays
from lumigrad.fit.fields.voxels import HIDDEN
from lumigrad.fit.photos import Photo, focus, load_photos
from lumigrad.io import load_dataset
from lumigrad.scene import PerspectiveCamera

LEVELS = ((0.0, 8, 0), (0.4, 16, 0), (0.7, 20, 1))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Photo]:
    data = load_dataset(write_transforms(tmp_path_factory.mktemp("data"), ring(16, (36, 48))))
    return load_photos(data, list(range(len(data))))


def begin(model: Voxels) -> FieldState:
    return FieldState.start(model.start(*LEVELS[0][1:]), seed=1)


def test_interrupted_fit_goes_on_as_if_nothing_had_happened(photos: list[Photo]) -> None:
    model = Voxels(photos[1:], boxes=2)
    schedule = Schedule(iterations=90, levels=LEVELS, rays=100)

    def go(state: FieldState, stop: int) -> FieldState:
        return fit_field(photos[1:], state, model, schedule, photos[:1], 30, lambda now: now.iteration < stop)

    whole = go(begin(model), 999)
    assert whole.iteration == len(whole.losses) == 90
    assert [row["iteration"] for row in whole.curve] == [30, 60, 90]
    assert [tuple(grid.shape) for grid in whole.parameters] == [(20, 20, 20, 13), (16, 16, 16, 13)]
    for stop in (17, 70):
        state = go(begin(model), stop)
        assert state.iteration == stop
        file = io.BytesIO()
        torch.save(state.to_dict(), file)
        file.seek(0)
        resumed = go(FieldState.from_dict(torch.load(file, weights_only=True)), 999)
        assert resumed.losses == whole.losses
        for one, other in zip(resumed.parameters, whole.parameters, strict=True):
            assert bool((one == other).all())


def small(photos: list[Photo]) -> HashField:
    return HashField(photos, rows=2**10, finest=64)


def test_interrupted_fit_of_a_hash_field_goes_on(photos: list[Photo]) -> None:
    model, schedule = small(photos[1:]), Schedule(iterations=30, rays=60, opaque=True, seed=3)

    def go(state: FieldState, stop: int) -> FieldState:
        return fit_field(photos[1:], state, model, schedule, photos[:1], 15, lambda now: now.iteration < stop)

    whole = go(model.begin(schedule), 999)
    assert [row["iteration"] for row in whole.curve] == [15, 30]
    state = go(model.begin(schedule), 17)
    file = io.BytesIO()
    torch.save(state.to_dict(), file)
    file.seek(0)
    read = FieldState.from_dict(torch.load(file, weights_only=True))
    model.check(read)
    resumed = go(read, 999)
    assert resumed.losses == whole.losses
    for one, other in zip(resumed.parameters, whole.parameters, strict=True):
        assert bool((one == other).all())
    with pytest.raises(ValueError, match="tables and layers of this model"):
        HashField(photos[1:], rows=2**9, finest=64).check(read)


def test_hash_field_explains_photographs_not_seen(photos: list[Photo]) -> None:
    model, schedule = small(photos[1:]), Schedule(iterations=200, rays=100)
    state = model.begin(schedule)
    before = evaluate(model, state, photos[:1])
    fit_field(photos[1:], state, model, schedule)
    after = evaluate(model, state, photos[:1])
    assert after["psnr_db"] > max(before["psnr_db"] + 4, 20)
    assert after["ssim"] > before["ssim"] + 0.4


def test_units_do_not_matter_to_a_hash_field(photos: list[Photo]) -> None:
    found = []
    for size in (1.0, 2.0**-10, 2.0**10):
        scaled = [_scaled(photo, size) for photo in photos]
        model, schedule = small(scaled[1:]), Schedule(iterations=40, rays=100)
        state = fit_field(scaled[1:], model.begin(schedule), model, schedule)
        seen = model.picture(state, scaled[0].camera)
        found.append((evaluate(model, state, scaled[:1])["psnr_db"], float(seen.depth.max()) / size))
    assert max(psnr for psnr, _ in found) - min(psnr for psnr, _ in found) < 0.1
    assert max(depth for _, depth in found) == pytest.approx(min(depth for _, depth in found), rel=0.1)


def test_hash_field_of_fog_absorbs_and_has_the_depth_of_its_formula(photos: list[Photo]) -> None:
    """Without features, the density is what a fit begins with: 0.3 in units of the extent, from 0.2 to 20 extents."""
    model = small(photos)
    state = model.begin(Schedule(iterations=1))
    for values in state.parameters:
        values.zero_()
    camera = PerspectiveCamera.orbit(torch.tensor([10.0]), 5.0, 4.0, 2.0, (8, 12))  # rays are along its axis
    seen = model.picture(state, camera)
    assert torch.allclose(seen.alpha, torch.tensor(1 - math.exp(-0.3 * 19.8)), atol=1e-4)
    assert torch.allclose(seen.color, 0.5 * seen.alpha[..., None], atol=1e-4)
    # The mean of an exponential distribution that is cut off.
    mean = 0.2 + 1 / 0.3 - 19.8 / math.expm1(0.3 * 19.8)
    assert torch.allclose(seen.depth / model.extent, torch.tensor(mean), rtol=0.02)


def test_proposals_are_asked_for_what_lies_in_their_segments() -> None:
    random = torch.Generator().manual_seed(0)
    outer = cut(5, 7, 0.1, 9.0, torch.zeros(()), RayNoise(random, 5, slice(0, 5)))
    assert bool((outer.diff(dim=1) > 0).all())
    assert outer[:, 0].tolist() == pytest.approx([0.1] * 5)
    assert outer[:, -1].tolist() == pytest.approx([9.0] * 5, rel=1e-4)
    even = warp(cut(1, 7, 0.1, 9.0, torch.zeros(()), None)).diff(dim=1)
    assert torch.allclose(even, even.mean(), atol=1e-6)
    assert torch.allclose(unwarp(warp(outer)), outer, rtol=1e-4)
    inner = (outer[:, :1] + (outer[:, -1:] - outer[:, :1]) * torch.rand(5, 4, generator=random)).sort(dim=1).values
    bounds = torch.rand(5, 7, generator=random).mul(0.2).requires_grad_()
    weights = torch.rand(5, 3, generator=random)
    total = torch.zeros(())
    for ray in range(5):
        for sample in range(3):
            low, high = inner[ray, sample], inner[ray, sample + 1]
            proposed = sum(
                bounds[ray, k] for k in range(7) if bool(outer[ray, k] < high) and bool(outer[ray, k + 1] > low)
            )
            lack = (weights[ray, sample] - proposed).clamp_min(0)
            total = total + lack.square() / (weights[ray, sample] + 1e-5)
    found = shortfall(as_samples(outer), bounds.flatten(), as_samples(inner), weights.flatten())
    assert found.item() == pytest.approx(total.item() / 5, rel=1e-4)
    assert found.item() > 0.01
    assert torch.allclose(torch.autograd.grad(found, bounds)[0], torch.autograd.grad(total / 5, bounds)[0], atol=1e-5)


def test_fit_explains_photographs_not_seen(photos: list[Photo]) -> None:
    model = Voxels(photos[1:], boxes=2)
    state = begin(model)
    before = evaluate(model, state, photos[:1])
    fit_field(photos[1:], state, model, Schedule(iterations=150, levels=LEVELS, rays=1000))
    after = evaluate(model, state, photos[:1])
    assert after["psnr_db"] > max(before["psnr_db"] + 4, 18)
    assert after["ssim"] > before["ssim"] + 0.2
    assert all(bool(grid.isfinite().all()) for grid in state.parameters)


def test_units_do_not_matter(photos: list[Photo]) -> None:
    """A scene of a thousandth or a thousand times the size is fitted as well: all but rounding is the same."""
    found = []
    for size in (1.0, 2.0**-10, 2.0**10):
        scaled = [_scaled(photo, size) for photo in photos]
        model = Voxels(scaled[1:], boxes=2)
        assert model.extent == pytest.approx(size * focus(photos[1:])[1], rel=1e-3)
        state = begin(model)
        fit_field(scaled[1:], state, model, Schedule(iterations=60, levels=LEVELS, rays=300))
        seen = model.draw(state.parameters, state.occupancy(), scaled[0].camera)
        found.append((evaluate(model, state, scaled[:1])["psnr_db"], float(seen.depth.max()) / size))
    assert max(psnr for psnr, _ in found) - min(psnr for psnr, _ in found) < 0.1
    assert max(depth for _, depth in found) == pytest.approx(min(depth for _, depth in found), rel=0.1)


def _scaled(photo: Photo, size: float) -> Photo:
    """The photograph of the same scene in other units."""
    matrix = photo.camera.world_to_camera.clone()
    matrix[:, :3, 3] *= size
    return replace(photo, camera=replace(photo.camera, world_to_camera=matrix))


def test_nested_boxes_are_one_medium() -> None:
    """Uniform fog in all boxes absorbs along the whole way through the outermost, wherever a ray passes."""
    raw = math.log(math.expm1(0.3))  # extinction 0.3
    grids = []
    for color in (1.0, 0.5, 0.25):
        grid = torch.full((4, 4, 4, 4), raw)
        grid[..., 1:] = color / 0.28209479177387814
        grids.append(grid)
    halves = [0.5, 1.0, 2.0]
    heights = torch.tensor([0.2, 0.7, 1.5, 3.0])
    origins = torch.stack((heights, 0.1 * torch.ones(4), 5 * torch.ones(4)), -1)
    directions = torch.tensor([[0.0, 0.0, -1.0]]).expand(4, 3)
    out = see(grids, halves, origins, directions, 0.1, 0, [None] * 3)
    lengths = torch.tensor([4.0, 4.0, 4.0, 0.0])
    assert torch.allclose(out.alpha, 1 - torch.exp(-0.3 * lengths), atol=1e-4)

    def through(*parts: tuple[float, float]) -> float:
        """Colour of slabs (length, brightness), front to back."""
        color, passed = 0.0, 1.0
        for length, brightness in parts:
            color += passed * (1 - math.exp(-0.3 * length)) * brightness
            passed *= math.exp(-0.3 * length)
        return color

    expected = [
        through((1, 0.25), (0.5, 0.5), (1, 1), (0.5, 0.5), (1, 0.25)),
        through((1, 0.25), (2, 0.5), (1, 0.25)),
        through((4, 0.25)),
        0.0,
    ]
    assert out.color[:, 0].tolist() == pytest.approx(expected, abs=1e-4)
    inside = see(grids, halves, torch.tensor([[0.2, 0.1, 0.0]]), directions[:1], 0.1, 0, [None] * 3)
    assert inside.color[0, 0].item() == pytest.approx(through((0.4, 1), (0.5, 0.5), (1, 0.25)), abs=1e-4)


def test_drawn_depth_is_that_of_a_wall(photos: list[Photo]) -> None:
    """A slab across the axis has the same depth in every pixel, though rays to the corners are longer."""
    around = PerspectiveCamera.orbit(torch.tensor([0.0, 90.0]), 0.0, 4.0, 40.0, (20, 30))
    model = Voxels([replace(photos[0], camera=around[n : n + 1]) for n in range(2)], boxes=1)
    camera = around[:1]
    grid = torch.full((40, 40, 40, 4), -20.0)
    z = (torch.arange(40) + 0.5) / 40 * model.extent - 0.5 * model.extent + model.centre[2]
    grid[z < 0, ..., 0] = 20.0
    seen = model.draw([grid], [None], camera)
    wall = seen.depth[0, 1:-1, 2:-2]  # a segment is 0.07 long; to the corners it is 0.6 farther
    assert wall.max() - wall.min() < 0.08
    assert wall.mean().item() == pytest.approx(4.0, abs=0.08)
    assert seen.color.shape == (1, 20, 30, 3)


def test_voxels_that_no_photograph_sees_stay_empty(photos: list[Photo]) -> None:
    camera = PerspectiveCamera.orbit(torch.tensor([0.0, 10.0]), 0.0, 4.0, 20.0, (36, 48))
    few = [replace(photos[n], camera=camera[n : n + 1]) for n in range(2)]
    model = Voxels(few, boxes=2)
    state = FieldState.start(model.start(16, 0))
    hidden = [grid[..., 0] == HIDDEN for grid in state.parameters]
    assert 0.1 < hidden[0].float().mean() < 0.9
    assert not bool(hidden[0][8, 8, 8])  # what both look at
    fit_field(few, state, model, Schedule(iterations=20, levels=((0.0, 16, 0),), rays=200))
    for grid, mask in zip(state.parameters, hidden, strict=True):
        assert bool(((grid[..., 0] == HIDDEN) == mask).all())


def test_refined_fields_look_the_same(photos: list[Photo]) -> None:
    model = Voxels(photos, boxes=2)
    state = FieldState.start(model.start(16, 0))
    fit_field(photos, state, model, Schedule(iterations=80, levels=((0.0, 16, 0),), rays=500))
    coarse = model.draw(state.parameters, [None, None], photos[0].camera).color
    fine = model.draw(model.refine(state.parameters, 32, 2), [None, None], photos[0].camera).color
    assert (coarse - fine).abs().mean() < 0.02
    assert coarse.std() > 0.05
    skipping = model.draw(state.parameters, model.occupied(state.parameters), photos[0].camera).color
    assert (skipping - coarse).abs().mean() < 0.01


def test_dark_is_not_transparent(photos: list[Photo]) -> None:
    """Black photographs say nothing of densities, unless they are of a world that has no holes."""
    black = [replace(photo, image=torch.zeros_like(photo.image)) for photo in photos]
    model, alphas = Voxels(black, boxes=2), []
    for opaque in (False, True):
        state = FieldState.start(model.start(16, 0))
        schedule = Schedule(iterations=120, levels=((0.0, 16, 0),), rays=200, opaque=opaque)
        fit_field(black, state, model, schedule)
        alphas.append(model.picture(state, black[0].camera).alpha.mean().item())
    assert alphas[0] < 0.3
    assert alphas[1] > 0.8


def test_dark_is_not_transparent_in_a_hash_field(photos: list[Photo]) -> None:
    """Black over a background that may be anything is something; over black, it can be nothing."""
    black = [replace(photo, image=torch.zeros_like(photo.image)) for photo in photos]
    model, alphas = small(black), []
    for opaque in (False, True):
        schedule = Schedule(iterations=60, rays=100, opaque=opaque)
        state = fit_field(black, model.begin(schedule), model, schedule)
        alphas.append(model.picture(state, black[0].camera).alpha.mean().item())
    assert alphas[1] > 0.98
    assert 1 - alphas[0] > 4 * (1 - alphas[1])


def test_rays_are_those_of_their_pixels(photos: list[Photo]) -> None:
    """Rays belong to their pixels, for photographs of two sizes, one with pixels that do not count."""
    covered = photos[1].covered.clone()
    covered[:, :20] = 0
    some = [photos[0].reduced(2), replace(photos[1], covered=covered)]
    rays, colors = PixelRays(some).draw(400, torch.Generator().manual_seed(0))
    found = 0
    for photo in some:
        own = (rays.origins - photo.camera.position).norm(dim=-1) < 1e-4
        spots = photo.camera.pixels(rays.origins[own] + rays.directions[own])[0]
        x, y = (spots - 0.5).round().long().unbind(-1)
        assert (spots - 0.5 - torch.stack((x, y), -1)).abs().max() < 1e-3
        assert bool((photo.image[0, y, x] == colors[own]).all())
        assert bool((photo.covered[0, y, x] == 1).all())
        found += int(own.sum())
    assert found == 400
    with pytest.raises(ValueError, match="pixels that count"):
        PixelRays([replace(photos[0], covered=torch.zeros_like(covered))])


def test_own_adam_takes_the_steps_of_torch() -> None:
    random = torch.Generator().manual_seed(0)
    grid = torch.randn(5, 3, 4, 2, generator=random)
    theirs = grid.clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=0.1, betas=(0.9, 0.99), eps=1e-9)
    first, second = torch.zeros_like(grid), torch.zeros_like(grid)
    for age in range(1, 6):
        theirs.grad = torch.randn(grid.shape, generator=random)
        adam(grid, theirs.grad, first, second, torch.tensor([0.1, 0.1]), age)
        optimizer.step()
    assert torch.allclose(grid, theirs.detach(), atol=1e-5)


def test_smoothness_has_the_gradient_of_its_definition() -> None:
    grid = torch.randn(3, 4, 2, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    total = sum((grid.diff(dim=dim).square() + 0.3**2).sqrt().sum() for dim in range(3))
    (0.7 * total).backward()  # type: ignore[union-attr]
    found = torch.zeros_like(grid)
    add_smoothness(found, grid.detach(), 0.7, 0.3)
    assert torch.allclose(found, grid.grad)


def test_nothing_is_made_on_a_device_of_its_own(photos: list[Photo], tmp_path: Path) -> None:
    """Tensors follow those of the fit: with another default device, one that does not would meet those of the CPU."""
    schedule = Schedule(iterations=70, levels=LEVELS, rays=50, opaque=True)
    models: tuple[FieldModel, ...] = (Voxels(photos, boxes=2), small(photos))
    for model in models:
        with torch.device("meta"):
            state = model.begin(schedule)
            fit_field(photos, state, model, schedule, photos[:1], 35)
            report.comparison(state, model, photos[:1], tmp_path / "comparison.png")
            report.fly_through(state, model, photos, tmp_path / "fly_through.gif", 2)
        assert report.metrics(state, model, photos[:1])["device"] == "cpu"
        assert all(values.is_meta for values in state.to(torch.device("meta")).parameters)


def test_cameras_in_one_place_are_refused(photos: list[Photo]) -> None:
    with pytest.raises(ValueError, match="photos: expected cameras at different places"):
        Voxels(photos[:1])
    with pytest.raises(ValueError, match="photos: expected cameras at different places"):
        HashField(photos[:1])
    with pytest.raises(ValueError, match="rows, finest: expected at least 1 and 16, got 0 and 64"):
        HashField(photos, rows=0, finest=64)
    with pytest.raises(ValueError, match="boxes: expected at least 1, got 0"):
        Voxels(photos, boxes=0)


def test_time_limits_a_schedule_of_steps(photos: list[Photo]) -> None:
    """Progress counts steps, also by time: finer levels cost more."""
    state = begin(Voxels(photos, boxes=2))
    timed = Schedule(minutes=1.0, levels=((0.0, 10, 0), (0.5, 15, 1)))  # cost 10 / 2 and 30 / 2
    for share, expected in [(0.0, 0.0), (0.125, 0.25), (0.25, 0.5), (0.625, 0.75), (1.0, 1.0), (2.0, 1.0)]:
        state.seconds = 60 * share
        assert timed.progress(state) == pytest.approx(expected)
    assert [timed.level(progress) for progress in (0.0, 0.49, 0.5, 1.0)] == [(10, 0), (10, 0), (15, 1), (15, 1)]
    with pytest.raises(ValueError, match="at least one"):
        Schedule()
    with pytest.raises(ValueError, match="rays: expected at least 1, got 0"):
        FieldOptions(rays=0).schedule()


def test_tables_of_few_rows_begin_like_others(photos: list[Photo]) -> None:
    """Tables with no more rows than a layer start like other tables."""
    state = HashField(photos, rows=16, finest=64).begin(Schedule(iterations=1))
    sizes = [float(values.abs().max()) for values in state.parameters]
    assert max(sizes[:12]) <= 1e-4 < 0.1 < min(sizes[12:])
