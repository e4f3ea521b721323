"""2D texture lookups: closed forms, the kernel against the reference, gradients against differences."""

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

WRAPS = ["repeat", "clamp", "mirror", "zero"]
BOTH = pytest.mark.parametrize("look_up", [lg.texture, reference.texture], ids=["kernel", "reference"])
NAMES = ("tex", "uv", "uv_d", "mip_bias")


def scene(
    height: int, width: int, channels: int = 2, views: int = 1, rows: int = 5, columns: int = 6, seed: int = 0,
    textures: int | None = None, dtype: torch.dtype = torch.float64,
) -> list[Tensor]:  # fmt: skip
    """Texels, uv in [-1.5, 1.5), uv_d with footprints of some texels, and biases."""
    texels = random(views if textures is None else textures, height, width, channels, seed=seed, dtype=dtype)
    image = (views, rows, columns)
    uv = 1.5 * random(*image, 2, seed=seed + 1, dtype=dtype)
    step = 4 / torch.tensor([width, height], dtype=dtype)[:, None]
    uv_d = step * random(*image, 2, 2, seed=seed + 2, dtype=dtype)
    return [texels, uv, uv_d, 0.4 * random(*image, seed=seed + 3, dtype=dtype)]


def away_from_kinks(size: int, count: int, seed: int) -> Tensor:
    """Coordinates that stay clear of the texel centres and edges of all levels of an axis of `size`."""
    fine = 8 * size
    cell = torch.randint(-fine, 2 * fine, (count,), generator=torch.Generator().manual_seed(seed))
    return (cell.double() + 0.5) / fine


# ---- Closed forms -----------------------------------------------------------------------------------------


@BOTH
def test_texel_centres_and_constant(look_up) -> None:
    tex = random(1, 5, 7, 3)
    row, column = torch.meshgrid(torch.arange(5), torch.arange(7), indexing="ij")
    uv = torch.stack(((column + 0.5) / 7, (row + 0.5) / 5), -1)[None]
    for filter in ("nearest", "linear"):
        assert torch.allclose(look_up(tex, uv, filter=filter), tex, atol=1e-5)
    flat = torch.full((1, 6, 9, 2), 3.25)
    _, uv, uv_d, bias = scene(6, 9, dtype=torch.float32)
    for wrap in ("repeat", "clamp", "mirror"):
        out = look_up(flat, uv, uv_d, bias, wrap=wrap, anisotropy=4)
        assert torch.allclose(out, torch.full_like(out, 3.25))


@BOTH
def test_linear_ramp(look_up) -> None:
    """Between the outermost texel centres a ramp is reproduced, at every level."""
    width = 32
    tex = ((torch.arange(width) + 0.5) / width).double().view(1, 1, width, 1).expand(1, 4, width, 1)
    u = torch.linspace(0.3, 0.7, 9, dtype=torch.float64).view(1, 1, 9)
    uv = torch.stack((u, torch.full_like(u, 0.4)), -1)
    for level in (0.0, 0.7, 1.0, 2.3):
        out = look_up(tex, uv, mip_bias=torch.full_like(u, level))
        assert torch.allclose(out[..., 0], u, atol=1e-12)


@BOTH
def test_wraps(look_up) -> None:
    tex = torch.tensor([1.0, 2.0, 4.0]).view(1, 1, 3, 1)
    u = torch.tensor([-0.5, 0.0, 1.0, 1.5])  # in texels: -1.5, 0, 3, 4.5
    uv = torch.stack((u, torch.full_like(u, 0.5)), -1).view(1, 1, 4, 2)
    expected = {
        "repeat": [2.0, 2.5, 2.5, 2.0],
        "clamp": [1.0, 1.0, 4.0, 4.0],
        "mirror": [2.0, 1.0, 4.0, 2.0],
        "zero": [0.0, 0.5, 2.0, 0.0],
    }
    for wrap, wanted in expected.items():
        out = look_up(tex, uv, wrap=wrap).flatten()
        assert torch.allclose(out, torch.tensor(wanted)), wrap
    far = torch.tensor([[-2.4, 0.5], [7.7, 0.5]]).view(1, 1, 2, 2)
    assert look_up(tex, far, filter="nearest").flatten().tolist() == [2.0, 4.0]
    assert look_up(tex, far, filter="nearest", wrap="mirror").flatten().tolist() == [2.0, 1.0]
    assert look_up(tex, far, filter="nearest", wrap="clamp").flatten().tolist() == [1.0, 4.0]
    assert look_up(tex, far, filter="nearest", wrap="zero").flatten().tolist() == [0.0, 0.0]


