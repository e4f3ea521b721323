"""`lumigrad view`: the files that it finds and the pictures that it draws. tests/view tests the page."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest
import torch
from reconstruct_common import ball, write_photos

from lumigrad.cli import main, view
from lumigrad.cli.errors import UserError
from lumigrad.cli.shown import ShownShapes, shown_of
from lumigrad.io import save_mesh
from lumigrad.scene import Mesh, PerspectiveCamera, icosphere


def options(*given: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    view.add_arguments(parser)
    return parser.parse_args([*map(str, given)])


CAMERA = PerspectiveCamera.orbit(torch.tensor(30.0, dtype=torch.float64), 20.0, 3.0, 45.0, (24, 32), near=1.0, far=5.0)


def test_every_shading_of_a_mesh(tmp_path: Path) -> None:
    save_mesh(icosphere(2), tmp_path / "ball.ply")
    shown = ShownShapes(options(tmp_path / "ball.ply"), [tmp_path / "ball.ply"], None)
    assert shown.shadings[0] == "diffuse"
    assert "pbr" in shown.shadings
    assert shown.ball.radius == pytest.approx(1.0)
    for shading in shown.shadings:
        image, _ = shown.draw(CAMERA, shading)
        assert image.shape == (24, 32, 3)
        assert image.isfinite().all()
        assert (image[12, 16] - image[0, 0]).abs().max() > 0.02, shading  # the ball is not the background


def test_files_that_change_are_read_again(tmp_path: Path) -> None:
    file = tmp_path / "mesh.ply"
    save_mesh(icosphere(2), file)
    shown = ShownShapes(options(file), [file], None)
    before, _ = shown.draw(CAMERA, "ids")
    assert not shown.changed()
    ball = icosphere(2)
    save_mesh(Mesh(0.3 * ball.positions + torch.tensor([0.0, 0.9, 0.0]), ball.faces), file)
    os.utime(file, (1e9, 1e9))
    assert shown.changed()
    shown.read_again()
    after, _ = shown.draw(CAMERA, "ids")
    assert not shown.changed()
    assert not torch.equal(before, after)
    file.write_bytes(file.read_bytes()[:50])  # incomplete, as during writing
    with pytest.warns(UserWarning, match="not read again"):
        shown.read_again()
    torch.testing.assert_close(shown.draw(CAMERA, "ids")[0], after)


def test_folders(tmp_path: Path) -> None:
    """Results of a fit come before the data set that may be beside them."""
    data = write_photos(tmp_path / "data", ball(), 3, (16, 16))
    files, photos = view._found([data], None)
    assert files == []
    assert photos is not None
    assert len(photos) == 3
    with pytest.raises(UserError, match="no points"):
        ShownShapes(options(data), files, photos)
    run = tmp_path / "run"
    run.mkdir()
    save_mesh(icosphere(1), run / "mesh.glb")
    files, photos = view._found([run], data)
    assert files == [run / "mesh.glb"]
    assert photos is not None
    thumbnail = view._photograph(photos, 0)
    assert thumbnail is not None
    assert thumbnail.shape == (16, 16, 3)
    with pytest.raises(UserError, match="one data set"):
        view._found([data], data)


def test_options_that_have_no_effect_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_mesh(icosphere(1), tmp_path / "ball.ply")
    ball = str(tmp_path / "ball.ply")
    assert main(["view", ball, "--shading", "unlit", "--exposure", "1", "--no-browser"]) == 2
    assert main(["view", ball, "--environment", str(tmp_path / "none.hdr"), "--no-browser"]) == 2
    said = capsys.readouterr().err
    assert "need --shading pbr" in said
    assert "none.hdr" in said
    shown = ShownShapes(options(ball, "--light", "1,0,0,5"), [tmp_path / "ball.ply"], None)
    assert shown.shadings[0] == "pbr"


def test_wrong_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(tmp_path / "none.obj"), "--no-browser"]) == 2
    assert main(["view", str(tmp_path), "--no-browser"]) == 2
    said = capsys.readouterr().err
    assert "none.obj" in said
    assert "no results of a fit" in said


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a short fit of a field."""
    folder = tmp_path_factory.mktemp("field")
    data = write_photos(folder / "data", ball(), 4, (16, 16))
    few = ["--iterations", "2", "--frames", "2", "--kind", "voxels", "--voxels", "8", "--boxes", "2"]
    assert main(["field", str(data), *few, "--out", str(folder)]) == 0
    return folder


def test_fields(field: Path, tmp_path: Path) -> None:
    files, photos = view._found([field], None)
    assert files == [field / "field.npz"]
    shown = shown_of(options(field), files, photos)
    assert shown.shadings == ("colors", "depth")
    assert shown.first is not None
    for shading in shown.shadings:
        image, depth = shown.draw(CAMERA, shading)
        assert image.shape == (24, 32, 3)
        assert image.isfinite().all()
        assert depth is not None
        assert depth.shape == (24, 32)
    assert float(shown.up[1]) > 0.9


def test_what_does_not_go_with_a_field(field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_mesh(icosphere(1), tmp_path / "ball.ply")
    (tmp_path / "other.npz").write_bytes(b"none")
    for given, message in (
        ([field, "--light", "1,0,0"], "options of surfaces and lights do not apply"),
        ([field, tmp_path / "ball.ply"], "a field is shown alone"),
        ([tmp_path / "other.npz"], "not a field written by lumigrad"),
    ):
        assert main(["view", *map(str, given), "--no-browser"]) == 2
        assert message in capsys.readouterr().err
