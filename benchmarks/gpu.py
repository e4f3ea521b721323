"""Benchmarks on a CUDA device: lumigrad, and nvdiffrast, DRTK and gsplat where they can be imported.

Usage:
    python -m benchmarks.gpu                        # everything
    python -m benchmarks.gpu --only frame,depth     # some sections
    python -m benchmarks.gpu --quick                # small and short, to see that it runs
    python -m benchmarks.gpu --device cpu --quick   # the same without a device, to test the program itself

Times are medians between CUDA events around a whole forward and backward pass, called from Python as in a fitting loop.
Host overhead therefore shows where the device has less work than the host. "graph" is lumigrad's pass replayed as a
CUDA graph, without host overhead.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks import fields, meshes, ray, splats
from benchmarks.report import Column, Table, megabytes, milliseconds, ratio

NAMES = ["suzanne", "cow", "rocker-arm", "stanford-bunny", "ogre"]
SYNTHETIC = {"sphere-1M": 1_000_000, "sphere-10M": 10_000_000}
SIZES = [256, 512, 1024, 2048, 4096]
BATCHES = [1, 8, 64]
# Number of pixels in a batch above which a frame with all its gradients would not fit common devices.
MOST_PIXELS = 64 * 1024 * 1024


@dataclass(frozen=True)
class Work:
    """clip [N, V, 4], faces [T, 3], colors [V, 3]; gradient [N, size, size, 3] of the image."""

    clip: torch.Tensor
    faces: torch.Tensor
    colors: torch.Tensor
    gradient: torch.Tensor
    size: int


@dataclass(frozen=True)
class Options:
    device: str
    repeats: int
    names: list[str]
    sizes: list[int]
    batches: list[int]
    copies: list[int]
    meshes: Path
    cloud: Path
    quick: bool


# ---- Libraries -------------------------------------------------------------------------------------------


class Lumigrad:
    def __init__(self, work: Work) -> None:
        import lumigrad

        self.lg, self.work = lumigrad, work
        self.inputs = (work.clip.clone().requires_grad_(), work.colors.clone().requires_grad_())
        self.topology = lumigrad.edge_topology(work.faces)

    def rasterize(self) -> object:
        with torch.no_grad():
            size = (self.work.size, self.work.size)
            return self.lg.rasterize(self.inputs[0], self.work.faces, size, derivatives=False)

    def frame(self) -> tuple[torch.Tensor, ...]:
        (pos, colors), work = self.inputs, self.work
        frags = self.lg.rasterize(pos, work.faces, (work.size, work.size), derivatives=False, attributes=colors)
        image = self.lg.antialias(frags.attributes, frags, pos, work.faces, topology=self.topology)
        return torch.autograd.grad(image, self.inputs, work.gradient)


class Nvdiffrast:
    def __init__(self, work: Work) -> None:
        import nvdiffrast.torch as dr

        self.dr, self.work = dr, work
        self.context = dr.RasterizeCudaContext(device=work.clip.device)
        self.inputs = (work.clip.clone().requires_grad_(), work.colors[None].clone().requires_grad_())
        self.topology = dr.antialias_construct_topology_hash(work.faces)

    def rasterize(self) -> object:
        with torch.no_grad():
            size = (self.work.size, self.work.size)
            return self.dr.rasterize(self.context, self.inputs[0], self.work.faces, size, grad_db=False)

    def frame(self) -> tuple[torch.Tensor, ...]:
        (pos, colors), work = self.inputs, self.work
        size = (work.size, work.size)
        rast, _ = self.dr.rasterize(self.context, pos, work.faces, size, grad_db=False)
        shaded, _ = self.dr.interpolate(colors, rast, work.faces)
        image = self.dr.antialias(shaded, rast, pos, work.faces, topology_hash=self.topology)
        return torch.autograd.grad(image, self.inputs, work.gradient)


class Drtk:
    def __init__(self, work: Work) -> None:
        import drtk

        self.drtk, self.work = drtk, work
        x, y, _, w = work.clip.unbind(-1)
        half = work.size / 2
        pixels = torch.stack([(x / w + 1) * half - 0.5, (1 - y / w) * half - 0.5, w], -1)
        colors = work.colors.expand(len(pixels), -1, -1)
        self.inputs = (pixels.contiguous().requires_grad_(), colors.contiguous().requires_grad_())
        self.gradient = work.gradient.permute(0, 3, 1, 2).contiguous()

    def rasterize(self) -> object:
        with torch.no_grad():
            return self.drtk.rasterize(self.inputs[0], self.work.faces, self.work.size, self.work.size)

    def frame(self) -> tuple[torch.Tensor, ...]:
        (pos, colors), work = self.inputs, self.work
        index = self.drtk.rasterize(pos, work.faces, work.size, work.size)
        _, bary = self.drtk.render(pos, work.faces, index)
        shaded = self.drtk.interpolate(colors, work.faces, index, bary) * (index != -1)[:, None]
        image = self.drtk.edge_grad_estimator(v_pix=pos, vi=work.faces, bary_img=bary, img=shaded, index_img=index)
        return torch.autograd.grad(image, self.inputs, self.gradient)


LIBRARIES: dict[str, Callable[[Work], Any]] = {"lumigrad": Lumigrad, "nvdiffrast": Nvdiffrast, "DRTK": Drtk}
_PACKAGES = {"lumigrad": "lumigrad", "nvdiffrast": "nvdiffrast.torch", "DRTK": "drtk"}


def importable() -> list[str]:
    found = []
    for name, package in _PACKAGES.items():
        try:
            __import__(package)
        except ImportError as error:
            print(f"{name} is left out: {error}")
        else:
            found.append(name)
    return found


# ---- Clocks ----------------------------------------------------------------------------------------------


def measure(task: Callable[[], object], options: Options) -> float:
    """The median time of the task in seconds, after three warm-up calls."""
    for _ in range(3):
        task()
    if options.device == "cpu":
        return statistics.median(_seconds(task) for _ in range(options.repeats))
    begins = [torch.cuda.Event(enable_timing=True) for _ in range(options.repeats)]
    ends = [torch.cuda.Event(enable_timing=True) for _ in range(options.repeats)]
    torch.cuda.synchronize()
    for begin, end in zip(begins, ends):
        begin.record()
        task()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(begin.elapsed_time(end) for begin, end in zip(begins, ends)) / 1e3


def _seconds(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def replay(task: Callable[[], object], options: Options) -> float | None:
    """The same, with the task replayed as a CUDA graph."""
    if options.device == "cpu":
        return None
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        task()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        task()
    return measure(graph.replay, options)


def peak(task: Callable[[], object], options: Options) -> float | None:
    """The task's peak memory in bytes beyond its inputs, according to torch's allocator."""
    if options.device == "cpu":
        return None
    task()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    task()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def copy_bandwidth(options: Options) -> float:
    """Bytes read and written per second by a copy of 256 MB (16 MB on the CPU)."""
    source = torch.ones((4 if options.device == "cpu" else 64) * 2**20, device=options.device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / measure(lambda: target.copy_(source), options)


def launch_latency(options: Options) -> float:
    """Seconds taken by an op on a single number: the cost of a launch that does nothing."""
    number = torch.zeros(1, device=options.device)
    return measure(number.zero_, options)


# ---- Sections --------------------------------------------------------------------------------------------


def _work(mesh: meshes.Mesh, size: int, batch: int, options: Options) -> Work:
    single = meshes.workload(mesh, size)
    turned = [single.clip * (1 + 1e-3 * i) for i in range(batch)]  # the same picture, but different numbers
    gradient = torch.randn(batch, size, size, 3, generator=torch.Generator().manual_seed(0))
    tensors = (torch.cat(turned), mesh.faces, mesh.colors, gradient)
    return Work(*(tensor.to(options.device) for tensor in tensors), size)


def _load(name: str, options: Options) -> meshes.Mesh:
    if name in SYNTHETIC:
        return _sphere(name, SYNTHETIC[name])
    return meshes.load(name, options.meshes)[0]


def _sphere(name: str, triangles: int) -> meshes.Mesh:
    """A latitude-longitude sphere of about `triangles` triangles; `meshes.sphere` is too slow for millions."""
    rows = max(2, round((triangles / 4) ** 0.5))
    theta = torch.linspace(0, torch.pi, rows + 1)[:, None]
    phi = torch.linspace(0, 2 * torch.pi, 2 * rows + 1)[None]
    points = torch.stack([theta.sin() * phi.cos(), theta.cos() + 0 * phi, theta.sin() * phi.sin()], -1).view(-1, 3)
    corner = (torch.arange(rows)[:, None] * (2 * rows + 1) + torch.arange(2 * rows)).flatten()
    below = corner + 2 * rows + 1
    faces = torch.stack([corner, below, corner + 1, corner + 1, below, below + 1], 1).view(-1, 3).int()
    return meshes.Mesh(name, points.contiguous(), faces, (points + 1) / 2)


def _measure_libraries(work: Work, libraries: list[str], options: Options) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in libraries:
        try:
            renderer = LIBRARIES[name](work)
            row[f"{name} frame"] = measure(renderer.frame, options)
            row[f"{name} rasterize"] = measure(renderer.rasterize, options)
            row[f"{name} peak"] = peak(renderer.frame, options)
            if name == "lumigrad":
                row["lumigrad graph"] = replay(renderer.frame, options)
                row |= _deterministic(renderer, options)
            else:
                row[f"{name} ratio"] = row[f"{name} frame"] / row["lumigrad frame"]
        except (RuntimeError, ValueError, NotImplementedError) as error:
            print(f"{name} failed: {str(error).splitlines()[0]}")
    return row


def _deterministic(renderer: Lumigrad, options: Options) -> dict[str, float]:
    torch.use_deterministic_algorithms(True)
    try:
        return {"lumigrad deterministic": measure(renderer.frame, options)}
    finally:
        torch.use_deterministic_algorithms(False)


def _library_columns(libraries: list[str]) -> list[Column]:
    columns = [Column(f"lumigrad {part}", part, milliseconds) for part in ("graph", "deterministic")]
    for name in libraries:
        columns += [Column(f"{name} frame", name, milliseconds), Column(f"{name} ratio", "ratio", ratio),
                    Column(f"{name} rasterize", f"{name} raster", milliseconds),
                    Column(f"{name} peak", f"{name} MB", megabytes)]  # fmt: skip
    return columns


def run_frame(libraries: list[str], options: Options) -> Table:
    bandwidth, latency = copy_bandwidth(options), launch_latency(options)
    table = Table(
        "Gouraud frame, forward + backward, and rasterisation alone, forward (medians, ms)",
        [*(Column(key, key) for key in ("mesh", "triangles", "size", "batch")), *_library_columns(libraries),
         Column("floor", "floor", milliseconds), Column("over floor", "frame/floor", ratio)],
        notes=[
            "ratio: a peer's frame over lumigrad's; MB: peak beyond the inputs in torch's allocator",
            f"floor: 96 + 36 P bytes a pixel (docs/performance.md) at the measured {bandwidth / 1e9:.0f} GB/s of a "
            f"copy; a launch of nothing takes {latency * 1e6:.1f} microseconds",
        ],
    )  # fmt: skip
    for name in options.names:
        mesh = _load(name, options)
        for size in options.sizes:
            for batch in options.batches:
                if batch * size * size > MOST_PIXELS or (batch > 1 and mesh.triangles > 200_000):
                    continue
                work = _work(mesh, size, batch, options)
                row = {"mesh": mesh.name, "triangles": mesh.triangles, "size": size, "batch": batch}
                row |= _measure_libraries(work, libraries, options)
                covered = (Lumigrad(work).rasterize().tri >= 0).float().mean().item()
                row["floor"] = (96 + 36 * covered) * batch * size * size / bandwidth
                row["over floor"] = row["lumigrad frame"] / row["floor"]
                table.rows.append(row)
                print(".", end="", flush=True)
    return table


def run_depth(libraries: list[str], options: Options) -> Table:
    """An 8 x 8 grid, repeated in depth or side by side: is the cost set by triangles or by hidden layers?"""
    size = max(options.sizes[-1] // 4, 64)
    table = Table(
        f"8x8 grid repeated, at {size}x{size} (medians, ms)",
        [*(Column(key, key) for key in ("copies", "arranged", "triangles")), *_library_columns(libraries)],
    )
    for copies in options.copies:
        for stacked in (True, False):
            mesh = _grids(copies, stacked)
            row = {"copies": copies, "arranged": "stacked" if stacked else "side by side", "triangles": mesh.triangles}
            clip = torch.cat([mesh.vertices, torch.ones(len(mesh.vertices), 1)], -1)[None]
            gradient = torch.ones(1, size, size, 3)
            tensors = [t.to(options.device) for t in (clip, mesh.faces, mesh.colors, gradient)]
            table.rows.append(row | _measure_libraries(Work(*tensors, size), libraries, options))
    return table


def _grids(copies: int, stacked: bool) -> meshes.Mesh:
    line = torch.linspace(-0.95, 0.95, 9)
    y, x = torch.meshgrid(line, line, indexing="ij")
    grid = torch.stack([x, y, 0 * x], -1).view(-1, 3)
    corner = (torch.arange(8)[:, None] * 9 + torch.arange(8)).flatten()
    faces = torch.stack([corner, corner + 9, corner + 1, corner + 1, corner + 9, corner + 10], 1).view(-1, 3)
    side = round(copies**0.5)
    parts = []
    for i in range(copies):
        if stacked:
            shift = torch.tensor([0, 0, 0.9 - 1.8 * (i + 0.5) / copies])  # far ones first: no early rejection
            parts.append(grid + shift)
        else:
            centre = [(2 * (i % side) + 1) / side - 1, (2 * (i // side) + 1) / side - 1, 0]
            parts.append(grid / side + torch.tensor(centre))
    points = torch.cat(parts)
    all_faces = (faces + len(grid) * torch.arange(copies)[:, None, None]).view(-1, 3).int()
    return meshes.Mesh(f"grid x{copies}", points, all_faces.contiguous(), (points + 1) / 2)


class SoftTasks:
    """Soft images of a mesh, forward and backward, named by what each computes."""

    def __init__(self, work: Work) -> None:
        import lumigrad

        self.lg, self.work, self.size = lumigrad, work, (work.size, work.size)
        self.pos, self.colors = work.clip.clone().requires_grad_(), work.colors.clone().requires_grad_()
        self.pixel = (2 / work.size) ** 2  # of blur: its square, in units of half the image

    def nearest(self) -> tuple[torch.Tensor, ...]:
        frags = self.lg.soft_rasterize(self.pos, self.work.faces, self.size, 1, self.pixel)
        shaded = self.lg.soft_interpolate(self.colors, frags, self.work.faces)
        image = (shaded * self.lg.blending.probability(frags, self.pixel / 9)[..., None])[..., 0, :]
        return torch.autograd.grad(image, (self.pos, self.colors), self.work.gradient)

    def fragments(self) -> tuple[torch.Tensor, ...]:
        frags = self.lg.soft_rasterize(self.pos, self.work.faces, self.size, 50, 1e-4)
        return torch.autograd.grad(self.lg.blending.silhouette(frags, 1e-5).sum(), self.pos)

    def silhouette(self) -> tuple[torch.Tensor, ...]:
        mask = self.lg.soft_silhouette(self.pos, self.work.faces, self.size, 1e-5, 1e-4)
        return torch.autograd.grad(mask.sum(), self.pos)

    def mixed(self) -> tuple[torch.Tensor, ...]:
        image = self.lg.soft_colors(self.pos, self.work.faces, self.colors, self.size, 1e-5, 1e-2, blur_radius=1e-4)
        return torch.autograd.grad(image[..., :3], (self.pos, self.colors), self.work.gradient)


def run_soft(libraries: list[str], options: Options) -> Table:
    """Soft rasterization: one face per pixel, fifty, and all of them without fragments."""
    tasks = {"nearest": "K=1", "fragments": "K=50", "silhouette": "fused mask", "mixed": "fused colours"}
    table = Table(
        "Soft images, forward + backward (medians, ms; peak MB beyond the inputs)",
        [*(Column(key, key) for key in ("mesh", "triangles", "size", "batch")),
         *(Column(f"{task} {part}", f"{title} {part}".strip(), shown) for task, title in tasks.items()
           for part, shown in (("", milliseconds), ("graph", milliseconds), ("MB", megabytes)))],
        notes=["K=1: colours of the nearest face, a pixel of blur; K=50 and fused mask: silhouettes, blur 1e-4"],
    )  # fmt: skip
    for name in options.names:
        mesh = _load(name, options)
        for size in options.sizes:
            for batch in options.batches:
                # Fifty fragments and their gradients take 2.4 KB per pixel.
                if batch * size * size > MOST_PIXELS // 16 or mesh.triangles > 200_000:
                    continue
                made = SoftTasks(_work(mesh, size, batch, options))
                row: dict[str, Any] = {"mesh": mesh.name, "triangles": mesh.triangles, "size": size, "batch": batch}
                for name_of_task in tasks:
                    task = getattr(made, name_of_task)
                    row[f"{name_of_task} "] = measure(task, options)
                    # Blending selects the fragments that exist, and waits for the device to know how many there are.
                    row[f"{name_of_task} graph"] = None if name_of_task == "fragments" else replay(task, options)
                    row[f"{name_of_task} MB"] = peak(task, options)
                table.rows.append(row)
                print(".", end="", flush=True)
    return table


def run_splats(_: list[str], options: Options) -> Table:
    """The scenes of benchmarks.splats; for a million spheres, Pulsar's paper states 22 and 6 ms."""
    columns = ["forward", "backward", "deterministic", "graph"]
    table = Table(
        "Spheres and Gaussians: forward, and backward with every gradient (medians, ms)",
        [Column("scene", "scene"), Column("primitives", "primitives"), Column("image", "image"),
         *(Column(key, key, milliseconds) for key in columns), Column("peak", "MB", megabytes)],
        notes=["deterministic: backward with torch.use_deterministic_algorithms; graph: forward as a CUDA graph"],
    )  # fmt: skip
    for count in (10_000,) if options.quick else (100_000, 1_000_000):
        side = 128 if options.quick else 1024
        task = splats.sphere_passes(count, side, 0.1, device=options.device)
        table.rows.append({"scene": "spheres", "primitives": count, "image": f"{side}^2"} | _passes(task, options))
    if options.cloud.is_file():
        makers = {"": splats.gaussian_passes}
        if options.device != "cpu" and find_spec("gsplat"):
            makers[", gsplat"] = splats.gsplat_passes
        for library, make in makers.items():
            task, count, size = make(options.cloud, options.quick, options.device)
            row = {"scene": options.cloud.stem + library, "primitives": count, "image": f"{size[0]}x{size[1]}"}
            table.rows.append(row | _passes(task, options, graphs=not library))
    else:
        table.notes.append(f"there is no {options.cloud}")
    return table


