"""nerfacc 0.3's functions in closed form, and its lenses."""

from __future__ import annotations

import math

import pytest
import torch

from lumigrad.compat import nerfacc
from lumigrad.compat.nerfacc import v0_3
from lumigrad.compat.nerfacc.cameras import opencv_lens_undistortion, opencv_lens_undistortion_fisheye
from lumigrad.compat.nerfacc.v0_3 import ContractionType

BOX = torch.tensor([-1.0, -2, -1, 1, 2, 1.5])
OUT = torch.tensor([[0.0, 0, -4], [0, 0, -4], [9, 9, -4]])
ALONG = torch.tensor([[0.0, 0, 1]]).expand(3, 3)


@pytest.mark.parametrize("kind", ContractionType)
def test_contraction_and_back(kind: ContractionType) -> None:
    points = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    unit = v0_3.contract(points, BOX.double(), kind)
    assert torch.allclose(v0_3.contract_inv(unit, BOX.double(), kind), points, atol=1e-6)
    if kind is not ContractionType.AABB:
        assert unit.min() > 0
        assert unit.max() < 1
    centre, corner = (BOX[:3] + BOX[3:]) / 2, torch.tensor([BOX[3], 0, 0.25])
    assert v0_3.contract(centre, BOX, kind).tolist() == pytest.approx([0.5] * 3)
    right = {"AABB": 1.0, "UN_BOUNDED_TANH": math.tanh(0.5) / 2 + 0.5, "UN_BOUNDED_SPHERE": 0.75}[kind.name]
    assert v0_3.contract(corner, BOX, kind)[0].item() == pytest.approx(right)


@pytest.mark.parametrize("kind", ContractionType)
def test_rays_are_sampled_where_cells_are_occupied(kind: ContractionType) -> None:
    """A ball of radius 0.8: a ray through its middle has about 1.6 of it, one beside it nothing."""
    grid = v0_3.OccupancyGrid([-1.0, -1, -1, 1, 1, 1], 64, kind)
    grid.every_n_step(0, lambda x: (x.norm(dim=-1, keepdim=True) < 0.8).float())
    rays, starts, ends = v0_3.ray_marching(OUT, ALONG, grid=grid, far_plane=10.0, render_step_size=0.01)
    assert rays.bincount(minlength=3).tolist() == pytest.approx([160, 160, 0], abs=10)
    assert starts.min().item() == pytest.approx(3.2, abs=0.06)
    assert torch.allclose(ends - starts, torch.tensor(0.01), atol=1e-5)
    assert starts.shape == (len(rays), 1)


def test_the_extension_marches_as_the_function_does() -> None:
    grid = v0_3.OccupancyGrid([-1.0, -1, -1, 1, 1, 1], 16)
    grid.every_n_step(0, lambda x: (x.norm(dim=-1, keepdim=True) < 0.8).float())
    rays, starts, ends = v0_3.ray_marching(OUT, ALONG, grid=grid, far_plane=10.0, render_step_size=0.1)
    packed, *samples = v0_3.cuda.ray_marching(
        OUT, ALONG, torch.zeros(3), torch.full((3,), 10.0), grid.roi_aabb, grid.binary,
        grid.contraction_type.to_cpp_version(), 0.1, 0.0,
    )  # fmt: skip
    assert torch.equal(packed, v0_3.pack_info(rays, 3))
    for got, expected in zip(samples, (rays, starts, ends)):
        assert torch.equal(got, expected)


def test_rendering_of_a_slab() -> None:
    """From 1 to 3 along the rays, of density 0.5, with and without what is hidden left out."""
    span = torch.full((3,), 1.0), torch.full((3,), 3.0)
    rays, starts, ends = v0_3.ray_marching(OUT, ALONG, *span, render_step_size=0.01)
    density = torch.full_like(starts, 0.5, requires_grad=True)
    color, opacity, depth = v0_3.rendering(
        starts, ends, rays, 3, rgb_sigma_fn=lambda a, b, r: (torch.ones(len(a), 3), density), render_bkgd=torch.zeros(3)
    )
    expected = 1 - math.exp(-1)
    assert opacity[:, 0].tolist() == pytest.approx([expected] * 3, abs=1e-5)
    assert color[:, 1].tolist() == pytest.approx([expected] * 3, abs=1e-5)
    # Not divided by the opacity: the integral of t w(t).
    assert depth[0].item() == pytest.approx(3 - 5 * math.exp(-1), abs=1e-3)
    opacity[0].sum().backward()
    assert density.grad is not None
    assert density.grad.sum().item() == pytest.approx(2 * math.exp(-1), abs=1e-4)
    early, near, _ = v0_3.ray_marching(
        OUT, ALONG, *span, render_step_size=0.01, early_stop_eps=math.exp(-0.5),
        sigma_fn=lambda a, b, r: torch.full_like(a, 0.5),
    )  # fmt: skip
    assert near.max().item() == pytest.approx(2, abs=0.02)
    assert len(early) == pytest.approx(300, abs=6)


