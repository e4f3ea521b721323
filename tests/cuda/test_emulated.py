"""The CUDA kernels, emulated on this processor, against the CPU's: same coverage, values and gradients within rounding,
bitwise determinism, and nothing read out of bounds.

`pytest tests/ops --kernels emulated` runs the tests of the ops on them too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator

import pytest
import torch
from cases import cases, evaluate
from cuda_kernels import emulated_core, emulated_cuda, library, set_order
from meshes import random_triangles
from ops_common import (
    inside_sphere,
    mesh_outputs,
    random,
    scaled_error,
    soft_outputs,
    sphere_views,
    texture_outputs,
)
from splat_common import call, cameras, flat_scene, sphere_scene, splat_outputs
from torch import Tensor

import lumigrad as lg
from lumigrad._engine.core import Core
from lumigrad._engine.declare import DIRECTIONS
from lumigrad._engine.loading import HEADER
from lumigrad.ops import surface

pytestmark = pytest.mark.skipif(library() is None, reason="needs the emulation (see tests/cuda_kernels.py)")

RANGES = torch.tensor([[0, 30], [10, 50], [59, 1], [10, 0]])


def mesh_scene(name: str, dtype: torch.dtype) -> dict[str, Tensor]:
    if name == "sphere":
        return mesh_outputs(*sphere_views(2, 2, dtype), (37, 50))
    if name == "inside":
        return mesh_outputs(*inside_sphere(1, dtype), (45, 70), 5)
    triangles, faces = random_triangles(60, seed=3, behind=0.1, size=0.9)
    return mesh_outputs(triangles.to(dtype), faces, (61, 40), 1, RANGES)


def compare(actual: dict[str, Tensor], expected: dict[str, Tensor], dtype: torch.dtype) -> None:
    bound = 1e-5 if dtype == torch.float32 else 1e-10
    for name, value in expected.items():
        if not value.dtype.is_floating_point:
            assert torch.equal(actual[name], value), name
        else:
            # Gradients of derivatives add up many large numbers of both signs.
            error = scaled_error(actual[name], value)
            assert error < (10 * bound if "grad pos" in name else bound), f"{name}: {error:.2e}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["sphere", "inside", "random"])
def test_meshes(name: str, dtype: torch.dtype) -> None:
    expected = mesh_scene(name, dtype)
    with emulated_cuda() as core:
        used = core.calls["rasterize_forward"]
        calls: list[int] = []
        core.calls["rasterize_forward"] = lambda *arguments: (calls.append(1), used(*arguments))[1]
        try:
            actual = mesh_scene(name, dtype)
        finally:
            core.calls["rasterize_forward"] = used
    assert calls, "the CPU's kernels ran instead"
    compare(actual, expected, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_textures(dtype: torch.dtype) -> None:
    expected = texture_outputs(dtype, 17)
    with emulated_cuda():
        compare(texture_outputs(dtype, 17), expected, dtype)


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (70000, 9), (2, 70), (3, 5)])
def test_lists_of_lookups(shape: tuple[int, int]) -> None:
    """Images that are hardly more than a line, in either direction; no launch is too large."""
    uv, tex = random(1, *shape, 2, seed=5), random(1, 8, 8, 1, seed=6)
    expected = lg.texture(tex, uv)
    with emulated_cuda():
        assert scaled_error(lg.texture(tex, uv), expected) < 1e-6
        if shape[0] < 1000:
            tex = tex.requires_grad_()
            lg.texture(tex, uv).sum().backward()
            assert tex.grad.sum().item() == pytest.approx(shape[0] * shape[1], rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_splats(dtype: torch.dtype) -> None:
    """Images and gradients of spheres, Gaussians, points and their cameras; more pairs than lists have room for."""
    expected = splat_outputs(dtype)
    with emulated_cuda():
        actual = splat_outputs(dtype)
    for name, value in expected.items():
        if not value.dtype.is_floating_point:
            assert torch.equal(actual[name], value), name
        else:
            error = scaled_error(actual[name].nan_to_num(), value.nan_to_num())
            assert error < (1e-4 if dtype == torch.float32 else 1e-10), f"{name}: {error:.2e}"


def sorted_scene(name: str, count: int, channels: int) -> Callable[[], lg.Splats]:
    """A call with many equal depths, primitives of all sizes, and all that is listed beside the image."""
    if name == "sphere":
        scene, camera = sphere_scene(count, torch.float32, channels), cameras(torch.float32, 3, (40, 70))
        scene["positions"] = (4 * scene["positions"]).round() / 4
        return lambda: call(lg.spheres, **scene, **camera, size=(40, 70), min_depth=0.5, max_depth=9.0, contributors=5)
    footprint, blend = name.split()
    scene = flat_scene(footprint, count, 3, torch.float32, channels, (40, 70))
    scene["depths"] = scene["depths"].mul(8).round()
    scene["shapes"][:, ::7] *= 0.02 if footprint == "gaussian" else 5
    scene["opacities"][::11] = 3.0
    rules = {"max_alpha": 0.99, "min_alpha": 1 / 255, "stop": 1e-4}
    options = {"footprint": footprint, "blend": blend, "max_contributors": None if blend == "alpha" else 9, **rules}
    return lambda: lg.splat(**scene, size=(40, 70), contributors=5, **options)


SPLATS = ["sphere", "gaussian alpha", "gaussian normalised", "disc alpha", "square alpha", "disc nearest"]


@pytest.mark.parametrize("name", SPLATS)
@pytest.mark.parametrize(("count", "channels"), [(150, 20), (3000, 1)])
def test_order_of_splats(name: str, count: int, channels: int) -> None:
    """The same contributors in the same order as on the CPU; in several chunks of the sort, and groups of channels."""
    draw = sorted_scene(name, count, channels)
    expected = draw()
    with emulated_cuda():
        actual = draw()
    assert (expected.ids >= 0).any()
    assert torch.equal(actual.ids, expected.ids)
    assert expected.median is None or torch.equal(actual.median, expected.median)
    for ours, theirs in zip(actual, expected):
        if ours is not None and ours.dtype.is_floating_point:
            # exp(z / gamma), here up to e^10, magnifies what rounding does to the depth of a sphere.
            assert scaled_error(ours, theirs) < (1e-4 if name == "sphere" else 1e-5)


@pytest.mark.parametrize("size", [(1, 1), (17, 15), (1, 300), (300, 2), (1100, 20)])
def test_sizes_of_splat_images(size: tuple[int, int]) -> None:
    """One primitive is everywhere: in more rows of tiles than a warp has lanes, too."""
    scene = flat_scene("disc", 30, 1, torch.float32, 3, size)
    scene["shapes"][0, 0] = 1e6
    expected = lg.splat(**scene, size=size, footprint="disc")
    with emulated_cuda():
        assert scaled_error(lg.splat(**scene, size=size, footprint="disc").image, expected.image) < 1e-5


def large_and_small() -> tuple[Tensor, Tensor]:
    """Triangles from less than a pixel to several times the image, more large ones than the emulation's queue holds."""
    parts = [random_triangles(100, seed=1, size=2.5), random_triangles(40, seed=2, size=9.0, behind=0.2),
             random_triangles(300, seed=3, size=0.02)]  # fmt: skip
    pos = torch.cat([part[0] for part in parts])
    return pos, torch.arange(len(pos), dtype=torch.int32).view(-1, 3)


