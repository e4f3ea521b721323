"""Path-traced images in batches: means, adaptive sample counts, progress, interruption."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lumigrad.render import batches, render_path
from lumigrad.scene import DiffuseMaterial, Mesh, PerspectiveCamera, Scene, icosphere

CAMERA = PerspectiveCamera.orbit(azimuth=0.0, elevation=10.0, distance=4.0, fov_y=45.0, size=(40, 50))
PLAIN: dict[str, Any] = {"lights": [], "tone_mapping": None}


def stage(color: Tensor | None = None) -> Scene:
    """A ball that a small lamp lights, on the left side of the image."""
    ball = replace(icosphere(2), positions=0.6 * icosphere(2).positions - torch.tensor([0.8, 0.0, 0.0]))
    ball = replace(ball, materials=(DiffuseMaterial(base_color=(0.7, 0.5, 0.3) if color is None else color),))
    lamp = DiffuseMaterial(base_color=(0.0, 0.0, 0.0), emissive=(30.0, 30.0, 30.0))
    corners = torch.tensor([[-1.0, 3, 0.2], [-0.6, 3, 0.2], [-0.6, 3, 0.6]])
    return Scene([ball, Mesh(corners, torch.tensor([[0, 1, 2]]), materials=(lamp,))])


@pytest.fixture
def small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "PATHS_PER_CALL", 3 * 40 * 50)


def test_batches_are_means_of_all_samples(small_calls: None) -> None:
    """10 samples in batches of 3: those with the seeds of batches, weighted by their number."""
    told: list[float] = []
    shot = render_path(stage(), CAMERA, 10, 2, progress=told.append, **PLAIN)
    assert told == [0.3, 0.6, pytest.approx(0.9), 1.0]
    parts = [
        render_path(stage(), CAMERA, count, 2, batches._of_batch(0, batch), **PLAIN)
        for batch, count in enumerate((3, 3, 3, 1))
    ]
    mean = sum(count / 10 * part.color for count, part in zip((3, 3, 3, 1), parts))
    assert torch.allclose(shot.color, mean, atol=1e-6)
    assert torch.allclose(shot.mask, sum(count / 10 * part.mask for count, part in zip((3, 3, 3, 1), parts)), atol=1e-6)
    assert shot.samples is None


def test_noisy_tiles_get_more_samples() -> None:
    told: list[float] = []
    shot = render_path(stage(), CAMERA, 512, 2, error=0.05, progress=told.append, **PLAIN)
    assert shot.samples is not None
    assert shot.samples.shape == (1, 40, 50)
    counts = shot.samples[0]
    assert counts.dtype == torch.int32
    assert (counts[:, 32:] == 4 * 16).all()  # nothing is seen there: no more than it takes to measure
    assert counts[:32, :32].max() > 100
    assert counts.max() <= 512
    for i in range(0, 40, 16):
        for j in range(0, 50, 16):
            assert len(counts[i : i + 16, j : j + 16].unique()) == 1
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_the_error_is_what_was_asked_for() -> None:
    """Compared with many samples, the error of tiles below the maximum sample count is the requested one."""
    expected = render_path(stage(), CAMERA, 4096, 2, seed=9, **PLAIN).color[0]
    for error in (0.2, 0.05):
        shot = render_path(stage(), CAMERA, 2048, 2, error=error, **PLAIN)
        assert shot.samples is not None
        assert shot.samples.max() < 2048
        tiles = [
            (shot.color[0] - expected)[i : i + 16, j : j + 16].square().mean().sqrt() for i in (0, 16) for j in (0, 16)
        ]
        bright = [
            expected[i : i + 16, j : j + 16].mean().clamp_min(0.1 * expected.mean()) for i in (0, 16) for j in (0, 16)
        ]
        ratios = torch.stack(tiles) / torch.stack(bright)
        assert ratios.max() < 2 * error
        assert ratios.max() > 0.2 * error


def test_no_bias_worth_mentioning() -> None:
    """The mean of many adaptively sampled images has no noticeable bias."""
    found = torch.stack(
        [render_path(stage(), CAMERA, 256, 2, seed, error=0.2, **PLAIN).color.mean() for seed in range(24)]
    )
    expected = render_path(stage(), CAMERA, 4096, 2, seed=99, **PLAIN).color.mean()
    assert abs(found.mean() - expected) < 4 * found.std() / 24**0.5 + 2e-3 * expected


def test_gradients() -> None:
    """The gradient with respect to a ball's colour: its light is proportional to it."""
    color = torch.tensor([0.7, 0.5, 0.3], requires_grad=True)
    shot = render_path(stage(color), CAMERA, 64, 2, error=0.1, **PLAIN)
    plain = render_path(stage(), CAMERA, 64, 2, error=0.1, **PLAIN)
    assert torch.equal(shot.color.detach(), plain.color)
    ball = torch.where((shot.albedo > 0).any(-1, keepdim=True), shot.color, 0)
    (slope,) = torch.autograd.grad(ball.sum(), color)
    assert torch.allclose(slope, ball.detach().sum((0, 1, 2)) / color.detach(), rtol=0.1)


def test_small_and_odd_images() -> None:
    for size in ((1, 1), (3, 17), (16, 16)):
        shot = render_path(icosphere(1), CAMERA.resized(size), 8, 2, error=0.5)
        assert shot.image.shape == (1, *size, 3)
        assert shot.samples is not None
        assert shot.samples.shape == (1, *size)
        assert shot.mask.max() <= 1
    few = render_path(icosphere(1), CAMERA.resized((4, 4)), 2, 2, error=0.5)
    assert few.samples is not None
    assert (few.samples == 2).all()


def test_interruption(small_calls: None) -> None:
    """Rendering can be interrupted between batches."""

    def stop(part: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_path(stage(), CAMERA, 1000, 2, progress=stop)


def test_wrong_calls(capsys: pytest.CaptureFixture[str]) -> None:
    for error, match, options in (
        (ValueError, r"^error: expected a positive number, got 0", {"error": 0.0}),
        (TypeError, r"^error: expected a number", {"error": "low"}),
        (TypeError, r"^progress: expected a bool or a function, got int", {"progress": 1}),
        (ValueError, r"^samples: expected an integer from 1", {"samples": 0}),
    ):
        with pytest.raises(error, match=match):
            render_path(icosphere(1), CAMERA, **options)
    render_path(icosphere(1), CAMERA.resized((4, 4)), 2, progress=True)
    assert "100%" in capsys.readouterr().err
