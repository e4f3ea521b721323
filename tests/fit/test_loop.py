"""The fitting loop on tiny images."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch

from lumigrad.fit import (
    FitState,
    Stage,
    Views,
    chamfer_distance,
    default_stages,
    fibonacci_cameras,
    fit,
    render_views,
)
from lumigrad.fit.mesh.views import pick
from lumigrad.scene import Lighting, Mesh
from lumigrad.scene.shapes.procedural import creature, icosphere

STAGES = [
    Stage(40, 24, edge_length=0.25, rate=0.03, smoothness=2.0),
    Stage(15, 48, edge_length=0.15, rate=0.01, smoothness=2.0, laplacian=0.05),
    Stage(15, 48, batch=2, rate=0.002, smoothness=4.0, squares=4.0, texture_size=64),
]


@pytest.fixture(scope="module")
def target() -> Mesh:
    mesh = creature(level=3, texture_height=64)
    return Mesh(0.8 * mesh.positions, mesh.faces, mesh.uvs, mesh.uv_faces, mesh.texture)


@pytest.fixture(scope="module")
def views(target: Mesh) -> Views:
    return render_views(target, fibonacci_cameras(10, (48, 48)), Lighting())


@pytest.fixture(scope="module")
def whole(views: Views) -> FitState:
    return fit(views, FitState.start(icosphere(2, 0.5)), STAGES, Lighting(), seed=3)


def test_fit_approaches_shape_and_paint(whole: FitState, target: Mesh) -> None:
    assert whole.iteration == len(whole.losses) == 70
    assert sum(whole.losses[-5:]) < 0.5 * sum(whole.losses[:5])
    assert whole.seconds > 0
    result = whole.mesh()
    assert result.texture is not None
    assert result.texture.shape == (64, 64, 3)
    assert result.texture.std() > 0.1
    assert chamfer_distance(result, target, 2000) < 0.5 * chamfer_distance(icosphere(2, 0.5), target, 2000)


@pytest.mark.parametrize("stop", [7, 40, 47, 62])
def test_interrupted_fit_goes_on_as_if_nothing_had_happened(whole: FitState, views: Views, stop: int) -> None:
    state = FitState.start(icosphere(2, 0.5))
    fit(views, state, STAGES, Lighting(), seed=3, on_step=lambda now: now.iteration < stop)
    assert state.iteration == stop
    file = io.BytesIO()
    torch.save(state.to_dict(), file)
    file.seek(0)
    resumed = FitState.from_dict(torch.load(file, weights_only=True))
    fit(views, resumed, STAGES, Lighting(), seed=3)
    assert resumed.losses == whole.losses
    assert torch.equal(resumed.positions, whole.positions)
    assert torch.equal(resumed.appearance, whole.appearance)


def test_finished_fit_does_nothing_more(whole: FitState, views: Views) -> None:
    positions, count = whole.positions, whole.iteration
    fit(views, whole, STAGES, Lighting(), seed=3)
    assert whole.iteration == count
    assert whole.positions is positions


def test_every_view_is_used_equally_often() -> None:
    picks = torch.cat([pick(10, 4, step, seed=0) for step in range(25)])
    assert (torch.bincount(picks, minlength=10) == 10).all()
    assert pick(3, 8, 0, seed=0).shape == (3,)


def test_default_stages_fit_any_image_size() -> None:
    assert [stage.size for stage in default_stages(512)] == [64, 128, 256, 512]
    for size in (16, 100, 131, 1000):
        assert all(size % stage.size == 0 for stage in default_stages(size))
    assert all(stage.iterations == 1 for stage in default_stages(64, effort=1e-3))


def test_state_is_plain_data(whole: FitState, tmp_path: Path) -> None:
    torch.save(whole.to_dict(), tmp_path / "state.pt")
    again = FitState.from_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert again.losses == whole.losses
    assert torch.equal(again.faces, whole.faces)
