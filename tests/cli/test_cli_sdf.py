"""`lumigrad sdf`, in process, on tiny photographs."""

from __future__ import annotations

from pathlib import Path

import pytest
from implicit_common import is_watertight
from photo_fit_common import Results, check_interrupted_and_resumed, read_results
from reconstruct_common import ball, write_photos

from lumigrad.cli import main
from lumigrad.fit.sdf import loop
from lumigrad.fit.silhouettes import load_grid
from lumigrad.io import load_mesh, save_mesh

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
