"""The examples run, and say what they should."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from ops_common import SOURCE

from lumigrad.io import load_image

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


def numbers(line: str) -> list[float]:
    return [float(word) for word in re.findall(r"\d+\.\d+", line)]


def test_camera_position(tmp_path: Path) -> None:
    """Seventy steps at half the size end near the true place."""
    out = tmp_path / "camera.png"
    said = run("pytorch3d_camera_position.py", "--size", 64, "--steps", 70, "--out", out)
    start, end = numbers(said.splitlines()[0])
    assert start > 1.2
    assert end < 0.2
    assert out.stat().st_size > 1_000


def test_fit_mesh(tmp_path: Path) -> None:
    """A few steps already improve views that were not seen."""
    out = tmp_path / "fit.png"
    said = run("pytorch3d_fit_mesh.py", "--size", 40, "--steps", 25, "--out", out).splitlines()
    (color, overlap), (later_color, later_overlap) = numbers(said[0]), numbers(said[1])
    assert later_color < 0.85 * color
    assert later_overlap > overlap + 0.1
    assert out.stat().st_size > 1_000


def test_textured_mesh(tmp_path: Path) -> None:
    out = tmp_path / "textured.png"
    said = run("pytorch3d_textured_mesh.py", "--size", 64, "--out", out)
    assert 0.3 < numbers(said)[0] < 0.6
    image = load_image(out)
    assert image.shape == (128, 256, 3)
    middle = image[64:, :64][20:44, 20:44]
    assert middle.std() > 0.2  # its colours are there, unlike in the background
    assert (image[:1] - image[0, 0]).abs().max() == 0


def test_neural_shading(tmp_path: Path) -> None:
    """Forty steps: both kinds of spheres come nearer to the photographs, the network by more than nothing."""
    options = ["--iterations", 40, "--size", 48, "--views", 9, "--points", 500, "--limit", 700, "--threads", 1]
    said = run("neural_shading.py", *options, "--out", tmp_path).splitlines()
    written = json.loads((tmp_path / "metrics.json").read_text())
    for name, line in zip(("colours", "neural"), said[-3:-1]):
        row = written[name]
        assert line.startswith(f"{name}: held out {row['psnr_db']:.2f} dB")
        assert row["last_loss"] < 0.8 * row["first_loss"]
        assert row["steps"] == 40
        assert row["psnr_db"] > 10
    assert written["neural"]["psnr_db"] != written["colours"]["psnr_db"]
    assert load_image(tmp_path / "comparison.png").shape == (96, 192, 3)  # two held out, four pictures of each
