"""`--live`: the page of a fit, which does not change the fit."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from dataset_common import ring, write_transforms

from lumigrad.cli import live, main
from lumigrad.io import save_mesh
from lumigrad.scene import PerspectiveCamera, icosphere
from lumigrad.view import Viewer

pytest.importorskip("viser")


class Watched(Viewer):
    """A page with a connected browser, which records what it has shown."""

    pictures: list[torch.Tensor]

    def __init__(self, draw: Any, *others: Any, **options: Any) -> None:
        super().__init__(draw, *others, **options)
        type(self).pictures = []
        self.show(draw)
        with urllib.request.urlopen(self.address, timeout=20) as page:
            assert page.status == 200

    watched = property(lambda self: True)

    def show(self, draw: Any, centre: Any = None, radius: Any = None) -> None:
        super().show(draw, centre, radius)
        camera = PerspectiveCamera.orbit(torch.tensor(30.0, dtype=torch.float64), 20.0, 3.0, 45.0, (16, 20))
        self.pictures.append(draw(camera, "colors")[0])


@pytest.fixture(autouse=True)
def looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patch the page so that every step is shown."""
    monkeypatch.setattr(live, "Viewer", Watched)
    monkeypatch.setattr(live, "_PAUSE", 0.0)
    monkeypatch.setattr(live, "_SHARE", 1e9)


def test_a_fit_to_photographs_is_shown_and_stays_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_transforms(tmp_path / "data", ring(5, (24, 32)))
    command = ["splat", str(data), "--iterations", "6", "--points", "60", "--frames", "2", "--degree", "0", "--out"]
    assert main([*command, str(tmp_path / "alone")]) == 0
    assert main([*command, str(tmp_path / "shown"), "--live", "18510"]) == 0
    assert "splat is shown at http://127.0.0.1:185" in capsys.readouterr().err
    files = [tmp_path / name / "gaussians.ply" for name in ("alone", "shown")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(Watched.pictures) == 7  # the first state, and one after each step
    assert not torch.equal(Watched.pictures[0], Watched.pictures[-1])


def test_a_fit_of_a_mesh_is_shown(tmp_path: Path) -> None:
    save_mesh(icosphere(2), tmp_path / "ball.ply")
    sizes = ["--size", "32", "--views", "3", "--test-views", "2", "--texture-size", "64", "--effort", "0.02"]
    command = ["fit", str(tmp_path / "ball.ply"), *sizes, "--detail", "0.3", "--frames", "2", "--out", str(tmp_path)]
    assert main([*command, "--live", "18520"]) == 0
    assert len(Watched.pictures) > 3
    assert all(picture.shape == (16, 20, 3) for picture in Watched.pictures)


def test_ports(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "ball.ply", "--live", "0"])
    assert "argument --live: expected a number from 1 to 65535, got 0" in capsys.readouterr().err
