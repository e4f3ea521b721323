"""`lumigrad splat`, in process, on tiny photographs."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from dataset_common import ring, write_colmap, write_transforms

from lumigrad._engine import cuda as engine_cuda
from lumigrad.cli import main
from lumigrad.fit.splats import loop
from lumigrad.io import load_gaussians, load_image, load_points

TINY = ["--iterations", "24", "--points", "120", "--frames", "2", "--degree", "1", "--evaluate-every", "8"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_transforms(tmp_path_factory.mktemp("data"), ring(9, (40, 48)))


def check_results(folder: Path, kind: str = "gaussians") -> dict:
    names = {"metrics.json", f"{kind}.ply", "comparison.png", "fly_through.gif", "state.pt"}
    assert names <= {path.name for path in folder.iterdir()}
    metrics = json.loads((folder / "metrics.json").read_text())
    for key in ("psnr_db", "ssim", "seconds", "seconds_per_iteration"):
        assert metrics[key] > 0
    assert {"seconds_to_20_db", "seconds_to_22_db", "seconds_to_24_db"} <= metrics.keys()
    assert load_image(folder / "comparison.png").std() > 0.05
    return metrics


def test_interrupted_and_resumed(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["splat", str(dataset), *TINY, "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    whole = check_results(tmp_path / "whole")
    assert len(load_gaussians(tmp_path / "whole" / "gaussians.ply")) == whole["primitives"]
    assert [row["iteration"] for row in whole["curve"]] == [8, 16, 24]

    step, calls = loop._step, []

    def interrupted(*arguments: object) -> float:
        calls.append(1)
        if len(calls) == 12:
            signal.raise_signal(signal.SIGTERM)
        return step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "_step", interrupted)
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
    for key in ("iterations", "psnr_db", "ssim", "primitives"):
        assert resumed[key] == whole[key]
    assert (part / "gaussians.ply").read_bytes() == (tmp_path / "whole" / "gaussians.ply").read_bytes()


def test_spheres_mcmc_and_minutes(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["splat", str(dataset), *TINY, "--spheres", "--out", str(tmp_path / "a")]) == 0
    assert check_results(tmp_path / "a", "spheres")["primitives"] == len(load_points(tmp_path / "a" / "spheres.ply"))
    options = ["--minutes", "0.005", "--points", "100", "--frames", "2", "--strategy", "mcmc", "--downscale", "2"]
    assert main(["splat", str(dataset), *options, "--out", str(tmp_path / "b")]) == 0
    assert check_results(tmp_path / "b")["image_size"] == [20, 24]
    steps = check_results(tmp_path / "b")["iterations"]
    assert f"--minutes 0.005 ended the fit after {steps} of 4000 steps" in capsys.readouterr().err


def test_devices(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(engine_cuda, "_opened", None)
    command = ["splat", str(dataset), *TINY, "--out", str(tmp_path)]
    assert main([*command, "--device", "cuda"]) == 2
    assert "--device cuda: this torch finds no CUDA device" in capsys.readouterr().err
    assert main([*command, "--device", "cpu"]) == 0
    assert check_results(tmp_path)["device"] == "cpu"
    assert torch.load(tmp_path / "state.pt", weights_only=True)["settings"]["device"] == "cpu"


def test_mistakes_are_told(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert main(["splat", str(tmp_path / "none"), *out]) == 2
    assert "no such data set" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()  # nothing is left behind
    assert main(["splat", str(dataset), *TINY, *out, "--reduce", "6"]) == 2
    assert "001.png: 8 x 6 pixels are less than 8 rows or columns" in capsys.readouterr().err
    assert main(["splat", str(dataset), *TINY, *out, "--resume"]) == 2
    assert "no state to go on from" in capsys.readouterr().err
    damaged = write_colmap(tmp_path / "colmap", ring(3), True)
    (damaged / "sparse" / "0" / "images.bin").write_bytes(b"\3")
    assert main(["splat", str(damaged), *out]) == 2
    assert "images.bin: cut short" in capsys.readouterr().err


def test_which_photographs(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["splat", str(dataset), *TINY, "--iterations", "1", "--out", str(tmp_path / "out")]
    (tmp_path / "test.txt").write_text("000.png\n003.png\n005.png\n")
    assert main([*command, "--test", str(tmp_path / "test.txt")]) == 0
    assert "9 photographs in" in (said := capsys.readouterr().out)
    assert "6 to fit, 3 held out" in said
    shutil.copytree(dataset, tmp_path / "copy")
    (tmp_path / "copy" / "images").rename(tmp_path / "copy" / "elsewhere")
    (tmp_path / "copy" / "elsewhere" / "001.png").unlink()
    command[1] = str(tmp_path / "copy")
    assert main([*command, "--images", "elsewhere", "--test", "4"]) == 0
    output = capsys.readouterr()
    assert "8 photographs in" in output.out
    assert "2 held out" in output.out
    warning = next(line for line in output.err.splitlines() if "warning" in line)
    assert warning.startswith("lumigrad: warning: ")
    assert "1 of 9 photographs are missing and left out" in warning
    mistakes = ((["none"], "no such folder"), (["elsewhere", "--test", "none.txt"], "a file with a name"))
    for options, message in mistakes:
        assert main([*command, "--images", *options]) == 2
        assert message in capsys.readouterr().err