def test_visibility_weights_and_packing() -> None:
    alphas = torch.tensor([0.4, 0.8, 0.1, 0.8, 0.1, 0.0, 0.9])[:, None]
    rays = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    packed = v0_3.pack_info(rays, n_rays=4)
    assert packed.tolist() == [[0, 3], [3, 2], [5, 2], [7, 0]]
    assert torch.equal(v0_3.unpack_info(packed, 7), rays)
    trans = torch.tensor([1, 0.6, 0.12, 1, 0.2, 1, 1])
    for where in ({"ray_indices": rays}, {"packed_info": packed}):
        assert torch.allclose(v0_3.render_transmittance_from_alpha(alphas, **where)[:, 0], trans)
        assert torch.allclose(v0_3.render_weight_from_alpha(alphas, **where), trans[:, None] * alphas)
        seen = v0_3.render_visibility(alphas, **where, early_stop_eps=0.3, alpha_thre=0.2)
        assert seen.tolist() == [True, True, False, True, False, False, True]
    table = v0_3.unpack_data(packed, alphas)
    assert table[..., 0].flatten().tolist() == pytest.approx([0.4, 0.8, 0.1, 0.8, 0.1, 0, 0, 0.9, 0, 0, 0, 0])
    data, info = v0_3.pack_data(table, torch.tensor([3, 2, 2, 0])[:, None] > torch.arange(3))
    assert torch.equal(data, alphas)
    assert torch.equal(info, packed)


def test_distortion_is_that_of_the_newer_interface() -> None:
    starts = torch.tensor([0.0, 1, 2, 0, 3])
    weights, rays = torch.tensor([0.2, 0.5, 0.1, 0.3, 0.3]), torch.tensor([0, 0, 0, 1, 1])
    newer = nerfacc.distortion(weights, starts, starts + 1, rays, 2)[:, 0]
    older = v0_3.loss_distortion(
        v0_3.pack_info(rays), weights[:, None], starts[:, None], starts[:, None] + 1
    )  # fmt: skip
    assert torch.allclose(newer, older, atol=1e-6)


def test_too_many_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="far_plane"):
        v0_3.ray_marching(OUT, ALONG, render_step_size=1e-3)
    with pytest.raises(ValueError, match="version"):
        nerfacc.install(version="0.4")


def test_lenses() -> None:
    ideal = torch.tensor([[0.3, -0.2], [0.1, 0.25], [0.0, 0.0]], dtype=torch.float64)
    k1, k2, p1, p2 = 0.1, -0.02, 0.01, -0.005
    square = ideal.square().sum(1, keepdim=True)
    cross = 2 * ideal.prod(1, keepdim=True)
    turned = torch.tensor([p1, p2]) * cross + torch.tensor([p2, p1]) * (square + 2 * ideal.square())
    bent = ideal * (1 + k1 * square + k2 * square**2) + turned
    params = torch.tensor([k1, k2, p1, p2])
    assert torch.allclose(opencv_lens_undistortion(bent, params), ideal, atol=1e-9)
    assert torch.allclose(opencv_lens_undistortion(bent, params.expand(3, 4)), ideal, atol=1e-9)
    assert torch.equal(opencv_lens_undistortion(bent, params[:0]), bent)
    radius = ideal.norm(dim=1, keepdim=True).clamp(min=1e-12)
    angle = radius.atan()
    fish = ideal / radius * (angle + 0.1 * angle**3)
    assert torch.allclose(opencv_lens_undistortion_fisheye(fish, torch.tensor([0.1, 0, 0, 0])), ideal, atol=1e-9)
