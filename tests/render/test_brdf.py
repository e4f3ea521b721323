"""The BRDF: energy in a white furnace by quadrature, reciprocity, its table against that quadrature, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from ops_common import threads

from lumigrad.render.brdf import metallic_roughness, white_reflection
from lumigrad.render.color import filmic, reinhard, srgb_decode, srgb_encode

F64 = torch.float64
UP = torch.tensor([0.0, 0, 1], dtype=F64)


def scalar(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=F64)


def from_cosine(cosine: float) -> torch.Tensor:
    return torch.tensor([math.sqrt(1 - cosine**2), 0, cosine], dtype=F64)


def reflected_white(cosine: float, base: torch.Tensor, metallic: float, roughness: float) -> torch.Tensor:
    """What is reflected of uniform white light [3]: the midpoint rule over both angles of the hemisphere."""
    steps = 400
    theta = (torch.arange(steps, dtype=F64) + 0.5) * (0.5 * math.pi / steps)
    phi = (torch.arange(steps, dtype=F64) + 0.5) * (math.pi / steps)  # the other half is its mirror image
    theta, phi = torch.meshgrid(theta, phi, indexing="ij")
    light = torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], -1)
    value = metallic_roughness(UP, from_cosine(cosine), light, base, scalar(metallic), scalar(roughness))
    return (value * theta.sin()[..., None]).mean((0, 1)) * math.pi**2


@pytest.mark.parametrize("roughness", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("cosine", [0.15, 0.6, 1.0])
def test_no_energy_is_made_in_a_white_furnace(cosine: float, roughness: float) -> None:
    white = torch.ones(3, dtype=F64)
    for metallic in (0.0, 1.0):
        total = reflected_white(cosine, white, metallic, roughness)
        assert float(total.max()) <= 1.0 + 1e-3
    # The table says what a metal (f0 = 1) and the microfacets of a black dielectric (f0 = 0.04) reflect.
    scale, offset = white_reflection(scalar(cosine), scalar(roughness))
    assert float(scale + offset) == pytest.approx(float(total[0]), abs=0.01)
    black = reflected_white(cosine, torch.zeros(3, dtype=F64), 0.0, roughness)
    assert float(0.04 * scale + offset) == pytest.approx(float(black[0]), abs=0.004)


def test_table_within_bounds() -> None:
    nv, roughness = torch.meshgrid(torch.linspace(0, 1, 97), torch.linspace(0, 1, 97), indexing="ij")
    scale, offset = white_reflection(nv[..., None], roughness[..., None])
    assert scale.min() >= 0
    assert offset.min() >= 0
    assert (scale + offset).max() <= 1 + 1e-4


def test_reciprocal_and_dark_below_the_horizon() -> None:
    generator = torch.Generator().manual_seed(0)
    view, light = torch.nn.functional.normalize(torch.randn(2, 50, 3, generator=generator, dtype=F64), dim=-1)
    view, light = view * view[:, 2:].sign(), light * light[:, 2:].sign()
    base = torch.rand(50, 3, generator=generator, dtype=F64)
    metallic, roughness = torch.rand(2, 50, 1, generator=generator, dtype=F64)
    there = metallic_roughness(UP, view, light, base, metallic, roughness) / light[:, 2:]
    back = metallic_roughness(UP, light, view, base, metallic, roughness) / view[:, 2:]
    # Cosines to the viewer are kept away from zero, so very flat directions are left out.
    steep = (view[:, 2] > 1e-3) & (light[:, 2] > 1e-3)
    torch.testing.assert_close(there[steep], back[steep])
    assert metallic_roughness(UP, view, -light, base, metallic, roughness).abs().max() == 0


def test_gradients() -> None:
    generator = torch.Generator().manual_seed(1)
    normal = torch.nn.functional.normalize(torch.tensor([[0.1, 0.2, 1.0], [0, 0, 1]], dtype=F64), dim=-1)
    both = torch.tensor([[[0.5, 0, 1], [0, 1, 1]], [[0.2, 0.4, 1], [1, 0, 1]]], dtype=F64)
    view, light = torch.nn.functional.normalize(both, dim=-1)
    base = torch.rand(2, 3, generator=generator, dtype=F64)
    inputs = [normal, view, light, base, *torch.full((2, 2, 1), 0.4, dtype=F64)]
    with threads(1):
        assert torch.autograd.gradcheck(metallic_roughness, [value.requires_grad_() for value in inputs])
        nv = torch.tensor([[0.33], [0.71]], dtype=F64, requires_grad=True)
        assert torch.autograd.gradcheck(white_reflection, (nv, (0.9 * nv).detach().requires_grad_()))


def test_display_encoding() -> None:
    values = torch.linspace(-0.1, 2, 300, dtype=F64).requires_grad_()
    torch.testing.assert_close(srgb_decode(srgb_encode(values)), values, atol=1e-7, rtol=0)
    assert float(srgb_decode(torch.tensor(0.5))) == pytest.approx(0.21404114, rel=1e-5)
    for function in (srgb_encode, srgb_decode, reinhard, filmic):
        (slope,) = torch.autograd.grad(function(values).sum(), values)
        assert slope.isfinite().all()
        assert (slope[values > 0.01] > 0).all()
    assert float(reinhard(torch.tensor(1e6))) == pytest.approx(1.0, abs=1e-3)
