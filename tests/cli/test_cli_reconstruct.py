"""`lumigrad reconstruct` and `lumigrad texture`, in process, on tiny photographs."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from photo_fit_common import Results, check_interrupted_and_resumed, read_results
from reconstruct_common import ball, write_photos, write_room

from lumigrad.cli import main
from lumigrad.fit.fields import HashField
from lumigrad.fit.reconstruct import loop
from lumigrad.fit.reconstruct import scene as fit_of_scene
from lumigrad.io import save_mesh

TINY = ["--iterations", "24", "--frames", "2", "--evaluate-every", "8", "--texture-size", "64", "--threads", "1"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data"), ball(), 9, (40, 40))


def check_results(folder: Path) -> Results:
    return read_results(folder, {"mesh.glb", "report.html"}, (20, 24, 26), "turntable.gif")


def test_interrupted_and_resumed(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_mesh(ball(), tmp_path / "truth.ply")
    truth = ["--truth", str(tmp_path / "truth.ply")]
    command = ["reconstruct", str(dataset), *TINY, "--detail", "0.3", *truth, "--out"]
    keys = ("iterations", "psnr_db", "ssim", "faces", "chamfer", "exposure_spread")
    step = (loop._Leg, "step")
    whole = check_interrupted_and_resumed(command, step, check_results, keys, tmp_path, monkeypatch, capsys)
    assert whole["psnr_db"] > 15  # few photographs: parts of the ball are in none of them
    assert whole["chamfer"] < 0.02
    assert whole["texture_size"] is not None


def test_texture(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A texture is fitted, and a missing photograph is reported."""
    part = write_photos(tmp_path / "data", ball(), 9, (40, 40))
    next((part / "images").iterdir()).unlink()
    save_mesh(ball(), tmp_path / "ball.ply")
    command = ["texture", str(tmp_path / "ball.ply"), str(part), *TINY, "--no-exposure", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert "1 of 9 photographs are missing" in capsys.readouterr().err
    numbers = check_results(tmp_path / "out")
    assert numbers["psnr_db"] > 15
    assert numbers["exposure_spread"] == [0, 0, 0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--axes", "opencv", "--poses", "world-to-camera"], "give --axes opengl --poses camera-to-world"),
        (["--masks"], "none of the 9 photographs has one"),
    ],
)
def test_mistakes(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert main(["reconstruct", str(dataset), *TINY, *options, "--out", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--sweep", "--no-sweep"])
def test_sweep_of_an_object(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert main(["reconstruct", str(dataset), option, "--out", str(tmp_path / "out")]) == 2
    assert f"{option}: expected photographs without masks" in capsys.readouterr().err


def test_wrong_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconstruct", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 2
    assert "no such data set" in capsys.readouterr().err


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A striped ball in a striped room, photographed from within, without masks."""
    return write_room(tmp_path_factory.mktemp("room"), 9, (32, 32))


SMALL = ["--detail", "0.17", *TINY]


def test_scene_interrupted_and_resumed(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Interrupted in the field and again in the surface, results are those of a fit that ran through."""
    monkeypatch.setattr(fit_of_scene, "RAYS", 64)
    command = ["reconstruct", str(scene), *SMALL, "--refine-cameras", "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    whole = check_results(tmp_path / "whole")
    part = [*command, str(tmp_path / "part")]
    for owner in (HashField, loop._Leg):
        with monkeypatch.context() as patch:
            patch.setattr(owner, "step", interrupted_at(12, owner.step))
            assert main(part) == 130
        part = [*command, str(tmp_path / "part"), "--resume"]
        assert "--resume" in capsys.readouterr().err
    assert main(part) == 0
    resumed = check_results(tmp_path / "part")
    keys = ("iterations", "field_steps", "psnr_db", "psnr_refined_db", "faces", "exposure_spread", "camera_shift")
    assert [resumed[key] for key in keys] == [whole[key] for key in keys]
    assert whole["covered"] > 0.7  # of a field after so few steps
    assert whole["camera_shift"] > 0


def interrupted_at(count: int, take: Callable[..., float]) -> Callable[..., float]:
    """Wrap a function so that the process receives a signal at its n-th call."""
    calls = []

    def step(*arguments: object) -> float:
        calls.append(1)
        if len(calls) == count:
            signal.raise_signal(signal.SIGTERM)
        return take(*arguments)

    return step


def test_scene_mistakes(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cameras in another convention, and a truth in another place, are reported."""
    command = ["reconstruct", str(scene), *SMALL, "--out", str(tmp_path)]
    assert main([*command, "--axes", "opencv"]) == 2
    assert "give --axes opengl" in capsys.readouterr().err
