"""Cube map lookups: orientation, seams, the kernel against the reference, gradients against differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_common import random, scaled_error, threads
from texture_common import FILTERS, outputs
from torch import Tensor

import lumigrad as lg
from lumigrad import reference

BOTH = pytest.mark.parametrize("look_up", [lg.texture_cube, reference.texture_cube], ids=["kernel", "reference"])
# OpenGL 4.6, table 8.19: for every face the major axis, and what grows along u and v.
TABLE = [
    ("+x", "-z", "-y"),
    ("-x", "+z", "-y"),
    ("+y", "+x", "+z"),
    ("-y", "+x", "-z"),
    ("+z", "+x", "-y"),
    ("-z", "-x", "-y"),
]


def axis(name: str) -> Tensor:
    out = torch.zeros(3, dtype=torch.float64)
    out["xyz".index(name[1])] = 1.0 if name[0] == "+" else -1.0
    return out


def texel_directions(size: int) -> Tensor:
    """The direction [6, size, size, 3] of every texel's centre."""
    at = (2 * torch.arange(size, dtype=torch.float64) + 1) / size - 1
    faces = [axis(m) + at[None, :, None] * axis(u) + at[:, None, None] * axis(v) for m, u, v in TABLE]
    return torch.stack(faces)


def scene(
    size: int, channels: int = 2, views: int = 1, rows: int = 5, columns: int = 6, seed: int = 0,
    textures: int | None = None, dtype: torch.dtype = torch.float64,
) -> list[Tensor]:  # fmt: skip
    tex = random(views if textures is None else textures, 6, size, size, channels, seed=seed, dtype=dtype)
    image = (views, rows, columns)
    direction = random(*image, 3, seed=seed + 1, dtype=dtype)
    direction_d = 4 / size * random(*image, 3, 2, seed=seed + 2, dtype=dtype)
    return [tex, direction, direction_d, 0.4 * random(*image, seed=seed + 3, dtype=dtype)]


@BOTH
def test_orientation(look_up) -> None:
    tex = random(1, 6, 4, 4, 3, dtype=torch.float64)
    directions = texel_directions(4).view(1, 24, 4, 3)
    for filter in ("nearest", "linear"):
        for length in (1.0, 0.01, 300.0):
            out = look_up(tex, length * directions, filter=filter)
            assert torch.allclose(out.view(6, 4, 4, 3), tex[0], atol=1e-12)


@BOTH
@pytest.mark.parametrize("size", [1, 2, 5])
def test_seams_and_corners(look_up, size: int) -> None:
    """Across every edge and around every corner the result is continuous, at all levels."""
    tex = random(1, 6, size, size, 2, dtype=torch.float64)
    along = torch.linspace(-1, 1, 41, dtype=torch.float64)
    for i in range(3):
        for s in (-1.0, 1.0):
            for t in (-1.0, 1.0):
                edge = torch.empty(41, 3, dtype=torch.float64)
                edge[:, i], edge[:, (i + 1) % 3], edge[:, (i + 2) % 3] = along, s, t
                sides = []
                for nudge in (torch.tensor([1.0, 1 + 1e-9, 1]), torch.tensor([1.0, 1, 1 + 1e-9])):
                    sides.append(look_up(tex, (edge * nudge.double().roll(i)).view(1, 1, 41, 3)))
                assert torch.allclose(*sides, atol=1e-7)
    corner = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    around = corner + 1e-9 * random(1, 1, 30, 3, seed=4, dtype=torch.float64)
    assert look_up(tex, around).std((1, 2)).max() < 1e-7
    bias = torch.full((1, 1, 30), 0.5, dtype=torch.float64)
    assert look_up(tex, around, mip_bias=bias).std((1, 2)).max() < 1e-7


@BOTH
def test_neighbours_touch(look_up) -> None:
    """Half way between the centres of two texels that share an edge of the cube: their mean."""
    size = 4
    centres = texel_directions(size)
    tex = random(1, 6, size, size, 1, dtype=torch.float64)
    flat, values = centres.reshape(-1, 3), tex.flatten()
    pairs = 0
    for a in range(len(flat)):
        for b in range(a):
            step = (flat[a] - flat[b]).abs().sort().values
            across = torch.allclose(step, torch.tensor([0, 0.25, 0.25]).double())
            if not across or (flat[a].abs() == 1).nonzero().equal((flat[b].abs() == 1).nonzero()):
                continue
            pairs += 1
            middle = (flat[a] + flat[b]) / 2
            middle = torch.where(middle.abs() > 0.85, middle.sign(), middle)  # onto the shared edge
            out = look_up(tex, middle.view(1, 1, 1, 3)).item()
            assert out == pytest.approx(((values[a] + values[b]) / 2).item())
    assert pairs == 12 * size


