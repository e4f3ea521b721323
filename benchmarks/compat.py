"""What nvdiffrast's interface costs compared with lumigrad's own ops: ``python -m benchmarks.compat``.

Each op and a whole frame are timed, forward and backward, in processor time on one thread. The figure is the fastest of
many runs; lumigrad's own ops and those of `lumigrad.compat.nvdiffrast` take turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import lumigrad as lg
import lumigrad.compat.nvdiffrast as dr
from benchmarks import meshes
from benchmarks.primitives import MESHES
from benchmarks.report import Column, Table, milliseconds, ratio
from benchmarks.timing import Budget, Timing, measure

Task = Callable[[], object]
Outputs = Tensor | Sequence[Tensor]

TEXTURE_SIZE, CHANNELS = 512, 3


class Own:
    """lumigrad's ops on one mesh."""

    def __init__(self, work: meshes.Workload) -> None:
        self.size = (work.size, work.size)
        self.tri = work.mesh.faces
        self.pos, self.uv = work.clip.clone().requires_grad_(), work.mesh.colors[:, :2].clone().requires_grad_()
        random = torch.Generator().manual_seed(1)
        self.tex = torch.rand(1, TEXTURE_SIZE, TEXTURE_SIZE, CHANNELS, generator=random).requires_grad_()
        self.topology = self.make_topology()

    def make_topology(self) -> Any:
        return lg.edge_topology(self.tri)

    def rasterize(self) -> list[Tensor]:
        frags = lg.rasterize(self.pos, self.tri, self.size)
        assert frags.bary_d is not None
        return [frags.bary, frags.bary_d, frags.tri, frags.depth]

    def interpolate(self, found: list[Tensor], derivatives: bool) -> list[Tensor]:
        bary, bary_d, tri, depth = found
        frags = lg.Fragments(tri, bary, depth, bary_d)
        if derivatives:
            return list(lg.interpolate(self.uv, frags, self.tri, True))
        return [lg.interpolate(self.uv, frags, self.tri)]

    def texture(self, uv: Tensor, uv_d: Tensor) -> Tensor:
        return lg.texture(self.tex, uv, uv_d)

    def antialias(self, color: Tensor, found: list[Tensor]) -> Tensor:
        bary, _, tri, depth = found
        return lg.antialias(color, lg.Fragments(tri, bary, depth, None), self.pos, self.tri, self.topology)


class Compat(Own):
    """The same ops through nvdiffrast's interface."""

    context = dr.RasterizeCudaContext()

    def make_topology(self) -> Any:
        return dr.antialias_construct_topology_hash(self.tri)

    def rasterize(self) -> list[Tensor]:
        return list(dr.rasterize(self.context, self.pos, self.tri, self.size))

    def interpolate(self, found: list[Tensor], derivatives: bool) -> list[Tensor]:
        rast, rast_db = found
        if derivatives:
            return list(dr.interpolate(self.uv, rast, self.tri, rast_db, "all"))
        return [dr.interpolate(self.uv, rast, self.tri)[0]]

    def texture(self, uv: Tensor, uv_d: Tensor) -> Tensor:
        return dr.texture(self.tex, uv, uv_d)

    def antialias(self, color: Tensor, found: list[Tensor]) -> Tensor:
        return dr.antialias(color, found[0], self.pos, self.tri, self.topology)


def tasks_of(ops: Own) -> dict[str, tuple[Task, Task]]:
    """The forward pass alone and the backward pass alone of each op; for the frame, both together."""
    found = [value.detach().requires_grad_(value.dtype.is_floating_point) for value in ops.rasterize()]
    leaves = found[:2]
    uv, uv_d = (value.detach().requires_grad_() for value in ops.interpolate(found, True))
    color = ops.texture(uv, uv_d).detach().requires_grad_()

    def frame() -> Tensor:
        seen = ops.rasterize()
        place, place_d = ops.interpolate(seen, True)
        return ops.antialias(ops.texture(place, place_d), seen)

    wanted = [ops.pos, ops.uv, ops.tex]
    image = frame()
    gradient = torch.ones_like(image)
    return {
        "rasterize": _both(lambda: ops.rasterize()[:2], [ops.pos]),
        "interpolate": _both(lambda: ops.interpolate(found, False), [ops.uv, leaves[0]]),
        "interpolate, derivatives": _both(lambda: ops.interpolate(found, True), [ops.uv, *leaves]),
        "texture": _both(lambda: ops.texture(uv, uv_d), [ops.tex, uv, uv_d]),
        "antialias": _both(lambda: ops.antialias(color, found), [color, ops.pos]),
        "frame": (torch.no_grad()(frame), lambda: torch.autograd.grad(frame(), wanted, gradient)),
    }


def _both(forward: Callable[[], Outputs], leaves: list[Tensor]) -> tuple[Task, Task]:
    result = forward()
    outputs = [result] if isinstance(result, Tensor) else list(result)
    gradients = [torch.ones_like(output) for output in outputs]

    def backward() -> object:
        return torch.autograd.grad(outputs, leaves, gradients, retain_graph=True)

    return torch.no_grad()(forward), backward


def run(name: str, size: int, zoom: float, folder: Path | None, budget: Budget) -> Table:
    mesh, note = meshes.load(name, folder)
    work = meshes.workload(mesh, size)
    work = replace(work, clip=work.clip * torch.tensor([zoom, zoom, 1, 1]))
    covered = (lg.rasterize(work.clip, mesh.faces, (size, size)).tri >= 0).float().mean()
    table = Table(
        f"nvdiffrast's interface: {mesh.name}, {mesh.triangles} triangles, {size}^2, {100 * covered:.0f} % covered "
        "(least processor time, one thread)",
        [
            Column("op", "op"),
            Column("own", "lumigrad ms", milliseconds),
            Column("compat", "compat ms", milliseconds),
            Column("ratio", "ratio", ratio),
        ],
        notes=[note] if note else [],
    )
    tasks: dict[str, Task] = {}
    for kind, ops in (("own", Own(work)), ("compat", Compat(work))):
        for op, (forward, backward) in tasks_of(ops).items():
            tasks[f"{op}, forward {kind}"] = forward
            second = "both" if op == "frame" else "backward"
            tasks[f"{op}, {second} {kind}"] = backward
    timings = measure(tasks, budget, time.process_time)
    for task in tasks:
        if task.endswith(" own"):
            op = task.removesuffix(" own")
            table.rows.append(_row(op, timings[task], timings[f"{op} compat"]))
    return table


def _row(op: str, own: Timing, compat: Timing) -> dict[str, object]:
    return {"op": op, "own": own.fastest, "compat": compat.fastest, "ratio": compat.fastest / own.fastest}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compat", description=__doc__)
    parser.add_argument("--meshes", type=Path, default=MESHES, help="folder of OBJ files")
    parser.add_argument("--names", default="suzanne,stanford-bunny", help="meshes, by file name")
    parser.add_argument("--size", type=int, default=1024, help="image side in pixels")
    parser.add_argument("--zoom", type=float, default=1.0, help="how much larger the mesh is in the image")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds spent on each measurement")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for name in options.names.split(","):
        table = run(name, options.size, options.zoom, options.meshes, Budget(seconds=options.seconds))
        print(table.text(), flush=True)


if __name__ == "__main__":
    main()
