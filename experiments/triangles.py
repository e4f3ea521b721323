"""Triangles and resolution (Laine et al. 2020, section 4): the time of a frame by mesh and image size.

Meshes of 284 to 308 170 triangles, in images of 256^2 to 4096^2 pixels: rasterize, interpolate, antialias, and the
gradients of positions and colours, on the CPU and, if present, on a CUDA device. Other libraries take part if
they can be imported.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from benchmarks import meshes
from benchmarks.meshes import Mesh
from benchmarks.report import Column, Table, milliseconds, ratio
from experiments import speed
from experiments.common import Run, parser

# Triangle counts, and the mesh that is refined or coarsened to about that many (exactly, if it has that many).
MESHES = {
    284: "suzanne",
    968: "suzanne",
    5_856: "spot",
    20_088: "rocker-arm",
    69_451: "stanford-bunny",
    124_008: "ogre",
    308_170: "ogre",
}
SIZES = [256, 512, 1024, 2048, 4096]
PATIENCE = 10.0  # seconds per frame above which a library is not given a larger image


def subdivided(mesh: Mesh) -> Mesh:
    """Every triangle cut into four at the middles of its edges."""
    faces = mesh.faces.long()
    edges = faces[:, [[0, 1], [1, 2], [2, 0]]].sort(-1).values
    unique, index = edges.view(-1, 2).unique(dim=0, return_inverse=True)
    middle = index.view(-1, 3) + len(mesh.vertices)
    a, b, c = faces.unbind(1)
    ab, bc, ca = middle.unbind(1)
    quarters = [[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]]
    vertices, colors = (torch.cat([t, t[unique].mean(1)]) for t in (mesh.vertices, mesh.colors))
    return Mesh(mesh.name, vertices, torch.stack([torch.stack(q, 1) for q in quarters], 1).view(-1, 3).int(), colors)


def clustered(mesh: Mesh, cells: int) -> Mesh:
    """The mesh with all vertices in the same cell of a grid, `cells` along each axis, merged at their mean."""
    place = ((mesh.vertices + 1) * (cells / 2)).long().clamp(0, cells - 1)
    kept, index = ((place[:, 0] * cells + place[:, 1]) * cells + place[:, 2]).unique(return_inverse=True)
    count = torch.bincount(index)[:, None]
    vertices, colors = (torch.zeros(len(kept), 3).index_add_(0, index, t) / count for t in (mesh.vertices, mesh.colors))
    faces = index[mesh.faces.long()]
    whole = (faces != faces.roll(1, 1)).all(1)
    # Triangles with the same corners, in any order, would hide one another.
    corners = faces[whole].sort(1).values.unique(dim=0, return_inverse=True)[1]
    first = torch.full((int(corners.max()) + 1,), len(corners)).scatter_reduce_(
        0, corners, torch.arange(len(corners)), "amin"
    )
    return Mesh(mesh.name, vertices, faces[whole][first.sort().values].int(), colors)


def of_size(mesh: Mesh, triangles: int) -> Mesh:
    """The mesh, refined or coarsened to about the given number of triangles."""
    while mesh.triangles < triangles:
        mesh = subdivided(mesh)
    if mesh.triangles == triangles:
        return mesh
    low, high = 2, 2048
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if clustered(mesh, middle).triangles <= triangles else (low, middle)
    return min((clustered(mesh, cells) for cells in (low, high)), key=lambda m: abs(m.triangles - triangles))


def experiment(args: argparse.Namespace) -> dict[str, Any]:
    """Times every mesh at every size; resumes after existing rows."""
    run = Run("triangles", args)
    sizes = sorted(args.sizes or (SIZES[:2] if args.quick else SIZES))
    counts = args.triangles or list(MESHES)
    budget = speed.QUICK if args.quick else speed.FULL
    rows: list[dict[str, Any]] = (run.load_state() or {"rows": []})["rows"]
    notes: list[str] = []
    for count in counts:
        base, note = meshes.load(MESHES.get(count, "ogre"), args.meshes)
        notes += [note] if note and note not in notes else []
        mesh = of_size(base, count)
        for device in speed.devices():
            names = speed.libraries(device)
            for size in sizes:
                key = {"device": device, "mesh": f"{mesh.name}, {count}", "size": size}
                done = next((row for row in rows if key.items() <= row.items()), None)
                if done is None:
                    times = speed.frames(meshes.workload(mesh, size), device, names, budget)
                    done = key | {"triangles": mesh.triangles} | times
                    rows.append(done)
                    run.save_state(rows=rows)
                names = [name for name in names if name == "lumigrad" or done["seconds"].get(name, 0) < PATIENCE]
    settings = {"sizes": sizes, "triangles": counts, "quick": args.quick}
    machines = [speed.describe(device) for device in speed.devices()]
    results = {"settings": settings, "machines": machines, "rows": rows, "notes": notes}
    run.save_json(results)
    table = _table(results)
    print(table.text())
    run.path("table.md").write_text(table.markdown() + "\n", encoding="utf-8")
    run.save_figure(figure(results), "triangles.png")
    return results


def _table(results: dict[str, Any]) -> Table:
    """One line for each row: lumigrad's time, and each peer's with its ratio to lumigrad's."""
    peers = sorted({name for row in results["rows"] for name in row["seconds"]} - {"lumigrad"})
    columns = [Column(key, key) for key in ("device", "mesh", "triangles", "size")]
    columns += [Column("lumigrad", "lumigrad", milliseconds), Column("least", "fastest", milliseconds)]
    for name in peers:
        columns += [Column(name, name, milliseconds), Column(f"{name} ratio", "ratio", ratio)]
    table = Table("Forward + gradients (medians, ms)", columns, notes=list(results["notes"]))
    for row in results["rows"]:
        own = row["seconds"]["lumigrad"]
        more = {f"{name} ratio": seconds / own for name, seconds in row["seconds"].items()}
        more["least"] = row["fastest"]["lumigrad"]
        plain = {key: value for key, value in row.items() if not isinstance(value, dict)}
        table.rows.append(plain | row["seconds"] | more)
    return table


def figure(results: dict[str, Any]) -> Figure:
    """Milliseconds against triangles, one line for each image size."""
    rows = results["rows"]
    used = sorted({row["device"] for row in rows})
    drawn = Figure(figsize=(5.2 * len(used), 3.8), dpi=120, layout="constrained")
    for axis, device in zip(drawn.subplots(1, len(used), squeeze=False)[0], used):
        for number, size in enumerate(results["settings"]["sizes"]):
            for name, style in (("lumigrad", "-"), ("DRTK", "--"), ("nvdiffrast", "-."), ("PyTorch3D", ":")):
                line = sorted(
                    (row["triangles"], row["seconds"][name] * 1e3)
                    for row in rows
                    if (row["device"], row["size"]) == (device, size) and name in row["seconds"]
                )
                if line:
                    axis.plot(*zip(*line), style, color=f"C{number}", marker="o", ms=3, label=f"{name}, {size}²")
        axis.set(xscale="log", yscale="log", xlabel="triangles", ylabel="forward + gradients, ms")
        axis.set_title(speed.describe(device))
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    return drawn


def arguments() -> argparse.ArgumentParser:
    parsed = parser("triangles", "Time of a frame against triangles and resolution.")
    parsed.add_argument("--sizes", type=int, nargs="+", help="width and height of the images")
    parsed.add_argument("--triangles", type=int, nargs="+", help="about how many triangles the meshes have")
    parsed.add_argument("--meshes", type=Path, default=Path("../shared/data/meshes"), help="folder of OBJ files")
    return parsed


if __name__ == "__main__":
    experiment(arguments().parse_args())