@BOTH
@pytest.mark.parametrize("size", [1, 2, 8])
def test_anisotropic_taps(look_up, size: int) -> None:
    """Six taps along a line in a face's plane, which leads over an edge and past a corner: the mean of six lookups."""
    tex = random(1, 6, size, size, 2, dtype=torch.float64)
    at = torch.tensor([0.8, -0.6], dtype=torch.float64)  # across the face, from -1 to 1
    length, across = torch.tensor([1.5, -0.9]).double(), torch.tensor([0.9, 1.5]).double() / 6  # of the footprint
    places = at + ((torch.arange(6).double() + 0.5) / 6 - 0.5)[:, None] * length
    level = (length.norm() * size / 2 / 6).log2().clamp(min=0)
    for m, u, v in TABLE:
        u, v = axis(u), axis(v)
        seen = axis(m) + places[:, :1] * u + places[:, 1:] * v
        wanted = look_up(tex, seen.view(1, 1, 6, 3), mip_bias=level.expand(1, 1, 6)).mean(2)
        direction = 2.5 * (axis(m) + at[0] * u + at[1] * v)
        direction_d = 2.5 * torch.stack([d[0] * u + d[1] * v for d in (length, across)], -1)
        out = look_up(tex, direction.view(1, 1, 1, 3), direction_d.view(1, 1, 1, 3, 2), anisotropy=16)
        assert torch.allclose(out[:, :, 0], wanted, atol=1e-12)


@BOTH
@pytest.mark.parametrize("filter", FILTERS)
def test_invalid_directions(look_up, filter: str) -> None:
    tex, direction, direction_d, bias = scene(8)
    direction[0, 0, 0] = 0
    direction[0, 0, 1, 1] = math.nan
    direction[0, 0, 2, 2] = math.inf
    if "mipmap" in filter:
        direction_d[0, 1, 0, 0, 1] = math.nan
        direction_d[0, 1, 1] = 1e30
    aniso = {"anisotropy": 3} if "mipmap" in filter else {}
    out, *grads = outputs(look_up, [tex, direction, direction_d, bias], filter=filter, **aniso)
    for where in [(0, 0, 0), (0, 0, 1), (0, 0, 2)] + [(0, 1, 0)] * ("mipmap" in filter):
        assert not out[where].any()
        assert not any(grad[where].any() for grad in grads[1:])
    assert all(value.isfinite().all() for value in (out, *grads))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(0, 2), st.integers(0, 7), st.integers(0, 50)), st.integers(1, 9),
    st.sampled_from([0, 1, 3, 5]), st.sampled_from(FILTERS), st.one_of(st.none(), st.integers(0, 3)),
    st.sampled_from([1, 2, 5, 16]), st.booleans(),
)  # fmt: skip
def test_matches_reference(image, size: int, channels: int, filter: str, max_level, anisotropy: int, own: bool) -> None:
    views, rows, columns = image
    values = scene(size, channels, views, rows, columns, textures=views if own else 1)
    options = {"filter": filter, "max_level": max_level, "anisotropy": anisotropy if "mipmap" in filter else 1}
    pairs = zip(outputs(lg.texture_cube, values, **options), outputs(reference.texture_cube, values, **options))
    for a, b in pairs:
        assert scaled_error(a, b) < 1e-11


@pytest.mark.parametrize("anisotropy", [1, 4])
@pytest.mark.parametrize("filter", FILTERS)
def test_float32_matches_reference(filter: str, anisotropy: int) -> None:
    values = scene(16, 3, 2, 20, 20, dtype=torch.float32)
    options = {"filter": filter, "anisotropy": anisotropy if "mipmap" in filter else 1}
    expected = outputs(reference.texture_cube, [value.double() for value in values], **options)
    for i, (a, b) in enumerate(zip(outputs(lg.texture_cube, values, **options), expected)):
        assert scaled_error(a, b) < (1e-4 if i else 1e-5)


