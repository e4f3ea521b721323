"""The examples run, and say what they should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ops_common import SOURCE

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run(name: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_compare_gradients(tmp_path: Path) -> None:
    """Forty steps bring every method nearer to the shape."""
    table = run("compare_gradients.py", "--steps", 40, "--figure", tmp_path / "figure.png").splitlines()
    rows = {line.split()[0]: [float(v) for v in line.split()[1:]] for line in table[1:-1]}
    assert {"antialias", "edge", "nmr", "opendr", "splat", "softras", "dibr"} <= set(rows)
    for _, start, error, _ in rows.values():
        assert error < 0.7 * start
    assert (tmp_path / "figure.png").stat().st_size > 10_000