def _passes(task: splats.Passes, options: Options, graphs: bool = True) -> dict[str, Any]:
    forward, backward = task
    row: dict[str, Any] = {"forward": measure(forward, options), "backward": measure(backward, options)}
    torch.use_deterministic_algorithms(True)
    try:
        row["deterministic"] = measure(backward, options)
    finally:
        torch.use_deterministic_algorithms(False)
    return row | {"graph": replay(forward, options) if graphs else None, "peak": peak(backward, options)}


def run_rays(_: list[str], options: Options) -> Table:
    """Rays through a mesh, and marching through a grid: the scenes of benchmarks.ray and benchmarks.fields."""
    table = Table(
        "Rays (medians)",
        [Column("task", "task"), Column("seconds", "ms", milliseconds), Column("graph", "graph ms", milliseconds),
         Column("rate", "M/s", ratio), Column("of", "of")],
    )  # fmt: skip
    for name, (task, count, what) in (_ray_tasks(options) | _march_tasks(options)).items():
        seconds = measure(task, options)
        row = {"task": name, "seconds": seconds, "rate": count / seconds / 1e6, "of": what}
        # The tree is built on the host.
        table.rows.append(row | {"graph": None if name.endswith("build") else replay(task, options)})
    return table


RayTasks = dict[str, tuple[Callable[[], object], int, str]]


