"""Depth complexity (Laine et al. 2020, section 4.6): is a frame's cost set by triangles or by hidden layers?

A grid of 8 x 8 quads is repeated 1, 64, 256 and 1024 times, either stacked, so that each copy covers the whole image
and all but one are hidden, or adjacent, so that the copies share the image between them. The number of triangles is the
same in both. Times are of a whole frame: rasterize, interpolate, antialias, and the gradients of positions and colours.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import torch
from matplotlib.figure import Figure

from benchmarks.meshes import Mesh, Workload
from benchmarks.report import Column, Table, milliseconds, ratio
from experiments import speed
from experiments.common import Run, parser

SIDE = 8  # quads along each side of the grid
COPIES = [1, 64, 256, 1024]
ARRANGEMENTS = ["adjacent", "stacked, nearest first", "stacked, nearest last"]


def grids(copies: int, arrangement: str) -> Mesh:
    """The repeated grid, with vertices already in normalised device coordinates; `copies`: a square number."""
    across = math.isqrt(copies)
    if across * across != copies:
        raise ValueError(f"copies: expected a square number, got {copies}")
    if arrangement not in ARRANGEMENTS:
        raise ValueError(f"arrangement: expected one of {ARRANGEMENTS}, got {arrangement!r}")
    line = torch.linspace(-1, 1, SIDE + 1)
    y, x = (value.flatten() for value in torch.meshgrid(line, line, indexing="ij"))
    corner = (torch.arange(SIDE)[:, None] * (SIDE + 1) + torch.arange(SIDE)).flatten()
    above = corner + SIDE + 1
    faces = torch.stack([corner, corner + 1, above + 1, corner, above + 1, above], -1).view(-1, 3)
    index = torch.arange(copies)[:, None]
    if arrangement == "adjacent":
        shift_x, shift_y = ((2 * cell + 1) / across - 1 for cell in (index % across, index // across))
        points = [x / across + shift_x, y / across + shift_y, torch.zeros(copies, len(x))]
    else:
        z = (index + 0.5) / copies - 0.5
        depth = z if arrangement == "stacked, nearest first" else z.flip(0)
        points = [x.expand(copies, -1), y.expand(copies, -1), depth.expand(-1, len(x))]
    vertices = torch.stack(points, -1).view(-1, 3)
    all_faces = (faces + index[..., None] * len(x)).view(-1, 3).int()
    colors = torch.rand(len(vertices), 3, generator=torch.Generator().manual_seed(0))
    return Mesh(f"{copies} grids, {arrangement}", vertices.contiguous(), all_faces.contiguous(), colors)


def workload(copies: int, arrangement: str, size: int) -> Workload:
    mesh = grids(copies, arrangement)
    clip = torch.cat([mesh.vertices, torch.ones(len(mesh.vertices), 1)], -1)[None].contiguous()
    gradient = torch.randn(1, size, size, 3, generator=torch.Generator().manual_seed(0))
    return Workload(mesh, size, clip, gradient)


def experiment(args: argparse.Namespace) -> dict[str, Any]:
    """Times every arrangement on every device; resumes after existing rows."""
    run = Run("depth", args)
    size = args.size or (256 if args.quick else 1024)
    copies = args.copies or ([1, 64, 256] if args.quick else COPIES)
    rows: list[dict[str, Any]] = (run.load_state() or {"rows": []})["rows"]
    for device in speed.devices():
        for count in copies:
            for arrangement in ARRANGEMENTS if count > 1 else ARRANGEMENTS[:1]:  # one copy has only one arrangement
                key = {"device": device, "copies": count, "arrangement": arrangement}
                if any(key.items() <= row.items() for row in rows):
                    continue
                work = workload(count, arrangement, size)
                measured = speed.frames(work, device, ["lumigrad"], speed.QUICK if args.quick else speed.FULL)
                times = {part: value["lumigrad"] for part, value in measured.items()}
                rows.append(key | {"triangles": work.mesh.triangles} | times)
                run.save_state(rows=rows)
    for row in rows:
        first = next(other for other in rows if other["device"] == row["device"])
        row["per first"] = row["seconds"] / first["seconds"]
    settings = {"size": size, "copies": copies, "quick": args.quick}
    results = {"settings": settings, "machines": [speed.describe(d) for d in speed.devices()], "rows": rows}
    run.save_json(results)
    table = _table(results)
    print(table.text())
    run.path("table.md").write_text(table.markdown() + "\n", encoding="utf-8")
    run.save_figure(figure(results), "depth.png")
    return results


def _table(results: dict[str, Any]) -> Table:
    size = results["settings"]["size"]
    columns = [Column(key, key) for key in ("device", "copies", "arrangement", "triangles")]
    columns += [Column("seconds", "ms", milliseconds), Column("fastest", "fastest", milliseconds)]
    columns += [Column("per first", "of the first", ratio)]
    return Table(f"8x8 grid repeated, {size}x{size}, forward + gradients", columns, results["rows"])


def figure(results: dict[str, Any]) -> Figure:
    """Time against the number of copies, relative to one."""
    copies, rows = results["settings"]["copies"], results["rows"]
    used = sorted({row["device"] for row in rows})
    drawn = Figure(figsize=(5.2 * len(used), 3.6), dpi=120, layout="constrained")
    for axis, device in zip(drawn.subplots(1, len(used), squeeze=False)[0], used):
        for arrangement, marker in zip(ARRANGEMENTS, "os^"):
            line = [r for r in rows if r["device"] == device and (r["copies"] == 1 or r["arrangement"] == arrangement)]
            axis.plot([r["copies"] for r in line], [r["per first"] for r in line], marker=marker, label=arrangement)
        axis.set(xscale="log", yscale="log", xlabel="copies of the 8x8 grid", ylabel="time / time of one copy")
        axis.set_xticks(copies, [str(count) for count in copies])
        axis.minorticks_off()
        axis.set_title(f"{speed.describe(device)}, {results['settings']['size']}²")
        axis.grid(alpha=0.3)
        axis.legend()
    return drawn


def arguments() -> argparse.ArgumentParser:
    parsed = parser("depth", "Time of a frame against depth complexity.")
    parsed.add_argument("--size", type=int, help="width and height of the image")
    parsed.add_argument("--copies", type=int, nargs="+", help="how often the grid is repeated: square numbers")
    return parsed


if __name__ == "__main__":
    experiment(arguments().parse_args())
