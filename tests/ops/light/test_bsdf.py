"""Materials: closed forms, energy, reciprocity, densities, another renderer's tables, the reference, gradients."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ops_common import random, scaled_error
from torch import Tensor

from lumigrad.ops.light import bsdf, sample_bsdf
from lumigrad.reference import light as reference
from lumigrad.render.brdf import diffuse_fresnel, metallic_roughness

DOUBLE = torch.float64
TABLES = Path(__file__).resolve().parents[4] / "shared" / "oracles" / "mi_bsdf_tables.npz"
GOLD = ((0.2, 0.92, 1.1), (3.9, 2.45, 2.14))  # index of refraction of three channels
DIFFUSE, METALLIC_ROUGHNESS, CONDUCTOR, DIELECTRIC, PLASTIC, SOLID = range(6)
OPAQUE = {
    "diffuse": (DIFFUSE, {"color": (0.2, 0.5, 0.8)}),
    "plastic": (METALLIC_ROUGHNESS, {"color": (0.8, 0.25, 0.1), "roughness": 0.4}),
    "half metal": (METALLIC_ROUGHNESS, {"color": (0.8, 0.25, 0.1), "roughness": 0.6, "metallic": 0.5}),
    "metal": (METALLIC_ROUGHNESS, {"color": (0.9, 0.7, 0.3), "roughness": 0.5, "metallic": 1.0}),
    "conductor": (CONDUCTOR, {"color": GOLD[0], "extinction": GOLD[1], "roughness": 0.5}),
    "coat": (METALLIC_ROUGHNESS, {"color": (1.0, 0.9, 0.9), "roughness": 0.9, "coat": 1.0, "coat_roughness": 0.5}),
    "coat on metal": (
        METALLIC_ROUGHNESS,
        {"color": (1.0, 0.7, 0.3), "roughness": 0.5, "metallic": 1.0, "coat": 0.6, "coat_roughness": 0.7},
    ),
    "shiny plastic": (PLASTIC, {"color": (1.101, 0.3, 0.1), "roughness": 0.3}),
    "rough plastic": (PLASTIC, {"color": (1.101, 0.3, 0.1), "roughness": 0.8}),
}
REFRACTING = {
    "rough glass": (DIELECTRIC, {"color": (1.0, 1.0, 1.0), "roughness": 0.6, "ior": 1.5}),
    "solid": (
        SOLID,
        {"color": (1.0, 0.9, 0.8), "roughness": 0.6, "metallic": 0.2, "transmission": 0.8, "coat": 0.7,
         "coat_roughness": 0.5},
    ),
}  # fmt: skip
SHEETS = {
    "sheet": (METALLIC_ROUGHNESS, {"color": (1.0, 0.9, 0.8), "roughness": 0.6, "transmission": 0.7}),
    "coated sheet": (
        METALLIC_ROUGHNESS,
        {"color": (1.0, 0.9, 0.8), "roughness": 0.5, "metallic": 0.2, "transmission": 1.0, "coat": 1.0,
         "coat_roughness": 0.6},
    ),
}  # fmt: skip
MATERIALS = OPAQUE | REFRACTING | SHEETS
EACH = pytest.mark.parametrize("name", list(MATERIALS))


def material(
    count: int,
    color: tuple[float, ...] = (1.0, 1.0, 1.0),
    roughness: float = 1.0,
    metallic: float = 0.0,
    ior: float = 1.5,
    extinction: tuple[float, ...] = (0.0, 0.0, 0.0),
    transmission: float = 0.0,
    coat: float = 0.0,
    coat_roughness: float = 0.0,
) -> Tensor:
    layers = [1.0, 0.5, transmission, coat, coat_roughness]
    row = torch.tensor([*color, roughness, metallic, ior, *extinction, 0.0, 0.0, 0.0, *layers], dtype=DOUBLE)
    return row.repeat(count, 1)


def kinds(count: int, kind: int, two_sided: bool = False) -> Tensor:
    return torch.tensor([[kind, int(two_sided)]]).repeat(count, 1)


def of(name: str, count: int, two_sided: bool = False) -> tuple[Tensor, Tensor]:
    kind, parameters = MATERIALS[name]
    return material(count, **parameters), kinds(count, kind, two_sided)


def at_cosine(cosine: float, count: int) -> Tensor:
    return torch.tensor([math.sqrt(1 - cosine**2), 0.0, cosine], dtype=DOUBLE).repeat(count, 1)


def directions(count: int, seed: int, whole: bool = False) -> Tensor:
    """Unit vectors, in the upper half space or in the whole one, none quite grazing."""
    d = random(count, 3, seed=seed, dtype=DOUBLE)
    d = d / d.norm(dim=-1, keepdim=True)
    z = d[:, 2] + 0.03 * d[:, 2].sign()
    d = torch.stack((d[:, 0], d[:, 1], z if whole else z.abs()), -1)
    return d / d.norm(dim=-1, keepdim=True)


def numbers(count: int, seed: int) -> Tensor:
    return torch.rand(count, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


# ---- Closed forms -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alpha", "albedos"),
    [
        (0.1, (0.98832, 0.98141, 0.93553, 0.87281)),
        (0.25, (0.91582, 0.88479, 0.82976, 0.85431)),
        (0.5, (0.68785, 0.67845, 0.71415, 0.77228)),
        (1.0, (1 - math.log(2), 0.36100, 0.47208, 0.55791)),
    ],
)
def test_directional_albedo_of_ggx_mirrors(alpha: float, albedos: tuple[float, ...]) -> None:
    """A conductor that reflects everything (k towards infinity) under separable Smith shadowing: known numbers."""
    count = 200_000
    for cosine, albedo in zip((1.0, 0.7, 0.3, 0.1), albedos):
        m = material(count, color=(1.0,) * 3, extinction=(1e6,) * 3, roughness=math.sqrt(alpha))
        weight = sample_bsdf(m, kinds(count, CONDUCTOR), at_cosine(cosine, count), numbers(count, 1))[1][:, 0]
        error = weight.std() / math.sqrt(count)
        assert abs(weight.mean() - albedo) < 5 * error + 2e-5


@pytest.mark.parametrize(("side", "mean"), [(1.0, 0.0917780), (-1.0, 0.5963458)])
def test_fresnel_reflectance_of_glass(side: float, mean: float) -> None:
    """Smooth glass of index 1.5 reflects 4 % at normal incidence, and known parts of diffuse light on either side."""
    count = 4096
    cosine = ((torch.arange(count, dtype=DOUBLE) + 0.5) / count).sqrt()  # with the density 2 cos
    wi = torch.stack((torch.sqrt(1 - cosine**2), 0 * cosine, side * cosine), -1)
    smooth = material(count, roughness=0.0)
    share = torch.zeros(count, dtype=DOUBLE)
    grid = 512  # where draws change from reflection to refraction is what is reflected
    for choice in (torch.arange(grid, dtype=DOUBLE) + 0.5) / grid:
        number = torch.stack((choice.expand(count), 0 * cosine, 0 * cosine), -1)
        wo = sample_bsdf(smooth, kinds(count, DIELECTRIC), wi, number)[0]
        share += (wo[:, 2] * wi[:, 2] > 0) / grid
    assert abs(share.mean() - mean) < 1e-3
    assert abs(share[cosine > 0.9999].mean() - 0.04) < 2 / grid


def test_smooth_glass_refracts_by_snell() -> None:
    wi = torch.tensor([[0.6, 0.0, 0.8], [0.6, 0.0, -0.8]], dtype=DOUBLE)
    number = torch.tensor([[0.999, 0.5, 0.5]], dtype=DOUBLE).repeat(2, 1)
    wo, weight, pdf = sample_bsdf(material(2, roughness=0.0), kinds(2, DIELECTRIC), wi, number)
    assert torch.allclose(wo[:, 0], torch.tensor([-0.6 / 1.5, -0.6 * 1.5], dtype=DOUBLE))
    assert torch.allclose(wo[:, 2].sign(), torch.tensor([-1.0, 1.0], dtype=DOUBLE))
    assert torch.allclose(weight[:, 0], torch.tensor([1 / 1.5**2, 1.5**2], dtype=DOUBLE))
    assert (pdf == 0).all()
    inside = torch.tensor([[0.8, 0.0, -0.6]], dtype=DOUBLE)  # beyond the critical angle all is reflected
    wo, weight, _ = sample_bsdf(material(1, roughness=0.0), kinds(1, DIELECTRIC), inside, number[:1])
    assert torch.allclose(wo, torch.tensor([[-0.8, 0.0, -0.6]], dtype=DOUBLE))
    assert torch.allclose(weight, torch.ones_like(weight))


def test_smooth_conductor_is_a_mirror() -> None:
    m = material(1, color=GOLD[0], extinction=GOLD[1], roughness=0.0)
    wo, weight, pdf = sample_bsdf(m, kinds(1, CONDUCTOR), at_cosine(1.0, 1), numbers(1, 0))
    n = np.array(GOLD[0]) + 1j * np.array(GOLD[1])
    assert wo.tolist() == [[0.0, 0.0, 1.0]]
    assert pdf.item() == 0
    assert np.allclose(weight[0].numpy(), np.abs((1 - n) / (1 + n)) ** 2)


def test_metallic_roughness_is_that_of_the_rasterizer() -> None:
    count = 300
    wi, wo = directions(count, 1), directions(count, 2)
    base = random(count, 3, seed=3, dtype=DOUBLE).abs()
    metallic, roughness = random(count, 2, seed=4, dtype=DOUBLE).abs().split(1, dim=-1)
    rest = torch.tensor([1.5] + [0.0] * 6, dtype=DOUBLE).expand(count, 7)
    rows = torch.cat((base, roughness, metallic, rest), -1)
    value, _ = bsdf(rows, kinds(count, METALLIC_ROUGHNESS), wi, wo)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=DOUBLE).expand(count, 3)
    assert torch.allclose(value, metallic_roughness(up, wi, wo, base, metallic, roughness), rtol=1e-10)


# ---- What holds of every material ---------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("cosine", [0.95, 0.5, 0.12])
def test_no_material_makes_energy(name: str, cosine: float) -> None:
    count = 50_000
    for side in (1.0, -1.0) if name not in OPAQUE else (1.0,):
        wi = at_cosine(cosine, count) * side
        wo, weight, _ = sample_bsdf(*of(name, count), wi, numbers(count, 7))
        # Within glass, radiance is larger by the square of the index.
        across = (1.5**2 if side > 0 else 1 / 1.5**2) if name in REFRACTING else 1.0
        energy = torch.where((wi[:, 2] * wo[:, 2] < 0)[:, None], weight * across, weight)
        mean, error = energy.mean(0), energy.std(0) / math.sqrt(count)
        assert (mean < 1 + 5 * error).all()
        assert (mean > 0.04).all()


@EACH
def test_reciprocity(name: str) -> None:
    """f(wi, wo) = f(wo, wi); of transmitted radiance, over the squares of the indices where it is."""
    count = 500
    whole = name not in OPAQUE
    wi, wo = directions(count, 11, whole), directions(count, 12, whole)
    there = bsdf(*of(name, count), wi, wo)[0] / wo[:, 2:].abs()
    back = bsdf(*of(name, count), wo, wi)[0] / wi[:, 2:].abs()
    if whole:
        through = wi[:, 2:] * wo[:, 2:] < 0
        across = 1.5**2 if name in REFRACTING else 1.0
        there = torch.where(through & (wi[:, 2:] > 0), there * across, there)
        back = torch.where(through & (wo[:, 2:] > 0), back * across, back)
        assert bool((there[through.expand_as(there)] > 0).any())
    assert torch.allclose(there, back, rtol=1e-9)


@EACH
@pytest.mark.parametrize("cosine", [0.9, 0.3])
def test_draws_have_their_density(name: str, cosine: float) -> None:
    """Chi-square test over bins of the sphere, whose probabilities are the density's integral by quadrature."""
    side = -1.0 if name not in OPAQUE and cosine > 0.5 else 1.0
    count, bins = 200_000, (12, 16)
    wi = at_cosine(cosine, 1) * side
    wo = sample_bsdf(*of(name, count), wi.expand(count, 3), numbers(count, 21))[0]
    valid = wo[:, 2] != 0
    turn = torch.atan2(wo[:, 1], wo[:, 0]) / (2 * math.pi) + 0.5
    row = ((wo[:, 2] + 1) / 2 * bins[0]).long().clamp(0, bins[0] - 1)
    column = (turn * bins[1]).long().clamp(0, bins[1] - 1)
    found = torch.bincount((row * bins[1] + column)[valid], minlength=bins[0] * bins[1]).double()
    fine = 48  # points along each side of a bin
    z = (torch.arange(bins[0] * fine, dtype=DOUBLE) + 0.5) / (bins[0] * fine) * 2 - 1
    phi = ((torch.arange(bins[1] * fine, dtype=DOUBLE) + 0.5) / (bins[1] * fine) - 0.5) * 2 * math.pi
    z, phi = torch.meshgrid(z, phi, indexing="ij")
    r = (1 - z**2).sqrt()
    grid = torch.stack((r * phi.cos(), r * phi.sin(), z), -1).reshape(-1, 3)
    pdf = bsdf(*of(name, len(grid)), wi.expand_as(grid), grid)[1]
    mass = pdf.reshape(bins[0], fine, bins[1], fine).mean((1, 3)) * 4 * math.pi / (bins[0] * bins[1])
    assert mass.sum() < 1 + 1e-3
    expected = mass.reshape(-1) * count
    used = expected > 20
    chi2 = ((found - expected)[used] ** 2 / expected[used]).sum()
    freedom = int(used.sum())
    assert chi2 < freedom + 5 * math.sqrt(2 * freedom)
    assert abs(found.sum() - expected.sum()) < 5 * math.sqrt(count) * 0.5 + 1e-3 * count


