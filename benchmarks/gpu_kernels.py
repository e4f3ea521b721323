"""Where the time on a CUDA device goes: the kernels of each task, from torch's profiler, and the host's time.

Usage:
    python -m benchmarks.gpu_kernels                       # all tasks
    python -m benchmarks.gpu_kernels --only frame,garden   # tasks whose names contain one of these

For each task: host microseconds for one asynchronous call, device microseconds, and the kernels that take most of them,
with the number of launches of each. Kernels of other libraries are listed in the same way.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks import gpu, splats

Task = Callable[[], object]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_kernels", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="parts of tasks' names, separated by commas")
    parser.add_argument("--kernels", type=int, default=12, help="how many are listed for each task")
    parser.add_argument("--meshes", type=Path, default=Path("../shared/data/meshes"), help="folder of OBJ files")
    parser.add_argument("--cloud", type=Path, default=splats.CLOUD, help="points for Gaussians, .npz")
    parser.add_argument("--json", type=Path, default=Path("benchmark-gpu-kernels.json"))
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("benchmarks.gpu_kernels: this torch finds no CUDA device")
        return 1
    options = gpu.Options("cuda", 20, [], [], [], [], given.meshes, given.cloud, False)
    results = []
    for name, task in tasks(options, given.only.split(",")):
        row = measure(task)
        results.append({"task": name, **row})
        print(f"\n{name}: host {row['host']:.0f} us, device {row['device']:.0f} us in {row['launches']:.0f} launches")
        for kernel in row["kernels"][: given.kernels]:
            print(f"  {kernel['us']:9.1f} us  x{kernel['count']:<4.0f} {kernel['name'][:100]}", flush=True)
        given.json.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\nwritten: {given.json}")
    return 0


def measure(task: Task, calls: int = 10) -> dict[str, Any]:
    """Means for one call, in microseconds."""
    for _ in range(3):
        task()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        task()
    host = (time.perf_counter() - start) / calls * 1e6
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        for _ in range(calls):
            task()
        torch.cuda.synchronize()
    kernels = [
        {"us": event.self_device_time_total / calls, "count": event.count / calls, "name": event.key}
        for event in found.key_averages()
        if event.device_type == DeviceType.CUDA
        and not event.is_user_annotation
        and event.key != "Activity Buffer Request"
    ]
    kernels.sort(key=lambda kernel: -kernel["us"])
    device, launches = (sum(kernel[key] for kernel in kernels) for key in ("us", "count"))
    return {"host": host, "device": device, "launches": launches, "kernels": kernels}


def tasks(options: gpu.Options, wanted: list[str]) -> Iterator[tuple[str, Task]]:
    """One at a time, so that only one task has its tensors on the device."""
    for make in (_frames, _soft, _splats, _rays):
        for name, build in make(options):
            if any(part in name for part in wanted):
                yield name, build()


Tasks = Iterator[tuple[str, Callable[[], Task]]]


def _frames(options: gpu.Options) -> Tasks:
    libraries = gpu.importable()
    for mesh, size in (
        ("stanford-bunny", 256),
        ("stanford-bunny", 1024),
        ("stanford-bunny", 4096),
        ("sphere-1M", 1024),
    ):
        for library in libraries:

            def build(mesh: str = mesh, size: int = size, library: str = library) -> Task:
                return gpu.LIBRARIES[library](gpu._work(gpu._load(mesh, options), size, 1, options)).frame

            yield f"frame {mesh} {size}^2, {library}", build


def _soft(options: gpu.Options) -> Tasks:
    for part in ("nearest", "fragments", "silhouette", "mixed"):

        def build(part: str = part) -> Task:
            return getattr(gpu.SoftTasks(gpu._work(gpu._load("stanford-bunny", options), 256, 1, options)), part)

        yield f"soft {part} stanford-bunny 256^2", build


def _splats(options: gpu.Options) -> Tasks:
    for i, direction in enumerate(("forward", "backward")):
        yield f"spheres 10^6 1024^2, {direction}", lambda i=i: splats.sphere_passes(10**6, 1024, 0.1, device="cuda")[i]
        makers = {"lumigrad": splats.gaussian_passes, "gsplat": splats.gsplat_passes}
        for library, make in makers.items():
            if options.cloud.is_file() and (library == "lumigrad" or gpu.find_spec(library)):
                yield f"garden {library}, {direction}", lambda i=i, make=make: make(options.cloud, False, "cuda")[0][i]


def _rays(options: gpu.Options) -> Tasks:
    for name, (task, _, _) in (gpu._ray_tasks(options) | gpu._march_tasks(options)).items():
        yield f"rays: {name}", lambda task=task: task


if __name__ == "__main__":
    raise SystemExit(main())
