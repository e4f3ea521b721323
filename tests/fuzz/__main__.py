"""The command: `python -m tests.fuzz --calls 100000 --seed 0`, and `--replay OP:SEED` for a case that failed."""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "ops")]

from fuzz.isolate import Name, run  # noqa: E402
from fuzz.registry import OPS  # noqa: E402

try:
    from tqdm import tqdm
except ImportError:
    tqdm = None

PROGRESS = 5000  # calls from line to line where there is no bar


def main() -> int:
    arguments = _arguments()
    if arguments.replay:
        names: list[Name] | Iterator[Name] = arguments.replay
        total = len(arguments.replay)
    else:
        names, total = _names(arguments.op or OPS, arguments.seed, arguments.calls), arguments.calls
    until = time.monotonic() + 60 * arguments.minutes
    bar = tqdm(total=total, unit=" calls", smoothing=0.01, disable=None) if tqdm else None
    calls = faults = 0
    for outcome in run(names):
        calls += 1
        if outcome.fault is not None:
            faults += 1
            write = bar.write if bar else print
            write(f"\n{outcome.fault}\n  python -m tests.fuzz --replay {shlex.quote(str(outcome.name))}")
        if bar:
            bar.update()
        if calls % PROGRESS == 0 and (bar is None or bar.disable):
            print(f"{calls} of {total} calls, {faults} faults", file=sys.stderr)
        if time.monotonic() > until or faults >= arguments.faults:
            break
    if bar:
        bar.close()
    print(f"{calls} calls, {faults} faults")
    return 1 if faults else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Random calls of the ops.")
    parser.add_argument("--calls", type=int, default=100_000, help="how many calls, of all ops together")
    parser.add_argument("--seed", type=int, default=0, help="the first number; a run with the next one is other calls")
    parser.add_argument("--op", action="append", choices=OPS, metavar="NAME", help=f"only this, of {', '.join(OPS)}")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--faults", type=int, default=100, help="stop after this many faults")
    parser.add_argument("--replay", action="append", type=Name.read, metavar="OP:SEED", help="this case alone")
    return parser.parse_args()


def _names(ops: list[str], seed: int, calls: int) -> Iterator[Name]:
    """The ops in turn, with the numbers that belong to a seed."""
    numbers = itertools.count(seed * 10**9)
    return itertools.islice((Name(op, number) for number in numbers for op in ops), calls)


if __name__ == "__main__":
    sys.exit(main())
