"""`lumigrad sdf`, in process, on tiny photographs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from implicit_common import is_watertight
from photo_fit_common import Results, check_interrupted_and_resumed, read_results
from reconstruct_common import ball, write_photos

from lumigrad.cli import main
from lumigrad.fit.sdf import loop
from lumigrad.fit.silhouettes import load_grid
from lumigrad.io import load_image, load_mesh, save_mesh
from lumigrad.scene import Mesh, icosphere

TINY = ["--iterations", "24", "--frames", "2", "--evaluate-every", "8", "--voxels", "24", "--threads", "1"]


def check_results(folder: Path) -> Results:
    return read_results(folder, {"mesh.glb", "grid.npz", "report.html"}, (20, 24, 26), "turntable.gif")


def test_interrupted_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ball is found where it is in the world, its mesh is closed, and the grid has the distances to it."""
    dataset = write_photos(tmp_path / "data", ball(), 9, (41, 40))
    save_mesh(ball(), tmp_path / "truth.ply")
    command = ["sdf", str(dataset), *TINY, "--truth", str(tmp_path / "truth.ply"), "--out"]
    keys = ("iterations", "psnr_db", "ssim", "overlap", "faces", "chamfer")
    whole = check_interrupted_and_resumed(
        command, (loop._Leg, "step"), check_results, keys, tmp_path, monkeypatch, capsys
    )
    assert whole["overlap"] > 0.95
    assert whole["chamfer"] < 0.01
    mesh, grid = load_mesh(tmp_path / "whole" / "mesh.glb"), load_grid(tmp_path / "whole" / "grid.npz")
    assert is_watertight(mesh.faces)
    assert mesh.colors is not None
    assert mesh.colors.std() > 0.05
    assert (mesh.positions.norm(dim=-1) - 0.8).abs().mean() < 0.03
    assert grid.distance(mesh.positions).abs().max() < 1e-5
    centre = grid.distance(mesh.positions.new_zeros(1, 3))
    assert abs(float(centre) + 0.8) < 0.15


def test_photographs_without_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = write_photos(tmp_path / "data", ball(), 5, (16, 16))
    command = ["sdf", str(dataset), *TINY, "--out", str(tmp_path / "out")]
    assert main([*command, "--masks"]) == 2
    assert "none of the 5 photographs has one" in capsys.readouterr().err
    assert main([*command, "--axes", "opencv"]) == 2
    assert "give --axes opengl" in capsys.readouterr().err


def opened() -> Mesh:
    """A ball of radius 1 with a hole at the top, and a small one beside it."""
    large, small = icosphere(3), icosphere(2, radius=0.2)
    large = large.submesh(large.positions[large.faces.long()].mean(1)[:, 1] < 0.9)
    faces = torch.cat([large.faces, small.faces + len(large.positions)])
    return Mesh(torch.cat([large.positions, small.positions + 1.2]), faces)


@pytest.mark.parametrize("largest", [False, True])
def test_mesh(tmp_path: Path, largest: bool) -> None:
    """Holes are closed, and the volume is that of both balls, or of the large one with --largest."""
    save_mesh(opened(), tmp_path / "open.ply")
    out = tmp_path / "out"
    command = ["sdf", str(tmp_path / "open.ply"), "--voxels", "48", "--threads", "1", "--out", str(out)]
    assert main([*command, *(["--largest"] if largest else [])]) == 0
    solid, grid = load_mesh(out / "mesh.glb"), load_grid(out / "grid.npz")
    assert is_watertight(solid.faces)
    numbers = json.loads((out / "metrics.json").read_text())
    expected = 4.189 * (1 if largest else 1 + 0.2**3)
    assert abs(numbers["volume"] - expected) < 0.08  # the hole's cap is flatter than the ball, facets are, too
    assert numbers["faces"] == len(solid.faces)
    near = grid.distance(torch.tensor([[1.2, 1.2, 1.2]])).item()
    assert near > 0.2 if largest else abs(near + 0.2) < 0.05
    if not largest:
        assert numbers["completeness"] < 0.002
    assert load_image(out / "comparison.png").shape == (512, 768, 3)


def test_what_a_mesh_has_no_use_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_mesh(icosphere(1), tmp_path / "ball.ply")
    command = ["sdf", str(tmp_path / "ball.ply"), "--out", str(tmp_path / "out")]
    assert main([*command, "--iterations", "7", "--masks"]) == 2
    assert "--iterations, --masks: expected a folder of photographs" in capsys.readouterr().err
    dataset = write_photos(tmp_path / "data", ball(), 5, (16, 16))
    assert main(["sdf", str(dataset), "--largest", "--out", str(tmp_path / "out")]) == 2
    assert "--largest: expected a mesh" in capsys.readouterr().err
    save_mesh(Mesh(torch.eye(3), torch.tensor([[0, 1, 2]])), tmp_path / "one.ply")
    assert main(["sdf", str(tmp_path / "one.ply"), "--voxels", "16", "--out", str(tmp_path / "out")]) == 2
    assert "it encloses none of 16 voxels" in capsys.readouterr().err
    assert main(["sdf", str(tmp_path / "nowhere.ply"), "--out", str(tmp_path / "out")]) == 2
    assert "there is no such file" in capsys.readouterr().err
