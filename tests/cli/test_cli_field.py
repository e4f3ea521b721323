"""`lumigrad field`, in process, on tiny photographs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from dataset_common import ring, write_transforms
from photo_fit_common import Results, check_interrupted_and_resumed, read_results

from lumigrad.cli import main
from lumigrad.fit.fields import Voxels

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


def check_results(folder: Path) -> Results:
    return read_results(folder, {"field.npz"}, (20, 24, 26))


def test_interrupted_and_resumed(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["field", str(dataset), *TINY, "--out"]
    keys = ("iterations", "psnr_db", "ssim", "parameters")
    step = (Voxels, "step")
    whole = check_interrupted_and_resumed(command, step, check_results, keys, tmp_path, monkeypatch, capsys)
    assert whole["parameters"] == [[16, 16, 16, 4], [12, 12, 12, 4]]


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
    """Without --kind, a hash field is fitted."""
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
    assert not (tmp_path / "out").exists()  # no files are left behind
    assert main(["field", str(dataset), *TINY, *out, "--resume"]) == 2
    assert "no state to resume from" in capsys.readouterr().err
    for option, value, message in (("--kind", "clouds", "invalid choice"), ("--voxels", "2", "from 8 to 1024")):
        with pytest.raises(SystemExit):
            main(["field", str(dataset), option, value])
        assert message in capsys.readouterr().err
