"""The published experiments, at settings of seconds: what they say holds, and stopping changes nothing."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from experiments_common import StoppedError, run_in, stop_after

from experiments import cube, estimators
from lumigrad import gradients

ROOT = Path(__file__).resolve().parent.parent


# ---- What is shared ----------------------------------------------------------------------------------------------


def test_state_of_other_arguments(tmp_path: Path) -> None:
    run_in(tmp_path).save_state(step=3, values=torch.arange(2))
    state = run_in(tmp_path, resume=True).load_state()
    assert state is not None
    assert state["step"] == 3
    assert torch.equal(state["values"], torch.arange(2))
    with pytest.raises(ValueError, match=r"--resume: expected the arguments of .*'seed': '0'.*got .*'seed': '1'"):
        run_in(tmp_path, resume=True, seed=1).load_state()
    assert run_in(tmp_path).load_state() is None  # a new run
    assert run_in(tmp_path, resume=True).load_state() is None


@pytest.mark.parametrize("name", ["cube", "estimators", "texture", "environment", "silhouettes", "spheres"])
def test_help(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [f"experiments.{name}", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "experiments" / f"{name}.py"), run_name="__main__")
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(option in said for option in ("--quick", "--out", "--seed", "--resume"))


# ---- Cube ----------------------------------------------------------------------------------------------------------


def test_cube_is_closed() -> None:
    """Outward faces, by the divergence theorem: the volume is 1. Each corner colour is at the vertex of its face."""
    a, b, c = cube.CORNERS[cube.TRI].unbind(1)
    assert abs((a * torch.linalg.cross(b, c)).sum().item() / 6) == pytest.approx(1)
    sides = torch.cat([cube.TRI[:, [k, (k + 1) % 3]] for k in range(3)])
    assert {tuple(side) for side in sides.tolist()} == {tuple(side) for side in sides.flip(1).tolist()}
    assert torch.equal(cube.FACES.flatten()[cube.FACE_CORNERS], cube.TRI)


@pytest.mark.parametrize("colors", [8, 24])
def test_cube_pictures_agree(colors: int) -> None:
    """Both methods' pictures are near the mean of many samples; the exact one's nearer."""
    random = torch.Generator().manual_seed(1)
    camera = cube.views(3, 8, random)
    shades = torch.rand(3, colors, 3, generator=random)
    vertices = cube.CORNERS.repeat(3, 1, 1)
    topology = cube.lg.edge_topology(cube.TRI)
    fine = cube.picture(vertices, shades, camera.resized((256, 256)), "exact", topology)
    truth = fine.view(3, 8, 32, 8, 32, 3).mean((2, 4))
    fast, exact = ((cube.picture(vertices, shades, camera, m, topology) - truth).abs().mean() for m in cube.METHODS)
    assert exact < 0.01
    assert exact < 0.5 * fast < 0.05


def test_cube_experiment(tmp_path: Path) -> None:
    """Every variant brings the vertices nearer, and more pixels bring them nearer still."""
    settings = cube.Settings(sizes=(4, 16), runs=2, iterations=200)
    curves = cube.experiment(run_in(tmp_path), settings)
    assert len(curves) == 8
    for variant, (errors, _) in curves.items():
        assert errors.shape == (201, 2)
        assert errors[-1].mean() < (0.75 if variant.size == 16 else 0.95) * errors[0].mean(), variant
    written = json.loads((tmp_path / "results.json").read_text())["variants"]
    for variant, (errors, folded) in curves.items():
        assert written[variant.name]["folded"] == folded.sum()
        assert written[variant.name]["mean"] == pytest.approx(errors[-1].mean().item())
    assert (tmp_path / "cube.png").stat().st_size > 10_000


def test_cube_folds() -> None:
    """Cubes of other sizes and places are not folded; one with a vertex pushed through the opposite face is."""
    pushed = cube.CORNERS.clone()
    pushed[0] = torch.tensor([1.0, 1.0, 1.0])
    assert cube.folded(torch.stack([cube.CORNERS, 1.3 * cube.CORNERS + 0.2, pushed])).tolist() == [False, False, True]


def test_cube_runs_are_independent(tmp_path: Path) -> None:
    """A run of a batch ends where it would have ended alone."""
    variant, start = cube.Variant(8, 24, "exact"), torch.Generator().manual_seed(0)
    camera = cube.views(2, 8, start)
    vertices = (cube.CORNERS + 0.2 * torch.randn(2, 8, 3, generator=start)).requires_grad_()
    colors = torch.rand(2, 24, 3, generator=start)
    topology = cube.lg.edge_topology(cube.TRI)
    both = cube.picture(vertices, colors, camera, variant.method, topology)
    (grad,) = torch.autograd.grad((both**2).mean((1, 2, 3)).sum(), vertices)
    alone = cube.picture(vertices[1:], colors[1:], camera[1:], variant.method, topology)
    (grad_alone,) = torch.autograd.grad((alone**2).mean(), vertices)
    torch.testing.assert_close(grad[1], grad_alone[1])


def test_cube_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variant, settings = cube.Variant(8, 24, "exact"), cube.Settings(runs=2, iterations=14)
    whole = cube.fit(run_in(tmp_path / "whole"), variant, settings, 5)
    resuming = run_in(tmp_path / "parts", resume=True)
    with monkeypatch.context() as patch:
        stop_after(patch, cube, 10)
        with pytest.raises(StoppedError):
            cube.fit(run_in(tmp_path / "parts"), variant, settings, 5)
    for _ in range(2):  # the second time, nothing is left to do
        resumed = cube.fit(resuming, variant, settings, 5)
        assert torch.equal(resumed.errors, whole.errors)
        assert torch.equal(resumed.folded, whole.folded)


# ---- Estimators ------------------------------------------------------------------------------------------------------


def test_estimators_experiment(tmp_path: Path) -> None:
    """Forty steps bring every method nearer to the shape; the exact gradient is nearest to the truth."""
    fits = estimators.experiment(run_in(tmp_path), estimators.Settings(size=32, starts=2, steps=40))
    assert set(fits) == set(gradients.METHODS)
    for method, result in fits.items():
        assert result.errors.shape == (41, 2)
        assert result.errors[-1].mean() < 0.7 * result.errors[0].mean(), method
    written = json.loads((tmp_path / "results.json").read_text())["methods"]
    assert min(written, key=lambda method: written[method]["field error"]) == "exact"
    assert (tmp_path / "estimators.png").stat().st_size > 10_000


def test_estimators_placement() -> None:
    """A point at (1, 0), turned by a quarter, doubled and shifted."""
    place = torch.tensor([[0.1, 0.2, torch.pi / 2, torch.tensor(2.0).log()]])
    torch.testing.assert_close(
        estimators.placed(torch.tensor([[1.0, 0.0]]), place), torch.tensor([[[0.1, 2.2, 0.0, 1.0]]])
    )


def test_estimators_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = estimators.Settings(size=32, starts=2, steps=14)
    whole = estimators.fit(run_in(tmp_path / "whole"), "antialias", settings, 5)
    with monkeypatch.context() as patch:
        stop_after(patch, estimators, 10)
        with pytest.raises(StoppedError):
            estimators.fit(run_in(tmp_path / "parts"), "antialias", settings, 5)
    resumed = estimators.fit(run_in(tmp_path / "parts", resume=True), "antialias", settings, 5)
    assert torch.equal(resumed.errors, whole.errors)
