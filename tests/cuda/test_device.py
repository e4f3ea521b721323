"""What only a CUDA device can show: streams, threads, graphs, compilation, and the same results as on the CPU.

`pytest tests/ops tests/compat` runs the tests of the ops on the device too, where there is one.
"""

from __future__ import annotations

import math
import threading

import pytest
import torch
from meshes import random_triangles
from ops_common import inside_sphere, random, scaled_error, sphere_views
from splat_common import call, cameras, disc_scene, gaussian_scene, sphere_scene, surfel_scene
from torch import Tensor

import lumigrad as lg
from lumigrad import Fragments
from lumigrad.fit import splats as fit
from lumigrad.ops import installation, surface
from lumigrad.scene import PerspectiveCamera, PointCloud

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
SIZE = (150, 201)


def test_the_library_is_there() -> None:
    assert installation.cuda_status().startswith("used"), installation.cuda_status()


class Frame:
    """A textured, antialiased frame and the gradients of a fixed sum of it."""

    bound = 1e-5  # of float32

    def __init__(self, device: str, dtype: torch.dtype = torch.float32, size: tuple[int, int] = SIZE) -> None:
        pos, tri = sphere_views(3, 2, dtype)
        self.size = size
        self.tri = tri.to(device)
        self.topology = lg.edge_topology(self.tri)
        self.weights = random(2, *size, 3, seed=9, dtype=dtype).to(device)
        self.inputs = [
            value.to(device).requires_grad_()
            for value in (pos, random(pos.shape[1], 2, seed=1, dtype=dtype), random(1, 32, 32, 3, seed=2, dtype=dtype))
        ]

    def __call__(self) -> list[Tensor]:
        pos, uv, tex = self.inputs
        frags = lg.rasterize(pos, self.tri, self.size)
        coord, coord_d = lg.interpolate(uv, frags, self.tri, derivatives=True)
        image = lg.antialias(lg.texture(tex, coord, coord_d), frags, pos, self.tri, self.topology)
        return [frags.tri, image, *torch.autograd.grad(image, self.inputs, self.weights)]


class SoftFrame(Frame):
    """Soft fragments, soft colours and a soft mask, and the gradients of a fixed sum of them."""

    bound = 1e-4  # gradients of distances nearly cancel

    def __call__(self) -> list[Tensor]:
        pos, attr, _ = self.inputs
        frags = lg.soft_rasterize(pos, self.tri, self.size, 5, 1e-3)
        colors = lg.soft_colors(pos, self.tri, attr, self.size, 1e-4, 1e-2)
        mask = lg.soft_silhouette(pos, self.tri, self.size, 1e-4, falloff="exponential")
        values = torch.cat([frags.z, frags.dist, frags.bary.flatten(-2), colors, mask], -1)
        ramp = torch.linspace(-1, 2, values.shape[-1], dtype=values.dtype, device=values.device)
        return [frags.tri, values, *torch.autograd.grad(values, (pos, attr), self.weights[..., :1] * ramp)]


class GradientFrame(Frame):
    """A hard image, and its gradients by the methods that leave it hard."""

    def __call__(self) -> list[Tensor]:
        pos, uv, _ = self.inputs
        frags = lg.rasterize(pos, self.tri, self.size)
        color = lg.interpolate(uv, frags, self.tri)
        results = [frags.tri, color]
        for op in (surface.edge_gradient, surface.nmr_gradient):
            results += torch.autograd.grad(op(color, frags, pos, self.tri), (pos, uv), self.weights[..., :2], True)
        return results


FRAMES = [Frame, SoftFrame, GradientFrame]
SPLATTED = {
    "spheres": sphere_scene,
    "gaussians": gaussian_scene,
    "surfels": surfel_scene,
    "surface_splats": disc_scene,
}