@BOTH
def test_mip_levels(look_up) -> None:
    """Levels are told apart by their constant values."""
    levels = [torch.full((1, max(8 >> n, 1), 16 >> n, 1), float(n), dtype=torch.float64) for n in range(5)]
    uv = torch.full((1, 1, 1, 2), 0.3, dtype=torch.float64)

    def level(uv_d: list[list[float]] | None, bias: float | None = None, **options) -> float:
        d = None if uv_d is None else torch.tensor(uv_d, dtype=torch.float64).view(1, 1, 1, 2, 2)
        b = None if bias is None else torch.full((1, 1, 1), bias, dtype=torch.float64)
        return look_up(levels[0], uv, d, b, mips=levels[1:], **options).item()

    assert level([[2 / 16, 0], [0, 1 / 8]]) == pytest.approx(1)  # the longer axis counts
    assert level([[0, 3 / 16], [1 / 8, 0]]) == pytest.approx(math.log2(3))
    turn = math.radians(33)
    turned = [[5 * math.cos(turn) / 16, -math.sin(turn) / 16], [5 * math.sin(turn) / 8, math.cos(turn) / 8]]
    assert level(turned) == pytest.approx(math.log2(5))
    assert level(turned, -0.5) == pytest.approx(math.log2(5) - 0.5)
    assert level(turned, filter="linear-mipmap-nearest") == pytest.approx(2)
    assert level(turned, anisotropy=5) == pytest.approx(0)
    assert level(turned, anisotropy=2) == pytest.approx(math.log2(5 / 2))
    assert level(None, 1.75) == pytest.approx(1.75)
    assert level(None, -3.0) == pytest.approx(0)
    assert level(None, 30.0) == pytest.approx(4)
    assert level(None, 30.0, max_level=2) == pytest.approx(2)
    assert level([[0, 0], [0, 0]]) == pytest.approx(0)
    assert level([[1e30, 0], [0, 1e30]]) == pytest.approx(4)


@BOTH
def test_anisotropic_taps(look_up) -> None:
    """Four taps at the quarters of the footprint: the mean of four lookups."""
    tex = random(1, 1, 16, 1, dtype=torch.float64)
    uv = torch.tensor([0.5, 0.5], dtype=torch.float64).view(1, 1, 1, 2)
    uv_d = torch.tensor([[0.0, 4 / 16], [1.0, 0.0]], dtype=torch.float64).view(1, 1, 1, 2, 2)
    places = uv + torch.tensor([[-1.5, 0], [-0.5, 0], [0.5, 0], [1.5, 0]]).double() / 16
    wanted = look_up(tex, places.view(1, 1, 4, 2)).mean()
    assert look_up(tex, uv, uv_d, anisotropy=16).item() == pytest.approx(wanted.item())


@BOTH
@pytest.mark.parametrize("filter", FILTERS)
def test_invalid_coordinates(look_up, filter: str) -> None:
    tex, uv, uv_d, bias = scene(8, 8)
    with torch.no_grad():
        uv[0, 0, 0, 0], uv[0, 0, 1, 1] = math.nan, math.inf
        uv[0, 0, 2, 0], uv[0, 0, 3] = -1e30, torch.tensor([1e30, 1e18])
        if "mipmap" in filter:
            uv_d[0, 1, 0, 0, 1], bias[0, 1, 1] = math.nan, -math.inf
    aniso = {"anisotropy": 3} if "mipmap" in filter else {}
    out, *grads = outputs(look_up, [tex, uv, uv_d, bias], filter=filter, **aniso)
    broken = [(0, 0, 0), (0, 0, 1)] + [(0, 1, 0), (0, 1, 1)] * ("mipmap" in filter)
    for where in broken:
        assert not out[where].any()
        assert not any(grad[where].any() for grad in grads[1:])
    assert all(value.isfinite().all() for value in (out, *grads))