def test_sizes_of_triangles() -> None:
    """Those drawn by one thread, queued, or, where the queue is full, drawn by a warp at once."""
    pos, tri = large_and_small()
    expected = lg.rasterize(pos, tri, (90, 150))
    layers = list(lg.peel(pos, tri, (40, 70), 3))
    with emulated_cuda():
        frags = lg.rasterize(pos, tri, (90, 150))
        peeled = list(lg.peel(pos, tri, (40, 70), 3))
    for ours, theirs in zip([frags, *peeled], [expected, *layers]):
        assert torch.equal(ours.tri, theirs.tri)
        for a, b in zip(ours[1:4], theirs[1:4]):
            assert scaled_error(a, b) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["sphere", "inside", "random"])
def test_soft(name: str, dtype: torch.dtype) -> None:
    """Fragments and images are the CPU's bit for bit: the same anchors, the same arithmetic, the same order."""
    if name == "random":
        pos, tri = random_triangles(60, seed=3, behind=0.1, size=0.9)
    else:
        pos, tri = sphere_views(2, 2) if name == "sphere" else inside_sphere(1)
    expected = soft_outputs(pos.to(dtype), tri, (37, 50))
    with emulated_cuda():
        actual = soft_outputs(pos.to(dtype), tri, (37, 50))
    for key, value in expected.items():
        if "grad" not in key:
            assert torch.equal(actual[key], value), key
        else:
            # Loose triangles seen edge-on have gradients that nearly cancel. Both results are equally far from float64.
            bound = 1e-11 if dtype == torch.float64 else 5e-4 if name == "random" else 5e-5
            assert scaled_error(actual[key], value) < bound, key