class Splatted:
    """Spheres, Gaussians with harmonics, surfels or surface splats, and the gradients of a fixed sum of their image,
    alpha and depth, and of normals and distortion."""

    def __init__(self, kind: str, device: str, dtype: torch.dtype = torch.float32, count: int = 3000) -> None:
        self.kind = kind
        scene = SPLATTED[kind](count, dtype)
        if kind == "spheres":
            scene["gamma"] = torch.tensor(0.1, dtype=dtype)
        elif kind == "gaussians":
            scene["scales"] = scene["scales"] * 0.3
            scene["opacities"] = 0.5 + 0.4 * random(count, seed=7, dtype=dtype)
            scene["features"] = random(count, 9, 3, seed=8, dtype=dtype)
        camera = cameras(dtype, size=SIZE)
        camera["fx"], camera["fy"] = 4 * camera["fx"], 4 * camera["fy"]
        self.inputs = {name: value.to(device).requires_grad_() for name, value in {**scene, **camera}.items()}
        self.names = ["image", "alpha", "depth", *(["normals", "distortion"] if kind == "surfels" else [])]
        channels = {"image": (3,), "normals": (3,)}
        self.weights = [random(2, *SIZE, *channels.get(name, ()), seed=9, dtype=dtype).to(device)
                        for name in self.names]  # fmt: skip

    def __call__(self) -> list[Tensor]:
        if self.kind == "spheres":
            out = call(lg.spheres, **self.inputs, size=SIZE, min_depth=0.5, max_depth=9.0, contributors=3)
        elif self.kind == "gaussians":
            out = call(lg.gaussians, **self.inputs, size=SIZE, harmonics=True, antialiased=True, contributors=3)
        elif self.kind == "surfels":
            out = call(lg.surfels, **self.inputs, size=SIZE, distortion_range=(1.0, 9.0), contributors=3)
        else:
            out = call(lg.surface_splats, **self.inputs, size=SIZE, merge=0.3, visibility_gradient=True)
        values = [getattr(out, name) for name in self.names]
        grads = torch.autograd.grad(values, list(self.inputs.values()), self.weights)
        return [out.alpha if out.ids is None else out.ids, *values, *grads]


@pytest.mark.parametrize("kind", SPLATTED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_splats_as_on_the_cpu(kind: str, dtype: torch.dtype) -> None:
    if kind == "surface_splats" and dtype == torch.float32:
        pytest.skip("where a disc ends is a step: see the float64 of this test, and that of the op")
    ours, theirs = (Splatted(kind, device, dtype)() for device in ("cuda", "cpu"))
    # The device's own exponential moves faint contributions across the threshold in single pixels of float32.
    assert (ours[0].cpu() == theirs[0]).float().mean() > (0.999 if dtype == torch.float32 else 0.99999)
    # Gradients of the camera sum those of 60 000 pixels, in the arbitrary order of atomics: 2.03e-4 on an H200.
    assert_close(ours[1:], theirs[1:], 3e-4 if dtype == torch.float32 else 1e-8)


@pytest.mark.parametrize("kind", SPLATTED)
def test_splats_are_deterministic(kind: str) -> None:
    frame = Splatted(kind, "cuda", count=20_000)
    torch.use_deterministic_algorithms(True, warn_only=True)  # cuBLAS asks for an environment variable
    try:
        first = frame()
        for _ in range(3):
            assert all(torch.equal(a, b) for a, b in zip(frame(), first))
    finally:
        torch.use_deterministic_algorithms(False)
    assert_close(frame(), first, 1e-4)


def test_splats_in_a_graph_and_without_synchronisation() -> None:
    frame, *others = (Splatted(kind, "cuda") for kind in SPLATTED)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    # Autograd remembers the stream of a leaf, and a graph cannot wait for the default one.
    with torch.cuda.stream(side):
        expected = [value.detach() for value in frame()]
        for other in others:
            other()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.cuda.stream(side):
            frame()
            for other in others:
                other()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = frame()
    for value in captured:
        value.zero_()
    graph.replay()
    assert_close(captured, expected, 1e-4)


def test_more_pairs_than_lists_have_room_for() -> None:
    """A thousand primitives, each before all of the image's 4096 tiles; the nearest hide nothing."""
    count, size = 2000, (1024, 1024)
    depths = torch.rand(1, count, generator=torch.Generator().manual_seed(0))
    xy = torch.full((1, count, 2), 512.0)
    opacities = torch.full((count,), 1e-3)
    inputs = (xy, torch.full((1, count), 2e3), depths, torch.rand(count, 1), size, opacities)
    ours, theirs = (
        lg.splat(*(v.to(device) if isinstance(v, Tensor) else v for v in inputs), footprint="disc")
        for device in ("cuda", "cpu")
    )
    assert scaled_error(ours.image.cpu(), theirs.image) < 1e-4


def assert_close(actual: list[Tensor], expected: list[Tensor], bound: float = 1e-5) -> None:
    for ours, theirs in zip(actual, expected):
        if theirs.dtype == torch.int32:
            assert torch.equal(ours.cpu(), theirs.cpu())
        else:
            assert scaled_error(ours.cpu(), theirs.cpu()) < bound


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", FRAMES)
def test_same_as_on_the_cpu(kind: type[Frame], dtype: torch.dtype) -> None:
    assert_close(kind("cuda", dtype)(), kind("cpu", dtype)(), kind.bound if dtype == torch.float32 else 1e-10)


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (300, 5), (512, 777)])
@pytest.mark.parametrize("faces", [1, 8, 50, 255])
def test_soft_fragments_bit_for_bit(size: tuple[int, int], faces: int) -> None:
    for pos, tri in (inside_sphere(3), random_triangles(3000, seed=5, behind=0.1), sphere_views(6, 1)):
        ours = lg.soft_rasterize(pos.cuda(), tri.cuda(), size, faces, 1e-4)
        for a, b in zip(ours, lg.soft_rasterize(pos, tri, size, faces, 1e-4)):
            assert torch.equal(a.cpu(), b)


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (1000, 1777), (2048, 2048)])
def test_coverage_pixel_for_pixel(size: tuple[int, int]) -> None:
    for pos, tri in (inside_sphere(3), random_triangles(5000, seed=5, behind=0.1), sphere_views(6, 1)):
        ours, theirs = lg.rasterize(pos.cuda(), tri.cuda(), size), lg.rasterize(pos, tri, size)
        assert torch.equal(ours.tri.cpu(), theirs.tri)
        # The CPU's lanes divide otherwise: 1.2e-5 in barycentrics of slivers, at 2048 pixels per side on an H200.
        assert_close(list(ours[1:3]), list(theirs[1:3]), 2e-5)


