"""Shared by the tests of commands that fit photographs."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from lumigrad.cli import main
from lumigrad.io import load_image

Results = dict[str, Any]


def read_results(folder: Path, names: set[str], decibels: Sequence[int], film: str = "fly_through.gif") -> Results:
    """The metrics of a run, of which everything has been written: these files too, and when so many dB were reached."""
    names = names | {"metrics.json", "comparison.png", film, "state.pt"}
    assert names <= {path.name for path in folder.iterdir()}
    metrics: Results = json.loads((folder / "metrics.json").read_text())
    for key in ("psnr_db", "ssim", "seconds", "seconds_per_iteration"):
        assert metrics[key] > 0
    assert {f"seconds_to_{number}_db" for number in decibels} <= metrics.keys()
    assert load_image(folder / "comparison.png").std() > 0.05
    return metrics


def check_interrupted_and_resumed(
    command: Sequence[str],
    step: tuple[object, str],
    check_results: Callable[[Path], Results],
    keys: Sequence[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Results:
    """Run a command of 24 iterations on nine photographs whole, and again, interrupted in the twelfth and resumed.

    Args:
        command: up to --out.
        step: where the function lies that takes a step, and its name.
        check_results: of a folder, which returns its metrics.
        keys: of the metrics that must be the same.
        folder: gets the results in `whole` and `part`.

    Returns:
        The metrics of the run that was not interrupted.
    """
    assert main([*command, str(folder / "whole")]) == 0
    whole = check_results(folder / "whole")
    assert [row["iteration"] for row in whole["curve"]] == [8, 16, 24]

    take, calls = getattr(*step), []

    def interrupted(*arguments: object) -> float:
        calls.append(1)
        if len(calls) == 12:
            signal.raise_signal(signal.SIGTERM)
        return float(take(*arguments))

    monkeypatch.setattr(*step, interrupted)
    part = folder / "part"
    assert main([*command, str(part)]) == 130
    said = capsys.readouterr()
    assert "--resume" in said.err
    assert "9 photographs in" in said.out
    assert torch.load(part / "state.pt", weights_only=True)["state"]["iteration"] == 12
    assert not (part / "metrics.json").exists()

    assert main([*command, str(part), "--resume", "--seed", "1"]) == 2
    assert "seed was 0, now 1" in capsys.readouterr().err
    assert main([*command, str(part), "--resume"]) == 0
    resumed = check_results(part)
    for key in keys:
        assert resumed[key] == whole[key]
    return whole
