"""`lumigrad capture`, in process, on a tiny recording."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from capture_common import small_rig

from lumigrad.cli import capture, main
from lumigrad.fit.capture import CaptureJob, CaptureOptions, loop

TINY = ["--iterations", "8", "--frames", "2", "--evaluate-every", "4", "--texture-size", "32", "--threads", "1"]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_rig(tmp_path_factory.mktemp("data"))


def test_interrupted_and_resumed(
    rig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["capture", str(rig), *TINY, "--widths", "4,4,4", "--truth", str(rig / "truth"), "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    said = capsys.readouterr().out
    assert "3 frames of 1 sequences from 2 cameras" in said
    assert "error of vertices" in said
    whole = json.loads((tmp_path / "whole" / "metrics.json").read_text())

    take, done = loop._Steps.take, []

    def interrupted(self: loop._Steps, progress: float) -> float:
        done.append(progress)
        if len(done) == 3:
            import signal

            signal.raise_signal(signal.SIGTERM)
        return take(self, progress)

    monkeypatch.setattr(loop._Steps, "take", interrupted)
    assert main([*command, str(tmp_path / "parts")]) == 130
    assert "--resume continues" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "parts"), "--resume"]) == 0
    parts = json.loads((tmp_path / "parts" / "metrics.json").read_text())
    for name in ("iterations", "psnr_db", "vertex_mm", "motion_mm_by_frame", "contrast"):
        assert parts[name] == whole[name], name
    assert main([*command, str(tmp_path / "parts"), "--resume", "--laplacian", "1"]) == 2
    assert "laplacian was 3.0, now 1.0" in capsys.readouterr().err


def test_quick_without_maps(rig: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--quick", "--no-maps", "--rigid", "none", "--high-pass", "0", "--downscale", "2"]
    assert main(["capture", str(rig), *TINY, *options, "--out", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    assert numbers["image_size"] == [12, 12]
    assert "vertex_mm" not in numbers


def test_quick_is_used(rig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--quick sets its own defaults, which options override; without it, the defaults are those of whole fits."""
    prepared = []

    def note(arguments: object, prepare: Callable[[torch.device], CaptureJob], *rest: object) -> int:
        prepared.append(prepare(torch.device("cpu")).options)
        return 0

    monkeypatch.setattr(capture, "fit_and_report", note)
    for options in ([], ["--quick"], ["--quick", "--iterations", "7", "--widths", "4,5,6"]):
        assert main(["capture", str(rig), *options, "--out", str(tmp_path)]) == 0
    assert prepared[0] == CaptureOptions(iterations=5000, widths=(64, 64, 64), texture_size=1024)
    assert prepared[1] == CaptureOptions(iterations=500, widths=(32, 32, 32), texture_size=256)
    assert prepared[2] == CaptureOptions(iterations=7, widths=(4, 5, 6), texture_size=256)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--downscale", "5"], "less than 8 rows"),
        (["--truth", "nowhere"], "no positions of sequence0"),
        (["--widths", "4,4,4", "--no-maps"], "--widths: has no effect with --no-maps"),
        (["--blur-factor", "8", "--high-pass", "0"], "--blur-factor: has no effect with --high-pass 0"),
        (["--millimetres", "2"], "--millimetres: has no effect without --truth"),
        (["--widths", "4,4"], "expected three numbers"),
        (["--laplacian", "-1"], "expected a number of at least 0"),
    ],
)
def test_wrong_options(
    rig: Path, tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(["capture", str(rig), *TINY, *options, "--out", str(tmp_path)])
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert words in capsys.readouterr().err