# ---- The kernel against the reference ---------------------------------------------------------------------


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("filter", FILTERS)
def test_matches_reference(filter: str, wrap: str) -> None:
    cases = [(1, 1, 9, 16, 3, 1), (3, 1, 5, 1, 1, 1), (2, 2, 16, 16, 4, 1), (2, 1, 7, 12, 6, 4), (1, 1, 8, 3, 2, 16)]
    for seed, (views, textures, height, width, channels, anisotropy) in enumerate(cases):
        if "mipmap" not in filter:
            anisotropy = 1
        values = scene(height, width, channels, views, seed=10 * seed, textures=textures)
        options = {"filter": filter, "wrap": wrap, "anisotropy": anisotropy}
        expected = outputs(reference.texture, values, **options)
        for name, a, b in zip(("out", *NAMES), outputs(lg.texture, values, **options), expected):
            assert scaled_error(a, b) < 1e-12, name
        single = [value.float() for value in values]
        expected = outputs(reference.texture, [value.double() for value in single], **options)
        for name, a, b in zip(("out", *NAMES), outputs(lg.texture, single, **options), expected):
            tolerance = 1e-5 if name == "out" else 1e-4
            assert scaled_error(a, b) < tolerance, name


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 70)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0, 1, 2, 3, 4, 5])),
    st.sampled_from(FILTERS), st.sampled_from(WRAPS), st.one_of(st.none(), st.integers(0, 3)),
    st.sampled_from([1, 3]), st.booleans(),
)  # fmt: skip
def test_all_sizes(image, size, filter: str, wrap: str, max_level, anisotropy: int, own: bool) -> None:
    """Empty images, single texels, long and thin ones: the kernel agrees with the reference."""
    views, rows, columns = image
    values = scene(*size, views, rows, columns, textures=views if own else 1)
    if "mipmap" not in filter:
        anisotropy = 1
    options = {"filter": filter, "wrap": wrap, "max_level": max_level, "anisotropy": anisotropy}
    for a, b in zip(outputs(lg.texture, values, **options), outputs(reference.texture, values, **options)):
        # Where a gradient is zero, of a texture of a single texel say, the reference's may be rounding alone.
        assert scaled_error(a, b) < 1e-12 or (a - b).abs().max() < 1e-15


# ---- Gradients --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("filter", FILTERS)
def test_gradients(filter: str, wrap: str) -> None:
    tex = random(1, 4, 8, 2, dtype=torch.float64).requires_grad_()
    mips = [level.detach().clone().requires_grad_() for level in lg.build_mips(random(1, 4, 8, 2, seed=9).double())]
    u, v = away_from_kinks(8, 12, 1), away_from_kinks(4, 12, 2)
    uv = torch.stack((u, v), -1).view(1, 3, 4, 2).requires_grad_()
    uv_d, bias = footprints(12, 8, 4)
    uv_d, bias = uv_d.view(1, 3, 4, 2, 2).requires_grad_(), bias.view(1, 3, 4).requires_grad_()

    def run(tex, uv, uv_d, bias, *mips):
        return lg.texture(tex, uv, uv_d, bias, list(mips) or None, filter=filter, wrap=wrap)

    assert torch.autograd.gradcheck(run, (tex, uv, uv_d, bias), eps=1e-7, atol=1e-5)
    assert torch.autograd.gradcheck(run, (tex, uv, uv_d, bias, *mips), eps=1e-7, atol=1e-5)


def footprints(count: int, width: int, height: int, ratio: float = 1.6) -> tuple[Tensor, Tensor]:
    """uv_d and biases whose levels stay clear of whole numbers: axes of 2.7 and 2.7 / ratio texels."""
    angle = torch.linspace(0.1, 3.0, count, dtype=torch.float64)
    major, minor = 2.7, 2.7 / ratio
    turn = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos()), -1).view(-1, 2, 2)
    texels = turn @ torch.diag(torch.tensor([major, minor]).double()) @ turn.flip(0)
    bias = torch.linspace(-1.3, 0.4, count, dtype=torch.float64)
    level = math.log2(major) + bias
    bias = torch.where((level - level.round()).abs() < 0.05, bias + 0.1, bias)
    return texels / torch.tensor([width, height]).double()[:, None], bias


def test_gradients_of_anisotropic_lookups() -> None:
    tex = random(1, 16, 16, 1, dtype=torch.float64).requires_grad_()
    uv_d, bias = footprints(12, 16, 16, ratio=4.3)
    uv_d, bias = uv_d.view(1, 3, 4, 2, 2).requires_grad_(), (bias + 1.2).view(1, 3, 4).requires_grad_()
    uv = random(1, 3, 4, 2, seed=5, dtype=torch.float64).requires_grad_()
    for anisotropy in (2, 8):

        def run(tex, uv, uv_d, bias, anisotropy=anisotropy):
            return lg.texture(tex, uv, uv_d, bias, anisotropy=anisotropy)

        assert torch.autograd.gradcheck(run, (tex, uv, uv_d, bias), eps=1e-8, atol=1e-5, rtol=1e-4)