@EACH
def test_what_draws_are_worth(name: str) -> None:
    count = 1000
    wi = directions(count, 31, whole=name not in OPAQUE)
    wo, weight, pdf = sample_bsdf(*of(name, count), wi, numbers(count, 32))
    value, density = bsdf(*of(name, count), wi, wo)
    used = wo[:, 2] != 0
    assert used.any()
    assert torch.equal(pdf, density)
    assert torch.allclose((weight * pdf[:, None])[used], value[used], rtol=1e-12)
    assert (weight[~used] == 0).all()


def test_one_side_and_two() -> None:
    wi, wo = -directions(50, 41), -directions(50, 42)
    for name in OPAQUE:
        assert (bsdf(*of(name, 50), wi, wo)[0] == 0).all()
        assert (sample_bsdf(*of(name, 50), wi, numbers(50, 1))[0] == 0).all()
        flip = torch.tensor([1.0, 1.0, -1.0], dtype=DOUBLE)
        front, behind = bsdf(*of(name, 50), wi * flip, wo * flip), bsdf(*of(name, 50, True), wi, wo)
        assert torch.equal(front[0], behind[0])
        assert torch.equal(front[1], behind[1])


# ---- Another renderer -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not TABLES.exists(), reason="the tables are not here")
@pytest.mark.parametrize("name", ["diffuse", "ggx_iso", "rough_glass"])
def test_tables(name: str) -> None:
    tables = np.load(TABLES)
    meta = json.loads(str(tables["meta_json"]))[name]
    wi, wo, value, pdf = (torch.from_numpy(tables[f"{name}.{k}"]).double() for k in ("wi", "wo", "value", "pdf"))
    count = len(wi)
    if name == "diffuse":
        rows, kind = material(count, color=meta["reflectance"]), DIFFUSE
    elif name == "ggx_iso":
        rows = material(count, color=meta["eta"], extinction=meta["k"], roughness=math.sqrt(meta["alpha"]))
        kind = CONDUCTOR
    else:
        rows, kind = material(count, roughness=math.sqrt(meta["alpha"]), ior=meta["int_ior"]), DIELECTRIC
    rows.requires_grad_()
    ours, density = bsdf(rows, kinds(count, kind), wi, wo)
    scale = value.abs().max()
    assert (ours - value).abs().max() < 2e-5 * scale
    assert (density - pdf).abs().max() < 2e-5 * pdf.max()
    if name == "diffuse":
        (slope,) = torch.autograd.grad(ours.sum(), rows)
        assert torch.allclose(slope[:, :3], torch.from_numpy(tables["diffuse.d_reflectance"]).double(), atol=1e-6)
    else:
        given = torch.from_numpy(tables[f"{name}.d_alpha"]).double()
        for channel in range(3):
            (slope,) = torch.autograd.grad(ours[:, channel].sum(), rows, retain_graph=True)
            by_alpha = slope[:, 3] / (2 * math.sqrt(meta["alpha"]))
            assert (by_alpha - given[:, channel]).abs().max() < 1e-4 * given.abs().max()


