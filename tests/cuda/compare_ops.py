"""Every op on a CUDA device against the CPU, as a program: what fails is listed, and nothing stops the rest.

    python tests/cuda/compare_ops.py --json compare.json                     # on a device
    python tests/cuda/compare_ops.py --kernels emulated --json compare.json  # the same kernels on this processor

The cases are those of tests/ops/cases.py, small and large, in both types, forward and backward. A kernel that reads out
of bounds leaves its process without a device, and one that hangs holds it: each process therefore notes where it is,
and what is left after a crash goes on in a new one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS / "ops"), str(TESTS)]

# Outputs that differ by design: data that the kernels keep for their own backward pass.
KEPT = ("notes", "state", "last")
BOUNDS = {"float32": 1e-5, "float64": 1e-10}
STICKY = 3  # the exit status of a process that has lost its device


def main() -> int:
    options = _parser().parse_args()
    if options.part is not None:
        return work(options)
    deadline = time.monotonic() + options.seconds
    with ThreadPoolExecutor(options.processes) as pool:
        parts = pool.map(lambda part: supervise(part, options, deadline), range(options.processes))
        rows = [row for found in parts for row in found]
    options.json.write_text(json.dumps(rows, indent=1) + "\n")
    wrong = [row for row in rows if row["problem"]]
    for row in sorted(wrong, key=lambda row: row["case"]):
        print(f"{row['case']}: {row['problem']}")
    print(f"{len(rows)} cases, {len(wrong)} differ; written: {options.json}")
    return min(len(wrong), 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", choices=("cuda", "emulated"), default="cuda")
    parser.add_argument("--json", type=Path, default=Path("benchmark-compare-ops.json"))
    parser.add_argument("--processes", type=int, default=min(8, os.cpu_count() or 1))
    parser.add_argument("--seconds", type=float, default=150, help="time for all of it")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--small", action="store_true", help="leave the large cases out")
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    return parser


def supervise(part: int, options: argparse.Namespace, deadline: float) -> list[dict[str, Any]]:
    """The rows of this share of the cases, from as many processes as it takes."""
    rows: list[dict[str, Any]] = []
    start = 0
    while time.monotonic() < deadline:
        command = [sys.executable, __file__, "--part", str(part), "--start", str(start), "--only", options.only]
        command += ["--kernels", options.kernels, "--processes", str(options.processes)]
        command += ["--small"] * options.small
        begun = None
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=deadline - time.monotonic())
            output, status, said = done.stdout, done.returncode, done.stderr
        except subprocess.TimeoutExpired as late:
            output, status, said = _text(late.stdout), None, _text(late.stderr)
        for line in output.splitlines():
            entry = json.loads(line)
            if "problem" in entry:
                rows.append(entry)
                begun = None
            else:
                begun = entry
            start = entry["index"] + 1
        if begun is not None:
            what = "out of time" if status is None else f"exit status {status}: {said.strip()[-300:]}"
            rows.append(begun | {"problem": what})
        elif status not in (0, STICKY):
            rows.append({"case": f"part {part}", "index": start, "problem": f"exit status {status}: {said[-500:]}"})
            break
        if status == 0 or status is None:
            break
    return rows


def _text(output: bytes | str | None) -> str:
    return output.decode() if isinstance(output, bytes) else output or ""


def work(options: argparse.Namespace) -> int:
    """Compare this process's share of the cases, a line before and after each."""
    import torch
    from cases import cases
    from cuda_kernels import emulated_cuda, on_device

    torch.set_num_threads(2)
    kernels = on_device if options.kernels == "cuda" else emulated_cuda
    index = -1
    for large in (False, True)[: 1 if options.small else 2]:
        for dtype in (torch.float32, torch.float64):
            for case in cases(dtype, large):
                name = f"{case}{', large' if large else ''}, {str(dtype).removeprefix('torch.')}"
                if options.only not in name:
                    continue
                index += 1
                if index % options.processes != options.part or index < options.start:
                    continue
                row: dict[str, Any] = {"case": name, "index": index}
                print(json.dumps(row), flush=True)
                begin = time.perf_counter()
                try:
                    row |= compare(case, kernels)
                except Exception as error:
                    row["problem"] = f"{type(error).__name__}: {str(error)[:600]}"
                row["seconds"] = round(time.perf_counter() - begin, 3)
                print(json.dumps(row), flush=True)
                if options.kernels == "cuda" and not device_answers():
                    return STICKY
    return 0


def compare(case: Any, kernels: Any) -> dict[str, Any]:
    """The differences, in words, and the error of each output."""
    from cases import evaluate
    from ops_common import scaled_error

    expected = evaluate(case)
    with kernels():
        actual = evaluate(case)
    errors: dict[str, float] = {}
    problems = []
    for name, value in expected.items():
        if name in KEPT:
            continue
        ours = actual[name]
        if ours.shape != value.shape or ours.dtype != value.dtype:
            problems.append(f"{name} is {ours.dtype} {tuple(ours.shape)}, not {value.dtype} {tuple(value.shape)}")
        elif not value.dtype.is_floating_point:
            errors[name] = (ours != value).double().mean().item() if value.numel() else 0.0
            if errors[name]:
                problems.append(f"{name}: {(ours != value).sum().item()} of {value.numel()} differ")
        else:
            if not bool((ours.isfinite() == value.isfinite()).all()):
                problems.append(f"{name}: not finite elsewhere")
            errors[name] = scaled_error(ours.nan_to_num(), value.nan_to_num())
            bound = BOUNDS[str(value.dtype).removeprefix("torch.")]
            if errors[name] >= bound:
                far = ((ours - value).nan_to_num().abs() > bound * value.nan_to_num().abs().max()).sum().item()
                problems.append(f"{name}: off by {errors[name]:.1e} ({far} of {value.numel()})")
    return {"problem": "; ".join(problems), "errors": errors}


def device_answers() -> bool:
    """Whether this process still has its device."""
    import torch

    try:
        torch.cuda.synchronize()
        torch.zeros(1, device="cuda").item()
    except RuntimeError:
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
