"""The experiments on speed run, draw what they say they draw, and resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("experiments", reason="not part of source distributions")

import lumigrad as lg
from benchmarks import meshes
from experiments import depth, speed, triangles

QUICK = ["--quick", "--out"]


@pytest.fixture(autouse=True)
def _one_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, without other libraries, and no longer than it takes."""
    monkeypatch.setattr(speed, "devices", lambda: ["cpu"])
    monkeypatch.setattr(speed, "libraries", lambda device: ["lumigrad"])


def _layers(work: meshes.Workload) -> list[torch.Tensor]:
    """The visible triangles [H, W] of each layer, as deep as anything goes."""
    layers = lg.peel(work.clip, work.mesh.faces, (work.size, work.size), 10)
    found = [frags.tri[0] for frags in layers]
    return [tri for tri in found if (tri >= 0).any()]


@pytest.mark.parametrize("arrangement", depth.ARRANGEMENTS)
def test_grids_cover_the_image_as_often_as_they_say(arrangement: str) -> None:
    layers = _layers(depth.workload(4, arrangement, 32))
    assert len(layers) == (1 if arrangement == "adjacent" else 4)
    assert all((tri >= 0).all() for tri in layers)
    # The grid that is seen: all of them beside one another, the first or the last of a stack.
    seen = (layers[0] // (2 * depth.SIDE**2)).unique().tolist()
    assert seen == {"adjacent": [0, 1, 2, 3], "stacked, nearest first": [0]}.get(arrangement, [3])


def test_grids_refuse_what_does_not_fill_a_square() -> None:
    with pytest.raises(ValueError, match="square number, got 3"):
        depth.grids(3, "adjacent")


def test_depth(tmp_path: Path) -> None:
    arguments = [*QUICK, str(tmp_path), "--size", "32", "--copies", "1", "4"]
    results = depth.experiment(depth.arguments().parse_args(arguments))
    assert [(row["copies"], row["triangles"]) for row in results["rows"]] == [(1, 128), *[(4, 512)] * 3]
    assert all(row["seconds"] > 0 for row in results["rows"])
    assert results["rows"][0]["per first"] == 1
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert (tmp_path / "depth.png").is_file()
    # Nothing is measured again.
    again = depth.experiment(depth.arguments().parse_args([*arguments, "--resume"]))
    assert again["rows"] == results["rows"]


def test_triangles(tmp_path: Path) -> None:
    arguments = [*QUICK, str(tmp_path), "--sizes", "32", "16", "--triangles", "284", "968"]
    arguments += ["--meshes", str(tmp_path)]  # where there are none: spheres
    results = triangles.experiment(triangles.arguments().parse_args(arguments))
    assert [row["size"] for row in results["rows"]] == [16, 32, 16, 32]
    assert all(row["seconds"]["lumigrad"] > 0 for row in results["rows"])
    assert results["notes"] == ["suzanne.obj not found: a sphere of 968 triangles stands in for it"]
    assert (tmp_path / "triangles.png").is_file()
    again = triangles.experiment(triangles.arguments().parse_args([*arguments, "--resume"]))
    assert again["rows"] == results["rows"]


def test_resume_refuses_another_setting(tmp_path: Path) -> None:
    arguments = [*QUICK, str(tmp_path), "--size", "16", "--copies", "1"]
    depth.experiment(depth.arguments().parse_args(arguments))
    with pytest.raises(ValueError, match="resume"):
        depth.experiment(depth.arguments().parse_args([*arguments, "--resume", "--seed", "1"]))


@pytest.mark.parametrize("count", [50, 800, 3000])
def test_meshes_of_another_size_keep_the_shape(count: int) -> None:
    sphere = meshes.load("suzanne", None)[0]
    mesh = triangles.of_size(sphere, count)
    assert abs(mesh.triangles - count) < 0.3 * count
    assert mesh.faces.max() < len(mesh.vertices)
    assert len(mesh.faces.sort(1).values.unique(dim=0)) == mesh.triangles
    corners = mesh.vertices[mesh.faces.long()].double()
    volume = torch.linalg.det(corners).sum().item() / 6
    assert volume == pytest.approx(4 / 3 * torch.pi, rel=0.35 if count < 100 else 0.05)


def test_subdivided() -> None:
    """Four triangles for one, on the same surface, closed as before and turned the same way."""
    sphere = meshes.load("suzanne", None)[0]
    fine = triangles.subdivided(sphere)
    assert fine.triangles == 4 * sphere.triangles
    volumes = [torch.linalg.det(m.vertices[m.faces.long()].double()).sum().item() for m in (sphere, fine)]
    assert volumes[1] == pytest.approx(volumes[0], rel=1e-6)
    # Vertices minus edges plus triangles of a sphere.
    assert len(fine.vertices) - 3 * fine.triangles / 2 + fine.triangles == 2