@pytest.mark.skipif(not TABLES.exists(), reason="the tables are not here")
def test_rough_plastic_of_the_tables() -> None:
    """The coat is the same. Light of the base there passes the rough coat, whose inside is taken to reflect less.

    Not of these tables: Beckmann and anisotropic facets, which there are none of here, and the principled BSDF, whose
    diffuse part, sheen, coat (GTR1) and masking are other formulas than glTF's.
    """
    tables = np.load(TABLES)
    meta = json.loads(str(tables["meta_json"]))["rough_plastic"]
    wi, wo, value = (torch.from_numpy(tables[f"rough_plastic.{k}"]).double() for k in ("wi", "wo", "value"))
    outside = float(diffuse_fresnel(torch.tensor(meta["int_ior"], dtype=DOUBLE)))
    base = torch.tensor(meta["diffuse_reflectance"], dtype=DOUBLE)
    row = {"color": tuple((base / (1 - outside)).tolist()), "roughness": math.sqrt(meta["alpha"]), "ior": 1.49}
    ours, _ = bsdf(material(len(wi), **row), kinds(len(wi), PLASTIC), wi, wo)
    matt, theirs = ((v[:, 0] - v[:, 2]) / (base[0] - base[2]) for v in (ours, value))
    coat, their_coat = ours[:, 0] - matt * base[0], value[:, 0] - theirs * base[0]
    assert (coat - their_coat).abs().max() < 1e-5 * their_coat.max()
    steep = torch.minimum(wi[:, 2], wo[:, 2]) > 0.4
    assert (theirs[steep] / matt[steep] - 0.775).abs().max() < 0.02


