"""Wrong calls and their messages: the argument, what was expected, what came."""
# ruff: noqa: E501 - a table reads best with one call per line

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cases import cases, evaluate, spoiled
from cuda_kernels import skip_where_devices_are_silent
from ops_common import TESTS, random, run_python

import lumigrad as lg
import lumigrad.memory
from lumigrad import Fragments
from lumigrad.ops.surface._antialias import antialias_with

SIZE = (8, 9)
POS = torch.tensor([[-0.8, -0.8, 0, 1], [0.8, -0.8, 0, 1], [0, 0.8, 0, 1], [0.5, 0.5, 0.5, 1.0]])
TRI = torch.tensor([[0, 1, 2], [1, 3, 2]], dtype=torch.int32)
FRAGS = lg.rasterize(POS, TRI, SIZE)
ATTR = random(4, 3)
COLOR = random(1, *SIZE, 3)
TOPOLOGY = lg.edge_topology(TRI)


def rasterize(pos: Any = POS, tri: Any = TRI, size: Any = SIZE, ranges: Any = None) -> Any:
    return lg.rasterize(pos, tri, size, ranges)


def interpolate(attr: Any = ATTR, tri: Any = TRI, derivatives: Any = False, **changes: Any) -> Any:
    return lg.interpolate(attr, FRAGS._replace(**changes), tri, derivatives)


def antialias(color: Any = COLOR, pos: Any = POS, tri: Any = TRI, topology: Any = TOPOLOGY, **changes: Any) -> Any:
    return lg.antialias(color, FRAGS._replace(**changes), pos, tri, topology)


def ranges(*values: tuple[int, int], dtype: torch.dtype = torch.int64) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


def rho() -> torch.Tensor:
    """Links that lead into a cycle from outside: following them never returns to the start."""
    links = torch.full((2, 3), 2 * 1 + 1, dtype=torch.int32)
    links[1] = torch.tensor([2 * 4, 2 * 5, 2 * 4])
    return links