@pytest.mark.parametrize("filter", FILTERS)
def test_gradients(filter: str) -> None:
    size, count = 4, 24
    tex = random(1, 6, size, size, 1, dtype=torch.float64).requires_grad_()
    mips = [
        level.detach().clone().requires_grad_()
        for level in lg.build_mips(random(1, 6, size, size, 1, seed=3).double(), cube=True)
    ]
    fine = 8 * size  # away from centres and edges of the texels of all levels, but beyond the outermost centres
    cell = torch.randint(0, fine, (count, 2), generator=torch.Generator().manual_seed(1))
    cell[::3] = torch.where(cell[::3] < fine // 2, 0, fine - 1)  # into the corners
    at = 2 * (cell.double() + 0.5) / fine - 1
    normal, u, v = (torch.stack([axis(TABLE[i % 6][k]) for i in range(count)]) for k in range(3))
    direction = 1.7 * (normal + at[:, :1] * u + at[:, 1:] * v)
    direction_d = 0.9 * random(count, 3, 2, seed=8, dtype=torch.float64)
    shape = (1, 4, 6)
    inputs = (
        tex, direction.view(*shape, 3).requires_grad_(), direction_d.view(*shape, 3, 2).requires_grad_(),
        (0.3 * random(*shape, seed=2, dtype=torch.float64)).requires_grad_(),
    )  # fmt: skip

    def run(tex, direction, direction_d, bias, *mips):
        return lg.texture_cube(tex, direction, direction_d, bias, list(mips) or None, filter=filter)

    assert torch.autograd.gradcheck(run, inputs, eps=1e-7, atol=1e-5)
    assert torch.autograd.gradcheck(run, (*inputs, *mips), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("anisotropy", [2, 8])
def test_gradients_of_anisotropic_lookups(anisotropy: int) -> None:
    """Footprints of 2.7 by 0.6 texels, in the middle of faces, over edges and around corners."""
    size, count = 4, 24
    tex = random(1, 6, size, size, 2, dtype=torch.float64).requires_grad_()
    normal, u, v = (torch.stack([axis(TABLE[i % 6][k]) for i in range(count)]) for k in range(3))
    at = 0.93 * random(count, 2, seed=6, dtype=torch.float64)
    angle = torch.linspace(0.1, 6.0, count, dtype=torch.float64)[:, None]
    steps = [length * 2 / size * (c * u + s * v) for length, c, s in ((2.7, angle.cos(), angle.sin()),
                                                                      (0.6, -angle.sin(), angle.cos()))]  # fmt: skip
    direction, direction_d = normal + at[:, :1] * u + at[:, 1:] * v, torch.stack(steps, -1)
    shape = (1, 4, 6)
    inputs = (
        tex, direction.view(*shape, 3).requires_grad_(), direction_d.view(*shape, 3, 2).requires_grad_(),
        (0.6 + 0.2 * random(*shape, seed=2, dtype=torch.float64)).requires_grad_(),
    )  # fmt: skip

    def run(tex, direction, direction_d, bias):
        return lg.texture_cube(tex, direction, direction_d, bias, anisotropy=anisotropy)

    assert torch.autograd.gradcheck(run, inputs, eps=1e-8, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("anisotropy", [1, 5])
def test_threads_do_not_matter(anisotropy: int) -> None:
    values = scene(24, 3, 2, 40, 150, textures=1, dtype=torch.float32)
    results = []
    for count in (1, 2, 3):
        with threads(count):
            results.append(outputs(lg.texture_cube, values, anisotropy=anisotropy))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


def test_wrong_calls() -> None:
    tex, direction, direction_d, bias = scene(8, dtype=torch.float32)
    mip_filter = {"filter": "linear-mipmap-nearest"}
    bad = [
        (ValueError, r"tex: expected shape \[N, 6, S, S, C\]", (tex[:, :5], direction), {}),
        (ValueError, "tex: expected square faces", (tex[:, :, :4], direction), {}),
        (ValueError, "direction: expected shape", (tex, direction[..., :2]), {}),
        (ValueError, "direction_d: expected shape", (tex, direction, direction_d[..., :1]), {}),
        (ValueError, "mip_bias: expected shape", (tex, direction, None, bias[0]), {}),
        (ValueError, "filter: linear-mipmap-nearest needs direction_d", (tex, direction), mip_filter),
        (ValueError, r"mips\[0\]: expected shape", (tex, direction, direction_d, None, [tex]), {}),
        (ValueError, "anisotropy: expected 1 to 16, got 0", (tex, direction, direction_d), {"anisotropy": 0}),
        (ValueError, "anisotropy: 2 lookups need direction_d", (tex, direction), {"anisotropy": 2}),
    ]
    for error, message, args, options in bad:
        with pytest.raises(error, match=f"^{message}"):
            lg.texture_cube(*args, **options)
