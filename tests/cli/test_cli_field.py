"""`lumigrad field`, in process, on tiny photographs."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path

import pytest
import torch
from dataset_common import ring, write_transforms

from lumigrad.cli import main
from lumigrad.fit.fields import Voxels
from lumigrad.io import load_image

TINY = [
    "--kind",
    "voxels",
    "--iterations",
    "24",
    "--voxels",
    "16",
    "--boxes",
    "2",
    "--rays",
    "60",
    "--frames",
    "2",
    "--evaluate-every",
    "8",
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_transforms(tmp_path_factory.mktemp("data"), ring(9, (40, 48)))


def check_results(folder: Path) -> dict:
    names = {"metrics.json", "comparison.png", "fly_through.gif", "state.pt"}
    assert names <= {path.name for path in folder.iterdir()}
    metrics = json.loads((folder / "metrics.json").read_text())
    for key in ("psnr_db", "ssim", "seconds", "seconds_per_iteration"):
        assert metrics[key] > 0
    assert {"seconds_to_20_db", "seconds_to_24_db", "seconds_to_26_db"} <= metrics.keys()
    assert load_image(folder / "comparison.png").std() > 0.05
    return metrics


def test_interrupted_and_resumed(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["field", str(dataset), *TINY, "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    whole = check_results(tmp_path / "whole")
    assert [row["iteration"] for row in whole["curve"]] == [8, 16, 24]
    assert whole["parameters"] == [[16, 16, 16, 4], [12, 12, 12, 4]]

    step, calls = Voxels.step, []

    def interrupted(*arguments: object) -> float:
        calls.append(1)
        if len(calls) == 12:
            signal.raise_signal(signal.SIGTERM)
        return step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Voxels, "step", interrupted)
    part = tmp_path / "part"
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
    for key in ("iterations", "psnr_db", "ssim", "parameters"):
        assert resumed[key] == whole[key]


def test_minutes_and_options(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--kind",
        "voxels",
        "--minutes",
        "0.005",
        "--voxels",
        "12",
        "--boxes",
        "1",
        "--degree",
        "1",
        "--frames",
        "2",
    ]
    command = [
        "field",
        str(dataset),
        *options,
        "--smoothness",
        "0",
        "--downscale",
        "2",
        "--transparent",
        "--out",
        str(tmp_path),
    ]
    assert main(command) == 0
    found = check_results(tmp_path)
    assert found["image_size"] == [20, 24]
    assert found["parameters"] == [[12, 12, 12, 13]]
    assert torch.load(tmp_path / "state.pt", weights_only=True)["settings"]["opaque"] is False
    output = capsys.readouterr()
    assert f"--minutes 0.005 ended the fit after {found['iterations']} of" in output.err
    assert "1728 voxels" in output.out


def test_hash_field(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is fitted without --kind."""
    assert (
        main(["field", str(dataset), "--iterations", "4", "--rays", "30", "--frames", "2", "--out", str(tmp_path)]) == 0
    )
    found = check_results(tmp_path)
    assert found["iterations"] == 4
    count = sum(math.prod(shape) for shape in found["parameters"])
    assert f"{count} parameters" in capsys.readouterr().out
    assert torch.load(tmp_path / "state.pt", weights_only=True)["settings"]["kind"] == "hash"


def test_mistakes_are_told(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert main(["field", str(tmp_path / "none"), *out]) == 2
    assert "no such data set" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()  # nothing is left behind
    assert main(["field", str(dataset), *TINY, *out, "--resume"]) == 2
    assert "no state to go on from" in capsys.readouterr().err
    for option, value, message in (("--kind", "clouds", "invalid choice"), ("--voxels", "2", "from 8 to 1024")):
        with pytest.raises(SystemExit):
            main(["field", str(dataset), option, value])
        assert message in capsys.readouterr().err