def _ray_tasks(options: Options) -> RayTasks:
    side = 64 if options.quick else 1000
    mesh = _load("suzanne" if options.quick else "stanford-bunny", options)
    kinds = {
        name: tuple(each.to(options.device) for each in rays)
        for name, rays in (("coherent", ray.pinhole(side)), ("incoherent", ray.from_all_sides(side * side)))
    }
    placed = replace(mesh, vertices=mesh.vertices.to(options.device), faces=mesh.faces.to(options.device))
    tasks = ray.by_lumigrad(placed, kinds)
    rays, triangles = (side * side, "rays"), (mesh.triangles, "triangles")
    return {name: (task, *(triangles if "build" in name or "refit" in name else rays)) for name, task in tasks.items()}


def _march_tasks(options: Options) -> RayTasks:
    side, voxels = (32, 16) if options.quick else (512, 128)
    *tensors, step = fields.scene(side, voxels)
    given = [each.to(options.device) for each in tensors] + [step]
    count = side * side * fields.SAMPLES
    return {
        "march, forward": (partial(fields.by_lumigrad, *given), count, "samples"),
        "march, forward and backward": (partial(fields.both, fields.by_lumigrad, *given), count, "samples"),
        "march, backward to rays too": (partial(fields.to_rays, *given), count, "samples"),
    }


