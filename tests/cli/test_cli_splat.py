"""`lumigrad splat`, in process, on tiny photographs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from dataset_common import ring, write_colmap, write_transforms
from photo_fit_common import Results, check_interrupted_and_resumed, read_results

from lumigrad._engine import cuda as engine_cuda
from lumigrad.cli import main
from lumigrad.fit.splats import loop
from lumigrad.io import load_gaussians, load_points

TINY = ["--iterations", "24", "--points", "120", "--frames", "2", "--degree", "1", "--evaluate-every", "8"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_transforms(tmp_path_factory.mktemp("data"), ring(9, (40, 48)))


def check_results(folder: Path, kind: str = "gaussians") -> Results:
    return read_results(folder, {f"{kind}.ply"}, (20, 22, 24))


def test_interrupted_and_resumed(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["splat", str(dataset), *TINY, "--out"]
    keys = ("iterations", "psnr_db", "ssim", "primitives")
    step = (loop, "_step")
    whole = check_interrupted_and_resumed(command, step, check_results, keys, tmp_path, monkeypatch, capsys)
    files = [tmp_path / run / "gaussians.ply" for run in ("whole", "part")]
    assert len(load_gaussians(files[0])) == whole["primitives"]
    assert files[0].read_bytes() == files[1].read_bytes()


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
    monkeypatch.setattr(engine_cuda, "_cores", {})
    monkeypatch.setattr(engine_cuda, "_missing", None)
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
    assert not (tmp_path / "out").exists()  # no files are left behind
    assert main(["splat", str(dataset), *TINY, *out, "--reduce", "6"]) == 2
    assert "001.png: 8 x 6 pixels are less than 8 rows or columns" in capsys.readouterr().err
    assert main(["splat", str(dataset), *TINY, *out, "--resume"]) == 2
    assert "no state to resume from" in capsys.readouterr().err
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
