"""Benchmarks of lumigrad's primitives: tables on the screen and a JSON file.

Usage:
    python -m benchmarks.primitives                       # everything
    python -m benchmarks.primitives --only frame,texture  # some sections
    python -m benchmarks.primitives --heap both           # with the normal heap, then with one that keeps freed memory
    python -m benchmarks.primitives --quick               # small and short, to see that it runs
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import frame, fused, memory, overhead, peers, texture, threads
from benchmarks.report import Table
from benchmarks.settings import Settings
from benchmarks.timing import Budget, copy_task, measure, recycle_heap

SECTIONS: dict[str, Callable[[Settings], Table]] = {
    "frame": frame.run,
    "fused": fused.run,
    "texture": texture.run,
    "threads": threads.run_scaling,
    "alternation": threads.run_alternation,
    "overhead": overhead.run,
    "memory": memory.run,
}
# Functions of lumigrad without which a section cannot run at all.
NEEDED = {
    "fused": ["antialias"],
    "texture": ["texture", "build_mips"],
    "alternation": ["antialias"],
    "overhead": ["antialias"],
}


MESHES = Path("../shared/data/meshes")
NAMES = ["suzanne", "cow", "stanford-bunny", "ogre"]
SIZES = [256, 512, 1024, 2048]
# If the average number of running processes exceeds this before we start, someone else is using the machine.
QUIET_LOAD = 0.5


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    names, missing = peers.importable(options.renderers)
    for name, reason in missing.items():
        print(f"{name} is left out: {reason}")
    results: dict[str, Any] = {"machine": machine(), "renderers": names, "heaps": {}}
    print("\n".join(f"{key}: {value}" for key, value in results["machine"].items()))
    if results["machine"]["load"] > QUIET_LOAD:
        print("others are using this machine: a thread that waits for its core makes parallel code look slow")
    for heap in ("default", "recycle") if options.heap == "both" else (options.heap,):
        if heap == "recycle" and not recycle_heap():
            print("the heap cannot be told to keep freed memory here; skipped")
            continue
        print(f"\n=== heap: {heap}")
        results["heaps"][heap] = _run(options, _settings(options, names, heap))
    options.json.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\nwritten: {options.json}")


def _run(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    measured = {}
    for section in options.only:
        lacking = _lacking(section, settings)
        if lacking:
            print(f"\n{section}: skipped, there is no {lacking}")
            continue
        table = SECTIONS[section](settings)
        print(table.text(), flush=True)
        measured[section] = table.data()
    return measured


def _lacking(section: str, settings: Settings) -> str | None:
    """The first function of lumigrad that a section needs and that does not exist."""
    needed = NEEDED.get(section, [])
    if not needed:
        return None
    if "lumigrad" not in settings.renderers:
        return "lumigrad"
    import lumigrad

    return next((f"lumigrad.{name}" for name in needed if not hasattr(lumigrad, name)), None)


def _settings(options: argparse.Namespace, renderers: list[str], heap: str) -> Settings:
    if options.quick:
        budget = Budget(repeats=2, seconds=0.05, patience=2.0)
        return Settings(options.meshes, options.names[:2], [128, 256], renderers, budget, heap, True)
    budget = Budget(repeats=options.repeats, seconds=options.seconds)
    return Settings(options.meshes, options.names, options.sizes, renderers, budget, heap, False)


def machine() -> dict[str, Any]:
    """The machine on which the numbers were measured, with the times of a 64 MB copy and a 12 MB clone."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    source = torch.ones(3_000_000)
    times = measure({"copy": copy_task(), "clone": source.clone}, Budget(repeats=9, seconds=0.2))
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(load, 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "copy_64_MB_ms": round(times["copy"].median * 1e3, 3),
        "clone_12_MB_ms": round(times["clone"].median * 1e3, 3),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.primitives",
        description="Times lumigrad's primitives beside other libraries that can be imported.",
    )
    parser.add_argument("--only", type=_some_of(SECTIONS), default=list(SECTIONS), help=", ".join(SECTIONS))
    parser.add_argument(
        "--renderers",
        type=_some_of(peers.RENDERERS),
        default=list(peers.RENDERERS),
        help=f"of {', '.join(peers.RENDERERS)} (default: all that can be imported)",
    )
    parser.add_argument("--meshes", type=Path, default=MESHES, help="folder of OBJ files")
    parser.add_argument("--names", type=_words, default=NAMES, help="meshes, by file name")
    parser.add_argument("--sizes", type=_numbers, default=SIZES, help="image sides in pixels")
    parser.add_argument("--repeats", type=int, default=5, help="smallest number of rounds")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds spent on each measurement")
    parser.add_argument("--threads", type=int, help="torch's number of threads (default: torch's own)")
    parser.add_argument("--heap", choices=["default", "recycle", "both"], default="default")
    parser.add_argument("--json", type=Path, default=Path("benchmark-primitives.json"), help="where to write")
    parser.add_argument("--quick", action="store_true", help="small images and few runs")
    return parser


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> list[int]:
    return [int(word) for word in _words(text)]


def _some_of(known: dict[str, Any]) -> Callable[[str], list[str]]:
    """A parser of comma-separated names, in any case, that must be among `known`."""
    spelled = {name.lower(): name for name in known}

    def parse(text: str) -> list[str]:
        words = _words(text)
        unknown = [word for word in words if word.lower() not in spelled]
        if unknown or not words:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}, got {text!r}")
        return [spelled[word.lower()] for word in words]

    return parse


if __name__ == "__main__":
    main()