def test_soft_with_many_faces() -> None:
    """More than a node of the boxes holds, in random order, of all sizes; ranges that begin and end anywhere."""
    parts = [random_triangles(2300, seed=1, size=0.05), random_triangles(40, seed=2, size=3.0, behind=0.2)]
    pos = torch.cat([part[0] for part in parts])
    order = torch.randperm(len(pos) // 3, generator=torch.Generator().manual_seed(0))
    tri = torch.arange(len(pos), dtype=torch.int32).view(-1, 3)[order].contiguous()
    ranges = torch.tensor([[0, 2340], [7, 1300], [2339, 1], [5, 0], [1, 1024]])
    expected = lg.soft_rasterize(pos, tri, (45, 67), 12, 1e-3, ranges)
    assert (expected.tri[0, ..., 11] >= 0).any()
    assert (expected.tri >= 2048).any()
    mask = lg.soft_silhouette(pos, tri, (45, 67), 1e-4, ranges=ranges)
    with emulated_cuda():
        actual = lg.soft_rasterize(pos, tri, (45, 67), 12, 1e-3, ranges)
        assert torch.equal(lg.soft_silhouette(pos, tri, (45, 67), 1e-4, ranges=ranges), mask)
    for ours, theirs in zip(actual, expected):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("faces", [1, 2, 7, 40, 255])
def test_soft_lists_of_equal_faces(faces: int) -> None:
    """By depth, then by number, whatever order the heap had them in."""
    pos, tri = random_triangles(3, seed=5, size=2.0)
    again = tri.repeat(20, 1)
    expected = lg.soft_rasterize(pos, again, (9, 14), faces, 0.01)
    with emulated_cuda():
        actual = lg.soft_rasterize(pos, again, (9, 14), faces, 0.01)
    assert torch.equal(actual.tri, expected.tri)
    assert torch.equal(actual.z, expected.z)
    assert (expected.tri >= 0).any()


@pytest.fixture
def both_orders() -> Iterator[None]:
    with emulated_cuda():
        yield
        set_order(False)


@pytest.mark.usefixtures("both_orders")
def test_deterministic() -> None:
    """Deterministic results have the same bits whether blocks and threads run forwards or backwards; others differ."""

    def everything() -> dict[str, Tensor]:
        found = mesh_scene("sphere", torch.float32) | mesh_scene("inside", torch.float64)
        return found | texture_outputs(torch.float32, 17) | soft_outputs(*sphere_views(2, 2), (33, 41))

    results = []
    for deterministic in (True, False):
        torch.use_deterministic_algorithms(deterministic)
        try:
            for backwards in (False, True):
                set_order(backwards)
                results.append(everything())
        finally:
            torch.use_deterministic_algorithms(False)
    first, second, *plain = results
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert any(not torch.equal(plain[0][name], plain[1][name]) for name in plain[0])
    for name, value in first.items():
        if value.dtype.is_floating_point:
            assert scaled_error(plain[0][name], value) < (5e-5 if "soft" in name else 1e-5), name


def test_splats_are_deterministic() -> None:
    expected = splat_outputs(torch.float32)
    with emulated_cuda():
        torch.use_deterministic_algorithms(True)
        try:
            first = splat_outputs(torch.float32)
            set_order(True)
            second = splat_outputs(torch.float32)
        finally:
            torch.use_deterministic_algorithms(False)
            set_order(False)
    assert [name for name in first if not torch.equal(first[name].nan_to_num(), second[name].nan_to_num())] == []
    for name, value in expected.items():
        assert scaled_error(first[name].nan_to_num(), value.nan_to_num()) < 1e-4, name


def test_sums_of_very_different_sizes() -> None:
    """Deterministic sums keep small gradients beside large ones, and propagate NaN."""
    pos, tri = sphere_views(1, 1)
    frags = lg.rasterize(pos, tri, (40, 40))
    sizes = (10.0 ** torch.arange(-18, 18, 36 / 42)[:42, None]).expand(-1, 2).contiguous()
    weights = lg.interpolate(sizes, frags, tri)

    def gradient(factor: float) -> Tensor:
        attr = random(42, 2, seed=4).requires_grad_()
        return torch.autograd.grad(lg.interpolate(attr, frags, tri), attr, factor * weights)[0]

    expected = gradient(1).double()
    assert expected.abs().max() > 1e15 * expected[expected != 0].abs().min()
    torch.use_deterministic_algorithms(True)
    try:
        with emulated_cuda():
            assert ((gradient(1).double() - expected).abs() <= 1e-5 * expected.abs()).all()
            reached = tri[frags.tri[frags.tri >= 0].long()].unique().long()
            assert not gradient(float("inf"))[reached].isfinite().any()
    finally:
        torch.use_deterministic_algorithms(False)


def test_wrong_indices_are_left_out() -> None:
    """A device cannot raise an error without synchronisation, so faces with an invalid index do not appear."""
    pos, tri = sphere_views(2, 1)
    wrong = tri.clone()
    wrong[::5, 1] = 10**6
    wrong[1::7, 2] = -3
    kept = ((wrong >= 0) & (wrong < pos.shape[1])).all(1)
    degenerate = torch.where(kept[:, None], tri, tri[:, :1])  # triangles of no area
    color = random(1, 50, 60, 3)
    expected = lg.rasterize(pos, degenerate, (50, 60))
    with emulated_cuda():
        frags = lg.rasterize(pos.clone().requires_grad_(), wrong, (50, 60))
        assert torch.equal(frags.tri, expected.tri)
        frags.depth.sum().backward()
        links = lg.edge_topology(tri)
        links[3] = 10**8
        links[5] = -1
        assert lg.antialias(color, frags, pos, wrong, links).isfinite().all()
        beyond = frags._replace(tri=torch.where(frags.tri % 3 == 0, 10**7, frags.tri))
        out = lg.interpolate(random(pos.shape[1], 3), beyond, tri)
        assert not out[beyond.tri == 10**7].any()
        topology = lg.edge_topology(wrong)
    own = 2 * torch.arange(tri.numel(), dtype=torch.int32).view(-1, 3) + 1
    assert torch.equal(topology[wrong.min(1).values < 0], own[wrong.min(1).values < 0])


def test_wrong_indices_of_soft_faces_are_left_out() -> None:
    pos, tri = random_triangles(20, seed=4)
    wrong, wrong_attr = tri.clone(), tri.clone()
    wrong[3, 0], wrong[7, 2] = 10**6, -1
    wrong_attr[5, 1], wrong_attr[9, 2] = -4, 60
    left = torch.tensor([i not in (3, 7) for i in range(20)])
    left_attr = left & torch.tensor([i not in (5, 9) for i in range(20)])
    expected = lg.soft_rasterize(pos, tri[left], (30, 40), 6, 1e-3)
    number = torch.cat([left.nonzero()[:, 0], torch.tensor([-1])])
    colors = lg.soft_colors(pos, tri[left_attr], pos, (30, 40), 1e-4, 1e-2)
    with emulated_cuda():
        moving = pos.clone().requires_grad_()
        frags = lg.soft_rasterize(moving, wrong, (30, 40), 6, 1e-3)
        assert torch.equal(frags.tri, number[expected.tri.long()].int())
        assert torch.equal(frags.bary, expected.bary)
        beyond = torch.where(frags.tri == 4, 10**7, torch.where(frags.tri == 5, 3, frags.tri))
        grad = torch.ops.lumigrad.soft_rasterize_backward(
            moving.detach(), wrong, None, beyond, *beyond.shape[1:], 3, None, torch.ones_like(frags.dist), None, True
        )
        assert grad.isfinite().all()
        assert grad.any()
        assert not grad[tri[4].long()].any()
        attr = pos.clone().requires_grad_()
        mixed = lg.soft_colors(moving, wrong, attr, (30, 40), 1e-4, 1e-2, attr_tri=wrong_attr)
        assert torch.equal(mixed, colors)
        mixed.sum().backward()
    assert moving.grad.isfinite().all()
    assert attr.grad.isfinite().all()
    assert not moving.grad[tri[~left_attr].long()].any()


def test_fragments_of_other_meshes_have_no_gradient() -> None:
    pos, tri = sphere_views(2, 1)
    frags = lg.rasterize(pos, tri, (50, 60))
    color = random(1, 50, 60, 3)
    wrong = tri.clone()
    wrong[::3, 1] = 10**6
    beyond = frags._replace(tri=torch.where(frags.tri % 5 == 1, 10**7, frags.tri))
    for op in (surface.edge_gradient, surface.nmr_gradient):
        with emulated_cuda():
            moving = pos.clone().requires_grad_()
            (op(color, beyond, moving, wrong) ** 2).sum().backward()
        assert moving.grad.isfinite().all()
        assert moving.grad.any()


def test_workspaces_are_asked_for_and_used() -> None:
    """The first call says how much it needs; no op needs more than a few bytes a pixel, vertex or triangle."""
    pos, tri = sphere_views(2, 1)
    with emulated_cuda() as core:
        asked: list[int] = []
        empty = core.empty

        def noting(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            asked.append(shape[0] if dtype == torch.uint8 else 0)
            return empty(shape, dtype)

        core.empty = noting
        try:
            lg.rasterize(pos, tri, (256, 256))
            asked_by_rasterize, asked[:] = max(asked), []
            lg.soft_rasterize(pos, tri, (64, 64), 50, 0.1)
            lg.soft_silhouette(pos, tri, (64, 64), 0.1)
        finally:
            core.empty = empty
    assert 0 < asked_by_rasterize < 16 * pos.shape[1] + 24 * 7 * len(tri) + 2048
    # One node of boxes, and its bits in at most 4 kB of bins, whatever the image and the blur.
    assert 0 < max(asked) < 9 * 1024 + 4096


def test_workspaces_asked_for_before_are_given_at_once() -> None:
    """Workspaces requested before are given immediately, up to a limit; they may be too small or larger than
    necessary."""
    plain, asked = emulated_core(), []

    def noting(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        if dtype == torch.uint8:
            asked.append(shape[0])
        return plain.empty(shape, dtype)

    core, needs = Core(plain.library, noting, plain.settings, likely_workspace=20_000), {}
    rasterize = DIRECTIONS["rasterize_attributes"].run
    for count, times in ((10, 2), (100, 2), (10, 1), (3000, 2), (100, 1)):
        pos, tri = random_triangles(count, seed=1)
        args = pos, tri, None, pos[:, :3].contiguous(), 20, 30, True, 8
        expected = rasterize(plain, *args)
        for _ in range(times):
            for ours, theirs in zip(rasterize(core, *args), expected):
                assert torch.equal(ours, theirs)
        needs.setdefault(count, asked[-1])
    small, middle, large = needs.values()
    assert small < middle <= 20_000 < large
    assert asked == [small, small, small, middle, middle, middle, middle, large, middle, large, middle]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("op", sorted({case.op for case in cases()}))
def test_every_op(op: str, dtype: torch.dtype) -> None:
    """Every op equals the CPU's: indices exactly, numbers within rounding. Data kept only for the gradient are not
    compared."""
    for case in cases(dtype):
        if case.op == op:
            expected = evaluate(case)
            with emulated_cuda():
                actual = evaluate(case)
            kept = ("notes", "state", "last")
            compare_values(actual, {name: value for name, value in expected.items() if name not in kept}, dtype)


def compare_values(actual: dict[str, Tensor], expected: dict[str, Tensor], dtype: torch.dtype) -> None:
    for name, value in expected.items():
        assert torch.equal(actual[name].isfinite(), value.isfinite()), name
        if value.dtype.is_floating_point:
            error = scaled_error(actual[name].nan_to_num(), value.nan_to_num())
            assert error < (5e-4 if dtype == torch.float32 else 1e-9), f"{name}: {error:.2e}"
        else:
            assert torch.equal(actual[name], value), name


def test_wrong_calls_are_rejected() -> None:
    """The C functions themselves reject requests that only a direct caller could make."""
    with emulated_cuda() as core:
        with pytest.raises(ValueError, match="size: at most 32768"):
            core.calls["rasterize_forward"](0, None, None, None, 1, 0, 0, 40000, 1, 8, None, None, 0, *[None] * 6)
        with pytest.raises(ValueError, match="size: at most 32768"):
            core.calls["soft_rasterize_forward"](0, None, None, None, 1, 0, 0, 1, 40000, 1, 0.0, 0, *[None] * 4)
        scene = HEADER.structure("lg_splat_scene")
        for fields, message in (
            ({"footprint": 9}, "there is no footprint 9"),
            ({"blend": 1}, "there is no footprint 0 with blend code 1"),
            ({"primitives": 2**31}, "splats: at most 2147483647 primitives"),
        ):
            wrong = ctypes.byref(scene(**{"views": 1, "primitives": 1, "height": 1, "width": 1, **fields}))
            with pytest.raises(ValueError, match=message):
                core.calls["splat_forward"](0, wrong, 0, *[None] * 8)
        with pytest.raises(ValueError, match="dtype code 7"):
            core.calls["build_mips_forward"](7, None, 1, 1, 1, 1, 1, None)
        with pytest.raises(ValueError, match="a texture has 1 to 32 levels, got 33"):
            core.calls["build_mips_forward"](0, None, 32, 1, 1, 1, 1, None)