@pytest.mark.parametrize("kind", FRAMES)
def test_deterministic(kind: type[Frame]) -> None:
    frame = kind("cuda")
    torch.use_deterministic_algorithms(True)
    try:
        first = frame()
        for _ in range(5):
            assert all(torch.equal(a, b) for a, b in zip(frame(), first))
    finally:
        torch.use_deterministic_algorithms(False)
    assert_close(frame(), first, kind.bound)


@pytest.mark.parametrize("kind", FRAMES)
def test_graph_capture(kind: type[Frame]) -> None:
    frame = kind("cuda")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            expected = frame()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = frame()
    with torch.no_grad():
        frame.inputs[0].mul_(1.01)  # the graph reads what is there when it is replayed
    graph.replay()
    assert not torch.equal(captured[1], expected[1])
    assert_close(captured, frame(), kind.bound)


def test_graph_capture_with_ranges_and_listed_channels() -> None:
    """Numbers of the host become part of the graph: no memory of theirs has to stay."""
    pos, tri = random_triangles(400, seed=6)
    pos, tri = pos.cuda(), tri.cuda()
    attr = random(pos.shape[0], 9).cuda()

    def run() -> list[Tensor]:
        ranges = torch.stack([torch.arange(300), torch.full((300,), 7)], 1)  # more than one launch can carry
        frags = lg.rasterize(pos, tri, (16, 16), ranges)
        return [frags.tri, *lg.interpolate(attr, frags, tri, derivatives=[8, 1, 3])]

    expected = run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = run()
    for value in captured:
        value.zero_()
    graph.replay()
    assert_close(captured, expected, 1e-6)


def test_two_streams() -> None:
    frames = [Frame("cuda"), Frame("cuda", torch.float64, (333, 70))]
    expected = [frame() for frame in frames]
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream(), torch.cuda.Stream()]
    results: list[list[list[Tensor]]] = [[], []]
    for _ in range(20):
        for frame, stream, found in zip(frames, streams, results):
            with torch.cuda.stream(stream):
                found.append(frame())
    torch.cuda.synchronize()
    for found, wanted in zip(results, expected):
        for result in found:
            assert_close(result, wanted)