SECTIONS = {"frame": run_frame, "depth": run_depth, "soft": run_soft, "splats": run_splats, "rays": run_rays}


# ---- Program ---------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--meshes", type=Path, default=Path("../shared/data/meshes"), help="folder of OBJ files")
    parser.add_argument("--cloud", type=Path, default=splats.CLOUD, help="points for Gaussians, .npz")
    parser.add_argument("--names", default=",".join([*NAMES, *SYNTHETIC]))
    parser.add_argument("--json", type=Path, default=Path("benchmark-gpu.json"))
    parser.add_argument("--quick", action="store_true", help="small images, small meshes, few runs")
    given = parser.parse_args(arguments)
    if given.device != "cpu" and not torch.cuda.is_available():
        print("benchmarks.gpu: this torch finds no CUDA device (--device cpu shows that the program runs)")
        return 1
    from lumigrad.ops import installation

    print(f"CUDA library {installation.cuda_status()}; torch {torch.__version__}")
    options = Options(given.device, given.repeats, given.names.split(","), SIZES, BATCHES, [1, 64, 256, 1024],
                      given.meshes, given.cloud, False)  # fmt: skip
    if given.quick:
        options = Options(given.device, 3, ["suzanne", "cow"], [64, 256], [1, 2], [1, 16], given.meshes, given.cloud,
                          True)  # fmt: skip
    libraries = importable()
    if options.device == "cpu":
        libraries = ["lumigrad"]
    results = {}
    for section in given.only.split(","):
        table = SECTIONS[section](libraries, options)
        print(table.text(), flush=True)
        results[section] = table.data()
        given.json.write_text(json.dumps(results, indent=1) + "\n")  # written now: a later section may fail
    print(f"\nwritten: {given.json}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
