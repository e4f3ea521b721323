"""Loading times of mesh files beside trimesh's: a table on the screen and a JSON file.

Usage:
    python -m benchmarks.loading                  # a sphere of 1.3 million triangles in every format
    python -m benchmarks.loading --quick          # a small one, to see that it runs

Times are CPU seconds of the process, the least of several runs in turns, with the files in the system's cache. trimesh
reads each file as it stands (`process=False`), and with vertices in one place merged (`process=True`), as `load_mesh`
always does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import trimesh

from benchmarks.primitives import machine
from benchmarks.report import Column, Table, ratio
from lumigrad.io import load_mesh


def _seconds(value: float) -> str:
    return f"{value:.3f}"


COLUMNS = [
    Column("file", "file"),
    Column("megabytes", "MB", lambda value: f"{value:.0f}"),
    Column("lumigrad", "lumigrad", _seconds),
    Column("trimesh", "trimesh", _seconds),
    Column("merging", "trimesh, merging", _seconds),
    Column("ratio", "lumigrad / trimesh", ratio),
    Column("merging_ratio", "lumigrad / merging", ratio),
]
FORMATS = {
    "GLB": ("glb", {"include_normals": False}),
    "GLB with normals": ("glb", {"include_normals": True}),
    "PLY, binary": ("ply", {"vertex_normal": False}),
    "PLY with normals": ("ply", {"vertex_normal": True}),
    "STL, binary": ("stl", {}),
    "OBJ with normals": ("obj", {"include_normals": True}),
    "OFF": ("off", {}),
}


def cpu_seconds(tasks: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """The least processor time of each task, run in turns after one uncounted run."""
    found: list[list[float]] = [[] for _ in tasks]
    for _ in range(repeats + 1):
        for task, times in zip(tasks, found):
            start = time.process_time()
            task()
            times.append(time.process_time() - start)
    return [min(times[1:]) for times in found]


def measured(name: str, path: Path, repeats: int) -> dict[str, Any]:
    """The row of one file."""
    tasks = [
        lambda: load_mesh(path),
        lambda: trimesh.load(path, process=False),
        lambda: trimesh.load(path, process=True),
    ]
    ours, theirs, merging = cpu_seconds(tasks, repeats)
    return {
        "file": name, "megabytes": path.stat().st_size / 1e6, "lumigrad": ours, "trimesh": theirs, "merging": merging,
        "ratio": ours / theirs, "merging_ratio": ours / merging,
    }  # fmt: skip


def loading(subdivisions: int, repeats: int, only: list[str]) -> Table:
    """Measures all formats."""
    ball = trimesh.creation.icosphere(subdivisions)
    table = Table(f"Loading {len(ball.faces)} triangles, CPU seconds", COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        for name, (suffix, options) in FORMATS.items():
            if only and suffix not in only:
                continue
            path = Path(folder) / f"ball.{suffix}"
            ball.export(path, **options)
            table.rows.append(measured(name, path, repeats))
            path.unlink()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a small mesh")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="suffixes, separated by commas, such as glb,ply")
    parser.add_argument("--json", type=Path, default=Path("benchmark-loading.json"))
    arguments = parser.parse_args()
    table = loading(4 if arguments.quick else 8, arguments.repeats, [s for s in arguments.only.split(",") if s])
    print(table.text())
    arguments.json.write_text(json.dumps({"machine": machine(), "tables": [table.data()]}, indent=2))


if __name__ == "__main__":
    main()