def test_two_threads() -> None:
    frame = Frame("cuda")
    expected = frame()
    results: list[list[Tensor]] = []

    def work() -> None:
        with torch.cuda.stream(torch.cuda.Stream()):
            results.extend(frame() for _ in range(10))
            torch.cuda.current_stream().synchronize()

    torch.cuda.synchronize()
    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 20
    for result in results:
        assert_close(result, expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_second_device() -> None:
    assert torch.cuda.current_device() == 0
    assert_close(Frame("cuda:1")(), Frame("cpu")())


@pytest.mark.parametrize("kind", FRAMES)
def test_no_synchronisation(kind: type[Frame]) -> None:
    """torch raises an error if one of its own ops waits for the device; the library has no code that could."""
    frame = kind("cuda")
    frame()
    torch.cuda.set_sync_debug_mode("error")
    try:
        frame()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_compile() -> None:
    frame = Frame("cuda")
    expected = frame()
    pos, uv, _ = frame.inputs

    @torch.compile(fullgraph=True)
    def run(pos: Tensor, uv: Tensor) -> tuple[Tensor, Tensor]:
        frags: Fragments = lg.rasterize(pos, frame.tri, SIZE)
        return frags.tri, lg.interpolate(uv * 2, frags, frame.tri)

    tri, out = run(pos, uv)
    assert torch.equal(tri, expected[0])
    assert scaled_error(out, lg.interpolate(uv * 2, lg.rasterize(pos, frame.tri, SIZE), frame.tri)) < 1e-6


def triangles_everywhere(count: int, size: float) -> tuple[Tensor, Tensor]:
    """Loose triangles of about that size, in random order and depth."""
    generator = torch.Generator("cuda").manual_seed(0)
    centres = torch.rand(count, 1, 2, generator=generator, device="cuda") * 2 - 1
    corners = centres + size * torch.randn(count, 3, 2, generator=generator, device="cuda")
    depth = torch.rand(count, 3, 1, generator=generator, device="cuda")
    pos = torch.cat([corners, depth, torch.ones_like(depth)], -1).view(-1, 4).requires_grad_()
    return pos, torch.arange(3 * count, dtype=torch.int32, device="cuda").view(-1, 3)


def test_fitting_splats() -> None:
    """The whole loop of `lumigrad splat` runs on the device and reaches the result required in test_splats.py."""
    intrinsics = [torch.full((1,), value) for value in (40.0, 40.0, 16.0, 16.0)]
    camera = PerspectiveCamera(torch.eye(4)[None], *intrinsics, (32, 32))
    cloud = PointCloud(random(200, 3) - torch.tensor([0.0, 0, 4]), 0.5 + 0.5 * random(200, 3, seed=1))
    photo = fit.Photo(torch.full((1, 32, 32, 3), 0.4), torch.ones(1, 32, 32, 1), camera).to(torch.device("cuda"))
    for model, strategy in ((fit.Gaussians(1, 4.0), fit.MCMC(4.0, 300, every=5)),
                            (fit.Spheres(4.0), fit.CloneSplitPrune(4.0, 300, every=5))):  # fmt: skip
        parameters = {name: value.cuda() for name, value in model.start(cloud).items()}
        schedule = fit.Schedule(80, levels=((0.0, 1),))
        state = fit.fit_splats([photo], fit.SplatState.start(parameters), model, strategy, schedule)
        assert state.losses[-1] < 0.7 * state.losses[0]
        assert state.rows.device.type == "cuda"


def test_large() -> None:
    """Ten million triangles, and an image of 8192 x 8192."""
    pos, tri = triangles_everywhere(10_000_000, 1e-3)
    frags = lg.rasterize(pos, tri, (8192, 8192), derivatives=False)
    covered = (frags.tri >= 0).float().mean().item()
    assert covered == pytest.approx(1 - math.exp(-1e7 * 0.866e-6 / 4), abs=0.01)  # of the mean area of such triangles
    frags.depth.sum().backward()
    assert pos.grad.isfinite().all()
    row = frags.tri[0, 4096, :2000]
    seen = row[row >= 0].long().unique()
    part = lg.rasterize(pos.detach(), tri[seen], (8192, 8192), derivatives=False)
    assert torch.equal(seen[part.tri[0, 4096, :2000].long()][row >= 0], row[row >= 0].long())


def test_soft_large() -> None:
    """A million triangles: more than 255 of them at each of few pixels, and an image of 4096 x 4096."""
    pos, tri = triangles_everywhere(1_000_000, 2e-3)
    crowded = lg.soft_rasterize(pos, tri, (128, 128), 255, 1e-3)
    assert (crowded.tri >= 0).all()
    crowded.z.sum().backward()
    mask = lg.soft_silhouette(pos, tri, (4096, 4096), 1e-7)
    mask.sum().backward()
    assert pos.grad.isfinite().all()
    nearest = lg.soft_rasterize(pos.detach(), tri, (4096, 4096), 1).tri[0, 2048, :2000, 0]
    seen = nearest[nearest >= 0].long().unique()
    part = lg.soft_rasterize(pos.detach(), tri[seen], (4096, 4096), 1).tri[0, 2048, :2000, 0]
    assert torch.equal(seen[part.long()][nearest >= 0], nearest[nearest >= 0].long())
