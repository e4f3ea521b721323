"""Shape from silhouettes: its objects, measures and regularisers, and that some steps bring every method nearer."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from experiments_common import StoppedError, run_in, stop_after
from torch import Tensor

from experiments import silhouettes
from lumigrad.io import save_mesh
from lumigrad.scene import Mesh, icosphere

TINY = silhouettes.Settings(size=24, views=6, singles=2, level=1, steps=14)


def _volume(mesh: Mesh) -> float:
    """By the divergence theorem: positive where faces look outwards."""
    a, b, c = mesh.positions[mesh.faces.long()].double().unbind(1)
    return (a * torch.linalg.cross(b, c)).sum().item() / 6


def _assert_closed(mesh: Mesh) -> None:
    sides = torch.cat([mesh.faces[:, [k, (k + 1) % 3]] for k in range(3)]).long()
    assert sorted(sides.tolist()) == sorted(sides.flip(1).tolist())


def _ball(centre: tuple[float, float, float], radius: float) -> tuple[Mesh, Tensor]:
    """An icosphere, and whether the centres of the voxels are in it."""
    line = ((torch.arange(silhouettes.VOXELS) + 0.5) / silhouettes.VOXELS * 2 - 1) * silhouettes.EXTENT
    points = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1)
    sphere = icosphere(4, radius)
    mesh = Mesh(sphere.positions + torch.tensor(centre), sphere.faces)
    return mesh, (points - torch.tensor(centre)).norm(dim=-1) < radius


def test_objects_are_closed_and_look_outwards() -> None:
    torus = silhouettes.torus(0.4, 0.1, 96, 48)
    _assert_closed(torus)
    assert _volume(torus) == pytest.approx(2 * math.pi**2 * 0.4 * 0.1**2, rel=0.01)
    chair = silhouettes.chair()
    _assert_closed(chair)
    assert _volume(chair) == pytest.approx(4 * 4 + 36 + 4 * 6)  # legs, seat, back
    for name in silhouettes.OBJECTS:
        low, high = silhouettes.load(name).bounds()
        assert (high - low).max().item() == pytest.approx(1)
        torch.testing.assert_close(low, -high)


def test_a_file_is_an_object(tmp_path: Path) -> None:
    save_mesh(icosphere(2, 3.0), tmp_path / "ball.obj")
    ball = silhouettes.load(str(tmp_path / "ball.obj"))
    assert ball.positions.norm(dim=1).max().item() == pytest.approx(0.5, abs=0.02)


def test_objects_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--objects: expected different names.*a/ball.obj"):
        silhouettes.experiment(run_in(tmp_path), TINY, ["a/ball.obj", "b/ball.ply"])


def test_voxels_are_the_inside() -> None:
    """Of a ball away from the middle on every axis, and of two balls that intersect."""
    one, in_one = _ball((0.2, -0.1, 0.3), 0.3)
    other, in_other = _ball((0.05, -0.2, 0.1), 0.25)
    assert silhouettes.iou(silhouettes.voxels(one), in_one[None].float()).item() > 0.99
    both = Mesh(torch.cat([one.positions, other.positions]), torch.cat([one.faces, other.faces + len(one.positions)]))
    union = (in_one | in_other)[None].float()
    assert silhouettes.iou(silhouettes.voxels(both), union).item() > 0.99


def test_iou_counts_pixels() -> None:
    a, b = torch.zeros(2, 4, 4, 1), torch.zeros(2, 4, 4, 1)
    a[:, :2], b[0, 1:3] = 1, 1  # rows 0 and 1; row 1 and 2, or nothing
    torch.testing.assert_close(silhouettes.iou(a, b), torch.tensor([1 / 3, 0.0]))


def test_coverage_of_a_ball() -> None:
    """The outline of a ball is the cone whose sides touch it."""
    camera = silhouettes.cameras(3, 48)
    seen = silhouettes.coverage(icosphere(5, 0.5), camera).sum((1, 2, 3))
    tangent = 0.5 / math.sqrt(silhouettes.DISTANCE**2 - 0.25)
    pixels = 24 * tangent / math.tan(math.radians(silhouettes.FIELD_OF_VIEW / 2))
    torch.testing.assert_close(seen, torch.full((3,), math.pi * pixels**2), rtol=0.005, atol=0)


def test_regularisers_of_a_cube() -> None:
    """Twelve edges of right angles; those across faces are flat. Each Laplacian by a loop."""
    cube = silhouettes.blocks(torch.ones(1, 1, 1, dtype=torch.bool))
    faces, positions = cube.faces.long(), cube.positions.double()
    regularisers = silhouettes.Regularisers(faces, len(positions))
    moved = positions + 0.1 * torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    batch = torch.stack([positions, moved])
    assert regularisers.flattening(batch)[0].item() == pytest.approx(12)
    expected = 0.0
    for vertex in range(8):
        beside = {other for face in faces.tolist() if vertex in face for other in face} - {vertex}
        expected += (moved[vertex] - moved[sorted(beside)].mean(0)).square().sum().item()
    assert regularisers.laplacian(batch)[1].item() == pytest.approx(expected)


def test_every_method_gets_nearer(tmp_path: Path) -> None:
    """Forty steps bring the sphere nearer to the creature, and all views nearer than one."""
    settings = silhouettes.Settings(size=32, views=8, singles=2, level=2, steps=40)
    results = silhouettes.experiment(run_in(tmp_path), settings, ["creature"])
    assert json.loads((tmp_path / "results.json").read_text())["rows"] == json.loads(json.dumps(results["rows"]))
    start, *rows = results["rows"]
    single, multi = ({row["method"]: row for row in rows if row["problem"] == p} for p in silhouettes.PROBLEMS)
    assert set(single) == set(multi) == set(silhouettes.METHODS)
    for method, row in multi.items():
        assert row["voxel IoU"] > start["voxel IoU"] + 0.1, method
        assert row["chamfer"] < 0.6 * start["chamfer"], method
        assert row["held-out IoU"] > single[method]["held-out IoU"] + 0.05, method
        assert row["curve"][-1] == (40, pytest.approx(row["held-out IoU"]))
    assert multi["exact"]["held-out IoU"] > 0.94
    for figure in ("shapes.png", "curves.png"):
        assert (tmp_path / figure).stat().st_size > 10_000


def test_single_views_are_independent(tmp_path: Path) -> None:
    """The shape of the first view is what it would be if there were no other."""
    truth = silhouettes.Truth(silhouettes.load("creature"))
    alone = silhouettes.Settings(size=24, singles=1, level=1, steps=10)
    shapes = [
        silhouettes.fit(run_in(tmp_path / str(each.singles)), "x", truth, "one view", "antialias", each).shapes[0]
        for each in (alone, silhouettes.replace(alone, singles=2))
    ]
    torch.testing.assert_close(shapes[0].positions, shapes[1].positions)


@pytest.mark.parametrize("problem", silhouettes.PROBLEMS)
def test_resume(problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = silhouettes.Truth(silhouettes.load("torus"))

    def fitted(folder: str, resume: bool = False) -> silhouettes.Fit:
        run = run_in(tmp_path / folder, resume)
        return silhouettes.fit(run, "torus", truth, problem, "antialias", TINY)

    whole = fitted("whole")
    with monkeypatch.context() as patch:
        stop_after(patch, silhouettes, 10)
        with pytest.raises(StoppedError):
            fitted("parts")
    resumed = fitted("parts", resume=True)
    assert resumed.curve == whole.curve
    assert torch.equal(resumed.shapes[-1].positions, whole.shapes[-1].positions)
