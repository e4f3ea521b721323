"""Soft rasterization: frames of one face per pixel, and silhouettes of many, with and without fragments.

Usage:
    python -m benchmarks.soft                 # prints tables, writes benchmark-soft.json
    python -m benchmarks.soft --quick         # small and short, to see that it runs

PyTorch3D is measured too if it can be imported. Otherwise its times are quoted from another run on the same kind of
machine (two cores of an AMD EPYC with AVX-512, PyTorch3D 0.7.9).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import lumigrad as lg
from benchmarks import meshes, peers
from benchmarks.primitives import MESHES, machine
from benchmarks.report import Column, Table, megabytes, milliseconds, ratio
from benchmarks.timing import Budget, copy_task, measure
from lumigrad import blending, memory

# Milliseconds of PyTorch3D 0.7.9 on the CPU, one face per pixel, one pixel of blur, forward + backward.
QUOTED_MS = {
    ("suzanne", 256): 637.0,
    ("suzanne", 512): 2486.0,
    ("cow", 256): 1232.0,
    ("cow", 512): 4882.0,
    ("stanford-bunny", 256): 15158.0,
    ("stanford-bunny", 512): 55366.0,
}
FRAGMENT_BYTES = 48  # of one face at one pixel in PyTorch3D, gradients included


class SoftFrame:
    """Vertex colours of the nearest face, weighted by a sigmoid of its distance, the same as `peers.PyTorch3D`."""

    def __init__(self, work: meshes.Workload) -> None:
        self.size, self.gradient, self.faces = (work.size, work.size), work.gradient, work.mesh.faces
        self.positions = work.clip.clone().requires_grad_()
        self.colors = work.mesh.colors.clone().requires_grad_()
        self.blur = (2 / work.size) ** 2

    def rasterize(self) -> object:
        with torch.no_grad():
            return lg.soft_rasterize(self.positions, self.faces, self.size, 1, self.blur)

    def frame(self) -> tuple[torch.Tensor, ...]:
        frags = lg.soft_rasterize(self.positions, self.faces, self.size, 1, self.blur)
        shaded = lg.soft_interpolate(self.colors, frags, self.faces)
        weight = blending.probability(frags, self.blur / peers.PyTorch3D.BLUR_OVER_SIGMA)
        image = (shaded * weight[..., None])[..., 0, :]
        return torch.autograd.grad(image, (self.positions, self.colors), self.gradient)


def frames(names: list[str], sizes: list[int], folder: Path, budget: Budget) -> Table:
    table = Table(
        "Soft Gouraud frame, 1 face per pixel, 1 pixel of blur, forward + backward (medians, ms)",
        [
            Column("mesh", "mesh"),
            Column("triangles", "triangles"),
            Column("size", "size"),
            Column("soft", "lumigrad", milliseconds),
            Column("rasterize", "soft_rasterize alone", milliseconds),
            Column("copy", "copy", milliseconds),
            Column("PyTorch3D", "PyTorch3D", milliseconds),
            Column("quoted", "PyTorch3D quoted", milliseconds),
            Column("speedup", "ratio", ratio),
        ],
        notes=["quoted: measured on another day; ratio: PyTorch3D's time over lumigrad's"],
    )
    found, _ = peers.importable(["PyTorch3D"])
    for name in names:
        mesh, note = meshes.load(name, folder)
        table.notes += [note] if note else []
        for size in sizes:
            work = meshes.workload(mesh, size)
            ours = SoftFrame(work)
            tasks: dict[str, Callable[[], object]] = {"copy": copy_task()}
            tasks |= {"soft": ours.frame, "rasterize": ours.rasterize}
            if found:
                tasks["PyTorch3D"] = peers.RENDERERS["PyTorch3D"](work).frame
            row: dict[str, Any] = {"mesh": mesh.name, "triangles": mesh.triangles, "size": size}
            row |= measure(tasks, budget)
            theirs = row["PyTorch3D"].median if found else QUOTED_MS.get((name, size), 0) / 1e3
            if theirs and not found:
                row["quoted"] = theirs
            if theirs:
                row["speedup"] = theirs / row["soft"].median
            table.rows.append(row)
    return table


def silhouettes(name: str, size: int, batch: int, faces: int, blur: float, folder: Path, budget: Budget) -> Table:
    table = Table(
        f"Silhouettes of {name}, {batch} x {size}^2, {faces} faces per pixel, blur {blur:g}, forward + backward",
        [
            Column("path", "path"),
            Column("time", "ms", milliseconds),
            Column("peak", "lumigrad's memory MB", megabytes),
            Column("share", "of 48 B x N x H x W x K", ratio),
        ],
        notes=["memory: of lumigrad's outputs and workspaces above its inputs; torch's own temporaries are not in it"],
    )
    mesh, note = meshes.load(name, folder)
    table.notes += [note] if note else []
    clip = meshes.workload(mesh, size).clip.repeat(batch, 1, 1).requires_grad_()
    colors = mesh.colors.clone().requires_grad_()
    sigma = blur / peers.PyTorch3D.BLUR_OVER_SIGMA
    image_size = (size, size)

    def fragments() -> object:
        frags = lg.soft_rasterize(clip, mesh.faces, image_size, faces, blur)
        return torch.autograd.grad(blending.silhouette(frags, sigma).sum(), clip)

    def fused() -> object:
        return torch.autograd.grad(lg.soft_silhouette(clip, mesh.faces, image_size, sigma, blur).sum(), clip)

    def fused_colors() -> object:
        image = lg.soft_colors(clip, mesh.faces, colors, image_size, sigma, 1e-4, 0.0, "softras", blur)
        return torch.autograd.grad(image.sum(), (clip, colors))

    paths = {"K nearest, blended by torch": fragments, "fused": fused, "fused, with colours": fused_colors}
    times = measure(paths, budget)
    for path, task in paths.items():
        peak = _peak(task)
        share = peak / (FRAGMENT_BYTES * batch * size * size * faces)
        table.rows.append({"path": path, "time": times[path], "peak": peak, "share": share})
    return table


def _peak(task: Callable[[], object]) -> int:
    before = memory.stats()["in_use"]
    memory.reset_peak_memory()
    task()
    return memory.stats()["peak"] - before


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soft", description="Times soft rasterization.")
    parser.add_argument("--meshes", type=Path, default=MESHES, help="folder of OBJ files")
    parser.add_argument("--quick", action="store_true", help="small and short")
    parser.add_argument("--json", type=Path, default=Path("benchmark-soft.json"), help="where to write")
    options = parser.parse_args(arguments)
    budget = Budget(repeats=2, seconds=0.05) if options.quick else Budget(repeats=3, seconds=0.4)
    names, sizes = (["suzanne"], [128]) if options.quick else (["suzanne", "cow", "stanford-bunny"], [256, 512])
    facts = machine()
    print("\n".join(f"{key}: {value}" for key, value in facts.items()))
    tables = {
        "frames": frames(names, sizes, options.meshes, budget),
        "silhouettes": silhouettes("cow", 64 if options.quick else 256, 4, 50, 1e-4, options.meshes, budget),
    }
    for table in tables.values():
        print(table.text(), flush=True)
    results = {"machine": facts, **{name: table.data() for name, table in tables.items()}}
    options.json.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\nwritten: {options.json}")


if __name__ == "__main__":
    main()
