"""Attributes interpolated within `rasterize`, compared with `rasterize` followed by `interpolate`.

With one thread (`--threads 1`), processor time is measured: other users of the machine disturb it less.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks import meshes
from benchmarks.report import Column, Table, milliseconds, ratio
from benchmarks.settings import Settings
from benchmarks.timing import copy_task, measure

_PARTS = {"forward": "forward", "both": "forward + backward", "frame": "frame with antialias"}


def run(settings: Settings) -> Table:
    alone = torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    table = Table(
        "rasterize and interpolate, apart and fused (fastest runs, ms)",
        _columns(),
        notes=["frame/copy: the fused frame over the 64 MB copy", *(["processor time"] if alone else [])],
    )
    for name in settings.names:
        mesh, note = meshes.load(name, settings.meshes)
        if note:
            table.notes.append(note)
        for size in sorted(settings.sizes):
            tasks = {"copy": copy_task(), **_tasks(meshes.workload(mesh, size))}
            fastest = {task: timing.fastest for task, timing in measure(tasks, settings.budget, clock).items()}
            ratios = {part: fastest[f"fused {part}"] / fastest[f"apart {part}"] for part in _PARTS}
            row: dict[str, Any] = {"mesh": mesh.name, "triangles": mesh.triangles, "size": size}
            row["per copy"] = fastest["fused frame"] / fastest["copy"]
            table.rows.append(row | fastest | ratios)
    return table


def _columns() -> list[Column]:
    columns = [Column("mesh", "mesh"), Column("triangles", "triangles"), Column("size", "size")]
    columns.append(Column("rasterize", "rasterize, forward", milliseconds))
    for part, words in _PARTS.items():
        columns += [
            Column(f"apart {part}", f"{words}: apart", milliseconds),
            Column(f"fused {part}", "fused", milliseconds),
        ]
        columns.append(Column(part, "ratio", ratio))
    return [*columns, Column("copy", "copy", milliseconds), Column("per copy", "frame/copy", ratio)]


def _tasks(work: meshes.Workload) -> dict[str, Callable[[], object]]:
    import lumigrad as lg

    pos, colors = work.clip.clone().requires_grad_(), work.mesh.colors.clone().requires_grad_()
    faces, size = work.mesh.faces, (work.size, work.size)
    topology = lg.edge_topology(faces)

    def apart() -> Any:
        frags = lg.rasterize(pos, faces, size, derivatives=False)
        return frags, lg.interpolate(colors, frags, faces)

    def fused() -> Any:
        frags = lg.rasterize(pos, faces, size, derivatives=False, attributes=colors)
        return frags, frags.attributes

    def forward(shaded: Callable[[], Any]) -> object:
        with torch.no_grad():
            return shaded()

    def both(shaded: Callable[[], Any]) -> object:
        return torch.autograd.grad(shaded()[1], (pos, colors), work.gradient)

    def frame(shaded: Callable[[], Any]) -> object:
        frags, image = shaded()
        smooth = lg.antialias(image, frags, pos, faces, topology=topology)
        return torch.autograd.grad(smooth, (pos, colors), work.gradient)

    def alone() -> object:
        return lg.rasterize(pos.detach(), faces, size, derivatives=False)

    tasks: dict[str, Callable[[], object]] = {"rasterize": alone}
    for part, task in (("forward", forward), ("both", both), ("frame", frame)):
        tasks[f"apart {part}"] = lambda task=task: task(apart)  # type: ignore[misc]
        tasks[f"fused {part}"] = lambda task=task: task(fused)  # type: ignore[misc]
    return tasks
