"""Densities from distances, redistancing and regularisers: closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from implicit_common import box, centres, noise, sphere

import lumigrad as lg
from lumigrad.fit import curvature_loss, eikonal_loss, grid_gradients


@pytest.mark.parametrize("cosine", [1.0, 0.5, 0.2])
def test_light_at_a_plane_in_volsdf(cosine: float) -> None:
    """Test 14: the transmittance at the surface is exp(-1 / (2 c))."""
    beta, edges = 0.1, torch.linspace(0, 5 / cosine, 40001, dtype=torch.float64)
    middle = 0.5 * (edges[1:] + edges[:-1])
    depth = (lg.volsdf_density(5 - middle * cosine, beta) * edges.diff()).sum()
    assert math.exp(-depth) == pytest.approx(math.exp(-1 / (2 * cosine)), rel=1e-6)


@pytest.mark.parametrize("cosine", [1.0, 0.5, 0.2])
def test_light_at_a_plane_in_neus(cosine: float) -> None:
    """Test 14: the transmittance at the surface is one half, whatever the segments."""
    at = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64).sort().values
    ends = at.new_tensor([9.0]), at.new_tensor([0.0])
    distance = torch.cat([*ends, (1 - at) * 9 * cosine]).sort(descending=True).values
    alpha = lg.neus_alpha(distance[:-1], distance[1:], 30.0)
    assert (1 - alpha).prod().item() == pytest.approx(0.5, rel=1e-9)
    assert (lg.neus_alpha(distance[1:], distance[:-1], 30.0) == 0).all()


def test_densities_far_from_the_surface() -> None:
    far = torch.tensor([-1e30, -50.0, 50.0, 1e30], requires_grad=True)
    density = lg.volsdf_density(far, 0.01)
    assert density.tolist() == [100.0, 100.0, 0.0, 0.0]
    density.sum().backward()
    assert far.grad.tolist() == [0, 0, 0, 0]
    front = torch.tensor([-50.0, -2.0, 1e30], requires_grad=True)
    alpha = lg.neus_alpha(front, front - 1, 100.0)
    assert alpha.tolist() == [1.0, 1.0, 0.0]
    alpha.sum().backward()
    assert front.grad.isfinite().all()


def test_gradcheck_of_densities() -> None:
    distance = noise((2, 3, 4), 0).requires_grad_()
    beta = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lg.volsdf_density, (distance, beta))
    back = (distance.detach() - 0.1 - noise((2, 3, 4), 1).abs()).requires_grad_()
    torch.autograd.gradcheck(lg.neus_alpha, (distance, back, beta))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_redistance_of_a_plane(dtype: torch.dtype) -> None:
    """Exact beside the surface, for any slope of the values; of first order farther away."""
    normal = torch.nn.functional.normalize(torch.tensor([0.3, -0.5, 0.8], dtype=dtype), dim=0)
    exact = centres((16, 17, 18), 1.0, dtype) @ normal - 0.03
    found = lg.redistance(5 * exact, box(1.0))
    assert found.dtype == dtype
    assert (found.sign() == exact.sign()).all()
    near = exact.abs() < 0.05
    assert (found - exact)[near].abs().max() < 1e-6
    inner = (found - exact)[3:-3, 3:-3, 3:-3]
    assert inner.abs().max() < 0.06


def test_redistance_of_a_sphere() -> None:
    """From values that are no distances, the surface does not move, and errors shrink with the voxels."""
    errors = []
    for size in (16, 32):
        exact = sphere(size, 1.2, 0.8)
        found = lg.redistance(exact * (2 + centres(size, 1.2)[..., 0]), box(1.2))
        verts, _ = lg.marching_cubes(found, box=box(1.2))
        assert (verts.norm(dim=-1) - 0.8).abs().max() < 0.6 * (2.4 / size) ** 2
        errors.append((found - exact).abs().max().item())
    assert errors[1] < 0.8 * errors[0]  # of the order h log h
    assert errors[0] < 0.1


def test_redistance_around_a_corner() -> None:
    """Distances do not pass through walls of the zero level; ties and long ways need several rounds."""
    values = torch.ones(9, 9, 9, dtype=torch.float64)
    values[4, 4, 4] = -1.0
    found = lg.redistance(values)
    assert found[4, 4, 4] < 0
    axis = found[4, 4, 5:]
    assert torch.allclose(axis.diff(), torch.ones(3, dtype=torch.float64), atol=0.05)
    for dims in ((0, 1), (1, 2), (0, 2)):
        assert torch.allclose(found, found.transpose(*dims), atol=1e-4)
    assert torch.allclose(found, found.flip(0), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("corners", [None, [[0.0, -1.0, 2.0], [0.7, 0.3, 9.0]]])
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 17, 33), (1, 1, 9), (6, 1, 2), (18, 2, 1)])
def test_redistance_is_its_definition(shape: tuple[int, ...], corners, dtype: torch.dtype) -> None:
    """Of noise, in cubes and in boxes, round by round; a value that is not finite is anywhere."""
    values = noise(shape, 3).to(dtype) - 0.3
    values.view(-1)[0], values.view(-1)[-1] = torch.nan, -torch.inf
    for sweeps in (0, 1, 2, 64):
        found, expected = (f(values, corners, sweeps) for f in (lg.redistance, lg.reference.redistance))
        torch.testing.assert_close(found, expected, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=0)


def test_redistance_of_any_layout() -> None:
    values = noise((5, 6, 7), 4)
    assert torch.equal(lg.redistance(values.permute(2, 0, 1)), lg.redistance(values.permute(2, 0, 1).contiguous()))
    assert not lg.redistance(values.requires_grad_()).requires_grad


@pytest.mark.parametrize("shape", [(0, 2, 3), (1, 1, 1), (3, 1, 2)])
def test_redistance_without_a_surface(shape: tuple[int, int, int]) -> None:
    assert (lg.redistance(torch.ones(shape)) == torch.inf).all()
    assert (lg.redistance(-torch.ones(shape)) == -torch.inf).all()
    broken = torch.full((3, 3, 3), torch.nan)
    broken[1, 1, 1] = -torch.inf
    assert not lg.redistance(broken).isnan().any()


def test_regularisers() -> None:
    normal = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)
    values = (centres((5, 6, 7), 1.0) @ normal).requires_grad_()
    slopes = grid_gradients(values, box(1.0))
    assert torch.allclose(slopes, normal.expand(4, 5, 6, 3))
    loss = eikonal_loss(slopes)
    assert loss.item() == pytest.approx((normal.norm().item() - 1) ** 2)
    assert curvature_loss(values, box(1.0)).item() == pytest.approx(0, abs=1e-20)
    # The Laplacian of |x| is 2 / |x|.
    shell = curvature_loss(sphere(40, 0.1, 0.0) + 0 * values.sum(), box(0.1))
    assert shell.isfinite()
    away = centres((20, 20, 20), 0.1) + torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    assert curvature_loss(away.norm(dim=-1), box(0.1)).item() == pytest.approx(4.0, rel=0.05)
    torch.autograd.gradcheck(lambda v: eikonal_loss(grid_gradients(v, box(1.0))), noise((3, 3, 4), 2).requires_grad_())
    torch.autograd.gradcheck(lambda v: curvature_loss(v, box(1.0)), noise((3, 3, 4), 2).requires_grad_())
    flat = torch.zeros(3, 3, 3, requires_grad=True)
    eikonal_loss(grid_gradients(flat)).backward()
    assert (flat.grad == 0).all()
    for empty in ((1, 1, 2), (1, 1, 1)):
        assert eikonal_loss(grid_gradients(torch.ones(empty))) == 0
        assert curvature_loss(torch.ones(empty)) == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: lg.volsdf_density([0.0], 1.0), TypeError, r"distance: expected a torch.Tensor, got list"),
        (lambda x: lg.volsdf_density(x, 0.0), ValueError, r"beta: expected a positive number, got 0.0"),
        (lambda x: lg.volsdf_density(x, -x), ValueError, r"beta: expected positive numbers, got -1.0"),
        (lambda x: lg.neus_alpha(x, x[:1], 1.0), ValueError, r"back: expected shape \[2\], got \(1,\)"),
        (lambda x: lg.neus_alpha(x, x, "a"), TypeError, r"sharpness: expected a number, got 'a'"),
        (lambda x: lg.redistance(x.reshape(1, 1, 2), sweeps=0.5), TypeError, r"sweeps: expected an integer, got 0.5"),
        (lambda x: lg.redistance(x), ValueError, r"values: expected shape \[D, H, W\], got \(2,\)"),
        (lambda x: eikonal_loss(x), ValueError, r"gradients: expected shape \[..., 3\], got \(2,\)"),
        (lambda x: curvature_loss(x), ValueError, r"values: expected shape \[D, H, W\]"),
    ],
)
def test_wrong_arguments(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(torch.ones(2))


def test_beside_infinite_values_the_surface_is_in_the_middle() -> None:
    """Next to infinite values the surface is in the middle; if a voxel's own side is infinite, its finite neighbour
    decides."""
    inf = torch.inf
    for redistance in (lg.redistance, lg.reference.redistance):
        assert redistance(torch.tensor([[[-1.0, inf]]])).tolist() == [[[-0.5, 0.5]]]
        beside = redistance(torch.tensor([[[-1.0, 1.0], [-1.0, inf]]]))
        assert beside[0, 0].tolist() == [-0.5, 0.5]
