"""`lumigrad materials`, in process, on tiny photographs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from photo_fit_common import Results, check_interrupted_and_resumed, read_results
from reconstruct_common import ball, write_photos

from lumigrad.cli import main
from lumigrad.fit.materials import loop
from lumigrad.io import load_image, load_mesh, save_image, save_mesh
from lumigrad.scene import PBRMaterial

TINY = ["--iterations", "24", "--frames", "2", "--evaluate-every", "8", "--texture-size", "64", "--threads", "1"]
SMALL = [*TINY, "--light-size", "4"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs, the mesh, the same mesh with materials, and photographs in a light that is known."""
    folder = write_photos(tmp_path_factory.mktemp("data"), ball(), 9, (40, 40))
    save_mesh(ball(), folder / "ball.ply")
    save_mesh(replace(ball(), colors=None, materials=(PBRMaterial(roughness=0.7),)), folder / "truth.glb")
    other = write_photos(folder / "relit", ball(), 2, (40, 40))
    save_image(torch.full((8, 16, 3), 0.5), other / "environment.npy")
    material = (PBRMaterial(roughness=0.7),)
    away = replace(ball(), positions=ball().positions + 50, colors=None, materials=material)
    save_mesh(away, folder / "away.glb")
    away_photos = write_photos(folder / "relit-away", ball(), 2, (40, 40))
    document = json.loads((away_photos / "transforms.json").read_text())
    for frame in document["frames"]:
        frame["transform_matrix"][0][3] += 50
    (away_photos / "transforms.json").write_text(json.dumps(document))
    save_image(torch.full((8, 16, 3), 0.5), away_photos / "environment.npy")
    return folder


def check_results(folder: Path) -> Results:
    names = {"mesh.glb", "report.html", "environment.exr", "environment.png", "relit.png", "relit_photographs.png"}
    return read_results(folder, names, (20, 24, 26), "turntable.gif")


def test_interrupted_and_resumed(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    against = ["--truth", str(dataset / "truth.glb"), "--relit", str(dataset / "relit")]
    command = ["materials", str(dataset / "ball.ply"), str(dataset), *SMALL, *against, "--out"]
    keys = ("iterations", "psnr_db", "ssim", "base_color_error", "roughness_error", "relit_psnr_db", "mean_light")
    step = (loop._Step, "__call__")
    whole = check_interrupted_and_resumed(command, step, check_results, keys, tmp_path, monkeypatch, capsys)
    assert whole["psnr_db"] > 12
    assert whole["exposure_spread"] == [0, 0, 0]
    material = load_mesh(tmp_path / "whole" / "mesh.glb").materials[0]
    assert isinstance(material, PBRMaterial)
    packed = material.metallic_roughness_texture
    assert packed is not None
    assert material.occlusion_texture is not None
    assert abs(float(packed[..., 1].mean()) - whole["mean_roughness"]) < 0.1  # roughness is green, metallic blue
    assert abs(float(packed[..., 2].mean()) - whole["mean_metallic"]) < 0.1
    light = load_image(tmp_path / "whole" / "environment.exr")
    assert light.shape == (8, 16, 3)
    assert abs(float(light.mean()) / (sum(whole["mean_light"]) / 3) - 1) < 0.2


def test_traced_with_all_options(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--light", "traced", "--samples", "1", "--bounces", "2", "--normal-map", "--exposure", "--albedo", "0.5"]
    out = tmp_path / "out"
    command = ["materials", str(dataset / "ball.ply"), str(dataset), *SMALL, "--iterations", "6", *options]
    assert main([*command, "--out", str(out)]) == 0
    numbers = json.loads((out / "metrics.json").read_text())
    assert max(numbers["exposure_spread"]) > 0
    material = load_mesh(out / "mesh.glb").materials[0]
    assert isinstance(material, PBRMaterial)
    assert (material.normal_texture is not None) == numbers["normal_map"]
    said = (
        f"({numbers['psnr_with_normal_map_db']:.2f} dB with it, {numbers['psnr_without_normal_map_db']:.2f} dB without)"
    )
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--samples", "4"], "--samples: has no effect with --light fast; give --light traced"),
        (["--bounces", "2"], "--bounces: has no effect with --light fast"),
        (["--keep-uvs"], "has no texture coordinates"),
        (["--truth", "DATA/ball.ply"], "truth: expected a mesh with materials"),
        (["--truth", "DATA/away.glb"], "truth: no photograph that is held out shows it and the mesh"),
        (["--relit", "DATA/relit-away"], "relit: no photograph shows the mesh"),
        (["--relit", "DATA"], "expected the light of the photographs, as one of environment.exr"),
        (["--relit", "DATA/nowhere"], "no such data set"),
        (["--poses", "world-to-camera"], "expected it in the coordinates of the cameras"),
    ],
)
def test_mistakes(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    given = [option.replace("DATA", str(dataset)) for option in options]
    command = ["materials", str(dataset / "ball.ply"), str(dataset), *SMALL, *given, "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert words in capsys.readouterr().err


def test_photographs_that_do_not_fit(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mesh in another place, a photograph whose shape differs from its camera's, and no photographs are refused."""
    mesh = ball()
    save_mesh(replace(mesh, positions=mesh.positions + 50), tmp_path / "far.ply")
    out = ["--out", str(tmp_path / "out")]
    assert main(["materials", str(tmp_path / "far.ply"), str(dataset), *SMALL, *out]) == 2
    assert "mesh: it fills 0 % of the masks" in capsys.readouterr().err

    shutil.copytree(dataset, tmp_path / "data")
    first = sorted((tmp_path / "data" / "images").iterdir())[1]
    save_image(torch.rand(40, 60, 4), first)
    assert main(["materials", str(dataset / "ball.ply"), str(tmp_path / "data"), *SMALL, *out]) == 2
    assert f"{first.name}: 60 x 40 pixels, but its camera has 40 x 40" in capsys.readouterr().err

    for path in (tmp_path / "data" / "images").iterdir():
        path.unlink()
    assert main(["materials", str(dataset / "ball.ply"), str(tmp_path / "data"), *SMALL, *out]) == 2
    assert "photographs" in capsys.readouterr().err