CASES: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    # rasterize: positions
    ("pos list", lambda: rasterize(pos=POS.tolist()), TypeError, r"pos: expected a torch.Tensor, got list"),
    ("pos None", lambda: rasterize(pos=None), TypeError, r"pos: expected a torch.Tensor, got NoneType"),
    ("pos half", lambda: rasterize(pos=POS.half()), TypeError, r"pos: expected float32 or float64, got float16 .*autocast"),
    ("pos int", lambda: rasterize(pos=POS.int()), TypeError, r"pos: expected float32 or float64, got int32"),
    ("pos complex", lambda: rasterize(pos=POS.to(torch.complex64)), TypeError, r"pos: .*got complex64"),
    ("pos sparse", lambda: rasterize(pos=POS.to_sparse()), TypeError, r"pos: expected a dense tensor"),
    ("pos xyz", lambda: rasterize(pos=POS[:, :3]), ValueError, r"pos: expected shape \[N, V, 4\] or \[V, 4\], got \(4, 3\)"),
    ("pos 1-D", lambda: rasterize(pos=POS[0]), ValueError, r"pos: .*got \(4,\)"),
    ("pos 4-D", lambda: rasterize(pos=POS[None, None]), ValueError, r"pos: .*got \(1, 1, 4, 4\)"),
    ("pos scalar", lambda: rasterize(pos=torch.tensor(1.0)), ValueError, r"pos: .*got \(\)"),
    ("pos meta", lambda: rasterize(pos=POS.to("meta")), ValueError, r"tri: expected device meta .*got cpu"),
    # triangles
    ("tri list", lambda: rasterize(tri=TRI.tolist()), TypeError, r"tri: expected a torch.Tensor, got list"),
    ("tri float", lambda: rasterize(tri=TRI.float()), TypeError, r"tri: expected int32 or int64, got float32"),
    ("tri bytes", lambda: rasterize(tri=TRI.to(torch.uint8)), TypeError, r"tri: expected int32 or int64, got uint8"),
    ("tri bool", lambda: rasterize(tri=TRI.bool()), TypeError, r"tri: expected int32 or int64, got bool"),
    ("tri 1-D", lambda: rasterize(tri=TRI.flatten()), ValueError, r"tri: expected shape \[triangles, 3\], got \(6,\)"),
    ("tri quads", lambda: rasterize(tri=torch.zeros(2, 4).int()), ValueError, r"tri: .*got \(2, 4\)"),
    ("tri batched", lambda: rasterize(tri=TRI[None]), ValueError, r"tri: .*got \(1, 2, 3\)"),
    ("tri meta", lambda: rasterize(tri=TRI.to("meta")), ValueError, r"tri: expected device cpu .*got meta"),
    ("tri negative", lambda: rasterize(tri=TRI - 1), ValueError, r"tri\[0, 0\] is -1, but pos has 4 vertices"),
    ("tri too large", lambda: rasterize(tri=TRI + 1), ValueError, r"tri\[1, 1\] is 4, but pos has 4 vertices"),
    ("tri beyond int32", lambda: rasterize(tri=TRI.long() + 2**32), ValueError, r"tri\[0, 0\] is .*, but pos has 4"),
    ("tri beyond -int32", lambda: rasterize(tri=TRI.long() - 2**32), ValueError, r"tri\[0, 0\] is -.*, but pos has 4"),
    ("tri extremes", lambda: rasterize(tri=TRI.long().fill_(2**63 - 1)), ValueError, r"tri\[0, 0\] is"),
    ("tri of no vertices", lambda: rasterize(pos=POS[:0]), ValueError, r"tri\[0, 0\] is 0, but pos has 0 vertices"),
    ("tri behind", lambda: rasterize(tri=torch.tensor([[0, 1, 2]] * 5000 + [[0, 1, 9]])), ValueError, r"tri\[5000, 2\] is 9"),
    # size
    ("no rows", lambda: rasterize(size=(0, 4)), ValueError, r"size: expected 1 to 32768 .*got \(0, 4\)"),
    ("negative", lambda: rasterize(size=(4, -4)), ValueError, r"size: .*got \(4, -4\)"),
    ("too wide", lambda: rasterize(size=(4, 32769)), ValueError, r"size: .*got \(4, 32769\)"),
    ("huge", lambda: rasterize(size=(2**70, 1)), ValueError, r"size: expected 1 to 32768"),
    ("float sizes", lambda: rasterize(size=(4.0, 4)), TypeError, r"size: expected \(height, width\)"),
    ("one number", lambda: rasterize(size=4), TypeError, r"size: expected \(height, width\) .*got 4"),
    ("three numbers", lambda: rasterize(size=(4, 4, 3)), TypeError, r"size: .*got \(4, 4, 3\)"),
    ("text", lambda: rasterize(size="44"), TypeError, r"size: .*got '44'"),
    ("no memory", lambda: lg.rasterize(torch.zeros(2**20, 0, 4), TRI[:0], (32768, 32768)), MemoryError, r"no memory .*\(1048576, 32768, 32768\)"),
    ("bytes beyond 64 bits", lambda: lg.rasterize(torch.zeros(2**32, 0, 4), TRI[:0], (32768, 32768)), MemoryError, r"no memory"),
    # ranges
    ("ranges list", lambda: rasterize(ranges=[[0, 1]]), TypeError, r"ranges: expected a torch.Tensor, got list"),
    ("ranges float", lambda: rasterize(ranges=torch.ones(1, 2)), TypeError, r"ranges: expected int32 or int64, got .*float32"),
    ("ranges 1-D", lambda: rasterize(ranges=torch.tensor([0, 1])), ValueError, r"ranges: expected shape \[N, 2\], got \(2,\)"),
    ("ranges triples", lambda: rasterize(ranges=torch.zeros(1, 3).long()), ValueError, r"ranges: .*got \(1, 3\)"),
    ("ranges instanced", lambda: rasterize(pos=POS[None], ranges=ranges((0, 1))), ValueError, r"ranges: only with pos \[V, 4\]"),
    ("ranges beyond", lambda: rasterize(ranges=ranges((0, 2), (1, 2))), ValueError, r"ranges\[1\] is \(1, 2\), but tri has 2"),
    ("ranges before", lambda: rasterize(ranges=ranges((-1, 1))), ValueError, r"ranges\[0\] is \(-1, 1\)"),
    ("ranges negative count", lambda: rasterize(ranges=ranges((1, -1), dtype=torch.int32)), ValueError, r"ranges\[0\] is \(1, -1\)"),
    ("ranges overflow", lambda: rasterize(ranges=ranges((2**63 - 1, 1))), ValueError, r"ranges\[0\] is \(9223372036854775807, 1\)"),
    ("ranges overflowing sum", lambda: rasterize(ranges=ranges((1, 2**63 - 1))), ValueError, r"ranges\[0\] is \(1, 9223372036854775807\)"),
    ("ranges meta", lambda: rasterize(ranges=ranges((0, 1)).to("meta")), ValueError, r"ranges: expected a tensor with data"),
    # peel
    ("negative layers", lambda: lg.peel(POS, TRI, SIZE, -1), ValueError, r"layers: expected a non-negative integer, got -1"),
    ("half layers", lambda: lg.peel(POS, TRI, SIZE, 1.5), ValueError, r"layers: .*got 1.5"),
    ("peel index", lambda: list(lg.peel(POS, TRI + 2, SIZE, 2)), ValueError, r"tri\[0, 2\] is 4, but pos has 4"),
    ("peel pos", lambda: lg.peel(POS[:, :2], TRI, SIZE, 2), ValueError, r"pos: expected shape"),
    # interpolate
    ("attr double", lambda: interpolate(attr=ATTR.double()), TypeError, r"attr: expected .*float32 like frags.bary, got .*float64"),
    ("attr int", lambda: interpolate(attr=ATTR.int()), TypeError, r"attr: expected float32 or float64, got int32"),
    ("attr bfloat16", lambda: interpolate(attr=ATTR.bfloat16()), TypeError, r"attr: .*got bfloat16 .*autocast"),
    ("attr 1-D", lambda: interpolate(attr=ATTR[0]), ValueError, r"attr: expected shape \[V, A\] or \[N, V, A\], got \(3,\)"),
    ("attr images", lambda: interpolate(attr=ATTR.expand(3, 4, 3)), ValueError, r"attr: expected 1 or 1 images like frags, got shape \(3, 4, 3\)"),
    ("attr too few", lambda: interpolate(attr=ATTR[:2]), ValueError, r"tri\[0, 2\] is 2, but attr has 2 vertices"),
    ("attr none", lambda: interpolate(attr=ATTR[:0]), ValueError, r"tri\[0, 0\] is 0, but attr has 0 vertices"),
    ("attr meta", lambda: interpolate(attr=ATTR.to("meta")), ValueError, r"attr: expected device cpu like frags.bary, got meta"),
    ("attr tri meta", lambda: interpolate(tri=TRI.to("meta")), ValueError, r"tri: expected device cpu"),
    ("attr tri int64", lambda: interpolate(tri=TRI.long() + 2**40), ValueError, r"tri\[0, 0\] is .*, but attr has 4"),
    ("too few triangles", lambda: interpolate(tri=TRI[:1]), ValueError, r"frags.tri holds triangle 1, but tri has 1"),
    ("a plain tuple", lambda: lg.interpolate(ATTR, tuple(FRAGS), TRI), TypeError, r"frags: expected lumigrad.Fragments .*got tuple"),
    ("frags.tri beyond", lambda: lg.interpolate(ATTR, FRAGS._replace(tri=FRAGS.tri + 99), TRI), ValueError, r"frags.tri holds triangle 98, but tri has 2"),
    ("frags.tri int64", lambda: lg.interpolate(ATTR, FRAGS._replace(tri=FRAGS.tri.long()), TRI), TypeError, r"frags.tri: expected int32, got .*int64"),
    ("frags.tri 2-D", lambda: lg.interpolate(ATTR, FRAGS._replace(tri=FRAGS.tri[0]), TRI), ValueError, r"frags.tri: expected shape \[N, H, W\], got \(8, 9\)"),
    ("frags.tri meta", lambda: lg.interpolate(ATTR, FRAGS._replace(tri=FRAGS.tri.to("meta")), TRI), ValueError, r"frags.bary: expected device meta"),
    ("bary None", lambda: interpolate(bary=None), TypeError, r"frags.bary: expected a torch.Tensor, got NoneType"),
    ("bary cropped", lambda: interpolate(bary=FRAGS.bary[:, :4]), ValueError, r"frags.bary: expected shape \[1, 8, 9, 2\], got \(1, 4, 9, 2\)"),
    ("bary of three", lambda: interpolate(bary=random(1, 8, 9, 3)), ValueError, r"frags.bary: .*got \(1, 8, 9, 3\)"),
    ("bary_d missing", lambda: interpolate(derivatives=True, bary_d=None), ValueError, r"derivatives: frags.bary_d is missing"),
    ("bary_d shape", lambda: interpolate(derivatives=True, bary_d=FRAGS.bary_d[..., 0]), ValueError, r"frags.bary_d: expected shape \[1, 8, 9, 2, 2\]"),
    ("bary_d double", lambda: interpolate(bary_d=FRAGS.bary_d.double()), TypeError, r"frags.bary_d: expected .*float32 like frags.bary"),
    ("bary_d meta", lambda: interpolate(bary_d=FRAGS.bary_d.to("meta")), ValueError, r"frags.bary_d: expected device cpu"),
    ("channel 3 of 3", lambda: interpolate(derivatives=[0, 3]), ValueError, r"derivatives: channel 3 is not one of the 3 channels"),
    ("channel -1", lambda: interpolate(derivatives=[-1]), ValueError, r"derivatives: channel -1 is not"),
    ("channel 0.5", lambda: interpolate(derivatives=[0.5]), TypeError, r"derivatives: expected a bool or a list of channels"),
    ("channels text", lambda: interpolate(derivatives="xy"), TypeError, r"derivatives: .*got 'xy'"),
    # antialias
    ("color bytes", lambda: antialias(color=(255 * COLOR).byte()), TypeError, r"color: expected float32 or float64, got uint8"),
    ("color double", lambda: antialias(color=COLOR.double()), TypeError, r"color: expected .*float32 like frags.bary"),
    ("color 3-D", lambda: antialias(color=COLOR[0]), ValueError, r"color: expected shape \[1, 8, 9, C\], got \(8, 9, 3\)"),
    ("color cropped", lambda: antialias(color=COLOR[:, :, :4]), ValueError, r"color: .*got \(1, 8, 4, 3\)"),
    ("color images", lambda: antialias(color=COLOR.expand(2, -1, -1, -1)), ValueError, r"color: .*got \(2, 8, 9, 3\)"),
    ("aa pos double", lambda: antialias(pos=POS.double()), TypeError, r"pos: expected .*float32 like color, got .*float64"),
    ("aa pos images", lambda: antialias(pos=POS.expand(2, -1, -1)), ValueError, r"pos: expected shape \[1, V, 4\], got \(2, 4, 4\)"),
    ("aa pos xyz", lambda: antialias(pos=POS[:, :3]), ValueError, r"pos: expected shape \[V, 4\], got \(4, 3\)"),
    ("aa pos too few", lambda: antialias(pos=POS[:3]), ValueError, r"tri\[1, 1\] is 3, but pos has 3 vertices"),
    ("aa tri negative", lambda: antialias(tri=TRI - 1), ValueError, r"tri\[0, 0\] is -1, but pos has 4"),
    ("aa tri too large", lambda: antialias(tri=TRI + 1), ValueError, r"tri\[1, 1\] is 4, but pos has 4"),
    ("aa frags beyond", lambda: lg.antialias(COLOR, FRAGS._replace(tri=FRAGS.tri.clamp(max=0) * 99 + 98), POS, TRI), ValueError, r"frags.tri holds triangle 98, but tri has 2"),
    ("depth None", lambda: antialias(depth=None), TypeError, r"frags.depth: expected a torch.Tensor, got NoneType"),
    ("depth cropped", lambda: antialias(depth=FRAGS.depth[:, :1]), ValueError, r"frags.depth: expected shape \[1, 8, 9\], got \(1, 1, 9\)"),
    ("depth double", lambda: antialias(depth=FRAGS.depth.double()), TypeError, r"frags.depth: expected .*float32 like frags.bary"),
    ("depth meta", lambda: antialias(depth=FRAGS.depth.to("meta")), ValueError, r"frags.depth: expected device cpu"),
    ("topology list", lambda: antialias(topology=TOPOLOGY.tolist()), TypeError, r"topology: expected a torch.Tensor, got list"),
    ("topology int64", lambda: antialias(topology=TOPOLOGY.long()), TypeError, r"topology: expected int32 .*got .*int64"),
    ("topology of another", lambda: antialias(topology=TOPOLOGY[:1]), ValueError, r"topology: expected shape \[2, 3\], got \(1, 3\)"),
    ("topology meta", lambda: antialias(topology=TOPOLOGY.to("meta")), ValueError, r"topology: expected device cpu like tri, got meta"),
    ("topology negative", lambda: antialias(topology=TOPOLOGY - 99), ValueError, r"topology\[0, 0\] is -\d+, which is no half-edge of 2"),
    ("topology too large", lambda: antialias(topology=TOPOLOGY + 99), ValueError, r"topology\[0, 0\] is \d+, which is no half-edge of 2"),
    # edge_topology
    ("mesh list", lambda: lg.edge_topology(TRI.tolist()), TypeError, r"tri: expected a torch.Tensor, got list"),
    ("mesh float", lambda: lg.edge_topology(TRI.float()), TypeError, r"tri: expected int32 or int64, got float32"),
    ("mesh 1-D", lambda: lg.edge_topology(TRI[0]), ValueError, r"tri: expected shape \[triangles, 3\], got \(3,\)"),
    ("mesh negative", lambda: lg.edge_topology(TRI - 1), ValueError, r"tri\[0, 0\] is -1"),
    ("mesh very negative", lambda: lg.edge_topology(TRI.long() - 2**40), ValueError, r"tri\[0, 0\] is -"),
    ("mesh beyond int32", lambda: lg.edge_topology(TRI.long() + 2**40), ValueError, r"tri: expected indices below 2\*\*31 - 1"),
    ("places too few", lambda: lg.edge_topology(TRI, POS[:3]), ValueError, r"tri\[1, 1\] is 3, but there are 3 vertices"),
    ("places int", lambda: lg.edge_topology(TRI, POS.int()), TypeError, r"positions: expected float32 or float64, got int32"),
    ("places 1-D", lambda: lg.edge_topology(TRI, POS[0]), ValueError, r"positions: expected shape \[V, D\], got \(4,\)"),
    ("places empty", lambda: lg.edge_topology(TRI, POS[:, :0]), ValueError, r"positions: expected at least one coordinate"),
    ("places meta", lambda: lg.edge_topology(TRI, POS.to("meta")), ValueError, r"positions: expected device cpu like tri, got meta"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_wrong_calls(call: Callable[[], Any], error: type[Exception], message: str, kernels: str) -> None:
    skip_where_devices_are_silent(kernels, message)
    with pytest.raises(error, match=message) as caught:
        call()
    assert caught.type is error


@pytest.mark.cpu_only
def test_errors_leave_nothing_behind() -> None:
    """A failed call frees its outputs, and the next one works."""
    color = random(1, 300, 400, 3)
    frags = lg.rasterize(POS, TRI, (300, 400))
    before = lumigrad.memory.stats()["in_use"]
    for _ in range(3):
        with pytest.raises(ValueError, match="tri"):
            lg.rasterize(POS, TRI + 1, (300, 400))
        with pytest.raises(ValueError, match="tri"):
            lg.interpolate(ATTR, frags, TRI + 1, True)
        with pytest.raises(ValueError, match="tri"):
            lg.antialias(color, frags, POS, TRI + 1, TOPOLOGY)
    assert lumigrad.memory.stats()["in_use"] == before
    assert torch.equal(lg.rasterize(POS, TRI, (300, 400)).tri, frags.tri)


@pytest.mark.parametrize("name", sorted({case.op for case in cases()}))
def test_any_values(name: str) -> None:
    """Absurd numbers and indices, in one input at a time, give an error or a result, but no crash."""
    for case in cases():
        for wrong in spoiled(case) if case.op == name else ():
            with contextlib.suppress(ValueError):
                evaluate(wrong)


# ---- Odd, but not wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("component", range(4))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_positions_that_are_not_finite(dtype: torch.dtype, component: int, value: float) -> None:
    """The triangles at that vertex are left out; everything else renders, with finite gradients."""
    broken = POS.to(dtype).clone()
    broken[3, component] = value
    broken.requires_grad_()
    frags = lg.rasterize(broken, TRI, (20, 30))
    expected = lg.rasterize(POS.to(dtype), TRI[:1], (20, 30))
    assert all(torch.equal(a, b) for a, b in zip(frags[:4], expected[:4]))
    color = random(1, 20, 30, 3, dtype=dtype)
    out = lg.antialias(color, frags, broken, TRI)
    assert out.isfinite().all()
    (out.sum() + sum(f.sum() for f in frags[1:4])).backward()
    assert broken.grad.isfinite().all()
    assert not broken.grad[3].any()
    assert torch.equal(out, lg.antialias(color, frags, POS.to(dtype), TRI[:1]))
    precise = frags._replace(
        **{k: v.detach().double() for k, v in frags._asdict().items() if k in ("bary", "depth", "bary_d")}
    )
    expected = lg.reference.antialias(color.double(), precise, broken.detach().double(), TRI)
    assert (out - expected).abs().max() < 1e-6


def test_all_positions_nan() -> None:
    pos = torch.full((2, 4, 4), torch.nan).requires_grad_()
    frags = lg.rasterize(pos, TRI, SIZE)
    assert (frags.tri == -1).all()
    lg.antialias(random(2, *SIZE, 2), frags, pos, TRI).sum().backward()
    assert not pos.grad.any()


@pytest.mark.parametrize("own_edges", [False, True])
def test_any_negative_triangle_is_background(own_edges: bool) -> None:
    """Fragments made by hand may use other negative numbers than -1."""
    hand_made = FRAGS.tri.clone()
    hand_made[:, ::2][hand_made[:, ::2] < 0] = -(2**31)
    hand_made[:, :, 4] = -7
    frags, plain = FRAGS._replace(tri=hand_made), FRAGS._replace(tri=hand_made.clamp(min=-1))
    assert torch.equal(lg.interpolate(ATTR, frags, TRI), lg.interpolate(ATTR, plain, TRI))
    smooth = [antialias_with(COLOR, f, POS, TRI, TOPOLOGY, own_edges) for f in (frags, plain)]
    assert torch.equal(*smooth)


def test_fragments_that_fit_nothing() -> None:
    """Consistent in themselves, but of another mesh and with wild values: no crash, whatever comes out."""
    tri = torch.randint(-3, 2, (1, *SIZE), generator=torch.Generator().manual_seed(0)).int()
    frags = Fragments(tri, 1e30 * random(1, *SIZE, 2), torch.full((1, *SIZE), torch.nan), random(1, *SIZE, 2, 2))
    lg.interpolate(ATTR, frags, TRI, True)
    pos = POS.clone().requires_grad_()
    lg.antialias(COLOR, frags, pos, TRI).sum().backward()
    assert pos.grad.isfinite().all()


def test_links_that_never_come_back() -> None:
    """A topology made by hand. Links that never return to the start are survived; tested in a subprocess, because an
    endless loop would not fail."""
    code = f"""
import sys
sys.path.insert(0, {str(TESTS / "ops")!r})
import test_bad_input as t
print(t.antialias(topology=t.rho()).isfinite().all().item())
"""
    assert run_python(code, timeout=30).split()[-1] == "True"


def test_meta_tensors_give_meta_tensors() -> None:
    pos, tri = POS.to("meta"), TRI.to("meta")
    frags = lg.rasterize(pos, tri, SIZE, ranges((0, 1), (1, 1)).to("meta"))
    assert frags.tri.shape == (2, *SIZE)
    assert frags.tri.is_meta
    out, out_d = lg.interpolate(ATTR.to("meta"), frags, tri, [0, 2])
    assert out_d.shape == (2, *SIZE, 2, 2)
    color = lg.antialias(out, frags, pos, tri, lg.edge_topology(tri))
    assert color.shape == (2, *SIZE, 3)
    assert color.is_meta
