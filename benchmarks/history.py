"""The history of lumigrad's speed: what a few ops cost at a commit, and a page that shows all commits measured so far.

Usage:
    python -m benchmarks.history run     # measure the installed lumigrad: benchmarks/history/DATE-COMMIT-MACHINE.json
    python -m benchmarks.history plot    # all these files as a page: docs/history.md, docs/images/history.png

What is measured is small, the same everywhere, and needs no files. An op's floor is the time in which the machine
copies as many bytes as the op reads and writes at least: each input once, each output once, and for the backward pass
inputs, gradients of outputs and gradients of inputs once more. The copy, of 64 MB, is timed in turns with the ops. A
ratio of 1 is as fast as the memory; ops that compute much, such as marching through a grid, are far from it on any
machine, and it is the change of their ratio from commit to commit that says something.

Times are seconds of the processor (all threads together; by default there is one), so that other programs disturb them
little, and the fastest of many runs counts. An entry of a checkout that was changed since its commit says so in its
file's name, by which git ignores it.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

import lumigrad as lg
from benchmarks import history_page
from benchmarks.history_ops import Op, make_ops
from benchmarks.primitives import machine
from benchmarks.timing import COPY_BYTES, Budget, copy_task, measure
from lumigrad.ops import installation

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks/history"


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    if options.command == "plot":
        for path in history_page.write(options.folder, options.docs):
            print(f"written: {path}")
        return
    torch.set_num_threads(options.threads)
    entry = commit_of_checkout() | record(
        make_ops(options.scale), Budget(repeats=options.repeats, seconds=options.seconds)
    )
    name = "-".join([entry["date"], entry["commit"], _slug(entry["machine"]["processor"])])
    path = options.folder / f"{name}{'-changed' if entry['changed'] else ''}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    for op, row in entry["ops"].items():
        print(f"{op:32} {row['seconds'] * 1e3:9.3f} ms  {row['ratio']:8.2f} floors")
    print(f"written: {path}")


def record(ops: dict[str, Op], budget: Budget) -> dict[str, Any]:
    """The contents of an entry of the history besides its commit: the machine, and the cost of each op."""
    tasks = {name: op.run for name, op in ops.items()}
    times = measure({"copy": copy_task(), **tasks}, budget, time.process_time)
    second_per_byte = times["copy"].fastest / (2 * COPY_BYTES)
    rows = {}
    for name, op in ops.items():
        floor = op.bytes * second_per_byte
        rows[name] = {"seconds": times[name].fastest, "floor": floor, "ratio": times[name].fastest / floor}
    return {
        "version": lg.__version__,
        "machine": {**machine(), "isa": installation.isa(), "system": f"{platform.system()} {platform.machine()}"},
        "copy": times["copy"].fastest,
        "ops": rows,
    }


def commit_of_checkout() -> dict[str, Any]:
    """The measured commit, its date, and whether the sources have changed since."""
    return {
        "commit": _git("rev-parse", "--short=8", "HEAD"),
        "date": _git("show", "--no-patch", "--format=%cs", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no", "src", "native")),
    }


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"an entry of the history needs a checkout with its commits: {error}")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure and write a file")
    run.add_argument("--threads", type=int, default=1)
    run.add_argument("--seconds", type=float, default=0.5, help="for each op, at least")
    run.add_argument("--repeats", type=int, default=5, help="rounds, at least")
    run.add_argument("--scale", type=int, default=1, help="divides the side of images, to see that it runs")
    plot = commands.add_parser("plot", help="write the page")
    plot.add_argument("--docs", type=Path, default=ROOT / "docs")
    for command in (run, plot):
        command.add_argument("--folder", type=Path, default=FOLDER, help="of the files (default: %(default)s)")
    return parser


if __name__ == "__main__":
    main()