def test_only_wanted_gradients() -> None:
    values = scene(8, 8, views=2)
    mips = [random(*level.shape, seed=5, dtype=torch.float64) for level in lg.build_mips(values[0])]
    all_inputs = [*values, *mips]

    def grads(wanted: list[int]) -> list[Tensor]:
        leaves = [x.clone().requires_grad_(i in wanted) for i, x in enumerate(all_inputs)]
        out = lg.texture(*leaves[:4], mips=leaves[4:])
        return list(torch.autograd.grad((out**2).sum(), [leaves[i] for i in wanted]))

    together = grads(list(range(len(all_inputs))))
    for i, grad in enumerate(together):
        assert torch.equal(grads([i])[0], grad)


def test_clamped_levels_have_no_gradient() -> None:
    values = scene(8, 8)
    for bias in (-40.0, 40.0):
        values[3] = torch.full_like(values[3], bias)
        _, _, _, grad_d, grad_bias = outputs(lg.texture, values)
        assert not grad_d.any()
        assert not grad_bias.any()


# ---- Running ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anisotropy", [1, 5])
def test_threads_do_not_matter(anisotropy: int) -> None:
    """Texels gather from many lookups, in the same order always; images wide, narrow, and scattered."""
    for rows, columns, textures in ((40, 300, 1), (300, 17, 2)):
        values = scene(33, 64, 3, 2, rows, columns, textures=textures, dtype=torch.float32)
        results = []
        for count in (1, 2, 3):
            with threads(count):
                results.append(outputs(lg.texture, values, anisotropy=anisotropy))
        for other in results[1:]:
            assert all(torch.equal(a, b) for a, b in zip(results[0], other))


@pytest.mark.parametrize("filter", FILTERS)
def test_op_registration(filter: str) -> None:
    tex, uv, uv_d, bias = scene(6, 9, views=2, dtype=torch.float32)
    mips = [level.requires_grad_() for level in lg.build_mips(tex)]
    code = FILTERS.index(filter)
    leaves = [value.requires_grad_() for value in (tex, uv, uv_d, bias)]
    op = torch.ops.lumigrad.texture.default
    if "mipmap" in filter:
        torch.library.opcheck(op, (*leaves, [], 2, code, 0, 2))
        torch.library.opcheck(op, (*leaves, mips, 0, code, 1, 1))
    else:
        torch.library.opcheck(op, (tex, uv, None, None, [], 0, code, 3, 1))


def test_strided_inputs_and_autocast() -> None:
    values = scene(6, 9, dtype=torch.float32)
    tex, uv = values[0], values[1]
    assert torch.equal(lg.texture(tex.mT.contiguous().mT, uv.flip(1).flip(1)), lg.texture(tex, uv))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert lg.texture(tex.bfloat16(), uv).dtype == torch.float32


def test_wrong_calls() -> None:
    tex, uv, uv_d, bias = scene(8, 8, views=2, dtype=torch.float32)
    bad = [
        (ValueError, "tex: expected shape", (tex[0], uv), {}),
        (TypeError, "uv: expected torch.float32 like tex, got torch.float64", (tex, uv.double()), {}),
        (ValueError, "uv: expected shape", (tex, uv[..., :1]), {}),
        (ValueError, "tex: expected 1 or 1 textures like uv", (tex, uv[:1]), {}),
        (ValueError, "uv_d: expected shape", (tex, uv, uv_d[..., 0]), {}),
        (ValueError, "mip_bias: expected shape", (tex, uv, None, bias[:1]), {}),
        (ValueError, "filter: expected auto, nearest", (tex, uv), {"filter": "cubic"}),
        (ValueError, "filter: linear-mipmap-linear needs uv_d", (tex, uv), {"filter": "linear-mipmap-linear"}),
        (ValueError, "wrap: expected one of repeat", (tex, uv), {"wrap": "wrap"}),
        (ValueError, "max_level: expected at least 0", (tex, uv, uv_d), {"max_level": -1}),
        (ValueError, "anisotropy: expected 1 to 16, got 17", (tex, uv, uv_d), {"anisotropy": 17}),
        (TypeError, "anisotropy: expected an integer", (tex, uv, uv_d), {"anisotropy": 2.0}),
        (ValueError, "anisotropy: 2 lookups need uv_d", (tex, uv), {"anisotropy": 2}),
        (TypeError, "mips: expected a list of tensors", (tex, uv, uv_d, None, tex), {}),
        (ValueError, r"mips\[0\]: expected shape", (tex, uv, uv_d, None, [tex]), {}),
        (ValueError, "mips: expected at most 3 levels", (tex, uv, uv_d, None, [tex] * 4), {}),
        (TypeError, r"mips\[0\]: expected", (tex, uv, uv_d, None, [tex[:, ::2, ::2].double()]), {}),
    ]
    for error, message, args, options in bad:
        with pytest.raises(error, match=f"^{message}"):
            lg.texture(*args, **options)
