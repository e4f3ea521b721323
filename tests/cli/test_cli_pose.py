"""`lumigrad pose`, in process, on small renders."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from lumigrad.cli import main
from lumigrad.io import load_image, load_mesh, save_image, save_mesh
from lumigrad.render import render_mesh
from lumigrad.scene import PerspectiveCamera, creature, rotation_angle

AZIMUTHS = (40.0, 46.0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mesh, a video of two frames in front of noise, and its masks."""
    monkeypatch.chdir(tmp_path)
    save_mesh(creature(3), "mesh.glb")
    mesh = load_mesh("mesh.glb")
    (tmp_path / "frames").mkdir()
    (tmp_path / "masks").mkdir()
    for number, camera in enumerate(cameras()):
        shot = render_mesh(mesh, camera)
        save_image(shot.over(torch.rand(1, 80, 100, 3))[0], f"frames/{number}.png")
        save_image(shot.mask[0].expand(-1, -1, 3), f"masks/{number}.png")
    return tmp_path


def cameras() -> list[PerspectiveCamera]:
    return [PerspectiveCamera.orbit(azimuth, 15.0, 5.0, 35.0, (80, 100)) for azimuth in AZIMUTHS]


def error_of(values: dict[str, list[list[float]]], camera: PerspectiveCamera) -> float:
    matrix = torch.tensor(values["object_to_camera"])
    return math.degrees(rotation_angle(matrix[:3, :3], camera.world_to_camera[:3, :3]))


def test_one_photograph(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["pose", "mesh.glb", "frames/0.png", "--mask", "masks/0.png", "--views", "80", "--out", "out"]
    assert main([*command, "--fov", "35"]) == 0
    assert "1 pose in " in capsys.readouterr().out
    values = json.loads(Path("out/pose.json").read_text())
    assert error_of(values, cameras()[0]) < 0.7
    assert "x right, y up" in values["convention"]
    metrics = json.loads(Path("out/metrics.json").read_text())
    assert metrics["overlap"] > 0.95
    assert metrics["doubts"] == []
    assert load_image("out/overlay.png").shape == (80, 100, 3)
    # The same camera in pixels, searched around what was found.
    focal = float(cameras()[0].fx)
    arguments = ["--intrinsics", f"{focal},{focal},50,40", "--start", "out/pose.json", "--within", "20"]
    assert main([*command, *arguments]) == 0
    again = json.loads(Path("out/pose.json").read_text())
    assert error_of(again, cameras()[0]) < 0.7


def test_video(folder: Path) -> None:
    command = ["pose", "mesh.glb", "--video", "frames", "--mask", "masks", "--fov", "35", "--views", "80"]
    assert main([*command, "--out", "out"]) == 0
    values = json.loads(Path("out/pose.json").read_text())
    assert [error_of(frame, camera) < 0.7 for frame, camera in zip(values["frames"], cameras())] == [True, True]
    assert Path("out/overlay.gif").stat().st_size > 1000
    assert len(json.loads(Path("out/metrics.json").read_text())["frames"]) == 2


def test_doubts_name_their_frames(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If half of the object is hidden in the second frame, the warning names that frame."""
    mask = load_image("masks/1.png")
    save_image(mask * (torch.arange(100) < 48)[:, None], "masks/1.png")
    command = ["pose", "mesh.glb", "--video", "frames", "--mask", "masks", "--fov", "35", "--views", "80"]
    assert main([*command, "--out", "out"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert said
    assert all(line.startswith("lumigrad: warning: 1.png: ") for line in said)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mesh.glb", "--fov", "35"], "expected a photograph, or --video FOLDER"),
        (["mesh.glb", "frames/0.png", "--video", "frames", "--fov", "35"], "expected a photograph, or --video FOLDER"),
        (["mesh.glb", "none.png", "--fov", "35"], "no such image: none.png"),
        (["none.obj", "frames/0.png", "--fov", "35"], "none.obj"),
        (["mesh.glb", "frames/0.png", "--fov", "35"], "mask: expected one, since the image's border"),
        (["mesh.glb", "frames/0.png", "--mask", "small.png", "--fov", "35"], "mask: expected shape [80, 100]"),
        (["mesh.glb", "--video", "nowhere", "--fov", "35"], "--video: no such folder: nowhere"),
        (["mesh.glb", "--video", "empty", "--fov", "35"], "--video: no images in empty"),
        (["mesh.glb", "--video", "frames", "--mask", "some", "--fov", "35"], "--mask: some has no mask for 1.png"),
        (["mesh.glb", "frames/0.png", "--fov", "35", "--start", "bad.json"], "--start: expected a pose.json"),
    ],
)
def test_wrong_input(folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    (folder / "empty").mkdir()
    (folder / "some").mkdir()
    save_image(torch.ones(8, 8, 3), "some/0.png")
    save_image(torch.ones(8, 8, 3), "small.png")
    Path("bad.json").write_text('{"frames": []}')
    assert main(["pose", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", ["1,2,3", "0,1,2,3", "a,b,c,d", "nan,1,2,3"])
def test_wrong_intrinsics(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["pose", "mesh.glb", "photo.png", "--intrinsics", text])
    assert "expected fx,fy,cx,cy in pixels" in capsys.readouterr().err
