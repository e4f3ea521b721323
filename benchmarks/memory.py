"""Peak memory of a frame, and of antialiasing beyond its results, each measured in its own process.

The peak is the rise of the process's resident set above its size just before the call. Everything has run on a small
input by then: inputs, libraries and threads are already there and do not count. Linux only.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks import meshes, peers
from benchmarks.report import Column, Table, megabytes, ratio
from benchmarks.settings import Settings
from benchmarks.timing import recycle_heap, trim_heap

WARM_UP_SIZE = 64


def run(settings: Settings) -> Table:
    table = Table(
        "Peak memory of one frame, forward + backward, above its inputs",
        [
            Column("mesh", "mesh"),
            Column("size", "size"),
            *(Column(f"{name} peak", f"{name} MB", megabytes) for name in peers.RENDERERS),
            Column("bytes per pixel", "lumigrad bytes/pixel", ratio),
            Column("antialias extra", "antialias extra MB", megabytes),
            Column("antialias extra per pixel", "antialias bytes/pixel", ratio),
        ],
        notes=["antialias extra: the peak of its forward + backward above inputs, image and gradients"],
    )
    if not Path("/proc/self/clear_refs").exists():
        table.notes.append("not measured: this system does not tell a process its peak")
        return table
    name = settings.names[-1]
    for size in [size for size in settings.sizes if size >= 512] or settings.sizes:
        pixels = size * size
        row: dict[str, Any] = {"mesh": name, "size": size}
        for renderer in settings.renderers:
            row[f"{renderer} peak"] = _probe(settings, name, size, renderer)["peak"]
        if "lumigrad" in settings.renderers:
            extra = _probe_antialias(settings, name, size)
            row |= {
                "bytes per pixel": row["lumigrad peak"] / pixels,
                "antialias extra": extra,
                "antialias extra per pixel": extra / pixels,
            }
        table.rows.append(row)
    return table


def _probe(settings: Settings, name: str, size: int, task: str, inputs: str = "") -> dict[str, int]:
    """Runs this module as a process and returns what it measured."""
    command = [sys.executable, "-m", "benchmarks.memory", name, str(size), task]
    command += ["--meshes", str(settings.meshes or ""), "--heap", settings.heap, "--inputs", inputs]
    command += ["--threads", str(torch.get_num_threads())]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _probe_antialias(settings: Settings, name: str, size: int) -> int:
    # The fragments come from another process through a file. If they were made in the same one, the memory used for
    # making them would be free for reuse by antialiasing and would hide its own needs.
    with tempfile.TemporaryDirectory() as folder:
        inputs = str(Path(folder) / "fragments.pt")
        _probe(settings, name, size, "prepare", inputs)
        measured = _probe(settings, name, size, "antialias", inputs)
    return max(0, measured["peak"] - measured["results"])


def _frame(work: meshes.Workload, small: meshes.Workload, renderer: str) -> dict[str, int]:
    peers.RENDERERS[renderer](small).frame()
    full = peers.RENDERERS[renderer](work)
    before = _reset_peak()
    full.frame()
    return {"peak": _status("VmHWM") - before}


def _prepare(work: meshes.Workload, path: str) -> dict[str, int]:
    import lumigrad as lg

    faces = work.mesh.faces
    with torch.no_grad():
        frags = lg.rasterize(work.clip, faces, (work.size, work.size), derivatives=False)
        color = lg.interpolate(work.mesh.colors, frags, faces)
    torch.save([frags.tri, frags.bary, frags.depth, color], path)
    return {}


def _antialias(work: meshes.Workload, small: meshes.Workload, path: str) -> dict[str, int]:
    import lumigrad as lg

    peers.RENDERERS["lumigrad"](small).frame()
    tri, bary, depth, color = torch.load(path)
    frags = lg.Fragments(tri, bary, depth, None)
    pos, color = work.clip.requires_grad_(), color.requires_grad_()
    topology = lg.edge_topology(work.mesh.faces)
    before = _reset_peak()
    image = lg.antialias(color, frags, pos, work.mesh.faces, topology=topology)
    gradients = torch.autograd.grad(image, (color, pos), work.gradient)
    results = sum(tensor.nbytes for tensor in (image, *gradients))
    return {"peak": _status("VmHWM") - before, "results": results}


def _reset_peak() -> int:
    """Resets the recorded peak; returns the bytes now resident, after free memory has been returned to the system."""
    gc.collect()
    trim_heap()
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}")


def main() -> None:
    parser = argparse.ArgumentParser(description="One measurement of the memory benchmark, printed as JSON.")
    parser.add_argument("mesh")
    parser.add_argument("size", type=int)
    parser.add_argument("task", help="prepare, antialias, or a renderer's name")
    parser.add_argument("--meshes", default="")
    parser.add_argument("--heap", default="default")
    parser.add_argument("--inputs", default="")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.heap == "recycle":
        recycle_heap()
    mesh, _ = meshes.load(options.mesh, Path(options.meshes) if options.meshes else None)
    # A sphere so small that the memory it leaves behind does not matter.
    sphere, _ = meshes.load("suzanne", None)
    work, small = meshes.workload(mesh, options.size), meshes.workload(sphere, WARM_UP_SIZE)
    if options.task == "prepare":
        measured = _prepare(work, options.inputs)
    elif options.task == "antialias":
        measured = _antialias(work, small, options.inputs)
    else:
        measured = _frame(work, small, options.task)
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