# ---- Definition and gradients ---------------------------------------------------------------------------------------


def mixture(count: int, dtype: torch.dtype = DOUBLE) -> tuple[Tensor, Tensor]:
    rows = random(count, 21, seed=51, dtype=DOUBLE).abs() * 0.9 + 0.05
    rows[:, 5] += 0.96
    rows[::7, 3] = 0.0
    rows[::2, 14] = 0.0  # without transmission
    rows[::3, 15] = 0.0  # without a coat
    index = torch.arange(count)
    return rows.to(dtype), torch.stack((index * 7 // 6 % 6, index // 4 % 2), -1)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_against_the_reference(dtype: torch.dtype) -> None:
    count = 800
    rows, kind = mixture(count)
    wi, wo = directions(count, 52, whole=True), directions(count, 53, whole=True)
    expected = reference.bsdf(rows, kind, wi, wo)
    got = bsdf(rows.to(dtype), kind, wi.to(dtype), wo.to(dtype))
    tolerance = 2e-4 if dtype == torch.float32 else 1e-11
    for have, want in zip(got, expected):
        assert scaled_error(have, want) < tolerance
    drawn = reference.sample_bsdf(rows, kind, wi, numbers(count, 54))
    for have, want in zip(sample_bsdf(rows, kind, wi, numbers(count, 54)), drawn):
        assert scaled_error(have, want) < 1e-9


@pytest.mark.parametrize("function", [bsdf, reference.bsdf])
def test_gradients(function) -> None:
    """All rows move at once, as each result depends on its own row alone."""
    count = 24
    rows, kind = mixture(count)
    wi, wo = directions(count, 61, whole=True), directions(count, 62, whole=True)
    opaque = ((kind[:, 0] != DIELECTRIC) & (rows[:, 14] == 0))[:, None]
    wo = torch.where(opaque & (wi[:, 2:] * wo[:, 2:] < 0), -wo, wo)
    rows[:, 14:16] = torch.where(rows[:, 14:16] == 0, -1, rows[:, 14:16])  # what is not there has no gradient
    rows[::7, 3] = 0.3  # at 0, where surfaces become smooth, the value jumps

    def of_moved(*moves: Tensor) -> Tensor:
        return function(rows + moves[0], kind, wi + moves[1], wo + moves[2])[0]

    moves = tuple(torch.zeros(given.shape[1], dtype=DOUBLE, requires_grad=True) for given in (rows, wi, wo))
    assert torch.autograd.gradcheck(of_moved, moves, atol=1e-6)


def test_gradients_against_the_reference() -> None:
    count = 800
    rows, kind = mixture(count)
    given = torch.rand(count, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(65))
    found = []
    for function in (bsdf, reference.bsdf):
        wi, wo = (directions(count, seed, whole=True).requires_grad_() for seed in (63, 64))
        inputs = [rows.clone().requires_grad_(), wi, wo]
        found.append(torch.autograd.grad(function(inputs[0], kind, wi, wo)[0], inputs, given))
    for have, want in zip(*found):
        assert scaled_error(have, want) < 1e-9


def test_empty() -> None:
    none = torch.zeros(0, 3)
    value, pdf = bsdf(torch.zeros(0, 12), torch.zeros(0, 2, dtype=torch.long), none, none)
    assert value.shape == (0, 3)
    assert pdf.shape == (0,)


def test_wrong_calls() -> None:
    rows, kind = mixture(4)
    wi = directions(4, 1)
    with pytest.raises(ValueError, match=r"materials: expected shape \[M, 12\] to \[M, 21\], got \(4, 3\)"):
        bsdf(wi, kind, wi, wi)
    with pytest.raises(TypeError, match="kinds: expected integers, got float64"):
        bsdf(rows, rows[:, :2], wi, wi)
    with pytest.raises(ValueError, match=r"wo: expected shape \[4, 3\], got \(3, 3\)"):
        bsdf(rows, kind, wi, wi[:3])
    with pytest.raises(TypeError, match=r"numbers: expected torch\.float64 like materials, got torch\.float32"):
        sample_bsdf(rows, kind, wi, wi.float())
