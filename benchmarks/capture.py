"""What each part of a performance capture contributes: the same recording, with one part left out at a time.

    python -m benchmarks.capture --out ablation                      the built-in head, recorded first
    python -m benchmarks.capture --rig RIG --truth RIG/truth --out ablation

Errors are in millimetres, over the vertices that at least two cameras see. `motion` is the error of a vertex's
displacement since the first frame of its sequence; an offset shared by all frames does not change it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import Column, Table
from lumigrad.fit.capture import (
    CaptureJob,
    CaptureOptions,
    CaptureRig,
    RigOptions,
    load_rig,
    load_truth,
    seen_vertices,
    shape_errors,
    write_rig,
)
from lumigrad.fit.capture.job import QUICK

VARIANTS: dict[str, dict[str, Any]] = {
    "everything": {},
    "no Laplacian": {"laplacian": 0.0},
    "no maps (offsets)": {"decompose": False},
    "no maps, no Laplacian": {"decompose": False, "laplacian": 0.0},
    "no high-pass": {"high_pass": 0.0},
    "no rigid transform": {"rigid": "none"},
}
COLUMNS = [
    Column("name", "variant"),
    *(Column(name, heading, lambda v: f"{v:.2f}") for name, heading in (("vertex", "vertices"), ("motion", "motion"))),
    Column("worst", "motion, worst frame", lambda v: f"{v:.2f}"),
    Column("psnr", "dB", lambda v: f"{v:.1f}"),
    Column("processor", "processor seconds", lambda v: f"{v:.0f}"),
]


def fitted(rig: CaptureRig, truth: torch.Tensor, options: CaptureOptions, folder: Path) -> dict[str, Any]:
    """Fits and measures; returns a row of the table with the errors of every frame."""
    job = CaptureJob.of_rig(rig, options, truth)
    folder.mkdir(parents=True, exist_ok=True)
    clock = time.process_time()
    state = job.run(job.begin(), folder, evaluate_every=options.iterations)
    errors = shape_errors(job.positions(state), truth, seen_vertices(rig, truth[0]), rig.counts)
    return {
        "vertex": float(errors["vertex"].mean()),
        "motion": float(errors["motion"].mean()),
        "worst": float(errors["motion"].max()),
        "psnr": state.curve[-1]["psnr_db"],
        "processor": time.process_time() - clock,
        "by_frame": {name: values.tolist() for name, values in errors.items()},
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rig", type=Path, help="a recording; by default the built-in head is recorded")
    parser.add_argument("--truth", type=Path, help="its known positions (RIG/truth)")
    parser.add_argument("--out", type=Path, default=Path("capture-ablation"), help="folder (capture-ablation)")
    parser.add_argument("--size", type=int, default=192, help="rows of the images of the built-in head (192)")
    parser.add_argument("--frames", type=int, default=16, help="of the built-in head (16)")
    parser.add_argument("--iterations", type=int, default=400, help="steps of each fit (400)")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), help="variants (all)")
    arguments = parser.parse_args(argv)
    folder = arguments.rig
    if folder is None:
        folder = write_rig(arguments.out / "rig", RigOptions(size=arguments.size, frames=arguments.frames))
    rig = load_rig(folder)
    truth = load_truth(arguments.truth or folder / "truth", rig)
    start = shape_errors(
        rig.base.positions.expand_as(truth), truth, seen_vertices(rig, truth[0]), rig.counts
    )  # nothing is fitted
    table = Table(f"capture, {rig.frames} frames, {len(rig.names)} cameras, {rig.camera.size[0]} rows", COLUMNS)
    row = {name: float(values.mean()) for name, values in start.items()}
    table.rows.append({"name": "start", **row, "worst": float(start["motion"].max())})
    options = replace(QUICK, iterations=arguments.iterations)
    for name in arguments.only or VARIANTS:
        place = arguments.out / name.replace(" ", "-")
        table.rows.append({"name": name, **fitted(rig, truth, replace(options, **VARIANTS[name]), place)})
        print(f"{name}: {table.rows[-1]['vertex']:.2f} mm, motion {table.rows[-1]['motion']:.2f} mm", flush=True)
    print(table.markdown())
    (arguments.out / "ablation.json").write_text(json.dumps(table.data(), indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
