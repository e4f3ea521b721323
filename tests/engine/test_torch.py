"""The ops under torch's features: opcheck, compile, autocast, second derivatives, unusual tensors."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
import torch
import torch._inductor.config
from cases import Case, backward_case, backward_op, cases, wanting_gradients
from ops_common import mesh_outputs, random, scaled_error, sphere_views
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

import lumigrad as lg
from lumigrad import Fragments
from lumigrad.scene import PerspectiveCamera

SIZE = (12, 14)
# torch.library.opcheck's default
CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")


def scene(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Fragments]:
    pos, tri = sphere_views(1, 2, dtype)
    return pos, tri, lg.rasterize(pos, tri, SIZE)


# ---- Registration ----------------------------------------------------------------------------------------


def test_every_op_is_checked() -> None:
    registered = {
        name.removeprefix("lumigrad::").split(".")[0]
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("lumigrad::")
    }
    forward = {case.op for case in cases()}
    assert registered == forward | set(filter(None, map(backward_op, forward)))


@pytest.mark.parametrize("case", cases(), ids=str)
def test_opcheck(case: Case) -> None:
    """Schemas, mutation, fake tensors, autograd registration, and tracing with dynamic shapes."""
    op = getattr(torch.ops.lumigrad, case.op).default
    checks: tuple[str, ...] = CHECKS
    if case.op in ("rasterize", "rasterize_attributes", "soft_rasterize", "trace"):
        # opcheck sums up all outputs to differentiate them, which fails when the first one is integer.
        torch.library.opcheck(op, case.arguments)
        checks = CHECKS[:3]
    torch.library.opcheck(op, wanting_gradients(case), test_utils=checks)
    if backward_op(case.op):
        gradient = backward_case(case)
        torch.library.opcheck(getattr(torch.ops.lumigrad, gradient.op).default, gradient.arguments)


# ---- torch.compile ---------------------------------------------------------------------------------------


def pipeline(pos: Tensor, attr: Tensor, tri: Tensor, target: Tensor) -> Tensor:
    frags = lg.rasterize(pos, tri, SIZE)
    out, out_d = lg.interpolate(attr, frags, tri, derivatives=True)
    color = torch.where(frags.tri[..., None] >= 0, out.sigmoid(), 0.1)
    image = lg.antialias(color, frags, pos, tri)
    return ((image - target) ** 2).mean() + 1e-3 * (out_d**2).mean() + frags.depth.mean()


no_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=no_compiler)])
# Caches do not know when an op has changed, and processes that compile beside this one take long to start.
@torch._inductor.config.patch(force_disable_caches=True, compile_threads=1)
def test_compile(backend: str) -> None:
    pos, tri, _ = scene()
    attr, target = random(42, 3, seed=1), random(2, *SIZE, 3, seed=2)
    compiled = torch.compile(pipeline, fullgraph=True, backend=backend)
    results = []
    for function in (pipeline, compiled):
        inputs = pos.clone().requires_grad_(), attr.clone().requires_grad_()
        loss = function(*inputs, tri, target)
        results.append((loss, *torch.autograd.grad(loss, inputs)))
    # Sums may be taken in another order by compiled code; aot_eager runs the very same kernels.
    bound = 0.0 if backend == "aot_eager" else 1e-5
    assert all(scaled_error(actual, expected) <= bound for expected, actual in zip(*results))
    if backend == "aot_eager":  # inductor would compile a third graph, for seconds
        with torch.no_grad():
            assert torch.equal(compiled(pos, attr, tri, target), results[0][0])


def test_compile_with_other_sizes() -> None:
    """The second size compiles once more with dynamic shapes; the third needs no further compilation."""

    def function(pos: Tensor, tri: Tensor, height: int, width: int) -> Tensor:
        frags = lg.rasterize(pos, tri, (height, width))
        color = lg.interpolate(pos[0], frags, tri)
        return lg.antialias(color, frags, pos, tri)

    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, fullgraph=True, backend=counter)
    for views, size in ((2, (12, 14)), (3, (20, 24)), (4, (31, 17))):
        pos, tri = sphere_views(1, views)
        results = []
        for run in (compiled, function):
            moving = pos.clone().requires_grad_()
            out = run(moving, tri, *size)
            results.append((out, torch.autograd.grad(out.square().sum(), moving)[0]))
        assert all(torch.equal(a, b) for a, b in zip(*results))
    assert counter.frame_count <= 2


# ---- Autocast --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])
def test_autocast(low: torch.dtype) -> None:
    """Half-precision inputs are promoted to float32, and gradients come back in their type."""
    pos, tri, _ = scene()
    attr = random(42, 3, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inputs = pos.to(low).requires_grad_(), attr.to(low).requires_grad_()
        frags = lg.rasterize(inputs[0], tri, SIZE)
        out = lg.interpolate(inputs[1], frags, tri)
        image = lg.antialias(out.to(low), frags, inputs[0], tri)
    assert frags.bary.dtype == out.dtype == image.dtype == torch.float32
    expected = lg.rasterize(pos.to(low).float(), tri, SIZE)
    assert all(torch.equal(a, b) for a, b in zip(frags[:4], expected[:4]))
    assert torch.equal(out, lg.interpolate(attr.to(low).float(), expected, tri))
    (image.sum() + frags.depth.sum()).backward()
    assert all(value.grad.dtype == low and value.grad.any() for value in inputs)


@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("antialiased", [False, True])
def test_autocast_of_gaussians(low: torch.dtype, antialiased: bool) -> None:
    cameras = PerspectiveCamera.orbit(20.0, 10.0, 3.0, 45.0, (24, 20))
    shapes = ((9, 3), (9, 4), (9, 3), (9,), (9, 3))
    inputs = [random(*shape, seed=i).to(low).requires_grad_() for i, shape in enumerate(shapes)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = lg.gaussians(*inputs, cameras.view(), antialiased=antialiased)
    expected = lg.gaussians(*(value.detach().float() for value in inputs), cameras.view(), antialiased=antialiased)
    assert torch.equal(out.image, expected.image)
    out.image.sum().backward()
    assert all(value.grad.dtype == low and value.grad.any() for value in inputs)


@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_elsewhere(low: torch.dtype) -> None:
    pos, tri, frags = scene()
    for call in (
        lambda: lg.rasterize(pos.to(low), tri, SIZE),
        lambda: lg.interpolate(random(42, 3).to(low), frags, tri),
        lambda: lg.antialias(random(2, *SIZE, 3).to(low), frags, pos, tri),
        lambda: lg.edge_topology(tri, pos[0].to(low)),
    ):
        with pytest.raises(TypeError, match=r"half precision is accepted under torch\.autocast"):
            call()


# ---- Gradients -------------------------------------------------------------------------------------------


def test_second_derivatives_are_refused() -> None:
    pos, tri, frags = scene()
    attr = random(42, 3).requires_grad_()
    color = random(2, *SIZE, 3).requires_grad_()
    moving = pos.clone().requires_grad_()
    bary = frags.bary.clone().requires_grad_()
    cases = {
        "rasterize": (lg.rasterize(moving, tri, SIZE).bary, moving),
        "interpolate": (lg.interpolate(attr, frags._replace(bary=bary), tri), bary),
        "antialias": (lg.antialias(color, frags, moving, tri), moving),
    }
    for name, (out, value) in cases.items():
        (grad,) = torch.autograd.grad((out**2).sum(), value, create_graph=True)
        with pytest.raises(RuntimeError, match=rf"lumigrad\.{name}: second derivatives are not implemented"):
            grad.sum().backward()


def test_gradient_with_a_graph_is_the_gradient() -> None:
    pos, tri, _ = scene()
    grads = []
    for create_graph in (False, True):
        moving = pos.clone().requires_grad_()
        loss = lg.rasterize(moving, tri, SIZE).depth.sum()
        grads.append(torch.autograd.grad(loss, moving, create_graph=create_graph)[0])
    assert torch.equal(*grads)


def test_any_subset_of_inputs_may_ask_for_gradients() -> None:
    pos, tri, frags = scene()
    color, weight = random(2, *SIZE, 3), random(2, *SIZE, 3, seed=1)
    both = color.clone().requires_grad_(), pos.clone().requires_grad_()
    expected = torch.autograd.grad((lg.antialias(both[0], frags, both[1], tri) * weight).sum(), both)
    for i in range(2):
        inputs = [value.clone().requires_grad_(i == k) for k, value in enumerate((color, pos))]
        loss = (lg.antialias(inputs[0], frags, inputs[1], tri) * weight).sum()
        assert torch.equal(torch.autograd.grad(loss, inputs[i])[0], expected[i])
    assert not lg.antialias(color, frags, pos, tri).requires_grad
    assert not lg.rasterize(pos, tri, SIZE).bary.requires_grad


def test_what_carries_gradients() -> None:
    pos, tri, _ = scene()
    frags = lg.rasterize(pos.requires_grad_(), tri, SIZE)
    assert not frags.tri.requires_grad
    assert frags.bary.requires_grad
    assert frags.depth.requires_grad
    assert frags.bary_d.requires_grad
    with torch.no_grad():
        assert not lg.rasterize(pos, tri, SIZE).bary.requires_grad
    with torch.inference_mode():
        assert lg.rasterize(pos, tri, SIZE).bary.is_inference()


def test_backward_twice() -> None:
    """With a retained graph, a second backward pass gives the same gradients."""
    pos, tri, frags = scene()
    moving = pos.clone().requires_grad_()
    color = random(2, *SIZE, 3).requires_grad_()
    loss = lg.antialias(color, frags, moving, tri).square().sum() + lg.rasterize(moving, tri, SIZE).bary.sum()
    first = torch.autograd.grad(loss, (color, moving), retain_graph=True)
    again = torch.autograd.grad(loss, (color, moving))
    assert all(torch.equal(a, b) for a, b in zip(first, again))


def test_inputs_changed_in_place_are_noticed() -> None:
    pos, tri, _ = scene()
    moving = pos.clone().requires_grad_()
    shifted = moving * 1
    loss = lg.rasterize(shifted, tri, SIZE).bary.sum()
    with torch.no_grad():
        shifted += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_vertices_of_no_pixel_get_zero() -> None:
    pos, tri = sphere_views(1, 1)
    extra = torch.cat((pos, random(1, 5, 4)), 1).requires_grad_()
    frags = lg.rasterize(extra, tri, SIZE)
    lg.antialias(lg.interpolate(extra[0], frags, tri), frags, extra, tri).sum().backward()
    assert not extra.grad[0, 42:].any()


# ---- Layouts ---------------------------------------------------------------------------------------------


def strided(value: Tensor) -> Tensor:
    """The same values with gaps between them and the dimensions stored in reverse."""
    order = list(range(value.dim()))[::-1]
    spread = torch.zeros([2 * size for size in value.permute(order).shape], dtype=value.dtype)
    view = spread[tuple(slice(None, None, 2) for _ in order)]
    view.copy_(value.permute(order))
    result = view.permute(order)
    assert torch.equal(result, value)
    return result


def test_non_contiguous_tensors() -> None:
    pos, tri = sphere_views(1, 2)
    expected = mesh_outputs(pos, tri, SIZE)
    actual = mesh_outputs(strided(pos), strided(tri), SIZE)
    assert all(torch.equal(actual[name], expected[name]) for name in expected)

    frags = lg.rasterize(pos, tri, SIZE)
    spread = Fragments(*map(strided, frags[:4]))
    attr, color = random(2, 42, 3), random(2, *SIZE, 3)
    topology = lg.edge_topology(tri)
    pairs = (
        (lg.interpolate(attr, frags, tri, True), lg.interpolate(strided(attr), spread, strided(tri), True)),
        (
            [lg.antialias(color, frags, pos, tri, topology)],
            [lg.antialias(strided(color), spread, strided(pos), strided(tri), strided(topology))],
        ),
        ([topology], [lg.edge_topology(strided(tri), strided(pos[0]))]),
    )
    assert all(torch.equal(a, b) for ours, theirs in pairs for a, b in zip(ours, theirs))


def test_non_contiguous_gradients() -> None:
    """Incoming gradients may be expanded or transposed."""
    pos, tri, frags = scene()
    for dense in (True, False):
        moving, color = pos.clone().requires_grad_(), random(2, *SIZE, 3).requires_grad_()
        found = lg.rasterize(moving, tri, SIZE)
        out = lg.antialias(color, frags, moving, tri)
        outputs = found.bary, found.depth, found.bary_d, out
        weights = [torch.full_like(v, 0.5) if dense else torch.full((1,), 0.5).expand(v.shape) for v in outputs]
        grads = torch.autograd.grad(outputs, (moving, color), weights)
        if dense:
            expected = grads
    assert all(torch.equal(a, b) for a, b in zip(grads, expected))


def test_offset_views() -> None:
    """Tensors that begin in the middle of their storage."""
    pos, tri = sphere_views(1, 3)
    expected = lg.rasterize(pos[1:2].clone(), tri[5:].clone(), SIZE)
    assert all(torch.equal(a, b) for a, b in zip(lg.rasterize(pos[1:2], tri[5:], SIZE)[:4], expected[:4]))


def test_int64_triangles() -> None:
    pos, tri = sphere_views(1, 1)
    for name, value in mesh_outputs(pos, tri.long(), SIZE).items():
        assert torch.equal(value, mesh_outputs(pos, tri, SIZE)[name])


def test_size_may_be_anything_like_two_integers() -> None:
    pos, tri, frags = scene()
    for size in (list(SIZE), torch.Size(SIZE), torch.tensor(SIZE), frags.tri.shape[1:]):
        assert torch.equal(lg.rasterize(pos, tri, size).tri, frags.tri)


# ---- Forward mode ----------------------------------------------------------------------------------------


def forward_mode_programs() -> dict[str, Callable[[Tensor], Tensor]]:
    """Name: an image of points [60, 4], by which it is differentiated."""
    tri = torch.randint(60, (80, 3), generator=torch.Generator().manual_seed(1))
    features = random(60, 3, seed=2, dtype=torch.float64)
    harmonics = random(60, 4, 3, seed=3, dtype=torch.float64)
    view = lg.View(torch.eye(4, dtype=torch.float64) + 0, 20.0, 20.0, 10.0, 10.0, (20, 20))
    view.matrix[2, 3] = -3
    texels = torch.arange(8.0, dtype=torch.float64)[:, None].expand(1, 8, 8, 3)

    def antialiased(p: Tensor) -> Tensor:
        frags = lg.rasterize(p, tri, (20, 20))
        return lg.antialias(lg.interpolate(features, frags, tri), frags, p, tri)

    def gaussians(p: Tensor) -> Tensor:
        scales, opacities = p[:, :3].abs() / 10, p[:, 0].abs()
        return lg.gaussians(p[:, :3], p, scales, opacities, harmonics, view, harmonics=True, antialiased=True).image

    return {
        "rasterize": lambda p: lg.rasterize(p, tri, (20, 20)).bary,
        "antialias": antialiased,
        "soft_silhouette": lambda p: lg.soft_silhouette(p, tri, (20, 20), 0.01),
        "soft_colors": lambda p: lg.soft_colors(p, tri, features, (20, 20), 0.01, 0.1),
        "gaussians": gaussians,
        "surfels": lambda p: lg.surfels(p[:, :3], p, p[:, :2].abs() / 10, p[:, 0].abs(), features, view).image,
        "points": lambda p: lg.points(p[:, :3], p[:, 0].abs() * 5, features, view).image,
        "surface_splats": lambda p: lg.surface_splats(p[:, :3], p[:, 1:], p[:, 0].abs() / 10, features, view).image,
        "spheres": lambda p: lg.spheres(p[:, :3], p[:, 0].abs() / 10, features, view).image,
        "texture": lambda p: lg.texture(texels, p[None, None, :, :2]),
    }


@pytest.mark.filterwarnings("ignore:.*no kernel for forward-mode:RuntimeWarning")
@pytest.mark.parametrize("name", forward_mode_programs())
def test_forward_mode_agrees_with_reverse_mode(name: str) -> None:
    program = forward_mode_programs()[name]
    pos = random(60, 4, seed=4, dtype=torch.float64).clamp(-1, 1)
    pos[:, 3] = 1
    tangent = random(60, 4, seed=5, dtype=torch.float64)
    image, moved = torch.func.jvp(program, (pos,), (tangent,))
    again = program(pos.requires_grad_())
    weight = random(*again.shape, seed=6, dtype=torch.float64)
    (grad,) = torch.autograd.grad((again * weight).sum(), pos)
    assert scaled_error(image, again) < 1e-9
    assert abs((weight * moved).sum() - (grad * tangent).sum()) < 1e-8 * (grad * tangent).abs().sum()
    assert (grad * tangent).any()


def test_ops_alone_refuse_forward_mode() -> None:
    """Ops called directly refuse forward mode: zero derivatives would be silently wrong."""
    color, *others = next(case.arguments for case in cases() if case.op == "edge_gradient")
    with pytest.raises(NotImplementedError, match=r"^lumigrad::edge_gradient: forward-mode derivatives are not"):
        torch.func.jvp(lambda c: torch.ops.lumigrad.edge_gradient(c, *others), (color,), (color,))
