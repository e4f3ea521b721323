"""nerfacc's functions: loops over samples, closed forms, finite differences, and stored results."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lumigrad.compat import nerfacc
from lumigrad.compat.nerfacc.estimators.prop_net import _pdf_loss, get_proposal_requires_grad_fn
from lumigrad.compat.nerfacc.grid import query


def stored(shared: Path, name: str) -> dict[str, Tensor]:
    return {k: torch.as_tensor(v) for k, v in np.load(shared / "oracles" / f"{name}.npz").items()}


def close(value: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert value.shape == expected.shape
    assert (value - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


RAYS = torch.tensor([0, 0, 0, 2, 3, 3, 3, 3, 3, 3])  # ray 1 has no samples, and neither has ray 4


def looped(values: Tensor, product: bool, inclusive: bool) -> Tensor:
    """Running sums or products along each ray, computed in a loop."""
    out = []
    for k, ray in enumerate(RAYS.tolist()):
        total = torch.tensor(1.0 if product else 0.0, dtype=values.dtype)
        for j in range(k + 1 if inclusive else k):
            if RAYS[j] == ray:
                total = total * values[j] if product else total + values[j]
        out.append(total)
    return torch.stack(out)


@pytest.mark.parametrize("product", [False, True])
@pytest.mark.parametrize("inclusive", [False, True])
def test_packed_scans(product: bool, inclusive: bool) -> None:
    """Packed scans agree with loops up to the second derivative, also with zeros among the factors."""
    values = random(10) * 2
    values[[1, 4, 6]] = 0
    values.requires_grad_()
    name = f"{'inclusive' if inclusive else 'exclusive'}_{'prod' if product else 'sum'}"
    scan = getattr(nerfacc, name)
    found, expected = scan(values, indices=RAYS), looped(values, product, inclusive)
    assert torch.allclose(found, expected)
    assert torch.equal(scan(values, packed_info=nerfacc.pack_info(RAYS, 5)), found)
    weights = random(10, seed=1)
    gradients = [torch.autograd.grad((v * weights).sum(), values, create_graph=True)[0] for v in (found, expected)]
    assert torch.allclose(*gradients)
    if product:
        second = [torch.autograd.grad((g * weights).sum(), values)[0] for g in gradients]
        assert torch.allclose(*second)
    row = values[4:]
    assert torch.allclose(scan(row[None])[0], found[4:])


def test_a_sum_keeps_its_digits_after_large_ones() -> None:
    values = torch.tensor([1e8, 1e8, 0.125, 0.25])
    found = nerfacc.exclusive_sum(values, indices=torch.tensor([0, 0, 1, 1]))
    assert found.tolist() == [0, 1e8, 0, 0.125]


def test_packing() -> None:
    assert nerfacc.pack_info(RAYS, 5).tolist() == [[0, 3], [3, 0], [3, 1], [4, 6], [10, 0]]
    assert nerfacc.pack_info(RAYS[:0], 2).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(ValueError, match="ascending"):
        nerfacc.pack_info(RAYS.flip(0))
    with pytest.raises(ValueError, match="ray_indices"):
        nerfacc.pack_info(RAYS, 2)
    with pytest.raises(ValueError, match="packed_info"):
        nerfacc.exclusive_sum(torch.ones(3), packed_info=torch.tensor([[0, 2]]))


# ---- Compositing


def test_a_slab_in_a_background() -> None:
    """c (1 - e^(-s L)) + e^(-s L) b, however it is cut; d / ds and d / dL."""
    edges = torch.tensor([0.0, 0.3, 1.1, 2.3], dtype=torch.float64, requires_grad=True)
    sigma = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)

    def field(start: Tensor, end: Tensor, ray: Any) -> tuple[Tensor, Tensor]:
        return torch.full((*start.shape, 3), 0.8, dtype=start.dtype), sigma.expand(start.shape)

    colors, opacities, _, extras = nerfacc.rendering(
        edges[None, :-1], edges[None, 1:], rgb_sigma_fn=field, render_bkgd=torch.full((3,), 0.25).double()
    )
    through = math.exp(-1.7 * 2.3)
    assert torch.allclose(colors, torch.full((1, 3), 0.8 * (1 - through) + 0.25 * through).double())
    assert opacities.item() == pytest.approx(1 - through)
    assert torch.allclose(extras["weights"].sum(1, keepdim=True), opacities)
    slope = torch.autograd.grad(colors[0, 0], (sigma, edges))
    assert slope[0].item() == pytest.approx(2.3 * through * (0.8 - 0.25))
    wanted = torch.tensor([-1.0, 0, 0, 1]).double() * 1.7 * through * (0.8 - 0.25)
    assert torch.allclose(slope[1], wanted)


@pytest.mark.parametrize("packed", [False, True])
def test_an_opaque_sample_has_its_gradient(packed: bool) -> None:
    """dC / d alpha of the first opaque sample is the difference of its colour to the one behind."""
    alphas = torch.ones(4, dtype=torch.float64, requires_grad=True)
    values = torch.tensor([3.0, 1, 7, 7], dtype=torch.float64)[:, None]
    ray = torch.zeros(4, dtype=torch.int64) if packed else None
    weights, _ = nerfacc.render_weight_from_alpha(alphas, ray_indices=ray)
    color = nerfacc.accumulate_along_rays(weights, values, ray, 1 if packed else None).sum()
    assert color.item() == 3
    assert torch.autograd.grad(color, alphas)[0].tolist() == [2, 0, 0, 0]


@pytest.mark.parametrize("packed", [False, True])
def test_what_a_rendering_is_made_of(packed: bool) -> None:
    """Sums of the weights, transmittances and opacities beside it, to the derivatives; in half precision too."""
    starts = random(4, 5).cumsum(1)
    values, rgbs, background = random(4, 5, seed=1), random(4, 5, 3, seed=2), random(4, 3, seed=3)
    ray = torch.arange(4).repeat_interleave(5) if packed else None
    shape = (20,) if packed else (4, 5)
    for key in ("rgb_sigma_fn", "rgb_alpha_fn"):
        leaves = [v.clone().requires_grad_() for v in (starts, values, rgbs, background)]
        t, value, rgb = leaves[0].reshape(shape), leaves[1].reshape(shape), leaves[2].reshape(*shape, 3)
        colors, opacities, depths, extras = nerfacc.rendering(
            t, t + 0.1, ray, 4, render_bkgd=leaves[3], **{key: lambda *a, v=value, c=rgb: (c, v)}
        )
        weights = extras["trans"] * extras["alphas"]
        assert torch.allclose(weights, extras["weights"])
        total = nerfacc.accumulate_along_rays(weights, None, ray, 4)
        depth = nerfacc.accumulate_along_rays(weights, t[..., None] + 0.05, ray, 4)
        expected = nerfacc.accumulate_along_rays(weights, rgb, ray, 4) + leaves[3] * (1 - total)
        assert torch.allclose(colors, expected)
        assert torch.allclose(opacities, total)
        assert torch.allclose(depths, depth / total)
        factor = random(4, 3, seed=4)
        slopes = [
            torch.autograd.grad(((c + d / o) * factor).sum(), leaves, retain_graph=True)
            for c, o, d in ((colors, opacities, depths), (expected, total, depth / total))
        ]
        assert all(torch.allclose(a, b) for a, b in zip(*slopes))
    narrow = nerfacc.rendering(
        starts[0].float()[None], starts[0].float()[None] + 0.1,
        rgb_sigma_fn=lambda *a: (rgbs[:1].half(), values[:1].half()),
    )  # fmt: skip
    assert all(value.dtype == torch.float32 for value in narrow[:3])


def test_no_samples() -> None:
    def field(start: Tensor, end: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
        raise AssertionError("a field must not be asked about nothing")

    none = torch.zeros(0)
    colors, opacities, depths, _ = nerfacc.rendering(
        none, none, none.long(), 3, rgb_alpha_fn=field, render_bkgd=torch.tensor([0.1, 0.2, 0.3])
    )
    assert torch.equal(colors, torch.tensor([[0.1, 0.2, 0.3]] * 3))
    assert not opacities.any()
    assert not depths.any()


def test_bad_samples() -> None:
    t = torch.rand(4)
    with pytest.raises(ValueError, match="exactly one"):
        nerfacc.rendering(t, t + 1)
    with pytest.raises(ValueError, match="n_rays"):
        nerfacc.rendering(t, t + 1, torch.zeros(4).long(), rgb_sigma_fn=lambda *a: (t, t))
    with pytest.raises(ValueError, match="sigmas"):
        nerfacc.rendering(t, t + 1, torch.zeros(4).long(), 1, rgb_sigma_fn=lambda *a: (torch.rand(4, 3), t[:, None]))
    with pytest.raises(ValueError, match="values"):
        nerfacc.accumulate_along_rays(t, torch.rand(5, 3))


def test_stored_densities(shared: Path) -> None:
    data = stored(shared, "vol_nerfacc_rendering")
    sigmas, rgbs, background = (data[k].requires_grad_() for k in ("sigmas", "rgbs", "background"))
    colors, opacities, depths, extras = nerfacc.rendering(
        data["t_starts"], data["t_ends"], rgb_sigma_fn=lambda *a: (rgbs, sigmas), render_bkgd=background
    )
    for found, name in ((colors, "colors"), (opacities, "opacities"), (depths, "depths")):
        close(found, data[name])
    for name in ("weights", "trans", "alphas"):
        close(extras[name], data[name])
    loss = (colors * data["grad_colors"]).sum() + (opacities * data["grad_opacities"]).sum()
    loss = loss + (depths * data["grad_depths"]).sum()
    for found, name in zip(torch.autograd.grad(loss, (sigmas, rgbs, background)), ("sigmas", "rgbs", "background")):
        close(found, data[f"grad_{name}"], 1e-9)
    seen = nerfacc.render_visibility_from_density(
        data["t_starts"], data["t_ends"], data["sigmas"], early_stop_eps=0.2, alpha_thre=0.1
    )
    assert torch.equal(seen, data["visible_eps02_alpha01"])


def test_stored_alphas(shared: Path) -> None:
    data = stored(shared, "vol_nerfacc_rendering")
    alphas, rgbs = data["alpha_in"].requires_grad_(), data["rgbs"].requires_grad_()
    colors, opacities, depths, _ = nerfacc.rendering(
        data["t_starts"], data["t_ends"], rgb_alpha_fn=lambda *a: (rgbs, alphas), expected_depths=False
    )
    close(colors, data["alpha_colors"])
    close(opacities, data["alpha_opacities"])
    close(depths, data["alpha_depths_unnormalised"])
    loss = (colors * data["grad_colors"]).sum() + (opacities * data["grad_opacities"]).sum()
    loss = loss + (depths * data["grad_depths"]).sum()
    gradients = torch.autograd.grad(loss, (alphas, rgbs))
    close(gradients[0], data["alpha_grad_alphas"], 1e-9)
    close(gradients[1], data["alpha_grad_rgbs"], 1e-9)


def test_stored_packed_samples(shared: Path) -> None:
    data = {k.removeprefix("packed_"): v for k, v in stored(shared, "vol_nerfacc_rendering").items() if "packed" in k}
    every = stored(shared, "vol_nerfacc_rendering")
    sigmas, rgbs, ray = data["sigmas"].requires_grad_(), data["rgbs"].requires_grad_(), data["ray_indices"]
    colors, opacities, depths, extras = nerfacc.rendering(
        data["t_starts"], data["t_ends"], ray, 13, rgb_sigma_fn=lambda *a: (rgbs, sigmas)
    )
    for found, name in ((colors, "colors"), (opacities, "opacities"), (depths, "depths")):
        close(found, data[name])
    close(extras["trans"], data["trans"])
    close(extras["weights"], data["weights"])
    close(nerfacc.accumulate_along_rays(extras["weights"], rgbs, ray, 13), data["accumulated_rgb"])
    loss = (colors * every["grad_colors"]).sum() + (opacities * every["grad_opacities"]).sum()
    loss = loss + (depths * every["grad_depths"]).sum()
    gradients = torch.autograd.grad(loss, (sigmas, rgbs))
    close(gradients[0], data["grad_sigmas"], 1e-9)
    close(gradients[1], data["grad_rgbs"], 1e-9)


def test_distortion_against_pairs() -> None:
    weights, edges = random(10), random(10, seed=1).cumsum(0)
    starts, ends = edges - random(10, seed=2) * 0.01, edges
    found = nerfacc.distortion(weights, starts, ends, RAYS, 5)
    middle = (starts + ends) / 2
    same = RAYS[:, None] == RAYS
    pairs = weights[:, None] * weights * (middle[:, None] - middle).abs() * same
    expected = torch.zeros(5).double().index_add(0, RAYS, pairs.sum(1) + weights**2 * (ends - starts) / 3)
    assert torch.allclose(found[:, 0], expected)
    batched = nerfacc.distortion(weights[None, 4:], starts[None, 4:], ends[None, 4:])
    assert torch.allclose(batched[0], found[3])


# ---- Grids


def test_rays_and_boxes() -> None:
    origins = torch.tensor([[-3.0, 0, 0], [-3, 1, 0], [-3, 2, 0], [0, 0, 0], [3, 0, 0]])
    directions = torch.tensor([[1.0, 0, 0]] * 5)
    enter, leave, hits = nerfacc.ray_aabb_intersect(origins, directions, torch.tensor([[-1.0, -1, -1, 1, 1, 1]]), 0.0)
    assert hits[:, 0].tolist() == [True, True, False, True, False]  # the second lies in a face
    assert enter[hits].tolist() == [2, 2, 0]
    assert leave[hits].tolist() == [4, 4, 1]
    assert torch.isinf(enter[~hits]).all()


def test_stored_grids(shared: Path) -> None:
    data = stored(shared, "vol_nerfacc_grid")
    enter, leave, hits = nerfacc.ray_aabb_intersect(data["origins"], data["directions"], data["boxes"], 0.0)
    assert torch.equal(hits, data["hits"])
    for found, name in ((enter, "t_min"), (leave, "t_max")):
        assert torch.allclose(found[hits], data[name][hits], atol=1e-5)
    values, inside = query(data["points"], data["levels"], data["base_box"])
    assert torch.equal(inside, data["inside"])
    assert torch.equal(values, data["values"])


def marched(estimator: nerfacc.OccGridEstimator, origin: Tensor, direction: Tensor, step: float, cone: float) -> Tensor:
    """Intervals of one ray from 0.3 on, one after the other."""
    grid, boxes = estimator.binaries, estimator.aabbs
    out, t = [], 0.3
    while t < 40:
        after = t + max(t * cone, step)
        point = origin + (t + after) / 2 * direction
        for level, box in enumerate(boxes):
            if ((point >= box[:3]) & (point <= box[3:])).all():
                size = torch.tensor(grid.shape[1:])
                cell = ((point - box[:3]) / (box[3:] - box[:3]) * size).long().clamp(max=size - 1)
                if grid[level, cell[0], cell[1], cell[2]]:
                    out.append((t, after))
                break
        t = after
    return torch.tensor(out, dtype=torch.float64).reshape(-1, 2)


@pytest.mark.parametrize("cone", [0.0, 0.02])
def test_marching_through_nested_grids(cone: float) -> None:
    estimator = nerfacc.OccGridEstimator([-1.0, -1, -1, 1, 2, 1], resolution=[4, 5, 6], levels=2).double()
    estimator.binaries.copy_(random(2, 4, 5, 6) < 0.4)
    origins, directions = random(7, 3) * 0.5 + torch.tensor([-5.0, 0, 0]), random(7, 3, seed=1) * 0.4
    directions[:, 0] = 1
    ray, starts, ends = estimator.sampling(
        origins, directions, near_plane=0.3, far_plane=40.0, render_step_size=0.05, cone_angle=cone
    )
    assert len(ray) > 50
    for n in range(7):
        wanted = marched(estimator, origins[n], directions[n], 0.05, cone)
        assert torch.allclose(torch.stack((starts, ends), 1)[ray == n], wanted)


def test_one_sample_a_cell() -> None:
    """A ray along an axis crosses 4 cells of the fine grid and 1 on each side of the coarse one."""
    estimator = nerfacc.OccGridEstimator([-1.0, -1, -1, 1, 1, 1], resolution=4, levels=2)
    estimator.binaries.fill_(True)
    estimator.binaries[0, 1] = False
    ray, starts, ends = estimator.sampling(
        torch.tensor([[-5.0, 0.1, 0.1], [-5, 9, 0]]), torch.tensor([[1.0, 0, 0], [1, 0, 0]]), render_step_size=-1.0
    )
    assert ray.tolist() == [0] * 5
    assert starts.tolist() == pytest.approx([3, 4, 5, 5.5, 6])
    assert ends.tolist() == pytest.approx([4, 4.5, 5.5, 6, 7])


def test_traversal_joins_edges() -> None:
    grid = torch.tensor([True, True, False, True]).reshape(1, 4, 1, 1)
    intervals, samples, end = nerfacc.traverse_grids(
        torch.tensor([[-1.0, 0.5, 0.5]]), torch.tensor([[1.0, 0, 0]]), grid, torch.tensor([[0.0, 0, 0, 4, 1, 1]]),
        step_size=1.0,
    )  # fmt: skip
    assert intervals.vals.tolist() == [1, 2, 3, 4, 5]
    assert intervals.is_left is not None
    assert intervals.is_right is not None
    assert intervals.is_left.tolist() == [True, True, False, True, False]
    assert intervals.is_right.tolist() == [False, True, True, False, True]
    assert samples.vals.tolist() == [1.5, 2.5, 4.5]
    assert end.tolist() == [5]


def test_sampling_leaves_out_what_is_hidden() -> None:
    """exp(-2 t) falls below 0.1 after t = 1.15."""
    estimator = nerfacc.OccGridEstimator([0.0, 0, 0, 4, 1, 1], resolution=4)
    estimator.binaries.fill_(True)
    estimator.occs.fill_(1.0)
    options: dict[str, Any] = {"render_step_size": 0.25, "early_stop_eps": 0.1}
    rays = torch.tensor([[0.0, 0.5, 0.5]]), torch.tensor([[1.0, 0, 0]])
    _, starts, _ = estimator.sampling(*rays, sigma_fn=lambda a, b, ray: torch.full_like(a, 2.0), **options)
    assert starts.tolist() == [0, 0.25, 0.5, 0.75, 1.0]
    _, starts, _ = estimator.sampling(
        *rays, alpha_fn=lambda a, b, ray: (a > 1).float() * 0.5, alpha_thre=0.1, **options
    )
    assert starts.tolist() == [1.25, 1.5, 1.75, 2.0]
    _, starts, ends = estimator.sampling(
        *rays, stratified=True, t_min=torch.ones(1), t_max=torch.full((1,), 2.0), **options
    )
    assert 1 <= starts[0] < 1.25
    assert torch.allclose(ends - starts, torch.full_like(starts, 0.25))
    with pytest.raises(ValueError, match="t_max"):
        estimator.sampling(*rays, t_max=torch.ones(1, 1))
    with pytest.raises(ValueError, match="sigma_fn"):
        estimator.sampling(*rays, sigma_fn=lambda a, b, ray: a[:, None])


def test_a_grid_learns_what_is_occupied() -> None:
    estimator = nerfacc.OccGridEstimator([-1.0, -1, -1, 1, 1, 1], resolution=8, levels=2)

    def ball(points: Tensor) -> Tensor:
        return (points.norm(dim=-1, keepdim=True) < 0.6).float()

    for step in range(0, 64, 16):
        estimator.update_every_n_steps(step, ball)
    centre = -1 + (estimator.grid_coords + 0.5) / 4
    distance = centre.norm(dim=1).reshape(8, 8, 8)
    assert estimator.binaries[0][distance < 0.3].all()
    assert not estimator.binaries[0][distance > 1.1].any()
    before = estimator.occs.clone()
    estimator.update_every_n_steps(17, ball)
    assert torch.equal(estimator.occs, before)
    estimator.update_every_n_steps(512, ball, ema_decay=0.5)
    assert (estimator.occs >= before / 2 - 1e-6).all()
    estimator.eval()
    with pytest.raises(RuntimeError, match="training"):
        estimator.update_every_n_steps(16, ball)


def test_cells_that_no_camera_sees_stay_empty() -> None:
    """A camera at z = -3 that looks along +z; the image is 2 f wide."""
    estimator = nerfacc.OccGridEstimator([-1.0, -1, -5, 1, 1, 1], resolution=6)
    pose = torch.eye(4)[None].clone()
    pose[0, 2, 3] = -3
    K = torch.tensor([[[10.0, 0, 10], [0, 10, 10], [0, 0, 1]]])
    estimator.mark_invisible_cells(K, pose, 20, 20, near_plane=0.6)
    centre = torch.tensor([-1.0, -1, -5]) + (estimator.grid_coords + 0.5) / 6 * torch.tensor([2.0, 2, 6])
    depth = centre[:, 2] + 3
    seen = (depth > 0.6) & (centre[:, :2].abs() < depth[:, None]).all(1)
    assert torch.equal(estimator.occs == 0, seen)
    estimator.update_every_n_steps(0, lambda points: torch.ones(len(points)))
    assert torch.equal(estimator.binaries.reshape(-1), seen)


# ---- Proposals


def test_importance_sampling() -> None:
    """The quantiles 1/6, 1/2 and 5/6; edges between them, and at equal distances beyond them."""
    intervals = nerfacc.RayIntervals(torch.tensor([[0.0, 1, 3, 4]]))
    cdfs = torch.tensor([[0.0, 0.25, 0.25, 1]])
    edges, samples = nerfacc.importance_sampling(intervals, cdfs, 3)
    wanted = torch.tensor([[2 / 3, 3 + 1 / 3, 3 + 7 / 9]])
    assert torch.allclose(samples.vals, wanted)
    assert torch.allclose(edges.vals, torch.tensor([[0, 2.0, 3 + 5 / 9, 4]]))
    drawn = nerfacc.importance_sampling(intervals, cdfs, 400, stratified=True)[1].vals
    assert (drawn.diff() >= 0).all()
    assert ((drawn < 1).sum() - 100).abs() <= 1
    left, right = nerfacc.searchsorted(intervals, nerfacc.RayIntervals(torch.tensor([[-1.0, 0, 2, 4]])))
    assert left.tolist() == [[0, 0, 1, 3]]
    assert right.tolist() == [[0, 1, 2, 3]]


def test_the_loss_of_proposals() -> None:
    """Weights (0.6, 0.4) on thirds are bounded by (0.5, 0.5) on halves, where these are covered."""
    query, key = (nerfacc.RayIntervals(torch.tensor([v])) for v in ([0, 0.25, 1.0], [0, 0.5, 1.0]))
    loss = _pdf_loss(query, torch.tensor([[0.0, 0.6, 1]]), key, torch.tensor([[0.0, 0.5, 1]]))
    assert loss.tolist() == [[pytest.approx(0.1**2 / 0.6, rel=1e-4), 0]]


@pytest.mark.parametrize("kind", ["uniform", "lindisp"])
def test_proposals_find_the_surface(kind: Any) -> None:
    """A wall at t = 3: after training, the samples of the proposal crowd there."""
    torch.manual_seed(0)
    place = torch.nn.Parameter(torch.zeros(16))

    def proposal(starts: Tensor, ends: Tensor) -> Tensor:
        return place.exp()[(((starts + ends) / 2 - 1) / 5 * 16).long().clamp(0, 15)]

    estimator = nerfacc.PropNetEstimator(torch.optim.Adam([place], lr=0.1))
    for _ in range(60):
        starts, ends = estimator.sampling([proposal], [32], 16, 4, 1.0, 6.0, kind, stratified=True, requires_grad=True)
        wall = 20.0 * ((starts + ends) / 2 > 3)
        trans, _ = nerfacc.render_transmittance_from_density(starts, ends, wall)
        loss = estimator.update_every_n_steps(trans, requires_grad=True)
        assert math.isfinite(loss)
    starts, ends = estimator.sampling([proposal], [32], 16, 1, 1.0, 6.0, kind)
    assert starts.shape == (1, 16)
    assert torch.equal(starts[:, 1:], ends[:, :-1])
    assert not estimator.prop_cache
    assert ((starts > 2.5) & (starts < 3.7)).sum() >= 8


def test_bad_proposals() -> None:
    estimator = nerfacc.PropNetEstimator()
    options: dict[str, Any] = {"num_samples": 4, "n_rays": 2, "far_plane": 6.0}
    with pytest.raises(ValueError, match="near_plane"):
        estimator.sampling([], [], near_plane=0.0, **options)
    with pytest.raises(ValueError, match="prop_sigma_fns"):
        estimator.sampling([lambda a, b: a[:, :1]], [8], near_plane=1.0, **options)
    with pytest.raises(ValueError, match="prop_samples"):
        estimator.sampling([], [8], near_plane=1.0, **options)


def test_when_proposals_are_trained() -> None:
    due = get_proposal_requires_grad_fn(target=4, num_steps=10)
    steps = [step for step in range(100) if due(step)]
    assert steps[0] == 1
    assert set(np.diff(steps[6:]).tolist()) == {6}
